//! `rapport reward eval` as a person meets it: one verdict, every check answered, a page, curves, and JSON without holes.

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

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

fn json(words: &[&str]) -> Value {
    let (code, out, said) = rapport(&[words, &["--json"]].concat());
    assert_eq!(code, 0, "rapport {words:?} said: {said}");
    assert!(!out.contains("NaN") && !out.contains("Infinity"), "{out}");
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("no JSON ({e}): {out}"))
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
        "front=64x64",
        "--dataset",
        dir.to_str().unwrap(),
    ]);
}

fn verdict<'a>(report: &'a Value, id: &str) -> &'a str {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|c| c["id"] == id);
    check.unwrap_or_else(|| panic!("no check {id}"))["verdict"]
        .as_str()
        .unwrap()
}

#[test]
fn a_reward_is_examined_and_the_report_can_be_read_by_people_and_machines() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (demos, mixed) = (path("demos"), path("mixed"));
    record(Path::new(&demos), "script:push", "4", "40");
    record(Path::new(&mixed), "script:push", "5", "40");
    record(Path::new(&mixed), "script:play", "4", "40");
    let learn = |kind: &str| {
        let out = path(kind);
        json(&[
            "reward",
            "learn",
            "--kind",
            kind,
            "--encoder",
            "pixels@32",
            "--dataset",
            &demos,
            "--out",
            &out,
        ]);
        out
    };
    let (goal, transport) = (learn("goal"), learn("transport"));

    let (page, curves) = (path("trust.html"), path("trust.rrd"));
    let report = json(&[
        "reward",
        "eval",
        "--reward",
        &goal,
        "--dataset",
        &mixed,
        "--env",
        "so101-push",
        "--rounds",
        "2",
        "--out",
        &page,
        "--rrd",
        &curves,
    ]);
    // What the demo's report reads stays where it was.
    assert_eq!(report["episodes"], 9);
    assert!(report["spearman_truth"]["value"].is_f64(), "{report}");
    assert_eq!(report["per_episode"].as_array().unwrap().len(), 9);
    // Every check has an answer and a sentence; pixels know nothing of a cube that no demonstration shows.
    for check in report["checks"].as_array().unwrap() {
        let word = check["verdict"].as_str().unwrap();
        assert!(["good", "doubtful", "bad", "cannot-tell"].contains(&word));
        assert!(check["sentence"].as_str().unwrap().len() > 10, "{check}");
    }
    assert_eq!(verdict(&report, "varies"), "good");
    assert_ne!(verdict(&report, "independent"), "good");
    assert_eq!(verdict(&report, "uncertainty"), "cannot-tell");
    assert_eq!(report["motions"].as_array().unwrap().len(), 2);
    assert_eq!(report["verdict"], "bad");
    assert!(
        report["summary"]
            .as_str()
            .unwrap()
            .starts_with("Do not train")
    );
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("<svg") && html.contains("class='verdict bad'"));
    assert!(Path::new(&curves).metadata().unwrap().len() > 5_000);

    // Transport knows no order: the report says so in words.
    let report = json(&[
        "reward",
        "eval",
        "--reward",
        &transport,
        "--dataset",
        &mixed,
    ]);
    assert_eq!(verdict(&report, "backwards"), "bad");
    let said = report["checks"].to_string();
    assert!(
        said.contains("does not know the direction of time"),
        "{said}"
    );

    // The same in the terminal.
    let (code, text, _) = rapport(&["reward", "eval", "--reward", &goal, "--dataset", &mixed]);
    assert_eq!(code, 0);
    assert!(
        text.contains("Does it notice a video played backwards?"),
        "{text}"
    );

    // One episode of one row is answered too.
    let tiny = path("tiny");
    record(Path::new(&tiny), "script:push", "1", "1");
    let report = json(&["reward", "eval", "--reward", &goal, "--dataset", &tiny]);
    assert_eq!(report["verdict"], "cannot-tell", "{report}");
}
