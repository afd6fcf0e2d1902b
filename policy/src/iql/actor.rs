//! [`IqlPolicy`]: a Gaussian around a mean in `-1..=1` with one standard deviation for all states, the paper's actor.

use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::IqlConfig;
use crate::checkpoint::{Manifest, PolicySpec};
use crate::gaussian;
use crate::normaliser::Normaliser;
use crate::policy::{Mode, Policy, PolicyError};
use crate::small::mlp::{HiddenNorm, Mlp, Row};
use crate::state::{StateDict, StateReader};

/// The actor of implicit Q-learning: `N(tanh(network(s)), std)`, draws cut off at `-1..=1`.
#[derive(Clone, Debug)]
pub struct IqlPolicy {
    pub(super) spec: PolicySpec,
    pub(super) network: Mlp,
    /// `[action_dim]`.
    pub(super) log_std: Vec<f32>,
    pub(super) normaliser: Normaliser,
    rng: ChaCha8Rng,
    row: Row,
    scaled: Vec<f32>,
}

impl IqlPolicy {
    pub(crate) const KIND: &str = "iql";

    pub(super) fn new(
        spec: &PolicySpec,
        config: &IqlConfig,
        seed: u64,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self, PolicyError> {
        let mut acting = ChaCha8Rng::seed_from_u64(seed);
        acting.set_stream(1);
        Ok(Self {
            network: Mlp::new(
                spec.observation_dim,
                &config.hidden,
                spec.action_dim,
                HiddenNorm::None,
                rng,
            ),
            log_std: vec![0.0; spec.action_dim],
            normaliser: Normaliser::new(spec.observation_dim, config.observation_scaling.clone())?,
            spec: spec.clone(),
            rng: acting,
            row: Row::default(),
            scaled: Vec::new(),
        })
    }

    /// What it sees and does.
    pub fn spec(&self) -> &PolicySpec {
        &self.spec
    }

    /// Starts the noise of [`Mode::Explore`] anew.
    pub fn reseed(&mut self, seed: u64) {
        self.rng = ChaCha8Rng::seed_from_u64(seed);
        self.rng.set_stream(1);
    }

    pub(super) fn save(&self, state: &mut StateDict) {
        self.network.save("actor", state);
        state.f32("actor.log_std", &[self.log_std.len()], &self.log_std);
        self.normaliser.save(state);
        state.rng("acting.rng", &self.rng);
    }

    pub(crate) fn load(manifest: &Manifest, dir: &Path) -> Result<Self, PolicyError> {
        let config: IqlConfig = manifest.config(dir)?;
        config.validate()?;
        let mut rng = ChaCha8Rng::seed_from_u64(manifest.seed);
        let mut policy = Self::new(&manifest.spec, &config, manifest.seed, &mut rng)?;
        let (path, bytes) = manifest.part(dir, "policy")?;
        let state = StateReader::new(&path, &bytes)?;
        policy.network.load("actor", &state)?;
        state.read_f32("actor.log_std", &mut policy.log_std)?;
        policy.normaliser.load(&state)?;
        policy.rng = state.rng("acting.rng")?;
        Ok(policy)
    }
}

impl Policy for IqlPolicy {
    fn observation_dim(&self) -> usize {
        self.spec.observation_dim
    }

    fn action_dim(&self) -> usize {
        self.spec.action_dim
    }

    fn act(&mut self, observation: &[f32], mode: Mode) -> Result<Vec<f32>, PolicyError> {
        self.spec.check_observation(observation, 0)?;
        self.scaled.clear();
        self.normaliser.append(observation, &mut self.scaled);
        let head = self.network.infer(&self.scaled, &mut self.row);
        let mut action: Vec<f32> = head.iter().map(|h| h.tanh()).collect();
        if mode == Mode::Explore {
            let mut noise = vec![0.0; action.len()];
            gaussian::fill_normal(&mut noise, &mut self.rng);
            for ((a, noise), log_std) in action.iter_mut().zip(noise).zip(&self.log_std) {
                *a = (*a + log_std.exp() * noise).clamp(-1.0, 1.0);
            }
        }
        match action.iter().position(|a| !a.is_finite()) {
            None => Ok(action),
            Some(at) => Err(PolicyError::NotFinite {
                tensor: format!("action[{at}]"),
                update: 0,
            }),
        }
    }
}
