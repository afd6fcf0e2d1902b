//! The loop that joins environment, reward and learner. Nothing else in the house knows all three.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use rapport::policy::{Learner, Mode, Transition};
use serde::{Deserialize, Serialize};

use crate::interrupt;
use crate::labelling::{Labeller, columns};
use crate::practice::Practice;
use crate::run_dir::MetricsLog;

/// Where the reward of a step comes from.
pub enum RewardSource {
    /// The simulator's referee: for comparison only.
    Truth,
    /// A learned reward; the referee is not asked.
    Learned(Box<Labeller>),
}

impl RewardSource {
    /// Rewards `[time]` of an episode from its frames and numbers, or its true rewards.
    pub fn label(
        &mut self,
        frames: &[image::RgbImage],
        transitions: &[Transition],
        truth: &[f64],
    ) -> anyhow::Result<Vec<f64>> {
        match self {
            Self::Truth => Ok(truth.to_vec()),
            Self::Learned(labeller) => {
                let steps = transitions.iter();
                let numbers = columns(steps.map(|t| (&t.next_observation[..], &t.action[..])));
                Ok(labeller.label(frames, numbers)?.per_step)
            }
        }
    }

    fn looks(&self) -> bool {
        matches!(self, Self::Learned(_))
    }
}

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
    /// Seed of the episodes.
    pub seed: u64,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            steps: 20_000,
            reward_scale: 1.0,
            save_every: 50,
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
}

/// Trains until `config.steps`, saving to `dir`; goes on where a resumed learner stands.
pub fn train(
    practice: &mut dyn Practice,
    reward: &mut RewardSource,
    learner: &mut dyn Learner,
    config: &TrainingConfig,
    dir: &Path,
    log: &mut MetricsLog,
    mut progress: impl FnMut(u64, &str),
) -> anyhow::Result<Summary> {
    let begin = Instant::now();
    let mut episode = learner.episodes();
    let mut interrupted = false;
    while learner.steps() < config.steps && !interrupted {
        let mut observation = practice.reset(episode_seed(config.seed, episode))?;
        learner.reset();
        let (mut transitions, mut frames, mut truths) = (Vec::new(), Vec::new(), Vec::new());
        let mut success = false;
        loop {
            let action = learner.act(&observation, Mode::Explore)?;
            let outcome = practice.step(&action)?;
            if reward.looks() {
                frames.push(practice.picture()?);
            }
            if let Some(truth) = outcome.truth {
                truths.push(truth.reward);
                success = truth.success;
            }
            transitions.push(Transition {
                observation: std::mem::replace(&mut observation, outcome.observation.clone()),
                action,
                reward: 0.0,
                next_observation: outcome.observation,
                terminated: outcome.terminated,
                truncated: outcome.truncated,
            });
            if outcome.terminated || outcome.truncated {
                break;
            }
        }
        let rewards = reward.label(&frames, &transitions, &truths)?;
        for (transition, r) in transitions.iter_mut().zip(&rewards) {
            transition.reward = (r * config.reward_scale) as f32;
        }
        learner.observe(&transitions)?;
        let mut last = Default::default();
        while learner.updates_due() > 0 {
            last = learner.update()?;
        }
        episode += 1;
        log.write(&EpisodeMetrics {
            episode,
            steps: learner.steps(),
            updates: learner.updates(),
            seconds: begin.elapsed().as_secs_f64(),
            learned_return: rewards.iter().sum(),
            // For the curves only: neither the learner nor the choice of a checkpoint sees these two.
            true_return: truths.iter().sum(),
            success,
            variation: practice.variation(),
            update: last,
        })?;
        progress(learner.steps(), if success { "success" } else { "" });
        interrupted = interrupt::requested();
        if episode.is_multiple_of(config.save_every)
            || interrupted
            || learner.steps() >= config.steps
        {
            learner.save(dir)?;
        }
    }
    Ok(Summary {
        steps: learner.steps(),
        updates: learner.updates(),
        seconds: begin.elapsed().as_secs_f64(),
        interrupted,
    })
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
    seconds: f64,
    learned_return: f64,
    true_return: f64,
    success: bool,
    /// What the simulation drew for the episode.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    variation: BTreeMap<String, f64>,
    update: rapport::policy::Metrics,
}
