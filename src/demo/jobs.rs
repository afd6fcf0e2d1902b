//! Trainings side by side, each a `rapport train` process of its own with one thread.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;

use crate::interrupt;
use crate::ui::Ui;

/// One training.
pub struct Job {
    /// What the person calls it.
    pub name: String,
    /// Words after `rapport train`.
    pub words: Vec<String>,
    /// Its `--out`.
    pub out: PathBuf,
    /// Steps it will make.
    pub steps: u64,
}

/// Runs the jobs, `side_by_side` at a time.
pub fn run(jobs: &[Job], side_by_side: usize, ui: Ui) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("finding this program")?;
    let bar = ui.bar(jobs.iter().map(|j| j.steps).sum(), "training");
    let mut waiting = jobs.iter();
    let mut running: Vec<(&Job, Child)> = Vec::new();
    let mut finished = 0;
    loop {
        while running.len() < side_by_side.max(1) && !interrupt::requested() {
            let Some(job) = waiting.next() else { break };
            let child = Command::new(&program)
                .arg("train")
                .args(&job.words)
                .arg("--out")
                .arg(&job.out)
                .args(["--quiet", "--json"])
                .env("RAYON_NUM_THREADS", "1")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .context("starting a training")?;
            running.push((job, child));
        }
        if running.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(300));
        let mut still = Vec::new();
        for (job, mut child) in running {
            match child.try_wait()? {
                None => still.push((job, child)),
                Some(status) if status.success() => finished += job.steps,
                Some(status) => {
                    let mut said = String::new();
                    if let Some(stderr) = child.stderr.take() {
                        said = BufReader::new(stderr)
                            .lines()
                            .map_while(Result::ok)
                            .collect::<Vec<_>>()
                            .join("\n");
                    }
                    for (_, mut other) in still {
                        let _ = other.kill();
                    }
                    anyhow::bail!("training {} ended with {status}: {said}", job.name);
                }
            }
        }
        running = still;
        bar.set_position(
            finished
                + running
                    .iter()
                    .map(|(job, _)| steps_done(&job.out).min(job.steps))
                    .sum::<u64>(),
        );
        bar.set_message(
            running
                .iter()
                .map(|(job, _)| job.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        );
    }
    bar.finish_and_clear();
    anyhow::ensure!(
        !interrupt::requested(),
        "stopped; the trainings saved their checkpoints"
    );
    Ok(())
}

/// The last complete line of a run's metrics knows.
fn steps_done(out: &Path) -> u64 {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap_or_default();
    let last = text
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    last.and_then(|value| value["steps"].as_u64()).unwrap_or(0)
}
