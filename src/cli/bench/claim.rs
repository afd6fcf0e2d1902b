//! `rapport bench claim`: RAPL's claim, measured.

use std::path::PathBuf;

use crate::cli::Usage;
use crate::cli::environment::from_name;
use crate::experiments::claim::{Cache, Claim, ClaimConfig, report};
use crate::experiments::filming::Set;
use crate::experiments::manner::Preferred;
use crate::experiments::rivals::Method;
use crate::ui::Ui;

/// Measure RAPL's claim: a reward aligned with few answers against RLHF and against rewards that ask nobody.
///
/// Films rollouts of graded quality of two tasks with a hidden preference, lets a simulated person rank some of them, learns every
/// reward from the same clips and answers, and asks each to order held-out clips: as they were, in another room, with another arm.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Folder for claim.html, claim.json and claim.png; none: only the table.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Everything small: minutes become seconds, and the numbers mean nothing.
    #[arg(long)]
    quick: bool,
    /// Tasks: avoid, group.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...", value_parser = from_name::<Preferred>)]
    tasks: Vec<Preferred>,
    /// Looks of the test clips: same, room, arm, room-and-arm.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...", value_parser = from_name::<Set>)]
    sets: Vec<Set>,
    /// Rewards: rapl, rapl-sharp, rlhf, transport, steps, goal, text.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...", value_parser = from_name::<Method>)]
    methods: Vec<Method>,
    /// Numbers of answers, ascending.
    #[arg(long, value_delimiter = ',', value_name = "N,...")]
    answers: Vec<usize>,
    /// The number of answers that the table shows; default: 150, or the largest.
    #[arg(long, value_name = "N")]
    headline: Option<usize>,
    /// Seeds.
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Clips that the answers are about.
    #[arg(long, value_name = "N")]
    pool: Option<usize>,
    /// Held-out clips.
    #[arg(long, value_name = "N")]
    test: Option<usize>,
    /// Frozen encoder.
    #[arg(long)]
    encoder: Option<String>,
    /// Weight of the entropy in the transport plan; RAPL's is 1.
    #[arg(long)]
    epsilon: Option<f64>,
    /// How far RAPL's principal components are evened out, 0 to 1.
    #[arg(long)]
    whiten: Option<f64>,
    /// Measure nothing; put earlier runs together, of other seeds or tasks.
    #[arg(long, value_name = "CLAIM.json", num_args = 1..)]
    from: Vec<PathBuf>,
    /// Keep features on disk (up to 2 GB): the next run with the same clips is faster.
    #[arg(long)]
    cache: bool,
}

impl Args {
    fn config(&self) -> Result<ClaimConfig, Usage> {
        let mut config = if self.quick {
            ClaimConfig::quick()
        } else {
            ClaimConfig::default()
        };
        let given = |list: &[usize]| (!list.is_empty()).then(|| list.to_vec());
        if !self.tasks.is_empty() {
            config.tasks.clone_from(&self.tasks);
        }
        if !self.sets.is_empty() {
            config.sets.clone_from(&self.sets);
        }
        if !self.methods.is_empty() {
            config.methods.clone_from(&self.methods);
        }
        if let Some(answers) = given(&self.answers) {
            config.answers = answers;
        }
        let largest = config.answers.last().copied().unwrap_or_default();
        config.headline = self.headline.unwrap_or_else(|| {
            if config.answers.contains(&config.headline) {
                config.headline
            } else {
                largest
            }
        });
        config.first_seed = self.seed;
        config.seeds = self.seeds.unwrap_or(config.seeds);
        config.pool = self.pool.unwrap_or(config.pool);
        config.test = self.test.unwrap_or(config.test);
        if let Some(encoder) = &self.encoder {
            config.encoder.clone_from(encoder);
        }
        if let Some(epsilon) = self.epsilon {
            config.rivals.transport.epsilon = epsilon;
            config.rivals.align.transport.epsilon = epsilon;
        }
        if let Some(whiten) = self.whiten {
            config.rivals.align.whiten = whiten;
        }
        config.validate().map_err(Usage)?;
        Ok(config)
    }
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let cache = if args.cache { Cache::Disk } else { Cache::None };
    let claim = if args.from.is_empty() {
        Claim::measure(args.config()?, cache, ui)?
    } else {
        Claim::together(&args.from)?
    };
    if let Some(out) = &args.out {
        report::write(&claim, out)?;
        ui.say(format!("open {}", out.join("claim.html").display()));
    }
    ui.result(&claim, || report::table(&claim))
}
