//! ACT, action chunking with transformers (Zhao et al. 2023, arXiv:2304.13705): imitation that predicts the next `k` actions at
//! once, from a variational autoencoder whose style variable takes up how people differ.
//!
//! In training `z` comes from the demonstrated chunk; in acting it is zero. The loss is the mean absolute error plus `beta` times
//! the divergence of `z` from a standard normal (algorithm 1). Departures: the picture arrives as tokens of a frozen encoder
//! instead of a ResNet-18 that is trained along, with learned positions for every token; the error is a mean over the
//! actions within the episodes, in units of their standard deviations; the style is not conditioned on the picture, as in the paper.

use std::collections::VecDeque;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::checkpoint::PolicySpec;
use crate::deep::dropout::Dropout;
use crate::deep::{acting_device, tensor, values};
use crate::normaliser::{Normaliser, ObservationScaling};
use crate::policy::{Mode, Policy, PolicyError, newest};
use crate::state::{StateDict, StateReader};

mod config;
mod ensemble;
mod network;
mod saving;
mod training;

pub use config::{ActConfig, Execution};
pub use training::{ActFit, ActReport};

use ensemble::Ensemble;
use network::{Network, Sight};

/// A cloned behaviour that thinks in chunks of actions.
#[derive(Clone, Debug)]
pub struct Act {
    spec: PolicySpec,
    config: ActConfig,
    seed: u64,
    updates: u64,
    /// On the acting device, without a graph.
    network: Network,
    scales: Scales,
    rng: ChaCha8Rng,
    ensemble: Ensemble,
    /// Actions of the newest chunk that are still to be executed.
    queue: VecDeque<Vec<f32>>,
}

/// From the robot's numbers to the network's, and back.
#[derive(Clone, Debug)]
struct Scales {
    state: Normaliser,
    tokens: Option<Normaliser>,
    state_dim: usize,
    token_dim: usize,
    /// Mean and standard deviation of the demonstrated actions, `[action_dim]`.
    action_mean: Vec<f32>,
    action_std: Vec<f32>,
}

impl Scales {
    fn new(spec: &PolicySpec, config: &ActConfig) -> Result<Self, PolicyError> {
        let state_dim = config.state_dim(spec)?;
        Ok(Self {
            state: Normaliser::new(state_dim, config.observation_scaling.clone())?,
            tokens: (config.tokens() > 0)
                .then(|| Normaliser::new(config.token_dim, ObservationScaling::Running))
                .transpose()?,
            state_dim,
            token_dim: config.token_dim,
            action_mean: vec![0.0; spec.action_dim],
            action_std: vec![1.0; spec.action_dim],
        })
    }

    /// Counts an observation for the scales.
    fn observe(&mut self, observation: &[f32]) {
        let (state, pictures) = observation.split_at(self.state_dim);
        self.state.observe(state);
        if let Some(tokens) = &mut self.tokens {
            pictures
                .chunks_exact(self.token_dim)
                .for_each(|token| tokens.observe(token));
        }
    }

    fn refresh(&mut self) {
        self.state.refresh();
        if let Some(tokens) = &mut self.tokens {
            tokens.refresh();
        }
    }

    /// A batch of observations as the network sees them.
    fn sight<'o>(
        &self,
        observations: impl Iterator<Item = &'o [f32]>,
        device: &burn::tensor::Device,
    ) -> Sight {
        let (mut states, mut grids, mut batch) = (Vec::new(), Vec::new(), 0);
        for observation in observations {
            let (state, pictures) = observation.split_at(self.state_dim);
            self.state.append(state, &mut states);
            if let Some(tokens) = &self.tokens {
                for token in pictures.chunks_exact(self.token_dim) {
                    tokens.append(token, &mut grids);
                }
            }
            batch += 1;
        }
        let count = grids.len() / (batch * self.token_dim).max(1);
        Sight {
            state: tensor(states, [batch, self.state_dim], device),
            tokens: self
                .tokens
                .is_some()
                .then(|| tensor(grids, [batch, count, self.token_dim], device)),
        }
    }

    /// Appends an action in units of the deviations.
    fn append_action(&self, action: &[f32], target: &mut Vec<f32>) {
        let scales = self.action_mean.iter().zip(&self.action_std);
        target.extend(
            action
                .iter()
                .zip(scales)
                .map(|(a, (mean, std))| (a - mean) / std),
        );
    }

    /// From units of the deviations to actions, `[n, action_dim]`.
    fn restore_actions(&self, values: &mut [f32]) {
        for action in values.chunks_exact_mut(self.action_mean.len()) {
            let scales = self.action_mean.iter().zip(&self.action_std);
            for (value, (mean, std)) in action.iter_mut().zip(scales) {
                *value = (*value * std + mean).clamp(-1.0, 1.0);
            }
        }
    }

    fn save(&self, state: &mut StateDict) {
        self.state.save_as("state", state);
        if let Some(tokens) = &self.tokens {
            tokens.save_as("tokens", state);
        }
        let dim = [self.action_mean.len()];
        state.f32("action.mean", &dim, &self.action_mean);
        state.f32("action.std", &dim, &self.action_std);
    }

    fn load(&mut self, state: &StateReader) -> Result<(), PolicyError> {
        self.state.load_as("state", state)?;
        if let Some(tokens) = &mut self.tokens {
            tokens.load_as("tokens", state)?;
        }
        state.read_f32("action.mean", &mut self.action_mean)?;
        state.read_f32("action.std", &mut self.action_std)
    }
}

impl Act {
    fn new(spec: &PolicySpec, config: &ActConfig, seed: u64) -> Result<Self, PolicyError> {
        spec.validate()?;
        config.validate()?;
        if i64::try_from(seed).is_err() {
            return Err(PolicyError::Other("the seed must be below 2^63".into()));
        }
        let scales = Scales::new(spec, config)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (state, actions) = (scales.state_dim, spec.action_dim);
        let decay = match config.execution {
            Execution::Ensemble { decay } => decay,
            Execution::Queue { .. } => 0.0,
        };
        Ok(Self {
            network: Network::new(config, state, actions, &mut rng, &acting_device()),
            scales,
            ensemble: Ensemble::new(decay, spec.action_dim),
            queue: VecDeque::new(),
            spec: spec.clone(),
            config: config.clone(),
            seed,
            updates: 0,
            rng,
        })
    }

    /// What it sees and does.
    pub fn spec(&self) -> &PolicySpec {
        &self.spec
    }

    /// The settings it was trained with.
    pub fn config(&self) -> &ActConfig {
        &self.config
    }

    /// The next `chunk` actions in `-1..=1`, `[chunk, action_dim]`, for an observation `[obs_dim]`: for whoever executes
    /// chunks in a way of their own. Changes nothing here.
    pub fn predict(&self, observation: &[f32]) -> Result<Vec<f32>, PolicyError> {
        self.spec.check_observation(observation, self.updates)?;
        let sight = self
            .scales
            .sight(std::iter::once(observation), &acting_device());
        let mut chunk = values(self.network.decode(&sight, None, &mut Dropout::none()))?;
        if let Some(at) = chunk.iter().position(|v| !v.is_finite()) {
            return Err(PolicyError::NotFinite {
                tensor: format!("chunk[{at}]"),
                update: self.updates,
            });
        }
        self.scales.restore_actions(&mut chunk);
        Ok(chunk)
    }
}

impl Policy for Act {
    fn observation_dim(&self) -> usize {
        self.spec.observation_dim
    }

    fn action_dim(&self) -> usize {
        self.spec.action_dim
    }

    /// The same in both modes: the style is zero.
    fn act(&mut self, observation: &[f32], _: Mode) -> Result<Vec<f32>, PolicyError> {
        match self.config.execution {
            Execution::Ensemble { .. } => {
                let chunk = self.predict(observation)?;
                Ok(self.ensemble.step(chunk))
            }
            Execution::Queue { execute } => {
                self.spec.check_observation(observation, self.updates)?;
                if self.queue.is_empty() {
                    let chunk = self.predict(observation)?;
                    let actions = chunk.chunks_exact(self.spec.action_dim).take(execute);
                    self.queue.extend(actions.map(<[f32]>::to_vec));
                }
                Ok(self
                    .queue
                    .pop_front()
                    .expect("a chunk has at least one action"))
            }
        }
    }

    fn reset(&mut self) {
        self.queue.clear();
        self.ensemble.clear();
    }

    fn chunk_len(&self) -> usize {
        self.config.chunk
    }

    fn chunk(&mut self, recent: &[&[f32]]) -> Result<Vec<f32>, PolicyError> {
        self.predict(newest(recent)?)
    }
}
