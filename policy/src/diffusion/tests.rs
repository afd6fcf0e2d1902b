use std::ops::ControlFlow;

use super::*;
use crate::checkpoint::load_policy;
use crate::fit::Fit as _;
use crate::policy::{Metrics, Transition};
use crate::small::adam::AdamConfig;

fn run(_: u64, _: &Metrics) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn step(observation: f32, action: Vec<f32>) -> Transition {
    Transition {
        observation: vec![observation],
        action,
        reward: 0.0,
        next_observation: vec![observation],
        terminated: false,
        truncated: false,
    }
}

/// Wherever it stands, the demonstrator goes left or right, half of the time each, and moves its second joint with what it sees.
fn two_ways() -> Vec<Vec<Transition>> {
    (0..40)
        .map(|n| {
            let side = if n % 2 == 0 { 0.6 } else { -0.6 };
            let place = (n / 2) as f32 / 20.0;
            (0..6)
                .map(|t| step(place + t as f32 * 0.01, vec![side, 0.5 * place]))
                .collect()
        })
        .collect()
}

fn small(denoiser: DenoiserConfig, updates: u64) -> DiffusionConfig {
    DiffusionConfig {
        observation_horizon: 2,
        prediction_horizon: 4,
        action_horizon: 2,
        batch: 32,
        updates,
        warmup: 20,
        adam: AdamConfig {
            learning_rate: 2e-3,
            ..AdamConfig::default()
        },
        denoiser,
        ..DiffusionConfig::default()
    }
}

fn denoisers() -> [DenoiserConfig; 3] {
    [
        DenoiserConfig::Mlp(MlpConfig::default()),
        DenoiserConfig::Unet(UnetConfig {
            down_dims: vec![32],
            groups: 4,
            kernel_size: 3,
            step_width: 16,
            ..UnetConfig::default()
        }),
        DenoiserConfig::Transformer(TransformerConfig {
            width: 32,
            layers: 1,
            heads: 2,
        }),
    ]
}

/// After so short a fit, ten steps of DDIM leave one or two in ten between the ways; a regression would put all of them there.
fn keeps_both_ways(denoiser: DenoiserConfig, updates: u64, rate: f64) {
    let mut config = small(denoiser, updates);
    config.adam.learning_rate = rate;
    let (mut policy, report) =
        Diffusion::fit(PolicySpec::new(1, 2), config, 1, &two_ways(), run).unwrap();
    let (mut right, mut near, mut off) = (0, 0, 0.0f32);
    for n in 0..200 {
        policy.reset();
        let place = (n % 20) as f32 / 20.0;
        let action = policy.act(&[place], Mode::Exploit).unwrap();
        right += i32::from(action[0] > 0.0);
        near += i32::from((action[0].abs() - 0.6).abs() < 0.15);
        off += (action[1] - 0.5 * place).abs() / 200.0;
    }
    assert!(near > 133, "{near} of 200 near a way; {report:?}");
    assert!((50..=150).contains(&right), "{right} of 200 to the right");
    assert!(off < 0.08, "off by {off}");
}

#[test]
fn two_ways_of_doing_a_thing_are_both_kept_by_a_perceptron() {
    keeps_both_ways(denoisers()[0].clone(), 2000, 2e-3);
}

#[test]
fn two_ways_of_doing_a_thing_are_both_kept_by_a_unet() {
    keeps_both_ways(denoisers()[1].clone(), 300, 3e-3);
}

#[test]
fn two_ways_of_doing_a_thing_are_both_kept_by_a_transformer() {
    keeps_both_ways(denoisers()[2].clone(), 700, 5e-3);
}

#[test]
fn a_saved_policy_goes_on_as_the_one_that_was_saved() {
    for denoiser in denoisers() {
        let config = small(denoiser, 5);
        let (mut policy, _) =
            Diffusion::fit(PolicySpec::new(1, 2), config, 1, &two_ways(), run).unwrap();
        let dir = tempfile::tempdir().unwrap();
        policy.save(dir.path()).unwrap();
        let mut loaded = load_policy(dir.path()).unwrap();
        for t in 0..5 {
            let observation = [t as f32 / 5.0];
            assert_eq!(
                policy.act(&observation, Mode::Exploit).unwrap(),
                loaded.act(&observation, Mode::Exploit).unwrap()
            );
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_seed_does_not() {
    let fit = |seed| {
        let config = small(DenoiserConfig::Mlp(MlpConfig::default()), 10);
        Diffusion::fit(PolicySpec::new(1, 2), config, seed, &two_ways(), run)
            .unwrap()
            .0
            .parameters
    };
    assert_eq!(fit(3), fit(3));
    assert_ne!(fit(3), fit(4));
}

/// Elsewhere is the processor too, by the way of the graphics adapter.
#[test]
fn steps_on_another_device_are_the_same_steps() {
    for denoiser in denoisers() {
        let mut config = small(denoiser, 12);
        config.report_every = 6;
        config.adam.max_gradient_norm = 0.5;
        let begin = || {
            let spec = PolicySpec::new(1, 2);
            DiffusionFit::new(spec, config.clone(), 3, &two_ways(), None).unwrap()
        };
        let elsewhere = burn::tensor::Device::flex();
        let (mut here, mut there) = (begin(), begin().on(&elsewhere));
        while !here.is_done() {
            let (a, b) = (here.advance().unwrap(), there.advance().unwrap());
            assert!((a["training_loss"] - b["training_loss"]).abs() < 1e-5);
            let dir = tempfile::tempdir().unwrap();
            there.save(dir.path()).unwrap();
            let spec = PolicySpec::new(1, 2);
            there = DiffusionFit::resume(dir.path(), &spec, &two_ways(), None)
                .unwrap()
                .on(&elsewhere);
        }
        let (here, there) = (here.finish().unwrap().0, there.finish().unwrap().0);
        for (a, b) in here.parameters.iter().zip(&there.parameters) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }
}

#[test]
fn a_fit_put_down_and_taken_up_again_ends_in_the_same_bits() {
    let (spec, data) = (PolicySpec::new(1, 2), two_ways());
    let config = DiffusionConfig {
        report_every: 4,
        ..small(denoisers()[1].clone(), 9)
    };
    let begin = || DiffusionFit::new(spec.clone(), config.clone(), 3, &data, None).unwrap();
    let end = |mut fit: DiffusionFit| {
        while !fit.is_done() {
            fit.advance().unwrap();
        }
        let newest = fit.policy.parameters.clone();
        let (mut policy, report) = fit.finish().unwrap();
        let action = policy.act(&[0.3], Mode::Exploit).unwrap();
        (newest, policy.parameters.clone(), action, report)
    };
    let whole = end(begin());
    for reports in 0..=2 {
        let dir = tempfile::tempdir().unwrap();
        let mut fit = begin();
        for _ in 0..reports {
            fit.advance().unwrap();
        }
        fit.save(dir.path()).unwrap();
        let resumed = DiffusionFit::resume(dir.path(), &spec, &data, None).unwrap();
        assert_eq!(resumed.steps(), 4 * reports);
        assert_eq!(end(resumed), whole);
        let fewer = DiffusionFit::resume(dir.path(), &spec, &data[1..], None);
        let error = fewer.err().unwrap().to_string();
        assert!(error.contains("other demonstrations"), "{error}");
    }
}

#[test]
fn steps_of_no_weight_are_not_copied() {
    let data = two_ways();
    let weights: Vec<Vec<f32>> = data
        .iter()
        .map(|episode| {
            let counts = f32::from(u8::from(episode[0].action[0] > 0.0));
            vec![counts; episode.len()]
        })
        .collect();
    let config = small(DenoiserConfig::Mlp(MlpConfig::default()), 800);
    let (mut policy, _) = Diffusion::fit_weighted(
        PolicySpec::new(1, 2),
        config.clone(),
        1,
        &data,
        &weights,
        run,
    )
    .unwrap();
    let right = (0..100)
        .filter(|_| {
            policy.reset();
            policy.act(&[0.5], Mode::Exploit).unwrap()[0] > 0.3
        })
        .count();
    assert!(right > 95, "{right}");
    let short = vec![vec![1.0]; data.len()];
    let error =
        Diffusion::fit_weighted(PolicySpec::new(1, 2), config, 1, &data, &short, run).unwrap_err();
    assert!(
        error.to_string().contains("40 weights for 240 steps"),
        "{error}"
    );
}

#[test]
fn observations_before_the_newest_are_looked_at() {
    // The action says whether the observation went up or down, which one observation does not tell.
    let data: Vec<Vec<Transition>> = (0..40)
        .map(|n| {
            let slope = if n % 2 == 0 { 0.1 } else { -0.1 };
            (0..8)
                .map(|t| step(n as f32 / 40.0 + slope * t as f32, vec![slope * 5.0]))
                .collect()
        })
        .collect();
    let config = DiffusionConfig {
        action_horizon: 1,
        ..small(DenoiserConfig::Mlp(MlpConfig::default()), 1000)
    };
    let (mut policy, _) = Diffusion::fit(PolicySpec::new(1, 1), config, 1, &data, run).unwrap();
    for slope in [0.1, -0.1] {
        policy.reset();
        policy.act(&[0.5], Mode::Exploit).unwrap();
        let action = policy.act(&[0.5 + slope], Mode::Exploit).unwrap()[0];
        assert!((action - slope * 5.0).abs() < 0.2, "{slope} {action}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let data = two_ways();
    let fit = |config: DiffusionConfig| {
        Diffusion::fit(PolicySpec::new(1, 2), config, 1, &data, run)
            .unwrap_err()
            .to_string()
    };
    let base = small(DenoiserConfig::default(), 1);
    let long = DiffusionConfig {
        action_horizon: 4,
        ..base.clone()
    };
    assert!(fit(long).contains("action_horizon"));
    let odd = DiffusionConfig {
        prediction_horizon: 6,
        ..base.clone()
    };
    assert!(fit(odd).contains("3 levels can halve, not 6"));
    let none = Diffusion::fit(PolicySpec::new(1, 2), base.clone(), 1, &[], run).unwrap_err();
    assert!(none.to_string().contains("no demonstration"), "{none}");
    let mut broken = data.clone();
    broken[1][3].action[1] = f32::NAN;
    let error = Diffusion::fit(PolicySpec::new(1, 2), base, 1, &broken, run).unwrap_err();
    assert!(error.to_string().contains("action[1] at step 3"), "{error}");
}
