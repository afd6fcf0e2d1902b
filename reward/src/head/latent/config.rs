//! [`LatentConfig`].

use serde::{Deserialize, Serialize};

use crate::head::config::{Aggregate, InputScaling, Inputs};
use crate::model::RewardError;
use crate::network::{Activation, NetworkConfig};
use crate::objective::PairObjective;

/// In which units people's rewards are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RewardScale {
    /// Those that the scorer found: one person's may be larger than another's.
    #[default]
    Raw,
    /// The mean probability of beating the frames that were compared, `(1/M) Σ_m σ(r(s, z) - r(s_m, z))`: everybody's rewards lie
    /// in 0..=1. After the paper's scaling by self-play preference optimisation, which trains a second network on pairs of
    /// states for it; here the scorer's own gaps are used.
    Comparisons,
}

/// How people's latents are learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LatentConfig {
    /// What it looks at.
    pub inputs: Inputs,
    /// What is done to each input before the networks.
    pub scaling: InputScaling,
    /// Numbers that make up a person; 0 makes it one reward for all.
    pub latent: usize,
    /// Shape of the scorer.
    pub scorer: NetworkConfig,
    /// Shape of the encoder of answers.
    pub encoder: NetworkConfig,
    /// How rewards of frames become that of a clip.
    pub aggregate: Aggregate,
    /// In which units people's rewards are.
    pub scale: RewardScale,
    /// The loss on the gap between two clips; its temperature is the paper's `scale`.
    pub objective: PairObjective,
    /// Answers of a person that are encoded together, N.
    pub answers: usize,
    /// Weight β of the divergence in the end.
    pub beta: f64,
    /// Share of the training over which β rises from 0 to that, along half a cosine.
    pub annealing: f64,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Decay of the weights at each step, as a share of the step size (decoupled, as in AdamW).
    pub weight_decay: f64,
    /// Sets of N answers per step.
    pub batch: usize,
    /// Passes over the answers.
    pub epochs: usize,
}

impl Default for LatentConfig {
    fn default() -> Self {
        Self {
            inputs: Inputs::Features,
            scaling: InputScaling::Standardise,
            latent: 4,
            scorer: NetworkConfig {
                hidden: vec![64, 64],
                activation: Activation::LeakyRelu,
            },
            encoder: NetworkConfig {
                hidden: vec![64, 64],
                activation: Activation::LeakyRelu,
            },
            aggregate: Aggregate::Mean,
            scale: RewardScale::Raw,
            objective: PairObjective::default(),
            answers: 8,
            beta: 0.1,
            annealing: 0.5,
            learning_rate: 2e-3,
            weight_decay: 1e-4,
            batch: 8,
            epochs: 60,
        }
    }
}

impl LatentConfig {
    /// Sizes of the paper: latent 32, both networks 3 x 256 leaky units, 500 epochs at 1e-3, sums over frames.
    pub fn paper() -> Self {
        let network = NetworkConfig {
            hidden: vec![256; 3],
            activation: Activation::LeakyRelu,
        };
        Self {
            latent: 32,
            scorer: network.clone(),
            encoder: network,
            aggregate: Aggregate::Sum,
            beta: 1.0,
            learning_rate: 1e-3,
            weight_decay: 0.0,
            batch: 256,
            epochs: 500,
            ..Self::default()
        }
    }

    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        let check = |holds: bool, sentence: &str| {
            if holds {
                Ok(())
            } else {
                Err(RewardError::Other(format!("latent.{sentence}")))
            }
        };
        check(self.answers > 0, "answers is 0; give at least 1")?;
        check(self.batch > 0, "batch is 0; give at least 1")?;
        check(
            !self.scorer.hidden.contains(&0) && !self.encoder.hidden.contains(&0),
            "scorer and encoder need units in every layer",
        )?;
        check(
            self.beta.is_finite() && self.beta >= 0.0,
            "beta must not be negative",
        )?;
        check(
            (0.0..=1.0).contains(&self.annealing),
            "annealing must lie between 0 and 1",
        )?;
        check(
            self.learning_rate.is_finite() && self.learning_rate > 0.0,
            "learning_rate must be positive",
        )?;
        check(
            self.weight_decay.is_finite() && self.weight_decay >= 0.0,
            "weight_decay must not be negative",
        )?;
        self.objective.validate()
    }

    /// β after a share of the training.
    pub fn beta_at(&self, progress: f64) -> f64 {
        if progress >= self.annealing {
            return self.beta;
        }
        let turn = std::f64::consts::PI * progress / self.annealing;
        self.beta * 0.5 * (1.0 - turn.cos())
    }
}
