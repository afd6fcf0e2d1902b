//! `--policy diffusion`.

use rapport::perception::DeviceChoice;
use rapport::policy::diffusion::{DenoiserConfig, MlpConfig, TransformerConfig, UnetConfig};
use rapport::policy::{DiffusionConfig, DiffusionFit};
use serde::{Deserialize, Serialize};

use super::copying::{STOPPED, copy};
use super::sight::see;
use super::{Args, demonstrations};
use crate::cli::Usage;
use crate::pictures::Reading;
use crate::ui::Ui;

/// Settings of `diffusion`, beside those it shares with `act`.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub struct DiffusionArgs {
    /// The network that removes the noise (`diffusion`).
    #[arg(long, value_enum, default_value_t = Denoiser::Unet)]
    pub denoiser: Denoiser,
    /// Denoising steps per chunk (`diffusion`).
    #[arg(long, default_value_t = 10)]
    pub denoising_steps: usize,
}

/// The network that removes the noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Denoiser {
    /// Fully connected layers.
    Mlp,
    /// Convolutions over time.
    Unet,
    /// Attention.
    Transformer,
}

fn config(args: &Args) -> DiffusionConfig {
    let usual = DiffusionConfig::default();
    let (chunk, updates) = (
        args.act.chunk,
        args.updates.unwrap_or(super::COPYING_UPDATES),
    );
    // The first action of a chunk belongs to the oldest observation looked at.
    let ahead = (chunk + 1).saturating_sub(usual.observation_horizon);
    DiffusionConfig {
        prediction_horizon: chunk,
        action_horizon: match args.act.execute {
            0 => usual.action_horizon.min(ahead),
            execute => execute,
        },
        denoising_steps: args.diffusion.denoising_steps,
        updates,
        warmup: usual.warmup.min(updates / 10),
        report_every: (updates / 20).max(1),
        denoiser: match args.diffusion.denoiser {
            Denoiser::Mlp => DenoiserConfig::Mlp(MlpConfig {
                hidden: vec![2 * args.hidden; 3],
                ..MlpConfig::default()
            }),
            Denoiser::Unet => DenoiserConfig::Unet(UnetConfig {
                down_dims: vec![args.hidden / 2, args.hidden],
                ..UnetConfig::default()
            }),
            Denoiser::Transformer => DenoiserConfig::Transformer(TransformerConfig {
                width: args.hidden,
                ..TransformerConfig::default()
            }),
        },
        adam: rapport::policy::AdamConfig {
            learning_rate: 1e-3,
            ..usual.adam
        },
        ..usual
    }
}

/// Copies demonstrations.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let config = config(args);
    config
        .validate()
        .map_err(|error| Usage(error.to_string()))?;
    let (mut spec, mut demonstrations) = demonstrations(args, "diffusion")?;
    if let Some(encoder) = &args.act.pictures {
        let places = Reading::Keypoints;
        spec = see(args, encoder, places, &spec, &mut demonstrations, ui)?.spec;
    }
    let mut fit = if args.resume {
        DiffusionFit::resume(&args.out, &spec, &demonstrations, None)?
    } else {
        DiffusionFit::new(spec, config, args.seed, &demonstrations, None)?
    };
    if args.device != DeviceChoice::Cpu {
        fit = fit.on(&args.device.burn_device()?);
    }
    let done = copy(args, &mut fit, "copying demonstrations", ui)?;
    let report = fit.finish()?.1;
    let summary = serde_json::json!({
        "demonstrations": demonstrations.len(), "updates": report.updates, "training_loss": report.training_loss,
        "interrupted": !done,
    });
    ui.result(&summary, || {
        format!(
            "diffusion: {} demonstrations, {} updates -> {}{}",
            demonstrations.len(),
            report.updates,
            args.out.display(),
            if done { "" } else { STOPPED }
        )
    })
}
