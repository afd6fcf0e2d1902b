//! Measuring while training: every so many steps, on episodes of their own, with a copy of the actor that does its best.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rapport::policy::{Learner, Mode};
use serde::{Deserialize, Serialize};

use super::{RewardSource, episode};
use crate::evaluation::evaluation_seed;
use crate::practice::Practice;
use crate::run_dir::write_atomically;

/// When to measure, and when that is enough.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Environment steps between evaluations; 0: never.
    pub every: u64,
    /// Episodes of each.
    pub episodes: usize,
    /// Stop once so large a share succeeded in two evaluations on end.
    pub stop_at_success: Option<f64>,
    /// Stop once the mean true return was so high in two evaluations on end.
    pub stop_at_return: Option<f64>,
}

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Steps learned from until then.
    pub steps: u64,
    /// Share of the episodes that succeeded by the task's own test.
    pub success_rate: f64,
    /// Mean true return.
    pub true_return: f64,
    /// Mean of the return by which the best policy is chosen: the learned reward's, where one is trained on.
    pub learned_return: f64,
}

/// Kept beside the checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct State {
    last: Option<Evaluation>,
    best: Option<Evaluation>,
    /// Evaluations on end that were good enough.
    good: u32,
}

/// Evaluations of one run.
pub struct Evaluator {
    config: EvaluationConfig,
    seed: u64,
    dir: PathBuf,
    state: State,
}

const FILE: &str = "evaluation.toml";

impl Evaluator {
    /// Goes on from what is in `dir`, or starts there.
    pub fn open(config: EvaluationConfig, seed: u64, dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(FILE);
        let state = match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text)
                .with_context(|| format!("{} cannot be understood; delete it", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::default(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        Ok(Self {
            config,
            seed,
            dir: dir.into(),
            state,
        })
    }

    /// The newest evaluation.
    pub fn last(&self) -> Option<&Evaluation> {
        self.state.last.as_ref()
    }

    /// Whether two evaluations on end reached what was asked for.
    pub fn is_good_enough(&self) -> bool {
        self.state.good >= 2
    }

    /// Whether it is time again.
    pub fn is_due(&self, steps: u64) -> bool {
        let before = self.state.last.as_ref().map_or(0, |last| last.steps);
        self.config.every > 0 && steps / self.config.every > before / self.config.every
    }

    /// Measures, and keeps the policy in `best` if it is the best so far.
    pub fn measure(
        &mut self,
        learner: &dyn Learner,
        practice: &mut dyn Practice,
        reward: &mut RewardSource,
    ) -> anyhow::Result<&Evaluation> {
        let mut actor = learner.actor();
        let (mut successes, mut truth, mut learned) = (0, 0.0, 0.0);
        let episodes = self.config.episodes.max(1);
        for number in 0..episodes {
            actor.reset();
            let act = &mut |seen: &[f32]| actor.act(seen, Mode::Exploit);
            // Far from the seeds of training, and from those of `rapport eval` too.
            let seed = evaluation_seed(self.seed, number) + (1 << 41);
            let played = episode::play(practice, act, reward, seed)?;
            successes += usize::from(played.success);
            truth += played.truths.iter().sum::<f64>() / episodes as f64;
            learned += played.rewards.iter().sum::<f64>() / episodes as f64;
        }
        let found = Evaluation {
            steps: learner.steps(),
            success_rate: successes as f64 / episodes as f64,
            true_return: truth,
            learned_return: learned,
        };
        let asked = [
            self.config
                .stop_at_success
                .map(|share| found.success_rate >= share),
            self.config
                .stop_at_return
                .map(|value| found.true_return >= value),
        ];
        let enough = asked.iter().flatten().next().is_some() && asked.iter().flatten().all(|x| *x);
        self.state.good = if enough { self.state.good + 1 } else { 0 };
        let first = self.state.best.is_none();
        let better = self.state.best.as_ref().is_some_and(|best| {
            // Whoever trains on a learned reward has no referee to choose by, and where the reward changes none at all: the newest then.
            let by = |e: &Evaluation| match reward {
                RewardSource::Truth => (e.success_rate, e.true_return),
                RewardSource::Learned(_) => (e.learned_return, 0.0),
                RewardSource::Adversarial(_) => (e.steps as f64, 0.0),
            };
            by(&found).partial_cmp(&by(best)) == Some(Ordering::Greater)
        });
        if first || better {
            learner.save_policy(&self.dir.join("best"))?;
            self.state.best = Some(found.clone());
        }
        Ok(self.state.last.insert(found))
    }

    /// Writes where it stands.
    pub fn save(&self) -> anyhow::Result<()> {
        if self.state == State::default() {
            return Ok(());
        }
        let text = toml::to_string(&self.state)?;
        write_atomically(&self.dir.join(FILE), text.as_bytes())
    }
}
