//! Where the reward of a step comes from.

use std::path::Path;

use rapport::policy::{Learner, Metrics, Transition};

use super::AdversarialReward;
use crate::labelling::{Labeller, columns};

/// Where the reward of a step comes from.
pub enum RewardSource {
    /// The simulator's referee: for comparison only.
    Truth,
    /// A learned reward; the referee is not asked.
    Learned(Box<Labeller>),
    /// One that is learned meanwhile, from demonstrations; the referee is not asked.
    Adversarial(Box<AdversarialReward>),
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
            Self::Adversarial(reward) => reward.label(transitions),
        }
    }

    /// An episode of the learner's: what a reward that learns too makes of it, before the learner does.
    pub fn learn(
        &mut self,
        transitions: &[Transition],
        learner: &mut dyn Learner,
    ) -> anyhow::Result<Metrics> {
        match self {
            Self::Truth | Self::Learned(_) => Ok(Metrics::new()),
            Self::Adversarial(reward) => reward.learn(transitions, learner),
        }
    }

    /// Saves what it has learned, then the learner, then forgets the checkpoint before; a crash in between leaves one that is whole.
    pub fn save_with(&self, learner: &dyn Learner, dir: &Path) -> anyhow::Result<()> {
        let Self::Adversarial(reward) = self else {
            return Ok(learner.save(dir)?);
        };
        reward.save(dir, learner.steps())?;
        learner.save(dir)?;
        AdversarialReward::forget_others(dir, learner.steps())
    }

    /// Goes on where a resumed learner stands.
    pub fn resume(&mut self, learner: &mut dyn Learner, dir: &Path) -> anyhow::Result<()> {
        match self {
            Self::Truth | Self::Learned(_) => Ok(()),
            Self::Adversarial(reward) => reward.resume(dir, learner.steps(), learner),
        }
    }

    /// Whether it needs pictures.
    pub fn looks(&self) -> bool {
        matches!(self, Self::Learned(_))
    }

    /// Whether it needs the whole episode.
    pub fn waits(&self) -> bool {
        !matches!(self, Self::Truth)
    }
}
