//! Soft actor-critic with automatic temperature (Haarnoja et al. 2018, arXiv:1812.05905), with demonstrations.
//!
//! Departures from the paper, each an option: layer normalisation in the critics and batches half of which are
//! demonstrations (RLPD, Ball et al. 2023), and a behaviour-cloning term on the demonstrations in the actor's loss.
//! The algorithm itself is in `sac/step.rs`.

use std::path::Path;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rapport_reward::combine::MetaWeight;

use crate::checkpoint::PolicySpec;
use crate::critic::TwinCritics;
use crate::gaussian::Draws;
use crate::gaussian_policy::GaussianPolicy;
use crate::off_policy::Experience;
use crate::policy::{
    Learner, Metrics, Mode, Policy, PolicyError, Rewarder, Transition, UniformPolicy,
};
use crate::replay::Replay;
use crate::small::adam::Adam;
use crate::small::both::{Threads, among};
use crate::small::mlp::Tape;

mod config;
mod imitation;
mod saving;
mod step;

pub use config::SacConfig;
pub use imitation::LearnedImitation;

/// Soft actor-critic.
#[derive(Clone, Debug)]
pub struct Sac {
    config: SacConfig,
    seed: u64,
    policy: GaussianPolicy,
    actor_adam: Adam,
    critics: TwinCritics,
    log_temperature: f32,
    temperature_adam: Adam,
    /// The learned weight of imitation, where there is one.
    imitation: MetaWeight,
    experience: Experience,
    rng: ChaCha8Rng,
    actor_tape: Tape,
    draws: Draws,
    actor_gradient: Vec<f32>,
    head_gradient: Vec<f32>,
    action_gradient: Vec<f32>,
    critic_inputs: Vec<f32>,
    values: Vec<f32>,
    targets: Vec<f32>,
}

impl Sac {
    pub(crate) const KIND: &str = "sac";

    /// A fresh learner. The same seed, configuration and experience give the same bits.
    pub fn new(spec: PolicySpec, config: SacConfig, seed: u64) -> Result<Self, PolicyError> {
        spec.validate()?;
        config.validate()?;
        if i64::try_from(seed).is_err() {
            return Err(PolicyError::Other("the seed must be below 2^63".into()));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let policy = GaussianPolicy::new(&spec, &config.actor(), seed, &mut rng)?;
        let (o, a) = (spec.observation_dim, spec.action_dim);
        let actor_parameters = policy.network.parameters.len();
        let imitation = MetaWeight {
            target_entropy: config.target_entropy.unwrap_or(-(a as f64)),
            ..config.learned_imitation.unwrap_or_default().weight
        };
        Ok(Self {
            seed,
            imitation,
            actor_adam: Adam::new(config.actor_adam.clone(), actor_parameters),
            critics: TwinCritics::new(
                o + a,
                &config.hidden,
                config.critic_norm,
                &config.critic_adam,
                &mut rng,
            ),
            log_temperature: config.initial_temperature.ln() as f32,
            temperature_adam: Adam::new(config.temperature_adam.clone(), 1),
            experience: Experience::new(&spec, config.experience()),
            rng,
            actor_tape: Tape::new(Threads::Two),
            draws: Draws::default(),
            actor_gradient: vec![0.0; actor_parameters],
            head_gradient: Vec::new(),
            action_gradient: Vec::new(),
            critic_inputs: Vec::new(),
            values: Vec::new(),
            targets: Vec::new(),
            policy,
            config,
        })
    }

    /// The settings.
    pub fn config(&self) -> &SacConfig {
        &self.config
    }

    /// Entropy weight, alpha.
    pub fn temperature(&self) -> f32 {
        self.log_temperature.exp()
    }

    /// Experience in the task.
    pub fn replay(&self) -> &Replay {
        &self.experience.replay
    }

    /// Experience in the task, for relabelling.
    pub fn replay_mut(&mut self) -> &mut Replay {
        &mut self.experience.replay
    }

    /// Demonstrations.
    pub fn demonstrations(&self) -> &Replay {
        &self.experience.demonstrations
    }

    /// Demonstrations, for relabelling.
    pub fn demonstrations_mut(&mut self) -> &mut Replay {
        &mut self.experience.demonstrations
    }

    /// Changes the weight of behaviour cloning, for schedules.
    pub fn set_behaviour_cloning_weight(&mut self, weight: f64) -> Result<(), PolicyError> {
        if !config::is_weight(weight) {
            return Err(PolicyError::Other(format!(
                "behaviour cloning weight {weight} is negative or not finite"
            )));
        }
        self.config.behaviour_cloning_weight = weight;
        Ok(())
    }

    /// A copy of the actor, for evaluation or for other threads.
    pub fn policy(&self) -> GaussianPolicy {
        self.policy.clone()
    }

    /// `min(Q1, Q2)` of a state and an action: what the critics expect from here on, entropy included.
    pub fn value(&mut self, observation: &[f32], action: &[f32]) -> Result<f32, PolicyError> {
        self.policy
            .spec
            .check_observation(observation, self.experience.updates)?;
        if action.len() != self.policy.spec.action_dim {
            return Err(PolicyError::Other(format!(
                "the action has {} numbers",
                action.len()
            )));
        }
        self.critic_inputs.clear();
        self.policy
            .normaliser
            .append(observation, &mut self.critic_inputs);
        self.critic_inputs.extend_from_slice(action);
        self.critics.values(&self.critic_inputs, &mut self.values);
        Ok(self.values[0])
    }
}

impl Policy for Sac {
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

impl Learner for Sac {
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
