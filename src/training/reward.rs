//! Where the reward of a step comes from.

use rapport::policy::Transition;

use crate::labelling::{Labeller, columns};

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

    /// Whether it needs pictures, and the whole episode.
    pub fn looks(&self) -> bool {
        matches!(self, Self::Learned(_))
    }
}
