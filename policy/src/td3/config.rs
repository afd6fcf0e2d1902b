//! [`Td3Config`].

use serde::{Deserialize, Serialize};

use crate::normaliser::ObservationScaling;
use crate::off_policy::ExperienceConfig;
use crate::policy::PolicyError;
use crate::replay::priorities::PriorityConfig;
use crate::small::adam::AdamConfig;
use crate::small::mlp::HiddenNorm;

/// Settings of [`Td3`](super::Td3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Td3Config {
    /// Widths of the hidden layers of actor and critics.
    pub hidden: Vec<usize>,
    /// Normalisation in the critics; `layer` keeps high update ratios and demonstrations stable.
    pub critic_norm: HiddenNorm,
    /// Discount of future rewards per step, gamma.
    pub discount: f64,
    /// How far target networks follow per step of the actor, tau.
    pub target_rate: f64,
    /// Transitions per update.
    pub batch: usize,
    /// Updates owed per observed step, see [`Td3::updates_due`](crate::Learner::updates_due).
    pub update_to_data: f64,
    /// The actor and the target networks move every so many updates, d.
    pub actor_every: u64,
    /// Standard deviation of the noise on exploring actions.
    pub exploration_noise: f64,
    /// Standard deviation of the noise on target actions, sigma.
    pub target_noise: f64,
    /// Largest noise on target actions, c.
    pub target_noise_limit: f64,
    /// Steps that a critic's target looks ahead before it trusts the target networks; above 1 the rewards between are those of the
    /// behaviour at the time.
    pub n_step: usize,
    /// Uniformly random exploring actions before the actor's own; updates are not owed before so many steps are observed.
    pub initial_random_steps: u64,
    /// Transitions kept.
    pub replay_capacity: usize,
    /// Share of each batch that is drawn from demonstrations, once there are any.
    pub demonstration_share: f64,
    /// How observations are scaled.
    pub observation_scaling: ObservationScaling,
    /// Draw what surprised the critics more often; none draws everything alike.
    pub priority: Option<PriorityConfig>,
    /// Optimiser of the actor.
    pub actor_adam: AdamConfig,
    /// Optimiser of the critics.
    pub critic_adam: AdamConfig,
}

impl Default for Td3Config {
    fn default() -> Self {
        Self {
            hidden: vec![256, 256],
            critic_norm: HiddenNorm::None,
            discount: 0.99,
            target_rate: 0.005,
            batch: 256,
            update_to_data: 1.0,
            actor_every: 2,
            exploration_noise: 0.1,
            target_noise: 0.2,
            target_noise_limit: 0.5,
            n_step: 1,
            initial_random_steps: 1000,
            replay_capacity: 1_000_000,
            demonstration_share: 0.5,
            observation_scaling: ObservationScaling::Running,
            priority: None,
            actor_adam: AdamConfig::default(),
            critic_adam: AdamConfig::default(),
        }
    }
}

impl Td3Config {
    pub(super) fn experience(&self) -> ExperienceConfig {
        ExperienceConfig {
            capacity: self.replay_capacity,
            batch: self.batch,
            demonstration_share: self.demonstration_share,
            update_to_data: self.update_to_data,
            initial_random_steps: self.initial_random_steps,
            discount: self.discount,
            n_step: self.n_step,
            priority: self.priority,
        }
    }

    /// Says what is wrong with these settings, if anything.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let is_size = |x: f64| x >= 0.0 && x.is_finite();
        let faults = [
            (
                self.hidden.is_empty() || self.hidden.contains(&0),
                "hidden needs at least one width above 0",
            ),
            (
                !(self.target_rate > 0.0 && self.target_rate <= 1.0),
                "target_rate must be above 0 and at most 1",
            ),
            (self.actor_every == 0, "actor_every must be above 0"),
            (
                ![
                    self.exploration_noise,
                    self.target_noise,
                    self.target_noise_limit,
                ]
                .into_iter()
                .all(is_size),
                "exploration_noise, target_noise and target_noise_limit must not be negative",
            ),
        ];
        let fault = faults
            .into_iter()
            .find_map(|(wrong, fault)| wrong.then_some(fault));
        if let Some(fault) = fault.or(self.experience().fault()) {
            return Err(PolicyError::Other(format!("td3: {fault}")));
        }
        self.actor_adam.validate("actor_adam")?;
        self.critic_adam.validate("critic_adam")
    }
}
