//! `rapport dataset import` as a person meets it: a sound dataset with pictures and the truth, or one clear sentence.

use std::path::Path;

use assert_cmd::Command;
use rapport::dataset::{Dataset, verify};
use rapport::sim::env::{Env, EnvConfig};
use rapport::sim::log::{StateLogConfig, StateLogWriter, Step};
use rapport::sim::robosuite::Robosuite;

fn import(words: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("rapport")
        .unwrap()
        .args(["dataset", "import"])
        .args(words)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn refuses(words: &[&str], code: i32, parts: &[&str]) {
    let (found, _, said) = import(words);
    assert_eq!(found, code, "{words:?} said: {said}");
    assert!(!said.contains("panicked"), "{said}");
    for part in parts {
        assert!(
            said.contains(part),
            "{words:?} should mention {part:?}: {said}"
        );
    }
}

/// Logs two runs of seven steps.
fn logged(dir: &Path) {
    let mut env = Env::new("so101-push", EnvConfig::default()).unwrap();
    let names = (0..env.action_len()).map(|i| format!("a{i}"));
    let config = StateLogConfig::new(10.0, "push the cube to the disc", names);
    let mut writer = StateLogWriter::create(dir, &env.world().scene().mjcf(), &config).unwrap();
    for seed in 0..2 {
        env.reset(seed).unwrap();
        env.world()
            .with_data(|data| writer.begin(data))
            .unwrap()
            .unwrap();
        for t in 0..7 {
            let action = vec![0.1 * t as f32; env.action_len()];
            let step = env.step(&action).unwrap();
            let action: Vec<f64> = action.into_iter().map(f64::from).collect();
            let step = Step {
                action: &action,
                reward: step.reward,
                success: t == 6,
            };
            env.world()
                .with_data(|data| writer.step(step, data))
                .unwrap()
                .unwrap();
        }
        writer.save().unwrap();
    }
}

#[test]
fn logged_runs_become_a_sound_dataset() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    logged(&dir.path().join("log"));
    let (source, out) = (format!("states:{}", path("log")), path("demos"));
    let (code, said, error) =
        import(&[&source, "--out", &out, "--size", "64x48", "--camera", "top"]);
    assert_eq!(code, 0, "{error}");
    assert!(said.contains("2 episodes, 14 frames at 10 fps"), "{said}");
    let report = verify(Path::new(&out));
    assert!(report.is_ok(), "{:?}", report.findings);
    let dataset = Dataset::open(&out).unwrap();
    let episode = dataset.episode(1).unwrap();
    assert_eq!(episode.len(), 7);
    assert!(
        episode.columns["action"]
            .row(3)
            .iter()
            .all(|&value| value == 0.3)
    );
    assert_eq!(episode.columns["next.success"].row(5), [0.0]);
    assert_eq!(episode.columns["next.success"].row(6), [1.0]);
    assert!(
        episode.columns["observation.state"]
            .names
            .contains(&"shoulder_pan.pos".into())
    );
    assert!(
        episode.columns["observation.environment_state"]
            .names
            .contains(&"cube.qw".into())
    );
    let frames = dataset.frames(1, "top").unwrap();
    assert_eq!((frames.len(), frames[0].dimensions()), (7, (64, 48)));
    // Nothing is left beside the dataset, and nothing is written over it.
    let beside = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(beside, 2);
    refuses(&[&source, "--out", &out], 2, &["is not empty"]);

    let (code, _, error) = import(&[
        &source,
        "--out",
        &path("half"),
        "--every",
        "2",
        "--run",
        "run 1",
    ]);
    assert_eq!(code, 0, "{error}");
    let half = Dataset::open(path("half")).unwrap();
    assert_eq!(
        (half.info().fps, half.len(), half.frames_total()),
        (5, 1, 4)
    );
    let episode = half.episode(0).unwrap();
    // Of two goals, the second.
    assert_eq!(episode.columns["action"].row(0)[0], 0.1);
    assert_eq!(episode.columns["next.success"].row(3), [1.0]);
}

#[test]
fn what_cannot_be_imported_is_refused_in_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let out = path("out");
    refuses(
        &["bags:x", "--out", &out],
        2,
        &["no format bags", "robosuite:DIR"],
    );
    refuses(&["states", "--out", &out], 2, &["needs the folder"]);
    refuses(
        &["states:/nowhere", "--out", &out],
        1,
        &["/nowhere", "log.json"],
    );
    refuses(
        &["robosuite:/nowhere", "--out", &out],
        1,
        &["/nowhere is missing", "./x assets robosuite"],
    );
    refuses(
        &[&format!("robosuite:{}", path("")), "--out", &out],
        1,
        &["no robosuite demonstrations", "./x assets robosuite"],
    );
    std::fs::write(path("cut.whl"), "PK").unwrap();
    refuses(
        &[&format!("robosuite:{}", path("cut.whl")), "--out", &out],
        1,
        &["cut.whl cannot be unpacked"],
    );
    logged(&dir.path().join("log"));
    let source = format!("states:{}", path("log"));
    refuses(
        &[&source, "--out", &out, "--camera", "back"],
        2,
        &["no camera back", "front"],
    );
    refuses(
        &[&source, "--out", &out, "--size", "65"],
        2,
        &["even number"],
    );
    refuses(
        &[&source, "--out", &out, "--fps", "3"],
        2,
        &["does not divide"],
    );
    refuses(
        &[&source, "--out", &out, "--every", "0"],
        2,
        &["at least 1"],
    );
    refuses(
        &[&source, "--out", &out, "--every", "3"],
        1,
        &["whole number"],
    );
    refuses(
        &[&source, "--out", &out, "--run", "lift"],
        2,
        &["no run lift", "run 0"],
    );
    refuses(
        &[&source, "--out", &out, "--renderer", "crayon"],
        2,
        &["crayon"],
    );
    assert!(!Path::new(&out).exists());
}

#[test]
#[allow(clippy::print_stderr)]
fn what_people_did_in_robosuite_becomes_a_sound_dataset() {
    if Robosuite::installed().is_err() {
        eprintln!("skipped: run ./x assets robosuite");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("demos");
    let (code, said, error) = import(&[
        "robosuite",
        "--out",
        out.to_str().unwrap(),
        "--run",
        "lift",
        "--run",
        "door",
        "--fps",
        "1",
        "--size",
        "64",
        "--camera",
        "agentview",
        "--json",
    ]);
    assert_eq!(code, 0, "{error}");
    assert!(said.contains("\"first_success\": 401"), "{said}");
    let report = verify(&out);
    assert!(report.is_ok(), "{:?}", report.findings);
    let dataset = Dataset::open(&out).unwrap();
    assert_eq!((dataset.len(), dataset.frames_total()), (2, 14 + 21));
    let lift = dataset.episode(1).unwrap();
    assert_eq!(lift.task, "lift the red cube off the table");
    let column = |name: &str, number: &str| {
        let column = &lift.columns[name];
        let at = column.names.iter().position(|n| n == number).unwrap();
        (0..column.len())
            .map(|t| column.row(t)[at])
            .collect::<Vec<_>>()
    };
    // The cube rises, the gripper has closed on it, and the other task's hinge is not there.
    let height = column("observation.environment_state", "cube.z");
    assert!(height[20] > height[0] + 0.008, "{height:?}");
    let opening = column("observation.state", "gripper.pos");
    assert!(opening[17] > 0.9 && opening[20] < 0.6, "{opening:?}");
    assert!(
        column("observation.environment_state", "door_hinge.pos")
            .iter()
            .all(|&v| v == 0.0)
    );
    let success = &lift.columns["next.success"];
    assert_eq!((success.row(0), success.row(20)), (&[0.0][..], &[1.0][..]));
}
