//! `rapport bench steps`: perceptual steps, measured.

use std::path::PathBuf;

use crate::cli::Usage;
use crate::cli::environment::from_name;
use crate::experiments::steps::{Bench, BenchConfig, Staged, report};
use crate::ui::Ui;

/// Measure perceptual steps: are a task's steps found without labels, and recognised in new videos?
///
/// Films doors, pours and lifts, each in a room of its own, and fills the two tables of the paper (Jaccard index of steps found and
/// of rewards above a half) beside their random baselines.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Folder for steps.html and steps.json; none: only the tables.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Everything small: minutes become seconds, and the numbers mean nothing.
    #[arg(long)]
    quick: bool,
    /// Tasks: door, pour, lift.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...", value_parser = from_name::<Staged>)]
    tasks: Vec<Staged>,
    /// Seeds.
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Demonstrations learned from.
    #[arg(long, value_name = "N")]
    demonstrations: Option<usize>,
    /// Test videos.
    #[arg(long, value_name = "N")]
    tests: Option<usize>,
    /// Least frames of a step.
    #[arg(long, value_name = "N")]
    min_size: Option<usize>,
    /// Frozen encoder; several stand side by side.
    #[arg(long = "encoder", value_name = "NAME")]
    encoders: Vec<String>,
    /// Side of the pictures, pixels.
    #[arg(long, value_name = "N")]
    side: Option<u32>,
}

impl Args {
    fn config(&self) -> Result<BenchConfig, Usage> {
        let mut config = if self.quick {
            BenchConfig::quick()
        } else {
            BenchConfig::default()
        };
        if !self.tasks.is_empty() {
            config.tasks.clone_from(&self.tasks);
        }
        if !self.encoders.is_empty() {
            config.encoders.clone_from(&self.encoders);
        }
        config.first_seed = self.seed;
        config.seeds = self.seeds.unwrap_or(config.seeds);
        config.demonstrations = self.demonstrations.unwrap_or(config.demonstrations);
        config.tests = self.tests.unwrap_or(config.tests);
        config.min_size = self.min_size.unwrap_or(config.min_size);
        config.side = self.side.unwrap_or(config.side);
        config.validate().map_err(Usage)?;
        Ok(config)
    }
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let bench = Bench::measure(args.config()?, ui)?;
    if let Some(out) = &args.out {
        report::write(&bench, out)?;
        ui.say(format!("open {}", out.join("steps.html").display()));
    }
    ui.result(&bench, || report::table(&bench))
}
