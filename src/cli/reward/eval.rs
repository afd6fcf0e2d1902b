//! `rapport reward eval`: does the reward rise with the task?

use std::path::PathBuf;

use rapport::perception::DeviceChoice;
use rapport::reward::eval::{
    Interval, bootstrap_mean, boundary_error, spearman, value_order_correlation,
};
use rapport::reward::{Context, Signal};
use serde::Serialize;

use crate::clips::Library;
use crate::report::html::{Figure, Page};
use crate::report::plots::{Axes, Series, lines};
use crate::run_dir::write_atomically;
use crate::schema;
use crate::ui::Ui;

/// Measure a reward on a dataset: rank correlation with time and with the truth, error of the step boundaries; draws the curves.
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
    /// A page with the curves.
    #[arg(long, value_name = "FILE.html")]
    pub out: Option<PathBuf>,
}

/// What an evaluation found.
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

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let evaluation = evaluate(args, ui)?;
    ui.result(&evaluation, || {
        let show = |name: &str, value: &Option<Interval>| match value {
            Some(i) => format!(
                "{name:<22}{:>6.3}   95 % interval {:.3} .. {:.3}\n",
                i.value, i.low, i.high
            ),
            None => format!("{name:<22}   n/a\n"),
        };
        format!(
            "{} reward on {} episodes\n{}{}{}",
            evaluation.kind,
            evaluation.episodes,
            show("Spearman with time", &evaluation.spearman_time),
            show("Spearman with truth", &evaluation.spearman_truth),
            evaluation
                .step_boundary_error
                .map_or(String::new(), |e| format!(
                    "step boundaries off by {e:.1} frames\n"
                ))
        )
    })
}

/// Scores and, when asked, writes the page.
pub fn evaluate(args: &Args, ui: Ui) -> anyhow::Result<Evaluation> {
    let (reward, mut encoder) = super::open_reward(&args.reward, args.device)?;
    let library = Library::encode(&args.dataset, args.camera.as_deref(), &mut *encoder, ui)?;
    let (mut per_episode, mut boundaries, mut figures) = (Vec::new(), Vec::new(), Vec::new());
    let step = 1.0 / f64::from(library.dataset().info().fps);
    for episode in 0..library.features().len() {
        let signal = reward.score(encoder.spec(), &library.clip(episode)?, &Context::default())?;
        let columns = library.columns(episode)?.columns;
        let column = |name: &str| {
            columns
                .get(name)
                .map(|c| c.values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>())
        };
        let truth = column(schema::PROGRESS);
        if let (Some(found), Some(phase)) = (steps_passed(&signal), column(schema::PHASE)) {
            boundaries.extend(boundary_error(&cuts(&found), &cuts(&phase)));
        }
        if figures.len() < 8 {
            let mut series = vec![Series::over_time("learned", &unit(&signal.per_step), step)];
            series.extend(
                truth
                    .as_ref()
                    .map(|t| Series::over_time("true", &unit(t), step)),
            );
            let title = format!("episode {episode}");
            let axes = Axes {
                title: &title,
                x: "time (s)",
                y: "reward, scaled to 0..1",
                marks: &[],
            };
            figures.push(Figure::svg(&lines(&axes, &series), ""));
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
    let evaluation = Evaluation {
        kind: reward.kind.clone(),
        episodes: per_episode.len(),
        spearman_time: mean(|e| e.spearman_time),
        spearman_truth: mean(|e| e.spearman_truth),
        step_boundary_error: (!boundaries.is_empty())
            .then(|| boundaries.iter().sum::<f64>() / boundaries.len() as f64),
        per_episode,
    };
    if let Some(out) = &args.out {
        let mut page = Page::new(
            &format!("Reward: {}", evaluation.kind),
            &format!("{} on {}", args.reward.display(), args.dataset.display()),
        );
        let cell = |i: &Option<Interval>| {
            i.map_or("n/a".into(), |i| {
                format!("{:.3} ({:.3} .. {:.3})", i.value, i.low, i.high)
            })
        };
        page.table(
            &["", "mean over episodes (95 % interval)"],
            &[
                vec!["Spearman with time".into(), cell(&evaluation.spearman_time)],
                vec![
                    "Spearman with truth".into(),
                    cell(&evaluation.spearman_truth),
                ],
            ],
            &[],
        );
        page.row(&figures);
        write_atomically(out, page.render().as_bytes())?;
        ui.say(format!("curves in {}", out.display()));
    }
    Ok(evaluation)
}

/// The step that each frame is in, for rewards that have steps: the one with the largest value, never an earlier one than before.
fn steps_passed(signal: &Signal) -> Option<Vec<f64>> {
    let steps: Vec<_> = (1..)
        .map_while(|i| signal.terms.get(&format!("step {i}")))
        .collect();
    let mut reached = 0;
    (!steps.is_empty()).then(|| {
        (0..signal.per_step.len())
            .map(|t| {
                let best = (0..steps.len()).max_by(|&a, &b| steps[a][t].total_cmp(&steps[b][t]));
                reached = reached.max(best.unwrap_or(0));
                reached as f64
            })
            .collect()
    })
}

/// Frames at which a label rises.
fn cuts(labels: &[f64]) -> Vec<usize> {
    (1..labels.len())
        .filter(|&t| labels[t] > labels[t - 1])
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
