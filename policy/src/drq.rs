//! DrQ-v2: control from pixels (Yarats, Fergus, Lazaric and Pinto 2021, arXiv:2107.09645).
//!
//! An encoder of four convolutions learns with the critics; every picture that is learned from is shifted by a few pixels, at random. Departures
//! from the paper, each an option: the actor and the critics may be told the arm's own numbers besides; the sizes (the defaults are the
//! paper's, which want days of a processor or a GPU). Demonstrations, which the paper does not have, are experience like any other.
//! Not an option: the hidden layers of actor and critics start uniform, as elsewhere here, and not orthogonal, as the encoder and the trunks
//! do. The algorithm itself is in `drq/step.rs`.

use std::path::Path;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::checkpoint::PolicySpec;
use crate::critic::TwinCritics;
use crate::policy::{Learner, Metrics, Mode, Policy, PolicyError, Transition, UniformPolicy};
use crate::replay::check_episode;
use crate::small::adam::Adam;
use crate::small::both::{Threads, among};
use crate::small::conv::ConvTape;
use crate::small::mlp::{HiddenNorm, Tape};

mod actor;
mod config;
mod frames;
mod saving;
mod step;
#[cfg(test)]
mod tests;
mod trunk;

pub use actor::DrqPolicy;
pub use config::DrqConfig;

use frames::{Batch, Frames};
use trunk::{Trunk, TrunkTape};

/// DrQ-v2.
#[derive(Clone, Debug)]
pub struct Drq {
    seed: u64,
    policy: DrqPolicy,
    critics: TwinCritics,
    critic_trunk: Trunk,
    target_trunk: Trunk,
    encoder_adam: Adam,
    actor_adam: Adam,
    actor_trunk_adam: Adam,
    critic_trunk_adam: Adam,
    frames: Frames,
    rng: ChaCha8Rng,
    updates: u64,
    steps: u64,
    episodes: u64,
    explored: u64,
    owed: f64,
    batch: Batch,
    conv_tape: ConvTape,
    actor_trunk_tape: TrunkTape,
    critic_trunk_tape: TrunkTape,
    actor_tape: Tape,
    features: Vec<f32>,
    actor_inputs: Vec<f32>,
    means: Vec<f32>,
    noise: Vec<f32>,
    actions: Vec<f32>,
    values: Vec<f32>,
    targets: Vec<f32>,
    row_gradient: Vec<f32>,
    action_gradient: Vec<f32>,
    actor_gradient: Vec<f32>,
    trunk_gradient: Vec<f32>,
    feature_gradient: Vec<f32>,
    encoder_gradient: Vec<f32>,
}

impl Drq {
    /// A fresh learner. The same seed, configuration and experience give the same bits.
    pub fn new(spec: PolicySpec, config: DrqConfig, seed: u64) -> Result<Self, PolicyError> {
        spec.validate()?;
        config.validate(&spec)?;
        if i64::try_from(seed).is_err() {
            return Err(PolicyError::Other("the seed must be below 2^63".into()));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let policy = DrqPolicy::new(&spec, &config, seed, &mut rng)?;
        let critic_trunk = Trunk::new(policy.encoder.outputs(), config.features, &mut rng);
        let critics = TwinCritics::new(
            config.features + config.own + spec.action_dim,
            &config.hidden,
            HiddenNorm::None,
            &config.adam,
            &mut rng,
        );
        let adam = |parameters: &[f32]| Adam::new(config.adam.clone(), parameters.len());
        Ok(Self {
            seed,
            encoder_adam: adam(&policy.encoder.parameters),
            actor_adam: adam(&policy.network.parameters),
            actor_trunk_adam: adam(&policy.trunk.parameters),
            critic_trunk_adam: adam(&critic_trunk.parameters),
            target_trunk: critic_trunk.clone(),
            frames: Frames::new(&config, spec.action_dim),
            policy,
            critics,
            critic_trunk,
            rng,
            updates: 0,
            steps: 0,
            episodes: 0,
            explored: 0,
            owed: 0.0,
            batch: Batch::default(),
            conv_tape: ConvTape::default(),
            actor_trunk_tape: TrunkTape::default(),
            critic_trunk_tape: TrunkTape::default(),
            actor_tape: Tape::new(Threads::Two),
            features: Vec::new(),
            actor_inputs: Vec::new(),
            means: Vec::new(),
            noise: Vec::new(),
            actions: Vec::new(),
            values: Vec::new(),
            targets: Vec::new(),
            row_gradient: Vec::new(),
            action_gradient: Vec::new(),
            actor_gradient: Vec::new(),
            trunk_gradient: Vec::new(),
            feature_gradient: Vec::new(),
            encoder_gradient: Vec::new(),
        })
    }

    /// The settings.
    pub fn config(&self) -> &DrqConfig {
        &self.policy.config
    }

    /// A copy of the actor, at the start of an episode.
    pub fn policy(&self) -> DrqPolicy {
        let mut policy = self.policy.clone();
        policy.reset();
        policy
    }
}

impl Policy for Drq {
    fn observation_dim(&self) -> usize {
        self.policy.spec.observation_dim
    }

    fn action_dim(&self) -> usize {
        self.policy.spec.action_dim
    }

    fn act(&mut self, observation: &[f32], mode: Mode) -> Result<Vec<f32>, PolicyError> {
        let action = self.policy.act(observation, mode)?;
        if mode == Mode::Explore {
            self.explored += 1;
            if self.explored <= self.policy.config.initial_random_steps {
                let rng = &mut self.policy.rng;
                return Ok(action
                    .iter()
                    .map(|_| rng.random_range(-1.0..=1.0))
                    .collect());
            }
        }
        Ok(action)
    }

    fn reset(&mut self) {
        self.policy.reset();
    }
}

impl Learner for Drq {
    fn spec(&self) -> &PolicySpec {
        &self.policy.spec
    }

    fn observe(&mut self, steps: &[Transition]) -> Result<(), PolicyError> {
        let spec = &self.policy.spec;
        check_episode(steps, spec.observation_dim, spec.action_dim, self.updates)?;
        self.frames.push(steps);
        let random = self.policy.config.initial_random_steps;
        let before = self.steps.max(random);
        self.steps += steps.len() as u64;
        self.episodes += u64::from(steps.last().is_some_and(|s| s.terminated || s.truncated));
        let learned = self.steps.max(random) - before;
        self.owed += learned as f64 * self.policy.config.update_to_data;
        Ok(())
    }

    fn observe_demonstration(&mut self, episode: &[Transition]) -> Result<(), PolicyError> {
        let spec = &self.policy.spec;
        check_episode(episode, spec.observation_dim, spec.action_dim, self.updates)?;
        self.frames.close();
        self.frames.push(episode);
        self.frames.close();
        Ok(())
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

    fn updates_due(&self) -> u64 {
        self.owed.max(0.0) as u64
    }

    fn update(&mut self) -> Result<Metrics, PolicyError> {
        let work = self.critics.multiply_adds(self.policy.config.batch);
        among(work, || self.step())
    }

    fn actor(&self) -> Box<dyn Policy> {
        Box::new(self.policy())
    }

    fn explorer(&self, seed: u64) -> Box<dyn Policy> {
        if self.steps < self.policy.config.initial_random_steps {
            return Box::new(UniformPolicy::new(&self.policy.spec, seed));
        }
        let mut policy = self.policy();
        policy.reseed(seed);
        Box::new(policy)
    }

    fn save(&self, dir: &Path) -> Result<(), PolicyError> {
        self.write(dir)
    }

    fn save_policy(&self, dir: &Path) -> Result<(), PolicyError> {
        self.write_policy(dir)
    }
}
