//! [`DeterministicPolicy`]: one action for each observation, and noise of a fixed size to explore.

use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::Td3Config;
use crate::checkpoint::{Manifest, PolicySpec};
use crate::gaussian;
use crate::normaliser::Normaliser;
use crate::policy::{Mode, Policy, PolicyError, finite};
use crate::small::mlp::{HiddenNorm, Mlp, Row};
use crate::state::{StateDict, StateReader};

/// The actor of TD3: `tanh(network(observation))`; exploring, with Gaussian noise, cut off at `-1..=1`.
#[derive(Clone, Debug)]
pub struct DeterministicPolicy {
    pub(super) spec: PolicySpec,
    pub(super) network: Mlp,
    pub(super) normaliser: Normaliser,
    pub(super) rng: ChaCha8Rng,
    exploration_noise: f32,
    row: Row,
    scaled: Vec<f32>,
    noise: Vec<f32>,
}

impl DeterministicPolicy {
    pub(crate) const KIND: &str = "td3";

    /// Fresh weights from `rng`; the noise of acting comes from a stream of its own, so that evaluation in between does not
    /// change training.
    pub(super) fn new(
        spec: &PolicySpec,
        config: &Td3Config,
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
            normaliser: Normaliser::new(spec.observation_dim, config.observation_scaling.clone())?,
            rng: acting,
            exploration_noise: config.exploration_noise as f32,
            row: Row::default(),
            scaled: Vec::new(),
            noise: vec![0.0; spec.action_dim],
            spec: spec.clone(),
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
        self.normaliser.save(state);
        state.rng("acting.rng", &self.rng);
    }

    pub(crate) fn load(manifest: &Manifest, dir: &Path) -> Result<Self, PolicyError> {
        let config: Td3Config = manifest.config(dir)?;
        config.validate()?;
        let mut rng = ChaCha8Rng::seed_from_u64(manifest.seed);
        let mut policy = Self::new(&manifest.spec, &config, manifest.seed, &mut rng)?;
        let (path, bytes) = manifest.part(dir, "policy")?;
        let state = StateReader::new(&path, &bytes)?;
        policy.network.load("actor", &state)?;
        policy.normaliser.load(&state)?;
        policy.rng = state.rng("acting.rng")?;
        Ok(policy)
    }
}

impl Policy for DeterministicPolicy {
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
            gaussian::fill_normal(&mut self.noise, &mut self.rng);
            for (a, noise) in action.iter_mut().zip(&self.noise) {
                *a = (*a + self.exploration_noise * noise).clamp(-1.0, 1.0);
            }
        }
        finite(action)
    }
}
