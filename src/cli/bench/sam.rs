//! `rapport bench sam`: imitation by an adversary, with and without what keeps it from being steep.

use std::path::PathBuf;

use crate::cli::Usage;
use crate::experiments::sam::{Bench, BenchConfig, report};
use crate::ui::Ui;

/// Measure imitation from four demonstrations by an adversarial reward: does it need a discriminator that is kept from being steep?
///
/// An expert is made with SAC on the true reward. TD3 then imitates it, told only what a discriminator says that learns beside it, kept
/// by nothing, by a gradient penalty, by spectral normalisation, or by both.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Folder for sam.png, sam.md and sam.json; none: only the table.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Everything small: minutes become seconds, and the numbers mean nothing.
    #[arg(long)]
    quick: bool,
    /// Environment.
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// Seeds.
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Steps in which the expert is made.
    #[arg(long, value_name = "N")]
    expert_steps: Option<u64>,
    /// Demonstrations.
    #[arg(long, value_name = "N")]
    demonstrations: Option<usize>,
    /// Keep only every so many steps of them.
    #[arg(long, value_name = "N")]
    stride: Option<usize>,
    /// Steps of an imitator.
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Steps between two evaluations.
    #[arg(long, value_name = "N")]
    every: Option<u64>,
    /// Width of the two hidden layers of actors and critics.
    #[arg(long, value_name = "N")]
    hidden: Option<usize>,
}

impl Args {
    fn config(&self) -> Result<BenchConfig, Usage> {
        let mut config = if self.quick {
            BenchConfig::quick()
        } else {
            BenchConfig::default()
        };
        if let Some(env) = &self.env {
            config.env.clone_from(env);
        }
        config.first_seed = self.seed;
        config.seeds = self.seeds.unwrap_or(config.seeds);
        config.expert_steps = self.expert_steps.unwrap_or(config.expert_steps);
        config.demonstrations = self.demonstrations.unwrap_or(config.demonstrations);
        config.stride = self.stride.unwrap_or(config.stride);
        config.steps = self.steps.unwrap_or(config.steps);
        config.every = self.every.unwrap_or(config.every);
        config.hidden = self.hidden.unwrap_or(config.hidden);
        config.validate().map_err(Usage)?;
        Ok(config)
    }
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let bench = Bench::measure(args.config()?, ui)?;
    if let Some(out) = &args.out {
        report::write(&bench, out)?;
        ui.say(format!("open {}", out.join("sam.png").display()));
    }
    ui.result(&bench, || report::table(&bench))
}
