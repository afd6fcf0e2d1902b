//! [`Diffusion`]: Diffusion Policy (Chi et al. 2023, arXiv:2303.04137). A chunk of actions is drawn by removing noise from noise
//! in steps, given the newest observations; so a demonstrator who does a thing in two ways is copied in two ways, never in the
//! middle.
//!
//! Departures from the paper: observations are rows of numbers (a picture enters as a frozen encoder's features in them), scaled
//! by mean and deviation as everywhere in this crate; no dropout in the transformer.

use std::collections::VecDeque;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::checkpoint::PolicySpec;
use crate::gaussian;
use crate::normaliser::Normaliser;
use crate::policy::{Mode, Policy, PolicyError};
use crate::small::kernels;

mod blocks;
mod config;
mod denoiser;
mod saving;
mod schedule;
mod training;
mod transformer;
mod unet;
pub(crate) mod weights;

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod tests;

pub use config::DiffusionConfig;
pub use denoiser::{DenoiserConfig, MlpConfig};
pub use schedule::{BetaSchedule, NoiseSchedule, Prediction, Sampler, StepBack};
pub use training::{DiffusionFit, DiffusionReport};
pub use transformer::TransformerConfig;
pub use unet::{Film, UnetConfig};

use denoiser::{Denoiser, Sizes};
use weights::{Layout, Weights, tensor, values};

/// A policy that removes noise.
///
/// Inside, a chunk is `[prediction_horizon, action_dim]` with every demonstrated action within -1..=1, and a condition is the
/// scaled observations looked at, `[observation_horizon, observation_dim]`, oldest first.
#[derive(Clone)]
pub struct Diffusion {
    spec: PolicySpec,
    config: DiffusionConfig,
    seed: u64,
    pub(crate) updates: u64,
    denoiser: Arc<dyn Denoiser>,
    pub(crate) layout: Layout,
    /// What acts: the running average after a fit.
    pub(crate) parameters: Vec<f32>,
    pub(crate) placed: Weights,
    schedule: NoiseSchedule,
    path: Vec<StepBack>,
    normaliser: Normaliser,
    /// Middle and half width of the demonstrated actions' range, `[action_dim]`.
    action_middle: Vec<f32>,
    action_reach: Vec<f32>,
    rng: ChaCha8Rng,
    /// Scaled observations, newest last, at most `observation_horizon`.
    seen: VecDeque<Vec<f32>>,
    /// Actions of the newest chunk that are still to be executed.
    queue: VecDeque<Vec<f32>>,
}

impl std::fmt::Debug for Diffusion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Diffusion")
            .field("spec", &self.spec)
            .field("config", &self.config)
            .field("updates", &self.updates)
            .finish_non_exhaustive()
    }
}

impl Diffusion {
    pub(crate) fn new(
        spec: &PolicySpec,
        config: &DiffusionConfig,
        seed: u64,
    ) -> Result<Self, PolicyError> {
        spec.validate()?;
        config.validate()?;
        if i64::try_from(seed).is_err() {
            return Err(PolicyError::Other("the seed must be below 2^63".into()));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (denoiser, layout) = config.denoiser.build(Sizes {
            horizon: config.prediction_horizon,
            action: spec.action_dim,
            looks: config.observation_horizon,
            observation: spec.observation_dim,
        });
        let parameters = layout.draw(&mut rng);
        let schedule = NoiseSchedule::new(
            config.schedule,
            config.training_noise_steps,
            config.prediction,
        );
        Ok(Self {
            path: schedule.path(config.sampler, config.denoising_steps)?,
            schedule,
            denoiser: denoiser.into(),
            placed: layout.place(&parameters),
            layout,
            parameters,
            normaliser: Normaliser::new(spec.observation_dim, config.observation_scaling.clone())?,
            action_middle: vec![0.0; spec.action_dim],
            action_reach: vec![1.0; spec.action_dim],
            spec: spec.clone(),
            config: config.clone(),
            seed,
            updates: 0,
            rng,
            seen: VecDeque::new(),
            queue: VecDeque::new(),
        })
    }

    /// What it sees and does.
    pub fn spec(&self) -> &PolicySpec {
        &self.spec
    }

    /// The settings it was trained with.
    pub fn config(&self) -> &DiffusionConfig {
        &self.config
    }

    /// Gradient steps behind it.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Numbers that are learned.
    pub fn parameter_count(&self) -> usize {
        self.parameters.len()
    }

    /// The noise schedule.
    pub fn schedule(&self) -> &NoiseSchedule {
        &self.schedule
    }

    /// Numbers in a chunk.
    pub fn chunk_dim(&self) -> usize {
        self.config.prediction_horizon * self.spec.action_dim
    }

    /// The condition for observations in the world's units, oldest first; the oldest stands for those before it.
    pub fn condition(&self, observations: &[&[f32]]) -> Result<Vec<f32>, PolicyError> {
        let looks = self.config.observation_horizon;
        let mut condition = Vec::with_capacity(looks * self.spec.observation_dim);
        for look in 0..looks {
            let at = (observations.len() + look).saturating_sub(looks);
            let Some(observation) = observations.get(at) else {
                return Err(PolicyError::Other(
                    "a condition needs at least one observation".into(),
                ));
            };
            self.spec.check_observation(observation, self.updates)?;
            self.normaliser.append(observation, &mut condition);
        }
        Ok(condition)
    }

    /// What the network says of latents `[n, chunk]` at a step of the schedule, `[n, chunk]`. One condition for all, or `n`.
    pub fn predict(
        &self,
        latents: &[f32],
        step: usize,
        condition: &[f32],
    ) -> Result<Vec<f32>, PolicyError> {
        let rows = latents.len() / self.chunk_dim();
        let steps = vec![step; rows];
        values(self.forward(&self.placed, latents, &steps, condition))
    }

    pub(crate) fn forward(
        &self,
        weights: &Weights,
        latents: &[f32],
        steps: &[usize],
        condition: &[f32],
    ) -> burn::tensor::Tensor<3> {
        let (rows, device) = (steps.len(), weights.device());
        let (looks, seen) = (self.config.observation_horizon, self.spec.observation_dim);
        let shape = [rows, self.config.prediction_horizon, self.spec.action_dim];
        let repeated;
        let condition = if condition.len() == rows * looks * seen {
            condition
        } else {
            repeated = condition.repeat(rows);
            &repeated
        };
        self.denoiser.forward(
            weights,
            tensor(latents, shape, &device),
            steps,
            tensor(condition, [rows, looks, seen], &device),
        )
    }

    /// Standard normal numbers from the policy's own generator.
    pub fn draw_noise(&mut self, count: usize) -> Vec<f32> {
        let mut noise = vec![0.0; count];
        gaussian::fill_normal(&mut noise, &mut self.rng);
        noise
    }

    /// One step back for latents `[n, chunk]`; `noise` has as many numbers, or none where the step draws none.
    pub fn step_back(
        &self,
        latents: &[f32],
        step: &StepBack,
        condition: &[f32],
        noise: &[f32],
    ) -> Result<Vec<f32>, PolicyError> {
        let mut next = self.predict(latents, step.from, condition)?;
        for (next, &x) in next.iter_mut().zip(latents) {
            *next = step.mean(x, *next).0;
        }
        let std = step.std as f32;
        for (next, noise) in next.iter_mut().zip(noise) {
            *next += std * noise;
        }
        Ok(next)
    }

    /// Draws chunks `[n, chunk]`, one for each of `n` conditions one after another.
    pub fn sample(&mut self, conditions: &[f32]) -> Result<Vec<f32>, PolicyError> {
        let width = self.config.observation_horizon * self.spec.observation_dim;
        let count = conditions.len() / width * self.chunk_dim();
        let mut latents = self.draw_noise(count);
        for step in self.path.clone() {
            let noise = if step.std > 0.0 {
                self.draw_noise(count)
            } else {
                Vec::new()
            };
            latents = self.step_back(&latents, &step, conditions, &noise)?;
        }
        match latents.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(PolicyError::NotFinite {
                tensor: format!("chunk[{at}]"),
                update: self.updates,
            }),
            None => Ok(latents),
        }
    }

    /// The actions of one chunk that are to be executed, in the world's units.
    pub fn actions(&self, chunk: &[f32]) -> Vec<Vec<f32>> {
        self.actions_ahead(chunk)
            .take(self.config.action_horizon)
            .collect()
    }

    /// All actions of a chunk from the newest observation's on, in the world's units.
    fn actions_ahead(&self, chunk: &[f32]) -> impl Iterator<Item = Vec<f32>> {
        chunk
            .chunks_exact(self.spec.action_dim)
            .skip(self.config.observation_horizon - 1)
            .map(|action| {
                let scales = self.action_reach.iter().zip(&self.action_middle);
                let values = action.iter().zip(scales);
                values
                    .map(|(a, (reach, middle))| (a * reach + middle).clamp(-1.0, 1.0))
                    .collect()
            })
    }

    /// Takes other parameters, and refuses those that are not finite.
    pub(crate) fn set_parameters(&mut self, parameters: Vec<f32>) -> Result<(), PolicyError> {
        if !kernels::all_finite(&parameters) {
            let found = self
                .layout
                .iter()
                .find(|(_, _, range)| !kernels::all_finite(&parameters[range.clone()]));
            return Err(PolicyError::NotFinite {
                tensor: found.map_or_else(|| "parameters".into(), |(name, _, _)| name.into()),
                update: self.updates,
            });
        }
        self.placed = self.layout.place(&parameters);
        self.parameters = parameters;
        Ok(())
    }
}

impl Policy for Diffusion {
    fn observation_dim(&self) -> usize {
        self.spec.observation_dim
    }

    fn action_dim(&self) -> usize {
        self.spec.action_dim
    }

    /// Every observation is remembered; a new chunk is drawn when the newest one is used up. A chunk is a draw in either mode,
    /// because the mean of two ways is neither.
    fn act(&mut self, observation: &[f32], _mode: Mode) -> Result<Vec<f32>, PolicyError> {
        self.spec.check_observation(observation, self.updates)?;
        let mut scaled = Vec::with_capacity(observation.len());
        self.normaliser.append(observation, &mut scaled);
        let looks = self.config.observation_horizon;
        if self.seen.len() == looks {
            self.seen.pop_front();
        }
        self.seen.push_back(scaled);
        if let Some(action) = self.queue.pop_front() {
            return Ok(action);
        }
        let missing = looks - self.seen.len();
        let oldest = std::iter::repeat_n(&self.seen[0], missing);
        let condition: Vec<f32> = oldest.chain(&self.seen).flatten().copied().collect();
        let chunk = self.sample(&condition)?;
        self.queue = self.actions(&chunk).into();
        Ok(self
            .queue
            .pop_front()
            .expect("a chunk has at least one action"))
    }

    fn reset(&mut self) {
        self.queue.clear();
        self.seen.clear();
    }

    fn looks(&self) -> usize {
        self.config.observation_horizon
    }

    fn chunk_len(&self) -> usize {
        self.config.prediction_horizon + 1 - self.config.observation_horizon
    }

    fn chunk(&mut self, recent: &[&[f32]]) -> Result<Vec<f32>, PolicyError> {
        let condition = self.condition(recent)?;
        let chunk = self.sample(&condition)?;
        Ok(self.actions_ahead(&chunk).flatten().collect())
    }
}
