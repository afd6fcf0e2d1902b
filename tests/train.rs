//! Training from the command line: stopping, going on, going wrong, and playing on several threads.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const SMALL: [&str; 8] = [
    "--env",
    "Pendulum-v1",
    "--reward",
    "true",
    "--hidden",
    "16",
    "--random-steps",
    "300",
];

fn train(out: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("rapport"));
    command
        .args(["train", "--json", "--out"])
        .arg(out)
        .args(SMALL)
        .args(more);
    command
}

fn done(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a run leaves, but for the clock.
fn left(dir: &Path) -> (BTreeMap<String, Vec<u8>>, Vec<Value>) {
    let tensors = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(&path).unwrap())
        })
        .collect();
    let lines = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    let metrics = lines
        .lines()
        .map(|line| {
            let mut value: Value = serde_json::from_str(line).unwrap();
            for clock in ["seconds", "training_seconds"] {
                value.as_object_mut().unwrap().remove(clock);
            }
            value
        })
        .collect();
    (tensors, metrics)
}

#[test]
fn interrupted_and_resumed_equals_uninterrupted_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    // The third learns in a second what takes the others a minute.
    for (policy, steps) in [
        ("sac", "3000"),
        ("td3", "3000"),
        ("ppo", "60000"),
        ("drq", "1200"),
    ] {
        let (whole, parts) = (
            folder.path().join(format!("{policy}-whole")),
            folder.path().join(format!("{policy}-parts")),
        );
        let options = [
            "--policy",
            policy,
            "--steps",
            steps,
            "--n-step",
            "2",
            "--prioritised",
            "--eval-every",
            "700",
            "--eval-episodes",
            "2",
        ];
        let pixels = ["--pictures", "pixels@16", "--batch", "16"];
        let sight = if policy == "drq" { &pixels[..] } else { &[] };
        let options = [&options, sight].concat();
        done(&train(&whole, &options).output().unwrap());

        let mut running = train(&parts, &options)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let begin = Instant::now();
        let episodes = || {
            let text = std::fs::read_to_string(parts.join("metrics.jsonl")).unwrap_or_default();
            text.lines().count()
        };
        while episodes() < 4 {
            assert!(
                begin.elapsed() < Duration::from_secs(60),
                "no episode ended"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        let id = running.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(sent.success());
        assert!(running.wait().unwrap().success(), "Ctrl-C is no failure");
        let stopped = episodes();
        let resumed = train(&parts, &[&options[..], &["--resume"]].concat());
        let summary = done(&{ resumed }.output().unwrap());
        assert_eq!(
            summary["steps"].to_string(),
            steps,
            "{policy} stopped after {stopped}"
        );
        let (a, b) = (left(&whole), left(&parts));
        assert!(a.0.len() >= 3, "{:?}", a.0.keys());
        assert_eq!(a.1, b.1, "{policy}: metrics");
        assert!(a.0 == b.0, "{policy}: tensors differ");
        let policy_of = |dir: &Path| std::fs::read(dir.join("best/policy.toml")).unwrap();
        assert_eq!(policy_of(&whole), policy_of(&parts));
        // Where it was trained is where it is measured, through the eyes it was trained with.
        let measured = Command::new(assert_cmd::cargo::cargo_bin!("rapport"))
            .args(["eval", "--json", "--episodes", "1", "--policy"])
            .arg(&whole)
            .output()
            .unwrap();
        assert_eq!(done(&measured)["env"], "Pendulum-v1");
    }
}

/// The discriminator's rewards go into every batch, so a single bit of it would show in the learner's. Its own file is not compared: the optimiser
/// writes its memory in no particular order.
#[test]
fn an_adversary_interrupted_and_resumed_equals_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let demos = folder.path().join("demos");
    let recorded = Command::new(assert_cmd::cargo::cargo_bin!("rapport"))
        .args([
            "record",
            "--robot",
            "sim:so101",
            "--teleop",
            "script:reach",
            "--task",
            "so101-reach",
        ])
        .args([
            "--episodes",
            "3",
            "--length",
            "20",
            "--camera",
            "front=16x16",
            "--json",
            "--dataset",
        ])
        .arg(&demos)
        .output()
        .unwrap();
    done(&recorded);
    let train = |out: &Path, more: &[&str]| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("rapport"));
        command
            .args([
                "train",
                "--json",
                "--policy",
                "td3",
                "--env",
                "so101-reach",
                "--reward",
                "adversary",
            ])
            .args([
                "--hidden",
                "16",
                "--batch",
                "16",
                "--random-steps",
                "100",
                "--steps",
                "900",
                "--dataset",
            ])
            .arg(&demos)
            .arg("--out")
            .arg(out)
            .args(more);
        command
    };
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    done(&train(&whole, &[]).output().unwrap());
    let mut running = train(&parts, &[]).stdout(Stdio::null()).spawn().unwrap();
    let begin = Instant::now();
    let episodes = || {
        let text = std::fs::read_to_string(parts.join("metrics.jsonl")).unwrap_or_default();
        text.lines().count()
    };
    while episodes() < 5 {
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "no episode ended"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    let id = running.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    assert!(running.wait().unwrap().success());
    let stopped = episodes();
    done(&train(&parts, &["--resume"]).output().unwrap());
    let learned = |dir: &Path| {
        let (mut tensors, metrics) = left(dir);
        tensors.retain(|name, _| !name.starts_with("adversary-"));
        (tensors, metrics)
    };
    let (a, b) = (learned(&whole), learned(&parts));
    assert!(
        stopped < a.1.len(),
        "it was stopped on the way: {stopped} of {}",
        a.1.len()
    );
    assert_eq!(a.1, b.1, "metrics");
    assert!(a.0.len() >= 3 && a.0 == b.0, "tensors differ");
    let kept = std::fs::read_dir(&parts).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("adversary-")
    });
    assert_eq!(kept.count(), 1);
}

#[test]
fn copying_interrupted_and_resumed_equals_uninterrupted_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let rapport = |words: &str, more: &[&str]| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("rapport"));
        command.args(words.split(' ')).args(more);
        command.arg("--json").current_dir(folder.path());
        command
    };
    let record = "record --robot sim:so101 --teleop script:push --task so101-push --episodes 3 --dataset push";
    done(&rapport(record, &[]).output().unwrap());
    for policy in ["act", "diffusion"] {
        let out = |name: &str| folder.path().join(format!("{policy}-{name}"));
        let words = format!(
            "train --policy {policy} --dataset push --env so101-push --chunk 8 --hidden 32"
        );
        let train = |name: &str, more: &[&str]| {
            let mut command = rapport(&words, more);
            command.arg("--out").arg(out(name));
            command
        };
        let updates = ["--updates", "40"];
        done(&train("whole", &updates).output().unwrap());

        let mut running = train("parts", &updates)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (log, begin) = (out("parts").join("metrics.jsonl"), Instant::now());
        while std::fs::read_to_string(&log).unwrap_or_default().is_empty() {
            assert!(begin.elapsed() < Duration::from_secs(60), "nothing learned");
            std::thread::sleep(Duration::from_millis(2));
        }
        let id = running.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(sent.success());
        assert!(running.wait().unwrap().success(), "Ctrl-C is no failure");
        let other = train("parts", &["--updates", "50", "--resume"]);
        assert_eq!({ other }.output().unwrap().status.code(), Some(2));
        let summary = done(&train("parts", &["--resume"]).output().unwrap());
        assert_eq!(summary["updates"], 40, "{policy}");
        let (a, b) = (left(&out("whole")), left(&out("parts")));
        assert_eq!(a.1, b.1, "{policy}: metrics");
        assert!(a.0.len() == 2 && a.0 == b.0, "{policy}: tensors differ");
    }
}

#[test]
fn numbers_that_are_none_stop_training_by_name_and_the_last_checkpoint_stays() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let good = train(&run, &["--policy", "sac", "--steps", "600"]);
    done(&{ good }.output().unwrap());
    let before = left(&run).0;
    // Rewards whose square is too large for a number, and rewards that are.
    for (scale, named) in [
        ("1e30", "loss of the critics"),
        ("1e300", "reward[0] at step"),
    ] {
        let bad = [
            "--policy",
            "sac",
            "--steps",
            "1200",
            "--resume",
            "--reward-scale",
            scale,
        ];
        let output = train(&run, &bad).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(named), "{said}");
        assert!(said.contains("the last good checkpoint is kept"), "{said}");
        assert!(left(&run).0 == before, "the checkpoint was touched");
    }
    let on = train(&run, &["--policy", "sac", "--steps", "800", "--resume"]);
    assert_eq!(done(&{ on }.output().unwrap())["steps"], 800);
}

#[test]
fn workers_play_while_the_learner_learns_and_their_speed_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let runs = ["a", "b", "alone"].map(|name| folder.path().join(name));
    for (run, workers) in runs.iter().zip(["2", "2", "1"]) {
        let options = ["--policy", "td3", "--steps", "1600", "--workers", workers];
        let summary = done(&train(run, &options).output().unwrap());
        assert_eq!(summary["steps"], 1600);
        assert_eq!(summary["updates"], 1300);
    }
    let [a, b, alone] = runs.each_ref().map(|run| left(run));
    assert!(a == b, "two threads gave two results");
    assert!(a.0 != alone.0, "two workers are a run of another kind");
}

#[test]
fn good_enough_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let options = [
        "--policy",
        "sac",
        "--steps",
        "20000",
        "--eval-every",
        "400",
        "--eval-episodes",
        "2",
        "--stop-at-return",
        "-3000",
    ];
    let summary = done(&train(&run, &options).output().unwrap());
    assert_eq!(summary["good_enough"], true);
    assert_eq!(summary["steps"], 800, "after two evaluations on end");
    assert!(run.join("best/policy.toml").exists());
    let output = train(
        &run.with_extension("x"),
        &["--policy", "sac", "--stop-at-success", "1"],
    )
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// Random actions only, so that what is stored does not depend on the rewards.
const RANDOM: [&str; 6] = ["--policy", "sac", "--steps", "400", "--random-steps", "400"];

#[test]
fn what_was_stored_gets_the_rewards_of_a_reward_that_was_learned_anew() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, more: &[&str]| {
        let dir = folder.path().join(name);
        // The last of two equal options counts.
        let words = SMALL
            .iter()
            .filter(|w| !["--random-steps", "300"].contains(w));
        let output = Command::new(assert_cmd::cargo::cargo_bin!("rapport"))
            .args(["train", "--json", "--out"])
            .arg(&dir)
            .args(words)
            .args(RANDOM)
            .args(more)
            .output()
            .unwrap();
        (dir, output)
    };
    let replay = |dir: &Path| {
        let found = left(dir).0.into_iter();
        let mut replays = found.filter(|(name, _)| name.starts_with("replay"));
        replays.next().unwrap()
    };
    let (ten, output) = run("ten", &["--reward-scale", "10"]);
    done(&output);
    let (one, output) = run("one", &["--reward-scale", "1"]);
    done(&output);
    assert!(replay(&ten) != replay(&one));

    let (_, output) = run(
        "one",
        &[
            "--reward-scale",
            "10",
            "--resume",
            "--relabel",
            "--seed",
            "3",
        ],
    );
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("takes another course"), "{said}");

    let (_, output) = run("one", &["--reward-scale", "10", "--resume", "--relabel"]);
    done(&output);
    assert!(replay(&ten) == replay(&one));
}

#[test]
fn a_sweep_runs_what_is_missing_and_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("sweep.toml"), folder.path().join("out"));
    std::fs::write(&file, "vary.hidden = [8, 16]\nvary.seed = [0, 1]\n").unwrap();
    let sweep = || {
        let options = [
            "--policy",
            "sac",
            "--steps",
            "400",
            "--eval-every",
            "400",
            "--eval-episodes",
            "1",
            "--jobs",
            "2",
            "--sweep",
        ];
        let mut command = train(&out, &options);
        done(&command.arg(&file).output().unwrap())
    };
    let first = sweep();
    let runs = first.as_array().unwrap();
    assert_eq!(runs.len(), 4);
    let returns: Vec<f64> = runs
        .iter()
        .map(|run| {
            run["summary"]["evaluation"]["true_return"]
                .as_f64()
                .unwrap()
        })
        .collect();
    assert!(returns.is_sorted_by(|a, b| a >= b), "{returns:?}");
    assert!(out.join("sweep.md").exists());
    // One that is not done any more is gone on with; it has nothing left to do. The others are left alone.
    let again = out.join("hidden=8,seed=1");
    let other = out.join("hidden=16,seed=1/metrics.jsonl");
    let before = std::fs::metadata(&other).unwrap().modified().unwrap();
    std::fs::remove_file(again.join("summary.json")).unwrap();
    let second = sweep();
    assert_eq!(second.as_array().unwrap().len(), 4);
    assert!(again.join("summary.json").exists());
    assert_eq!(
        std::fs::metadata(&other).unwrap().modified().unwrap(),
        before
    );
}
