//! `rapport reward align`: a reward that means what the person chose.

use std::path::PathBuf;

use rapport::perception::Features;
use rapport::reward::{
    AlignConfig, Aligned, Alignment, Choice, Comparisons, Preference, PreferenceStore, RewardDir,
};
use serde::Serialize;

use super::{Eyes, Kind, learn};
use crate::cli::Usage;
use crate::clips::{Library, dataset_name};
use crate::ui::Ui;

/// Align a reward with preferences (RAPL): a linear head on the encoder's features, trained so that transport distances between
/// clips agree with the answers; then the reward of `reward learn` in that embedding.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Demonstrations.
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// The dataset that the answers are about, when it is not the demonstrations.
    #[arg(long, value_name = "DIR")]
    pub clips: Option<PathBuf>,
    /// Answers of `rapport prefer`.
    #[arg(long, value_name = "FILE.jsonl")]
    pub answers: PathBuf,
    /// Use only the first so many answers.
    #[arg(long)]
    pub limit: Option<usize>,
    /// What kind of reward in the aligned embedding.
    #[arg(long, value_enum, default_value_t = Kind::Transport)]
    pub kind: Kind,
    #[command(flatten)]
    pub eyes: Eyes,
    /// Exemplar demonstrations for `transport`.
    #[arg(long, default_value_t = 5)]
    pub exemplars: usize,
    /// Entropic regularisation of `transport`.
    #[arg(long, default_value_t = 0.02)]
    pub epsilon: f64,
    /// Principal components of the features below the head.
    #[arg(long, default_value_t = 100)]
    pub components: usize,
    /// How far the components are evened out, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    pub whiten: f64,
    /// Passes over the answers.
    #[arg(long, default_value_t = 60)]
    pub epochs: usize,
    /// The reward's directory.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Seed of the head and of the order of training.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

#[derive(Serialize)]
struct Summary {
    answers: usize,
    comparisons: usize,
    validation_accuracy: Option<f64>,
    best_epoch: usize,
    seconds: f64,
    out: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let mut preferences = PreferenceStore::read(&args.answers)?;
    preferences.truncate(args.limit.unwrap_or(usize::MAX));
    if preferences.is_empty() {
        return Err(Usage(format!(
            "{} holds no answer; give some with `rapport prefer`",
            args.answers.display()
        ))
        .into());
    }
    let mut encoder = args.eyes.open()?;
    let camera = args.eyes.camera.as_deref();
    let demonstrations = Library::encode(&args.dataset, camera, &mut *encoder, ui)?;
    let clips = args
        .clips
        .as_deref()
        .map(|dir| Library::encode(dir, camera, &mut *encoder, ui))
        .transpose()?;
    let names = [
        Some((dataset_name(&args.dataset), &demonstrations)),
        args.clips.as_deref().map(dataset_name).zip(clips.as_ref()),
    ];
    let begin = std::time::Instant::now();
    let exemplars = exemplars(&preferences, &demonstrations, args.exemplars);
    let comparisons = Comparisons::from_preferences(&preferences, &exemplars, |id| {
        let library = names
            .iter()
            .flatten()
            .find(|(name, _)| *name == id.dataset)
            .map(|(_, library)| library);
        let library = library.ok_or_else(|| {
            rapport::reward::RewardError::Other(format!(
                "the answers speak of a dataset called {}; name its folder with --clips",
                id.dataset
            ))
        })?;
        library
            .stretch(id)
            .map_err(|e| rapport::reward::RewardError::Other(e.to_string()))
    })?;
    let unlabelled: Vec<Features> = names
        .iter()
        .flatten()
        .flat_map(|(_, library)| library.features().iter().cloned())
        .collect();
    let config = AlignConfig {
        components: args.components,
        whiten: args.whiten,
        epochs: args.epochs,
        ..AlignConfig::default()
    };
    ui.say(format!(
        "aligning with {} answers ({} comparisons)",
        preferences.len(),
        comparisons.items.len()
    ));
    let (alignment, report) = Alignment::train(&comparisons, &unlabelled, &config, args.seed)?;
    let embedded = demonstrations
        .features()
        .iter()
        .map(|f| alignment.embed(f))
        .collect::<Result<Vec<_>, _>>()?;
    let recipe = learn::Args {
        dataset: Some(args.dataset.clone()),
        kind: args.kind,
        eyes: args.eyes.clone(),
        exemplars: args.exemplars,
        epsilon: args.epsilon,
        steps: 3,
        sentences: super::Sentences::default(),
        training: super::trained::Training::default(),
        out: args.out.clone(),
        seed: args.seed,
    };
    let inner = learn::build(
        &recipe,
        &Aligned::embedding_spec(encoder.spec(), &alignment),
        &embedded,
    )?;
    let model = Aligned::new(encoder.spec(), alignment, inner)?;
    RewardDir::new(&args.out).save(&model, encoder.spec(), args.seed)?;
    let summary = Summary {
        answers: preferences.len(),
        comparisons: comparisons.items.len(),
        validation_accuracy: report
            .epochs
            .get(report.best_epoch)
            .and_then(|e| e.validation_accuracy),
        best_epoch: report.best_epoch,
        seconds: begin.elapsed().as_secs_f64(),
        out: args.out.clone(),
    };
    ui.result(&summary, || {
        let accuracy = summary
            .validation_accuracy
            .map_or("not held out".into(), |a| {
                format!("{:.0} % of the held-out comparisons in order", 100.0 * a)
            });
        format!(
            "aligned with {} answers in {:.1} s: {accuracy} -> {}",
            summary.answers,
            summary.seconds,
            summary.out.display()
        )
    })
}

/// What the clips of pairs are compared with, because a pair alone has nothing that both should be near or far: how the first
/// demonstrations end, as long as the clips are. Empty when there is no pair.
fn exemplars(preferences: &[Preference], demonstrations: &Library, wanted: usize) -> Vec<Features> {
    let mut lengths: Vec<usize> = preferences
        .iter()
        .filter(|p| matches!(p.choice, Choice::Pair { .. }))
        .flat_map(|p| p.choice.clips())
        .map(|clip| clip.end - clip.start)
        .collect();
    if lengths.is_empty() {
        return Vec::new();
    }
    let middle = lengths.len() / 2;
    let length = *lengths.select_nth_unstable(middle).1;
    let whole = demonstrations.features().iter().filter(|f| !f.is_empty());
    whole
        .take(wanted.max(1))
        .map(|f| f.select(&(f.len().saturating_sub(length)..f.len()).collect::<Vec<_>>()))
        .collect()
}
