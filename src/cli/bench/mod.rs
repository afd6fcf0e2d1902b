//! `rapport bench`: what this machine and these rewards can do, measured.

mod claim;
mod control;
mod door;
mod sam;
mod sim;
mod steps;

use std::ffi::OsString;

use super::Usage;
use crate::ui::Ui;

/// Measure: the simulator's speed (the default), or what the papers claim of their rewards.
///
/// `rapport bench --list` prints the names of the environments.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    sim: sim::Args,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum What {
    Sim(sim::Args),
    Claim(claim::Args),
    Control(control::Args),
    Door(door::Args),
    Sam(sam::Args),
    Steps(steps::Args),
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    match &args.what {
        None => sim::run(&args.sim, ui),
        Some(What::Sim(args)) => sim::run(args, ui),
        Some(What::Claim(args)) => claim::run(args, ui),
        Some(What::Control(args)) => control::run(args, ui),
        Some(What::Door(args)) => door::run(args, ui),
        Some(What::Sam(args)) => sam::run(args, ui),
        Some(What::Steps(args)) => steps::run(args, ui),
        Some(What::Other(words)) => {
            let name = words
                .first()
                .map(|word| word.to_string_lossy().into_owned());
            Err(Usage(format!(
                "there is no bench {}; there are sim, claim, control, door, sam and steps",
                name.unwrap_or_default()
            ))
            .into())
        }
    }
}
