//! `rapport reward eval`: can this reward be trusted?

mod cost;
mod page;
mod recordings;
mod simulator;

use std::path::PathBuf;

use rapport::perception::{DeviceChoice, Encoder};
use rapport::reward::eval::{
    Check, Examination, ExamineConfig, Interval, Rung, bootstrap_mean, boundary_error, cuts,
    examine, spearman, steps_passed, value_order_correlation,
};
use rapport::reward::{Context, LoadedReward, Signal};
use serde::Serialize;

use crate::cli::environment::EnvironmentArgs;
use crate::clips::Library;
use crate::run_dir::write_atomically;
use crate::schema;
use crate::ui::Ui;
use crate::viz::curves;

/// Find out whether a reward can be trusted: does it follow the truth, know which way time runs, notice faults, and stay true when something optimises against it?
///
/// Every check says good, doubtful, bad or cannot tell, with a sentence and the numbers. Recordings that hold the truth (a simulator's next.reward or truth.progress) and some that fail make more checks possible; --env makes more still. docs/trust.md says what each means.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The reward's directory.
    #[arg(long, value_name = "DIR")]
    pub reward: PathBuf,
    /// Episodes to score.
    #[arg(long, value_name = "DIR")]
    pub dataset: PathBuf,
    /// Camera; needed when the dataset has several.
    #[arg(long)]
    pub camera: Option<String>,
    /// Where to compute.
    #[arg(long, default_value = "cpu", value_name = "cpu|wgpu")]
    pub device: DeviceChoice,
    /// Also put the reward to the test in this environment: on states where arm and object are independent, and against a search for
    /// motions that it likes.
    #[arg(long, value_name = "ENV")]
    pub env: Option<String>,
    /// Rounds of that search; 0: none.
    #[arg(long, default_value_t = 6)]
    pub rounds: usize,
    /// A page with the verdict, the checks and the curves.
    #[arg(long, value_name = "FILE.html")]
    pub out: Option<PathBuf>,
    /// The curves for the Rerun viewer (`rapport view FILE.rrd`).
    #[arg(long, value_name = "FILE.rrd")]
    pub rrd: Option<PathBuf>,
    /// Seed of everything drawn by lot.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

impl Args {
    /// A reward on a dataset, everything else as usual.
    pub fn new(reward: PathBuf, dataset: PathBuf) -> Self {
        Self {
            reward,
            dataset,
            camera: None,
            device: DeviceChoice::Cpu,
            env: None,
            rounds: 6,
            out: None,
            rrd: None,
            seed: 0,
        }
    }
}

/// What scoring the episodes found.
#[derive(Debug, Serialize)]
pub struct Evaluation {
    /// Kind of reward.
    pub kind: String,
    /// Episodes scored.
    pub episodes: usize,
    /// Spearman's rank correlation of reward and time, mean over episodes with its bootstrap 95 % interval.
    pub spearman_time: Option<Interval>,
    /// The same with the simulator's ground truth, where the dataset has it.
    pub spearman_truth: Option<Interval>,
    /// Mean distance of found to true step boundaries, frames, where the reward has steps and the dataset a `truth.phase`.
    pub step_boundary_error: Option<f64>,
    /// Each episode.
    pub per_episode: Vec<EpisodeEvaluation>,
}

/// One episode.
#[derive(Debug, Serialize)]
pub struct EpisodeEvaluation {
    /// Which.
    pub episode: usize,
    /// Rank correlation with time.
    pub spearman_time: Option<f64>,
    /// Rank correlation with the truth.
    pub spearman_truth: Option<f64>,
    /// The rewards.
    pub reward: Vec<f64>,
}

/// Everything the command found.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    evaluation: Evaluation,
    #[serde(flatten)]
    examination: Examination,
    /// What scoring costs.
    cost: Option<cost::Cost>,
    /// Rewards and truths of motions searched for in the simulator, round by round.
    motions: Vec<Rung>,
}

/// A reward, its eyes, and the episodes.
struct Opened {
    reward: LoadedReward,
    encoder: Box<dyn Encoder>,
    library: Library,
}

impl Opened {
    fn open(args: &Args, ui: Ui) -> anyhow::Result<Self> {
        let (reward, mut encoder) = super::open_reward(&args.reward, args.device)?;
        let library = Library::encode(&args.dataset, args.camera.as_deref(), &mut *encoder, ui)?;
        Ok(Self {
            reward,
            encoder,
            library,
        })
    }

    fn score(&self, episode: usize) -> anyhow::Result<Signal> {
        let clip = self.library.clip(episode)?;
        Ok(self
            .reward
            .score(self.encoder.spec(), &clip, &Context::default())?)
    }
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let mut opened = Opened::open(args, ui)?;
    let evaluation = measure(&opened)?;
    let samples = recordings::samples(&opened.library)?;
    let config = ExamineConfig {
        seed: args.seed,
        ..ExamineConfig::default()
    };
    let bar = ui.bar(1, "examining the reward");
    let mut examination = examine(&*opened.reward.model, &samples, &config)?;
    bar.finish_and_clear();
    let (cost, check) = cost::measure(&mut opened, args.camera.as_deref())?;
    examination.add(check);
    let mut motions = Vec::new();
    if let Some(env) = &args.env {
        let found = simulator::examine(&mut opened, &EnvironmentArgs::named(env), args, ui)?;
        motions = found.motions;
        for check in found.checks {
            examination.add(check);
        }
    }
    let report = Report {
        evaluation,
        examination,
        cost,
        motions,
    };
    if let Some(out) = &args.out {
        let page = page::page(&report, &samples, args);
        write_atomically(out, page.render().as_bytes())?;
        ui.say(format!("the page is {}", out.display()));
    }
    if let Some(out) = &args.rrd {
        curves::write(out, &episode_curves(&report, &samples))?;
        ui.say(format!(
            "the curves are in {}; see them with `rapport view {}`",
            out.display(),
            out.display()
        ));
    }
    ui.result(&report, || text(&report))
}

/// Scores the episodes, without the examination.
pub fn evaluate(args: &Args, ui: Ui) -> anyhow::Result<Evaluation> {
    measure(&Opened::open(args, ui)?)
}

fn measure(opened: &Opened) -> anyhow::Result<Evaluation> {
    let library = &opened.library;
    let (mut per_episode, mut boundaries) = (Vec::new(), Vec::new());
    for episode in 0..library.features().len() {
        let signal = opened.score(episode)?;
        let columns = library.columns(episode)?;
        let truth = recordings::column(&columns, schema::PROGRESS)
            .or_else(|| recordings::column(&columns, schema::REWARD));
        if let (Some(found), Some(phase)) = (steps_passed(&signal), recordings::phase(&columns)) {
            boundaries.extend(boundary_error(&cuts(&found), &cuts(&phase)));
        }
        per_episode.push(EpisodeEvaluation {
            episode,
            spearman_time: value_order_correlation(&signal.per_step),
            spearman_truth: truth.and_then(|truth| spearman(&signal.per_step, &truth)),
            reward: signal.per_step,
        });
    }
    let mean = |pick: fn(&EpisodeEvaluation) -> Option<f64>| {
        bootstrap_mean(&per_episode.iter().filter_map(pick).collect::<Vec<_>>(), 0)
    };
    Ok(Evaluation {
        kind: opened.reward.kind.clone(),
        episodes: per_episode.len(),
        spearman_time: mean(|e| e.spearman_time),
        spearman_truth: mean(|e| e.spearman_truth),
        step_boundary_error: (!boundaries.is_empty())
            .then(|| boundaries.iter().sum::<f64>() / boundaries.len() as f64),
        per_episode,
    })
}

/// The answer for the terminal: the summary, then a line or two for each question.
fn text(report: &Report) -> String {
    let (e, x) = (&report.evaluation, &report.examination);
    let mut text = format!(
        "{} reward on {} episodes: {}\n{}\n\n",
        e.kind,
        e.episodes,
        x.verdict.word().to_uppercase(),
        x.summary
    );
    for check in &x.checks {
        text += &format!(
            "{:<12}{}{}\n{:12}{}\n",
            check.verdict.word(),
            check.question,
            number(check).map_or(String::new(), |n| format!("  [{n}]")),
            "",
            check.sentence
        );
    }
    for out in &x.left_out {
        text += &format!("episode {} was left out: {}\n", out.clip, out.reason);
    }
    text
}

/// The number that decided a check, with its interval.
fn number(check: &Check) -> Option<String> {
    let value = check.value?;
    Some(if value.low < value.high {
        format!("{:.2}, {:.2} .. {:.2}", value.value, value.low, value.high)
    } else {
        format!("{:.2}", value.value)
    })
}

/// Reward and truth of each episode, scaled alike, for the viewer.
fn episode_curves(
    report: &Report,
    samples: &[rapport::reward::eval::Sample],
) -> Vec<curves::Episode> {
    report
        .evaluation
        .per_episode
        .iter()
        .zip(samples)
        .map(|(e, sample)| {
            let mut lines = vec![("reward".to_owned(), unit(&e.reward))];
            lines.extend(sample.truth.as_ref().map(|t| ("truth".to_owned(), unit(t))));
            curves::Episode {
                name: format!("episode {:03}", e.episode),
                step: 1.0 / sample.clip.fps.max(1e-6),
                lines,
            }
        })
        .collect()
}

/// Stretched to 0..1, for plots with two units.
pub fn unit(values: &[f64]) -> Vec<f64> {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    values
        .iter()
        .map(|v| (v - low) / (high - low).max(1e-12))
        .collect()
}
