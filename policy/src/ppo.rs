//! Proximal policy optimisation with the clipped objective (Schulman et al. 2017, arXiv:1707.06347) and generalised advantages
//! (arXiv:1506.02438).
//!
//! ```text
//! maximise  E min(r A, clip(r, 1 - eps, 1 + eps) A) + w_H H        r = pi(a|s) / pi_collected(a|s)
//! minimise  E (V(s) - (A + V_collected(s)))²
//! ```
//!
//! Departures: the mean stays inside `-1..=1` by tanh, and an action that was cut off at the border counts with the probability of all that is
//! cut off there (see `clipped_gaussian`); the entropy is that before cutting off; actor and value have optimisers of their own. One [`Learner::update`] is a whole round: every epoch over everything collected. The round is in
//! `ppo/step.rs`.

use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::checkpoint::{Manifest, PolicySpec};
use crate::clipped_gaussian::Likelihood;
use crate::clipped_gaussian_policy::ClippedGaussianPolicy;
use crate::normaliser::Normaliser;
use crate::policy::{Learner, Metrics, Mode, Policy, PolicyError, Rewarder, Transition};
use crate::replay::{Replay, check_episode};
use crate::rewarder::Asked;
use crate::small::adam::Adam;
use crate::small::both::Threads;
use crate::small::mlp::{HiddenNorm, Mlp, Tape};
use crate::state::{StateDict, StateReader};

mod advantage;
mod config;
mod step;
#[cfg(test)]
mod tests;

pub use config::PpoConfig;

use step::Round;

/// Proximal policy optimisation.
#[derive(Clone, Debug)]
pub struct Ppo {
    config: PpoConfig,
    seed: u64,
    policy: ClippedGaussianPolicy,
    actor_adam: Adam,
    log_std_adam: Adam,
    value: Mlp,
    value_adam: Adam,
    /// What the policy did since the last round.
    collected: Replay,
    /// Counts what is observed; the policy's own numbers move between rounds.
    seen: Normaliser,
    rewarder: Option<Asked>,
    steps: u64,
    episodes: u64,
    updates: u64,
    rng: ChaCha8Rng,
    round: Round,
    actor_tape: Tape,
    value_tape: Tape,
    observations: Vec<f32>,
    head_gradient: Vec<f32>,
    found: Vec<Likelihood>,
    actor_gradient: Vec<f32>,
    value_gradient: Vec<f32>,
}

impl Ppo {
    pub(crate) const KIND: &str = "ppo";

    /// A fresh learner. The same seed, configuration and experience give the same bits.
    pub fn new(spec: PolicySpec, config: PpoConfig, seed: u64) -> Result<Self, PolicyError> {
        spec.validate()?;
        config.validate()?;
        if i64::try_from(seed).is_err() {
            return Err(PolicyError::Other("the seed must be below 2^63".into()));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut policy = ClippedGaussianPolicy::new(&spec, config.actor(), seed, &mut rng)?;
        let [low, high] = config.log_std_range.map(|x| x as f32);
        policy.log_std.fill(0.0f32.clamp(low, high));
        let value = Mlp::new(
            spec.observation_dim,
            &config.hidden,
            1,
            HiddenNorm::None,
            &mut rng,
        );
        let (actor, critic) = (policy.network.parameters.len(), value.parameters.len());
        Ok(Self {
            seed,
            actor_adam: Adam::new(config.actor_adam.clone(), actor),
            log_std_adam: Adam::new(config.actor_adam.clone(), spec.action_dim),
            value_adam: Adam::new(config.value_adam.clone(), critic),
            value,
            collected: Self::memory(&spec),
            seen: policy.normaliser.clone(),
            rewarder: None,
            steps: 0,
            episodes: 0,
            updates: 0,
            rng,
            round: Round::default(),
            actor_tape: Tape::new(Threads::Two),
            value_tape: Tape::new(Threads::Two),
            observations: Vec::new(),
            head_gradient: Vec::new(),
            found: Vec::new(),
            actor_gradient: vec![0.0; actor],
            value_gradient: vec![0.0; critic],
            policy,
            config,
        })
    }

    /// The settings.
    pub fn config(&self) -> &PpoConfig {
        &self.config
    }

    /// A copy of the actor, for evaluation or for other threads.
    pub fn policy(&self) -> ClippedGaussianPolicy {
        self.policy.clone()
    }

    /// Nothing is ever pushed out: a round forgets everything.
    fn memory(spec: &PolicySpec) -> Replay {
        Replay::new(usize::MAX, spec.observation_dim, spec.action_dim)
    }

    /// Everything needed to go on exactly, from a directory that [`Learner::save`] wrote.
    pub fn resume(dir: &Path) -> Result<Self, PolicyError> {
        let manifest = Manifest::read_kind(dir, Self::KIND)?;
        let config: PpoConfig = manifest.config(dir)?;
        let mut ppo = Self::new(manifest.spec.clone(), config, manifest.seed)?;
        let (path, bytes) = manifest.part(dir, "learner")?;
        let state = StateReader::new(&path, &bytes)?;
        ppo.value.load("value", &state)?;
        ppo.actor_adam.load("actor.adam", &state)?;
        ppo.log_std_adam.load("actor.log_std.adam", &state)?;
        ppo.value_adam.load("value.adam", &state)?;
        ppo.seen.load(&state)?;
        ppo.rng = state.rng("rng")?;
        [ppo.steps, ppo.episodes, ppo.updates] = state.u64("counters")?;
        let (path, bytes) = manifest.part(dir, "replay")?;
        ppo.collected.load(&StateReader::new(&path, &bytes)?)?;
        ppo.policy = Self::load_policy(&manifest, dir)?;
        Ok(ppo)
    }

    /// What acts, from such a directory or from one that holds no more.
    pub(crate) fn load_policy(
        manifest: &Manifest,
        dir: &Path,
    ) -> Result<ClippedGaussianPolicy, PolicyError> {
        let config: PpoConfig = manifest.config(dir)?;
        config.validate()?;
        ClippedGaussianPolicy::load(manifest, dir, config.actor())
    }

    fn manifest(&self) -> Result<Manifest, PolicyError> {
        Manifest::new(
            Self::KIND,
            &self.policy.spec,
            &self.config,
            self.seed,
            self.updates,
        )
    }

    fn policy_bytes(&self) -> Result<Vec<u8>, PolicyError> {
        let mut state = StateDict::default();
        self.policy.save(&mut state);
        state.to_bytes(self.updates)
    }
}

impl Policy for Ppo {
    fn observation_dim(&self) -> usize {
        self.policy.spec.observation_dim
    }

    fn action_dim(&self) -> usize {
        self.policy.spec.action_dim
    }

    fn act(&mut self, observation: &[f32], mode: Mode) -> Result<Vec<f32>, PolicyError> {
        self.policy.act(observation, mode)
    }
}

impl Learner for Ppo {
    fn spec(&self) -> &PolicySpec {
        &self.policy.spec
    }

    fn observe(&mut self, steps: &[Transition]) -> Result<(), PolicyError> {
        let spec = &self.policy.spec;
        check_episode(steps, spec.observation_dim, spec.action_dim, self.updates)?;
        self.collected.push(steps)?;
        for step in steps {
            self.seen.observe(&step.observation);
        }
        self.steps += steps.len() as u64;
        self.episodes += u64::from(steps.last().is_some_and(|s| s.terminated || s.truncated));
        Ok(())
    }

    fn observe_demonstration(&mut self, _: &[Transition]) -> Result<(), PolicyError> {
        Err(PolicyError::Other(
            "ppo learns from what it did itself and cannot use demonstrations; use sac or td3, or imitate first".into(),
        ))
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn episodes(&self) -> u64 {
        self.episodes
    }

    fn updates(&self) -> u64 {
        self.updates
    }

    /// One, a round, once enough is collected.
    fn updates_due(&self) -> u64 {
        u64::from(self.collected.len() >= self.config.horizon)
    }

    fn update(&mut self) -> Result<Metrics, PolicyError> {
        self.round()
    }

    fn actor(&self) -> Box<dyn Policy> {
        Box::new(self.policy())
    }

    fn explorer(&self, seed: u64) -> Box<dyn Policy> {
        let mut policy = self.policy();
        policy.reseed(seed);
        Box::new(policy)
    }

    fn set_rewarder(&mut self, rewarder: Rewarder) -> Result<(), PolicyError> {
        self.rewarder = Some(Asked(rewarder));
        Ok(())
    }

    fn save(&self, dir: &Path) -> Result<(), PolicyError> {
        let mut learner = StateDict::default();
        self.value.save("value", &mut learner);
        self.actor_adam.save("actor.adam", &mut learner);
        self.log_std_adam.save("actor.log_std.adam", &mut learner);
        self.value_adam.save("value.adam", &mut learner);
        self.seen.save(&mut learner);
        learner.rng("rng", &self.rng);
        learner.u64("counters", &[self.steps, self.episodes, self.updates]);
        let mut collected = StateDict::default();
        self.collected.save(&mut collected);
        // All bytes before the first file: a state that is not finite must not touch the good checkpoint.
        let parts = [
            ("policy", self.policy_bytes()?),
            ("learner", learner.to_bytes(self.updates)?),
            ("replay", collected.to_bytes(self.updates)?),
        ];
        self.manifest()?.write(dir, parts)
    }

    fn save_policy(&self, dir: &Path) -> Result<(), PolicyError> {
        self.manifest()?
            .write(dir, [("policy", self.policy_bytes()?)])
    }
}
