use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::*;
use crate::checkpoint::load_policy;
use crate::policy::{Mode, Policy as _};

/// A nonlinear law from two observations of different scales to two actions.
fn law(x: &[f32]) -> [f32; 2] {
    let (a, b) = (x[0] / 10.0, (x[1] - 100.0) / 5.0);
    [(3.0 * a).sin() * 0.8, (a * b).tanh() * 0.3]
}

fn episodes(count: usize, length: usize, noise: f32) -> Vec<Vec<Transition>> {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    (0..count)
        .map(|_| {
            (0..length)
                .map(|_| {
                    let observation =
                        vec![rng.random_range(-10.0..10.0), rng.random_range(95.0..105.0)];
                    let mut action = law(&observation).to_vec();
                    action[1] += noise * rng.random_range(-1.0f32..1.0);
                    Transition {
                        next_observation: observation.clone(),
                        observation,
                        action,
                        reward: 0.0,
                        terminated: false,
                        truncated: false,
                    }
                })
                .collect()
        })
        .collect()
}

fn config() -> BcConfig {
    BcConfig {
        hidden: vec![64, 64],
        epochs: 60,
        ..BcConfig::default()
    }
}

fn run(_: u64, _: &Metrics) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn fits_a_nonlinear_law_and_acts_the_same_after_saving() {
    let data = episodes(20, 100, 0.0);
    let (mut bc, report) = Bc::fit(PolicySpec::new(2, 2), config(), 1, &data, run).unwrap();
    assert!(report.validation_loss.unwrap() < 2e-3, "{report:?}");
    let dir = tempfile::tempdir().unwrap();
    bc.save(dir.path()).unwrap();
    let mut loaded = load_policy(dir.path()).unwrap();
    for step in &episodes(1, 50, 0.0)[0] {
        let action = bc.act(&step.observation, Mode::Exploit).unwrap();
        for (own, right) in action.iter().zip(law(&step.observation)) {
            assert!(
                (own - right).abs() < 0.1,
                "{:?}: {own} {right}",
                step.observation
            );
        }
        assert_eq!(
            loaded.act(&step.observation, Mode::Exploit).unwrap(),
            action
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_seed_does_not() {
    let data = episodes(4, 50, 0.0);
    let fit = |seed| {
        let config = BcConfig {
            epochs: 3,
            ..config()
        };
        Bc::fit(PolicySpec::new(2, 2), config, seed, &data, run)
            .unwrap()
            .0
            .network
            .parameters
    };
    assert_eq!(fit(3), fit(3));
    assert_ne!(fit(3), fit(4));
}

#[test]
fn the_gaussian_learns_the_noise_of_the_demonstrator() {
    let config = BcConfig {
        loss: BcLoss::GaussianNll,
        ..config()
    };
    let data = episodes(20, 200, 0.3);
    let (mut bc, _) = Bc::fit(PolicySpec::new(2, 2), config, 1, &data, run).unwrap();
    let observation = [3.0, 101.0];
    let mean = bc.act(&observation, Mode::Exploit).unwrap();
    let draws: Vec<Vec<f32>> = (0..2000)
        .map(|_| bc.act(&observation, Mode::Explore).unwrap())
        .collect();
    let spread = |i: usize| {
        (draws.iter().map(|d| (d[i] - mean[i]).powi(2)).sum::<f32>() / draws.len() as f32).sqrt()
    };
    // Uniform noise of +-0.3 has a standard deviation of 0.173.
    assert!((spread(1) - 0.173).abs() < 0.04, "{}", spread(1));
    assert!(spread(0) < 0.06, "{}", spread(0));
}

#[test]
fn a_chunk_is_executed_to_its_end_unless_the_episode_is_new() {
    // The action ahead is known from the first observation: action at t is observation / 10 + t / 100.
    let data: Vec<Vec<Transition>> = (0..30)
        .map(|n| {
            let start = n as f32 / 30.0;
            (0..4)
                .map(|t| Transition {
                    observation: vec![start + t as f32],
                    action: vec![(start + t as f32) / 10.0],
                    reward: 0.0,
                    next_observation: vec![0.0],
                    terminated: false,
                    truncated: t == 3,
                })
                .collect()
        })
        .collect();
    let config = BcConfig {
        chunk: 4,
        execute: 3,
        epochs: 200,
        ..config()
    };
    let (mut bc, _) = Bc::fit(PolicySpec::new(1, 1), config, 1, &data, run).unwrap();
    for expected in [0.05, 0.15, 0.25] {
        let action = bc.act(&[0.5], Mode::Exploit).unwrap()[0];
        assert!((action - expected).abs() < 0.02, "{action} {expected}");
    }
    bc.act(&[0.5], Mode::Exploit).unwrap();
    bc.reset();
    let action = bc.act(&[0.5], Mode::Exploit).unwrap()[0];
    assert!((action - 0.05).abs() < 0.02, "{action}");
}

#[test]
fn stops_early_keeps_the_best_and_can_be_stopped() {
    let mut data = episodes(4, 30, 0.3);
    data.iter_mut()
        .flatten()
        .for_each(|step| step.action[0] = -step.action[1]);
    let config = BcConfig {
        patience: 5,
        epochs: 2000,
        ..config()
    };
    let mut losses = Vec::new();
    let (_, report) = Bc::fit(
        PolicySpec::new(2, 2),
        config.clone(),
        1,
        &data,
        |_, metrics| {
            losses.push(metrics["validation_loss"]);
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    let smallest = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(
        report.epochs < 2000 && report.epochs == report.best_epoch + 5,
        "{report:?}"
    );
    assert_eq!(report.validation_loss, Some(smallest));
    let (_, stopped) = Bc::fit(PolicySpec::new(2, 2), config, 1, &data, |epoch, _| {
        if epoch == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .unwrap();
    assert_eq!(stopped.epochs, 2);
}

#[test]
fn demonstrations_that_are_not_numbers_are_refused() {
    let mut data = episodes(2, 5, 0.0);
    data[1][3].action[1] = f32::NAN;
    let error = Bc::fit(PolicySpec::new(2, 2), config(), 1, &data, run)
        .unwrap_err()
        .to_string();
    assert!(error.contains("action[1] at step 3"), "{error}");
    assert!(Bc::fit(PolicySpec::new(2, 2), config(), 1, &[], run).is_err());
}

#[test]
fn steps_without_weight_teach_nothing_and_equal_weights_are_none() {
    // Every other episode does the opposite.
    let mut data = episodes(20, 60, 0.0);
    for episode in data.iter_mut().skip(1).step_by(2) {
        for step in episode {
            step.action.iter_mut().for_each(|a| *a = -*a);
        }
    }
    let weights: Vec<Vec<f32>> = (0..20).map(|n| vec![(1 - n % 2) as f32; 60]).collect();
    let spec = PolicySpec::new(2, 2);
    let fit = |weights: &[Vec<f32>]| {
        Bc::fit_weighted(spec.clone(), config(), 1, &data, weights, run).map(|(bc, _)| bc)
    };
    let error = |bc: &mut Bc| -> f32 {
        let steps = &episodes(1, 50, 0.0)[0];
        let each = steps.iter().map(|step| {
            let action = bc.act(&step.observation, Mode::Exploit).unwrap();
            (action[0] - law(&step.observation)[0]).abs()
        });
        each.sum::<f32>() / 50.0
    };
    let (mut plain, _) = Bc::fit(spec.clone(), config(), 1, &data, run).unwrap();
    let mut weighted = fit(&weights).unwrap();
    let (plain_error, weighted_error) = (error(&mut plain), error(&mut weighted));
    assert!(
        weighted_error < 0.1 && plain_error > 0.3,
        "{plain_error} {weighted_error}"
    );
    let ones = vec![vec![1.0; 60]; 20];
    assert_eq!(
        fit(&ones).unwrap().network.parameters,
        plain.network.parameters
    );
    for bad in [vec![], vec![vec![0.0; 60]; 20], vec![vec![-1.0; 60]; 20]] {
        assert!(fit(&bad).is_err());
    }
}
