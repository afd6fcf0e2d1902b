//! Sermanet, Xu and Levine's door (arXiv 1612.06699, figure 6), in simulation: PI2 improves a poor demonstration of opening a door,
//! once with the true reward and once with step rewards that were learned from a few videos.
//!
//! The paper's robot has a real door, an angle sensor for the true reward, videos of people for the perceptual one, and
//! time-varying linear-Gaussian controllers. Here the door is simulated, the videos are of a scripted operator at other doors, and
//! what is improved is a correction of the demonstrated actions, linear in bumps over time.

mod config;
pub mod report;
mod stage;

use anyhow::Context as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport::perception::{DeviceChoice, Encoder, Features, open};
use rapport::policy::search::{Basis, Pi2};
use rapport::reward::PerceptualSteps;
use rapport::reward::eval::Interval;
use serde::{Deserialize, Serialize};

pub use config::BenchConfig;

use super::statistics::mean_of_seeds;
use crate::ui::Ui;
use stage::{Sight, Stage, Trial, normal};

/// What PI2 is told of its rollouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// How far the door is open, from the simulator.
    Truth,
    /// Step rewards learned from videos, from pictures.
    Pictures,
}

impl Told {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Truth, Self::Pictures];

    /// As tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Truth => "true reward",
            Self::Pictures => "perceptual reward",
        }
    }
}

/// One run of PI2.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Seed.
    pub seed: u64,
    /// What it was told.
    pub told: Told,
    /// Share of rollouts that opened the door with the start's parameters, of as many as it was chosen by.
    pub start: f64,
    /// Share of each iteration's rollouts that opened the door.
    pub success: Vec<f64>,
    /// Mean over each iteration's rollouts of the final opening, rad.
    pub opening: Vec<f64>,
    /// Mean return of the rollouts that opened the door less that of the others, in units of what PI2 was told, over all
    /// iterations; None where all ended the same.
    pub contrast: Option<f64>,
    /// Whether the improved parameters, without exploration, open it.
    pub opens: bool,
}

/// A curve over iterations.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// What PI2 was told.
    pub told: Told,
    /// Success by iteration, over the seeds.
    pub success: Vec<Option<Interval>>,
    /// Final opening by iteration, rad, over the seeds.
    pub opening: Vec<Option<Interval>>,
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// What was measured.
    pub config: BenchConfig,
    /// Both curves.
    pub lines: Vec<Line>,
    /// Every run.
    pub runs: Vec<Run>,
}

impl Bench {
    /// Measures.
    pub fn measure(config: BenchConfig, ui: Ui) -> anyhow::Result<Self> {
        let mut encoder = open(&config.encoder, DeviceChoice::Cpu)?;
        let mut runs = Vec::new();
        for seed in config.first_seed..config.first_seed + config.seeds {
            ui.say(format!("seed {seed}"));
            let stage = Stage::new(&config, seed)?;
            let videos = stage.demonstrations(seed)?;
            let videos = videos
                .iter()
                .map(|video| Ok(encoder.encode(video)?))
                .collect::<anyhow::Result<Vec<Features>>>()?;
            let (reward, _) = PerceptualSteps::learn(encoder.spec(), &videos, config.settings())?;
            let start = Start::choose(&config, &stage, seed)?;
            for told in Told::ALL {
                let run = improve(
                    &config,
                    &stage,
                    &start,
                    told,
                    (&mut *encoder, &reward),
                    seed,
                )?;
                ui.say(format!(
                    "  {}: {}",
                    told.name(),
                    report::percents(&run.success)
                ));
                runs.push(run);
            }
        }
        let lines = Told::ALL.map(|told| {
            let of: Vec<&Run> = runs.iter().filter(|run| run.told == told).collect();
            let over = |value: &dyn Fn(&Run) -> f64| {
                mean_of_seeds(&of.iter().map(|run| value(run)).collect::<Vec<_>>())
            };
            let iterations = 0..config.iterations;
            Line {
                told,
                success: iterations
                    .clone()
                    .map(|i| over(&|r| r.success[i]))
                    .collect(),
                opening: iterations.map(|i| over(&|r| r.opening[i])).collect(),
            }
        });
        Ok(Self {
            lines: lines.to_vec(),
            config,
            runs,
        })
    }
}

/// Where PI2 starts.
struct Start {
    parameters: Vec<f64>,
    success: f64,
}

impl Start {
    /// A disturbance of the demonstration, of the size at which the share of exploring rollouts that open the door is nearest to
    /// what is wanted.
    fn choose(config: &BenchConfig, stage: &Stage, seed: u64) -> anyhow::Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(7);
        let basis = Basis::gaussian(stage.steps(), config.bumps)?;
        let mut best: Option<Self> = None;
        let off = |start: &Self| (start.success - config.start).abs();
        // Some disturbances do not matter, others turn success into failure at once.
        for _ in 0..config.disturbances {
            let direction: Vec<f64> = (0..stage.dims() * config.bumps)
                .map(|_| normal(&mut rng))
                .collect();
            for size in &config.sizes {
                let parameters: Vec<f64> = direction.iter().map(|d| size * d).collect();
                let pi2 = config.pi2(config.trials);
                let mut pi2 = Pi2::new(pi2, basis.clone(), parameters.clone(), rng.random())?;
                let trials = stage.try_all(&basis, &pi2.draw(), Sight::Blind)?;
                let start = Self {
                    success: share_open(&trials),
                    parameters,
                };
                if best.as_ref().is_none_or(|best| off(&start) < off(best)) {
                    best = Some(start);
                }
            }
        }
        best.context("no disturbance to choose from")
    }
}

fn share_open(trials: &[Trial]) -> f64 {
    trials.iter().filter(|trial| trial.success).count() as f64 / trials.len() as f64
}

fn improve(
    config: &BenchConfig,
    stage: &Stage,
    start: &Start,
    told: Told,
    (encoder, reward): (&mut dyn Encoder, &PerceptualSteps),
    seed: u64,
) -> anyhow::Result<Run> {
    let basis = Basis::gaussian(stage.steps(), config.bumps)?;
    let mut pi2 = Pi2::new(
        config.pi2(config.rollouts),
        basis.clone(),
        start.parameters.clone(),
        seed,
    )?;
    let sight = match told {
        Told::Truth => Sight::Blind,
        Told::Pictures => Sight::Every(config.stride),
    };
    let (mut success, mut opening) = (Vec::new(), Vec::new());
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..config.iterations {
        let tried = pi2.draw();
        let trials = stage.try_all(&basis, &tried, sight)?;
        let rewards = trials
            .iter()
            .map(|trial| match told {
                Told::Truth => Ok(trial.openings.clone()),
                Told::Pictures => {
                    let features = encoder.encode(&trial.pictures)?;
                    let values = reward.values(&features)?;
                    let frames = reward.settings().combiner.combine(&values);
                    Ok(spread(&frames, config.stride, stage.steps()))
                }
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let report = pi2.improve(&tried, &rewards)?;
        for (trial, value) in trials.iter().zip(report.returns) {
            if trial.success {
                with.push(value);
            } else {
                without.push(value);
            }
        }
        success.push(share_open(&trials));
        let last = trials.iter().filter_map(|t| t.openings.last());
        opening.push(last.sum::<f64>() / trials.len() as f64);
    }
    let last = stage.try_all(&basis, &[pi2.parameters().to_vec()], Sight::Blind)?;
    let mean = super::statistics::mean;
    Ok(Run {
        seed,
        told,
        start: start.success,
        success,
        opening,
        contrast: mean(&with).zip(mean(&without)).map(|(a, b)| a - b),
        opens: share_open(&last) > 0.5,
    })
}

/// The reward of every step from those of the frames, of which one is taken before the first step and one after every `stride`
/// steps: a step has that of the first frame after it.
fn spread(frames: &[f64], stride: usize, steps: usize) -> Vec<f64> {
    (0..steps)
        .map(|t| {
            let next = (t + 1).div_ceil(stride);
            frames[next.min(frames.len() - 1)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_the_reward_of_the_frame_after_it() {
        let frames = [0.0, 1.0, 2.0];
        assert_eq!(spread(&frames, 2, 4), [1.0, 1.0, 2.0, 2.0]);
        assert_eq!(spread(&frames, 2, 5), [1.0, 1.0, 2.0, 2.0, 2.0]);
        assert_eq!(spread(&frames, 1, 2), [1.0, 2.0]);
    }

    #[test]
    fn true_reward_opens_the_door_more_often_than_the_start() {
        let config = BenchConfig {
            iterations: 6,
            ..BenchConfig::quick()
        };
        let stage = Stage::new(&config, 0).unwrap();
        let start = Start::choose(&config, &stage, 0).unwrap();
        let mut pi2 = Pi2::new(
            config.pi2(config.rollouts),
            Basis::gaussian(stage.steps(), config.bumps).unwrap(),
            start.parameters,
            0,
        )
        .unwrap();
        let basis = pi2.basis().clone();
        let mut openings = Vec::new();
        for _ in 0..config.iterations {
            let tried = pi2.draw();
            let trials = stage.try_all(&basis, &tried, Sight::Blind).unwrap();
            let rewards: Vec<Vec<f64>> = trials.iter().map(|t| t.openings.clone()).collect();
            pi2.improve(&tried, &rewards).unwrap();
            let last = trials.iter().filter_map(|t| t.openings.last());
            openings.push(last.sum::<f64>() / trials.len() as f64);
        }
        assert!(openings[5] > openings[0], "{openings:?}");
    }
}
