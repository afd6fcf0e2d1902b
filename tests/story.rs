//! The main job, small: record, choose, align, practise, measure, deploy. Only the public surface.

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

fn json(words: &[&str]) -> Value {
    let output = Command::cargo_bin("rapport")
        .unwrap()
        .args(words)
        .arg("--json")
        .output()
        .unwrap();
    let (out, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "rapport {words:?} said: {said}");
    serde_json::from_str(&out)
        .unwrap_or_else(|e| panic!("rapport {words:?} printed no JSON ({e}): {out}"))
}

fn record(dir: &Path, teleop: &str, episodes: &str, length: &str) {
    json(&[
        "record",
        "--robot",
        "sim:so101",
        "--teleop",
        teleop,
        "--episodes",
        episodes,
        "--length",
        length,
        "--camera",
        "front=112x112",
        "--dataset",
        dir.to_str().unwrap(),
    ]);
}

#[test]
fn from_demonstrations_to_a_moving_arm() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    record(&folder.path().join("demos"), "script:push", "4", "40");
    record(&folder.path().join("play"), "script:play", "30", "3");

    let (demos, play, answers) = (path("demos"), path("play"), path("answers.jsonl"));
    let prefer = [
        "prefer",
        "--dataset",
        &play,
        "--demonstrations",
        &demos,
        "--annotator",
        "oracle",
        "--out",
        &answers,
        "--answers",
    ];
    let said = json(&[&prefer[..], &["40"]].concat());
    assert_eq!(
        (
            said["answers"].as_u64(),
            said["new"].as_u64(),
            said["annotator"].as_str()
        ),
        (Some(40), Some(40), Some("oracle"))
    );
    // A second session goes on, and a third has nothing left to ask.
    assert_eq!(json(&[&prefer[..], &["60"]].concat())["new"], 20);
    assert_eq!(json(&[&prefer[..], &["60"]].concat())["new"], 0);

    let (plain, aligned) = (path("plain"), path("aligned"));
    json(&[
        "reward",
        "learn",
        "--kind",
        "goal",
        "--dataset",
        &demos,
        "--out",
        &plain,
    ]);
    json(&[
        "reward",
        "align",
        "--kind",
        "goal",
        "--dataset",
        &demos,
        "--clips",
        &play,
        "--answers",
        &answers,
        "--components",
        "40",
        "--out",
        &aligned,
    ]);
    let found = json(&[
        "eval", "--reward", &plain, "--reward", &aligned, "--states", "150",
    ]);
    let spearman = |i: usize| found["rewards"][i]["spearman"].as_f64().unwrap();
    assert!(
        spearman(1) > spearman(0) + 0.2,
        "60 answers must make the reward mean the task: {found}"
    );

    let curves = path("curves.html");
    let on_demos = json(&[
        "reward",
        "eval",
        "--reward",
        &aligned,
        "--dataset",
        &demos,
        "--out",
        &curves,
    ]);
    assert_eq!(on_demos["episodes"], 4);
    assert!(
        on_demos["spearman_truth"]["value"].as_f64().unwrap() > 0.5,
        "{on_demos}"
    );
    assert!(std::fs::read_to_string(&curves).unwrap().contains("<svg"));
    let labels = path("labels.jsonl");
    json(&[
        "reward",
        "label",
        "--reward",
        &aligned,
        "--dataset",
        &demos,
        "--out",
        &labels,
    ]);
    assert_eq!(std::fs::read_to_string(&labels).unwrap().lines().count(), 4);

    let policy = path("sac");
    let run = json(&[
        "train",
        "--policy",
        "sac",
        "--reward",
        &aligned,
        "--dataset",
        &demos,
        "--steps",
        "600",
        "--hidden",
        "32",
        "--out",
        &policy,
    ]);
    assert!(
        run["steps"].as_u64().unwrap() >= 600 && run["updates"].as_u64().unwrap() > 0,
        "{run}"
    );
    let measured = json(&["eval", "--policy", &policy, "--episodes", "3"]);
    assert_eq!(measured["policy"]["episodes"], 3);
    let copied = path("bc");
    json(&[
        "train",
        "--policy",
        "bc",
        "--dataset",
        &demos,
        "--hidden",
        "32",
        "--out",
        &copied,
    ]);

    let deployed = json(&[
        "deploy",
        "--policy",
        &copied,
        "--robot",
        "twin:so101",
        "--seconds",
        "2",
        "--camera",
        "front=64x64",
    ]);
    assert!(deployed["ticks"].as_u64().unwrap() >= 100, "{deployed}");
    assert_eq!(deployed["torque_off"], true);
    assert!(
        Path::new(deployed["recording"].as_str().unwrap())
            .metadata()
            .unwrap()
            .len()
            > 10_000
    );

    // A policy of chunks thinks ahead, on a thread of its own.
    let chunks = path("chunks");
    json(&[
        "train",
        "--policy",
        "act",
        "--dataset",
        &demos,
        "--chunk",
        "10",
        "--updates",
        "20",
        "--out",
        &chunks,
    ]);
    let ahead = json(&[
        "deploy",
        "--policy",
        &chunks,
        "--robot",
        "twin:so101",
        "--seconds",
        "2",
    ]);
    let given = ahead["chunks"]["given"].as_u64().unwrap();
    assert!(given >= 15, "{ahead}");
    assert_eq!(ahead["torque_off"], true);
}

#[test]
fn an_interrupted_training_goes_on_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    record(&folder.path().join("demos"), "script:push", "2", "20");
    let demos = path("demos");
    let train = |out: &str, steps: &str, resume: &[&str]| {
        let words = [
            "train",
            "--policy",
            "sac",
            "--reward",
            "true",
            "--dataset",
            &demos,
            "--hidden",
            "16",
            "--steps",
            steps,
            "--out",
            out,
        ];
        json(&[&words[..], resume].concat())
    };
    let (whole, parts) = (path("whole"), path("parts"));
    train(&whole, "700", &[]);
    train(&parts, "550", &[]);
    train(&parts, "700", &["--resume"]);
    let tensors = |dir: &str| {
        let mut files: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "safetensors"))
            .collect();
        files.sort();
        files
            .iter()
            .map(|p| (p.file_name().unwrap().to_owned(), std::fs::read(p).unwrap()))
            .collect::<Vec<_>>()
    };
    assert!(!tensors(&whole).is_empty());
    assert_eq!(
        tensors(&whole),
        tensors(&parts),
        "stopped and resumed must equal uninterrupted, bit for bit"
    );
}

#[test]
fn a_recording_replays_on_simulator_and_twin() {
    let folder = tempfile::tempdir().unwrap();
    let demos = folder.path().join("demos");
    record(&demos, "script:push", "1", "15");
    for robot in ["sim:so101", "twin:so101"] {
        let said = json(&[
            "replay",
            "--dataset",
            demos.to_str().unwrap(),
            "--episode",
            "0",
            "--robot",
            robot,
        ]);
        assert_eq!(said["rows"], 15);
        assert!(
            said["mean_error_rad"].as_f64().unwrap() < 0.1,
            "{robot}: {said}"
        );
    }
}
