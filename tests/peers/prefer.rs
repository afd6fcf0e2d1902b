//! `rapport prefer` in Chromium, and what forty answers given there are worth.

use std::path::Path;
use std::process::Command;

use super::{installed, rapport, succeeds};

fn record(dir: &Path, words: &[&str]) {
    let output = rapport()
        .args(["record", "--robot", "sim:so101", "--quiet"])
        .args(words)
        .arg("--dataset")
        .arg(dir)
        .output()
        .unwrap();
    succeeds("rapport record", &output);
}

fn json(words: &[&str]) -> serde_json::Value {
    let output = rapport().args(words).arg("--json").output().unwrap();
    succeeds(words[0], &output);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_person_in_a_browser_teaches_a_reward() {
    let Some(python) = installed("peers/bin/python") else {
        return;
    };
    if !Path::new("/usr/bin/chromedriver").exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "chromium-driver is missing; run `./x test`"
        );
        println!("skipped: chromium-driver is missing; `./x test` installs it");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (play, moving, demos) = (path("play"), path("moving"), path("demos"));
    record(
        Path::new(&demos),
        &[
            "--teleop",
            "script:push",
            "--episodes",
            "4",
            "--length",
            "40",
            "--camera",
            "front=112x112",
        ],
    );
    record(
        Path::new(&play),
        &[
            "--teleop",
            "script:play",
            "--episodes",
            "60",
            "--length",
            "3",
            "--camera",
            "front=112x112",
        ],
    );
    record(
        Path::new(&moving),
        &[
            "--teleop",
            "script:push",
            "--episodes",
            "16",
            "--length",
            "30",
            "--camera",
            "front=320x240",
        ],
    );

    let mut command = Command::new(&python);
    command
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/peers/prefer.py"
        ))
        .arg(rapport().get_program())
        .args([&play, &moving, &demos])
        .arg(folder.path());
    // Where somebody wants to look at the page.
    if let Some(pictures) = std::env::var_os("RAPPORT_PICTURES") {
        command.arg(pictures);
    }
    println!("{}", succeeds("prefer.py", &command.output().unwrap()));

    let (plain, aligned, answers) = (path("plain"), path("aligned"), path("answers.jsonl"));
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
    // The rule after which the answers were given, on 150 other states.
    let found = json(&[
        "eval", "--reward", &plain, "--reward", &aligned, "--states", "150",
    ]);
    let spearman = |i: usize| found["rewards"][i]["spearman"].as_f64().unwrap();
    println!(
        "rank correlation with the hidden rule: {} before, {} after 40 answers",
        spearman(0),
        spearman(1)
    );
    assert!(
        spearman(1) > spearman(0) + 0.15 && spearman(1) > 0.3,
        "{found}"
    );
}
