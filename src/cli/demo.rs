//! `rapport demo`: the whole story on the embedded default.

use std::path::PathBuf;

use crate::demo::Story;
use crate::ui::Ui;

/// The whole story on this machine, no GPU, no arm: real demonstrations cut into steps; demonstrations recorded; a reward learned from
/// video and answers; a policy trained on it, compared, and deployed through the servo driver. Ends with report.html.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Folder for everything; must not exist yet.
    #[arg(long, value_name = "DIR", default_value = "runs/demo")]
    pub out: PathBuf,
    /// Seeds of every training.
    #[arg(long, default_value_t = 3)]
    pub seeds: u64,
    /// Trainings side by side; one per core when not given.
    #[arg(long)]
    pub jobs: Option<usize>,
    /// Answers the oracle gives in place of a person.
    #[arg(long, default_value_t = 300)]
    pub answers: usize,
    /// Demonstrations.
    #[arg(long, default_value_t = 20)]
    pub demonstrations: usize,
    /// Clips to choose between: one short episode each.
    #[arg(long, default_value_t = 400)]
    pub clips: usize,
    /// Steps of every training.
    #[arg(long, default_value_t = 20_000)]
    pub steps: u64,
    /// Evaluation episodes of every policy.
    #[arg(long, default_value_t = 50)]
    pub episodes: usize,
    /// Seconds on the twin.
    #[arg(long, default_value_t = 60.0)]
    pub deploy_seconds: f64,
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let story = Story::tell(args, ui)?;
    ui.result(&story, || story.summary())
}
