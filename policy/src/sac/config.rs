//! [`SacConfig`].

use serde::{Deserialize, Serialize};

use super::LearnedImitation;
use crate::gaussian_policy::GaussianShape;
use crate::normaliser::ObservationScaling;
use crate::off_policy::ExperienceConfig;
use crate::policy::PolicyError;
use crate::replay::priorities::PriorityConfig;
use crate::small::adam::AdamConfig;
use crate::small::mlp::HiddenNorm;

/// Settings of [`Sac`](super::Sac).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SacConfig {
    /// Widths of the hidden layers of actor and critics.
    pub hidden: Vec<usize>,
    /// Normalisation in the critics; `layer` keeps high update ratios and demonstrations stable.
    pub critic_norm: HiddenNorm,
    /// Discount of future rewards per step, gamma.
    pub discount: f64,
    /// How far target networks follow per update, tau.
    pub target_rate: f64,
    /// Transitions per update.
    pub batch: usize,
    /// Updates owed per observed step, see [`Sac::updates_due`](crate::Learner::updates_due).
    pub update_to_data: f64,
    /// The actor and the temperature move every so many updates.
    pub actor_every: u64,
    /// Steps that a critic's target looks ahead before it trusts the target networks; above 1 the rewards between are those of the
    /// behaviour at the time.
    pub n_step: usize,
    /// Uniformly random exploring actions before the actor's own; updates are not owed before so many steps are observed.
    pub initial_random_steps: u64,
    /// Entropy weight alpha at the start.
    pub initial_temperature: f64,
    /// Entropy that the temperature holds, nat; `-action_dim` when not given.
    pub target_entropy: Option<f64>,
    /// Smallest and largest logarithm of the standard deviation before squashing.
    pub log_std_range: [f64; 2],
    /// Transitions kept.
    pub replay_capacity: usize,
    /// Share of each batch that is drawn from demonstrations, once there are any.
    pub demonstration_share: f64,
    /// Weight of `mean (tanh(mean) - action)^2` over a batch's demonstrations in the actor's loss.
    pub behaviour_cloning_weight: f64,
    /// Learn how much to imitate the demonstrations instead, see [`LearnedImitation`].
    pub learned_imitation: Option<LearnedImitation>,
    /// How observations are scaled.
    pub observation_scaling: ObservationScaling,
    /// Draw what surprised the critics more often; none draws everything alike.
    pub priority: Option<PriorityConfig>,
    /// Optimiser of the actor.
    pub actor_adam: AdamConfig,
    /// Optimiser of the critics.
    pub critic_adam: AdamConfig,
    /// Optimiser of the temperature.
    pub temperature_adam: AdamConfig,
}

impl Default for SacConfig {
    fn default() -> Self {
        Self {
            hidden: vec![256, 256],
            critic_norm: HiddenNorm::None,
            discount: 0.99,
            target_rate: 0.005,
            batch: 256,
            update_to_data: 1.0,
            actor_every: 1,
            n_step: 1,
            initial_random_steps: 1000,
            initial_temperature: 0.2,
            target_entropy: None,
            log_std_range: [-5.0, 2.0],
            replay_capacity: 1_000_000,
            demonstration_share: 0.5,
            behaviour_cloning_weight: 0.0,
            learned_imitation: None,
            observation_scaling: ObservationScaling::Running,
            priority: None,
            actor_adam: AdamConfig::default(),
            critic_adam: AdamConfig::default(),
            temperature_adam: AdamConfig::default(),
        }
    }
}

impl SacConfig {
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

    pub(super) fn actor(&self) -> GaussianShape {
        GaussianShape {
            hidden: self.hidden.clone(),
            log_std_range: self.log_std_range,
            observation_scaling: self.observation_scaling.clone(),
        }
    }

    /// Says what is wrong with these settings, if anything.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let [low, high] = self.log_std_range;
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
                !(self.initial_temperature > 0.0 && self.initial_temperature.is_finite()),
                "initial_temperature must be above 0",
            ),
            (
                self.target_entropy.is_some_and(|h| !h.is_finite()),
                "target_entropy must be finite",
            ),
            (
                !(low < high && low.is_finite() && high.is_finite()),
                "log_std_range must rise",
            ),
            (
                !is_weight(self.behaviour_cloning_weight),
                "behaviour_cloning_weight must not be negative",
            ),
            (
                self.learned_imitation.is_some_and(|learned| {
                    let w = learned.weight;
                    let numbers = [w.value, w.rate, w.guard, w.least, w.most];
                    !numbers.iter().all(|x| is_weight(*x)) || w.most > 1.0 || learned.every == 0
                }),
                "learned_imitation needs weights in 0..=1, a rate and a guard that are not negative, and every above 0",
            ),
            (
                self.learned_imitation.is_some() && self.behaviour_cloning_weight > 0.0,
                "behaviour_cloning_weight and learned_imitation exclude each other",
            ),
        ];
        let fault = faults
            .into_iter()
            .find_map(|(wrong, fault)| wrong.then_some(fault));
        if let Some(fault) = fault.or(self.experience().fault()) {
            return Err(PolicyError::Other(format!("sac: {fault}")));
        }
        self.actor_adam.validate("actor_adam")?;
        self.critic_adam.validate("critic_adam")?;
        self.temperature_adam.validate("temperature_adam")
    }
}

pub(super) fn is_weight(value: f64) -> bool {
    value >= 0.0 && value.is_finite()
}
