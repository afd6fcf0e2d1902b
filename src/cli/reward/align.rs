//! `rapport reward align`: a reward that means what the person chose.

use std::path::PathBuf;

use rapport::perception::efficientnet::{AdapterConfig, EfficientNetEncoder, Tail};
use rapport::perception::{EncoderSpec, Features, adaptable};
use rapport::reward::align::adapt;
use rapport::reward::store::StoredReward;
use rapport::reward::{
    AdaptConfig, Adapted, AlignConfig, AlignReport, Aligned, Alignment, Choice, Comparisons,
    Preference, PreferenceStore, RewardDir,
};
use serde::Serialize;

use super::{Eyes, Kind, learn};
use crate::cli::Usage;
use crate::clips::{Library, dataset_name};
use crate::ui::Ui;

/// Align a reward with preferences (RAPL): a linear head on the encoder's features, trained so that transport distances between
/// clips agree with the answers; then the reward of `reward learn` in that embedding. With `--adapt` the encoder's last blocks
/// are trained along.
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
    /// What is trained.
    #[arg(long, value_enum, default_value_t = Adapt::Head)]
    pub adapt: Adapt,
    /// Blocks before the encoder's tap that `--adapt lora` and `full` change.
    #[arg(long, default_value_t = 2)]
    pub adapt_blocks: usize,
    /// Rank of the changes of `--adapt lora`.
    #[arg(long, default_value_t = 8)]
    pub rank: usize,
    /// Passes over the answers of `--adapt lora` and `full`, after the head's.
    #[arg(long, default_value_t = 5)]
    pub adapt_epochs: usize,
    /// Settings of the head: ours, or RAPL's as printed or as released.
    #[arg(long, value_enum, default_value_t = Profile::Ours)]
    pub profile: Profile,
    /// Exemplar demonstrations for `transport`.
    #[arg(long, default_value_t = 5)]
    pub exemplars: usize,
    /// Entropic regularisation of `transport`.
    #[arg(long, default_value_t = 0.02)]
    pub epsilon: f64,
    /// Principal components of the features below the head, with `--profile ours`.
    #[arg(long, default_value_t = 100)]
    pub components: usize,
    /// How far the components are evened out, 0 to 1, with `--profile ours`.
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

/// What is trained on the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Adapt {
    /// A linear head; the encoder stays as it is.
    Head,
    /// Low-rank changes to the 1x1 convolutions of the encoder's last blocks, and the head (PerceptCLIP).
    Lora,
    /// All weights of those convolutions, and the head.
    Full,
}

/// Settings of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// Principal components below the head, temperature 0.2, trained again on all answers at the end.
    Ours,
    /// On the features as they are, temperature 1, -log p.
    Paper,
    /// As `paper`, with 1 - p, and answers that call clips equal at full weight.
    Code,
}

#[derive(Serialize)]
struct Summary {
    answers: usize,
    comparisons: usize,
    validation_accuracy: Option<f64>,
    alignment_score: Option<f64>,
    adapted_parameters: usize,
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
    let whole = match args.adapt {
        Adapt::Head => None,
        Adapt::Lora | Adapt::Full => Some(adaptable(&args.eyes.encoder, args.adapt_blocks)?),
    };
    // What lies below adapted blocks never changes: its features are encoded once, and cached, like any encoder's.
    let eyes = Eyes {
        encoder: match &whole {
            Some(whole) => whole.below.clone(),
            None => args.eyes.encoder.clone(),
        },
        ..args.eyes.clone()
    };
    let mut encoder = eyes.open()?;
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
    let config = config(args);
    ui.say(format!(
        "aligning with {} answers ({} comparisons)",
        preferences.len(),
        comparisons.items.len()
    ));
    let below = encoder.spec();
    let (model, report, adapted_parameters): (Box<dyn StoredReward>, AlignReport, usize) =
        match &whole {
            None => {
                let (alignment, report) =
                    Alignment::train(&comparisons, &unlabelled, &config, args.seed)?;
                let model = aligned(args, below, alignment, demonstrations.features())?;
                (Box::new(model), report, 0)
            }
            Some(whole) => {
                let (weights, _) = EfficientNetEncoder::load_weights(None)?;
                let tail = Tail::of(&weights, whole.tap, whole.size, args.adapt_blocks)?;
                let profile = match args.adapt {
                    Adapt::Full => AdaptConfig::dense(),
                    Adapt::Head | Adapt::Lora => AdaptConfig::low_rank(),
                };
                let settings = AdaptConfig {
                    adapter: AdapterConfig {
                        rank: args.rank,
                        blocks: args.adapt_blocks,
                        ..profile.adapter
                    },
                    epochs: args.adapt_epochs,
                    ..profile
                };
                let (adaptation, alignment, report) = adapt(
                    tail,
                    whole.tap,
                    &comparisons,
                    &unlabelled,
                    &config,
                    &settings,
                    args.seed,
                )?;
                let through = demonstrations
                    .features()
                    .iter()
                    .map(|f| adaptation.embed(f))
                    .collect::<Result<Vec<_>, _>>()?;
                let inner = aligned(args, &adaptation.spec(below), alignment, &through)?;
                let model = Adapted::new(below, adaptation, Box::new(inner))?;
                let parameters = report.adapted_parameters;
                let report = AlignReport {
                    epochs: report.epochs,
                    best_epoch: report.best_epoch,
                    ..report.head
                };
                (Box::new(model), report, parameters)
            }
        };
    RewardDir::new(&args.out).save(&*model, below, args.seed)?;
    let best = report.epochs.get(report.best_epoch);
    let summary = Summary {
        answers: preferences.len(),
        comparisons: comparisons.items.len(),
        validation_accuracy: best.and_then(|e| e.validation_accuracy),
        alignment_score: best.and_then(|e| e.alignment_score),
        adapted_parameters,
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

fn config(args: &Args) -> AlignConfig {
    let profile = match args.profile {
        Profile::Ours => AlignConfig {
            components: args.components,
            whiten: args.whiten,
            ..AlignConfig::default()
        },
        Profile::Paper => AlignConfig::paper(),
        Profile::Code => AlignConfig::released(),
    };
    AlignConfig {
        epochs: args.epochs,
        ..profile
    }
}

/// The reward of `reward learn` behind an alignment. `demonstrations` are features of `encoder`.
fn aligned(
    args: &Args,
    encoder: &EncoderSpec,
    alignment: Alignment,
    demonstrations: &[Features],
) -> anyhow::Result<Aligned> {
    let embedded = demonstrations
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
        &Aligned::embedding_spec(encoder, &alignment),
        &embedded,
    )?;
    Ok(Aligned::new(encoder, alignment, inner)?)
}
