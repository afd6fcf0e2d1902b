//! SIGKILL at random instants while recording: every acknowledged episode is there afterwards.

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{assert_same, config, episode};
use rapport_dataset::{Dataset, DatasetConfig, DatasetWriter, Episode, VideoCodec, verify};

const DIRECTORY: &str = "RAPPORT_TEST_RECORD_INTO";
const KILLS: u32 = 200;

fn recorded() -> DatasetConfig {
    config(VideoCodec::H264, &[("front", 32, 32), ("wrist", 16, 16)])
}

fn nth(n: usize) -> Episode {
    episode(
        &recorded(),
        &format!("task {}", n % 5),
        2 + n % 4,
        10 * n as u32,
    )
}

/// The process that is killed: appends episodes for ever and says so after each.
#[test]
#[ignore = "run as a child process by the test below"]
fn record_until_killed() {
    let Ok(dir) = std::env::var(DIRECTORY) else {
        return;
    };
    let dir = Path::new(&dir);
    let mut writer = if dir.join("meta/info.json").exists() {
        DatasetWriter::open(dir).unwrap()
    } else {
        DatasetWriter::create(dir, recorded()).unwrap()
    };
    loop {
        let index = writer.write_episode(&nth(writer.len())).unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "saved {index}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn killing_the_recorder_loses_no_acknowledged_episode() {
    let scratch = tempfile::tempdir().unwrap();
    let mut dir = scratch.path().join("dataset");
    let mut saved = 0;
    let mut cut_short = 0;
    let mut dice = 0x9e37_79b9_u32;
    for round in 0..KILLS {
        if saved > 8 {
            // Checking all of it gets slow.
            dir = scratch.path().join(format!("dataset-{round}"));
            saved = 0;
        }
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let patience = Duration::from_millis(u64::from(dice >> 8) % 40);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "record_until_killed", "--ignored", "--nocapture"])
            .env(DIRECTORY, &dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, receiver) = std::sync::mpsc::channel();
        let listener = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(index) = line.split("saved ").nth(1) {
                    // The test has ended only if it failed.
                    let _ = sender.send(index.parse::<usize>().unwrap());
                }
            }
        });
        // The clock starts at the first episode, or the time of starting up would decide what is hit; in some rounds it
        // starts at once, to hit that too.
        let mut acknowledged = None;
        if round % 4 != 3 {
            acknowledged = Some(
                receiver
                    .recv_timeout(Duration::from_secs(60))
                    .expect("the recorder saves an episode"),
            );
        }
        let start = Instant::now();
        while start.elapsed() < patience {
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        listener.join().unwrap();
        acknowledged = receiver.try_iter().last().or(acknowledged);

        if !dir.join("meta/info.json").exists() {
            assert_eq!(acknowledged, None);
            // Killed before there was a dataset; the next round creates it.
            continue;
        }
        let promised = acknowledged.map_or(saved, |index| index + 1);
        let report = verify(&dir);
        assert!(report.is_ok(), "round {round}: {:?}", report.findings);
        cut_short += usize::from(!report.findings.is_empty());
        let dataset = Dataset::open(&dir).unwrap();
        assert!(
            (promised..=promised + 1).contains(&dataset.len()),
            "round {round}: {promised} episodes were promised, {} are there",
            dataset.len()
        );
        for index in 0..dataset.len() {
            assert_same(&dataset.episode(index).unwrap(), &nth(index));
        }
        let mut writer = DatasetWriter::open(&dir).unwrap();
        assert_eq!(verify(&dir).findings, [], "round {round}");
        let index = writer.write_episode(&nth(writer.len())).unwrap();
        assert_eq!(index, dataset.len());
        saved = index + 1;
    }
    assert!(
        cut_short >= KILLS as usize / 4,
        "only {cut_short} of {KILLS} kills hit an episode in the making"
    );
}
