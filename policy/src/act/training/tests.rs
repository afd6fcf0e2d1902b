use rand::RngExt as _;

use super::*;
use crate::act::Execution;
use crate::checkpoint::load_policy;
use crate::deep::parameters;
use crate::policy::{Mode, Policy as _};

/// The action at step `t` is known from the first observation `[start, t]`: `sin(start + t / 5)` and its negative half.
fn law(start: f32, t: usize) -> Vec<f32> {
    let a = (start + t as f32 / 5.0).sin() * 0.8;
    vec![a, -0.5 * a]
}

fn episodes(count: usize, seed: u64, extra: usize) -> Vec<Vec<Transition>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count)
        .map(|_| {
            let start = rng.random_range(-1.0..1.0f32);
            (0..24)
                .map(|t| {
                    let mut observation = vec![10.0 * start, t as f32];
                    observation.extend((0..extra).map(|i| start * (i as f32 + 1.0)));
                    Transition {
                        next_observation: observation.clone(),
                        observation,
                        action: law(start, t),
                        reward: 0.0,
                        terminated: false,
                        truncated: t == 23,
                    }
                })
                .collect()
        })
        .collect()
}

fn config() -> ActConfig {
    ActConfig {
        chunk: 6,
        dim: 32,
        heads: 2,
        feed_forward: 64,
        encoder_layers: 1,
        style_layers: 1,
        latent: 4,
        dropout: 0.0,
        batch: 12,
        steps: 400,
        report_every: 100,
        adam: crate::AdamConfig {
            learning_rate: 2e-3,
            ..crate::AdamConfig::default()
        },
        ..ActConfig::default()
    }
}

fn run(_: u64, _: &Metrics) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn chunks_follow_the_law_and_a_saved_policy_acts_to_the_same_bits() {
    let data = episodes(20, 1, 0);
    let (mut act, report) = Act::fit(PolicySpec::new(2, 2), config(), 1, &data, run).unwrap();
    assert!(report.validation_loss.unwrap() < 0.12, "{report:?}");
    let dir = tempfile::tempdir().unwrap();
    act.save(dir.path()).unwrap();
    let mut loaded = load_policy(dir.path()).unwrap();
    let unseen = episodes(1, 9, 0);
    for (t, step) in unseen[0].iter().enumerate() {
        let action = act.act(&step.observation, Mode::Exploit).unwrap();
        let expected = law(step.observation[0] / 10.0, t);
        assert!(
            (action[0] - expected[0]).abs() < 0.15,
            "{t}: {action:?} {expected:?}"
        );
        let again = loaded.act(&step.observation, Mode::Exploit).unwrap();
        assert_eq!(again, action);
    }
    act.reset();
    loaded.reset();
    let first = act.act(&unseen[0][3].observation, Mode::Exploit).unwrap();
    assert_eq!(first, act.predict(&unseen[0][3].observation).unwrap()[..2]);
}

#[test]
fn the_same_seed_gives_the_same_bits_and_a_queue_looks_only_when_empty() {
    let data = episodes(4, 1, 0);
    let fit = |seed| {
        let config = ActConfig {
            steps: 5,
            dropout: 0.1,
            execution: Execution::Queue { execute: 3 },
            ..config()
        };
        Act::fit(PolicySpec::new(2, 2), config, seed, &data, run)
            .unwrap()
            .0
    };
    let (mut act, seen) = (fit(3), &data[0][0].observation);
    let chunk = act.predict(seen).unwrap();
    assert_eq!(chunk, fit(3).predict(seen).unwrap());
    assert_ne!(chunk, fit(4).predict(seen).unwrap());
    assert_eq!(act.act(seen, Mode::Exploit).unwrap(), chunk[..2]);
    for at in [2, 4] {
        let action = act.act(&[100.0, 0.0], Mode::Exploit).unwrap();
        assert_eq!(action, chunk[at..at + 2]);
    }
    assert_ne!(act.act(&[100.0, 0.0], Mode::Exploit).unwrap(), chunk[..2]);
}

/// Elsewhere is the processor too, by the way of the graphics adapter.
#[test]
fn steps_on_another_device_are_the_same_steps() {
    let data = episodes(6, 1, 0);
    let config = ActConfig {
        steps: 12,
        report_every: 6,
        dropout: 0.1,
        ..config()
    };
    let spec = PolicySpec::new(2, 2);
    let begin = || ActFit::new(spec.clone(), config.clone(), 3, &data, None).unwrap();
    let elsewhere = Device::flex();
    let (mut here, mut there) = (begin(), begin().on(&elsewhere));
    while !here.is_done() {
        let (a, b) = (here.advance().unwrap(), there.advance().unwrap());
        assert!((a["training_loss"] - b["training_loss"]).abs() < 1e-4);
        let dir = tempfile::tempdir().unwrap();
        there.save(dir.path()).unwrap();
        there = ActFit::resume(dir.path(), &spec, &data, None)
            .unwrap()
            .on(&elsewhere);
    }
    let seen = &data[5][3].observation;
    let (here, there) = (here.finish().0, there.finish().0);
    let chunks = (here.predict(seen).unwrap(), there.predict(seen).unwrap());
    for (a, b) in chunks.0.iter().zip(&chunks.1) {
        assert!((a - b).abs() < 1e-3, "{a} {b}");
    }
}

#[test]
fn a_fit_put_down_and_taken_up_again_ends_in_the_same_bits() {
    let data = episodes(6, 1, 0);
    let config = ActConfig {
        steps: 12,
        report_every: 4,
        dropout: 0.1,
        validation_share: 0.3,
        ..config()
    };
    let spec = PolicySpec::new(2, 2);
    let begin = || ActFit::new(spec.clone(), config.clone(), 3, &data, None).unwrap();
    let end = |mut fit: ActFit<'_>| {
        while !fit.is_done() {
            fit.advance().unwrap();
        }
        let newest = parameters::named(&fit.fitting.acting()).unwrap();
        let (act, report) = fit.finish();
        let chunk = act.predict(&data[5][3].observation).unwrap();
        let newest: Vec<f32> = newest.into_iter().flat_map(|t| t.values).collect();
        (chunk, newest, report)
    };
    let whole = end(begin());
    for reports in 1..=2 {
        let dir = tempfile::tempdir().unwrap();
        let mut fit = begin();
        for _ in 0..reports {
            fit.advance().unwrap();
        }
        fit.save(dir.path()).unwrap();
        let resumed = ActFit::resume(dir.path(), &spec, &data, None).unwrap();
        assert_eq!(resumed.steps(), 4 * reports);
        assert_eq!(end(resumed), whole);
        let fewer = ActFit::resume(dir.path(), &spec, &data[..5], None);
        let error = fewer.err().unwrap().to_string();
        assert!(error.contains("other demonstrations"), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    begin().finish().0.save(dir.path()).unwrap();
    let finished = ActFit::resume(dir.path(), &spec, &data, None);
    assert!(
        finished
            .err()
            .unwrap()
            .to_string()
            .contains("for deployment only")
    );
}

#[test]
fn weights_decide_whom_to_copy() {
    // Two demonstrators who contradict each other at every step; only the first has weight.
    let mut data = episodes(12, 1, 0);
    let mut weights = Vec::new();
    for n in 0..12 {
        if n % 2 == 1 {
            data[n] = data[n - 1].clone();
            for step in &mut data[n] {
                step.action.iter_mut().for_each(|a| *a = -*a);
            }
        }
        weights.push(vec![(n % 2 == 0) as u8 as f32; 24]);
    }
    let config = ActConfig {
        validation_share: 0.0,
        ..config()
    };
    let spec = PolicySpec::new(2, 2);
    let fit = |w| {
        let act = Act::fit_weighted(spec.clone(), config.clone(), 1, &data, w, run);
        let act = act.unwrap().0;
        let error =
            |step: &Transition| (act.predict(&step.observation).unwrap()[0] - step.action[0]).abs();
        data[0].iter().map(error).sum::<f32>() / 24.0
    };
    let (weighted, plain) = (fit(Some(&weights[..])), fit(None));
    assert!(weighted < 0.12 && plain > 0.25, "{weighted} {plain}");
    let short = Act::fit_weighted(
        spec.clone(),
        config.clone(),
        1,
        &data,
        Some(&weights[1..]),
        run,
    );
    assert!(
        short
            .unwrap_err()
            .to_string()
            .contains("one weight for each step")
    );
    weights[0][0] = f32::NAN;
    let nan = Act::fit_weighted(spec, config.clone(), 1, &data, Some(&weights), run);
    assert!(nan.unwrap_err().to_string().contains("NaN"));
}

#[test]
fn image_tokens_tell_what_the_state_does_not() {
    // The start is only in the tokens: the state's first number is taken away.
    let mut data = episodes(20, 1, 6);
    for step in data.iter_mut().flatten() {
        step.observation[0] = 0.0;
    }
    let fit = |image_tokens: Vec<usize>, token_dim, data: &[Vec<Transition>]| {
        let config = ActConfig {
            image_tokens,
            token_dim,
            ..config()
        };
        let spec = PolicySpec::new(data[0][0].observation.len(), 2);
        let report = Act::fit(spec, config, 1, data, run).unwrap().1;
        report.validation_loss.unwrap()
    };
    let seeing = fit(vec![2, 1], 2, &data);
    for step in data.iter_mut().flatten() {
        step.observation.truncate(2);
        step.next_observation.truncate(2);
    }
    let blind = fit(Vec::new(), 0, &data);
    assert!(seeing < 0.5 * blind, "{seeing} {blind}");
}

#[test]
fn stops_when_asked_and_refuses_what_cannot_be() {
    let data = episodes(3, 1, 0);
    let config = ActConfig {
        report_every: 2,
        ..config()
    };
    let stop = |step, _: &Metrics| match step {
        4 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let spec = PolicySpec::new(2, 2);
    let report = Act::fit(spec.clone(), config.clone(), 1, &data, stop)
        .unwrap()
        .1;
    assert_eq!(report.steps, 4);
    for wrong in [
        ActConfig {
            heads: 5,
            ..config.clone()
        },
        ActConfig {
            image_tokens: vec![1],
            token_dim: 2,
            ..config.clone()
        },
        ActConfig {
            execution: Execution::Queue { execute: 7 },
            ..config.clone()
        },
    ] {
        assert!(Act::fit(spec.clone(), wrong, 1, &data, run).is_err());
    }
    assert!(Act::fit(spec, config, 1, &[], run).is_err());
}
