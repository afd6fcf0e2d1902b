//! `rapport reward label`: the reward of every frame of a dataset, one JSON line per episode.

use std::fmt::Write as _;
use std::path::PathBuf;

use rapport::dataset::write_progress;
use rapport::perception::DeviceChoice;
use rapport::reward::Context;
use serde::Serialize;

use crate::clips::Library;
use crate::run_dir::write_atomically;
use crate::ui::Ui;

/// Score every frame of a dataset.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The reward's directory.
    #[arg(long, value_name = "DIR")]
    pub reward: PathBuf,
    /// The dataset to score.
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// Camera; needed when the dataset has several.
    #[arg(long)]
    pub camera: Option<String>,
    /// Where to compute.
    #[arg(long, default_value = "cpu", value_name = "cpu|wgpu")]
    pub device: DeviceChoice,
    /// The file to write: `{"episode": 0, "reward": [...]}` a line.
    #[arg(long, value_name = "FILE.jsonl")]
    pub out: PathBuf,
    /// Also write the rewards as progress for LeRobot's training (columns `index`, `episode_index`, `frame_index`,
    /// `progress_sparse`; LeRobot looks for DATASET/sarm_progress.parquet).
    #[arg(long, value_name = "FILE.parquet")]
    pub parquet: Option<PathBuf>,
}

#[derive(Serialize)]
struct Line {
    episode: usize,
    reward: Vec<f64>,
}

#[derive(Serialize)]
struct Summary {
    episodes: usize,
    mean_return: f64,
    out: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let (reward, mut encoder) = super::open_reward(&args.reward, args.device)?;
    let library = Library::encode(&args.dataset, args.camera.as_deref(), &mut *encoder, ui)?;
    let (mut text, mut total) = (String::new(), 0.0);
    let mut rewards = Vec::new();
    for episode in 0..library.features().len() {
        let signal = reward.score(encoder.spec(), &library.clip(episode)?, &Context::default())?;
        total += signal.total();
        if args.parquet.is_some() {
            rewards.push(signal.per_step.clone());
        }
        writeln!(
            text,
            "{}",
            serde_json::to_string(&Line {
                episode,
                reward: signal.per_step
            })?
        )?;
    }
    write_atomically(&args.out, text.as_bytes())?;
    if let Some(path) = &args.parquet {
        write_progress(path, &rewards)?;
    }
    let episodes = library.features().len();
    let summary = Summary {
        episodes,
        mean_return: total / episodes as f64,
        out: args.out.clone(),
    };
    ui.result(&summary, || {
        format!(
            "{} episodes, mean return {:.3} -> {}",
            summary.episodes,
            summary.mean_return,
            summary.out.display()
        )
    })
}
