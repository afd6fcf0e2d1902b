//! A round of PPO: advantages of everything collected, then epochs of gradient steps on it.

use rand::seq::SliceRandom as _;

use super::Ppo;
use super::advantage::{Course, advantages};
use crate::clipped_gaussian::{entropy, likelihood};
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
        let heads = self.actor_tape.output().chunks_exact(a);
        let log_prob = |(head, action): (&[f32], &[f32])| -> f32 {
            let components = head.iter().zip(action).zip(&policy.log_std);
            components
                .map(|((h, &a), &log_std)| likelihood(a, h.tanh(), log_std).log_prob)
                .sum()
        };
        round
            .log_probs
            .extend(heads.zip(round.actions.chunks_exact(a)).map(log_prob));
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
        let log_std = &mut self.policy.log_std;
        let (clip, entropy_weight) = (self.config.clip as f32, self.config.entropy_weight as f32);
        self.head_gradient.clear();
        // Downhill: the objective and the entropy are to grow.
        let mut spread_gradient = vec![-entropy_weight; a];
        let heads = self.actor_tape.output().chunks_exact(a);
        let (mut total, mut divergence, mut clipped) = (0.0, 0.0, 0.0);
        for ((&row, head), advantage) in rows.iter().zip(heads).zip(drawn) {
            self.found.clear();
            let action = &round.actions[row * a..][..a];
            let components = head.iter().zip(action).zip(log_std.iter());
            self.found
                .extend(components.map(|((h, &a), &s)| likelihood(a, h.tanh(), s)));
            let log_prob: f32 = self.found.iter().map(|f| f.log_prob).sum();
            let log_ratio = log_prob - round.log_probs[row];
            let (value, slope) = objective(log_ratio, advantage, clip);
            total += value;
            // Schulman's estimate with the smaller variance, k3.
            divergence += log_ratio.exp() - 1.0 - log_ratio;
            clipped += f32::from(u8::from((log_ratio.exp() - 1.0).abs() > clip));
            for ((found, h), spread) in self.found.iter().zip(head).zip(&mut spread_gradient) {
                let mean = h.tanh();
                let slope = -slope / size;
                self.head_gradient
                    .push(slope * found.by_mean * (1.0 - mean * mean));
                *spread += slope * found.by_log_std;
            }
        }
        self.actor_gradient.fill(0.0);
        network.backward(
            &mut self.actor_tape,
            &self.head_gradient,
            Some(&mut self.actor_gradient),
            None,
        );
        network.check_gradient("actor", &self.actor_gradient, self.updates)?;
        if let Some(at) = spread_gradient.iter().position(|g| !g.is_finite()) {
            return Err(PolicyError::NotFinite {
                tensor: format!("gradient of actor.log_std[{at}]"),
                update: self.updates,
            });
        }
        let norm = self
            .actor_adam
            .step(&mut network.parameters, &mut self.actor_gradient);
        self.log_std_adam.step(log_std, &mut spread_gradient);
        let [low, high] = self.config.log_std_range.map(|x| x as f32);
        for log_std in log_std.iter_mut() {
            *log_std = log_std.clamp(low, high);
        }
        let entropy = log_std.iter().map(|&s| entropy(s)).sum();
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
            entropy,
            divergence / size,
            clipped / size,
            norm,
        ])
    }
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len().max(1) as f64
}
