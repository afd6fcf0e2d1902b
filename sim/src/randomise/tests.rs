use std::sync::Arc;

use image::RgbImage;
use mujoco_rs::prelude::*;

use super::*;
use crate::env::{Env, EnvConfig, EnvError};
use crate::environment::Environment;
use crate::render::{Backend, Quality};
use crate::simulation::Simulation;
use crate::tasks;
use crate::vec_env::VecEnv;

/// Something of everything.
fn everything() -> Randomisation {
    let factor = Some(Range::new(0.7, 1.4));
    let by = |x: f64| Some(Range::new(-x, x));
    Randomisation {
        object_m: by(0.01),
        object_rad: by(0.2),
        arm_rad: by(0.05),
        friction: factor,
        mass: factor,
        damping: factor,
        frictionloss: factor,
        armature: factor,
        gain: factor,
        latency_s: Some(Range::new(0.01, 0.06)),
        joint_noise: Some(Range::new(0.001, 0.003)),
        object_noise: Some(Range::new(0.001, 0.003)),
        colour: by(0.2),
        light_m: by(0.3),
        light: Some(Range::new(0.5, 1.3)),
        camera_m: by(0.02),
        camera_rad: by(0.03),
        camera_fovy_deg: by(4.0),
    }
}

fn config(randomisation: Randomisation) -> EnvConfig {
    EnvConfig {
        randomisation,
        renderer: Backend::Cpu,
        max_steps: Some(6),
        ..EnvConfig::default()
    }
}

fn env(randomisation: Randomisation) -> Env {
    Env::new("so101-push", config(randomisation)).unwrap()
}

fn picture(env: &mut Env) -> RgbImage {
    let mut image = RgbImage::new(64, 48);
    Environment::render(env, "front", &mut image).unwrap();
    image
}

fn actions(n: usize, t: usize) -> Vec<f64> {
    (0..2 * n)
        .map(|k| ((k * 7 + t * 3) as f64 * 0.37).sin())
        .collect()
}

#[test]
fn without_ranges_nothing_is_drawn_and_the_model_stays_shared() {
    let mut env = env(Randomisation::default());
    env.reset(3).unwrap();
    assert!(env.variation().is_none());
    assert!(Randomisation::default().is_none());
    let shared = Arc::as_ptr(env.world().scene().model());
    let used: *const MjModel = env
        .world()
        .with_data(|data| std::ptr::from_ref(data.model()))
        .unwrap();
    assert_eq!(shared, used);
}

#[test]
fn what_is_drawn_is_within_its_range_named_and_decided_by_the_seed() {
    let mut env = env(everything());
    env.reset(3).unwrap();
    let values = env.variation().values();
    for name in [
        "object_m.cube.x",
        "arm_rad.shoulder_pan",
        "friction.cube",
        "mass.upper_arm",
        "gain.gripper",
        "latency_s",
        "colour.table.r",
        "light.headlight",
        "camera_rad.wrist.z",
    ] {
        assert!(values.contains_key(name), "{name} in {values:?}");
    }
    assert!(!values.contains_key("arm_rad.gripper"));
    assert!(
        values
            .iter()
            .all(|(name, value)| { !name.starts_with("gain") || (0.7..=1.4).contains(value) })
    );
    env.reset(4).unwrap();
    assert_ne!(env.variation().values(), values);
    env.reset(3).unwrap();
    assert_eq!(env.variation().values(), values);
}

#[test]
fn one_kind_of_change_does_not_alter_what_the_others_draw() {
    let scene = Env::scene(&tasks::Push, &EnvConfig::default()).unwrap();
    let all = Variation::sample(&everything(), scene.model(), 8).values();
    let some = Randomisation {
        mass: None,
        colour: None,
        object_m: None,
        ..everything()
    };
    for (name, value) in Variation::sample(&some, scene.model(), 8).values() {
        assert_eq!(all[&name], value, "{name}");
    }
    // Nor does it move what the task places.
    let start = |randomisation| env(randomisation).reset(8).unwrap().environment;
    let lights = Randomisation {
        light: Some(Range::new(0.5, 1.0)),
        ..Randomisation::default()
    };
    assert_eq!(start(lights), start(Randomisation::default()));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let run = |threads: usize| {
        let mut envs = VecEnv::new("so101-push", &config(everything()), 4, threads).unwrap();
        let mut batch = envs.reset(9).unwrap();
        let mut all = vec![batch.clone()];
        for t in 0..14 {
            envs.step(&actions(4, t), &mut batch).unwrap();
            all.push(batch.clone());
        }
        let mut pictures = vec![0; 4 * 24 * 16 * 3];
        envs.render("front", (24, 16), &mut pictures).unwrap();
        (all, pictures)
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn a_restored_environment_has_its_variation_back() {
    let mut one = env(everything());
    Environment::reset(&mut one, 5).unwrap();
    for t in 0..3 {
        Environment::step(&mut one, &actions(1, t)).unwrap();
    }
    let saved = one.save().unwrap();
    let go = |env: &mut Env| {
        let seen: Vec<_> = (3..6)
            .map(|t| {
                let outcome = Environment::step(env, &actions(1, t)).unwrap();
                let mut observation = vec![0.0; env.observation_len()];
                Environment::observe(env, &mut observation);
                (outcome, observation)
            })
            .collect();
        (seen, picture(env))
    };
    let first = go(&mut one);
    let mut other = env(everything());
    Environment::reset(&mut other, 77).unwrap();
    Environment::step(&mut other, &actions(1, 0)).unwrap();
    other.restore(&saved).unwrap();
    assert_eq!(other.variation(), one.variation());
    assert_eq!(go(&mut other), first);
}

#[test]
fn every_kind_changes_what_it_should() {
    let zero = |kind: &str| {
        let text = format!("{kind} = [{{}}, {{}}]");
        text
    };
    let only = |kind: &str, at: f64| -> Randomisation {
        let text = zero(kind).replace("{}", &format!("{at:?}"));
        toml::from_str(&text).unwrap()
    };
    let episode = |randomisation: Randomisation| {
        let mut env = env(randomisation);
        Environment::reset(&mut env, 2).unwrap();
        let mut seen = vec![0.0; env.observation_len()];
        for t in 0..5 {
            Environment::step(&mut env, &actions(1, t)).unwrap();
        }
        Environment::observe(&env, &mut seen);
        (seen, picture(&mut env))
    };
    let (plain, view) = episode(Randomisation::default());
    // The number, and whether it moves things, changes the picture only, or the observation only.
    for (kind, at, moves, paints) in [
        ("object_m", 0.01, true, true),
        ("object_rad", 0.3, true, true),
        ("arm_rad", 0.05, true, true),
        ("mass", 1.5, true, true),
        ("damping", 2.0, true, true),
        ("frictionloss", 3.0, true, true),
        ("armature", 3.0, true, true),
        ("gain", 0.5, true, true),
        ("latency_s", 0.06, true, true),
        ("joint_noise", 0.01, true, false),
        ("object_noise", 0.01, true, false),
        ("colour", 0.2, false, true),
        ("light_m", 0.5, false, true),
        ("light", 0.5, false, true),
        ("camera_m", 0.03, false, true),
        ("camera_rad", 0.05, false, true),
        ("camera_fovy_deg", 6.0, false, true),
    ] {
        let (seen, looks) = episode(only(kind, at));
        assert_eq!(seen != plain, moves, "{kind} and the observation");
        assert_eq!(looks != view, paints, "{kind} and the picture");
    }
}

#[test]
fn both_renderers_follow_colour_light_and_camera() {
    let task = tasks::Push;
    let scene = Env::scene(&task, &EnvConfig::default()).unwrap();
    for backend in [Backend::Cpu, Backend::Gl] {
        let mut sim = Simulation::new(scene.model().clone(), backend, Quality::Fast).unwrap();
        let mut look = |variation: &Variation| {
            sim.vary(variation);
            let mut image = RgbImage::new(48, 32);
            sim.render(0, &mut image).map(|()| image)
        };
        let Ok(plain) = look(&Variation::default()) else {
            // A machine without EGL; the rasteriser must work everywhere.
            assert_eq!(backend, Backend::Gl);
            continue;
        };
        for kind in ["colour", "light", "camera_m", "camera_rad"] {
            let range = if kind == "light" { 0.5 } else { 0.2 };
            let only: Randomisation =
                toml::from_str(&format!("{kind} = [{range}, {range}]")).unwrap();
            let variation = Variation::sample(&only, scene.model(), 1);
            assert_ne!(look(&variation).unwrap(), plain, "{kind} with {backend:?}");
        }
        assert_eq!(look(&Variation::default()).unwrap(), plain, "{backend:?}");
    }
}

#[test]
fn a_variation_is_undone_by_the_next() {
    let scene = Env::scene(&tasks::Push, &EnvConfig::default()).unwrap();
    let all = Variation::sample(&everything(), scene.model(), 1);
    let sim = |first: Option<&Variation>, then: &Variation| {
        let mut sim = Simulation::new(scene.model().clone(), Backend::Cpu, Quality::Fast).unwrap();
        if let Some(first) = first {
            sim.vary(first);
        }
        sim.vary(then);
        sim.data_mut().ctrl_mut().fill(0.4);
        sim.advance(200).unwrap();
        let mut image = RgbImage::new(32, 24);
        sim.render(0, &mut image).unwrap();
        (sim.save(), image)
    };
    let lights: Randomisation = toml::from_str("light = [0.5, 0.5]").unwrap();
    let lights = Variation::sample(&lights, scene.model(), 1);
    let nothing = Variation::default();
    assert_eq!(sim(Some(&all), &lights), sim(None, &lights));
    assert_eq!(sim(Some(&all), &nothing), sim(None, &nothing));
    // What does not touch the physics leaves it as it was compiled, bit for bit.
    assert_eq!(sim(None, &lights).0, sim(None, &nothing).0);
    assert_ne!(sim(None, &all).0, sim(None, &nothing).0);
}

#[test]
fn ranges_that_cannot_be_are_refused_by_name() {
    for (text, word) in [
        ("mass = [0.0, 1.0]", "mass must be within"),
        ("friction = [1.2, 0.8]", "friction must be a range"),
        ("latency_s = [0.0, 5.0]", "latency_s must be within"),
        ("joint_noise = [-0.1, 0.1]", "joint_noise must be within"),
        ("gain = [nan, 1.0]", "gain must be a range"),
    ] {
        let randomisation: Randomisation = toml::from_str(text).unwrap();
        let error = Env::new("so101-push", config(randomisation)).unwrap_err();
        assert!(matches!(error, EnvError::Config(_)), "{text}");
        assert!(error.to_string().contains(word), "{text}: {error}");
    }
    let unknown = toml::from_str::<Randomisation>("gravity = [0.0, 1.0]");
    assert!(unknown.unwrap_err().to_string().contains("gravity"));
}
