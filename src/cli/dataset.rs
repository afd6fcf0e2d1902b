//! `rapport dataset`: look at a dataset, check it, and make one of what others recorded.

mod import;

use std::fmt::Write as _;
use std::path::PathBuf;

use rapport::dataset::{Dataset, verify};
use serde::Serialize;

use super::Usage;
use crate::ui::Ui;

/// Look at LeRobot datasets, check them, and import other people's recordings.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// What is in a dataset.
    Info {
        /// The dataset's folder.
        dir: PathBuf,
    },
    /// Open every file, count every frame, and say what is wrong; exit code 1 when something is.
    Verify {
        /// The dataset's folder.
        dir: PathBuf,
    },
    Import(import::Args),
}

#[derive(Serialize)]
struct Info {
    dir: PathBuf,
    version: String,
    robot_type: Option<String>,
    episodes: usize,
    frames: usize,
    seconds: f64,
    fps: u32,
    cameras: Vec<String>,
    tasks: Vec<String>,
    features: Vec<String>,
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    if let Command::Info { dir } | Command::Verify { dir } = &args.command
        && !dir.exists()
    {
        return Err(Usage(format!(
            "{} does not exist; give the folder of a LeRobot dataset",
            dir.display()
        ))
        .into());
    }
    match &args.command {
        Command::Import(args) => import::run(args, ui),
        Command::Info { dir } => info(dir.clone(), ui),
        Command::Verify { dir } => {
            let report = verify(dir);
            ui.result(&report, || {
                let mut text = format!(
                    "{}: {} episodes, {} frames, {} files read\n",
                    dir.display(),
                    report.episodes,
                    report.frames,
                    report.files
                );
                for finding in &report.findings {
                    let _ = writeln!(text, "{finding}");
                }
                text + if report.is_ok() { "sound" } else { "damaged" }
            })?;
            anyhow::ensure!(
                report.is_ok(),
                "{} is damaged: {} error(s)",
                dir.display(),
                report.errors().count()
            );
            Ok(())
        }
    }
}

fn info(dir: PathBuf, ui: Ui) -> anyhow::Result<()> {
    let dataset = Dataset::open(&dir)?;
    let about = dataset.info();
    let info = Info {
        version: about.codebase_version.clone(),
        robot_type: about.robot_type.clone(),
        episodes: dataset.len(),
        frames: dataset.frames_total(),
        seconds: dataset.frames_total() as f64 / f64::from(about.fps),
        fps: about.fps,
        cameras: dataset.cameras(),
        tasks: dataset.tasks().to_vec(),
        features: about
            .features
            .iter()
            .map(|(name, feature)| format!("{name} {:?} {}", feature.shape, feature.dtype))
            .collect(),
        dir,
    };
    ui.result(&info, || {
        let mut text = format!(
            "{}  LeRobotDataset {}\n{} episodes, {} frames, {:.1} s at {} fps\nrobot    {}\ncameras  {}\n",
            info.dir.display(),
            info.version,
            info.episodes,
            info.frames,
            info.seconds,
            info.fps,
            info.robot_type.as_deref().unwrap_or("unknown"),
            info.cameras.join(", ")
        );
        for task in &info.tasks {
            let _ = writeln!(text, "task     {task}");
        }
        for feature in &info.features {
            let _ = writeln!(text, "feature  {feature}");
        }
        text
    })
}
