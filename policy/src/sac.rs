//! Soft actor-critic with automatic temperature (Haarnoja et al. 2018, arXiv:1812.05905), with demonstrations.
//!
//! Departures from the paper, each an option: layer normalisation in the critics and batches half of which are
//! demonstrations (RLPD, Ball et al. 2023), and a behaviour-cloning term on the demonstrations in the actor's loss.

use std::path::Path;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde::{Deserialize, Serialize};

use crate::adam::{Adam, AdamConfig};
use crate::checkpoint::{Manifest, PolicySpec};
use crate::critic::TwinCritics;
use crate::gaussian::Draws;
use crate::gaussian_policy::GaussianPolicy;
use crate::mlp::{HiddenNorm, Tape};
use crate::normaliser::ObservationScaling;
use crate::policy::{Learner, Metrics, Mode, Policy, PolicyError, Transition};
use crate::replay::{Replay, check_episode};
use crate::state::{StateDict, StateReader};

/// Settings of [`Sac`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SacConfig {
    /// Widths of the hidden layers of actor and critics.
    pub hidden: Vec<usize>,
    /// Normalisation in the critics; `layer` keeps high update ratios and demonstrations stable.
    pub critic_norm: HiddenNorm,
    /// Discount of future rewards per step, gamma.
    pub discount: f64,
    /// How far target networks follow per update, tau.
    pub target_rate: f64,
    /// Transitions per update.
    pub batch: usize,
    /// Updates owed per observed step, see [`Sac::updates_due`].
    pub update_to_data: f64,
    /// The actor and the temperature move every so many updates.
    pub actor_every: u64,
    /// Uniformly random exploring actions before the actor's own; updates are not owed before so many steps are observed.
    pub initial_random_steps: u64,
    /// Entropy weight alpha at the start.
    pub initial_temperature: f64,
    /// Entropy that the temperature holds, nat; `-action_dim` when not given.
    pub target_entropy: Option<f64>,
    /// Smallest and largest logarithm of the standard deviation before squashing.
    pub log_std_range: [f64; 2],
    /// Transitions kept.
    pub replay_capacity: usize,
    /// Share of each batch that is drawn from demonstrations, once there are any.
    pub demonstration_share: f64,
    /// Weight of `mean (tanh(mean) - action)^2` over a batch's demonstrations in the actor's loss.
    pub behaviour_cloning_weight: f64,
    /// How observations are scaled.
    pub observation_scaling: ObservationScaling,
    /// Optimiser of the actor.
    pub actor_adam: AdamConfig,
    /// Optimiser of the critics.
    pub critic_adam: AdamConfig,
    /// Optimiser of the temperature.
    pub temperature_adam: AdamConfig,
}

impl Default for SacConfig {
    fn default() -> Self {
        Self {
            hidden: vec![256, 256],
            critic_norm: HiddenNorm::None,
            discount: 0.99,
            target_rate: 0.005,
            batch: 256,
            update_to_data: 1.0,
            actor_every: 1,
            initial_random_steps: 1000,
            initial_temperature: 0.2,
            target_entropy: None,
            log_std_range: [-5.0, 2.0],
            replay_capacity: 1_000_000,
            demonstration_share: 0.5,
            behaviour_cloning_weight: 0.0,
            observation_scaling: ObservationScaling::Running,
            actor_adam: AdamConfig::default(),
            critic_adam: AdamConfig::default(),
            temperature_adam: AdamConfig::default(),
        }
    }
}

impl SacConfig {
    /// Says what is wrong with these settings, if anything.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let [low, high] = self.log_std_range;
        let faults = [
            (
                self.hidden.is_empty() || self.hidden.contains(&0),
                "hidden needs at least one width above 0",
            ),
            (
                !(0.0..=1.0).contains(&self.discount),
                "discount must be in 0..=1",
            ),
            (
                !(self.target_rate > 0.0 && self.target_rate <= 1.0),
                "target_rate must be above 0 and at most 1",
            ),
            (self.batch == 0, "batch must be above 0"),
            (
                !(self.update_to_data >= 0.0 && self.update_to_data.is_finite()),
                "update_to_data must not be negative",
            ),
            (self.actor_every == 0, "actor_every must be above 0"),
            (
                !(self.initial_temperature > 0.0 && self.initial_temperature.is_finite()),
                "initial_temperature must be above 0",
            ),
            (
                self.target_entropy.is_some_and(|h| !h.is_finite()),
                "target_entropy must be finite",
            ),
            (
                !(low < high && low.is_finite() && high.is_finite()),
                "log_std_range must rise",
            ),
            (self.replay_capacity == 0, "replay_capacity must be above 0"),
            (
                !(0.0..=1.0).contains(&self.demonstration_share),
                "demonstration_share must be in 0..=1",
            ),
            (
                !is_weight(self.behaviour_cloning_weight),
                "behaviour_cloning_weight must not be negative",
            ),
        ];
        if let Some((_, fault)) = faults.into_iter().find(|(wrong, _)| *wrong) {
            return Err(PolicyError::Other(format!("sac: {fault}")));
        }
        self.actor_adam.validate("actor_adam")?;
        self.critic_adam.validate("critic_adam")?;
        self.temperature_adam.validate("temperature_adam")
    }
}

fn is_weight(value: f64) -> bool {
    value >= 0.0 && value.is_finite()
}

/// The transitions of one update; the first `demonstrations` rows are from demonstrations.
#[derive(Clone, Debug, Default)]
struct Batch {
    demonstrations: usize,
    /// Scaled, `[batch, obs_dim]`.
    observations: Vec<f32>,
    actions: Vec<f32>,
    rewards: Vec<f32>,
    /// Scaled, `[batch, obs_dim]`.
    next_observations: Vec<f32>,
    /// 0 where the task ended, 1 where the value goes on.
    continues: Vec<f32>,
}

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
    replay: Replay,
    demonstrations: Replay,
    rng: ChaCha8Rng,
    updates: u64,
    /// Steps observed in the task, demonstrations not counted.
    steps: u64,
    /// Exploring actions given.
    explored: u64,
    /// Updates that the observed steps ask for and that were not made yet.
    owed: f64,
    batch: Batch,
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
    /// A fresh learner. The same seed, configuration and experience give the same bits.
    pub fn new(spec: PolicySpec, config: SacConfig, seed: u64) -> Result<Self, PolicyError> {
        spec.validate()?;
        config.validate()?;
        if i64::try_from(seed).is_err() {
            return Err(PolicyError::Other("the seed must be below 2^63".into()));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let policy = GaussianPolicy::new(&spec, &config, seed, &mut rng)?;
        let (o, a) = (spec.observation_dim, spec.action_dim);
        let actor_parameters = policy.network.parameters.len();
        Ok(Self {
            seed,
            actor_adam: Adam::new(config.actor_adam.clone(), actor_parameters),
            critics: TwinCritics::new(o + a, &config, &mut rng),
            log_temperature: config.initial_temperature.ln() as f32,
            temperature_adam: Adam::new(config.temperature_adam.clone(), 1),
            replay: Replay::new(config.replay_capacity, o, a),
            demonstrations: Replay::new(config.replay_capacity, o, a),
            rng,
            updates: 0,
            steps: 0,
            explored: 0,
            owed: 0.0,
            batch: Batch::default(),
            actor_tape: Tape::default(),
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

    /// What it sees and does.
    pub fn spec(&self) -> &PolicySpec {
        &self.policy.spec
    }

    /// Gradient steps made.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Steps observed in the task, demonstrations not counted.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Gradient steps that the configuration asks for after what was observed, and that were not made yet.
    pub fn updates_due(&self) -> u64 {
        self.owed as u64
    }

    /// Entropy weight, alpha.
    pub fn temperature(&self) -> f32 {
        self.log_temperature.exp()
    }

    /// Experience in the task.
    pub fn replay(&self) -> &Replay {
        &self.replay
    }

    /// Experience in the task, for relabelling.
    pub fn replay_mut(&mut self) -> &mut Replay {
        &mut self.replay
    }

    /// Demonstrations.
    pub fn demonstrations(&self) -> &Replay {
        &self.demonstrations
    }

    /// Demonstrations, for relabelling.
    pub fn demonstrations_mut(&mut self) -> &mut Replay {
        &mut self.demonstrations
    }

    /// Takes in one demonstration, with rewards already labelled. It is never pushed out by experience.
    pub fn observe_demonstration(&mut self, episode: &[Transition]) -> Result<(), PolicyError> {
        let spec = &self.policy.spec;
        check_episode(episode, spec.observation_dim, spec.action_dim, self.updates)?;
        if self.demonstrations.len() + episode.len() > self.demonstrations.capacity() {
            return Err(PolicyError::Other(format!(
                "demonstrations of more than {} steps do not fit; raise replay_capacity",
                self.demonstrations.capacity()
            )));
        }
        self.demonstrations.push(episode)?;
        self.count(episode);
        Ok(())
    }

    /// Changes the weight of behaviour cloning, for schedules.
    pub fn set_behaviour_cloning_weight(&mut self, weight: f64) -> Result<(), PolicyError> {
        if !is_weight(weight) {
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
            .check_observation(observation, self.updates)?;
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

    fn count(&mut self, episode: &[Transition]) {
        for step in episode {
            self.policy.normaliser.observe(&step.observation);
        }
        if let Some(last) = episode.last() {
            self.policy.normaliser.observe(&last.next_observation);
        }
        self.policy.normaliser.refresh();
    }

    /// `D`: a batch, symmetric between demonstrations and experience as configured.
    fn sample_batch(&mut self) -> Result<(), PolicyError> {
        let size = self.config.batch;
        let wanted = (self.config.demonstration_share * size as f64).round() as usize;
        let demonstrations = match (self.demonstrations.is_empty(), self.replay.is_empty()) {
            (true, true) => {
                return Err(PolicyError::Other(
                    "there is nothing to learn from yet; observe an episode first".into(),
                ));
            }
            (true, false) => 0,
            (false, true) => size,
            (false, false) => wanted,
        };
        let batch = &mut self.batch;
        batch.demonstrations = demonstrations;
        for buffer in [
            &mut batch.observations,
            &mut batch.actions,
            &mut batch.rewards,
            &mut batch.next_observations,
            &mut batch.continues,
        ] {
            buffer.clear();
        }
        for row in 0..size {
            let source = if row < demonstrations {
                &self.demonstrations
            } else {
                &self.replay
            };
            let step = source
                .sample(&mut self.rng)
                .expect("checked above: not empty");
            self.policy
                .normaliser
                .append(step.observation, &mut batch.observations);
            batch.actions.extend_from_slice(step.action);
            batch.rewards.push(step.reward);
            self.policy
                .normaliser
                .append(step.next_observation, &mut batch.next_observations);
            batch
                .continues
                .push(if step.terminated { 0.0 } else { 1.0 });
        }
        Ok(())
    }

    /// `y = r + gamma (1 - terminated) (min Q_target(s', a') - alpha log pi(a'|s'))` with `a' ~ pi(s')`.
    fn compute_targets(&mut self) {
        let (o, a) = (
            self.policy.spec.observation_dim,
            self.policy.spec.action_dim,
        );
        self.policy
            .network
            .forward(&self.batch.next_observations, &mut self.actor_tape);
        self.draws.sample(
            self.actor_tape.output(),
            a,
            self.policy.log_std_range,
            &mut self.rng,
        );
        join(
            &self.batch.next_observations,
            o,
            &self.draws.actions,
            a,
            &mut self.critic_inputs,
        );
        self.critics
            .target_values(&self.critic_inputs, &mut self.values);
        bootstrap(
            &self.batch.rewards,
            &self.batch.continues,
            &self.values,
            &self.draws.log_probs,
            self.config.discount as f32,
            self.temperature(),
            &mut self.targets,
        );
    }

    /// `J_pi = mean (alpha log pi(a|s) - min Q(s, a))` with `a ~ pi(s)`, and behaviour cloning on demonstrations.
    fn update_actor(&mut self, metrics: &mut Metrics) -> Result<f32, PolicyError> {
        let (o, a) = (
            self.policy.spec.observation_dim,
            self.policy.spec.action_dim,
        );
        let size = self.config.batch as f32;
        self.policy
            .network
            .forward(&self.batch.observations, &mut self.actor_tape);
        let heads = self.actor_tape.output();
        self.draws
            .sample(heads, a, self.policy.log_std_range, &mut self.rng);
        join(
            &self.batch.observations,
            o,
            &self.draws.actions,
            a,
            &mut self.critic_inputs,
        );
        self.critics.values(&self.critic_inputs, &mut self.values);
        self.critics
            .action_gradients(-1.0 / size, a, &mut self.action_gradient);
        self.head_gradient.resize(heads.len(), 0.0);
        let temperature = self.log_temperature.exp();
        self.draws.backward(
            &self.action_gradient,
            temperature / size,
            a,
            &mut self.head_gradient,
        );

        let cloning = self.config.behaviour_cloning_weight as f32;
        if cloning > 0.0 && self.batch.demonstrations > 0 {
            let rows = self.batch.demonstrations;
            let loss = clone_gradient(
                &heads[..rows * 2 * a],
                &self.batch.actions[..rows * a],
                a,
                cloning,
                &mut self.head_gradient,
            );
            metrics.insert("behaviour_cloning_loss".into(), f64::from(loss));
        }

        self.actor_gradient.fill(0.0);
        let network = &mut self.policy.network;
        network.backward(
            &mut self.actor_tape,
            &self.head_gradient,
            Some(&mut self.actor_gradient),
            None,
        );
        network.check_gradient("actor", &self.actor_gradient, self.updates)?;
        let norm = self
            .actor_adam
            .step(&mut network.parameters, &mut self.actor_gradient);

        let log_prob = self.draws.log_probs.iter().sum::<f32>() / size;
        let value = self.values.iter().sum::<f32>() / size;
        metrics.insert(
            "actor_loss".into(),
            f64::from(temperature * log_prob - value),
        );
        metrics.insert("actor_gradient_norm".into(), f64::from(norm));
        metrics.insert("entropy".into(), f64::from(-log_prob));
        Ok(log_prob)
    }

    /// `J(alpha) = -log alpha (log pi + target entropy)`: the temperature rises while the entropy is below its target.
    fn update_temperature(&mut self, log_prob: f32) -> Result<(), PolicyError> {
        let dim = self.policy.spec.action_dim as f64;
        let target = self.config.target_entropy.unwrap_or(-dim) as f32;
        let gradient = -(log_prob + target);
        if !gradient.is_finite() {
            return Err(PolicyError::NotFinite {
                tensor: "gradient of temperature".into(),
                update: self.updates,
            });
        }
        let parameter = std::slice::from_mut(&mut self.log_temperature);
        self.temperature_adam.step(parameter, &mut [gradient]);
        Ok(())
    }

    /// Everything needed to go on exactly, from a directory that [`Learner::save`] wrote.
    pub fn resume(dir: &Path) -> Result<Self, PolicyError> {
        let manifest = Manifest::read(dir)?;
        if manifest.kind != GaussianPolicy::KIND {
            return Err(PolicyError::File {
                path: dir.display().to_string(),
                cause: format!("holds a policy of kind {}, not sac", manifest.kind),
            });
        }
        let config: SacConfig = manifest.config(dir)?;
        let mut sac = Self::new(manifest.spec.clone(), config, manifest.seed)?;
        let (path, bytes) = manifest.part(dir, "learner")?;
        let state = StateReader::new(&path, &bytes)?;
        sac.critics.load(&state)?;
        sac.actor_adam.load("actor.adam", &state)?;
        sac.temperature_adam.load("temperature.adam", &state)?;
        state.read_f32(
            "temperature.log",
            std::slice::from_mut(&mut sac.log_temperature),
        )?;
        sac.rng = state.rng("rng")?;
        [sac.updates, sac.steps, sac.explored] = state.u64("counters")?;
        let owed = state.f64("owed")?;
        sac.owed = owed.first().copied().unwrap_or_default();
        for (name, replay) in [
            ("replay", &mut sac.replay),
            ("demonstrations", &mut sac.demonstrations),
        ] {
            let (path, bytes) = manifest.part(dir, name)?;
            replay.load(&StateReader::new(&path, &bytes)?)?;
        }
        sac.policy = GaussianPolicy::load(&manifest, dir)?;
        Ok(sac)
    }

    /// Writes what deployment needs and no more: `policy.toml` and the actor.
    pub fn save_policy(&self, dir: &Path) -> Result<(), PolicyError> {
        self.manifest()?
            .write(dir, [("policy", self.policy_bytes()?)])
    }

    fn manifest(&self) -> Result<Manifest, PolicyError> {
        Manifest::new(
            GaussianPolicy::KIND,
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

impl Policy for Sac {
    fn observation_dim(&self) -> usize {
        self.policy.spec.observation_dim
    }

    fn action_dim(&self) -> usize {
        self.policy.spec.action_dim
    }

    fn act(&mut self, observation: &[f32], mode: Mode) -> Result<Vec<f32>, PolicyError> {
        if mode == Mode::Explore {
            self.explored += 1;
            if self.explored <= self.config.initial_random_steps {
                self.policy
                    .spec
                    .check_observation(observation, self.updates)?;
                let rng = &mut self.policy.rng;
                return Ok((0..self.policy.spec.action_dim)
                    .map(|_| rng.random_range(-1.0..=1.0))
                    .collect());
            }
        }
        self.policy.act(observation, mode)
    }
}

impl Learner for Sac {
    fn observe(&mut self, episode: &[Transition]) -> Result<(), PolicyError> {
        let spec = &self.policy.spec;
        check_episode(episode, spec.observation_dim, spec.action_dim, self.updates)?;
        self.replay.push(episode)?;
        self.count(episode);
        let before = self.steps.max(self.config.initial_random_steps);
        self.steps += episode.len() as u64;
        let after = self.steps.max(self.config.initial_random_steps);
        self.owed += (after - before) as f64 * self.config.update_to_data;
        Ok(())
    }

    fn update(&mut self) -> Result<Metrics, PolicyError> {
        let mut metrics = Metrics::new();
        self.sample_batch()?;

        self.compute_targets();
        let (o, a) = (
            self.policy.spec.observation_dim,
            self.policy.spec.action_dim,
        );
        join(
            &self.batch.observations,
            o,
            &self.batch.actions,
            a,
            &mut self.critic_inputs,
        );
        let critic = self
            .critics
            .update(&self.critic_inputs, &self.targets, self.updates)?;
        metrics.insert("critic_loss".into(), f64::from(critic.loss));
        metrics.insert(
            "critic_gradient_norm".into(),
            f64::from(critic.gradient_norm),
        );
        metrics.insert("value".into(), f64::from(critic.value));

        if self.updates.is_multiple_of(self.config.actor_every) {
            let log_prob = self.update_actor(&mut metrics)?;
            self.update_temperature(log_prob)?;
        }
        metrics.insert("temperature".into(), f64::from(self.temperature()));

        self.critics.follow(self.config.target_rate as f32);
        self.updates += 1;
        self.owed = (self.owed - 1.0).max(0.0);
        Ok(metrics)
    }

    fn save(&self, dir: &Path) -> Result<(), PolicyError> {
        let mut learner = StateDict::default();
        self.critics.save(&mut learner);
        self.actor_adam.save("actor.adam", &mut learner);
        self.temperature_adam.save("temperature.adam", &mut learner);
        learner.f32("temperature.log", &[1], &[self.log_temperature]);
        learner.rng("rng", &self.rng);
        learner.u64("counters", &[self.updates, self.steps, self.explored]);
        learner.f64("owed", &[self.owed]);
        let (mut replay, mut demonstrations) = (StateDict::default(), StateDict::default());
        self.replay.save(&mut replay);
        self.demonstrations.save(&mut demonstrations);
        // All bytes before the first file: a state that is not finite must not touch the good checkpoint.
        let parts = [
            ("policy", self.policy_bytes()?),
            ("learner", learner.to_bytes(self.updates)?),
            ("replay", replay.to_bytes(self.updates)?),
            ("demonstrations", demonstrations.to_bytes(self.updates)?),
        ];
        self.manifest()?.write(dir, parts)
    }
}

/// Rows of `left` `[batch, l]` and `right` `[batch, r]` side by side.
fn join(left: &[f32], l: usize, right: &[f32], r: usize, target: &mut Vec<f32>) {
    target.clear();
    for (left, right) in left.chunks_exact(l).zip(right.chunks_exact(r)) {
        target.extend_from_slice(left);
        target.extend_from_slice(right);
    }
}

/// `y = r + gamma * continues * (value - alpha * log_prob)`.
fn bootstrap(
    rewards: &[f32],
    continues: &[f32],
    values: &[f32],
    log_probs: &[f32],
    discount: f32,
    temperature: f32,
    targets: &mut Vec<f32>,
) {
    targets.clear();
    let steps = rewards
        .iter()
        .zip(continues)
        .zip(values.iter().zip(log_probs));
    targets.extend(steps.map(|((reward, continues), (value, log_prob))| {
        reward + discount * continues * (value - temperature * log_prob)
    }));
}

/// Adds the gradient of `weight * mean (tanh(mean) - action)^2` to that of the heads `[rows, 2A]`; returns the mean.
fn clone_gradient(
    heads: &[f32],
    actions: &[f32],
    dim: usize,
    weight: f32,
    gradient: &mut [f32],
) -> f32 {
    let count = actions.len() as f32;
    let mut loss = 0.0;
    let rows = heads.chunks_exact(2 * dim).zip(actions.chunks_exact(dim));
    for ((head, action), gradient) in rows.zip(gradient.chunks_exact_mut(2 * dim)) {
        for i in 0..dim {
            let own = head[i].tanh();
            let error = own - action[i];
            loss += error * error / count;
            gradient[i] += weight * 2.0 * error / count * (1.0 - own * own);
        }
    }
    loss
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_bootstrap_through_the_clock_but_not_through_the_end_of_the_task() {
        let mut targets = Vec::new();
        // r + 0.9 * continues * (value - 0.5 * log_prob)
        bootstrap(
            &[1.0, 1.0, -2.0],
            &[1.0, 0.0, 1.0],
            &[10.0, 10.0, 4.0],
            &[-2.0, -2.0, 6.0],
            0.9,
            0.5,
            &mut targets,
        );
        assert_eq!(targets, [1.0 + 0.9 * 11.0, 1.0, -2.0 + 0.9 * 1.0]);

        let step = |terminated, truncated| Transition {
            observation: vec![0.0],
            action: vec![0.0],
            reward: 3.0,
            next_observation: vec![1.0],
            terminated,
            truncated,
        };
        let config = SacConfig {
            hidden: vec![8],
            batch: 16,
            ..SacConfig::default()
        };
        for (terminated, truncated, continues) in
            [(true, false, 0.0), (false, true, 1.0), (true, true, 0.0)]
        {
            let mut sac = Sac::new(PolicySpec::new(1, 1), config.clone(), 0).unwrap();
            sac.observe(&[step(terminated, truncated)]).unwrap();
            sac.sample_batch().unwrap();
            assert_eq!(sac.batch.continues, vec![continues; 16]);
            sac.compute_targets();
            assert_eq!(sac.targets.iter().all(|&y| y == 3.0), terminated);
        }
    }

    #[test]
    fn the_temperature_rises_below_its_target_entropy_and_falls_above() {
        let mut sac = Sac::new(PolicySpec::new(3, 2), SacConfig::default(), 0).unwrap();
        let before = sac.temperature();
        sac.update_temperature(2.5).unwrap();
        assert!(
            sac.temperature() > before,
            "entropy -2.5 is below the target of -2"
        );
        let mut sac = Sac::new(PolicySpec::new(3, 2), SacConfig::default(), 0).unwrap();
        sac.update_temperature(1.5).unwrap();
        assert!(
            sac.temperature() < before,
            "entropy -1.5 is above the target of -2"
        );
    }

    #[test]
    fn half_of_a_batch_is_from_demonstrations_once_there_is_experience_too() {
        let episode = |reward: f32| {
            [Transition {
                observation: vec![0.0],
                action: vec![0.0],
                reward,
                next_observation: vec![0.0],
                terminated: false,
                truncated: true,
            }]
        };
        let mut sac = Sac::new(PolicySpec::new(1, 1), SacConfig::default(), 0).unwrap();
        let mut shares = Vec::new();
        let mut look = |sac: &mut Sac| {
            sac.sample_batch().unwrap();
            shares.push(sac.batch.rewards.iter().filter(|&&r| r == 1.0).count());
        };
        sac.observe_demonstration(&episode(1.0)).unwrap();
        look(&mut sac);
        sac.observe(&episode(0.0)).unwrap();
        look(&mut sac);
        assert_eq!(shares, [256, 128]);
        assert_eq!((sac.replay().len(), sac.demonstrations().len()), (1, 1));
    }

    #[test]
    fn updates_are_owed_for_steps_after_the_random_ones() {
        let step = Transition {
            observation: vec![0.0],
            action: vec![0.0],
            reward: 0.0,
            next_observation: vec![0.0],
            terminated: false,
            truncated: false,
        };
        let config = SacConfig {
            hidden: vec![4],
            batch: 2,
            initial_random_steps: 15,
            update_to_data: 0.5,
            ..SacConfig::default()
        };
        let mut sac = Sac::new(PolicySpec::new(1, 1), config, 0).unwrap();
        let mut due = Vec::new();
        for _ in 0..3 {
            sac.observe(&vec![step.clone(); 10]).unwrap();
            due.push(sac.updates_due());
        }
        assert_eq!(due, [0, 2, 7]);
        sac.update().unwrap();
        assert_eq!(sac.updates_due(), 6);
    }
}
