//! A round of PPO: advantages of everything collected, then epochs of gradient steps on it.

use rand::seq::SliceRandom as _;

use super::Ppo;
use super::advantage::{Course, advantages};
use crate::gaussian::{self, LogStdRange};
use crate::policy::{Metrics, PolicyError};

/// Everything collected, row by row.
#[derive(Clone, Debug, Default)]
pub(super) struct Round {
    /// Scaled, `[steps, obs_dim]`.
    observations: Vec<f32>,
    /// `[steps, action_dim]`.
    actions: Vec<f32>,
    /// Of the policy that collected them, `[steps]`.
    log_probs: Vec<f32>,
    advantages: Vec<f32>,
    /// What the value is to be.
    returns: Vec<f32>,
}

/// Of one action: the clipped objective, to be maximised, and its derivative by the logarithm of the action's probability.
pub(super) fn objective(log_ratio: f32, advantage: f32, clip: f32) -> (f32, f32) {
    let ratio = log_ratio.exp();
    let free = ratio * advantage;
    let clipped = ratio.clamp(1.0 - clip, 1.0 + clip) * advantage;
    if free <= clipped {
        (free, free)
    } else {
        (clipped, 0.0)
    }
}

/// `weight` times the derivative of `ln p(action)` by the head `[2A]`, plus `entropy` times that of the entropy before squashing.
pub(super) fn log_prob_gradient(
    head: &[f32],
    action: &[f32],
    range: LogStdRange,
    (weight, entropy): (f32, f32),
    gradient: &mut [f32],
) {
    let dim = action.len();
    for (i, &action) in action.iter().enumerate() {
        let u = gaussian::unsquash(action);
        let (log_std, slope) = gaussian::log_std(head[dim + i], range);
        let std = log_std.exp();
        let noise = (u - head[i]) / std;
        gradient[i] = weight * noise / std;
        gradient[dim + i] = (weight * (noise * noise - 1.0) + entropy) * slope;
    }
}

impl Ppo {
    /// Learns from everything collected and forgets it. Metrics are means over the gradient steps.
    pub(super) fn round(&mut self) -> Result<Metrics, PolicyError> {
        self.prepare()?;
        let steps = self.round.advantages.len();
        let mut order: Vec<usize> = (0..steps).collect();
        let (mut sums, mut count) = ([0.0f64; 6], 0u32);
        let batch = self.config.batch.min(steps);
        'epochs: for _ in 0..self.config.epochs {
            order.shuffle(&mut self.rng);
            // A rest smaller than half a batch goes to the batch before it.
            let batches = ((steps as f64 / batch as f64).round() as usize).max(1);
            for number in 0..batches {
                let rows = &order[number * steps / batches..(number + 1) * steps / batches];
                let found = self.descend(rows)?;
                for (sum, value) in sums.iter_mut().zip(found) {
                    *sum += f64::from(value);
                }
                count += 1;
                self.updates += 1;
                if self
                    .config
                    .largest_divergence
                    .is_some_and(|most| f64::from(found[3]) > most)
                {
                    break 'epochs;
                }
            }
        }
        self.collected = Self::memory(&self.policy.spec);
        self.policy.normaliser = self.seen.clone();
        self.policy.normaliser.refresh();
        let names = [
            "policy_objective",
            "value_loss",
            "entropy",
            "divergence",
            "clipped",
            "actor_gradient_norm",
        ];
        let mut metrics: Metrics = names
            .iter()
            .zip(sums)
            .map(|(name, sum)| ((*name).into(), sum / f64::from(count.max(1))))
            .collect();
        metrics.insert("value".into(), mean(&self.round.returns));
        Ok(metrics)
    }

    /// Puts what was collected into rows, with advantages, returns and the probabilities of its actions.
    fn prepare(&mut self) -> Result<(), PolicyError> {
        let round = &mut self.round;
        for buffer in [
            &mut round.observations,
            &mut round.actions,
            &mut round.log_probs,
        ] {
            buffer.clear();
        }
        let (mut rewards, mut next, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        let (mut terminated, mut last) = (Vec::new(), Vec::new());
        for episode in self.collected.episodes() {
            for (t, step) in episode.steps().enumerate() {
                let normaliser = &self.policy.normaliser;
                normaliser.append(step.observation, &mut round.observations);
                normaliser.append(step.next_observation, &mut next);
                round.actions.extend_from_slice(step.action);
                seen.extend_from_slice(step.observation);
                seen.extend_from_slice(step.action);
                rewards.push(step.reward);
                terminated.push(step.terminated);
                last.push(t + 1 == episode.len());
            }
        }
        if rewards.is_empty() {
            return Err(PolicyError::Other(
                "there is nothing to learn from yet; observe an episode first".into(),
            ));
        }
        if let Some(rewarder) = &self.rewarder {
            rewards = rewarder.rewards(seen, rewards.len())?;
        }
        let mut values = |rows: &[f32]| {
            self.value.forward(rows, &mut self.value_tape);
            self.value_tape.output().to_vec()
        };
        let (values, next_values) = (values(&round.observations), values(&next));
        let course = Course {
            rewards: &rewards,
            values: &values,
            next_values: &next_values,
            terminated: &terminated,
            last: &last,
        };
        let (discount, decay) = (self.config.discount, self.config.advantage_decay);
        advantages(
            &course,
            discount as f32,
            decay as f32,
            &mut round.advantages,
        );
        round.returns.clear();
        round
            .returns
            .extend(round.advantages.iter().zip(&values).map(|(a, v)| a + v));
        let policy = &self.policy;
        policy
            .network
            .forward(&round.observations, &mut self.actor_tape);
        let a = policy.spec.action_dim;
        let heads = self.actor_tape.output().chunks_exact(2 * a);
        round.log_probs.extend(
            heads
                .zip(round.actions.chunks_exact(a))
                .map(|(head, action)| gaussian::log_prob(head, action, policy.log_std_range)),
        );
        Ok(())
    }

    /// One gradient step of actor and value on some rows. Returns the objective, the value's loss, the entropy, the estimated
    /// divergence from the policy that collected, the share of clipped actions and the norm of the actor's gradient.
    fn descend(&mut self, rows: &[usize]) -> Result<[f32; 6], PolicyError> {
        let (o, a) = (
            self.policy.spec.observation_dim,
            self.policy.spec.action_dim,
        );
        let (round, size) = (&self.round, rows.len() as f32);
        self.observations.clear();
        for &row in rows {
            self.observations
                .extend_from_slice(&round.observations[row * o..][..o]);
        }
        let mut drawn: Vec<f32> = rows.iter().map(|&row| round.advantages[row]).collect();
        if self.config.standardise_advantages && rows.len() > 1 {
            let mean = drawn.iter().sum::<f32>() / size;
            let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / (size - 1.0);
            let scale = 1.0 / (variance.sqrt() + 1e-8);
            drawn.iter_mut().for_each(|x| *x = (*x - mean) * scale);
        }
        let network = &mut self.policy.network;
        network.forward(&self.observations, &mut self.actor_tape);
        let range = self.policy.log_std_range;
        let (clip, entropy_weight) = (self.config.clip as f32, self.config.entropy_weight as f32);
        self.head_gradient.resize(rows.len() * 2 * a, 0.0);
        let heads = self.actor_tape.output().chunks_exact(2 * a);
        let gradients = self.head_gradient.chunks_exact_mut(2 * a);
        let (mut total, mut entropy, mut divergence, mut clipped) = (0.0, 0.0, 0.0, 0.0);
        for (((&row, head), advantage), gradient) in
            rows.iter().zip(heads).zip(drawn).zip(gradients)
        {
            let action = &round.actions[row * a..][..a];
            let log_ratio = gaussian::log_prob(head, action, range) - round.log_probs[row];
            let (value, slope) = objective(log_ratio, advantage, clip);
            total += value;
            entropy += gaussian::entropy(head, range);
            // Schulman's estimate with the smaller variance, k3.
            divergence += log_ratio.exp() - 1.0 - log_ratio;
            clipped += f32::from(u8::from((log_ratio.exp() - 1.0).abs() > clip));
            // Downhill: the objective and the entropy are to grow.
            let weights = (-slope / size, -entropy_weight / size);
            log_prob_gradient(head, action, range, weights, gradient);
        }
        self.actor_gradient.fill(0.0);
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
        self.value.forward(&self.observations, &mut self.value_tape);
        let errors: Vec<f32> = rows
            .iter()
            .zip(self.value_tape.output())
            .map(|(&row, value)| value - round.returns[row])
            .collect();
        let loss = errors.iter().map(|e| e * e).sum::<f32>() / size;
        let slopes: Vec<f32> = errors.iter().map(|e| 2.0 * e / size).collect();
        self.value_gradient.fill(0.0);
        self.value.backward(
            &mut self.value_tape,
            &slopes,
            Some(&mut self.value_gradient),
            None,
        );
        self.value
            .check_gradient("value", &self.value_gradient, self.updates)?;
        self.value_adam
            .step(&mut self.value.parameters, &mut self.value_gradient);
        Ok([
            total / size,
            loss,
            entropy / size,
            divergence / size,
            clipped / size,
            norm,
        ])
    }
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len().max(1) as f64
}
