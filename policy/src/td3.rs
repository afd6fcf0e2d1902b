//! Twin delayed deep deterministic policy gradient (Fujimoto, van Hoof and Meger 2018, arXiv:1802.09477), with demonstrations.
//!
//! Departures from the paper, each an option: layer normalisation in the critics, batches half of which are demonstrations
//! (RLPD, Ball et al. 2023), and targets over several steps. The algorithm itself is in `td3/step.rs`.

use std::path::Path;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::checkpoint::PolicySpec;
use crate::critic::TwinCritics;
use crate::off_policy::Experience;
use crate::policy::{
    Learner, Metrics, Mode, Policy, PolicyError, Rewarder, Transition, UniformPolicy,
};
use crate::replay::Replay;
use crate::small::adam::Adam;
use crate::small::both::{Threads, among};
use crate::small::mlp::{Mlp, Tape};

mod actor;
mod config;
mod saving;
mod step;
#[cfg(test)]
mod tests;

pub use actor::DeterministicPolicy;
pub use config::Td3Config;

/// Twin delayed deep deterministic policy gradient.
#[derive(Clone, Debug)]
pub struct Td3 {
    config: Td3Config,
    seed: u64,
    policy: DeterministicPolicy,
    target_actor: Mlp,
    actor_adam: Adam,
    critics: TwinCritics,
    experience: Experience,
    rng: ChaCha8Rng,
    actor_tape: Tape,
    actor_gradient: Vec<f32>,
    head_gradient: Vec<f32>,
    action_gradient: Vec<f32>,
    actions: Vec<f32>,
    noise: Vec<f32>,
    critic_inputs: Vec<f32>,
    values: Vec<f32>,
    targets: Vec<f32>,
}

impl Td3 {
    /// A fresh learner. The same seed, configuration and experience give the same bits.
    pub fn new(spec: PolicySpec, config: Td3Config, seed: u64) -> Result<Self, PolicyError> {
        spec.validate()?;
        config.validate()?;
        if i64::try_from(seed).is_err() {
            return Err(PolicyError::Other("the seed must be below 2^63".into()));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let policy = DeterministicPolicy::new(&spec, &config, seed, &mut rng)?;
        let inputs = spec.observation_dim + spec.action_dim;
        let actor_parameters = policy.network.parameters.len();
        Ok(Self {
            seed,
            target_actor: policy.network.clone(),
            actor_adam: Adam::new(config.actor_adam.clone(), actor_parameters),
            critics: TwinCritics::new(
                inputs,
                &config.hidden,
                config.critic_norm,
                &config.critic_adam,
                &mut rng,
            ),
            experience: Experience::new(&spec, config.experience()),
            rng,
            actor_tape: Tape::new(Threads::Two),
            actor_gradient: vec![0.0; actor_parameters],
            head_gradient: Vec::new(),
            action_gradient: Vec::new(),
            actions: Vec::new(),
            noise: Vec::new(),
            critic_inputs: Vec::new(),
            values: Vec::new(),
            targets: Vec::new(),
            policy,
            config,
        })
    }

    /// The settings.
    pub fn config(&self) -> &Td3Config {
        &self.config
    }

    /// Experience in the task.
    pub fn replay(&self) -> &Replay {
        &self.experience.replay
    }

    /// Demonstrations.
    pub fn demonstrations(&self) -> &Replay {
        &self.experience.demonstrations
    }

    /// A copy of the actor, for evaluation or for other threads.
    pub fn policy(&self) -> DeterministicPolicy {
        self.policy.clone()
    }
}

impl Policy for Td3 {
    fn observation_dim(&self) -> usize {
        self.policy.spec.observation_dim
    }

    fn action_dim(&self) -> usize {
        self.policy.spec.action_dim
    }

    fn act(&mut self, observation: &[f32], mode: Mode) -> Result<Vec<f32>, PolicyError> {
        if mode == Mode::Explore && self.experience.explores_at_random() {
            let spec = &self.policy.spec;
            spec.check_observation(observation, self.experience.updates)?;
            let rng = &mut self.policy.rng;
            return Ok((0..spec.action_dim)
                .map(|_| rng.random_range(-1.0..=1.0))
                .collect());
        }
        self.policy.act(observation, mode)
    }
}

impl Learner for Td3 {
    fn spec(&self) -> &PolicySpec {
        &self.policy.spec
    }

    fn observe(&mut self, steps: &[Transition]) -> Result<(), PolicyError> {
        let policy = &mut self.policy;
        self.experience
            .observe(steps, &policy.spec, &mut policy.normaliser)
    }

    /// A demonstration is never pushed out by experience.
    fn observe_demonstration(&mut self, episode: &[Transition]) -> Result<(), PolicyError> {
        let policy = &mut self.policy;
        self.experience
            .observe_demonstration(episode, &policy.spec, &mut policy.normaliser)
    }

    fn steps(&self) -> u64 {
        self.experience.steps
    }

    fn episodes(&self) -> u64 {
        self.experience.episodes
    }

    fn updates(&self) -> u64 {
        self.experience.updates
    }

    fn updates_due(&self) -> u64 {
        self.experience.updates_due()
    }

    fn update(&mut self) -> Result<Metrics, PolicyError> {
        let rows = self.config.batch;
        among(self.critics.multiply_adds(rows), || self.step())
    }

    fn actor(&self) -> Box<dyn Policy> {
        Box::new(self.policy())
    }

    fn explorer(&self, seed: u64) -> Box<dyn Policy> {
        if self.experience.begins() {
            return Box::new(UniformPolicy::new(&self.policy.spec, seed));
        }
        let mut policy = self.policy();
        policy.reseed(seed);
        Box::new(policy)
    }

    fn replays(&mut self) -> Vec<&mut Replay> {
        vec![
            &mut self.experience.replay,
            &mut self.experience.demonstrations,
        ]
    }

    fn set_rewarder(&mut self, rewarder: Rewarder) -> Result<(), PolicyError> {
        self.experience.set_rewarder(rewarder)
    }

    fn save(&self, dir: &Path) -> Result<(), PolicyError> {
        self.write(dir)
    }

    fn save_policy(&self, dir: &Path) -> Result<(), PolicyError> {
        self.write_policy(dir)
    }
}
