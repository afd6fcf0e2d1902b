//! [`ClippedGaussianPolicy`]: a Gaussian around a mean in `-1..=1` with one standard deviation for all states.

use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::checkpoint::{Manifest, PolicySpec};
use crate::gaussian;
use crate::normaliser::{Normaliser, ObservationScaling};
use crate::policy::{Mode, Policy, PolicyError, finite};
use crate::small::mlp::{HiddenNorm, Mlp, Row};
use crate::state::{StateDict, StateReader};

/// The actor of implicit Q-learning and of proximal policy optimisation: `N(tanh(network(s)), std)`, draws cut off at `-1..=1`.
#[derive(Clone, Debug)]
pub struct ClippedGaussianPolicy {
    pub(crate) spec: PolicySpec,
    pub(crate) network: Mlp,
    /// `[action_dim]`.
    pub(crate) log_std: Vec<f32>,
    pub(crate) normaliser: Normaliser,
    rng: ChaCha8Rng,
    row: Row,
    scaled: Vec<f32>,
}

impl ClippedGaussianPolicy {
    pub(crate) fn new(
        spec: &PolicySpec,
        (hidden, scaling): (&[usize], &ObservationScaling),
        seed: u64,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self, PolicyError> {
        let mut acting = ChaCha8Rng::seed_from_u64(seed);
        acting.set_stream(1);
        Ok(Self {
            network: Mlp::new(
                spec.observation_dim,
                hidden,
                spec.action_dim,
                HiddenNorm::None,
                rng,
            ),
            log_std: vec![0.0; spec.action_dim],
            normaliser: Normaliser::new(spec.observation_dim, scaling.clone())?,
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

    pub(crate) fn save(&self, state: &mut StateDict) {
        self.network.save("actor", state);
        state.f32("actor.log_std", &[self.log_std.len()], &self.log_std);
        self.normaliser.save(state);
        state.rng("acting.rng", &self.rng);
    }

    pub(crate) fn load(
        manifest: &Manifest,
        dir: &Path,
        shape: (&[usize], &ObservationScaling),
    ) -> Result<Self, PolicyError> {
        let mut rng = ChaCha8Rng::seed_from_u64(manifest.seed);
        let mut policy = Self::new(&manifest.spec, shape, manifest.seed, &mut rng)?;
        let (path, bytes) = manifest.part(dir, "policy")?;
        let state = StateReader::new(&path, &bytes)?;
        policy.network.load("actor", &state)?;
        state.read_f32("actor.log_std", &mut policy.log_std)?;
        policy.normaliser.load(&state)?;
        policy.rng = state.rng("acting.rng")?;
        Ok(policy)
    }
}

impl Policy for ClippedGaussianPolicy {
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
        finite(action)
    }
}
