//! One step of implicit Q-learning: value (the paper's equation 5), actor (7), critics (6), target networks, in the order of the
//! authors' code.

use rand::RngExt as _;

use super::{Advantage, Iql};
use crate::policy::{Metrics, PolicyError};
use crate::replay::Replay;

/// The transitions of one update.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    /// Scaled, `[batch, obs_dim]`.
    observations: Vec<f32>,
    actions: Vec<f32>,
    rewards: Vec<f32>,
    /// Scaled, `[batch, obs_dim]`.
    next_observations: Vec<f32>,
    /// 0 where the task ended, 1 where the value goes on.
    continues: Vec<f32>,
    /// Scaled observation and action side by side.
    pairs: Vec<f32>,
    /// What the value is fitted to: `min Q_target(s, a)`, or the return.
    aims: Vec<f32>,
}

impl Iql {
    pub(super) fn step(&mut self) -> Result<Metrics, PolicyError> {
        if self.replay.is_empty() {
            return Err(PolicyError::Other(
                "there is nothing to learn from yet; observe a demonstration first".into(),
            ));
        }
        if self.returns.is_empty() && self.config.advantage == Advantage::Returns {
            self.returns = returns_to_go(&self.replay, self.config.discount as f32);
        }
        self.sample_batch();
        if self.config.advantage == Advantage::Expectile {
            self.critics
                .target_values(&self.batch.pairs, &mut self.batch.aims);
        }
        let mut metrics = Metrics::new();
        self.update_value(&mut metrics)?;
        self.update_actor(&mut metrics)?;
        if self.config.advantage == Advantage::Expectile {
            self.update_critics(&mut metrics)?;
        }
        self.updates += 1;
        self.owed = (self.owed - 1.0).max(0.0);
        Ok(metrics)
    }

    fn sample_batch(&mut self) {
        let batch = &mut self.batch;
        for buffer in [
            &mut batch.observations,
            &mut batch.actions,
            &mut batch.rewards,
            &mut batch.next_observations,
            &mut batch.continues,
            &mut batch.pairs,
            &mut batch.aims,
        ] {
            buffer.clear();
        }
        let normaliser = &self.policy.normaliser;
        for _ in 0..self.config.batch {
            let at = self.rng.random_range(0..self.replay.len() as u64) as usize;
            let step = self.replay.nth(at);
            normaliser.append(step.observation, &mut batch.observations);
            normaliser.append(step.observation, &mut batch.pairs);
            batch.pairs.extend_from_slice(step.action);
            batch.actions.extend_from_slice(step.action);
            batch.rewards.push(step.reward);
            normaliser.append(step.next_observation, &mut batch.next_observations);
            batch
                .continues
                .push(if step.terminated { 0.0 } else { 1.0 });
            if let Some(value) = self.returns.get(at) {
                batch.aims.push(*value);
            }
        }
    }

    /// `L_V = mean L2_tau(aim - V(s))`.
    fn update_value(&mut self, metrics: &mut Metrics) -> Result<(), PolicyError> {
        let share = match self.config.advantage {
            Advantage::Expectile => self.config.expectile as f32,
            Advantage::Returns => 0.5,
        };
        let size = self.config.batch as f32;
        self.value
            .forward(&self.batch.observations, &mut self.value_tape);
        let (mut loss, mut mean) = (0.0, 0.0);
        let values = self.value_tape.output();
        let by_value: Vec<f32> = values
            .iter()
            .zip(&self.batch.aims)
            .map(|(value, aim)| {
                let (l, slope) = expectile(aim - value, share);
                loss += l / size;
                mean += value / size;
                -slope / size
            })
            .collect();
        self.value_gradient.fill(0.0);
        self.value.backward(
            &mut self.value_tape,
            &by_value,
            Some(&mut self.value_gradient),
            None,
        );
        self.value
            .check_gradient("value", &self.value_gradient, self.updates)?;
        self.value_adam
            .step(&mut self.value.parameters, &mut self.value_gradient);
        metrics.insert("value_loss".into(), f64::from(loss));
        metrics.insert("value".into(), f64::from(mean));
        Ok(())
    }

    /// `L_pi = -mean min(exp(beta (aim - V(s))), limit) log pi(a|s)`.
    fn update_actor(&mut self, metrics: &mut Metrics) -> Result<(), PolicyError> {
        self.value
            .forward(&self.batch.observations, &mut self.value_tape);
        let weights = extraction_weights(
            &self.batch.aims,
            self.value_tape.output(),
            self.config.inverse_temperature as f32,
            self.config.largest_weight as f32,
        );
        let network = &mut self.policy.network;
        network.forward(&self.batch.observations, &mut self.actor_tape);
        let mut by_head = vec![0.0; self.actor_tape.output().len()];
        let mut by_log_std = vec![0.0; self.policy.log_std.len()];
        let loss = weighted_likelihood(
            self.actor_tape.output(),
            &self.policy.log_std,
            &self.batch.actions,
            &weights,
            &mut by_head,
            &mut by_log_std,
        );
        self.actor_gradient.fill(0.0);
        network.backward(
            &mut self.actor_tape,
            &by_head,
            Some(&mut self.actor_gradient),
            None,
        );
        network.check_gradient("actor", &self.actor_gradient, self.updates)?;
        if let Some(at) = by_log_std.iter().position(|g| !g.is_finite()) {
            return Err(PolicyError::NotFinite {
                tensor: format!("gradient of actor.log_std[{at}]"),
                update: self.updates,
            });
        }
        self.actor_adam
            .step(&mut network.parameters, &mut self.actor_gradient);
        self.log_std_adam
            .step(&mut self.policy.log_std, &mut by_log_std);
        let [low, high] = self.config.log_std_range.map(|x| x as f32);
        for log_std in &mut self.policy.log_std {
            *log_std = log_std.clamp(low, high);
        }
        metrics.insert("actor_loss".into(), f64::from(loss));
        let mean = weights.iter().sum::<f32>() / weights.len() as f32;
        metrics.insert("mean_weight".into(), f64::from(mean));
        Ok(())
    }

    /// `L_Q = mean (r + gamma V(s') - Q(s, a))^2`.
    fn update_critics(&mut self, metrics: &mut Metrics) -> Result<(), PolicyError> {
        self.value
            .forward(&self.batch.next_observations, &mut self.value_tape);
        let discount = self.config.discount as f32;
        let ahead = self.value_tape.output().iter();
        let now = self.batch.rewards.iter().zip(&self.batch.continues);
        let targets: Vec<f32> = now
            .zip(ahead)
            .map(|((reward, continues), value)| reward + discount * continues * value)
            .collect();
        let critic = self
            .critics
            .update(&self.batch.pairs, &targets, &[], self.updates, None)?;
        self.critics.follow(self.config.target_rate as f32);
        metrics.insert("critic_loss".into(), f64::from(critic.loss));
        Ok(())
    }
}

/// `|share - [difference < 0]| difference^2` and its derivative.
pub(super) fn expectile(difference: f32, share: f32) -> (f32, f32) {
    let weight = if difference < 0.0 { 1.0 - share } else { share };
    (weight * difference * difference, 2.0 * weight * difference)
}

/// `min(exp(beta (aim - value)), limit)`.
pub(super) fn extraction_weights(aims: &[f32], values: &[f32], beta: f32, limit: f32) -> Vec<f32> {
    let pairs = aims.iter().zip(values);
    pairs
        .map(|(aim, value)| (beta * (aim - value)).exp().min(limit))
        .collect()
}

/// `-mean w log N(action; tanh(head), exp(log_std))` without the constant, and its gradients by heads `[batch, A]` and
/// `log_std` `[A]`.
pub(super) fn weighted_likelihood(
    heads: &[f32],
    log_std: &[f32],
    actions: &[f32],
    weights: &[f32],
    by_head: &mut [f32],
    by_log_std: &mut [f32],
) -> f32 {
    let dim = log_std.len();
    let count = weights.len() as f32;
    by_log_std.fill(0.0);
    let mut loss = 0.0;
    for (row, weight) in weights.iter().enumerate() {
        let share = weight / count;
        for i in 0..dim {
            let at = row * dim + i;
            let mean = heads[at].tanh();
            let inverse = (-log_std[i]).exp();
            let z = (actions[at] - mean) * inverse;
            loss += share * (0.5 * z * z + log_std[i]);
            by_head[at] = -share * z * inverse * (1.0 - mean * mean);
            by_log_std[i] += share * (1.0 - z * z);
        }
    }
    loss
}

/// Discounted sum of the rewards from every step to the end of its episode, oldest first.
pub(super) fn returns_to_go(replay: &Replay, discount: f32) -> Vec<f32> {
    let mut returns = Vec::with_capacity(replay.len());
    for episode in replay.episodes() {
        let mut ahead = 0.0;
        let mut own: Vec<f32> = (0..episode.len())
            .rev()
            .map(|t| {
                ahead = episode.step(t).reward + discount * ahead;
                ahead
            })
            .collect();
        own.reverse();
        returns.extend(own);
    }
    returns
}
