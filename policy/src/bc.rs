//! Behaviour cloning: a network that does what the demonstrations did.

use std::collections::VecDeque;
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Manifest, PolicySpec};
use crate::gaussian;
use crate::normaliser::{Normaliser, ObservationScaling};
use crate::policy::{Mode, Policy, PolicyError, newest};
use crate::small::adam::AdamConfig;
use crate::small::mlp::{HiddenNorm, Mlp, Row};
use crate::state::{StateDict, StateReader};

mod masked;
mod mixture;
mod training;

pub use masked::MaskedView;
pub use training::BcReport;

/// What is minimised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BcLoss {
    /// Mean squared error.
    #[default]
    Mse,
    /// Negative log-likelihood of a Gaussian whose standard deviation is learned too.
    GaussianNll,
    /// Negative log-likelihood of a mixture of Gaussians over the chunk: several ways of doing the same.
    Mixture {
        /// How many; robomimic has 5.
        components: usize,
    },
}

/// Settings of [`Bc`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BcConfig {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Normalisation in the hidden layers.
    pub norm: HiddenNorm,
    /// What is minimised.
    pub loss: BcLoss,
    /// Reward actions that depend on the picture; for [`BcLoss::GaussianNll`].
    pub masked_view: Option<MaskedView>,
    /// Actions predicted at once.
    pub chunk: usize,
    /// Of those, how many are executed before the next look, `1..=chunk`.
    pub execute: usize,
    /// Steps per minibatch.
    pub batch: usize,
    /// Most passes over the data.
    pub epochs: u64,
    /// Share of the episodes held out, whole, to tell when to stop. With one episode nothing is held out.
    pub validation_share: f64,
    /// Passes without a better validation loss before stopping.
    pub patience: u64,
    /// How observations are scaled; `running` takes mean and deviation of the training episodes.
    pub observation_scaling: ObservationScaling,
    /// Optimiser.
    pub adam: AdamConfig,
}

impl Default for BcConfig {
    fn default() -> Self {
        Self {
            hidden: vec![256, 256],
            norm: HiddenNorm::None,
            loss: BcLoss::Mse,
            masked_view: None,
            chunk: 1,
            execute: 1,
            batch: 128,
            epochs: 300,
            validation_share: 0.1,
            patience: 30,
            observation_scaling: ObservationScaling::Running,
            adam: AdamConfig {
                learning_rate: 1e-3,
                ..AdamConfig::default()
            },
        }
    }
}

impl BcConfig {
    /// Says what is wrong with these settings, if anything.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let faults = [
            (self.hidden.contains(&0), "hidden widths must be above 0"),
            (self.chunk == 0, "chunk must be above 0"),
            (
                !(1..=self.chunk).contains(&self.execute),
                "execute must be in 1..=chunk",
            ),
            (self.batch == 0, "batch must be above 0"),
            (self.epochs == 0, "epochs must be above 0"),
            (
                !(0.0..1.0).contains(&self.validation_share),
                "validation_share must be in 0..1",
            ),
            (self.patience == 0, "patience must be above 0"),
            (
                self.masked_view.is_some() && self.loss != BcLoss::GaussianNll,
                "masked_view needs the loss gaussian_nll",
            ),
            (
                matches!(self.loss, BcLoss::Mixture { components: 0 }),
                "a mixture has at least one component",
            ),
        ];
        if let Some((_, fault)) = faults.into_iter().find(|(wrong, _)| *wrong) {
            return Err(PolicyError::Other(format!("bc: {fault}")));
        }
        self.adam.validate("adam")
    }
}

/// Smallest and largest `ln std`, in units of the actions' standard deviation.
const LOG_STD_RANGE: [f32; 2] = [-5.0, 2.0];

/// A cloned behaviour.
#[derive(Clone, Debug)]
pub struct Bc {
    spec: PolicySpec,
    config: BcConfig,
    seed: u64,
    updates: u64,
    network: Mlp,
    normaliser: Normaliser,
    /// Mean and standard deviation of the demonstrated actions, `[action_dim]`.
    action_mean: Vec<f32>,
    action_std: Vec<f32>,
    rng: ChaCha8Rng,
    /// Actions of the newest chunk that are still to be executed.
    queue: VecDeque<Vec<f32>>,
    scaled: Vec<f32>,
    row: Row,
}

impl Bc {
    pub(crate) const KIND: &str = "bc";

    fn new(spec: &PolicySpec, config: &BcConfig, seed: u64) -> Result<Self, PolicyError> {
        spec.validate()?;
        config.validate()?;
        let fault = config
            .masked_view
            .and_then(|view| view.fault(spec.observation_dim));
        if let Some(fault) = fault {
            return Err(PolicyError::Other(format!("bc: {fault}")));
        }
        if i64::try_from(seed).is_err() {
            return Err(PolicyError::Other("the seed must be below 2^63".into()));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let means = spec.action_dim * config.chunk;
        let outputs = match config.loss {
            BcLoss::Mse => means,
            BcLoss::GaussianNll => 2 * means,
            BcLoss::Mixture { components } => mixture::outputs(components, means),
        };
        Ok(Self {
            network: Mlp::new(
                spec.observation_dim,
                &config.hidden,
                outputs,
                config.norm,
                &mut rng,
            ),
            normaliser: Normaliser::new(spec.observation_dim, config.observation_scaling.clone())?,
            action_mean: vec![0.0; spec.action_dim],
            action_std: vec![1.0; spec.action_dim],
            spec: spec.clone(),
            config: config.clone(),
            seed,
            updates: 0,
            rng,
            queue: VecDeque::new(),
            scaled: Vec::new(),
            row: Row::default(),
        })
    }

    /// What it sees and does.
    pub fn spec(&self) -> &PolicySpec {
        &self.spec
    }

    /// The settings it was trained with.
    pub fn config(&self) -> &BcConfig {
        &self.config
    }

    /// Writes the policy: `policy.toml` and one tensor file. Atomic.
    pub fn save(&self, dir: &Path) -> Result<(), PolicyError> {
        self.write(dir, [])
    }

    /// Writes the policy with more parts beside it.
    pub(crate) fn write<const N: usize>(
        &self,
        dir: &Path,
        more: [(&'static str, Vec<u8>); N],
    ) -> Result<(), PolicyError> {
        let mut state = StateDict::default();
        self.network.save("network", &mut state);
        self.normaliser.save(&mut state);
        let dim = [self.spec.action_dim];
        state.f32("action.mean", &dim, &self.action_mean);
        state.f32("action.std", &dim, &self.action_std);
        state.rng("rng", &self.rng);
        let policy = ("policy", state.to_bytes(self.updates)?);
        Manifest::new(
            Self::KIND,
            &self.spec,
            &self.config,
            self.seed,
            self.updates,
        )?
        .write(dir, std::iter::once(policy).chain(more))
    }

    pub(crate) fn load(manifest: &Manifest, dir: &Path) -> Result<Self, PolicyError> {
        let mut bc = Self::new(&manifest.spec, &manifest.config(dir)?, manifest.seed)?;
        let (path, bytes) = manifest.part(dir, "policy")?;
        let state = StateReader::new(&path, &bytes)?;
        bc.network.load("network", &state)?;
        bc.normaliser.load(&state)?;
        state.read_f32("action.mean", &mut bc.action_mean)?;
        state.read_f32("action.std", &mut bc.action_std)?;
        bc.rng = state.rng("rng")?;
        bc.updates = manifest.step;
        Ok(bc)
    }
}

impl Policy for Bc {
    fn observation_dim(&self) -> usize {
        self.spec.observation_dim
    }

    fn action_dim(&self) -> usize {
        self.spec.action_dim
    }

    /// With chunks the observation is looked at only when the newest chunk is used up. [`Mode::Explore`] draws from the
    /// Gaussian or the mixture where there is one; [`Mode::Exploit`] takes the mean, of the most likely component.
    fn act(&mut self, observation: &[f32], mode: Mode) -> Result<Vec<f32>, PolicyError> {
        self.spec.check_observation(observation, self.updates)?;
        if let Some(action) = self.queue.pop_front() {
            return Ok(action);
        }
        let chunk = self.predict(observation, mode)?;
        let actions = chunk.chunks_exact(self.spec.action_dim);
        self.queue
            .extend(actions.take(self.config.execute).map(<[f32]>::to_vec));
        Ok(self
            .queue
            .pop_front()
            .expect("a chunk has at least one action"))
    }

    fn reset(&mut self) {
        self.queue.clear();
    }

    fn chunk_len(&self) -> usize {
        self.config.chunk
    }

    fn chunk(&mut self, recent: &[&[f32]]) -> Result<Vec<f32>, PolicyError> {
        self.predict(newest(recent)?, Mode::Exploit)
    }
}

impl Bc {
    /// The next actions, `[chunk, action_dim]`.
    fn predict(&mut self, observation: &[f32], mode: Mode) -> Result<Vec<f32>, PolicyError> {
        self.spec.check_observation(observation, self.updates)?;
        self.scaled.clear();
        self.normaliser.append(observation, &mut self.scaled);
        let head = self.network.infer(&self.scaled, &mut self.row);
        let numbers = self.spec.action_dim * self.config.chunk;
        let mut values = if let BcLoss::Mixture { components } = self.config.loss {
            mixture::act(head, components, numbers, mode, &mut self.rng)
        } else {
            let (means, spreads) = head.split_at(numbers);
            let mut values = means.to_vec();
            if mode == Mode::Explore && !spreads.is_empty() {
                let mut noise = vec![0.0; values.len()];
                gaussian::fill_normal(&mut noise, &mut self.rng);
                for ((value, &s), noise) in values.iter_mut().zip(spreads).zip(noise) {
                    *value += gaussian::log_std(s, LOG_STD_RANGE).0.exp() * noise;
                }
            }
            values
        };
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(PolicyError::NotFinite {
                tensor: format!("action[{at}]"),
                update: self.updates,
            });
        }
        for action in values.chunks_exact_mut(self.spec.action_dim) {
            let scales = self.action_std.iter().zip(&self.action_mean);
            for (value, (std, mean)) in action.iter_mut().zip(scales) {
                *value = (*value * std + mean).clamp(-1.0, 1.0);
            }
        }
        Ok(values)
    }
}
