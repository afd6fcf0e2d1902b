//! [`BenchConfig`]: what is measured of imitation by an adversary.

use serde::{Deserialize, Serialize};

use crate::training::AdversarialConfig;

/// What is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BenchConfig {
    /// Environment.
    pub env: String,
    /// Seeds: expert, demonstrations and learner are new with each.
    pub seeds: u64,
    /// The first of them.
    pub first_seed: u64,
    /// Steps in which the expert, SAC on the true reward, is made.
    pub expert_steps: u64,
    /// Its demonstrations; the paper has 4.
    pub demonstrations: usize,
    /// Only every so many steps of a demonstration are kept, which makes imitation harder (GAIL and its descendants have 20).
    pub stride: usize,
    /// Steps of an imitator.
    pub steps: u64,
    /// Steps between two evaluations.
    pub every: u64,
    /// Episodes of an evaluation.
    pub episodes: usize,
    /// Width of the two hidden layers of actors and critics.
    pub hidden: usize,
    /// Transitions of an update.
    pub batch: usize,
    /// Discount per step.
    pub discount: f64,
    /// The discriminator and how it learns; what keeps it from being steep is varied.
    pub reward: AdversarialConfig,
}

impl Default for BenchConfig {
    fn default() -> Self {
        Self {
            env: "Pendulum-v1".into(),
            seeds: 5,
            first_seed: 0,
            expert_steps: 10_000,
            demonstrations: 4,
            stride: 1,
            steps: 15_000,
            every: 1_000,
            episodes: 20,
            hidden: 64,
            batch: 64,
            discount: 0.99,
            reward: AdversarialConfig::default(),
        }
    }
}

impl BenchConfig {
    /// Everything small: the same way in seconds, with numbers that mean nothing.
    pub fn quick() -> Self {
        Self {
            seeds: 1,
            expert_steps: 1_200,
            demonstrations: 2,
            steps: 1_000,
            every: 500,
            episodes: 2,
            hidden: 16,
            batch: 16,
            ..Self::default()
        }
    }

    /// Says what is wrong with these settings.
    pub fn validate(&self) -> Result<(), String> {
        let counts = [
            ("seeds", self.seeds),
            ("expert-steps", self.expert_steps),
            ("demonstrations", self.demonstrations as u64),
            ("stride", self.stride as u64),
            ("steps", self.steps),
            ("episodes", self.episodes as u64),
        ];
        if let Some((name, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(format!("--{name} is 0; give at least 1"));
        }
        if self.every == 0 || self.every > self.steps {
            return Err(format!(
                "--every is {}, which leaves no evaluation in {} steps",
                self.every, self.steps
            ));
        }
        Ok(())
    }
}
