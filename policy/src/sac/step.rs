//! One step of soft actor-critic, in the order of the paper's algorithm 1.

use super::Sac;
use crate::off_policy::join;
use crate::policy::{Metrics, PolicyError};

impl Sac {
    /// One gradient step of everything: sample, targets, critics, actor, temperature, target networks.
    pub(super) fn step(&mut self) -> Result<Metrics, PolicyError> {
        let mut metrics = Metrics::new();
        self.experience
            .sample(&self.policy.normaliser, &mut self.rng)?;

        self.compute_targets();
        let (o, a) = (
            self.policy.spec.observation_dim,
            self.policy.spec.action_dim,
        );
        join(
            &self.experience.batch.observations,
            o,
            &self.experience.batch.actions,
            a,
            &mut self.critic_inputs,
        );
        let critic = self.critics.update(
            &self.critic_inputs,
            &self.targets,
            &self.experience.batch.weights,
            self.experience.updates,
            None,
        )?;
        self.experience.learned(self.critics.errors());
        metrics.insert("critic_loss".into(), f64::from(critic.loss));
        metrics.insert(
            "critic_gradient_norm".into(),
            f64::from(critic.gradient_norm),
        );
        metrics.insert("value".into(), f64::from(critic.value));

        if self
            .experience
            .updates
            .is_multiple_of(self.config.actor_every)
        {
            let log_prob = self.update_actor(&mut metrics)?;
            self.update_temperature(log_prob)?;
        }
        metrics.insert("temperature".into(), f64::from(self.temperature()));

        self.critics.follow(self.config.target_rate as f32);
        self.experience.count_update();
        Ok(metrics)
    }

    /// `y = r + gamma (1 - terminated) (min Q_target(s', a') - alpha log pi(a'|s'))` with `a' ~ pi(s')`.
    fn compute_targets(&mut self) {
        let (o, a) = (
            self.policy.spec.observation_dim,
            self.policy.spec.action_dim,
        );
        self.policy.network.forward(
            &self.experience.batch.next_observations,
            &mut self.actor_tape,
        );
        self.draws.sample(
            self.actor_tape.output(),
            a,
            self.policy.log_std_range,
            &mut self.rng,
        );
        join(
            &self.experience.batch.next_observations,
            o,
            &self.draws.actions,
            a,
            &mut self.critic_inputs,
        );
        self.critics
            .target_values(&self.critic_inputs, &mut self.values);
        bootstrap(
            &self.experience.batch.rewards,
            &self.experience.batch.discounts,
            &self.values,
            &self.draws.log_probs,
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
            .forward(&self.experience.batch.observations, &mut self.actor_tape);
        let heads = self.actor_tape.output();
        self.draws
            .sample(heads, a, self.policy.log_std_range, &mut self.rng);
        join(
            &self.experience.batch.observations,
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

        if let Some(learned) = self.config.learned_imitation {
            self.weigh_imitation(learned, metrics)?;
        }
        let cloning = self.config.behaviour_cloning_weight as f32;
        if cloning > 0.0 && self.experience.batch.demonstrations > 0 {
            let rows = self.experience.batch.demonstrations;
            let loss = clone_gradient(
                &self.actor_tape.output()[..rows * 2 * a],
                &self.experience.batch.actions[..rows * a],
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
        network.check_gradient("actor", &self.actor_gradient, self.experience.updates)?;
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
                update: self.experience.updates,
            });
        }
        let parameter = std::slice::from_mut(&mut self.log_temperature);
        self.temperature_adam.step(parameter, &mut [gradient]);
        Ok(())
    }
}

/// `y = r + discount * (value - alpha * log_prob)`.
fn bootstrap(
    rewards: &[f32],
    discounts: &[f32],
    values: &[f32],
    log_probs: &[f32],
    temperature: f32,
    targets: &mut Vec<f32>,
) {
    targets.clear();
    let steps = rewards
        .iter()
        .zip(discounts)
        .zip(values.iter().zip(log_probs));
    targets.extend(steps.map(|((reward, discount), (value, log_prob))| {
        reward + discount * (value - temperature * log_prob)
    }));
}

/// Adds the gradient of `weight * mean (tanh(mean) - action)^2` to that of the heads `[rows, 2A]`; returns the mean.
pub(super) fn clone_gradient(
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
    use burn::tensor::activation::{relu, softplus};
    use burn::tensor::{Device, Tensor, TensorData};
    use rand::RngExt as _;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::checkpoint::PolicySpec;
    use crate::policy::{Learner as _, Transition};
    use crate::sac::SacConfig;

    fn sample(sac: &mut Sac) {
        let normaliser = &sac.policy.normaliser;
        sac.experience.sample(normaliser, &mut sac.rng).unwrap();
    }

    fn tensor(values: &[f32], shape: [usize; 2], device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
    }

    /// A network of two hidden layers of 24 in Burn; its parameters in the order of ours.
    fn burn_network(widths: [usize; 2], parameters: &[f32], device: &Device) -> Vec<Tensor<2>> {
        let [inputs, outputs] = widths;
        let shapes = [
            [inputs, 24],
            [1, 24],
            [24, 24],
            [1, 24],
            [24, outputs],
            [1, outputs],
        ];
        let mut at = 0;
        shapes
            .map(|shape| {
                at += shape[0] * shape[1];
                tensor(&parameters[at - shape[0] * shape[1]..at], shape, device).require_grad()
            })
            .to_vec()
    }

    fn burn_forward(p: &[Tensor<2>], x: Tensor<2>) -> Tensor<2> {
        let h = relu(x.matmul(p[0].clone()) + p[1].clone());
        let h = relu(h.matmul(p[2].clone()) + p[3].clone());
        h.matmul(p[4].clone()) + p[5].clone()
    }

    #[test]
    fn the_gradient_of_the_actors_whole_loss_agrees_with_burn() {
        let (o, a, b) = (4, 2, 32);
        let config = SacConfig {
            hidden: vec![24, 24],
            batch: b,
            behaviour_cloning_weight: 0.7,
            ..SacConfig::default()
        };
        let mut sac = Sac::new(PolicySpec::new(o, a), config, 3).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut row = |n: usize| {
            (0..n)
                .map(|_| rng.random_range(-1.0f32..1.0))
                .collect::<Vec<f32>>()
        };
        for round in 0..2 {
            let episode: Vec<Transition> = (0..50)
                .map(|_| Transition {
                    observation: row(o),
                    action: row(a),
                    reward: row(1)[0],
                    next_observation: row(o),
                    terminated: false,
                    truncated: false,
                })
                .collect();
            if round == 0 {
                sac.observe(&episode).unwrap();
            } else {
                sac.observe_demonstration(&episode).unwrap();
            }
        }
        sample(&mut sac);
        let before = sac.policy.network.parameters.clone();
        sac.update_actor(&mut Metrics::new()).unwrap();

        let device = Device::flex().autodiff();
        let actor = burn_network([o, 2 * a], &before, &device);
        let critics = sac
            .critics
            .parameters()
            .map(|p| burn_network([o + a, 1], p, &device));
        let states = tensor(&sac.experience.batch.observations, [b, o], &device);
        let noise = tensor(&sac.draws.noise, [b, a], &device);
        let head = burn_forward(&actor, states.clone());
        let (mean, s) = (head.clone().narrow(1, 0, a), head.narrow(1, a, a));
        let log_std = ((s + 1.5) / 3.5).tanh() * 3.5 - 1.5;
        let u = mean.clone() + log_std.clone().exp() * noise.clone();
        let action = u.clone().tanh();
        let gauss = noise.powi_scalar(2) * -0.5 - log_std - 0.5 * std::f32::consts::TAU.ln();
        // ln(1 - tanh(u)^2) = 2 (ln 2 - u - softplus(-2 u))
        let slope = (-u.clone() - softplus(-u * 2.0, 1.0) + std::f32::consts::LN_2) * 2.0;
        let log_prob = (gauss - slope).sum_dim(1);
        let inputs = Tensor::cat(vec![states, action], 1);
        let [q1, q2] = critics.map(|critic| burn_forward(&critic, inputs.clone()));
        let alpha = SacConfig::default().initial_temperature as f32;
        let rows = sac.experience.batch.demonstrations;
        let shown = tensor(
            &sac.experience.batch.actions[..rows * a],
            [rows, a],
            &device,
        );
        let cloning = (mean.narrow(0, 0, rows).tanh() - shown)
            .powi_scalar(2)
            .mean();
        let loss = (log_prob * alpha - q1.min_pair(q2)).mean() + cloning * 0.7;
        let gradients = loss.backward();
        let burn: Vec<f32> = actor
            .iter()
            .flat_map(|p| {
                p.grad(&gradients)
                    .unwrap()
                    .into_data()
                    .try_to_vec::<f32>()
                    .unwrap()
            })
            .collect();
        assert_eq!(burn.len(), sac.actor_gradient.len());
        for (index, (own, burn)) in sac.actor_gradient.iter().zip(&burn).enumerate() {
            assert!((own - burn).abs() < 1e-5, "{index}: {own} {burn}");
        }
        assert!(
            burn.iter().any(|g| g.abs() > 1e-2),
            "the comparison says something"
        );
    }

    #[test]
    fn targets_bootstrap_through_the_clock_but_not_through_the_end_of_the_task() {
        let mut targets = Vec::new();
        // r + discount * (value - 0.5 * log_prob)
        bootstrap(
            &[1.0, 1.0, -2.0],
            &[0.9, 0.0, 0.9],
            &[10.0, 10.0, 4.0],
            &[-2.0, -2.0, 6.0],
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
        for (terminated, truncated, discount) in
            [(true, false, 0.0), (false, true, 0.99), (true, true, 0.0)]
        {
            let mut sac = Sac::new(PolicySpec::new(1, 1), config.clone(), 0).unwrap();
            sac.observe(&[step(terminated, truncated)]).unwrap();
            sample(&mut sac);
            assert_eq!(sac.experience.batch.discounts, vec![discount; 16]);
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
            sample(sac);
            shares.push(
                sac.experience
                    .batch
                    .rewards
                    .iter()
                    .filter(|&&r| r == 1.0)
                    .count(),
            );
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
