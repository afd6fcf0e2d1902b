#![allow(
    clippy::print_stdout,
    reason = "the numbers of docs/methods.md, with --no-capture"
)]

use std::ops::ControlFlow;

use rapport_reward::PairObjective;
use rapport_reward::objective::ratio_gap;

use super::d3po::step_loss;
use super::*;
use crate::PolicySpec;
use crate::diffusion::{DenoiserConfig, Diffusion, DiffusionConfig, MlpConfig, Sampler};
use crate::policy::Transition;
use crate::small::adam::AdamConfig;

/// Where the cup can be grasped: at the handle or at the rim.
pub(crate) const HANDLE: [f32; 2] = [0.6, 0.3];
pub(crate) const RIM: [f32; 2] = [-0.6, -0.3];

/// A policy that grasps at either, half of the time each, in a chunk of `horizon` actions that all wobble for themselves,
/// by `size` at most.
pub(crate) fn two_modes(horizon: usize, size: f32) -> Diffusion {
    let episodes: Vec<Vec<Transition>> = (0..100)
        .map(|n| {
            let mode = if n % 2 == 0 { HANDLE } else { RIM };
            (0..horizon)
                .map(|t| {
                    let wobble = |turn: f32| size * ((n * horizon + t) as f32 * turn).sin();
                    Transition {
                        observation: vec![0.1],
                        action: vec![mode[0] + wobble(1.0), mode[1] + wobble(1.7)],
                        reward: 0.0,
                        next_observation: vec![0.1],
                        terminated: false,
                        truncated: t + 1 == horizon,
                    }
                })
                .collect()
        })
        .collect();
    let config = DiffusionConfig {
        observation_horizon: 1,
        prediction_horizon: horizon,
        action_horizon: horizon,
        sampler: Sampler::Ddim { eta: 1.0 },
        updates: 1500,
        warmup: 20,
        adam: AdamConfig {
            learning_rate: 2e-3,
            ..AdamConfig::default()
        },
        denoiser: DenoiserConfig::Mlp(MlpConfig {
            hidden: vec![64, 64],
            ..MlpConfig::default()
        }),
        ..DiffusionConfig::default()
    };
    let run = |_, _: &_| ControlFlow::Continue(());
    Diffusion::fit(PolicySpec::new(1, 2), config, 1, &episodes, run)
        .unwrap()
        .0
}

fn distance(action: &[f32], to: [f32; 2]) -> f32 {
    (action[0] - to[0]).hypot(action[1] - to[1])
}

/// Shares of 1000 grasps that are at the handle, and that are at either.
fn shares(policy: &mut Diffusion) -> (f64, f64) {
    let condition = policy.condition(&[&[0.1]]).unwrap();
    let chunks = policy.sample(&condition.repeat(1000)).unwrap();
    let share = |holds: &dyn Fn(&[f32]) -> bool| {
        let count = chunks
            .chunks_exact(2)
            .filter(|chunk| holds(&policy.actions(chunk)[0]))
            .count();
        count as f64 / 1000.0
    };
    (
        share(&|a| distance(a, HANDLE) < distance(a, RIM)),
        share(&|a| distance(a, HANDLE).min(distance(a, RIM)) < 0.2),
    )
}

#[test]
fn a_hundred_labels_move_the_grasp_to_the_handle_and_grasping_still_works() {
    let mut policy = two_modes(1, 0.05);
    let (handle, success) = shares(&mut policy);
    assert!(
        (0.35..=0.65).contains(&handle) && success > 0.85,
        "{handle} {success}"
    );
    let condition = policy.condition(&[&[0.1]]).unwrap();
    let config = D3poConfig {
        denoising_steps: 10,
        passes: 4,
        batch: 25,
        adam: AdamConfig {
            learning_rate: 3e-4,
            ..AdamConfig::default()
        },
        ..D3poConfig::default()
    };
    let mut tuner = D3po::new(config, &policy, 3).unwrap();
    // Four rounds of 25 answers.
    for _ in 0..4 {
        let chains = tuner.draw(&mut policy, &condition, 50).unwrap();
        let pairs: Vec<LabelledPair> = chains
            .chunks_exact(2)
            .map(|pair| {
                let off = |chain: &Chain| distance(&policy.actions(chain.chunk())[0], HANDLE);
                LabelledPair {
                    label: f64::from(u8::from(off(&pair[0]) < off(&pair[1]))),
                    first: pair[0].clone(),
                    second: pair[1].clone(),
                }
            })
            .collect();
        let pairs = &pairs;
        for _ in 0..5 {
            let metrics = tuner.update(&mut policy, pairs).unwrap();
            let first = metrics["first_loss"];
            assert!((first - std::f64::consts::LN_2).abs() < 1e-5, "{first}");
        }
    }
    let (after, kept) = shares(&mut policy);
    println!("handle {handle:.3} -> {after:.3}, success {success:.3} -> {kept:.3}");
    assert!(
        after > 0.8,
        "{handle} -> {after}; success {success} -> {kept}"
    );
    assert!(
        kept > success - 0.05,
        "{handle} -> {after}; success {success} -> {kept}"
    );
}

#[test]
fn reward_differences_move_the_grasp_and_grasping_still_works() {
    let mut policy = two_modes(1, 0.05);
    let (before, success) = shares(&mut policy);
    let condition = policy.condition(&[&[0.1]]).unwrap();
    let config = PrdpConfig {
        beta: 0.3,
        adam: AdamConfig {
            learning_rate: 3e-4,
            ..AdamConfig::default()
        },
        ..PrdpConfig::default()
    };
    let mut tuner = Prdp::new(config, &policy, 3).unwrap();
    for _ in 0..15 {
        let outcomes: Vec<(Chain, f64)> = tuner
            .draw(&mut policy, &condition, 64)
            .unwrap()
            .into_iter()
            .map(|chain| {
                let action = policy.actions(chain.chunk())[0].clone();
                let reward =
                    f64::from(u8::from(distance(&action, HANDLE) < distance(&action, RIM)));
                (chain, reward)
            })
            .collect();
        tuner.update(&mut policy, &outcomes).unwrap();
    }
    let (after, kept) = shares(&mut policy);
    println!("handle {before:.3} -> {after:.3}, success {success:.3} -> {kept:.3}");
    // At the optimum the odds are e^(1 / 0.3) = 28 to 1: a share of 0.966.
    assert!(
        after > 0.8,
        "{before} -> {after}; success {success} -> {kept}"
    );
    assert!(
        kept > success - 0.05,
        "{before} -> {after}; success {success} -> {kept}"
    );
}

#[test]
fn one_denoising_step_is_dpo() {
    let beta = 0.1;
    let objective = PairObjective {
        temperature: 1.0 / beta,
        ..PairObjective::default()
    };
    let (a, b) = (0.04, -0.03);
    let (loss, slopes, _) = step_loss(&objective, &[vec![a], vec![b]], &[1.0], 0.1);
    let dpo = objective.evaluate(ratio_gap(&[a], &[b]), 1.0);
    assert_eq!(
        (loss, slopes[0][0], slopes[1][0]),
        (dpo.loss, dpo.slope, -dpo.slope)
    );
}

#[test]
fn log_probabilities_and_their_gradient_are_those_of_the_gaussian() {
    let config = DiffusionConfig {
        observation_horizon: 1,
        prediction_horizon: 1,
        action_horizon: 1,
        denoiser: DenoiserConfig::Mlp(MlpConfig {
            hidden: vec![8],
            step_width: 4,
        }),
        ..DiffusionConfig::default()
    };
    let mut policy = Diffusion::new(&PolicySpec::new(1, 2), &config, 5).unwrap();
    let path = policy
        .schedule()
        .path(Sampler::Ddim { eta: 1.0 }, 5)
        .unwrap();
    let chains = policy.draw_chains(&[0.3], 2, &path).unwrap();
    let chains: Vec<&Chain> = chains.iter().collect();
    let found = policy.log_probs(&chains, &path).unwrap();
    // The last of five steps draws nothing.
    assert_eq!((found.len(), found[0].len()), (2, 4));
    let slopes: Vec<Vec<f64>> = [1.0, -0.5].map(|s| vec![s, 0.3 * s, -s, 0.1]).into();
    let total = |policy: &Diffusion| -> f64 {
        let found = policy.log_probs(&chains, &path).unwrap();
        let terms = found.iter().flatten().zip(slopes.iter().flatten());
        terms.map(|(log_prob, slope)| log_prob * slope).sum()
    };
    let trace = policy.tracked(&chains, &path).unwrap();
    assert_eq!(trace.log_probs, found);
    let gradient = policy.gradient_along(trace, &slopes).unwrap();
    let norm = gradient
        .iter()
        .map(|g| f64::from(g * g))
        .sum::<f64>()
        .sqrt();
    let at = |size: f64| {
        let mut moved = policy.clone();
        let steps = policy.parameters.iter().zip(&gradient);
        let parameters = steps.map(|(p, g)| p + (size / norm) as f32 * g).collect();
        moved.set_parameters(parameters).unwrap();
        total(&moved)
    };
    let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
    assert!((slope / norm - 1.0).abs() < 1e-2, "{slope} {norm}");
}
