//! [`IqlConfig`].

use serde::{Deserialize, Serialize};

use crate::normaliser::ObservationScaling;
use crate::policy::PolicyError;
use crate::small::adam::AdamConfig;

/// What an action's advantage is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Advantage {
    /// `min Q(s, a) - V(s)` with `V` an expectile of `Q`: implicit Q-learning.
    #[default]
    Expectile,
    /// The return of the episode from here on less `V(s)`, their mean: advantage-weighted regression. The paper's TD(lambda) with
    /// lambda 1 and nothing after the end of an episode, whichever way it ended.
    Returns,
}

/// Settings of [`Iql`](super::Iql). The defaults are the paper's for locomotion; observations are normalised besides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IqlConfig {
    /// Widths of the hidden layers of all networks.
    pub hidden: Vec<usize>,
    /// What an action's advantage is.
    pub advantage: Advantage,
    /// Which expectile of Q the value is, tau, in `0.5..1`: 0.5 is the mean, near 1 the best action in the data.
    pub expectile: f64,
    /// Inverse temperature beta of the extraction, `exp(beta * advantage)`: 0 clones everything.
    pub inverse_temperature: f64,
    /// Largest weight of a transition in the extraction.
    pub largest_weight: f64,
    /// Discount of future rewards per step, gamma.
    pub discount: f64,
    /// How far target networks follow per update.
    pub target_rate: f64,
    /// Transitions per update.
    pub batch: usize,
    /// Updates on the data before any practice.
    pub offline_updates: u64,
    /// Updates owed per practised step.
    pub update_to_data: f64,
    /// Smallest and largest logarithm of the actor's standard deviation, which does not depend on the state.
    pub log_std_range: [f64; 2],
    /// Transitions kept.
    pub replay_capacity: usize,
    /// How observations are scaled; `running` takes mean and deviation of the data.
    pub observation_scaling: ObservationScaling,
    /// Optimiser of the actor.
    pub actor_adam: AdamConfig,
    /// Optimiser of the critics.
    pub critic_adam: AdamConfig,
    /// Optimiser of the value.
    pub value_adam: AdamConfig,
}

impl Default for IqlConfig {
    fn default() -> Self {
        Self {
            hidden: vec![256, 256],
            advantage: Advantage::Expectile,
            expectile: 0.7,
            inverse_temperature: 3.0,
            largest_weight: 100.0,
            discount: 0.99,
            target_rate: 0.005,
            batch: 256,
            offline_updates: 20_000,
            update_to_data: 1.0,
            log_std_range: [-5.0, 2.0],
            replay_capacity: 1_000_000,
            observation_scaling: ObservationScaling::Running,
            actor_adam: AdamConfig::default(),
            critic_adam: AdamConfig::default(),
            value_adam: AdamConfig::default(),
        }
    }
}

impl IqlConfig {
    pub(super) fn actor(&self) -> (&[usize], &ObservationScaling) {
        (&self.hidden, &self.observation_scaling)
    }

    /// Says what is wrong with these settings, if anything.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let [low, high] = self.log_std_range;
        let weight = |x: f64| x >= 0.0 && x.is_finite();
        let faults = [
            (
                self.hidden.is_empty() || self.hidden.contains(&0),
                "hidden needs at least one width above 0",
            ),
            (
                !(0.5..1.0).contains(&self.expectile),
                "expectile must be in 0.5..1",
            ),
            (
                !weight(self.inverse_temperature),
                "inverse_temperature must not be negative",
            ),
            (
                !(self.largest_weight > 0.0 && self.largest_weight.is_finite()),
                "largest_weight must be above 0",
            ),
            (
                !(0.0..=1.0).contains(&self.discount),
                "discount must be in 0..=1",
            ),
            (
                !(self.target_rate > 0.0 && self.target_rate <= 1.0),
                "target_rate must be above 0 and at most 1",
            ),
            (self.batch == 0, "batch must be above 0"),
            (
                !weight(self.update_to_data),
                "update_to_data must not be negative",
            ),
            (
                !(low < high && low.is_finite() && high.is_finite()),
                "log_std_range must rise",
            ),
            (self.replay_capacity == 0, "replay_capacity must be above 0"),
        ];
        if let Some((_, fault)) = faults.into_iter().find(|(wrong, _)| *wrong) {
            return Err(PolicyError::Other(format!("iql: {fault}")));
        }
        self.actor_adam.validate("actor_adam")?;
        self.critic_adam.validate("critic_adam")?;
        self.value_adam.validate("value_adam")
    }
}
