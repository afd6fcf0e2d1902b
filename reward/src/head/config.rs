//! [`HeadConfig`].

use serde::{Deserialize, Serialize};

use crate::model::RewardError;
use crate::network::{Activation, NetworkConfig};
use crate::objective::PairObjective;

/// What a head looks at in each frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Inputs {
    /// The encoder's features.
    #[default]
    Features,
    /// Named columns of the clip only: a bottleneck of a few numbers that a person can read, with which fewer labels do.
    /// Source: arXiv 2402.15473, where fewer than 1,000 labels sufficed behind seven named aspects.
    Columns {
        /// Keys of [`crate::Clip::columns`], in order.
        names: Vec<String>,
    },
    /// The encoder's features and named columns.
    FeaturesAndColumns {
        /// Keys of [`crate::Clip::columns`], in order.
        names: Vec<String>,
    },
}

impl Inputs {
    /// The columns it wants.
    pub fn columns(&self) -> &[String] {
        match self {
            Self::Features => &[],
            Self::Columns { names } | Self::FeaturesAndColumns { names } => names,
        }
    }

    /// Whether the encoder's features are among them.
    pub fn takes_features(&self) -> bool {
        !matches!(self, Self::Columns { .. })
    }
}

/// How rewards of frames become that of a clip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregate {
    /// `R = Σ_t r_t`, the model of Bradley and Terry for trajectories (arXiv 1706.03741). Longer clips have larger returns.
    #[default]
    Sum,
    /// `R = (1/T) Σ_t r_t`: the length does not count.
    Mean,
}

/// What stands behind the last layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// Nothing: rewards are unbounded, and known up to a constant only.
    #[default]
    Linear,
    /// `tanh`, as in PEBBLE.
    Tanh,
}

/// What each member of an ensemble is trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resampling {
    /// As many answers as there are, drawn with replacement.
    #[default]
    Bootstrap,
    /// All answers; members differ in their start and in the order alone.
    All,
}

/// What is done to each input before the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputScaling {
    /// Its mean over all training frames is taken off and it is divided by its standard deviation. Inputs that never change
    /// become zero.
    #[default]
    Standardise,
    /// Nothing.
    Raw,
}

/// How a head is shaped and trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeadConfig {
    /// What it looks at.
    pub inputs: Inputs,
    /// What is done to each input before the network.
    pub scaling: InputScaling,
    /// Shape of each member's network. One hidden layer makes it the two-layer head of BaseReward (arXiv 2509.16127).
    pub network: NetworkConfig,
    /// What stands behind the last layer.
    pub output: Output,
    /// How rewards of frames become that of a clip.
    pub aggregate: Aggregate,
    /// Networks in the ensemble.
    pub members: usize,
    /// What each member is trained on.
    pub resampling: Resampling,
    /// The loss on the gap between two clips.
    pub objective: PairObjective,
    /// Weight of answers that called clips equal, next to 1 for the others.
    pub equal_weight: f64,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Decay of the weights at each step, as a share of the step size (decoupled, as in AdamW).
    pub weight_decay: f64,
    /// Pairs per step.
    pub batch: usize,
    /// Passes over the pairs, at most.
    pub epochs: usize,
    /// Training stops after the epoch in which a larger share than this of the training pairs was in the right order. None:
    /// never.
    pub stop_at_accuracy: Option<f64>,
    /// Share of the answers kept for choosing the epoch that is kept; 0 keeps the last.
    pub validation: f64,
}

impl Default for HeadConfig {
    fn default() -> Self {
        Self {
            inputs: Inputs::Features,
            scaling: InputScaling::Standardise,
            network: NetworkConfig {
                hidden: vec![64],
                activation: Activation::Relu,
            },
            output: Output::Linear,
            aggregate: Aggregate::Sum,
            members: 5,
            resampling: Resampling::Bootstrap,
            objective: PairObjective::default(),
            equal_weight: 1.0,
            learning_rate: 1e-3,
            weight_decay: 1e-3,
            batch: 32,
            epochs: 100,
            stop_at_accuracy: None,
            validation: 0.1,
        }
    }
}

impl HeadConfig {
    /// PEBBLE (arXiv 2106.05091) as released with B-Pref: three members of 3 x 256 leaky units and `tanh`, all of them on all
    /// pairs, Adam at 3e-4, training until 97 % of the pairs are in order.
    pub fn pebble() -> Self {
        Self {
            scaling: InputScaling::Raw,
            network: NetworkConfig {
                hidden: vec![256; 3],
                activation: Activation::LeakyRelu,
            },
            output: Output::Tanh,
            members: 3,
            resampling: Resampling::All,
            learning_rate: 3e-4,
            weight_decay: 0.0,
            batch: 128,
            epochs: 200,
            stop_at_accuracy: Some(0.97),
            validation: 0.0,
            ..Self::default()
        }
    }

    /// Settings of `imitation` 1.0.1: one member of 2 x 32 units, AdamW at 1e-3 without decay, pairs of 32, three epochs.
    pub fn imitation() -> Self {
        Self {
            scaling: InputScaling::Raw,
            network: NetworkConfig {
                hidden: vec![32, 32],
                activation: Activation::Relu,
            },
            members: 1,
            resampling: Resampling::All,
            weight_decay: 0.0,
            epochs: 3,
            validation: 0.0,
            ..Self::default()
        }
    }

    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        let check = |holds: bool, sentence: &str| {
            if holds {
                Ok(())
            } else {
                Err(RewardError::Other(format!("head.{sentence}")))
            }
        };
        check(self.members > 0, "members is 0; give at least 1")?;
        check(self.batch > 0, "batch is 0; give at least 1")?;
        check(
            self.inputs.takes_features() || !self.inputs.columns().is_empty(),
            "inputs names no column; name at least one",
        )?;
        check(
            !self.network.hidden.contains(&0),
            "network.hidden has a layer without units; give at least 1",
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
            self.stop_at_accuracy
                .is_none_or(|share| (0.0..=1.0).contains(&share)),
            "stop_at_accuracy must lie between 0 and 1",
        )?;
        self.objective.validate().map_err(|e| match e {
            RewardError::Other(sentence) => RewardError::Other(format!("head.{sentence}")),
            other => other,
        })
    }
}
