//! The loop that joins environment, reward and learner. Nothing else in the house knows all three.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::{Duration, Instant};

use rapport::policy::{Learner, Metrics, Mode};
use serde::{Deserialize, Serialize};

use crate::interrupt;
use crate::practice::Practice;
use crate::run_dir::MetricsLog;

mod adversary;
mod episode;
mod evaluation;
mod relabel;
mod reward;
mod workers;

pub use adversary::{AdversarialConfig, AdversarialReward};
pub use episode::{Played, play};
pub use evaluation::{Evaluation, EvaluationConfig};
pub use relabel::relabel;
pub use reward::RewardSource;
pub use workers::Bench;

/// How long, and how often to save.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// Environment steps in all.
    pub steps: u64,
    /// Learned and true rewards are multiplied by this before the learner sees them.
    pub reward_scale: f64,
    /// Episodes between checkpoints.
    pub save_every: u64,
    /// When to measure, and when that is enough.
    pub evaluation: EvaluationConfig,
    /// Seed of the episodes.
    pub seed: u64,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            steps: 20_000,
            reward_scale: 1.0,
            save_every: 50,
            evaluation: EvaluationConfig::default(),
            seed: 0,
        }
    }
}

/// What a training run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Environment steps made.
    pub steps: u64,
    /// Gradient steps made.
    pub updates: u64,
    /// Seconds of this call.
    pub seconds: f64,
    /// True when the person stopped it; it can be resumed.
    pub interrupted: bool,
    /// The last evaluation, where there was one.
    pub evaluation: Option<Evaluation>,
    /// Whether an evaluation was good enough to stop for.
    pub good_enough: bool,
}

/// Who plays the episodes.
pub enum Players<'a> {
    /// The learner itself, in one place: each step is learned from before the next where its reward is known at once.
    Own {
        /// Where.
        practice: &'a mut dyn Practice,
        /// What rewards it.
        reward: &'a mut RewardSource,
    },
    /// Copies of its actor on threads of their own, while it learns. The first place serves evaluation.
    Workers(Vec<Bench>),
}

/// Trains until `config.steps`, saving to `dir`; goes on where a resumed learner stands.
pub fn train(
    mut players: Players,
    learner: &mut dyn Learner,
    config: &TrainingConfig,
    dir: &Path,
    log: &mut MetricsLog,
    progress: impl FnMut(u64, &str),
) -> anyhow::Result<Summary> {
    let mut course = Course {
        begin: Instant::now(),
        config,
        dir,
        log,
        progress,
        evaluator: evaluation::Evaluator::open(config.evaluation.clone(), config.seed, dir)?,
        measuring: Duration::ZERO,
        recent: VecDeque::new(),
        interrupted: false,
    };
    match &mut players {
        Players::Own { practice, reward } => {
            while course.goes_on(learner) {
                let episode = learner.episodes();
                let seed = episode_seed(config.seed, episode);
                let played = if reward.waits() {
                    learner.reset();
                    let act = &mut |seen: &[f32]| learner.act(seen, Mode::Explore);
                    let mut played = episode::play(*practice, act, reward, seed)?;
                    played.scale(config.reward_scale);
                    learner.observe(&played.transitions)?;
                    let mut metrics = reward.learn(&played.transitions, learner)?;
                    metrics.extend(learn(learner)?);
                    (played, metrics)
                } else {
                    episode::play_and_learn(*practice, learner, config.reward_scale, seed)?
                };
                course.finish(learner, *practice, reward, episode, played)?;
            }
        }
        Players::Workers(benches) => workers::train(benches, learner, &mut course)?,
    }
    Ok(Summary {
        steps: learner.steps(),
        updates: learner.updates(),
        seconds: course.begin.elapsed().as_secs_f64(),
        interrupted: course.interrupted,
        evaluation: course.evaluator.last().cloned(),
        good_enough: course.evaluator.is_good_enough(),
    })
}

/// Makes the updates that are due.
fn learn(learner: &mut dyn Learner) -> anyhow::Result<Metrics> {
    let mut last = Metrics::new();
    while learner.updates_due() > 0 {
        last = learner.update()?;
    }
    Ok(last)
}

/// What a run has between two episodes.
struct Course<'a, P> {
    begin: Instant,
    config: &'a TrainingConfig,
    dir: &'a Path,
    log: &'a mut MetricsLog,
    progress: P,
    evaluator: evaluation::Evaluator,
    /// Spent on evaluations.
    measuring: Duration,
    /// Newest outcomes: true return and success.
    recent: VecDeque<(f64, bool)>,
    interrupted: bool,
}

/// Episodes that the progress bar speaks of.
const RECENT: usize = 20;

impl<P: FnMut(u64, &str)> Course<'_, P> {
    fn goes_on(&self, learner: &dyn Learner) -> bool {
        learner.steps() < self.config.steps && !self.interrupted && !self.evaluator.is_good_enough()
    }

    /// An episode was played and learned from: notes it, measures and saves where that is due.
    fn finish(
        &mut self,
        learner: &mut dyn Learner,
        practice: &mut dyn Practice,
        reward: &mut RewardSource,
        episode: u64,
        (played, update): (Played, Metrics),
    ) -> anyhow::Result<()> {
        let true_return = played.truths.iter().sum();
        self.log.write(&EpisodeMetrics {
            episode: episode + 1,
            steps: learner.steps(),
            updates: learner.updates(),
            seconds: self.begin.elapsed().as_secs_f64(),
            training_seconds: (self.begin.elapsed() - self.measuring).as_secs_f64(),
            learned_return: played.rewards.iter().sum(),
            // For the curves only: neither the learner nor the choice of a checkpoint sees these two.
            true_return,
            success: played.success,
            variation: played.variation,
            update,
        })?;
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((true_return, played.success));
        let mean = self.recent.iter().map(|(r, _)| r).sum::<f64>() / self.recent.len() as f64;
        let successes = self.recent.iter().filter(|(_, success)| *success).count();
        let word = format!(
            "return {mean:.1}, {successes} of the last {} succeed",
            self.recent.len()
        );
        (self.progress)(learner.steps(), &word);
        if self.evaluator.is_due(learner.steps()) {
            let since = Instant::now();
            let evaluation = self.evaluator.measure(learner, practice, reward)?;
            self.measuring += since.elapsed();
            self.log
                .write(&serde_json::json!({ "evaluation": evaluation }))?;
        }
        self.interrupted |= interrupt::requested();
        if (episode + 1).is_multiple_of(self.config.save_every) || !self.goes_on(learner) {
            reward.save_with(learner, self.dir)?;
            self.evaluator.save()?;
        }
        Ok(())
    }
}

/// Episodes of one run differ, and two runs with different seeds share none.
pub fn episode_seed(seed: u64, episode: u64) -> u64 {
    seed.wrapping_mul(1_000_003).wrapping_add(episode)
}

#[derive(Serialize)]
struct EpisodeMetrics {
    episode: u64,
    steps: u64,
    updates: u64,
    /// Since this call began.
    seconds: f64,
    /// The same without evaluations.
    training_seconds: f64,
    learned_return: f64,
    true_return: f64,
    success: bool,
    /// What the simulation drew for the episode.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    variation: BTreeMap<String, f64>,
    update: Metrics,
}
