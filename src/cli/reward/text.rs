//! Rewards from sentences: `reward learn --kind text`, and the training and measuring of the image-text model that comes along.

use std::path::PathBuf;

use anyhow::Context as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rapport::perception::image_text::{self, ImageTextEncoder, TextHalf};
use rapport::perception::{
    DeviceChoice, Encoder, EncoderSpec, Features, TextEncoder, open_text, sentence,
};
use rapport::reward::eval::{Interval, bootstrap_mean, spearman};
use rapport::reward::matching::{PromptMean, TextMatch, TextMatchConfig};
use rapport::reward::{Clip, Context, RewardModel as _};
use rayon::prelude::*;
use serde::Serialize;

use super::Eyes;
use crate::captions::{Place, Scenery, Split, TASKS, UNSEEN_TASKS, View};
use crate::cli::Usage;
use crate::interrupt;
use crate::run_dir::write_atomically;
use crate::text_training::{self, Corpus, TextTrainingConfig, TextTrainingReport};
use crate::ui::Ui;

/// What a reward of kind `text` is made of.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Sentences {
    /// What should be seen, for `text`: "the red cube is on the green disc". Several times: several ways of saying it.
    #[arg(long, value_name = "SENTENCE")]
    pub goal: Vec<String>,
    /// What is seen anyway, for `text`: "a red cube and a green disc on a table".
    #[arg(long, value_name = "SENTENCE")]
    pub baseline: Vec<String>,
    /// How far pictures are projected onto the line from baseline to goal, 0 to 1, for `text`; default: half way with a
    /// baseline, 0 without.
    #[arg(long)]
    pub alpha: Option<f64>,
}

/// A reward for looking like the goal sentences, and what it was made on.
pub fn text_reward(sentences: &Sentences, eyes: &Eyes) -> anyhow::Result<(TextMatch, EncoderSpec)> {
    if sentences.goal.is_empty() {
        return Err(Usage("a text reward needs a goal: --goal \"...\"".into()).into());
    }
    // The usual encoder of the other kinds reads no sentences; the pair that stands on it does.
    let name = match &*eyes.encoder {
        image_text::PICTURE_ENCODER => image_text::NAME,
        other => other,
    };
    if name == sentence::NAME {
        return Err(Usage(format!(
            "{name} reads sentences and sees no pictures; give a pair with --encoder, such as {}",
            image_text::NAME
        ))
        .into());
    }
    let mut encoder = open_text(name, eyes.device)?;
    let alpha = sentences.alpha.unwrap_or(if sentences.baseline.is_empty() {
        0.0
    } else {
        0.5
    });
    let config = TextMatchConfig {
        goal: sentences.goal.clone(),
        baseline: sentences.baseline.clone(),
        alpha,
        mean: PromptMean::Plain,
    };
    Ok((text_match(&mut *encoder, config)?, encoder.spec().clone()))
}

fn text_match(encoder: &mut dyn TextEncoder, config: TextMatchConfig) -> anyhow::Result<TextMatch> {
    let mut embed = |prompts: &[String]| {
        let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
        encoder.encode_text(&prompts)
    };
    let (goals, baselines) = (embed(&config.goal)?, embed(&config.baseline)?);
    Ok(TextMatch::new(encoder.spec(), goals, baselines, config)?)
}

/// Train the heads of the image-text model: on pictures of the simulator with captions made by rule, contrastively, on frozen
/// EfficientNet-Lite0 and MiniLM. The weights that come with the program were made by this command with its defaults.
#[derive(Clone, Debug, clap::Args)]
pub struct TrainArgs {
    /// Scenes, each in colours of its own.
    #[arg(long, default_value_t = TextTrainingConfig::default().scenes)]
    pub scenes: usize,
    /// Pictures of each scene.
    #[arg(long, default_value_t = TextTrainingConfig::default().views)]
    pub views: usize,
    /// Steps of descent; 0 leaves the heads as they were drawn, to compare with.
    #[arg(long, default_value_t = TextTrainingConfig::default().steps)]
    pub steps: usize,
    /// Where to compute features.
    #[arg(long, default_value = "cpu", value_name = "cpu|wgpu")]
    pub device: DeviceChoice,
    /// The file to write.
    #[arg(long, value_name = "FILE.safetensors")]
    pub out: PathBuf,
    /// Seed of scenes, captions and weights.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

#[derive(Serialize)]
struct TrainSummary {
    pictures: usize,
    bytes: usize,
    seconds: f64,
    out: PathBuf,
    #[serde(flatten)]
    report: TextTrainingReport,
}

/// Runs `reward text-train`.
pub fn run_train(args: &TrainArgs, ui: Ui) -> anyhow::Result<()> {
    let begin = std::time::Instant::now();
    let config = TextTrainingConfig {
        scenes: args.scenes,
        views: args.views,
        steps: args.steps,
        seed: args.seed,
        ..TextTrainingConfig::default()
    };
    config.validate()?;
    let mut sentences = open_text(sentence::NAME, args.device)?;
    let bar = ui.bar(args.scenes as u64, "drawing scenes");
    let corpus = Corpus::draw(&config, args.device, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    let bar = ui.bar(args.steps as u64, "training the heads");
    let (heads, report) = text_training::train(&corpus, &mut *sentences, &config, |step, loss| {
        bar.set_position(step as u64);
        bar.set_message(format!("loss {loss:.3}"));
    })?;
    bar.finish_and_clear();
    let bytes = heads.to_safetensors()?;
    write_atomically(&args.out, &bytes)?;
    let summary = TrainSummary {
        pictures: args.scenes * args.views,
        bytes: bytes.len(),
        seconds: begin.elapsed().as_secs_f64(),
        out: args.out.clone(),
        report,
    };
    ui.result(&summary, || {
        format!(
            "{} pictures, {} sentences, loss {:.3} -> {:.3}, {} bytes in {:.0} s -> {}",
            summary.pictures,
            summary.report.sentences,
            summary.report.loss.first().unwrap_or(&f64::NAN),
            summary.report.loss.last().unwrap_or(&f64::NAN),
            summary.bytes,
            summary.seconds,
            summary.out.display()
        )
    })
}

/// Measure how well text rewards follow the true progress of the simulator's tasks: on scenes, colours, phrasings and tasks that the
/// image-text model's training never saw, at several alphas.
#[derive(Clone, Debug, clap::Args)]
pub struct EvalArgs {
    /// The image-text pair.
    #[arg(long, default_value = image_text::NAME)]
    pub encoder: String,
    /// Other heads for the image-text model, by `reward text-train`.
    #[arg(long, value_name = "FILE.safetensors")]
    pub heads: Option<PathBuf>,
    /// Scenes of each row of the table, each in colours and words of its own.
    #[arg(long, default_value_t = 8)]
    pub scenes: usize,
    /// States of each scene.
    #[arg(long, default_value_t = 60)]
    pub states: usize,
    /// Alphas.
    #[arg(long, value_delimiter = ',', default_value = "0,0.25,0.5,0.75,1")]
    pub alphas: Vec<f64>,
    /// Where to compute features.
    #[arg(long, default_value = "cpu", value_name = "cpu|wgpu")]
    pub device: DeviceChoice,
    /// Seed of scenes, states and words; never one of `text-train`'s scenes.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

#[derive(Serialize)]
struct Row {
    task: String,
    unseen: &'static str,
    /// Spearman's correlation of reward and progress at each alpha, mean over scenes with its bootstrap 95 % interval.
    spearman: Vec<Option<Interval>>,
}

#[derive(Serialize)]
struct EvalSummary {
    encoder: String,
    scenes: usize,
    states: usize,
    alphas: Vec<f64>,
    rows: Vec<Row>,
}

/// Seeds of evaluation lie far from those of training.
const APART: u64 = 0x7e57_0000_0000;

/// What a row of the table holds back: its name, the split of colours, the split of words.
const CONDITIONS: [(&str, Split, Split); 4] = [
    ("states", Split::Trained, Split::Trained),
    ("colours", Split::HeldOut, Split::Trained),
    ("words", Split::Trained, Split::HeldOut),
    ("both", Split::HeldOut, Split::HeldOut),
];

/// Runs `reward text-eval`.
pub fn run_eval(args: &EvalArgs, ui: Ui) -> anyhow::Result<()> {
    let (mut pictures, mut sentences) = open_pair(args)?;
    let seen = TASKS
        .iter()
        .flat_map(|task| CONDITIONS.map(|condition| (*task, condition)));
    let unseen = UNSEEN_TASKS.map(|task| (task, ("task", Split::Trained, Split::Trained)));
    let plan: Vec<_> = seen.chain(unseen).collect();
    let bar = ui.bar((plan.len() * args.scenes) as u64, "measuring");
    let mut rows = Vec::new();
    for (number, (task, (unseen, hues, words))) in plan.into_iter().enumerate() {
        let mut found = vec![Vec::new(); args.alphas.len()];
        for scene in 0..args.scenes {
            anyhow::ensure!(!interrupt::requested(), "stopped; nothing was measured");
            let seed = APART + args.seed * 1_000_003 + (number * 1_000 + scene) as u64;
            let correlations = measure_scene(
                args,
                task,
                (hues, words),
                seed,
                &mut *pictures,
                &mut *sentences,
            )?;
            for (found, correlation) in found.iter_mut().zip(correlations) {
                found.extend(correlation);
            }
            bar.inc(1);
        }
        rows.push(Row {
            task: task.into(),
            unseen,
            spearman: found.iter().map(|f| bootstrap_mean(f, 0)).collect(),
        });
    }
    bar.finish_and_clear();
    let summary = EvalSummary {
        encoder: pictures.spec().name.clone(),
        scenes: args.scenes,
        states: args.states,
        alphas: args.alphas.clone(),
        rows,
    };
    ui.result(&summary, || table(&summary))
}

type Pair = (Box<dyn Encoder>, Box<dyn TextEncoder>);

fn open_pair(args: &EvalArgs) -> anyhow::Result<Pair> {
    let (pictures, sentences): Pair = match &args.heads {
        Some(heads) if args.encoder == image_text::NAME => (
            Box::new(ImageTextEncoder::open(args.device, Some(heads))?),
            Box::new(TextHalf::open(args.device, Some(heads))?),
        ),
        Some(_) => {
            return Err(Usage(format!("--heads are those of {}", image_text::NAME)).into());
        }
        None => (
            rapport::perception::open(&args.encoder, args.device)?,
            open_text(&args.encoder, args.device)?,
        ),
    };
    if pictures.spec() != sentences.spec() {
        return Err(Usage(format!("{} is no image-text pair", args.encoder)).into());
    }
    Ok((pictures, sentences))
}

/// Correlations at each alpha in one scene.
fn measure_scene(
    args: &EvalArgs,
    task: &str,
    (hues, words): (Split, Split),
    seed: u64,
    pictures: &mut dyn Encoder,
    sentences: &mut dyn TextEncoder,
) -> anyhow::Result<Vec<Option<f64>>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // A cube that is always on the table or a tower that never stands has no progress: those states are brought about.
    let place = match task {
        "so101-lift" | "so101-stack" => Place::Anywhere,
        _ => Place::AsInTask,
    };
    let mut scenery = Scenery::new(task, hues, place, &mut rng)?;
    let views: Vec<View> = (0..args.states)
        .map(|_| scenery.view(&mut rng))
        .collect::<anyhow::Result<_>>()?;
    let progress: Vec<f64> = views.iter().map(|view| view.progress).collect();
    let frames: Vec<_> = views.into_iter().map(|view| view.picture).collect();
    let features: Features = pictures.encode(&frames)?;
    let (goal, scene) = scenery.goal();
    let config = TextMatchConfig {
        goal: goal
            .iter()
            .map(|fact| fact.sentence(words, &mut rng))
            .collect(),
        baseline: vec![scene.sentence(words, &mut rng)],
        alpha: 0.0,
        mean: PromptMean::Plain,
    };
    let model = text_match(sentences, config)?;
    let clip = Clip::from_features(features, 1.0);
    args.alphas
        .par_iter()
        .map(|&alpha| {
            let rewards = model
                .with_alpha(alpha)?
                .score(&clip, &Context::default())
                .context("scoring")?;
            Ok(spearman(&rewards.per_step, &progress))
        })
        .collect()
}

fn table(summary: &EvalSummary) -> String {
    use std::fmt::Write as _;
    let mut text = format!(
        "{}: Spearman of text reward and true progress, mean of {} scenes of {} states (half width of its 95 % interval)\n{:14}{:9}",
        summary.encoder, summary.scenes, summary.states, "task", "unseen"
    );
    for alpha in &summary.alphas {
        let _ = write!(text, "  alpha {alpha:<5}");
    }
    text.push('\n');
    for row in &summary.rows {
        let _ = write!(text, "{:14}{:9}", row.task, row.unseen);
        for value in &row.spearman {
            let _ = match value {
                Some(i) => write!(text, "{:7.2} ({:.2})", i.value, 0.5 * (i.high - i.low)),
                None => write!(text, "{:>14}", "n/a"),
            };
        }
        text.push('\n');
    }
    text
}
