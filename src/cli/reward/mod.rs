//! `rapport reward`: learn a reward, align it with preferences, label data with it, and find out whether it can be trusted.

mod align;
mod eval;
mod label;
mod learn;
mod search;
mod text;
mod trained;

use std::path::{Path, PathBuf};

use rapport::perception::{DeviceChoice, Encoder};
use rapport::reward::{LoadedReward, RewardDir};

pub use align::{Adapt, Args as AlignArgs, Profile, run as run_align};
pub use eval::{Args as EvalArgs, Evaluation, evaluate as evaluate_reward, unit};
pub use learn::{Args as LearnArgs, Kind, run as run_learn};
pub use text::Sentences;

use super::Usage;
use crate::ui::Ui;

/// Learn rewards from video and preferences; label with them; evaluate them. A reward is a directory.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Learn(learn::Args),
    Align(align::Args),
    Label(label::Args),
    Eval(eval::Args),
    TextTrain(text::TrainArgs),
    TextEval(text::EvalArgs),
    Search(Box<search::Args>),
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    match &args.command {
        Command::Learn(args) => learn::run(args, ui),
        Command::Align(args) => align::run(args, ui),
        Command::Label(args) => label::run(args, ui),
        Command::Eval(args) => eval::run(args, ui),
        Command::TextTrain(args) => text::run_train(args, ui),
        Command::TextEval(args) => text::run_eval(args, ui),
        Command::Search(args) => search::run(args, ui),
    }
}

/// Which pictures, and what turns them into numbers.
#[derive(Clone, Debug, clap::Args)]
pub struct Eyes {
    /// What turns a picture into numbers. A tap with places (block10) sees where things are; the pooled vector hardly does.
    #[arg(long, default_value = "efficientnet-lite0:block10@112")]
    pub encoder: String,
    /// Where to compute.
    #[arg(long, default_value = "cpu", value_name = "cpu|wgpu")]
    pub device: DeviceChoice,
    /// Camera; needed when the dataset has several.
    #[arg(long)]
    pub camera: Option<String>,
}

impl Eyes {
    fn open(&self) -> anyhow::Result<Box<dyn Encoder>> {
        Ok(rapport::perception::open(&self.encoder, self.device)?)
    }
}

/// Reads a reward directory and opens the encoder it was learned on.
pub fn open_reward(
    dir: &Path,
    device: DeviceChoice,
) -> anyhow::Result<(LoadedReward, Box<dyn Encoder>)> {
    if !dir.exists() {
        return Err(Usage(format!(
            "{} does not exist; give the directory of a reward (`rapport reward learn`)",
            dir.display()
        ))
        .into());
    }
    let reward = RewardDir::new(PathBuf::from(dir)).load()?;
    let encoder = rapport::perception::open(&reward.encoder.name, device)?;
    reward.check_encoder(encoder.spec())?;
    Ok((reward, encoder))
}
