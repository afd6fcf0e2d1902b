//! Twin critics with slowly following targets.

use rand_chacha::ChaCha8Rng;

use crate::policy::PolicyError;
use crate::small::adam::{Adam, AdamConfig};
use crate::small::both::{Threads, both};
use crate::small::kernels;
use crate::small::mlp::{HiddenNorm, Mlp, Tape};
use crate::state::{StateDict, StateReader};

/// `Q(observation, action)`, its target network and its optimiser.
#[derive(Clone, Debug)]
struct Critic {
    network: Mlp,
    target: Mlp,
    adam: Adam,
    tape: Tape,
    gradient: Vec<f32>,
    output_gradient: Vec<f32>,
    input_gradient: Vec<f32>,
    /// `Q - y` of the newest update, `[batch]`.
    errors: Vec<f32>,
}

/// Two critics; the smaller of their values counts, against overestimation (Fujimoto, van Hoof and Meger 2018).
#[derive(Clone, Debug)]
pub(crate) struct TwinCritics {
    critics: [Critic; 2],
    /// For a pass through the first critic alone.
    lone_tape: Tape,
    errors: Vec<f32>,
}

/// What an update of the critics says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CriticMetrics {
    /// Mean of `(Q - y)^2 / 2` over both.
    pub(crate) loss: f32,
    /// Mean value of the first critic.
    pub(crate) value: f32,
    /// Norm of the first critic's gradient.
    pub(crate) gradient_norm: f32,
}

impl TwinCritics {
    /// Inputs are `[observation, action]` rows.
    pub(crate) fn new(
        inputs: usize,
        hidden: &[usize],
        norm: HiddenNorm,
        adam: &AdamConfig,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let critics = [(); 2].map(|()| {
            let network = Mlp::new(inputs, hidden, 1, norm, rng);
            Critic {
                target: network.clone(),
                adam: Adam::new(adam.clone(), network.parameters.len()),
                tape: Tape::default(),
                gradient: vec![0.0; network.parameters.len()],
                output_gradient: Vec::new(),
                input_gradient: Vec::new(),
                errors: Vec::new(),
                network,
            }
        });
        Self {
            critics,
            lone_tape: Tape::new(Threads::Two),
            errors: Vec::new(),
        }
    }

    /// Multiply-adds of a pass of so many rows through one critic, one way.
    pub(crate) fn multiply_adds(&self, rows: usize) -> usize {
        self.critics[0].network.multiply_adds(rows)
    }

    /// Calls `work` for both, side by side where a pass of so many rows is worth it.
    fn each<R: Send>(&mut self, rows: usize, work: impl Fn(&mut Critic) -> R + Sync) -> [R; 2] {
        let multiply_adds = self.multiply_adds(rows);
        let [first, second] = &mut self.critics;
        let (first, second) = both(multiply_adds, || work(first), || work(second));
        [first, second]
    }

    /// `min(Q1, Q2)` of the target networks for `inputs` `[batch, inputs]`, into `values` `[batch]`.
    pub(crate) fn target_values(&mut self, inputs: &[f32], values: &mut Vec<f32>) {
        let rows = inputs.len() / self.critics[0].network.inputs();
        self.each(rows, |critic| {
            critic.target.forward(inputs, &mut critic.tape)
        });
        self.minimum(values);
    }

    /// `min(Q1, Q2)` of the networks.
    pub(crate) fn values(&mut self, inputs: &[f32], values: &mut Vec<f32>) {
        let rows = inputs.len() / self.critics[0].network.inputs();
        self.each(rows, |critic| {
            critic.network.forward(inputs, &mut critic.tape)
        });
        self.minimum(values);
    }

    /// The smaller of the newest outputs.
    fn minimum(&self, values: &mut Vec<f32>) {
        let [first, second] = self.critics.each_ref().map(|critic| critic.tape.output());
        values.clear();
        let pairs = first.iter().zip(second);
        values.extend(pairs.map(|(a, b)| if b < a { *b } else { *a }));
    }

    /// `Q1` of the first network alone, and the gradient of `sum_i weight * Q1_i` by the actions, the last `dim` inputs.
    pub(crate) fn first_action_gradients(
        &mut self,
        inputs: &[f32],
        weight: f32,
        dim: usize,
        values: &mut Vec<f32>,
        gradients: &mut Vec<f32>,
    ) {
        let (critic, tape) = (&mut self.critics[0], &mut self.lone_tape);
        critic.network.forward(inputs, tape);
        values.clear();
        values.extend_from_slice(tape.output());
        critic.output_gradient.clear();
        critic.output_gradient.resize(values.len(), weight);
        critic.input_gradient.resize(inputs.len(), 0.0);
        critic.network.backward(
            tape,
            &critic.output_gradient,
            None,
            Some(&mut critic.input_gradient),
        );
        let width = critic.network.inputs();
        gradients.clear();
        for row in critic.input_gradient.chunks_exact(width) {
            gradients.extend_from_slice(&row[width - dim..]);
        }
    }

    /// One step of both critics towards `targets` `[batch]`: `J = mean w (Q - y)^2 / 2`; no `weights` are weights of 1. Nothing moves unless every gradient and
    /// the loss are finite. Where it is wanted, `input_gradient` becomes that of the sum of both losses, from before the step.
    pub(crate) fn update(
        &mut self,
        inputs: &[f32],
        targets: &[f32],
        weights: &[f32],
        update: u64,
        input_gradient: Option<&mut Vec<f32>>,
    ) -> Result<CriticMetrics, PolicyError> {
        let losses = self.each(targets.len(), |critic| {
            let wanted = input_gradient.is_some();
            critic.differentiate(inputs, targets, weights, wanted)
        });
        for (index, critic) in self.critics.iter().enumerate() {
            let name = format!("critic{index}");
            critic
                .network
                .check_gradient(&name, &critic.gradient, update)?;
        }
        let mut metrics = CriticMetrics {
            loss: losses.iter().sum(),
            ..CriticMetrics::default()
        };
        if !metrics.loss.is_finite() {
            return Err(PolicyError::NotFinite {
                tensor: "loss of the critics".into(),
                update,
            });
        }
        let values = self.critics[0].tape.output();
        metrics.value = values.iter().sum::<f32>() / targets.len() as f32;
        let [first, second] = self.critics.each_ref().map(|critic| &critic.errors);
        self.errors.clear();
        let errors = first.iter().zip(second);
        self.errors
            .extend(errors.map(|(first, second)| 0.5 * (first.abs() + second.abs())));
        if let Some(sum) = input_gradient {
            let [first, second] = self.critics.each_ref().map(|c| &c.input_gradient);
            sum.clear();
            sum.extend(first.iter().zip(second).map(|(a, b)| a + b));
        }
        let norms = self.each(targets.len(), |critic| {
            critic
                .adam
                .step(&mut critic.network.parameters, &mut critic.gradient)
        });
        metrics.gradient_norm = norms[0].max(norms[1]);
        Ok(metrics)
    }

    /// Mean absolute error of both critics in the newest update, `[batch]`.
    pub(crate) fn errors(&self) -> &[f32] {
        &self.errors
    }

    /// After [`TwinCritics::values`]: the gradient of `sum_i weight * min(Q1, Q2)_i` by the actions, the last `dim` inputs, into
    /// `gradients` `[batch, dim]`.
    pub(crate) fn action_gradients(&mut self, weight: f32, dim: usize, gradients: &mut Vec<f32>) {
        let [first, second] = &mut self.critics;
        let rows = first.tape.output().len();
        for critic in [&mut *first, &mut *second] {
            critic.output_gradient.clear();
        }
        // The smaller value passes the gradient on; at a tie the first.
        for (a, b) in first.tape.output().iter().zip(second.tape.output()) {
            let smaller = usize::from(b < a);
            first.output_gradient.push([weight, 0.0][smaller]);
            second.output_gradient.push([0.0, weight][smaller]);
        }
        self.each(rows, |critic| {
            let inputs = critic.network.inputs();
            critic.input_gradient.resize(rows * inputs, 0.0);
            critic.network.backward(
                &mut critic.tape,
                &critic.output_gradient,
                None,
                Some(&mut critic.input_gradient),
            );
        });
        gradients.clear();
        let inputs = self.critics[0].network.inputs();
        let [first, second] = self.critics.each_ref().map(|critic| {
            let rows = critic.input_gradient.chunks_exact(inputs);
            rows.map(|row| &row[inputs - dim..])
        });
        for (first, second) in first.zip(second) {
            gradients.extend(first.iter().zip(second).map(|(a, b)| a + b));
        }
    }

    /// `target <- target + rate (network - target)`.
    pub(crate) fn follow(&mut self, rate: f32) {
        for critic in &mut self.critics {
            kernels::polyak(
                &mut critic.target.parameters,
                &critic.network.parameters,
                rate,
            );
        }
    }

    /// All parameters of the two networks, for comparison with another implementation.
    #[cfg(test)]
    pub(crate) fn parameters(&self) -> [&[f32]; 2] {
        self.critics
            .each_ref()
            .map(|critic| critic.network.parameters.as_slice())
    }

    /// The same of the target networks.
    #[cfg(test)]
    pub(crate) fn target_parameters(&self) -> [&[f32]; 2] {
        self.critics
            .each_ref()
            .map(|critic| critic.target.parameters.as_slice())
    }

    pub(crate) fn save(&self, state: &mut StateDict) {
        for (index, critic) in self.critics.iter().enumerate() {
            critic.network.save(&format!("critic{index}"), state);
            critic.target.save(&format!("critic{index}.target"), state);
            critic.adam.save(&format!("critic{index}.adam"), state);
        }
    }

    pub(crate) fn load(&mut self, state: &StateReader) -> Result<(), PolicyError> {
        for (index, critic) in self.critics.iter_mut().enumerate() {
            critic.network.load(&format!("critic{index}"), state)?;
            critic
                .target
                .load(&format!("critic{index}.target"), state)?;
            critic.adam.load(&format!("critic{index}.adam"), state)?;
        }
        Ok(())
    }
}

impl Critic {
    /// The gradient of `mean w (Q - y)^2 / 2` by the parameters, and by the inputs where wanted; returns its value, halved for the mean
    /// over both critics.
    fn differentiate(
        &mut self,
        inputs: &[f32],
        targets: &[f32],
        weights: &[f32],
        by_inputs: bool,
    ) -> f32 {
        let batch = targets.len() as f32;
        self.network.forward(inputs, &mut self.tape);
        self.errors.clear();
        self.output_gradient.clear();
        let mut loss = 0.0;
        for (row, (value, target)) in self.tape.output().iter().zip(targets).enumerate() {
            let error = value - target;
            let weight = weights.get(row).copied().unwrap_or(1.0);
            loss += 0.25 * weight * error * error / batch;
            self.errors.push(error);
            self.output_gradient.push(weight * error / batch);
        }
        self.gradient.fill(0.0);
        self.network.backward(
            &mut self.tape,
            &self.output_gradient,
            Some(&mut self.gradient),
            by_inputs.then(|| {
                self.input_gradient.resize(inputs.len(), 0.0);
                &mut self.input_gradient[..]
            }),
        );
        loss
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    #[test]
    fn action_gradients_agree_with_finite_differences_of_the_smaller_value() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let adam = AdamConfig::default();
        let mut critics = TwinCritics::new(5, &[24, 24], HiddenNorm::Layer, &adam, &mut rng);
        let inputs: Vec<f32> = (0..9 * 5).map(|_| rng.random_range(-1.0..1.0)).collect();
        let (mut values, mut gradients) = (Vec::new(), Vec::new());
        critics.values(&inputs, &mut values);
        critics.action_gradients(-0.5, 2, &mut gradients);
        let mut compared = 0;
        for row in 0..9 {
            for i in 0..2 {
                let mut total = |delta: f32| {
                    let mut moved = inputs.clone();
                    moved[row * 5 + 3 + i] += delta;
                    critics.values(&moved, &mut values);
                    -0.5 * f64::from(values[row])
                };
                let (up, here, down) = (total(2e-3), total(0.0), total(-2e-3));
                // A kink (a rectifier, or the other critic becomes the smaller) has no derivative to compare with.
                if ((up - here) - (here - down)).abs() < 2e-6 {
                    compared += 1;
                    let (expected, found) = ((up - down) / 4e-3, f64::from(gradients[row * 2 + i]));
                    assert!(
                        (found - expected).abs() < 2e-3,
                        "{row} {i}: {found} {expected}"
                    );
                }
            }
        }
        assert!(compared >= 9, "{compared}");
    }

    #[test]
    fn a_step_goes_towards_the_targets_and_targets_follow_by_their_rate() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let adam = AdamConfig::default();
        let mut critics = TwinCritics::new(3, &[16], HiddenNorm::None, &adam, &mut rng);
        let inputs: Vec<f32> = (0..8 * 3).map(|_| rng.random_range(-1.0..1.0)).collect();
        let before = critics.critics[0].target.parameters.clone();
        let first = critics
            .update(&inputs, &[1.0; 8], &[], 0, None)
            .unwrap()
            .loss;
        for update in 0..50 {
            critics
                .update(&inputs, &[1.0; 8], &[], update, None)
                .unwrap();
        }
        assert!(
            critics
                .update(&inputs, &[1.0; 8], &[], 51, None)
                .unwrap()
                .loss
                < 0.9 * first
        );
        critics.follow(0.25);
        let critic = &critics.critics[0];
        for ((b, n), t) in before
            .iter()
            .zip(&critic.network.parameters)
            .zip(&critic.target.parameters)
        {
            assert!((b + 0.25 * (n - b) - t).abs() < 1e-6);
        }
    }

    #[test]
    fn a_target_that_is_no_number_stops_before_anything_moves() {
        let (adam, mut rng) = (AdamConfig::default(), ChaCha8Rng::seed_from_u64(4));
        let mut critics = TwinCritics::new(3, &[256, 256], HiddenNorm::None, &adam, &mut rng);
        let before = critics.critics[1].network.parameters.clone();
        let error = critics
            .update(&[0.5; 6], &[0.0, f32::NAN], &[], 7, None)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("gradient of critic0.") && error.contains("update 7"),
            "{error}"
        );
        assert_eq!(critics.critics[1].network.parameters, before);
    }
}
