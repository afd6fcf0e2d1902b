//! `--policy bc`: copying, every step alike or weighed by a reward.

use std::ops::ControlFlow;

use anyhow::Context as _;
use rapport::policy::{Bc, BcConfig, BcLoss, MaskedView};
use rapport::reward::progress::ra_bc::{RaBc, RaBcConfig};
use serde::{Deserialize, Serialize};

use super::sight::see;
use super::{Args, demonstrations};
use crate::cli::Usage;
use crate::clips::Library;
use crate::interrupt;
use crate::pictures::{PictureSpec, Reading};
use crate::run_dir::{self, MetricsLog};
use crate::ui::Ui;

/// Steps ahead that progress is compared over: two seconds at the usual rate, as recordings here last a few.
const AHEAD: usize = 20;

/// What copying minimises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Mean squared error.
    #[default]
    Mse,
    /// Likelihood of a Gaussian.
    Gaussian,
    /// Likelihood of a mixture of five Gaussians.
    Mixture,
}

impl Loss {
    /// As the learner knows it.
    pub fn of_bc(self) -> BcLoss {
        match self {
            Self::Mse => BcLoss::Mse,
            Self::Gaussian => BcLoss::GaussianNll,
            Self::Mixture => BcLoss::Mixture { components: 5 },
        }
    }
}

/// Copies demonstrations.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let (mut spec, mut demonstrations) = demonstrations(args, "bc")?;
    if let Some(encoder) = &args.act.pictures {
        let places = Reading::Keypoints;
        spec = see(args, encoder, places, &spec, &mut demonstrations, ui)?.spec;
    }
    let weights = weights(args, ui)?.unwrap_or_else(|| {
        let ones = demonstrations.iter().map(|d| vec![1.0; d.len()]);
        ones.collect()
    });
    let masked_view = match (args.act.masked_view, PictureSpec::of(&spec)?) {
        (false, _) => None,
        (true, Some(pictures)) if args.loss == Loss::Gaussian => Some(MaskedView {
            own: pictures.own,
            ..MaskedView::default()
        }),
        (true, _) => {
            return Err(Usage(
                "--masked-view covers part of the picture: it needs --pictures and --loss gaussian"
                    .into(),
            )
            .into());
        }
    };
    let config = BcConfig {
        hidden: vec![args.hidden; 2],
        loss: args.loss.of_bc(),
        masked_view,
        ..BcConfig::default()
    };
    run_dir::create(&args.out, "train", args.seed, args)?;
    let bar = ui.bar(config.epochs, "copying demonstrations");
    let mut log = MetricsLog::open(&args.out)?;
    let mut written = Ok(());
    let (policy, report) = Bc::fit_weighted(
        spec,
        config,
        args.seed,
        &demonstrations,
        &weights,
        |epoch, losses| {
            bar.set_position(epoch);
            written = log.write(&serde_json::json!({ "epoch": epoch, "update": losses }));
            if interrupt::requested() || written.is_err() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
    )?;
    written?;
    bar.finish_and_clear();
    policy.save(&args.out)?;
    let summary = serde_json::json!({
        "demonstrations": demonstrations.len(), "epochs": report.epochs, "best_epoch": report.best_epoch, "validation_loss": report.validation_loss,
    });
    ui.result(&summary, || {
        format!(
            "bc: {} demonstrations, {} epochs -> {}",
            demonstrations.len(),
            report.epochs,
            args.out.display()
        )
    })
}

/// How much each step of the demonstrations counts, by episode and action: RA-BC's weights of the progress that a reward sees.
/// None without `--reward`.
fn weights(args: &Args, ui: Ui) -> anyhow::Result<Option<Vec<Vec<f32>>>> {
    let Some(word) = args.reward.as_deref() else {
        return Ok(None);
    };
    if word == "true" {
        return Err(Usage(
            "bc weighs steps by a learned reward: give its directory with --reward, or none".into(),
        )
        .into());
    }
    let dir = args.dataset.as_deref().context("no --dataset")?;
    let (reward, mut encoder) = crate::cli::reward::open_reward(word.as_ref(), args.device)?;
    let camera = args.environment.camera.as_deref();
    let library = Library::encode(dir, camera, &mut *encoder, ui)?;
    let progress = (0..library.dataset().len())
        .map(|episode| {
            let clip = library.clip(episode)?;
            Ok(reward.model.score(&clip, &Default::default())?.per_step)
        })
        .collect::<anyhow::Result<Vec<Vec<f64>>>>()?;
    let config = RaBcConfig {
        chunk: AHEAD,
        ..RaBcConfig::default()
    };
    let weigher = RaBc::fit(&progress, &config)?;
    // The last row is what the last action led to.
    let weights = progress.iter().map(|progress| {
        let all = weigher.weights(progress);
        let actions = all.len().saturating_sub(1);
        all[..actions].iter().map(|&w| w as f32).collect()
    });
    Ok(Some(weights.collect()))
}
