//! [`AlignConfig`].

use serde::{Deserialize, Serialize};

use crate::model::RewardError;
use crate::objective::{PairLoss, PairObjective};
use crate::transport::TransportConfig;

/// What is done to each feature before the rotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scaling {
    /// Its mean is taken off.
    #[default]
    Centre,
    /// Its mean is taken off and it is divided by its standard deviation. Features that never change become zero.
    Standardise,
}

/// Which number of a transport plan is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransportObjective {
    /// The transport distance, differentiated through the converged plan, as RAPL does.
    #[default]
    Distance,
    /// The entropy-regularised value, whose derivative is the plan itself (the envelope theorem). Cheaper, and another objective.
    Regularised,
}

/// What happens once the best epoch is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refit {
    /// The head of that epoch is kept, as RAPL does.
    Never,
    /// A head is trained on all answers, those kept aside included, for as many epochs. With few answers this is worth more
    /// than anything else here.
    #[default]
    AllAnswers,
}

/// How an [`crate::align::Alignment`] is learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlignConfig {
    /// Width of the embedding.
    pub dim: usize,
    /// What is done to each feature before the rotation.
    pub scaling: Scaling,
    /// Principal components that are kept; 0 leaves the features as they are, neither centred nor rotated.
    pub components: usize,
    /// How far the components' scales are evened out: each is divided by the power `whiten` of its standard deviation. 0
    /// leaves them, 1 makes them equal.
    pub whiten: f64,
    /// Added to each component's variance before whitening, as a share of the mean variance of the kept components, so that
    /// the least of them are not blown up.
    pub shrinkage: f64,
    /// How clips are transported into each other.
    pub transport: TransportConfig,
    /// Which number of the plan is compared.
    pub compare: TransportObjective,
    /// The loss on the gap between the two distances of a triplet.
    pub objective: PairObjective,
    /// Weight of answers that called clips equal, next to 1 for the others.
    pub equal_weight: f64,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Decay of the weights at each step, as a share of the step size (decoupled, as in AdamW).
    pub weight_decay: f64,
    /// Comparisons per step.
    pub batch: usize,
    /// Passes over the comparisons.
    pub epochs: usize,
    /// Share of the answers kept for choosing the best epoch.
    pub validation: f64,
    /// What happens once the best epoch is known.
    pub refit: Refit,
    /// Clips longer than this are thinned out evenly for training.
    pub max_frames: usize,
}

impl Default for AlignConfig {
    fn default() -> Self {
        Self {
            dim: 32,
            scaling: Scaling::Centre,
            components: 100,
            whiten: 1.0,
            shrinkage: 0.1,
            transport: TransportConfig::rapl(),
            compare: TransportObjective::Distance,
            objective: PairObjective {
                temperature: 0.2,
                ..PairObjective::default()
            },
            equal_weight: 0.0,
            learning_rate: 3e-3,
            weight_decay: 1e-4,
            batch: 10,
            epochs: 100,
            validation: 0.2,
            refit: Refit::AllAnswers,
            max_frames: 45,
        }
    }
}

impl AlignConfig {
    /// RAPL as described: a linear head on the features as they are, temperature 1, -log p, no use of equal answers.
    pub fn paper() -> Self {
        Self {
            components: 0,
            whiten: 0.0,
            shrinkage: 0.0,
            objective: PairObjective::default(),
            learning_rate: 1e-3,
            weight_decay: 0.0,
            refit: Refit::Never,
            ..Self::default()
        }
    }

    /// RAPL as released: as [`AlignConfig::paper`], with the loss `1 - p` and equal answers at full weight.
    pub fn released() -> Self {
        Self {
            objective: PairObjective {
                loss: PairLoss::OneMinusP,
                ..PairObjective::default()
            },
            equal_weight: 1.0,
            ..Self::paper()
        }
    }

    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        self.transport.validate()?;
        let check = |holds: bool, sentence: &str| {
            if holds {
                Ok(())
            } else {
                Err(RewardError::Other(format!("align.{sentence}")))
            }
        };
        check(self.dim > 0, "dim is 0; give at least 1")?;
        check(self.batch > 0, "batch is 0; give at least 1")?;
        check(self.max_frames > 0, "max_frames is 0; give at least 1")?;
        check(
            (0.0..=1.0).contains(&self.whiten),
            "whiten must lie between 0 and 1",
        )?;
        check(
            self.shrinkage.is_finite() && self.shrinkage >= 0.0,
            "shrinkage must not be negative",
        )?;
        check(
            self.learning_rate.is_finite() && self.learning_rate > 0.0,
            "learning_rate must be positive",
        )?;
        check(
            self.weight_decay.is_finite() && self.weight_decay >= 0.0,
            "weight_decay must not be negative",
        )?;
        check(
            self.equal_weight.is_finite() && self.equal_weight >= 0.0,
            "equal_weight must not be negative",
        )?;
        check(
            (0.0..1.0).contains(&self.validation),
            "validation must be at least 0 and below 1",
        )?;
        check(
            self.objective.temperature.is_finite() && self.objective.temperature > 0.0,
            "objective.temperature must be positive",
        )
    }
}
