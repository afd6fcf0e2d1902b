//! Software that others wrote, on what ours writes: the readers that LeRobot uses, the servo maker's client, the Rerun viewer;
//! and beside ours: Gymnasium's benchmarks. And a browser, in which a person chooses.
#![allow(clippy::print_stdout)]

mod gym;
mod prefer;
mod servo;
mod x_magical;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn rapport() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin("rapport"))
}

/// A program that `./x setup` and `./x test` install. Without it the test says so, and fails in continuous integration.
fn installed(path: &str) -> Option<PathBuf> {
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .unwrap_or_default();
    let data = std::env::var_os("RAPPORT_HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            std::env::var_os("XDG_DATA_HOME")
                .map_or_else(|| home.join(".local/share"), PathBuf::from)
                .join("rapport")
        });
    let program = data.join(path);
    if program.exists() {
        return Some(program);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{} is missing; run `./x test`",
        program.display()
    );
    println!(
        "skipped: {} is missing; `./x test` installs it",
        program.display()
    );
    None
}

fn succeeds(what: &str, output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {said}");
    said
}

fn record(dir: &Path, codec: &str) {
    let output = rapport()
        .args([
            "record",
            "--robot",
            "sim:so101",
            "--teleop",
            "script:push",
            "--episodes",
            "2",
            "--length",
            "12",
            "--codec",
            codec,
        ])
        .args([
            "--camera",
            "front=96x64",
            "--camera",
            "top=64x64",
            "--quiet",
            "--dataset",
        ])
        .arg(dir)
        .output()
        .unwrap();
    succeeds("rapport record", &output);
}

#[test]
fn the_readers_that_lerobot_uses_open_a_recorded_dataset() {
    let Some(python) = installed("peers/bin/python") else {
        return;
    };
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/peers/dataset_readers.py"
    );
    for codec in ["h264", "av1"] {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("demos");
        record(&dir, codec);
        let output = Command::new(&python)
            .arg(script)
            .arg(&dir)
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_HOME", folder.path())
            .output()
            .unwrap();
        succeeds(codec, &output);
    }
}

#[test]
fn the_rerun_viewer_opens_a_recorded_dataset_and_a_run() {
    let Some(viewer) = installed("viewer/rerun") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demos");
    record(&dir, "av1");
    let saved = folder.path().join("demos.rrd");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
        .to_string();
    let output = Command::new(&viewer)
        .arg(&dir)
        .arg("--save")
        .arg(&saved)
        .args(["--port", &port, "--bind", "127.0.0.1"])
        .output()
        .unwrap();
    succeeds("rerun --save", &output);
    let verify = |file: &Path| {
        succeeds(
            "rerun rrd verify",
            &Command::new(&viewer)
                .args(["rrd", "verify"])
                .arg(file)
                .output()
                .unwrap(),
        )
    };
    verify(&saved);
    let stats = Command::new(&viewer)
        .args(["rrd", "stats"])
        .arg(&saved)
        .output()
        .unwrap();
    let stats = succeeds("rerun rrd stats", &stats);
    for entity in ["observation.state", "observation.images.front", "action"] {
        assert!(
            stats.contains(entity),
            "the viewer does not see {entity}: {stats}"
        );
    }
}

#[test]
fn the_servo_makers_client_drives_the_twin() {
    let Some(python) = installed("peers/bin/python") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("so101");
    let mut twin = rapport()
        .args(["twin", "--quiet", "--link"])
        .arg(&link)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..100 {
        if link.exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/peers/servo_feetech_sdk.py"
    );
    let output = Command::new(&python)
        .arg(script)
        .arg(&link)
        .output()
        .unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&twin),
        rustix::process::Signal::INT,
    )
    .unwrap();
    assert_eq!(twin.wait().unwrap().code(), Some(0));
    succeeds("feetech-servo-sdk", &output);
}
