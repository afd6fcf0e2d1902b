//! Formulas against closed forms and finite differences; behaviour on data of mixed quality.

use std::ops::ControlFlow;

use rand::RngExt as _;

use super::step::{expectile, extraction_weights, returns_to_go, weighted_likelihood};
use super::*;
use crate::bc::{Bc, BcConfig};

fn config() -> IqlConfig {
    IqlConfig {
        hidden: vec![32, 32],
        batch: 64,
        discount: 0.9,
        target_rate: 0.02,
        offline_updates: 1500,
        actor_adam: crate::AdamConfig {
            learning_rate: 1e-3,
            ..crate::AdamConfig::default()
        },
        critic_adam: crate::AdamConfig {
            learning_rate: 1e-3,
            ..crate::AdamConfig::default()
        },
        value_adam: crate::AdamConfig {
            learning_rate: 1e-3,
            ..crate::AdamConfig::default()
        },
        ..IqlConfig::default()
    }
}

/// A walk on a line to 1: the reward of a step is where it ends. Three of ten hands go the right way, seven the wrong one.
fn walks(seed: u64, count: usize) -> Vec<Vec<Transition>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count)
        .map(|n| {
            let way = if n % 10 < 3 { 0.8 } else { -0.6 };
            let mut x: f32 = rng.random_range(-0.5..0.5);
            (0..12)
                .map(|t| {
                    let action = (way + rng.random_range(-0.15..0.15f32)).clamp(-1.0, 1.0);
                    let before = x;
                    x = (x + 0.2 * action).clamp(-1.0, 1.0);
                    Transition {
                        observation: vec![before],
                        action: vec![action],
                        reward: x,
                        next_observation: vec![x],
                        terminated: false,
                        truncated: t == 11,
                    }
                })
                .collect()
        })
        .collect()
}

fn walk(policy: &mut dyn Policy) -> f32 {
    let mut x = 0.0f32;
    (0..12)
        .map(|_| {
            let action = policy.act(&[x], Mode::Exploit).unwrap()[0];
            x = (x + 0.2 * action).clamp(-1.0, 1.0);
            x
        })
        .sum()
}

fn learn(config: IqlConfig, seed: u64) -> Iql {
    let mut iql = Iql::new(PolicySpec::new(1, 1), config, seed).unwrap();
    for episode in walks(seed, 40) {
        iql.observe_demonstration(&episode).unwrap();
    }
    while iql.updates_due() > 0 {
        iql.update().unwrap();
    }
    iql
}

#[test]
fn the_expectile_of_two_values_is_the_closed_form() {
    // Ones with share p, else zeros: the expectile is tau p / (tau p + (1 - tau)(1 - p)).
    for (p, tau) in [(0.25f32, 0.7f32), (0.5, 0.9), (0.1, 0.5)] {
        let mut value = 0.3f32;
        for _ in 0..4000 {
            let slope = p * expectile(1.0 - value, tau).1 + (1.0 - p) * expectile(-value, tau).1;
            value += 0.05 * slope;
        }
        let expected = tau * p / (tau * p + (1.0 - tau) * (1.0 - p));
        assert!(
            (value - expected).abs() < 1e-4,
            "{p} {tau}: {value} {expected}"
        );
    }
    assert_eq!(expectile(-2.0, 0.75), (1.0, -1.0));
    assert_eq!(expectile(2.0, 0.75), (3.0, 3.0));
}

#[test]
fn weights_are_exponential_and_cut_off() {
    let weights = extraction_weights(&[1.0, 0.0, 9.0], &[0.5, 0.5, 0.0], 2.0, 100.0);
    assert!((weights[0] - 1f32.exp()).abs() < 1e-6);
    assert!((weights[1] - (-1f32).exp()).abs() < 1e-6);
    assert_eq!(weights[2], 100.0);
}

#[test]
fn the_actors_gradients_agree_with_finite_differences() {
    let heads = [0.3f32, -0.7, 1.1, 0.0];
    let (log_std, actions) = ([-0.4f32, 0.2], [0.1f32, -0.9, 0.6, 0.4]);
    let weights = [0.5f32, 3.0];
    let value = |heads: &[f32], log_std: &[f32]| {
        let (mut a, mut b) = ([0.0; 4], [0.0; 2]);
        f64::from(weighted_likelihood(
            heads, log_std, &actions, &weights, &mut a, &mut b,
        ))
    };
    let (mut by_head, mut by_log_std) = ([0.0; 4], [0.0; 2]);
    weighted_likelihood(
        &heads,
        &log_std,
        &actions,
        &weights,
        &mut by_head,
        &mut by_log_std,
    );
    let step = 1e-2;
    for i in 0..4 {
        let (mut up, mut down) = (heads, heads);
        up[i] += step;
        down[i] -= step;
        let expected = (value(&up, &log_std) - value(&down, &log_std)) / f64::from(2.0 * step);
        assert!((f64::from(by_head[i]) - expected).abs() < 2e-3, "{i}");
    }
    for i in 0..2 {
        let (mut up, mut down) = (log_std, log_std);
        up[i] += step;
        down[i] -= step;
        let expected = (value(&heads, &up) - value(&heads, &down)) / f64::from(2.0 * step);
        assert!(
            (f64::from(by_log_std[i]) - expected).abs() < 2e-3,
            "log_std {i}"
        );
    }
}

#[test]
fn returns_are_discounted_within_episodes() {
    let mut replay = Replay::new(10, 1, 1);
    let step = |reward: f32, truncated| Transition {
        observation: vec![0.0],
        action: vec![0.0],
        reward,
        next_observation: vec![0.0],
        terminated: false,
        truncated,
    };
    replay.push(&[step(1.0, false), step(2.0, true)]).unwrap();
    replay.push(&[step(4.0, true)]).unwrap();
    assert_eq!(returns_to_go(&replay, 0.5), [2.0, 2.0, 4.0]);
}

#[test]
fn learns_the_better_half_of_mixed_data_where_cloning_takes_the_mean() {
    let bc_config = BcConfig {
        hidden: vec![32, 32],
        epochs: 40,
        ..BcConfig::default()
    };
    let run = |_: u64, _: &Metrics| ControlFlow::Continue(());
    let (mut bc, _) = Bc::fit(PolicySpec::new(1, 1), bc_config, 0, &walks(0, 40), run).unwrap();
    let cloned = walk(&mut bc);
    for advantage in [Advantage::Expectile, Advantage::Returns] {
        let learned = walk(&mut learn(
            IqlConfig {
                advantage,
                ..config()
            },
            0,
        ));
        assert!(
            cloned < 0.0 && learned > 6.0,
            "{advantage:?}: {cloned} {learned}"
        );
    }
}

#[test]
fn rewards_given_later_turn_the_policy() {
    let config = config();
    let mut iql = Iql::new(PolicySpec::new(1, 1), config, 0).unwrap();
    for episode in walks(0, 40) {
        iql.observe_demonstration(&episode).unwrap();
    }
    for replay in iql.replays() {
        replay
            .relabel(|episode| Some(episode.steps().map(|s| -s.reward).collect()))
            .unwrap();
    }
    while iql.updates_due() > 0 {
        iql.update().unwrap();
    }
    let found = walk(&mut iql);
    assert!(found < -6.0, "{found}");
}

#[test]
fn goes_on_exactly_where_it_stopped() {
    let short = IqlConfig {
        offline_updates: 20,
        ..config()
    };
    let mut iql = learn(short, 3);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("iql");
    iql.save(&path).unwrap();
    let mut again = Iql::resume(&path).unwrap();
    for _ in 0..10 {
        assert_eq!(iql.update().unwrap(), again.update().unwrap());
    }
    assert_eq!(
        iql.policy.network.parameters,
        again.policy.network.parameters
    );
    let mut loaded = crate::load_policy(&path).unwrap();
    assert_eq!(loaded.action_dim(), 1);
    loaded.act(&[0.1], Mode::Explore).unwrap();
}

#[test]
fn refuses_to_learn_from_nothing_and_settings_that_mean_nothing() {
    let mut iql = Iql::new(PolicySpec::new(1, 1), config(), 0).unwrap();
    assert_eq!(iql.updates_due(), 0);
    assert!(iql.update().is_err());
    let bad = IqlConfig {
        expectile: 0.3,
        ..config()
    };
    assert!(Iql::new(PolicySpec::new(1, 1), bad, 0).is_err());
}
