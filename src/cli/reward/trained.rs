//! The kinds of `rapport reward learn` that are trained by gradient descent, on demonstrations or on answers.

use std::path::PathBuf;

use anyhow::Context as _;
use rapport::perception::EncoderSpec;
use rapport::reward::progress::{
    CausalProgress, CycleConfig, ProgressConfig, SuccessClassifier, SuccessConfig, ValueConfig,
    cycle, value,
};
use rapport::reward::store::StoredReward;
use rapport::reward::{
    Clip, ClipId, Condition, HeadConfig, PreferenceHead, PreferenceStore, RewardError,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::learn::Kind;
use crate::cli::Usage;
use crate::clips::{Library, dataset_name};
use crate::schema::SUCCESS;
use crate::ui::Ui;

/// What training takes besides demonstrations.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Training {
    /// Answers of `rapport prefer`, about clips of the dataset, for `preferences`.
    #[arg(long, value_name = "FILE.jsonl")]
    pub answers: Option<PathBuf>,
    /// Settings of the kind, for the kinds that are trained; what is not named keeps its default.
    #[arg(long, value_name = "FILE.toml")]
    pub settings: Option<PathBuf>,
}

/// How a training went, in one line.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Comparisons, clips or demonstrations trained on.
    pub examples: usize,
    /// In the words of the kind.
    pub report: String,
}

/// True for kinds that this file trains.
pub fn trains(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Preferences | Kind::Cycle | Kind::Value | Kind::Progress | Kind::Success
    )
}

/// Trains a reward.
pub fn train(
    kind: Kind,
    training: &Training,
    library: &Library,
    encoder: &EncoderSpec,
    seed: u64,
    ui: Ui,
) -> anyhow::Result<(Box<dyn StoredReward>, Outcome)> {
    let demonstrations = library.features();
    let examples = demonstrations.len();
    ui.say(format!("training on {examples} episodes"));
    let losses = |losses: Vec<f64>| match (losses.first(), losses.last()) {
        (Some(first), Some(last)) => format!("loss {first:.4} to {last:.4}"),
        _ => "nothing to train".into(),
    };
    Ok(match kind {
        Kind::Preferences => preferences(training, library, encoder, seed)?,
        Kind::Cycle => {
            let config: CycleConfig = settings(training)?;
            let (mut model, course) = cycle::train(encoder, demonstrations, &config, seed)?;
            model.fit_scale(demonstrations)?;
            let report = losses(course);
            (Box::new(model), Outcome { examples, report })
        }
        Kind::Value => {
            let config: ValueConfig = settings(training)?;
            let (model, course) = value::train(encoder, demonstrations, &config, seed)?;
            let report = losses(course);
            (Box::new(model), Outcome { examples, report })
        }
        Kind::Progress => {
            let config: ProgressConfig = settings(training)?;
            let named = (0..examples)
                .map(|i| Ok((library.columns(i)?.task, demonstrations[i].clone())))
                .collect::<anyhow::Result<Vec<_>>>()?;
            let (model, report) = CausalProgress::train(encoder, &named, &config, seed)?;
            let report = losses(report.losses);
            (Box::new(model), Outcome { examples, report })
        }
        Kind::Success => {
            let config: SuccessConfig = settings(training)?;
            let judged = (0..examples)
                .map(|i| Ok((demonstrations[i].clone(), succeeded(library, i)?)))
                .collect::<anyhow::Result<Vec<_>>>()?;
            let (model, report) = SuccessClassifier::train(encoder, &judged, &config, seed)?;
            let report = format!(
                "calibration error {:.3} on held-out frames, {:.3} before calibration",
                report.after.expected_calibration_error, report.before.expected_calibration_error
            );
            (Box::new(model), Outcome { examples, report })
        }
        Kind::Transport | Kind::Goal | Kind::Steps | Kind::Text => {
            anyhow::bail!("this kind of reward is not trained")
        }
    })
}

fn preferences(
    training: &Training,
    library: &Library,
    encoder: &EncoderSpec,
    seed: u64,
) -> anyhow::Result<(Box<dyn StoredReward>, Outcome)> {
    let Some(file) = &training.answers else {
        return Err(Usage(
            "`--kind preferences` learns from answers: give them with --answers, make them with `rapport prefer`".into(),
        )
        .into());
    };
    let answers = PreferenceStore::read(file)?;
    let name = dataset_name(library.dataset().dir());
    let clip_of = |id: &ClipId| -> Result<Clip, RewardError> {
        if id.dataset != name {
            return Err(RewardError::Other(format!(
                "the answers speak of a dataset called {}; give that one with --dataset",
                id.dataset
            )));
        }
        let whole = library
            .clip(id.episode)
            .map_err(|e| RewardError::Other(e.to_string()))?;
        let rows: Vec<usize> = (id.start..id.end).collect();
        if id.end > whole.len() {
            return Err(RewardError::Other(format!("{id} is not in the dataset")));
        }
        Ok(Clip {
            features: whole.features.select(&rows),
            columns: whole
                .columns
                .into_iter()
                .filter(|(_, column)| id.end <= column.len())
                .map(|(name, column)| (name, column.select(&rows)))
                .collect(),
            fps: whole.fps,
        })
    };
    let pairs = rapport::reward::head::Pairs::from_preferences(&answers, clip_of)?;
    let config: HeadConfig = settings(training)?;
    let (model, report) = PreferenceHead::train(encoder, &pairs, Condition::None, &config, seed)?;
    let accuracy = report
        .validation_accuracy
        .map_or("nothing held out".into(), |a| {
            format!("{:.0} % of the held-out answers in order", 100.0 * a)
        });
    let examples = pairs.items.len();
    Ok((
        Box::new(model),
        Outcome {
            examples,
            report: accuracy,
        },
    ))
}

/// Whether an episode says of itself that it succeeded: `next.success` at any of its frames.
fn succeeded(library: &Library, episode: usize) -> anyhow::Result<bool> {
    let columns = library.columns(episode)?.columns;
    let success = columns.get(SUCCESS).ok_or_else(|| {
        Usage(format!(
            "episode {episode} of {} does not say whether it succeeded: there is no column {SUCCESS}",
            library.dataset().dir().display()
        ))
    })?;
    Ok(success.values.iter().any(|&v| v > 0.5))
}

fn settings<T: DeserializeOwned + Default>(training: &Training) -> anyhow::Result<T> {
    let Some(file) = &training.settings else {
        return Ok(T::default());
    };
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{} cannot be read", file.display()))?;
    toml::from_str(&text).map_err(|e| Usage(format!("{}: {e}", file.display())).into())
}
