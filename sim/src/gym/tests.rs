use std::sync::Arc;

use image::RgbImage;

use super::mujoco::compile;
use super::*;
use crate::assets::Package;
use crate::environment::{Environment, make, names};
use crate::render::Backend;
use crate::vec_env::VecEnv;
use crate::world::WorldError;

fn config() -> EnvConfig {
    EnvConfig {
        renderer: Backend::Cpu,
        ..EnvConfig::default()
    }
}

/// A lively action for step `t` of an environment.
fn action(env: &dyn Environment, t: usize) -> Vec<f64> {
    match &env.description().action {
        Actions::Choice(count) => vec![(t * t / 3 % count) as f64],
        Actions::Continuous(ranges) => ranges
            .iter()
            .enumerate()
            .map(|(i, (low, high))| {
                let share = 0.5 + 0.5 * ((i * 5 + t * 2) as f64 * 0.61).sin();
                f64::from((low + share * (high - low)) as f32)
            })
            .collect(),
    }
}

fn observation(env: &dyn Environment) -> Vec<f64> {
    let mut out = vec![f64::NAN; env.description().observation_len()];
    env.observe(&mut out);
    out
}

/// What steps `from..to` show.
fn go(env: &mut dyn Environment, from: usize, to: usize) -> Vec<(crate::Outcome, Vec<f64>)> {
    (from..to)
        .map(|t| {
            let action = action(env, t);
            let outcome = env.step(&action).unwrap();
            (outcome, observation(env))
        })
        .collect()
}

#[test]
fn every_benchmark_is_made_by_its_name() {
    for name in NAMES {
        assert!(names().contains(&name), "{name}");
        let mut env = make(name, &config()).unwrap();
        assert_eq!(env.description().name, name);
        env.reset(0).unwrap();
        assert!(
            observation(&*env).iter().all(|value| value.is_finite()),
            "{name}"
        );
    }
    let unknown = make("Humanoid-v9", &config()).err().unwrap().to_string();
    assert!(unknown.contains("Humanoid-v5"), "{unknown}");
}

#[test]
fn lengths_and_limits_are_gymnasiums() {
    for (name, observed, acted, steps) in [
        ("CartPole-v1", 4, 1, 500),
        ("MountainCar-v0", 2, 1, 200),
        ("MountainCarContinuous-v0", 2, 1, 999),
        ("Pendulum-v1", 3, 1, 200),
        ("Reacher-v5", 10, 2, 50),
        ("HalfCheetah-v5", 17, 6, 1000),
        ("Humanoid-v5", 348, 17, 1000),
        ("vlm-rm-humanoid", 376, 17, 100),
    ] {
        let env = make(name, &config()).unwrap();
        let description = env.description();
        assert_eq!(description.observation_len(), observed, "{name}");
        assert_eq!(description.action_len(), acted, "{name}");
        assert_eq!(description.max_steps, steps, "{name}");
    }
}

#[test]
fn the_same_seed_gives_the_same_episode_and_another_seed_another() {
    for name in NAMES {
        let mut one = make(name, &config()).unwrap();
        let mut other = make(name, &config()).unwrap();
        other.reset(9).unwrap();
        go(&mut *other, 0, 3);
        one.reset(7).unwrap();
        other.reset(7).unwrap();
        let first = observation(&*one);
        assert_eq!(first, observation(&*other), "{name}");
        assert_eq!(go(&mut *one, 0, 20), go(&mut *other, 0, 20), "{name}");
        one.reset(8).unwrap();
        assert_ne!(first, observation(&*one), "{name}");
    }
}

/// The first observations of 200 episodes.
fn starts(name: &str) -> Vec<Vec<f64>> {
    let mut env = make(name, &config()).unwrap();
    (0..200)
        .map(|seed| {
            env.reset(seed).unwrap();
            observation(&*env)
        })
        .collect()
}

/// Whether component `i` stays within a range and comes near both of its ends.
fn fills(starts: &[Vec<f64>], i: usize, low: f64, high: f64) -> bool {
    let near = 0.05 * (high - low);
    let all = || starts.iter().map(|start| start[i]);
    all().all(|value| (low - 1e-8..=high + 1e-8).contains(&value))
        && all().any(|value| value < low + near)
        && all().any(|value| value > high - near)
}

#[test]
fn episodes_start_where_gymnasiums_do() {
    let cart = starts("CartPole-v1");
    assert!((0..4).all(|i| fills(&cart, i, -0.05, 0.05)));
    for name in ["MountainCar-v0", "MountainCarContinuous-v0"] {
        let car = starts(name);
        assert!(fills(&car, 0, -0.6, -0.4) && car.iter().all(|start| start[1] == 0.0));
    }
    let pendulum = starts("Pendulum-v1");
    assert!(fills(&pendulum, 0, -1.0, 1.0) && fills(&pendulum, 2, -1.0, 1.0));
    let reacher = starts("Reacher-v5");
    assert!(fills(&reacher, 2, -0.1_f64.sin(), 0.1_f64.sin()));
    assert!(fills(&reacher, 6, -0.005, 0.005));
    assert!(reacher.iter().all(|start| start[4].hypot(start[5]) < 0.2));
    assert!(reacher.iter().any(|start| start[4].hypot(start[5]) > 0.19));
    let cheetah = starts("HalfCheetah-v5");
    assert!((0..8).all(|i| fills(&cheetah, i, -0.1, 0.1)));
    let speeds: Vec<f64> = cheetah
        .iter()
        .flat_map(|start| start[8..].to_vec())
        .collect();
    let mean_square = speeds.iter().map(|v| v * v).sum::<f64>() / speeds.len() as f64;
    assert!((mean_square.sqrt() - 0.1).abs() < 0.005, "{mean_square}");
    let inside = speeds.iter().filter(|v| v.abs() < 0.1).count() as f64;
    assert!(
        (inside / speeds.len() as f64 - 0.683).abs() < 0.03,
        "{inside}"
    );
    for name in ["Humanoid-v5", "vlm-rm-humanoid"] {
        let humanoid = starts(name);
        assert!(fills(&humanoid, 0, 1.39, 1.41) && fills(&humanoid, 1, 0.99, 1.01));
        assert!((2..45).all(|i| fills(&humanoid, i, -0.01, 0.01)), "{name}");
    }
}

#[test]
fn a_saved_state_goes_on_bit_for_bit_the_same() {
    for name in NAMES {
        let mut env = make(name, &config()).unwrap();
        env.reset(4).unwrap();
        go(&mut *env, 0, 12);
        let saved = env.save().unwrap();
        let seen = observation(&*env);
        let first = go(&mut *env, 12, 40);
        env.restore(&saved).unwrap();
        assert_eq!(observation(&*env), seen, "{name}");
        assert_eq!(go(&mut *env, 12, 40), first, "{name}");
        let mut other = make(name, &config()).unwrap();
        other.reset(99).unwrap();
        other.restore(&saved).unwrap();
        assert_eq!(observation(&*other), seen, "{name}");
        assert_eq!(go(&mut *other, 12, 40), first, "{name}");
        let wrong = if name == NAMES[0] { NAMES[1] } else { NAMES[0] };
        let refused = make(wrong, &config()).unwrap().restore(&saved);
        assert!(matches!(refused, Err(EnvError::Config(_))), "{name}");
    }
}

#[test]
fn looking_changes_nothing_and_shows_the_state() {
    for name in NAMES {
        let mut watched = make(name, &config()).unwrap();
        let mut alone = make(name, &config()).unwrap();
        watched.reset(2).unwrap();
        alone.reset(2).unwrap();
        let cameras = watched.description().cameras.clone();
        let mut pictures = Vec::new();
        for t in 0..10 {
            for camera in &cameras {
                let mut picture = RgbImage::new(60, 40);
                watched.render(camera, &mut picture).unwrap();
                pictures.push(picture);
            }
            let shown = go(&mut *watched, t, t + 1);
            assert_eq!(shown, go(&mut *alone, t, t + 1), "{name}");
        }
        let last = pictures.len() - cameras.len();
        assert_ne!(pictures[0], pictures[last], "{name}");
        let nobody = watched.render("nobody", &mut RgbImage::new(8, 8));
        assert!(matches!(nobody, Err(EnvError::Render(_))), "{name}");
        let nothing = watched.render(&cameras[0], &mut RgbImage::new(0, 8));
        assert!(matches!(nothing, Err(EnvError::Render(_))), "{name}");
    }
}

#[test]
fn a_restored_state_looks_as_it_did() {
    for name in NAMES {
        let mut env = make(name, &config()).unwrap();
        env.reset(5).unwrap();
        go(&mut *env, 0, 6);
        let camera = env.description().cameras[0].clone();
        let look = |env: &mut Box<dyn Environment>| {
            let mut picture = RgbImage::new(48, 48);
            env.render(&camera, &mut picture).unwrap();
            picture
        };
        let (saved, before) = (env.save().unwrap(), look(&mut env));
        go(&mut *env, 6, 12);
        env.restore(&saved).unwrap();
        assert_eq!(look(&mut env), before, "{name}");
    }
}

#[test]
fn an_episode_is_truncated_after_its_last_step() {
    for name in NAMES {
        let short = EnvConfig {
            max_steps: Some(3),
            ..config()
        };
        let mut env = make(name, &short).unwrap();
        for _ in 0..2 {
            env.reset(0).unwrap();
            let ends: Vec<_> = go(&mut *env, 0, 3)
                .iter()
                .map(|(outcome, _)| outcome.truncated)
                .collect();
            assert_eq!(ends, [false, false, true], "{name}");
        }
    }
}

#[test]
fn the_humanoid_ends_where_its_torso_is_too_low_or_too_high() {
    let mut env = MujocoEnv::<Humanoid>::new(&config()).unwrap();
    let upright = env.simulation().model().qpos0().to_vec();
    for (height, terminated) in [(1.4, false), (0.9, true), (2.2, true)] {
        let mut positions = upright.clone();
        positions[2] = height;
        env.set_state(&positions, &[0.0; 23]).unwrap();
        let outcome = env.step(&[0.0; 17]).unwrap();
        assert_eq!(outcome.terminated, terminated, "{height}");
        assert_eq!(outcome.success, !terminated, "{height}");
        assert_eq!(
            outcome.reward > 4.0,
            !terminated,
            "{height}: {}",
            outcome.reward
        );
    }
    let mut paper = MujocoEnv::<VlmRmHumanoid>::new(&config()).unwrap();
    let mut positions = upright;
    positions[2] = 0.5;
    paper.set_state(&positions, &[0.0; 23]).unwrap();
    assert!(!paper.step(&[0.0; 17]).unwrap().terminated);
}

#[test]
fn the_papers_humanoid_moves_as_gymnasiums_does() {
    let mut plain = MujocoEnv::<Humanoid>::new(&config()).unwrap();
    let mut dressed = MujocoEnv::<VlmRmHumanoid>::new(&config()).unwrap();
    plain.reset(3).unwrap();
    dressed.reset(3).unwrap();
    go(&mut plain, 0, 40);
    go(&mut dressed, 0, 40);
    let positions = |sim: &crate::Simulation| sim.data().qpos().to_vec();
    assert_eq!(
        positions(plain.simulation()),
        positions(dressed.simulation())
    );
}

#[test]
fn actions_that_do_not_fit_are_refused() {
    for name in NAMES {
        let mut env = make(name, &config()).unwrap();
        env.reset(0).unwrap();
        let count = env.description().action_len();
        for bad in [
            vec![0.0; count + 1],
            vec![f64::NAN; count],
            vec![1e300; count],
        ] {
            assert!(
                matches!(env.step(&bad), Err(EnvError::Action(_))),
                "{name}: {bad:?}"
            );
        }
    }
    let mut env = make("CartPole-v1", &config()).unwrap();
    for bad in [2.0, -1.0, 0.5] {
        let message = env.step(&[bad]).unwrap_err().to_string();
        assert!(message.contains("from 0 to 1"), "{message}");
    }
}

#[test]
fn states_that_do_not_fit_are_refused() {
    let mut car = Classic::<MountainCar>::new(&config());
    assert!(car.set_state(&[0.0]).is_err());
    assert!(car.set_state(&[0.0, f64::NAN]).is_err());
    let mut reacher = MujocoEnv::<Reacher>::new(&config()).unwrap();
    assert!(reacher.set_state(&[0.0; 4], &[0.0; 3]).is_err());
    assert!(reacher.set_state(&[f64::INFINITY; 4], &[0.0; 4]).is_err());
    reacher.set_state(&[0.1; 4], &[0.0; 4]).unwrap();
}

#[test]
fn a_simulation_that_came_apart_is_an_error_until_the_next_episode() {
    let mut env = MujocoEnv::<HalfCheetah>::new(&config()).unwrap();
    let positions = env.simulation().model().qpos0().to_vec();
    env.set_state(&positions, &[1e9; 9]).unwrap();
    for _ in 0..2 {
        let step = env.step(&[0.0; 6]);
        assert!(
            matches!(step, Err(EnvError::World(WorldError::Diverged { .. }))),
            "{step:?}"
        );
    }
    env.reset(0).unwrap();
    env.step(&[0.0; 6]).unwrap();
}

#[test]
fn a_package_that_was_not_fetched_says_which_command_fetches_it() {
    let package = Package {
        wheel: "gymnasium==1.4.0",
        folder: "gymnasium-nowhere",
    };
    let error = compile(&package, "humanoid.xml", |text| text, |_| Ok(())).err();
    let error = error.unwrap().to_string();
    assert!(error.contains("./x assets gymnasium-nowhere"), "{error}");
    assert!(error.contains("humanoid.xml"), "{error}");
}

#[test]
fn a_model_that_does_not_compile_is_named() {
    let broken = |_: String| "<mujoco><geom/></mujoco>".to_string();
    let error = compile(&crate::assets::GYMNASIUM, "reacher.xml", broken, |_| Ok(())).err();
    let error = error.unwrap().to_string();
    assert!(error.contains("reacher.xml"), "{error}");
}

#[test]
fn many_humanoids_share_one_model_and_do_not_depend_on_threads() {
    let run = |threads: usize| {
        let mut envs = VecEnv::new("Humanoid-v5", &config(), 3, threads).unwrap();
        let mut batch = envs.reset(1).unwrap();
        let actions: Vec<f64> = (0..3 * 17).map(|i| 0.4 * (i as f64).sin()).collect();
        for _ in 0..60 {
            envs.step(&actions, &mut batch).unwrap();
        }
        batch
    };
    assert_eq!(run(1), run(2));
    let model = Arc::new(Humanoid::model().unwrap());
    let one = MujocoEnv::<Humanoid>::with_model(model.clone(), &config()).unwrap();
    assert!(Arc::ptr_eq(one.simulation().model(), &model));
}
