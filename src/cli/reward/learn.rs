//! `rapport reward learn`: a reward from demonstrations alone.

use std::path::PathBuf;

use rapport::perception::{EncoderSpec, Features};
use rapport::reward::matching::Goal;
use rapport::reward::steps::{PerceptualSteps, SegmentationConfig, StepsConfig};
use rapport::reward::store::StoredReward;
use rapport::reward::transport::Cost;
use rapport::reward::{
    GoalDistance, GoalDistanceConfig, RewardDir, TransportConfig, TransportMatch,
    TransportMatchConfig,
};
use serde::Serialize;

use super::Eyes;
use super::text::{Sentences, text_reward};
use super::trained::{Outcome, Training, train, trains};
use crate::cli::Usage;
use crate::clips::Library;
use crate::ui::Ui;

/// Learn a reward from the video of demonstrations: be like them.
///
/// Such a reward often follows the arm rather than the object; `rapport reward eval` says how far, `rapport reward align` mends it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Demonstrations; `text` needs none.
    #[arg(long, value_name = "DIR", required_unless_present = "goal")]
    pub dataset: Option<PathBuf>,
    /// What kind of reward.
    #[arg(long, value_enum, default_value_t = Kind::Transport)]
    pub kind: Kind,
    #[command(flatten)]
    pub eyes: Eyes,
    /// Exemplar demonstrations for `transport`, the first ones of the dataset.
    #[arg(long, default_value_t = 5)]
    pub exemplars: usize,
    /// Entropic regularisation of `transport`: small matches frame to frame, large blurs.
    #[arg(long, default_value_t = 0.02)]
    pub epsilon: f64,
    /// Steps of the task for `steps`.
    #[arg(long, default_value_t = 3)]
    pub steps: usize,
    #[command(flatten)]
    pub sentences: Sentences,
    #[command(flatten)]
    pub training: Training,
    /// The reward's directory.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Seed, kept with the reward.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// Kinds of reward that need demonstrations only, or a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Optimal transport of the episode's frames into a demonstration's; known at the end of an episode.
    Transport,
    /// Distance to the demonstrations' last frames; known at once.
    Goal,
    /// Perceptual steps: the demonstrations are cut into steps, each with its own features (Sermanet et al.).
    Steps,
    /// Likeness to a sentence, in the common space of an image-text pair (VLM-RM); known at once.
    Text,
    /// A scorer learned from answers about clips (Bradley-Terry, an ensemble); known at once. Needs --answers.
    Preferences,
    /// Distance to the goal in an embedding in which demonstrations lie on top of each other (TCC, XIRL); known at once.
    Cycle,
    /// Distance to the goal in an embedding whose distances are values (VIP); known at once.
    Value,
    /// How far along the task is, from the frames so far (ReWiND); known at once.
    Progress,
    /// Probability of success, calibrated, from episodes that succeeded and episodes that failed; known at once.
    Success,
}

#[derive(Serialize)]
struct Summary {
    kind: String,
    encoder: String,
    episodes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    training: Option<Outcome>,
    out: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    if args.kind == Kind::Text {
        return run_text(args, ui);
    }
    let dataset = args.dataset.as_deref().ok_or_else(|| {
        Usage("this kind of reward is learned from demonstrations: give them with --dataset".into())
    })?;
    let mut encoder = args.eyes.open()?;
    let library = Library::encode(dataset, args.eyes.camera.as_deref(), &mut *encoder, ui)?;
    let (model, outcome) = if trains(args.kind) {
        let spec = encoder.spec();
        let (model, outcome) = train(args.kind, &args.training, &library, spec, args.seed, ui)?;
        (model, Some(outcome))
    } else {
        (build(args, encoder.spec(), library.features())?, None)
    };
    RewardDir::new(&args.out).save(&*model, encoder.spec(), args.seed)?;
    let summary = Summary {
        kind: model.kind().into(),
        encoder: encoder.spec().name.clone(),
        episodes: library.features().len(),
        training: outcome,
        out: args.out.clone(),
    };
    ui.result(&summary, || {
        let report = summary
            .training
            .as_ref()
            .map_or(String::new(), |t| format!(", {}", t.report));
        format!(
            "{} reward from {} episodes{report} -> {}",
            summary.kind,
            summary.episodes,
            summary.out.display()
        )
    })
}

fn run_text(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let (model, encoder) = text_reward(&args.sentences, &args.eyes)?;
    RewardDir::new(&args.out).save(&model, &encoder, args.seed)?;
    let summary = Summary {
        kind: model.kind().into(),
        encoder: encoder.name,
        episodes: 0,
        training: None,
        out: args.out.clone(),
    };
    ui.result(&summary, || {
        let settings = model.settings();
        format!(
            "reward for {:?} (alpha {}) in the eyes of {} -> {}",
            settings.goal,
            settings.alpha,
            summary.encoder,
            summary.out.display()
        )
    })
}

/// A reward of the asked kind on the given features, one entry per demonstration.
pub fn build(
    args: &Args,
    encoder: &EncoderSpec,
    demonstrations: &[Features],
) -> anyhow::Result<Box<dyn StoredReward>> {
    Ok(match args.kind {
        Kind::Transport => {
            let exemplars = &demonstrations[..args.exemplars.clamp(1, demonstrations.len())];
            // Per-frame costs, not shares of one: an episode's return grows with its length, as a learner expects.
            let scale = exemplars[0].len() as f64;
            let transport = TransportConfig {
                epsilon: args.epsilon,
                ..TransportConfig::rot()
            };
            Box::new(TransportMatch::new(
                encoder,
                exemplars,
                TransportMatchConfig {
                    transport,
                    scale,
                    ..Default::default()
                },
            )?)
        }
        Kind::Goal => {
            let ends: Vec<f32> = demonstrations
                .iter()
                .filter(|d| !d.is_empty())
                .flat_map(|d| d.row(d.len() - 1).to_vec())
                .collect();
            let goals = Features::new(encoder.dim, ends);
            Box::new(GoalDistance::new(
                encoder,
                &goals,
                GoalDistanceConfig {
                    goal: Goal::Mean,
                    cost: Cost::Cosine,
                    ..Default::default()
                },
            )?)
        }
        Kind::Text => {
            return Err(Usage("a text reward is made of sentences, not in an embedding of demonstrations; use `rapport reward learn --kind text`".into()).into());
        }
        Kind::Preferences | Kind::Cycle | Kind::Value | Kind::Progress | Kind::Success => {
            return Err(Usage(
                "this kind learns an embedding of its own; use it with `rapport reward learn`"
                    .into(),
            )
            .into());
        }
        Kind::Steps => {
            let segmentation = SegmentationConfig {
                steps: args.steps,
                ..SegmentationConfig::default()
            };
            Box::new(
                PerceptualSteps::learn(
                    encoder,
                    demonstrations,
                    StepsConfig {
                        segmentation,
                        ..StepsConfig::default()
                    },
                )?
                .0,
            )
        }
    })
}
