use super::*;
use crate::environment::Environment;
use crate::tasks::Push;

fn env() -> Env {
    Env::new("so101-push", EnvConfig::default()).unwrap()
}

#[test]
fn the_same_seed_and_actions_give_the_same_episode() {
    let (mut one, mut other) = (env(), env());
    other.reset(5).unwrap();
    other.step(&[1.0, 1.0]).unwrap();
    for seed in [7, 8] {
        assert_eq!(one.reset(seed).unwrap(), other.reset(seed).unwrap());
        for i in 0..one.max_steps() {
            let action = [(i as f32 * 0.7).sin(), (i as f32 * 0.3).cos()];
            assert_eq!(one.step(&action).unwrap(), other.step(&action).unwrap());
        }
    }
    assert_ne!(one.reset(1).unwrap(), one.reset(2).unwrap());
}

#[test]
fn an_episode_is_truncated_after_its_last_step_and_only_then() {
    let mut env = env();
    let first = env.reset(0).unwrap();
    assert_eq!(first.to_vec().len(), env.observation_len());
    assert_eq!(env.names().len(), env.observation_len());
    for i in 1..=env.max_steps() {
        let step = env.step(&[0.0, 0.0]).unwrap();
        assert_eq!(step.truncated, i == env.max_steps());
        assert!(!step.terminated);
        assert!((-0.6..=Push::BONUS).contains(&step.reward));
    }
}

#[test]
fn the_tool_moves_the_way_the_action_says() {
    let mut env = env();
    let before = env.reset(3).unwrap().tool;
    for _ in 0..4 {
        env.step(&[0.0, 0.5]).unwrap();
    }
    let after = env.step(&[0.0, 0.0]).unwrap().observation.tool;
    let travelled = after[1] - before[1];
    assert!((travelled - 0.06).abs() < 0.012, "{travelled}");
    assert!((after[0] - before[0]).abs() < 0.012);
}

#[test]
fn a_saved_state_goes_on_bit_for_bit_the_same() {
    let mut env = env();
    Environment::reset(&mut env, 4).unwrap();
    let action = |i: usize| [(i as f64 * 0.9).sin(), (i as f64 * 0.4).cos()];
    for i in 0..10 {
        Environment::step(&mut env, &action(i)).unwrap();
    }
    let saved = env.save().unwrap();
    let go = |env: &mut Env| {
        let mut seen = Vec::new();
        for i in 10..30 {
            let outcome = Environment::step(env, &action(i)).unwrap();
            let mut observation = vec![0.0; env.observation_len()];
            Environment::observe(env, &mut observation);
            seen.push((outcome, observation));
        }
        seen
    };
    let first = go(&mut env);
    env.restore(&saved).unwrap();
    assert_eq!(go(&mut env), first);
    let mut other = self::env();
    Environment::reset(&mut other, 99).unwrap();
    other.restore(&saved).unwrap();
    assert_eq!(go(&mut other), first);
    let mut reach = Env::new("so101-reach", EnvConfig::default()).unwrap();
    assert!(matches!(reach.restore(&saved), Err(EnvError::Config(_))));
}

#[test]
fn a_simulation_that_came_apart_is_an_error_until_the_next_episode() {
    let mut env = env();
    env.reset(0).unwrap();
    env.world().shatter();
    for _ in 0..3 {
        assert!(matches!(
            env.step(&[0.1, 0.1]),
            Err(EnvError::World(WorldError::Diverged { .. }))
        ));
    }
    let again = env.reset(0).unwrap();
    assert_eq!(again, self::env().reset(0).unwrap());
    env.step(&[0.1, 0.1]).unwrap();
}

#[test]
fn an_action_that_does_not_fit_is_refused() {
    let mut env = env();
    env.reset(0).unwrap();
    for action in [&[0.0][..], &[f32::NAN, 0.0], &[0.0, 0.0, 0.0]] {
        assert!(matches!(env.step(action), Err(EnvError::Action(_))));
    }
}

#[test]
fn rates_that_do_not_divide_are_refused() {
    let config = EnvConfig {
        policy_hz: 15.0,
        ..EnvConfig::default()
    };
    assert!(matches!(
        Env::new("so101-push", config),
        Err(EnvError::Config(_))
    ));
}
