//! The Adam optimiser (Kingma and Ba 2015) on one flat vector of parameters.

use serde::{Deserialize, Serialize};

use crate::policy::PolicyError;
use crate::small::kernels;
use crate::small::vector::vectorised;
use crate::state::{StateDict, StateReader};

/// Settings of the Adam optimiser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamConfig {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Keeps the division finite.
    pub epsilon: f64,
    /// Decoupled weight decay per step, as a share of the learning rate (AdamW); 0 for none.
    pub weight_decay: f64,
    /// Largest Euclidean norm of a gradient, longer ones are shortened to it; 0 for no limit.
    pub max_gradient_norm: f64,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self {
            learning_rate: 3e-4,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            max_gradient_norm: 0.0,
        }
    }
}

impl AdamConfig {
    /// Says what is wrong with these settings, if anything.
    pub fn validate(&self, name: &str) -> Result<(), PolicyError> {
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let fault = if !positive(self.learning_rate) {
            "learning_rate must be above 0"
        } else if !(0.0..1.0).contains(&self.beta1) || !(0.0..1.0).contains(&self.beta2) {
            "beta1 and beta2 must be in 0..1"
        } else if !positive(self.epsilon) {
            "epsilon must be above 0"
        } else if ![self.weight_decay, self.max_gradient_norm]
            .iter()
            .all(|x| *x == 0.0 || positive(*x))
        {
            "weight_decay and max_gradient_norm must not be negative"
        } else {
            return Ok(());
        };
        Err(PolicyError::Other(format!("{name}: {fault}")))
    }
}

/// The numbers of one step, corrected for the start.
pub(crate) struct Step {
    pub(crate) rate: f32,
    pub(crate) correction: f32,
    pub(crate) keep: f32,
    pub(crate) beta1: f32,
    pub(crate) beta2: f32,
    pub(crate) rest1: f32,
    pub(crate) rest2: f32,
    pub(crate) epsilon: f32,
}

vectorised! {
    fn descend(parameters: &mut [f32], gradient: &[f32], mean: &mut [f32], square: &mut [f32], step: &Step) {
        let moments = mean.iter_mut().zip(square);
        for ((p, &g), (m, v)) in parameters.iter_mut().zip(gradient).zip(moments) {
            *m = step.beta1 * *m + step.rest1 * g;
            *v = step.beta2 * *v + step.rest2 * g * g;
            *p = step.keep * *p - step.rate * *m / (v.sqrt() * step.correction + step.epsilon);
        }
    }
}

/// Adam's memory: running means of gradients and squared gradients.
#[derive(Clone, Debug)]
pub(crate) struct Adam {
    config: AdamConfig,
    mean: Vec<f32>,
    square: Vec<f32>,
    steps: u64,
}

impl Adam {
    pub(crate) fn new(config: AdamConfig, parameters: usize) -> Self {
        Self {
            config,
            mean: vec![0.0; parameters],
            square: vec![0.0; parameters],
            steps: 0,
        }
    }

    /// Another step size from here on.
    pub(crate) fn set_learning_rate(&mut self, rate: f64) {
        self.config.learning_rate = rate;
    }

    /// One step downhill. `gradient` may be shortened in place. Returns its norm before that.
    pub(crate) fn step(&mut self, parameters: &mut [f32], gradient: &mut [f32]) -> f32 {
        let norm = kernels::norm(gradient);
        let limit = self.config.max_gradient_norm as f32;
        if limit > 0.0 && norm > limit {
            kernels::scale(gradient, limit / norm);
        }
        let step = self.begin(1.0);
        self.descend(0, parameters, gradient, &step);
        norm
    }

    /// Starts a step with `factor` times the learning rate, whose parts are then taken with [`Adam::descend`].
    pub(crate) fn begin(&mut self, factor: f64) -> Step {
        self.steps += 1;
        let c = &self.config;
        let rate = c.learning_rate * factor;
        let power = self.steps.min(i32::MAX as u64) as i32;
        // mean / (1 - beta1^t) over sqrt(square / (1 - beta2^t)) + epsilon
        Step {
            rate: (rate / (1.0 - c.beta1.powi(power))) as f32,
            correction: (1.0 / (1.0 - c.beta2.powi(power)).sqrt()) as f32,
            keep: (1.0 - rate * c.weight_decay) as f32,
            beta1: c.beta1 as f32,
            beta2: c.beta2 as f32,
            rest1: (1.0 - c.beta1) as f32,
            rest2: (1.0 - c.beta2) as f32,
            epsilon: c.epsilon as f32,
        }
    }

    /// The part of a step for the parameters from number `start` on.
    pub(crate) fn descend(
        &mut self,
        start: usize,
        parameters: &mut [f32],
        gradient: &[f32],
        step: &Step,
    ) {
        let range = start..start + parameters.len();
        let (mean, square) = (&mut self.mean[range.clone()], &mut self.square[range]);
        descend(parameters, gradient, mean, square, step);
    }

    pub(crate) fn config(&self) -> &AdamConfig {
        &self.config
    }

    /// The running means of gradients and of squared gradients.
    pub(crate) fn memory(&self) -> (&[f32], &[f32]) {
        (&self.mean, &self.square)
    }

    /// Other running means from here on, as many as before.
    pub(crate) fn remember(&mut self, mean: Vec<f32>, square: Vec<f32>) {
        debug_assert_eq!(
            (mean.len(), square.len()),
            (self.mean.len(), self.square.len())
        );
        (self.mean, self.square) = (mean, square);
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    pub(crate) fn save(&self, name: &str, state: &mut StateDict) {
        state.f32(&format!("{name}.mean"), &[self.mean.len()], &self.mean);
        state.f32(
            &format!("{name}.square"),
            &[self.square.len()],
            &self.square,
        );
        state.u64(&format!("{name}.steps"), &[self.steps]);
    }

    pub(crate) fn load(&mut self, name: &str, state: &StateReader) -> Result<(), PolicyError> {
        state.read_f32(&format!("{name}.mean"), &mut self.mean)?;
        state.read_f32(&format!("{name}.square"), &mut self.square)?;
        [self.steps] = state.u64(&format!("{name}.steps"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_steps_match_the_published_formula() {
        let config = AdamConfig {
            learning_rate: 0.1,
            ..AdamConfig::default()
        };
        let mut adam = Adam::new(config, 1);
        let mut parameter = [1.0f32];
        let (mut m, mut v, mut expected) = (0.0f64, 0.0f64, 1.0f64);
        for t in 1..=5 {
            let g = 2.0 * f64::from(parameter[0]);
            adam.step(&mut parameter, &mut [g as f32]);
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let (mh, vh) = (m / (1.0 - 0.9f64.powi(t)), v / (1.0 - 0.999f64.powi(t)));
            expected -= 0.1 * mh / (vh.sqrt() + 1e-8);
            assert!(
                (f64::from(parameter[0]) - expected).abs() < 1e-5,
                "step {t}"
            );
        }
    }

    #[test]
    fn a_long_gradient_is_shortened_to_the_limit() {
        let config = AdamConfig {
            max_gradient_norm: 1.0,
            ..AdamConfig::default()
        };
        let mut gradient = [3.0, 4.0];
        let norm = Adam::new(config, 2).step(&mut [0.0, 0.0], &mut gradient);
        assert_eq!(norm, 5.0);
        assert!((kernels::norm(&gradient) - 1.0).abs() < 1e-6);
    }
}
