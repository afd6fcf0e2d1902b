//! [`PpoConfig`].

use serde::{Deserialize, Serialize};

use crate::normaliser::ObservationScaling;
use crate::policy::PolicyError;
use crate::small::adam::AdamConfig;

/// Settings of proximal policy optimisation. The defaults are those of the paper's continuous control (table 3), with the batches of 64
/// and the gradient limit that later implementations agree on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PpoConfig {
    /// Widths of the hidden layers of actor and value.
    pub hidden: Vec<usize>,
    /// Steps that are collected before they are learned from.
    pub horizon: usize,
    /// Times that each of them is learned from.
    pub epochs: usize,
    /// Steps per gradient step.
    pub batch: usize,
    /// Weight of the future, gamma.
    pub discount: f64,
    /// Weight of what lies further ahead in the advantages, lambda: 0 trusts the value, 1 the returns.
    pub advantage_decay: f64,
    /// How far the probability of an action may move before it pays no more, epsilon.
    pub clip: f64,
    /// Weight of the entropy.
    pub entropy_weight: f64,
    /// The rest of the epochs is left out once the policy has moved so far (estimated KL divergence).
    pub largest_divergence: Option<f64>,
    /// Whether the advantages of a batch are brought to mean 0 and standard deviation 1.
    pub standardise_advantages: bool,
    /// Smallest and largest `ln std` of an action. It begins at 0, or as near to that as this allows.
    pub log_std_range: [f64; 2],
    /// How observations are scaled. Running numbers move between rounds of learning only.
    pub observation_scaling: ObservationScaling,
    /// Optimiser of the actor.
    pub actor_adam: AdamConfig,
    /// Optimiser of the value.
    pub value_adam: AdamConfig,
}

impl Default for PpoConfig {
    fn default() -> Self {
        let adam = AdamConfig {
            epsilon: 1e-5,
            max_gradient_norm: 0.5,
            ..AdamConfig::default()
        };
        Self {
            hidden: vec![64, 64],
            horizon: 2048,
            epochs: 10,
            batch: 64,
            discount: 0.99,
            advantage_decay: 0.95,
            clip: 0.2,
            entropy_weight: 0.0,
            largest_divergence: None,
            standardise_advantages: true,
            log_std_range: [-3.0, 1.0],
            observation_scaling: ObservationScaling::Running,
            actor_adam: adam.clone(),
            value_adam: adam,
        }
    }
}

impl PpoConfig {
    pub(super) fn actor(&self) -> (&[usize], &ObservationScaling) {
        (&self.hidden, &self.observation_scaling)
    }

    /// Says what is wrong with these settings, if anything.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let [low, high] = self.log_std_range;
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let faults = [
            (
                self.hidden.is_empty() || self.hidden.contains(&0),
                "hidden needs at least one width above 0",
            ),
            (self.horizon == 0, "horizon must be above 0"),
            (self.epochs == 0, "epochs must be above 0"),
            (self.batch == 0, "batch must be above 0"),
            (!share(self.discount), "discount must be in 0..=1"),
            (
                !share(self.advantage_decay),
                "advantage_decay must be in 0..=1",
            ),
            (
                !(self.clip > 0.0 && self.clip < 1.0),
                "clip must be above 0 and below 1",
            ),
            (
                !(self.entropy_weight >= 0.0 && self.entropy_weight.is_finite()),
                "entropy_weight must not be negative",
            ),
            (
                self.largest_divergence
                    .is_some_and(|d| !(d > 0.0 && d.is_finite())),
                "largest_divergence must be above 0",
            ),
            (
                !(low < high && low.is_finite() && high.is_finite()),
                "log_std_range must rise",
            ),
        ];
        if let Some((_, fault)) = faults.into_iter().find(|(wrong, _)| *wrong) {
            return Err(PolicyError::Other(format!("ppo: {fault}")));
        }
        self.actor_adam.validate("actor_adam")?;
        self.value_adam.validate("value_adam")
    }
}
