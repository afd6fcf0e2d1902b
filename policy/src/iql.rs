//! Implicit Q-learning (Kostrikov, Nair and Levine 2021, arXiv:2110.06169): offline reinforcement learning that never asks a critic
//! about an action that is not in the data; and advantage-weighted regression (Peng et al. 2019, arXiv:1910.00177) on the same parts.
//!
//! Rewards come with the demonstrations, or are given later through [`Learner::replays`]: a learned reward makes a policy of
//! demonstrations of mixed quality. The algorithm itself is in `iql/step.rs`.

use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::checkpoint::PolicySpec;
use crate::clipped_gaussian_policy::ClippedGaussianPolicy;
use crate::critic::TwinCritics;
use crate::policy::{Learner, Metrics, Mode, Policy, PolicyError, Transition};
use crate::replay::{Replay, check_episode};
use crate::small::adam::Adam;
use crate::small::both::Threads;
use crate::small::mlp::{HiddenNorm, Mlp, Tape};

mod config;
mod saving;
mod step;
#[cfg(test)]
mod tests;

pub use config::{Advantage, IqlConfig};
use step::Batch;

/// Implicit Q-learning.
#[derive(Clone, Debug)]
pub struct Iql {
    config: IqlConfig,
    seed: u64,
    policy: ClippedGaussianPolicy,
    actor_adam: Adam,
    log_std_adam: Adam,
    critics: TwinCritics,
    value: Mlp,
    value_adam: Adam,
    replay: Replay,
    /// Discounted return from every stored step on, oldest first; empty: to be computed.
    returns: Vec<f32>,
    rng: ChaCha8Rng,
    updates: u64,
    steps: u64,
    episodes: u64,
    /// Updates that observed steps ask for and that were not made yet.
    owed: f64,
    batch: Batch,
    value_tape: Tape,
    actor_tape: Tape,
    value_gradient: Vec<f32>,
    actor_gradient: Vec<f32>,
}

impl Iql {
    pub(crate) const KIND: &str = "iql";

    /// A fresh learner. The same seed, configuration and experience give the same bits.
    pub fn new(spec: PolicySpec, config: IqlConfig, seed: u64) -> Result<Self, PolicyError> {
        spec.validate()?;
        config.validate()?;
        if i64::try_from(seed).is_err() {
            return Err(PolicyError::Other("the seed must be below 2^63".into()));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let policy = ClippedGaussianPolicy::new(&spec, config.actor(), seed, &mut rng)?;
        let (o, a) = (spec.observation_dim, spec.action_dim);
        let value = Mlp::new(o, &config.hidden, 1, HiddenNorm::None, &mut rng);
        let actor_parameters = policy.network.parameters.len();
        Ok(Self {
            seed,
            actor_adam: Adam::new(config.actor_adam.clone(), actor_parameters),
            log_std_adam: Adam::new(config.actor_adam.clone(), a),
            critics: TwinCritics::new(
                o + a,
                &config.hidden,
                HiddenNorm::None,
                &config.critic_adam,
                &mut rng,
            ),
            value_adam: Adam::new(config.value_adam.clone(), value.parameters.len()),
            value_gradient: vec![0.0; value.parameters.len()],
            actor_gradient: vec![0.0; actor_parameters],
            value,
            replay: Replay::new(config.replay_capacity, o, a),
            returns: Vec::new(),
            rng,
            updates: 0,
            steps: 0,
            episodes: 0,
            owed: 0.0,
            batch: Batch::default(),
            value_tape: Tape::new(Threads::Two),
            actor_tape: Tape::new(Threads::Two),
            policy,
            config,
        })
    }

    /// The settings.
    pub fn config(&self) -> &IqlConfig {
        &self.config
    }

    /// Everything that is learned from.
    pub fn replay(&self) -> &Replay {
        &self.replay
    }

    /// A copy of the actor.
    pub fn policy(&self) -> ClippedGaussianPolicy {
        self.policy.clone()
    }

    fn store(&mut self, episode: &[Transition]) -> Result<(), PolicyError> {
        let spec = &self.policy.spec;
        check_episode(episode, spec.observation_dim, spec.action_dim, self.updates)?;
        if self.replay.len() + episode.len() > self.replay.capacity() {
            return Err(PolicyError::Other(format!(
                "data of more than {} steps do not fit; raise replay_capacity",
                self.replay.capacity()
            )));
        }
        self.replay.push(episode)?;
        self.returns.clear();
        for step in episode {
            self.policy.normaliser.observe(&step.observation);
        }
        self.policy.normaliser.refresh();
        Ok(())
    }
}

impl Policy for Iql {
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

impl Learner for Iql {
    fn spec(&self) -> &PolicySpec {
        &self.policy.spec
    }

    /// Practice after learning from data: the steps join the data.
    fn observe(&mut self, steps: &[Transition]) -> Result<(), PolicyError> {
        self.store(steps)?;
        self.steps += steps.len() as u64;
        self.episodes += u64::from(steps.last().is_some_and(|s| s.terminated || s.truncated));
        self.owed += steps.len() as f64 * self.config.update_to_data;
        Ok(())
    }

    fn observe_demonstration(&mut self, episode: &[Transition]) -> Result<(), PolicyError> {
        self.store(episode)
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

    /// As long as nothing was practised, what is left of [`IqlConfig::offline_updates`]; then also what the steps ask for.
    fn updates_due(&self) -> u64 {
        if self.replay.is_empty() {
            return 0;
        }
        let offline = self.config.offline_updates.saturating_sub(self.updates);
        offline.max(self.owed as u64)
    }

    fn update(&mut self) -> Result<Metrics, PolicyError> {
        self.step()
    }

    fn actor(&self) -> Box<dyn Policy> {
        Box::new(self.policy())
    }

    fn explorer(&self, seed: u64) -> Box<dyn Policy> {
        let mut policy = self.policy();
        policy.reseed(seed);
        Box::new(policy)
    }

    fn replays(&mut self) -> Vec<&mut Replay> {
        // Rewards may change behind this.
        self.returns.clear();
        vec![&mut self.replay]
    }

    fn save(&self, dir: &Path) -> Result<(), PolicyError> {
        self.write(dir)
    }

    fn save_policy(&self, dir: &Path) -> Result<(), PolicyError> {
        self.write_policy(dir)
    }
}
