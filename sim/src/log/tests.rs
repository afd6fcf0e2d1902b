//! Logged runs: written, read back, shown again; and what is refused.

use std::path::Path;

use image::RgbImage;
use proptest::prelude::*;

use super::*;
use crate::env::{Env, EnvConfig};
use crate::render::{Backend, Quality};

fn env() -> Env {
    let config = EnvConfig {
        image_width: 48,
        image_height: 48,
        renderer: Backend::Cpu,
        ..EnvConfig::default()
    };
    Env::new("so101-push", config).unwrap()
}

fn config(env: &Env) -> StateLogConfig {
    let action = (0..env.action_len()).map(|i| format!("a{i}"));
    let mut config = StateLogConfig::new(10.0, "push the cube", action);
    config.action[0].meaning = Meaning::Rate;
    config
}

/// What was seen while a run was logged.
struct Seen {
    positions: Vec<Vec<f64>>,
    pictures: Vec<RgbImage>,
    actions: Vec<Vec<f64>>,
    rewards: Vec<f64>,
    reading_cubes: Vec<[f64; 3]>,
}

/// Logs `steps` steps of a run and looks at it meanwhile.
fn logged(dir: &Path, steps: usize) -> Seen {
    let mut env = env();
    let mut writer =
        StateLogWriter::create(dir, &env.world().scene().mjcf(), &config(&env)).unwrap();
    let mut seen = Seen {
        positions: Vec::new(),
        pictures: Vec::new(),
        actions: Vec::new(),
        rewards: Vec::new(),
        reading_cubes: Vec::new(),
    };
    let look = |env: &mut Env, seen: &mut Seen| {
        seen.positions
            .push(env.world().with_data(|data| data.qpos().to_vec()).unwrap());
        seen.reading_cubes
            .push(env.reading().unwrap().cube().unwrap().position().into());
        seen.pictures.push(env.render("front").unwrap());
    };
    env.reset(3).unwrap();
    env.world()
        .with_data(|data| writer.begin(data))
        .unwrap()
        .unwrap();
    look(&mut env, &mut seen);
    for i in 0..steps {
        let action: Vec<f32> = (0..env.action_len())
            .map(|k| ((i + k) as f32 * 0.7).sin())
            .collect();
        let step = env.step(&action).unwrap();
        let action: Vec<f64> = action.into_iter().map(f64::from).collect();
        let logged = Step {
            action: &action,
            reward: step.reward,
            success: step.success,
        };
        env.world()
            .with_data(|data| writer.step(logged, data))
            .unwrap()
            .unwrap();
        seen.actions.push(action);
        seen.rewards.push(step.reward);
        look(&mut env, &mut seen);
    }
    assert_eq!(writer.save().unwrap(), 0);
    seen
}

#[test]
fn a_logged_run_shows_again_exactly_what_was_seen() {
    let dir = tempfile::tempdir().unwrap();
    let seen = logged(&dir.path().join("log"), 5);
    let mut logs = read(&dir.path().join("log")).unwrap();
    assert_eq!(logs.len(), 1);
    let log = Arc::new(logs.remove(0));
    assert_eq!(log.cameras(), crate::scene::CAMERAS);
    assert_eq!((log.states.len(), log.actions.len()), (6, 5));
    let environment = Layout::names(&log.layout.environment);
    assert_eq!(environment[..3], ["cube.x", "cube.y", "cube.z"]);
    assert!(environment.iter().any(|name| name == "target.y"));
    let mut playback = Playback::new(log.clone(), Backend::Cpu, Quality::Fast).unwrap();
    // Backwards, because no moment may depend on what was shown before.
    for row in (0..6).rev() {
        playback.show(row).unwrap();
        assert_eq!(playback.simulation().data().qpos(), seen.positions[row]);
        assert_eq!(playback.environment_state()[..3], seen.reading_cubes[row]);
        let mut picture = RgbImage::new(48, 48);
        playback.render("front", &mut picture).unwrap();
        assert!(
            picture == seen.pictures[row],
            "the picture of state {row} differs"
        );
        if row > 0 {
            let reward = playback.verdict().unwrap().reward;
            assert_eq!(reward, seen.rewards[row - 1]);
            assert_eq!(log.actions.row(row - 1), seen.actions[row - 1]);
        }
    }
}

#[test]
fn several_steps_make_the_mean_of_rates_and_the_last_of_goals() {
    let dir = tempfile::tempdir().unwrap();
    let seen = logged(&dir.path().join("log"), 5);
    let log = read(&dir.path().join("log")).unwrap().remove(0);
    let both = log.action_over(0, 2);
    let mean = (seen.actions[0][0] + seen.actions[1][0]) / 2.0;
    assert!((both[0] - mean).abs() < 1e-12);
    assert_eq!(both[1], seen.actions[1][1]);
    // The last row may stand for fewer.
    assert_eq!(log.action_over(4, 6), seen.actions[4]);
}

#[test]
fn what_does_not_fit_is_refused_in_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let env = env();
    let scene = env.world().scene().mjcf();
    let good = config(&env);
    let refused = |change: &dyn Fn(&mut StateLogConfig), part: &str| {
        let mut config = good.clone();
        change(&mut config);
        let error = StateLogWriter::create(&dir.path().join("x"), &scene, &config)
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(&|c| c.rate_hz = 0.0, "rate_hz");
    refused(&|c| c.instruction = " ".into(), "instruction");
    refused(&|c| c.action.clear(), "action");
    refused(&|c| c.state = vec!["qvel".into(), "qpos".into()], "order");
    refused(&|c| c.state = vec!["velocity".into()], "no part velocity");
    refused(&|c| c.state = vec!["qvel".into()], "without qpos");
    refused(&|c| c.scene = "../scene.xml".into(), "in the folder");
    refused(&|c| c.robot = Some(vec!["tail".into()]), "called tail");
    let error = StateLogWriter::create(&dir.path().join("y"), "<mujoco><arm/></mujoco>", &good)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("scene.xml") && error.contains("arm"),
        "{error}"
    );

    let log = dir.path().join("log");
    let mut writer = StateLogWriter::create(&log, &scene, &good).unwrap();
    let error = StateLogWriter::create(&log, &scene, &good).unwrap_err();
    assert!(error.to_string().contains("not empty"), "{error}");
    let action = vec![0.0; env.action_len()];
    let with = |writer: &mut StateLogWriter, action: &[f64]| {
        let step = Step {
            action,
            reward: 0.0,
            success: false,
        };
        env.world()
            .with_data(|data| writer.step(step, data))
            .unwrap()
    };
    assert!(
        with(&mut writer, &action)
            .unwrap_err()
            .to_string()
            .contains("begin")
    );
    env.world()
        .with_data(|data| writer.begin(data))
        .unwrap()
        .unwrap();
    assert!(writer.save().unwrap_err().to_string().contains("no step"));
    with(&mut writer, &action[1..]).unwrap_err();
    let mut bad = action.clone();
    bad[0] = f64::NAN;
    with(&mut writer, &bad).unwrap_err();
    with(&mut writer, &action).unwrap();
    writer.save().unwrap();
}

#[test]
fn a_damaged_folder_says_which_file_and_what() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let says = |part: &str| {
        let error = read(&log).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    says("log.json");
    logged(&log, 2);
    read(&log).unwrap();
    let change = |file: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>, part: &str| {
        let path = log.join(file);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, change(bytes.clone())).unwrap();
        says(part);
        std::fs::write(&path, bytes).unwrap();
    };
    let replace = |from: &'static str, to: &'static str| {
        move |bytes: Vec<u8>| {
            String::from_utf8(bytes)
                .unwrap()
                .replace(from, to)
                .into_bytes()
        }
    };
    let episode = "episode-000000.safetensors";
    change(episode, &|b| b[..b.len() - 9].to_vec(), episode);
    change(episode, &|b| b[..5].to_vec(), "damaged");
    change(
        episode,
        &|mut b| {
            let end = b.len();
            // The file ends with the numbers of the last state and a byte for each of the two steps.
            b[end - 18..end - 10].copy_from_slice(&f64::NAN.to_le_bytes());
            b
        },
        "NaN",
    );
    change("log.json", &replace("states 1", "states 9"), "states 9");
    change("log.json", &replace("\"qvel\",", ""), "instead of");
    change("log.json", &replace("rate_hz", "rate"), "log.json");
    change("scene.xml", &replace("<mujoco", "<mojoco"), "scene.xml");
    std::fs::remove_file(log.join("scene.xml")).unwrap();
    says("needs the model");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn flipped_bytes_never_bring_the_reader_down(flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        logged(&log, 1);
        for file in ["log.json", "episode-000000.safetensors"] {
            let path = log.join(file);
            let good = std::fs::read(&path).unwrap();
            let mut bad = good.clone();
            for (place, byte) in &flips {
                let place = place.index(bad.len());
                bad[place] = *byte;
            }
            std::fs::write(&path, bad).unwrap();
            // Damaged or not, whatever can be read can be shown or refused.
            if let Ok(logs) = read(&log) {
                for log in logs {
                    let _ = Playback::new(Arc::new(log), Backend::Cpu, Quality::Fast);
                }
            }
            std::fs::write(&path, good).unwrap();
        }
    }
}
