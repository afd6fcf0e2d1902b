//! One step of TD3, in the order of the paper's algorithm 1.

use super::Td3;
use crate::gaussian;
use crate::off_policy::join;
use crate::policy::{Metrics, PolicyError};
use crate::small::kernels;

impl Td3 {
    /// One gradient step: sample, targets, critics, and every so many steps the actor and the target networks.
    pub(super) fn step(&mut self) -> Result<Metrics, PolicyError> {
        let mut metrics = Metrics::new();
        self.experience
            .sample(&self.policy.normaliser, &mut self.rng)?;
        self.compute_targets();
        let (o, a) = self.widths();
        let batch = &self.experience.batch;
        join(
            &batch.observations,
            o,
            &batch.actions,
            a,
            &mut self.critic_inputs,
        );
        let updates = self.experience.updates;
        let critic = self.critics.update(
            &self.critic_inputs,
            &self.targets,
            &batch.weights,
            updates,
            None,
        )?;
        self.experience.learned(self.critics.errors());
        metrics.insert("critic_loss".into(), f64::from(critic.loss));
        metrics.insert(
            "critic_gradient_norm".into(),
            f64::from(critic.gradient_norm),
        );
        metrics.insert("value".into(), f64::from(critic.value));
        if updates.is_multiple_of(self.config.actor_every) {
            self.update_actor(&mut metrics)?;
            let rate = self.config.target_rate as f32;
            self.critics.follow(rate);
            kernels::polyak(
                &mut self.target_actor.parameters,
                &self.policy.network.parameters,
                rate,
            );
        }
        self.experience.count_update();
        Ok(metrics)
    }

    fn widths(&self) -> (usize, usize) {
        let spec = &self.policy.spec;
        (spec.observation_dim, spec.action_dim)
    }

    /// `y = r + gamma min Q_target(s', clip(pi_target(s') + clip(noise)))`: the noise smooths the value over similar actions.
    pub(super) fn compute_targets(&mut self) {
        let (o, a) = self.widths();
        let batch = &self.experience.batch;
        self.target_actor
            .forward(&batch.next_observations, &mut self.actor_tape);
        self.actions.clear();
        self.actions.extend(self.actor_tape.output());
        self.noise.resize(self.actions.len(), 0.0);
        gaussian::fill_normal(&mut self.noise, &mut self.rng);
        let (size, limit) = (
            self.config.target_noise as f32,
            self.config.target_noise_limit as f32,
        );
        for (action, noise) in self.actions.iter_mut().zip(&self.noise) {
            let noise = (size * noise).clamp(-limit, limit);
            *action = (action.tanh() + noise).clamp(-1.0, 1.0);
        }
        join(
            &batch.next_observations,
            o,
            &self.actions,
            a,
            &mut self.critic_inputs,
        );
        self.critics
            .target_values(&self.critic_inputs, &mut self.values);
        let steps = batch.rewards.iter().zip(&batch.discounts);
        self.targets.clear();
        self.targets.extend(
            steps
                .zip(&self.values)
                .map(|((reward, discount), value)| reward + discount * value),
        );
    }

    /// `J_pi = -mean Q1(s, pi(s))`.
    pub(super) fn update_actor(&mut self, metrics: &mut Metrics) -> Result<(), PolicyError> {
        let (o, a) = self.widths();
        let batch = &self.experience.batch;
        let network = &mut self.policy.network;
        network.forward(&batch.observations, &mut self.actor_tape);
        self.actions.clear();
        self.actions
            .extend(self.actor_tape.output().iter().map(|u| u.tanh()));
        join(
            &batch.observations,
            o,
            &self.actions,
            a,
            &mut self.critic_inputs,
        );
        let size = batch.rewards.len() as f32;
        self.critics.first_action_gradients(
            &self.critic_inputs,
            -1.0 / size,
            a,
            &mut self.values,
            &mut self.action_gradient,
        );
        self.head_gradient.clear();
        self.head_gradient.extend(
            self.action_gradient
                .iter()
                .zip(&self.actions)
                .map(|(gradient, action)| gradient * (1.0 - action * action)),
        );
        self.actor_gradient.fill(0.0);
        network.backward(
            &mut self.actor_tape,
            &self.head_gradient,
            Some(&mut self.actor_gradient),
            None,
        );
        network.check_gradient("actor", &self.actor_gradient, self.experience.updates)?;
        let norm = self
            .actor_adam
            .step(&mut network.parameters, &mut self.actor_gradient);
        let value = self.values.iter().sum::<f32>() / size;
        metrics.insert("actor_loss".into(), f64::from(-value));
        metrics.insert("actor_gradient_norm".into(), f64::from(norm));
        Ok(())
    }
}
