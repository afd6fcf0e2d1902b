//! SAM's claim (Blondé, Strasser and Kalousis, arXiv 2006.16785): off-policy adversarial imitation from four demonstrations works where
//! the discriminator is kept from being steep, and fails or is unstable where it is not.
//!
//! The expert is SAC on the true reward; the imitators, TD3, see its demonstrations and never a reward. The paper's tasks are MuJoCo's
//! walkers, its learner deterministic policy gradient with distributional critics; here any environment of the simulator will do.

mod config;
pub mod report;

use std::path::Path;

use anyhow::Context as _;
use rapport::policy::{
    Learner, Mode, Policy, PolicySpec, Sac, SacConfig, Td3, Td3Config, Transition, UniformPolicy,
};
use rapport::reward::AdversaryConfig;
use rapport::reward::adversary::Lipschitz;
use rapport::reward::eval::Interval;
use serde::Serialize;

pub use config::BenchConfig;

use super::statistics::mean_of_seeds;
use crate::cli::environment::EnvironmentArgs;
use crate::evaluation::{evaluation_seed, success_rate};
use crate::practice::SimPractice;
use crate::run_dir::MetricsLog;
use crate::schema;
use crate::training::{
    AdversarialConfig, AdversarialReward, EvaluationConfig, Players, RewardSource, TrainingConfig,
    play, train,
};
use crate::ui::Ui;

/// What can keep a discriminator from being steep, least first.
pub const CONSTRAINTS: [Lipschitz; 4] = [
    Lipschitz::None,
    Lipschitz::Penalty,
    Lipschitz::Spectral,
    Lipschitz::Both,
];

/// As tables call it.
pub fn name(constraint: Lipschitz) -> &'static str {
    match constraint {
        Lipschitz::None => "nothing",
        Lipschitz::Penalty => "gradient penalty",
        Lipschitz::Spectral => "spectral norm",
        Lipschitz::Both => "both (SAM)",
    }
}

/// One imitator.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Seed.
    pub seed: u64,
    /// What its discriminator was kept by.
    pub constraint: Lipschitz,
    /// Mean true return of the expert.
    pub expert: f64,
    /// Mean true return of random actions.
    pub random: f64,
    /// Environment steps and mean true return of every evaluation.
    pub returns: Vec<(u64, f64)>,
    /// Environment steps and mean gradient of the logit at rollouts, by its standardised inputs, after every episode.
    pub gradients: Vec<(u64, f64)>,
    /// Seconds.
    pub seconds: f64,
}

impl Run {
    /// A return as a share of the way from random actions to the expert.
    pub fn score(&self, value: f64) -> f64 {
        (value - self.random) / (self.expert - self.random)
    }

    /// Scores of the evaluations in the last third: how good, and how steadily so.
    fn late(&self) -> Vec<f64> {
        let late = &self.returns[2 * self.returns.len() / 3..];
        late.iter().map(|(_, value)| self.score(*value)).collect()
    }
}

/// Runs with one constraint, together.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// What the discriminators were kept by.
    pub constraint: Lipschitz,
    /// Score at the end, over seeds.
    pub last: Option<Interval>,
    /// Mean score in the last third of the evaluations, over seeds.
    pub late: Option<Interval>,
    /// The worst evaluation in the last third, over seeds.
    pub worst: Option<Interval>,
    /// Seeds that came to 80 % of the way at the end.
    pub good: usize,
    /// Mean gradient in the last third, over seeds.
    pub gradient: Option<Interval>,
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// What was measured.
    pub config: BenchConfig,
    /// By constraint.
    pub lines: Vec<Line>,
    /// Every run.
    pub runs: Vec<Run>,
}

impl Bench {
    /// Measures.
    pub fn measure(config: BenchConfig, ui: Ui) -> anyhow::Result<Self> {
        let mut runs = Vec::new();
        for seed in config.first_seed..config.first_seed + config.seeds {
            let stage = Stage::new(&config, seed, ui)?;
            ui.say(format!(
                "seed {seed}: expert {:.1}, random {:.1}",
                stage.expert, stage.random
            ));
            for constraint in CONSTRAINTS {
                let run = stage.imitate(&config, constraint, seed, ui)?;
                let (_, last) = run.returns.last().context("no evaluation was made")?;
                ui.say(format!(
                    "  {}: {last:.1}, {:.0} % of the way, {:.0} s",
                    name(constraint),
                    100.0 * run.score(*last),
                    run.seconds
                ));
                runs.push(run);
            }
        }
        let lines = CONSTRAINTS.map(|constraint| Line::of(constraint, &runs));
        Ok(Self {
            lines: lines.to_vec(),
            config,
            runs,
        })
    }
}

impl Line {
    fn of(constraint: Lipschitz, runs: &[Run]) -> Self {
        let of: Vec<&Run> = runs.iter().filter(|r| r.constraint == constraint).collect();
        let over = |value: &dyn Fn(&Run) -> f64| {
            mean_of_seeds(&of.iter().map(|run| value(run)).collect::<Vec<_>>())
        };
        let last = |run: &Run| run.late().last().copied().unwrap_or(f64::NAN);
        let mean = |values: Vec<f64>| super::statistics::mean(&values).unwrap_or(f64::NAN);
        Self {
            constraint,
            last: over(&last),
            late: over(&|run| mean(run.late())),
            worst: over(&|run| run.late().into_iter().fold(f64::INFINITY, f64::min)),
            good: of.iter().filter(|run| last(run) >= 0.8).count(),
            gradient: over(&|run| {
                let late = &run.gradients[2 * run.gradients.len() / 3..];
                mean(late.iter().map(|(_, norm)| *norm).collect())
            }),
        }
    }
}

/// What the imitators of one seed share.
struct Stage {
    spec: PolicySpec,
    demonstrations: Vec<Vec<Transition>>,
    expert: f64,
    random: f64,
}

impl Stage {
    fn new(config: &BenchConfig, seed: u64, ui: Ui) -> anyhow::Result<Self> {
        let mut practice = place(config)?;
        let spec = schema::policy_spec(&mut practice)?;
        let sac = SacConfig {
            hidden: vec![config.hidden; 2],
            batch: config.batch,
            discount: config.discount,
            demonstration_share: 0.0,
            initial_random_steps: 500,
            ..SacConfig::default()
        };
        let mut learner = Sac::new(spec.clone(), sac, seed)?;
        let training = TrainingConfig {
            steps: config.expert_steps,
            seed,
            ..TrainingConfig::default()
        };
        let dir = tempfile::tempdir().context("cannot make a folder for the expert")?;
        practise(
            &mut practice,
            &mut RewardSource::Truth,
            &mut learner,
            &training,
            dir.path(),
            ui,
            "expert",
        )?;
        let mut expert = learner.actor();
        let mut measured = |policy: &mut dyn Policy| -> anyhow::Result<f64> {
            let film = |_, _, _| Ok(());
            let found = success_rate(
                policy,
                &mut practice,
                5 * config.episodes,
                seed,
                film,
                0,
                || (),
            )?;
            Ok(found.true_return)
        };
        let random = measured(&mut UniformPolicy::new(&spec, seed))?;
        let best = measured(&mut *expert)?;
        let demonstrations = (0..config.demonstrations)
            .map(|number| {
                let act = &mut |seen: &[f32]| expert.act(seen, Mode::Exploit);
                let from = evaluation_seed(seed, number) ^ (1 << 42);
                let played = play(&mut practice, act, &mut RewardSource::Truth, from)?;
                let kept = played.transitions.into_iter().step_by(config.stride);
                Ok(kept.collect())
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            spec,
            demonstrations,
            expert: best,
            random,
        })
    }

    fn imitate(
        &self,
        config: &BenchConfig,
        constraint: Lipschitz,
        seed: u64,
        ui: Ui,
    ) -> anyhow::Result<Run> {
        let settings = AdversarialConfig {
            adversary: AdversaryConfig {
                lipschitz: constraint,
                ..config.reward.adversary.clone()
            },
            ..config.reward.clone()
        };
        let reward = AdversarialReward::new(&self.demonstrations, &self.spec, &settings, seed)?;
        let td3 = Td3Config {
            hidden: vec![config.hidden; 2],
            batch: config.batch,
            discount: config.discount,
            demonstration_share: 0.0,
            initial_random_steps: 500,
            ..Td3Config::default()
        };
        let mut learner = Td3::new(self.spec.clone(), td3, seed)?;
        let training = TrainingConfig {
            steps: config.steps,
            seed: seed + 1_000,
            evaluation: EvaluationConfig {
                every: config.every,
                episodes: config.episodes,
                ..EvaluationConfig::default()
            },
            ..TrainingConfig::default()
        };
        let dir = tempfile::tempdir().context("cannot make a folder for an imitator")?;
        let seconds = practise(
            &mut place(config)?,
            &mut RewardSource::Adversarial(Box::new(reward)),
            &mut learner,
            &training,
            dir.path(),
            ui,
            name(constraint),
        )?;
        let (returns, gradients) = curves(dir.path())?;
        Ok(Run {
            seed,
            constraint,
            expert: self.expert,
            random: self.random,
            returns,
            gradients,
            seconds,
        })
    }
}

fn place(config: &BenchConfig) -> anyhow::Result<SimPractice> {
    EnvironmentArgs::named(&config.env).practice((32, 32))
}

/// Trains, and gives the seconds it took.
fn practise(
    practice: &mut SimPractice,
    reward: &mut RewardSource,
    learner: &mut dyn Learner,
    training: &TrainingConfig,
    dir: &Path,
    ui: Ui,
    what: &str,
) -> anyhow::Result<f64> {
    let bar = ui.bar(training.steps, what);
    let mut log = MetricsLog::open(dir)?;
    let players = Players::Own { practice, reward };
    let summary = train(players, learner, training, dir, &mut log, |steps, word| {
        bar.set_position(steps);
        bar.set_message(word.to_owned());
    })?;
    bar.finish_and_clear();
    anyhow::ensure!(!summary.interrupted, "stopped; nothing was written");
    Ok(summary.seconds)
}

type Curve = Vec<(u64, f64)>;

/// True returns of the evaluations and gradients of the discriminator, over steps, from a run's log.
fn curves(dir: &Path) -> anyhow::Result<(Curve, Curve)> {
    let text = std::fs::read_to_string(dir.join("metrics.jsonl"))
        .context("cannot read the log of an imitator")?;
    let (mut returns, mut gradients) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        let found = |value: &serde_json::Value, steps: &serde_json::Value| {
            value.as_f64().zip(steps.as_u64()).map(|(v, s)| (s, v))
        };
        let evaluation = &line["evaluation"];
        returns.extend(found(&evaluation["true_return"], &evaluation["steps"]));
        gradients.extend(found(&line["update"]["adversary_gradient"], &line["steps"]));
    }
    Ok((returns, gradients))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(constraint: Lipschitz, returns: &[f64], gradient: f64) -> Run {
        Run {
            seed: 0,
            constraint,
            expert: -100.0,
            random: -1_100.0,
            returns: (1..).zip(returns.iter().copied()).collect(),
            gradients: vec![(1, 9.0), (2, gradient), (3, gradient)],
            seconds: 0.0,
        }
    }

    #[test]
    fn a_score_is_the_share_of_the_way_from_random_to_expert() {
        let runs = [
            run(Lipschitz::Both, &[-1_100.0, -600.0, -300.0], 1.0),
            run(Lipschitz::Both, &[-1_100.0, -600.0, -100.0], 1.0),
            run(Lipschitz::None, &[-1_100.0, -600.0, -1_100.0], 4.0),
        ];
        let line = Line::of(Lipschitz::Both, &runs);
        assert!((line.last.unwrap().value - 0.9).abs() < 1e-12);
        assert_eq!(line.good, 2);
        assert_eq!(line.gradient.unwrap().value, 1.0);
        let line = Line::of(Lipschitz::None, &runs);
        assert_eq!((line.good, line.last.unwrap().value), (0, 0.0));
    }
}
