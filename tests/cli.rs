//! The command line as a person meets it: exit codes, one clear sentence, nothing lost.

use std::path::Path;

use assert_cmd::Command;

fn rapport(words: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("rapport")
        .unwrap()
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

/// Fails with `code` and one sentence that holds every one of `parts`; never with a panic.
fn refuses(words: &[&str], code: i32, parts: &[&str]) {
    let (found, _, said) = rapport(words);
    assert_eq!(found, code, "{words:?} said: {said}");
    assert!(!said.contains("panicked"), "{said}");
    for part in parts {
        assert!(
            said.contains(part),
            "{words:?} should mention {part:?}, said: {said}"
        );
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A small dataset of the scripted operator.
fn demonstrations(dir: &Path, episodes: &str) {
    let (code, _, said) = rapport(&[
        "record",
        "--robot",
        "sim:so101",
        "--teleop",
        "script:push",
        "--episodes",
        episodes,
        "--camera",
        "front=64x64",
        "--length",
        "6",
        "--dataset",
        text(dir),
        "--quiet",
    ]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn help_teaches_and_exits_with_0() {
    for command in [
        "demo", "record", "replay", "teleop", "dataset", "encode", "prefer", "reward", "train",
        "eval", "deploy", "twin", "view", "bench",
    ] {
        let (code, help, _) = rapport(&[command, "--help"]);
        assert_eq!(code, 0, "{command}");
        assert!(
            help.contains("Usage: rapport") && help.len() > 300,
            "{command}: {help}"
        );
    }
}

#[test]
fn every_environment_has_a_name_and_a_wrong_one_lists_them() {
    let (code, names, _) = rapport(&["bench", "--list"]);
    assert_eq!(code, 0);
    for name in ["so101-push", "HalfCheetah-v5", "x-magical-gripper", "panda"] {
        assert!(names.lines().any(|line| line == name), "{name}: {names}");
    }
    refuses(
        &["bench", "sim", "--env", "so101-juggle"],
        2,
        &["so101-juggle", "so101-push", "Pendulum-v1"],
    );
    refuses(&["bench", "coffee"], 2, &["coffee", "sim"]);
    refuses(&["bench", "sim", "--threads", "0"], 2, &["--threads"]);
}

#[test]
fn a_benchmark_is_practised_by_its_name_alone() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let (code, _, said) = rapport(&[
        "train",
        "--policy",
        "sac",
        "--env",
        "Pendulum-v1",
        "--reward",
        "true",
        "--steps",
        "400",
        "--hidden",
        "16",
        "--out",
        text(&out),
        "--json",
        "--quiet",
    ]);
    assert_eq!(code, 0, "{said}");
    let (code, found, said) = rapport(&[
        "eval",
        "--policy",
        text(&out),
        "--env",
        "Pendulum-v1",
        "--episodes",
        "2",
        "--json",
    ]);
    assert_eq!(code, 0, "{said}");
    assert!(found.contains("true_return"), "{found}");
    // A choice of actions is not a number.
    refuses(
        &[
            "train",
            "--policy",
            "sac",
            "--env",
            "CartPole-v1",
            "--reward",
            "true",
            "--out",
            text(&folder.path().join("no")),
        ],
        2,
        &["CartPole-v1", "choice"],
    );
}

#[test]
fn mistakes_in_what_is_asked_exit_with_2() {
    refuses(&["no-such-command"], 2, &["no-such-command"]);
    refuses(&["eval"], 2, &["--policy"]);
    refuses(
        &[
            "record",
            "--robot",
            "sim:so101",
            "--teleop",
            "script:push",
            "--task",
            "so101-juggle",
            "--dataset",
            "x",
        ],
        2,
        &["so101-juggle", "so101-push"],
    );
    refuses(
        &[
            "record",
            "--robot",
            "hal:9000",
            "--teleop",
            "script:push",
            "--dataset",
            "x",
        ],
        2,
        &["sim:so101"],
    );
    refuses(
        &[
            "record",
            "--robot",
            "sim:so101",
            "--teleop",
            "telepathy",
            "--dataset",
            "x",
        ],
        2,
        &["telepathy", "script:play"],
    );
    refuses(
        &["dataset", "info", "no-such-folder"],
        2,
        &["no-such-folder", "does not exist"],
    );
    refuses(&["view", "no-such-file.rrd"], 2, &["does not exist"]);
    refuses(
        &["train", "--policy", "sac", "--out", "x"],
        2,
        &["--reward"],
    );
    refuses(
        &[
            "reward",
            "eval",
            "--reward",
            "no-such-reward",
            "--dataset",
            "x",
        ],
        2,
        &["no-such-reward"],
    );
}

#[test]
fn a_recorded_dataset_verifies_and_a_damaged_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demos");
    demonstrations(&dir, "2");
    let (code, said, _) = rapport(&["dataset", "verify", text(&dir), "--json"]);
    assert_eq!(code, 0, "{said}");
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (report["episodes"].as_u64(), report["frames"].as_u64()),
        (Some(2), Some(12))
    );

    // A truncated table: the other episode's files are untouched, and the sentence names the file.
    let table = dir.join("data/chunk-000/file-001.parquet");
    let bytes = std::fs::read(&table).unwrap();
    std::fs::write(&table, &bytes[..bytes.len() / 2]).unwrap();
    refuses(&["dataset", "verify", text(&dir)], 1, &["damaged"]);
    std::fs::write(&table, &bytes).unwrap();

    // A corrupt film.
    let film = dir.join("videos/observation.images.front/chunk-000/file-000.mp4");
    let bytes = std::fs::read(&film).unwrap();
    std::fs::write(&film, vec![7; bytes.len()]).unwrap();
    refuses(&["dataset", "verify", text(&dir)], 1, &["damaged"]);
    refuses(
        &[
            "encode",
            text(&film),
            "--encoder",
            "pixels@32",
            "--out",
            text(&folder.path().join("f.safetensors")),
        ],
        1,
        &["file-000.mp4"],
    );
    assert!(!folder.path().join("f.safetensors").exists());
    std::fs::write(&film, &bytes).unwrap();
    assert_eq!(rapport(&["dataset", "verify", text(&dir)]).0, 0);

    // A dataset of another version.
    let info = dir.join("meta/info.json");
    let json = std::fs::read_to_string(&info)
        .unwrap()
        .replace("v3.0", "v2.1");
    std::fs::write(&info, json).unwrap();
    refuses(&["dataset", "info", text(&dir)], 1, &["v2.1"]);
}

#[test]
fn a_second_session_continues_the_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demos");
    demonstrations(&dir, "1");
    demonstrations(&dir, "1");
    let (_, said, _) = rapport(&["dataset", "info", text(&dir), "--json"]);
    let info: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(info["episodes"].as_u64(), Some(2));
}

#[test]
fn missing_and_wrong_weights_are_told_apart() {
    let home = tempfile::tempdir().unwrap();
    let film = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/panda-demos/lift_panda_demo_1.mp4"
    );
    let out = home.path().join("f.safetensors");
    let encode = |home: &Path| {
        let words = [
            "encode",
            film,
            "--encoder",
            "efficientnet-lite0:pooled@224",
            "--out",
            text(&out),
        ];
        let output = Command::cargo_bin("rapport")
            .unwrap()
            .args(words)
            .env("RAPPORT_HOME", home)
            .output()
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, said) = encode(home.path());
    assert_eq!(code, 1);
    assert!(
        said.contains("no weights at") && said.contains("./x setup"),
        "{said}"
    );

    let weights = home.path().join("weights");
    std::fs::create_dir_all(&weights).unwrap();
    std::fs::write(
        weights.join("efficientnet-lite0-57934424.pth"),
        b"not these",
    )
    .unwrap();
    let (code, said) = encode(home.path());
    assert_eq!(code, 1);
    assert!(said.contains("SHA-256"), "{said}");
    assert!(!out.exists());
}

#[test]
fn a_serial_port_that_is_not_there_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let calibration = folder.path().join("arm.json");
    let link = folder.path().join("port");
    // The twin writes the calibration that a client needs.
    let mut twin = std::process::Command::new(assert_cmd::cargo::cargo_bin("rapport"))
        .args([
            "twin",
            "--link",
            text(&link),
            "--calibration",
            text(&calibration),
            "--quiet",
        ])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..100 {
        if link.exists() && calibration.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let teleop = |port: &str| {
        let robot = format!("so101:{port}");
        rapport(&[
            "teleop",
            "--robot",
            &robot,
            "--teleop",
            "script:play",
            "--calibration",
            text(&calibration),
            "--seconds",
            "1",
            "--json",
        ])
    };
    let (code, _, said) = teleop("/dev/no-such-port");
    assert_eq!(code, 1);
    assert!(said.contains("/dev/no-such-port"), "{said}");

    // The same driver, unchanged, on the twin's port, from another process: it moves and then lets go.
    let (code, out, said) = teleop(text(&link));
    assert_eq!(code, 0, "{said}");
    let summary: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(summary["ticks"].as_u64().unwrap() >= 40, "{summary}");

    // Busy: somebody else holds the port.
    let mut holder = std::process::Command::new(assert_cmd::cargo::cargo_bin("rapport"))
        .args([
            "teleop",
            "--robot",
            &format!("so101:{}", text(&link)),
            "--teleop",
            "script:play",
        ])
        .args([
            "--calibration",
            text(&calibration),
            "--seconds",
            "20",
            "--quiet",
        ])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let (code, _, said) = teleop(text(&link));
    assert_eq!(code, 1);
    assert!(said.contains("busy") || said.contains("use"), "{said}");
    // Ctrl-C for the holder: it stops the arm and ends by itself.
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&holder),
        rustix::process::Signal::INT,
    )
    .unwrap();
    assert_eq!(holder.wait().unwrap().code(), Some(0));
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&twin),
        rustix::process::Signal::INT,
    )
    .unwrap();
    assert_eq!(twin.wait().unwrap().code(), Some(0));
    assert!(!link.exists(), "the twin removes its link");
}

#[test]
fn a_full_disk_is_one_sentence() {
    // /dev/full refuses every byte as a full disk does.
    let film = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/panda-demos/lift_panda_demo_1.mp4"
    );
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("f.safetensors");
    std::os::unix::fs::symlink("/dev/full", folder.path().join("f.safetensors.partial")).unwrap();
    refuses(
        &[
            "encode",
            film,
            "--encoder",
            "pixels@32",
            "--out",
            text(&out),
        ],
        1,
        &["f.safetensors", "No space left"],
    );
    assert!(!out.exists());
}

#[test]
fn a_reward_is_made_of_a_sentence_and_trains() {
    let folder = tempfile::tempdir().unwrap();
    let (reward, run) = (folder.path().join("reward"), folder.path().join("run"));
    let (code, said, error) = rapport(&[
        "reward",
        "learn",
        "--kind",
        "text",
        "--goal",
        "the gripper touches the green ball",
        "--baseline",
        "a robot arm and a green ball",
        "--out",
        text(&reward),
        "--json",
    ]);
    assert_eq!(code, 0, "{error}");
    assert!(
        said.contains("text-match") && said.contains("image-text:lite0-minilm"),
        "{said}"
    );
    let kept = std::fs::read_to_string(reward.join("reward.toml")).unwrap();
    assert!(kept.contains("the gripper touches the green ball") && kept.contains("alpha = 0.5"));
    let (code, _, error) = rapport(&[
        "train",
        "--policy",
        "sac",
        "--env",
        "so101-reach",
        "--reward",
        text(&reward),
        "--steps",
        "80",
        "--hidden",
        "16",
        "--out",
        text(&run),
        "--quiet",
    ]);
    assert_eq!(code, 0, "{error}");
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let first: serde_json::Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
    assert!(first["learned_return"].as_f64().unwrap().is_finite());
}

#[test]
fn a_text_reward_that_cannot_be_made_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("reward");
    let learn = |more: &[&str], code: i32, parts: &[&str]| {
        let mut words = vec!["reward", "learn", "--kind", "text", "--out", text(&out)];
        words.extend(more);
        refuses(&words, code, parts);
    };
    learn(&["--dataset", "nowhere"], 2, &["--goal"]);
    learn(&["--goal", "a ball", "--alpha", "0.5"], 1, &["baseline"]);
    learn(&["--goal", "a ball", "--alpha", "2"], 1, &["0..=1"]);
    learn(
        &["--goal", "a ball", "--encoder", "minilm"],
        2,
        &["minilm", "image-text"],
    );
    learn(
        &["--goal", "a ball", "--encoder", "pixels@32"],
        1,
        &["pixels@32", "hf:openai"],
    );
    learn(
        &["--goal", "a ball", "--encoder", "dir:/nowhere"],
        1,
        &["config.json"],
    );
    refuses(
        &[
            "reward",
            "learn",
            "--kind",
            "goal",
            "--goal",
            "a ball",
            "--out",
            text(&out),
        ],
        2,
        &["--dataset"],
    );
    assert!(!out.exists());
}

#[test]
fn an_environment_is_lent_one_line_at_a_time() {
    let asked = "{\"step\":[0,0,0]}\n{\"reset\":1}\n{\"step\":[0.5,0,0]}\n{\"step\":[2,0,0]}\n{\"step\":[0,0]}\n{\"reset\":1}\n";
    let output = Command::cargo_bin("rapport")
        .unwrap()
        .args(["sim", "serve", "--env", "so101-reach"])
        .write_stdin(asked)
        .output()
        .unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<serde_json::Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 7, "{said}");
    assert_eq!(answers[0]["observation_dim"], 15);
    assert_eq!(answers[0]["action_dim"], 3);
    let sentence = |answer: &serde_json::Value| answer["error"].as_str().unwrap().to_owned();
    assert!(sentence(&answers[1]).contains("no episode has begun"));
    assert_eq!(answers[2]["observation"].as_array().unwrap().len(), 15);
    assert!(answers[3]["reward"].as_f64().unwrap() < 0.0);
    assert_eq!(answers[3]["terminated"], false);
    assert!(sentence(&answers[4]).contains("from -1 to 1"));
    assert!(sentence(&answers[5]).contains("2 components"));
    assert_eq!(
        answers[6], answers[2],
        "the same seed begins the same episode"
    );
}
