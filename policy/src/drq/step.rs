//! One step of DrQ-v2, in the order of the paper's algorithm 1.

use super::Drq;
use super::frames::Batch;
use crate::gaussian;
use crate::off_policy::join;
use crate::policy::{Metrics, PolicyError};
use crate::small::kernels;

/// The first `count` numbers of each row.
fn leading(rows: &[f32], width: usize, count: usize) -> Vec<f32> {
    let rows = rows.chunks_exact(width);
    rows.flat_map(|row| &row[..count]).copied().collect()
}

impl Drq {
    /// One gradient step: sample and shift, targets, critics with the encoder, actor, target networks.
    pub(super) fn step(&mut self) -> Result<Metrics, PolicyError> {
        let mut metrics = Metrics::new();
        let mut batch = std::mem::take(&mut self.batch);
        let outcome = self.learn_from(&mut batch, &mut metrics);
        self.batch = batch;
        outcome?;
        self.updates += 1;
        self.owed -= 1.0;
        Ok(metrics)
    }

    fn learn_from(&mut self, batch: &mut Batch, metrics: &mut Metrics) -> Result<(), PolicyError> {
        self.frames.sample(batch, &mut self.rng)?;
        self.policy.noise = self.policy.config.noise_at(self.steps);
        self.compute_targets(batch);
        self.update_critics(batch, metrics)?;
        self.update_actor(batch, metrics)?;
        let rate = self.policy.config.target_rate as f32;
        self.critics.follow(rate);
        kernels::polyak(
            &mut self.target_trunk.parameters,
            &self.critic_trunk.parameters,
            rate,
        );
        Ok(())
    }

    /// The actor's action for the features of the newest pass, into `self.means` and, with noise, into `self.actions`.
    fn draw_actions(&mut self, features: &[f32], own: &[f32]) {
        let config = &self.policy.config;
        self.policy
            .trunk
            .forward(features, &mut self.actor_trunk_tape);
        let z = &self.actor_trunk_tape.output;
        join(z, config.features, own, config.own, &mut self.actor_inputs);
        self.policy
            .network
            .forward(&self.actor_inputs, &mut self.actor_tape);
        self.means.clear();
        self.means
            .extend(self.actor_tape.output().iter().map(|u| u.tanh()));
        self.noise.resize(self.means.len(), 0.0);
        gaussian::fill_normal(&mut self.noise, &mut self.rng);
        let limit = config.noise_limit as f32;
        self.actions.clear();
        let draws = self.means.iter().zip(&self.noise);
        self.actions.extend(draws.map(|(mean, noise)| {
            let noise = (self.policy.noise * noise).clamp(-limit, limit);
            (mean + noise).clamp(-1.0, 1.0)
        }));
    }

    /// Rows `[features of the trunk, own, action]`.
    fn critic_rows(z: &[f32], own: &[f32], actions: &[f32], widths: [usize; 3]) -> Vec<f32> {
        let [features, own_width, dim] = widths;
        let (mut state, mut rows) = (Vec::new(), Vec::new());
        join(z, features, own, own_width, &mut state);
        join(&state, features + own_width, actions, dim, &mut rows);
        rows
    }

    fn widths(&self) -> [usize; 3] {
        let config = &self.policy.config;
        [config.features, config.own, self.policy.spec.action_dim]
    }

    /// `y = r + gamma^n min Q_target(s', pi(s') + noise)`; the encoder has no target of its own.
    pub(super) fn compute_targets(&mut self, batch: &Batch) {
        let mut tape = std::mem::take(&mut self.conv_tape);
        self.policy.encoder.forward(&batch.next_pictures, &mut tape);
        self.draw_actions(tape.output(), &batch.next_own);
        self.target_trunk
            .forward(tape.output(), &mut self.critic_trunk_tape);
        let z = &self.critic_trunk_tape.output;
        let rows = Self::critic_rows(z, &batch.next_own, &self.actions, self.widths());
        self.critics.target_values(&rows, &mut self.values);
        self.conv_tape = tape;
        let steps = batch.rewards.iter().zip(&batch.discounts);
        self.targets.clear();
        self.targets.extend(
            steps
                .zip(&self.values)
                .map(|((reward, discount), value)| reward + discount * value),
        );
    }

    /// Critics, their trunk and the encoder go down the same gradient.
    pub(super) fn update_critics(
        &mut self,
        batch: &Batch,
        metrics: &mut Metrics,
    ) -> Result<(), PolicyError> {
        let encoder = &mut self.policy.encoder;
        encoder.forward(&batch.pictures, &mut self.conv_tape);
        self.features.clear();
        self.features.extend_from_slice(self.conv_tape.output());
        self.critic_trunk
            .forward(&self.features, &mut self.critic_trunk_tape);
        let widths = [
            self.policy.config.features,
            self.policy.config.own,
            self.policy.spec.action_dim,
        ];
        let z = &self.critic_trunk_tape.output;
        let rows = Self::critic_rows(z, &batch.own, &batch.actions, widths);
        let critic = self.critics.update(
            &rows,
            &self.targets,
            &[],
            self.updates,
            Some(&mut self.row_gradient),
        )?;
        let by_trunk = leading(&self.row_gradient, widths.iter().sum(), widths[0]);
        self.critic_trunk.backward(
            &self.features,
            &mut self.critic_trunk_tape,
            &by_trunk,
            &mut self.trunk_gradient,
            Some(&mut self.feature_gradient),
        );
        encoder.backward(
            &mut self.conv_tape,
            &self.feature_gradient,
            &mut self.encoder_gradient,
        );
        self.critic_trunk
            .check_gradient("critic.trunk", &self.trunk_gradient, self.updates)?;
        encoder.check_gradient(&self.encoder_gradient, self.updates)?;
        self.critic_trunk_adam
            .step(&mut self.critic_trunk.parameters, &mut self.trunk_gradient);
        let norm = self
            .encoder_adam
            .step(&mut encoder.parameters, &mut self.encoder_gradient);
        metrics.insert("critic_loss".into(), f64::from(critic.loss));
        metrics.insert("value".into(), f64::from(critic.value));
        metrics.insert("encoder_gradient_norm".into(), f64::from(norm));
        metrics.insert(
            "critic_gradient_norm".into(),
            f64::from(critic.gradient_norm),
        );
        metrics.insert("noise".into(), f64::from(self.policy.noise));
        Ok(())
    }

    /// `J_pi = -mean min Q(s, pi(s) + noise)`, by the features from before the encoder's step; nothing goes back into the encoder.
    pub(super) fn update_actor(
        &mut self,
        batch: &Batch,
        metrics: &mut Metrics,
    ) -> Result<(), PolicyError> {
        let features = std::mem::take(&mut self.features);
        self.draw_actions(&features, &batch.own);
        self.critic_trunk
            .forward(&features, &mut self.critic_trunk_tape);
        let (z, widths) = (&self.critic_trunk_tape.output, self.widths());
        let rows = Self::critic_rows(z, &batch.own, &self.actions, widths);
        let size = batch.rewards.len() as f32;
        self.critics.values(&rows, &mut self.values);
        self.critics
            .action_gradients(-1.0 / size, widths[2], &mut self.action_gradient);
        // Where the noise is cut off the gradient still goes to the mean.
        let head_gradient: Vec<f32> = self
            .action_gradient
            .iter()
            .zip(&self.means)
            .map(|(gradient, mean)| gradient * (1.0 - mean * mean))
            .collect();
        let network = &mut self.policy.network;
        self.actor_gradient.clear();
        self.actor_gradient.resize(network.parameters.len(), 0.0);
        self.row_gradient.resize(self.actor_inputs.len(), 0.0);
        network.backward(
            &mut self.actor_tape,
            &head_gradient,
            Some(&mut self.actor_gradient),
            Some(&mut self.row_gradient),
        );
        network.check_gradient("actor", &self.actor_gradient, self.updates)?;
        let by_trunk = leading(&self.row_gradient, widths[0] + widths[1], widths[0]);
        let trunk = &mut self.policy.trunk;
        trunk.backward(
            &features,
            &mut self.actor_trunk_tape,
            &by_trunk,
            &mut self.trunk_gradient,
            None,
        );
        trunk.check_gradient("actor.trunk", &self.trunk_gradient, self.updates)?;
        let norm = self
            .actor_adam
            .step(&mut network.parameters, &mut self.actor_gradient);
        self.actor_trunk_adam
            .step(&mut trunk.parameters, &mut self.trunk_gradient);
        self.features = features;
        let value = self.values.iter().sum::<f32>() / size;
        metrics.insert("actor_loss".into(), f64::from(-value));
        metrics.insert("actor_gradient_norm".into(), f64::from(norm));
        Ok(())
    }
}
