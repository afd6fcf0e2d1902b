//! `--policy act`.

use rapport::perception::DeviceChoice;
use rapport::policy::act::Execution;
use rapport::policy::{ActConfig, ActFit, Schedule};
use serde::{Deserialize, Serialize};

use super::copying::{STOPPED, copy};
use super::sight::see;
use super::{Args, demonstrations};
use crate::cli::Usage;
use crate::pictures::Reading;
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
    /// See instead of being told where the objects are: the encoder of pictures, such as `efficientnet-lite0:block10@112`. `act` looks at every
    /// place of the picture, the others are told where in it each feature is; `drq` learns its own from pixels (`pixels@48`, which is its default).
    #[arg(long, value_name = "ENCODER")]
    pub pictures: Option<String>,
    /// Reward actions that change when part of the picture is covered, so that the policy uses the camera and not only the arm's own
    /// numbers (`bc --loss gaussian --pictures ENCODER`).
    #[arg(long)]
    #[serde(default)]
    pub masked_view: bool,
}

impl ActArgs {
    fn config(&self, updates: u64) -> ActConfig {
        let usual = ActConfig::default();
        ActConfig {
            chunk: self.chunk,
            execution: match self.execute {
                0 => usual.execution,
                execute => Execution::Queue { execute },
            },
            steps: updates,
            report_every: (updates / 20).max(1),
            schedule: Schedule {
                decay: updates,
                ..usual.schedule
            },
            ..usual
        }
    }
}

/// Copies demonstrations in chunks.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let mut config = args
        .act
        .config(args.updates.unwrap_or(super::COPYING_UPDATES));
    config
        .validate()
        .map_err(|error| Usage(error.to_string()))?;
    let (mut spec, mut demonstrations) = demonstrations(args, "act")?;
    if let Some(encoder) = &args.act.pictures {
        let seen = see(args, encoder, Reading::Grid, &spec, &mut demonstrations, ui)?;
        (config.image_tokens, config.token_dim) = (vec![seen.grid.0], seen.grid.1);
        spec = seen.spec;
    }
    let mut fit = if args.resume {
        ActFit::resume(&args.out, &spec, &demonstrations, None)?
    } else {
        ActFit::new(spec, config, args.seed, &demonstrations, None)?
    };
    if args.device != DeviceChoice::Cpu {
        fit = fit.on(&args.device.burn_device()?);
    }
    let done = copy(args, &mut fit, "copying demonstrations in chunks", ui)?;
    let report = fit.finish().1;
    let summary = serde_json::json!({
        "demonstrations": demonstrations.len(), "updates": report.steps, "best_update": report.best_step, "validation_loss": report.validation_loss,
        "interrupted": !done,
    });
    ui.result(&summary, || {
        format!(
            "act: {} demonstrations, {} updates -> {}{}",
            demonstrations.len(),
            report.steps,
            args.out.display(),
            if done { "" } else { STOPPED }
        )
    })
}
