//! [`DiffusionConfig`].

use serde::{Deserialize, Serialize};

use super::denoiser::DenoiserConfig;
use super::schedule::{BetaSchedule, Prediction, Sampler};
use crate::normaliser::ObservationScaling;
use crate::policy::PolicyError;
use crate::small::adam::AdamConfig;

/// Settings of [`super::Diffusion`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiffusionConfig {
    /// Newest observations that are looked at.
    pub observation_horizon: usize,
    /// Actions predicted at once; the first belongs to the oldest observation looked at.
    pub prediction_horizon: usize,
    /// Of those, how many are executed from the newest observation on before the next look.
    pub action_horizon: usize,
    /// Growth of the noise.
    pub schedule: BetaSchedule,
    /// Steps of the noise schedule in training.
    pub training_noise_steps: usize,
    /// What the network says.
    pub prediction: Prediction,
    /// The way from noise to action.
    pub sampler: Sampler,
    /// Denoising steps per chunk.
    pub denoising_steps: usize,
    /// Chunks per minibatch.
    pub batch: usize,
    /// Gradient steps.
    pub updates: u64,
    /// Gradient steps over which the step size grows from 0; after them it falls to 0 like half a cosine.
    pub warmup: u64,
    /// Gradient steps between two calls of `progress`.
    pub report_every: u64,
    /// Exponent of the running average of weights that acts: its decay at update `u` is `1 - (1 + u)^-power`.
    pub ema_power: f64,
    /// Largest decay of the running average.
    pub ema_decay: f64,
    /// How observations are scaled; `running` takes mean and deviation of the demonstrations.
    pub observation_scaling: ObservationScaling,
    /// Optimiser.
    pub adam: AdamConfig,
    /// The network. Last, because TOML wants tables last.
    pub denoiser: DenoiserConfig,
}

impl Default for DiffusionConfig {
    fn default() -> Self {
        Self {
            observation_horizon: 2,
            prediction_horizon: 16,
            action_horizon: 8,
            schedule: BetaSchedule::SquaredcosCapV2,
            training_noise_steps: 100,
            prediction: Prediction::Epsilon,
            sampler: Sampler::Ddim { eta: 0.0 },
            denoising_steps: 10,
            batch: 64,
            updates: 5000,
            warmup: 500,
            report_every: 100,
            ema_power: 0.75,
            ema_decay: 0.9999,
            observation_scaling: ObservationScaling::Running,
            adam: AdamConfig {
                learning_rate: 1e-4,
                beta1: 0.95,
                weight_decay: 1e-6,
                ..AdamConfig::default()
            },
            denoiser: DenoiserConfig::default(),
        }
    }
}

impl DiffusionConfig {
    /// Says what is wrong with these settings, if anything.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let (looks, horizon) = (self.observation_horizon, self.prediction_horizon);
        let eta_is_wrong = match self.sampler {
            Sampler::Ddpm => false,
            Sampler::Ddim { eta } => !(0.0..=1.0).contains(&eta),
        };
        let faults = [
            (looks == 0, "observation_horizon must be above 0"),
            (
                self.action_horizon == 0
                    || looks.saturating_add(self.action_horizon) > horizon.saturating_add(1),
                "action_horizon must be in 1..=prediction_horizon - observation_horizon + 1",
            ),
            (
                self.denoising_steps == 0 || self.denoising_steps > self.training_noise_steps,
                "denoising_steps must be in 1..=training_noise_steps",
            ),
            (eta_is_wrong, "eta must be in 0..=1"),
            (self.batch == 0, "batch must be above 0"),
            (self.updates == 0, "updates must be above 0"),
            (self.report_every == 0, "report_every must be above 0"),
            (
                !(self.ema_power > 0.0 && self.ema_power <= 1.0),
                "ema_power must be above 0 and at most 1",
            ),
            (
                !(0.0..1.0).contains(&self.ema_decay),
                "ema_decay must be in 0..1",
            ),
        ];
        if let Some((_, fault)) = faults.into_iter().find(|(wrong, _)| *wrong) {
            return Err(PolicyError::Other(format!("diffusion: {fault}")));
        }
        self.denoiser.validate(horizon)?;
        self.adam.validate("adam")
    }
}
