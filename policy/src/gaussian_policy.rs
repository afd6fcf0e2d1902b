//! [`GaussianPolicy`]: a network that gives a tanh-squashed Gaussian over actions, for acting.

use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::checkpoint::{Manifest, PolicySpec};
use crate::gaussian::{self, LogStdRange};
use crate::normaliser::{Normaliser, ObservationScaling};
use crate::policy::{Mode, Policy, PolicyError, finite};
use crate::small::mlp::{HiddenNorm, Mlp, Row};
use crate::state::{StateDict, StateReader};

/// What such a policy is made of.
#[derive(Clone, Debug)]
pub(crate) struct GaussianShape {
    /// Widths of the hidden layers.
    pub(crate) hidden: Vec<usize>,
    /// Smallest and largest `ln std`.
    pub(crate) log_std_range: [f64; 2],
    /// How observations are scaled.
    pub(crate) observation_scaling: ObservationScaling,
}

/// The actor of soft actor-critic: acts in a few microseconds, without allocation but for the action.
#[derive(Clone, Debug)]
pub struct GaussianPolicy {
    pub(crate) spec: PolicySpec,
    pub(crate) network: Mlp,
    pub(crate) normaliser: Normaliser,
    pub(crate) log_std_range: LogStdRange,
    pub(crate) rng: ChaCha8Rng,
    row: Row,
    scaled: Vec<f32>,
    noise: Vec<f32>,
}

impl GaussianPolicy {
    /// Fresh weights from `rng`; the noise of acting comes from a stream of its own, so that evaluation in between does not
    /// change training.
    pub(crate) fn new(
        spec: &PolicySpec,
        shape: &GaussianShape,
        seed: u64,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self, PolicyError> {
        let network = Mlp::new(
            spec.observation_dim,
            &shape.hidden,
            2 * spec.action_dim,
            HiddenNorm::None,
            rng,
        );
        let mut acting = ChaCha8Rng::seed_from_u64(seed);
        acting.set_stream(1);
        Ok(Self {
            spec: spec.clone(),
            network,
            normaliser: Normaliser::new(spec.observation_dim, shape.observation_scaling.clone())?,
            log_std_range: shape.log_std_range.map(|x| x as f32),
            rng: acting,
            row: Row::default(),
            scaled: Vec::new(),
            noise: vec![0.0; spec.action_dim],
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

    /// `ln p(action | observation)`; an action on the border of `-1..=1` counts as just inside it.
    pub fn log_prob(&mut self, observation: &[f32], action: &[f32]) -> Result<f32, PolicyError> {
        self.spec.check_observation(observation, 0)?;
        if action.len() != self.spec.action_dim {
            return Err(PolicyError::Other(format!(
                "the action has {} numbers, the policy has {}",
                action.len(),
                self.spec.action_dim
            )));
        }
        self.scaled.clear();
        self.normaliser.append(observation, &mut self.scaled);
        let head = self.network.infer(&self.scaled, &mut self.row);
        Ok(gaussian::log_prob(head, action, self.log_std_range))
    }

    pub(crate) fn save(&self, state: &mut StateDict) {
        self.network.save("actor", state);
        self.normaliser.save(state);
        state.rng("acting.rng", &self.rng);
    }

    pub(crate) fn load(
        manifest: &Manifest,
        dir: &Path,
        shape: &GaussianShape,
    ) -> Result<Self, PolicyError> {
        let mut rng = ChaCha8Rng::seed_from_u64(manifest.seed);
        let mut policy = Self::new(&manifest.spec, shape, manifest.seed, &mut rng)?;
        let (path, bytes) = manifest.part(dir, "policy")?;
        let state = StateReader::new(&path, &bytes)?;
        policy.network.load("actor", &state)?;
        policy.normaliser.load(&state)?;
        policy.rng = state.rng("acting.rng")?;
        Ok(policy)
    }
}

impl Policy for GaussianPolicy {
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
        let (means, spreads) = head.split_at(self.spec.action_dim);
        let mut action = means.to_vec();
        if mode == Mode::Explore {
            gaussian::fill_normal(&mut self.noise, &mut self.rng);
            for ((u, &s), noise) in action.iter_mut().zip(spreads).zip(&self.noise) {
                *u += gaussian::log_std(s, self.log_std_range).0.exp() * noise;
            }
        }
        for u in &mut action {
            *u = u.tanh();
        }
        finite(action)
    }
}
