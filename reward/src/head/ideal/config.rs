//! [`IdealConfig`].

use serde::{Deserialize, Serialize};

use crate::head::config::{Aggregate, InputScaling, Inputs};
use crate::model::RewardError;
use crate::network::NetworkConfig;
use crate::objective::PairObjective;

/// How far a frame is from an ideal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdealDistance {
    /// `|f - u|²`: gaps between clips are linear in the mixture, so that fitting a new person is a convex problem.
    #[default]
    Squared,
    /// `|f - u|`, as released.
    Norm,
}

/// Where frames and ideals meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum IdealSpace {
    /// The scaled inputs themselves.
    Inputs,
    /// A learned map of them.
    Learned {
        /// Width of the space.
        dim: usize,
        /// Shape of the map; without hidden layers it is linear.
        #[serde(default)]
        network: NetworkConfig,
    },
}

/// How ideals are learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdealConfig {
    /// What it looks at.
    pub inputs: Inputs,
    /// What is done to each input before the map.
    pub scaling: InputScaling,
    /// Where frames and ideals meet.
    pub space: IdealSpace,
    /// Shared prototypes, K.
    pub prototypes: usize,
    /// How far a frame is from an ideal.
    pub distance: IdealDistance,
    /// How rewards of frames become that of a clip.
    pub aggregate: Aggregate,
    /// The loss on the gap between two clips.
    pub objective: PairObjective,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Decay of the weights at each step, as a share of the step size (decoupled, as in AdamW).
    pub weight_decay: f64,
    /// Pairs per step.
    pub batch: usize,
    /// Passes over the pairs.
    pub epochs: usize,
    /// Share of the answers kept for choosing the epoch that is kept; 0 keeps the last.
    pub validation: f64,
    /// Answers that the training people's mean mixture is worth when a new person's is fitted.
    pub prior: f64,
}

impl Default for IdealConfig {
    fn default() -> Self {
        Self {
            inputs: Inputs::Features,
            scaling: InputScaling::Standardise,
            space: IdealSpace::Learned {
                dim: 8,
                network: NetworkConfig {
                    hidden: vec![],
                    ..NetworkConfig::default()
                },
            },
            prototypes: 2,
            distance: IdealDistance::Squared,
            aggregate: Aggregate::Mean,
            objective: PairObjective::default(),
            learning_rate: 1e-2,
            weight_decay: 1e-4,
            batch: 64,
            epochs: 60,
            validation: 0.1,
            prior: 0.3,
        }
    }
}

impl IdealConfig {
    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        let check = |holds: bool, sentence: &str| {
            if holds {
                Ok(())
            } else {
                Err(RewardError::Other(format!("ideal.{sentence}")))
            }
        };
        check(self.prototypes > 0, "prototypes is 0; give at least 1")?;
        check(self.batch > 0, "batch is 0; give at least 1")?;
        if let IdealSpace::Learned { dim, network } = &self.space {
            check(*dim > 0, "space.dim is 0; give at least 1")?;
            check(
                !network.hidden.contains(&0),
                "space.network.hidden has a layer without units; give at least 1",
            )?;
        }
        check(
            self.learning_rate.is_finite() && self.learning_rate > 0.0,
            "learning_rate must be positive",
        )?;
        check(
            self.weight_decay.is_finite() && self.weight_decay >= 0.0,
            "weight_decay must not be negative",
        )?;
        check(
            (0.0..1.0).contains(&self.validation),
            "validation must be at least 0 and below 1",
        )?;
        check(
            self.prior.is_finite() && self.prior >= 0.0,
            "prior must not be negative",
        )?;
        self.objective.validate()
    }
}
