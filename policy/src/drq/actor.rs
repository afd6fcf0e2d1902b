//! [`DrqPolicy`]: from the newest pictures to an action.

use std::collections::VecDeque;
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::DrqConfig;
use super::frames::{append_stack, bytes};
use super::trunk::{Trunk, TrunkTape};
use crate::checkpoint::{Manifest, PolicySpec};
use crate::gaussian;
use crate::off_policy::join;
use crate::policy::{Mode, Policy, PolicyError, finite};
use crate::small::both::Threads;
use crate::small::conv::{ConvTape, Convolutions};
use crate::small::mlp::{HiddenNorm, Mlp, Tape};
use crate::state::{StateDict, StateReader};

/// `tanh(network(trunk(encoder(pictures)), own))`; exploring, with Gaussian noise, cut off at `-1..=1`.
#[derive(Clone, Debug)]
pub struct DrqPolicy {
    pub(super) spec: PolicySpec,
    pub(super) config: DrqConfig,
    pub(super) encoder: Convolutions,
    pub(super) trunk: Trunk,
    pub(super) network: Mlp,
    pub(super) rng: ChaCha8Rng,
    /// Standard deviation of the noise.
    pub(super) noise: f32,
    /// Newest pictures of the episode, oldest first.
    recent: VecDeque<Vec<u8>>,
    tapes: (ConvTape, TrunkTape, Tape),
    input: Vec<f32>,
    joined: Vec<f32>,
}

impl DrqPolicy {
    pub(crate) const KIND: &str = "drq";

    pub(super) fn new(
        spec: &PolicySpec,
        config: &DrqConfig,
        seed: u64,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self, PolicyError> {
        let sizes = [config.side, 3 * config.stack];
        let encoder = Convolutions::new(sizes, [config.convolutions, config.channels], rng)
            .ok_or_else(|| PolicyError::Other("drq: the pictures are too small".into()))?;
        let trunk = Trunk::new(encoder.outputs(), config.features, rng);
        let inputs = config.features + config.own;
        let network = Mlp::new(
            inputs,
            &config.hidden,
            spec.action_dim,
            HiddenNorm::None,
            rng,
        );
        let mut acting = ChaCha8Rng::seed_from_u64(seed);
        acting.set_stream(1);
        Ok(Self {
            spec: spec.clone(),
            encoder,
            trunk,
            network,
            rng: acting,
            noise: config.noise_at(0),
            recent: VecDeque::new(),
            tapes: (
                ConvTape::default(),
                TrunkTape::default(),
                Tape::new(Threads::Two),
            ),
            input: Vec::new(),
            joined: Vec::new(),
            config: config.clone(),
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
        self.encoder.save("encoder", state);
        self.trunk.save("actor.trunk", state);
        self.network.save("actor", state);
        state.f32("acting.noise", &[1], &[self.noise]);
        state.rng("acting.rng", &self.rng);
    }

    pub(crate) fn load(manifest: &Manifest, dir: &Path) -> Result<Self, PolicyError> {
        let config: DrqConfig = manifest.config(dir)?;
        config.validate(&manifest.spec)?;
        let mut rng = ChaCha8Rng::seed_from_u64(manifest.seed);
        let mut policy = Self::new(&manifest.spec, &config, manifest.seed, &mut rng)?;
        let (path, bytes) = manifest.part(dir, "policy")?;
        let state = StateReader::new(&path, &bytes)?;
        policy.encoder.load("encoder", &state)?;
        policy.trunk.load("actor.trunk", &state)?;
        policy.network.load("actor", &state)?;
        let mut noise = [0.0];
        state.read_f32("acting.noise", &mut noise)?;
        policy.noise = noise[0];
        policy.rng = state.rng("acting.rng")?;
        Ok(policy)
    }
}

impl Policy for DrqPolicy {
    fn observation_dim(&self) -> usize {
        self.spec.observation_dim
    }

    fn action_dim(&self) -> usize {
        self.spec.action_dim
    }

    fn act(&mut self, observation: &[f32], mode: Mode) -> Result<Vec<f32>, PolicyError> {
        self.spec.check_observation(observation, 0)?;
        let (own, picture) = observation.split_at(self.config.own);
        self.recent.push_back(bytes(picture).collect());
        while self.recent.len() > self.config.stack {
            self.recent.pop_front();
        }
        let missing = self.config.stack - self.recent.len();
        let first = self.recent.iter().take(1).cycle().take(missing);
        let stack: Vec<&[u8]> = first.chain(&self.recent).map(Vec::as_slice).collect();
        self.input.clear();
        append_stack(&stack, self.config.side, [0, 0], &mut self.input);
        let (conv, trunk, tape) = &mut self.tapes;
        self.encoder.forward(&self.input, conv);
        self.trunk.forward(conv.output(), trunk);
        join(
            &trunk.output,
            self.config.features,
            own,
            self.config.own,
            &mut self.joined,
        );
        self.network.forward(&self.joined, tape);
        let mut action: Vec<f32> = tape.output().iter().map(|u| u.tanh()).collect();
        if mode == Mode::Explore {
            let mut noise = vec![0.0; action.len()];
            gaussian::fill_normal(&mut noise, &mut self.rng);
            for (a, noise) in action.iter_mut().zip(&noise) {
                *a = (*a + self.noise * noise).clamp(-1.0, 1.0);
            }
        }
        finite(action)
    }

    fn reset(&mut self) {
        self.recent.clear();
    }
}
