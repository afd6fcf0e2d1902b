//! `--policy act`.

use std::ops::ControlFlow;

use anyhow::Context as _;
use rapport::policy::act::Execution;
use rapport::policy::{Act, ActConfig, PolicySpec, Schedule, Transition};
use rapport::robot::so101;
use serde::{Deserialize, Serialize};

use super::{Args, demonstrations};
use crate::cli::Usage;
use crate::clips::{Library, camera_of};
use crate::interrupt;
use crate::pictures::PictureSpec;
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
    /// See instead of being told where the objects are: the encoder of pictures, such as `efficientnet-lite0:block10@112` (`act`).
    #[arg(long, value_name = "ENCODER")]
    pub pictures: Option<String>,
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

/// Puts pictures in the place of what only a simulator knows. Gives the policy's new description and the grid of a picture.
fn see(
    args: &Args,
    encoder: &str,
    spec: &PolicySpec,
    demonstrations: &mut [Vec<Transition>],
    ui: Ui,
) -> anyhow::Result<(PolicySpec, (usize, usize))> {
    let dir = args
        .dataset
        .as_deref()
        .context("demonstrations were read from it")?;
    let camera = args.environment.camera.as_deref();
    let mut encoder = rapport::perception::open(encoder, args.device)?;
    let library = Library::encode(dir, camera, &mut *encoder, ui)?;
    let dataset = library.dataset();
    let pictures = PictureSpec {
        encoder: encoder.spec().name.clone(),
        size: dataset
            .frame(0, &camera_of(dataset, camera)?, 0)?
            .dimensions(),
        // Joints and tool.
        own: so101::spec().dof() + 3,
    };
    for (episode, features) in demonstrations.iter_mut().zip(library.features()) {
        anyhow::ensure!(
            episode.len() < features.len(),
            "an episode of {} has fewer pictures than steps; run `rapport dataset verify`",
            dir.display()
        );
        for (t, step) in episode.iter_mut().enumerate() {
            for (observation, at) in [
                (&mut step.observation, t),
                (&mut step.next_observation, t + 1),
            ] {
                observation.truncate(pictures.own);
                observation.extend_from_slice(features.row(at));
            }
        }
    }
    let dim = encoder.spec().dim;
    Ok((pictures.describe(spec, dim)?, pictures.grid(dim)))
}

/// Copies demonstrations in chunks.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    if args.resume {
        return Err(Usage("act does not go on from a checkpoint; train it anew".into()).into());
    }
    let mut config = args
        .act
        .config(args.updates.unwrap_or(super::COPYING_UPDATES));
    config
        .validate()
        .map_err(|error| Usage(error.to_string()))?;
    let (mut spec, mut demonstrations) = demonstrations(args, "act")?;
    if let Some(encoder) = &args.act.pictures {
        let tokens;
        (spec, tokens) = see(args, encoder, &spec, &mut demonstrations, ui)?;
        (config.image_tokens, config.token_dim) = (vec![tokens.0], tokens.1);
    }
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
