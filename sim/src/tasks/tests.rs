use super::*;
use crate::env::{Env, EnvConfig};
use crate::script::{Script, ScriptConfig};

#[test]
fn an_unknown_task_is_an_error_that_lists_the_known_ones() {
    let message = by_name("so101-juggle")
        .err()
        .map(|e| e.to_string())
        .unwrap();
    assert!(message.starts_with("there is no task \"so101-juggle\"; the tasks are so101-reach, "));
    for task in all() {
        assert!(message.contains(task.name()), "{message}");
    }
}

#[test]
fn the_tool_is_put_where_it_is_asked_for() {
    for (x, y) in [(0.16, -0.14), (0.22, 0.0), (0.26, 0.12)] {
        let joints = joints_over(Vector3::new(x, y, 0.03), FRAC_PI_2, 0.5).unwrap();
        let tool = so101::chain().base_from_tool(&joints[..5]);
        assert!((tool.translation.vector - Vector3::new(x, y, 0.03)).norm() < 1e-3);
        assert!((tool.rotation * Vector3::z()).z < -0.999);
        assert!((tool.rotation * Vector3::x()).y > 0.999);
    }
    assert!(joints_over(Vector3::new(0.8, 0.0, 0.03), 0.0, 0.0).is_err());
}

/// What a task promises about its numbers, over starts of both kinds and the operator's way.
#[test]
fn every_tasks_features_and_rewards_are_named_finite_and_bounded() {
    for task in all() {
        let name = task.name();
        let mut env = Env::new(name, EnvConfig::default()).unwrap();
        let mut script = Script::new(task.clone(), ScriptConfig::default(), 0);
        for seed in 0..3 {
            let first = env.reset(seed).unwrap();
            assert_ne!(first, env.reset_independently(seed).unwrap(), "{name}");
            assert_eq!(first, env.reset(seed).unwrap(), "{name}");
            assert_eq!(first.environment.len(), task.features().len(), "{name}");
            assert!(!task.success(&env.reading().unwrap()), "{name} {seed}");
            script.reset(seed);
            loop {
                let action = script.action(&env.reading().unwrap());
                let step = env.step(&action).unwrap();
                assert!(
                    (-1.0..=0.45).contains(&step.reward),
                    "{name} {}",
                    step.reward
                );
                assert!(step.progress <= 0.0, "{name} {}", step.progress);
                let state = step.observation.to_vec();
                assert!(state.iter().all(|v| v.is_finite()), "{name}");
                if step.truncated {
                    break;
                }
            }
        }
    }
}

#[test]
fn who_does_the_task_is_rewarded_more_than_who_waits() {
    for task in all() {
        let name = task.name();
        let mut env = Env::new(name, EnvConfig::default()).unwrap();
        let mut script = Script::new(task.clone(), ScriptConfig::default(), 0);
        let mut sum = |acts: &mut dyn FnMut(&Reading) -> Vec<f32>| {
            env.reset(5).unwrap();
            let mut sum = 0.0;
            loop {
                let step = env.step(&acts(&env.reading().unwrap())).unwrap();
                sum += step.reward;
                if step.truncated {
                    return (sum, step.reward);
                }
            }
        };
        let done = sum(&mut |reading| script.action(reading));
        let length = task.operator().act(&sample(&*task)).len();
        let waited = sum(&mut |_| vec![0.0; length]);
        assert!(
            done.0 > waited.0 && done.1 > waited.1,
            "{name} {done:?} {waited:?}"
        );
    }
}

/// A reading of a task's scene before anything is placed.
fn sample(task: &dyn Task) -> Reading {
    let scene = crate::Scene::new(task.scene()).unwrap();
    World::new(scene).unwrap().reading().unwrap()
}
