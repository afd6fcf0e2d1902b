//! `--policy act`.

use std::ops::ControlFlow;

use rapport::policy::act::Execution;
use rapport::policy::{Act, ActConfig, Schedule};
use serde::{Deserialize, Serialize};

use super::{Args, demonstrations};
use crate::cli::Usage;
use crate::interrupt;
use crate::run_dir::{self, MetricsLog};
use crate::ui::Ui;

/// Settings of `act`.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub struct ActArgs {
    /// Actions predicted at once (`act`, `diffusion`).
    #[arg(long, default_value_t = 20)]
    pub chunk: usize,
    /// Actions of a chunk that are executed before the next look; 0 looks at every step and averages what all chunks
    /// say (`act`), or takes 8 (`diffusion`).
    #[arg(long, default_value_t = 0)]
    pub execute: usize,
    /// Gradient steps (`act`, `diffusion`).
    #[arg(long, default_value_t = 3_000)]
    pub updates: u64,
}

impl ActArgs {
    fn config(&self) -> ActConfig {
        let usual = ActConfig::default();
        ActConfig {
            chunk: self.chunk,
            execution: match self.execute {
                0 => usual.execution,
                execute => Execution::Queue { execute },
            },
            steps: self.updates,
            report_every: (self.updates / 20).max(1),
            schedule: Schedule {
                decay: self.updates,
                ..usual.schedule
            },
            ..usual
        }
    }
}

pub(super) fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    if args.resume {
        return Err(Usage("act does not go on from a checkpoint; train it anew".into()).into());
    }
    let config = args.act.config();
    config
        .validate()
        .map_err(|error| Usage(error.to_string()))?;
    let (spec, demonstrations) = demonstrations(args, "act")?;
    run_dir::create(&args.out, "train", args.seed, args)?;
    let bar = ui.bar(config.steps, "copying demonstrations in chunks");
    let mut log = MetricsLog::open(&args.out)?;
    let mut written = Ok(());
    let (policy, report) = Act::fit(spec, config, args.seed, &demonstrations, |step, losses| {
        bar.set_position(step);
        written = log.write(&serde_json::json!({ "step": step, "update": losses }));
        if interrupt::requested() || written.is_err() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    written?;
    bar.finish_and_clear();
    policy.save(&args.out)?;
    let summary = serde_json::json!({
        "demonstrations": demonstrations.len(), "updates": report.steps, "best_update": report.best_step, "validation_loss": report.validation_loss,
    });
    ui.result(&summary, || {
        format!(
            "act: {} demonstrations, {} updates -> {}",
            demonstrations.len(),
            report.steps,
            args.out.display()
        )
    })
}
