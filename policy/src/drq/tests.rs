use burn::tensor::activation::tanh;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt as _;

use super::*;
use crate::policy::Metrics;

const SIDE: usize = 12;

fn config() -> DrqConfig {
    DrqConfig {
        side: SIDE,
        own: 1,
        stack: 2,
        shift: 1,
        convolutions: 2,
        channels: 8,
        features: 10,
        hidden: vec![32, 32],
        batch: 32,
        update_to_data: 1.0,
        initial_random_steps: 10,
        noise: [0.5, 0.1],
        noise_steps: 100,
        replay_capacity: 500,
        adam: crate::AdamConfig {
            learning_rate: 1e-3,
            ..Default::default()
        },
        ..DrqConfig::default()
    }
}

fn spec() -> PolicySpec {
    PolicySpec::new(1 + SIDE * SIDE * 3, 1)
}

/// A picture with a bright column, and a number of its own.
fn seen(column: usize) -> Vec<f32> {
    let mut observation = vec![0.25];
    for _ in 0..SIDE {
        for x in 0..SIDE {
            observation.extend([if x.abs_diff(column) <= 1 { 1.0 } else { -1.0 }; 3]);
        }
    }
    observation
}

fn step(from: usize, action: f32, reward: f32, to: usize, terminated: bool) -> Transition {
    Transition {
        observation: seen(from),
        action: vec![action],
        reward,
        next_observation: seen(to),
        terminated,
        truncated: false,
    }
}

/// Plays single steps: the action is to say where the column is.
fn practise(drq: &mut Drq, rng: &mut ChaCha8Rng, episodes: usize) -> Metrics {
    let mut metrics = Metrics::new();
    for _ in 0..episodes {
        let column = rng.random_range(2..SIDE - 2);
        drq.reset();
        let action = drq.act(&seen(column), Mode::Explore).unwrap()[0];
        let reward = -(action - wanted(column)).abs();
        drq.observe(&[step(column, action, reward, column, true)])
            .unwrap();
        while drq.updates_due() > 0 {
            metrics = drq.update().unwrap();
        }
    }
    metrics
}

fn wanted(column: usize) -> f32 {
    column as f32 / (SIDE - 1) as f32 * 2.0 - 1.0
}

#[test]
fn it_learns_to_say_where_something_is() {
    let mut drq = Drq::new(spec(), config(), 1).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let miss = |drq: &Drq| {
        let columns = 2..SIDE - 2;
        let count = columns.len() as f32;
        columns
            .map(|column| {
                let action = drq.policy().act(&seen(column), Mode::Exploit).unwrap()[0];
                (action - wanted(column)).abs() / count
            })
            .sum::<f32>()
    };
    let before = miss(&drq);
    let metrics = practise(&mut drq, &mut rng, 800);
    let after = miss(&drq);
    assert!(after < 0.15 && after < 0.5 * before, "{before} {after}");
    assert!(metrics["encoder_gradient_norm"] > 0.0);
    assert!((metrics["noise"] - 0.1).abs() < 1e-6);
}

#[test]
fn saved_half_way_it_goes_on_to_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut straight = Drq::new(spec(), config(), 1).unwrap();
    practise(&mut straight, &mut rng, 30);
    straight.save(dir.path()).unwrap();
    let mut resumed = Drq::resume(dir.path()).unwrap();
    let mut again = rng.clone();
    let expected = practise(&mut straight, &mut rng, 20);
    assert_eq!(practise(&mut resumed, &mut again, 20), expected);
    assert_eq!(resumed.policy_parameters(), straight.policy_parameters());
    let mut loaded = crate::load_policy(dir.path()).unwrap();
    assert_eq!(loaded.act(&seen(4), Mode::Exploit).unwrap().len(), 1);
}

impl Drq {
    fn policy_parameters(&self) -> [&[f32]; 3] {
        let policy = &self.policy;
        [
            &policy.encoder.parameters,
            &policy.trunk.parameters,
            &policy.network.parameters,
        ]
    }
}

#[test]
fn pictures_are_stacked_within_their_episode_and_rewards_summed_to_its_end() {
    let config = DrqConfig {
        batch: 64,
        shift: 0,
        discount: 0.5,
        ..config()
    };
    let mut frames = Frames::new(&config, 1);
    // In two pieces, then an episode that the task ends.
    frames.push(&[step(2, 0.1, 1.0, 3, false)]);
    frames.push(&[
        step(3, 0.2, 2.0, 4, false),
        step(4, 0.3, 4.0, 5, false),
        step(5, 0.4, 8.0, 6, false),
    ]);
    frames.close();
    frames.push(&[step(8, 0.5, 1.0, 9, true)]);
    assert_eq!(frames.len(), 5 + 2);
    let mut batch = Batch::default();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    frames.sample(&mut batch, &mut rng).unwrap();
    // Where the bright column is, in each picture of each stack.
    let columns = |pictures: &[f32]| -> Vec<[usize; 2]> {
        let stacks = pictures.chunks_exact(SIDE * SIDE * 6);
        let column = |stack: &[f32], channel: usize| {
            let bright: Vec<usize> = (0..SIDE).filter(|x| stack[x * 6 + channel] > 0.4).collect();
            bright[1]
        };
        stacks.map(|s| [column(s, 0), column(s, 3)]).collect()
    };
    let (now, next) = (columns(&batch.pictures), columns(&batch.next_pictures));
    for row in 0..64 {
        let expected = match batch.actions[row] {
            0.1 => ([2, 2], [4, 5], 1.0 + 0.5 * 2.0 + 0.25 * 4.0, 0.125),
            0.2 => ([2, 3], [5, 6], 2.0 + 0.5 * 4.0 + 0.25 * 8.0, 0.125),
            0.3 => ([3, 4], [5, 6], 4.0 + 0.5 * 8.0, 0.25),
            0.4 => ([4, 5], [5, 6], 8.0, 0.5),
            0.5 => ([8, 8], [8, 9], 1.0, 0.0),
            other => panic!("nobody did {other}"),
        };
        let found = (
            now[row],
            next[row],
            batch.rewards[row],
            batch.discounts[row],
        );
        assert_eq!(found, expected);
    }
}

#[test]
fn the_oldest_pictures_are_forgotten_and_the_rest_stays_in_order() {
    let config = DrqConfig {
        replay_capacity: 12,
        ..config()
    };
    let mut frames = Frames::new(&config, 1);
    for episode in 0..9 {
        let at = 2 + episode % 4;
        frames.push(&[
            step(at, 0.1, at as f32, at + 1, false),
            step(at + 1, 0.1, (at + 1) as f32, at + 2, true),
        ]);
    }
    assert_eq!(frames.len(), 12);
    let (mut batch, mut rng) = (Batch::default(), ChaCha8Rng::seed_from_u64(3));
    frames.sample(&mut batch, &mut rng).unwrap();
    assert!(batch.discounts.iter().all(|discount| *discount == 0.0));
    assert!(batch.pictures.iter().all(|x| x.abs() == 0.5));
}

#[test]
fn a_shift_moves_the_picture_and_repeats_its_edge() {
    let picture: Vec<u8> = (0..9).flat_map(|place| [place * 10, 0, 255]).collect();
    let mut moved = Vec::new();
    frames::append_stack(&[&picture], 3, [1, -1], &mut moved);
    let red: Vec<u8> = moved
        .chunks_exact(3)
        .map(|pixel| ((pixel[0] + 0.5) * 25.5).round() as u8)
        .collect();
    assert_eq!(red, [3, 3, 4, 6, 6, 7, 6, 6, 7]);
    assert!(moved.chunks_exact(3).all(|pixel| pixel[1..] == [-0.5, 0.5]));
}

#[test]
fn the_trunk_agrees_with_burn() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let (batch, inputs, outputs) = (5, 7, 4);
    let mut trunk = Trunk::new(inputs, outputs, &mut rng);
    for value in &mut trunk.parameters {
        *value += rng.random_range(-0.3..0.3);
    }
    let mut row = |n: usize| -> Vec<f32> { (0..n).map(|_| rng.random_range(-1.0..1.0)).collect() };
    let (input, weights) = (row(batch * inputs), row(batch * outputs));
    let (mut tape, mut gradient, mut by_input) = (TrunkTape::default(), Vec::new(), Vec::new());
    trunk.forward(&input, &mut tape);
    trunk.backward(
        &input,
        &mut tape,
        &weights,
        &mut gradient,
        Some(&mut by_input),
    );

    let device = Device::flex().autodiff();
    let tensor = |values: &[f32], shape: [usize; 2]| -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &device)
    };
    let x = tensor(&input, [batch, inputs]).require_grad();
    let mut at = 0;
    let parts = [inputs, 1, 1, 1].map(|rows| {
        at += rows * outputs;
        tensor(&trunk.parameters[at - rows * outputs..at], [rows, outputs]).require_grad()
    });
    let [w, b, scale, shift] = parts.clone();
    let y = x.clone().matmul(w) + b;
    let centred = y.clone() - y.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    let y = tanh(centred / (variance + 1e-5).sqrt() * scale + shift);
    let read = |values: TensorData| values.try_to_vec::<f32>().unwrap();
    let close = |own: &[f32], burn: Vec<f32>| {
        assert_eq!(own.len(), burn.len());
        for (own, burn) in own.iter().zip(burn) {
            assert!(
                (own - burn).abs() < 1e-5 * (1.0 + burn.abs()),
                "{own} {burn}"
            );
        }
    };
    close(&tape.output, read(y.clone().inner().into_data()));
    let gradients = (y * tensor(&weights, [batch, outputs])).sum().backward();
    close(&by_input, read(x.grad(&gradients).unwrap().into_data()));
    let burn = parts
        .iter()
        .flat_map(|p| read(p.grad(&gradients).unwrap().into_data()));
    close(&gradient, burn.collect());
}

#[test]
fn settings_that_do_not_suit_the_observation_are_refused() {
    let error = |config, width| {
        Drq::new(PolicySpec::new(width, 1), config, 0)
            .unwrap_err()
            .to_string()
    };
    let said = error(config(), 100);
    assert!(
        said.contains("100 numbers is not 1 of its own and a picture of 12 by 12"),
        "{said}"
    );
    let small = DrqConfig {
        side: 4,
        convolutions: 3,
        ..config()
    };
    assert!(error(small, 1 + 48).contains("too small for 3 convolutions"));
}
