//! `rapport bench door`: PI2 with a true and with a perceptual reward.

use std::path::PathBuf;

use crate::cli::Usage;
use crate::experiments::door::{Bench, BenchConfig, report};
use crate::ui::Ui;

/// Measure PI2 on a door: does a reward learned from a few videos teach as well as the true one?
///
/// A demonstration that opens the door in one of ten tries is improved over 11 iterations of 10 rollouts, once told how far the
/// door is open and once told only what the perceptual steps see in the pictures.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Folder for door.png, door.md and door.json; none: only the table.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Everything small: minutes become seconds, and the numbers mean nothing.
    #[arg(long)]
    quick: bool,
    /// Seeds.
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Iterations of PI2.
    #[arg(long, value_name = "N")]
    iterations: Option<usize>,
    /// Rollouts of an iteration.
    #[arg(long, value_name = "N")]
    rollouts: Option<usize>,
    /// Standard deviation of the exploration, in units of the action.
    #[arg(long, value_name = "X")]
    std: Option<f64>,
    /// Videos that the perceptual reward is learned from.
    #[arg(long, value_name = "N")]
    demonstrations: Option<usize>,
    /// Steps that are looked for in them.
    #[arg(long, value_name = "N")]
    parts: Option<usize>,
    /// Policy steps between two pictures.
    #[arg(long, value_name = "N")]
    stride: Option<usize>,
    /// Frozen encoder.
    #[arg(long, value_name = "NAME")]
    encoder: Option<String>,
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
        config.first_seed = self.seed;
        config.seeds = self.seeds.unwrap_or(config.seeds);
        config.iterations = self.iterations.unwrap_or(config.iterations);
        config.rollouts = self.rollouts.unwrap_or(config.rollouts);
        config.std = self.std.unwrap_or(config.std);
        config.demonstrations = self.demonstrations.unwrap_or(config.demonstrations);
        config.parts = self.parts.unwrap_or(config.parts);
        config.stride = self.stride.unwrap_or(config.stride);
        config.side = self.side.unwrap_or(config.side);
        if let Some(encoder) = &self.encoder {
            config.encoder.clone_from(encoder);
        }
        config.validate().map_err(Usage)?;
        Ok(config)
    }
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let bench = Bench::measure(args.config()?, ui)?;
    if let Some(out) = &args.out {
        report::write(&bench, out)?;
        ui.say(format!("open {}", out.join("door.png").display()));
    }
    ui.result(&bench, || report::table(&bench))
}
