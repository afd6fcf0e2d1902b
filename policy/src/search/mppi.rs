//! [`Mppi`]: model predictive path integral control (Williams et al. 2017, "Information theoretic MPC for model-based reinforcement
//! learning", algorithm 2).

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde::{Deserialize, Serialize};

use super::{Rollouts, evaluate, first_fault, normal, soft_weights};
use crate::policy::PolicyError;

/// Settings of [`Mppi`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MppiConfig {
    /// Plans tried in an iteration.
    pub samples: usize,
    /// Temperature lambda, in units of returns: small follows the best plan only, large averages all.
    pub temperature: f64,
    /// Standard deviation of the noise on every component.
    pub std: f64,
    /// The paper's alpha in `0..=1`: how far the plan itself is free of a control cost; the cost is
    /// `lambda (1 - alpha) sum u noise / std^2`. The default has none of it.
    pub alpha: f64,
    /// Plans are cut off at plus and minus this number. What is averaged is the noise that is left after cutting (the paper leaves
    /// limits to its dynamics).
    pub bound: f64,
}

impl Default for MppiConfig {
    fn default() -> Self {
        Self {
            samples: 64,
            temperature: 0.1,
            std: 0.3,
            alpha: 1.0,
            bound: 1.0,
        }
    }
}

impl MppiConfig {
    /// Says what is wrong with these settings, if anything.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let positive = |v: f64| v > 0.0 && v.is_finite();
        first_fault(
            "mppi",
            &[
                (self.samples == 0, "samples must be above 0"),
                (
                    !positive(self.temperature),
                    "temperature must be above 0 and finite",
                ),
                (!positive(self.std), "std must be above 0 and finite"),
                (!(0.0..=1.0).contains(&self.alpha), "alpha must be in 0..=1"),
                (
                    self.bound.is_nan() || self.bound <= 0.0,
                    "bound must be above 0",
                ),
            ],
        )
    }
}

/// A plan that moves towards the noise which paid: `u' = u + sum_k w_k noise_k`, `w` proportional to
/// `exp((return - control cost) / lambda)`.
#[derive(Clone, Debug)]
pub struct Mppi {
    config: MppiConfig,
    action_dim: usize,
    /// `[horizon, action_dim]`.
    plan: Vec<f64>,
    iterations: u64,
    rng: ChaCha8Rng,
}

impl Mppi {
    /// Starts with a plan of zeros, `[horizon, action_dim]`.
    pub fn new(
        config: MppiConfig,
        horizon: usize,
        action_dim: usize,
        seed: u64,
    ) -> Result<Self, PolicyError> {
        config.validate()?;
        if horizon == 0 || action_dim == 0 {
            return Err(PolicyError::Other(
                "mppi: horizon and action width must be above 0".into(),
            ));
        }
        Ok(Self {
            config,
            action_dim,
            plan: vec![0.0; horizon * action_dim],
            iterations: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
        })
    }

    /// The plan, `[horizon, action_dim]`.
    pub fn plan(&self) -> &[f64] {
        &self.plan
    }

    /// Forgets the plan: zeros.
    pub fn reset(&mut self) {
        self.plan.fill(0.0);
    }

    /// The first action was taken: the rest moves up, and the last is zero, the paper's initial value.
    pub fn shift(&mut self) {
        self.plan.drain(..self.action_dim);
        self.plan.resize(self.plan.len() + self.action_dim, 0.0);
    }

    /// One iteration. Gives the best return among the plans tried.
    ///
    /// # Errors
    /// Those of `rollouts`, and for returns that are not finite; the plan is then as before.
    pub fn step(&mut self, rollouts: &mut dyn Rollouts) -> Result<f64, PolicyError> {
        let MppiConfig { std, bound, .. } = self.config;
        let candidates: Vec<Vec<f64>> = (0..self.config.samples)
            .map(|_| {
                let noisy = self.plan.iter().map(|u| u + std * normal(&mut self.rng));
                noisy.map(|u| u.clamp(-bound, bound)).collect()
            })
            .collect();
        let returns = evaluate(rollouts, &candidates, self.iterations)?;
        let weights = self.weights(&candidates, &returns);
        let mut plan = vec![0.0; self.plan.len()];
        for (candidate, weight) in candidates.iter().zip(weights) {
            // The weights sum to 1: the mean of the candidates is the plan plus the mean of their noise.
            for (u, c) in plan.iter_mut().zip(candidate) {
                *u += weight * c;
            }
        }
        self.plan = plan;
        self.iterations += 1;
        Ok(returns.into_iter().fold(f64::NEG_INFINITY, f64::max))
    }

    fn weights(&self, candidates: &[Vec<f64>], returns: &[f64]) -> Vec<f64> {
        let MppiConfig {
            temperature,
            std,
            alpha,
            ..
        } = self.config;
        let gamma = temperature * (1.0 - alpha);
        let values: Vec<f64> = candidates
            .iter()
            .zip(returns)
            .map(|(candidate, value)| {
                let plan = self.plan.iter().zip(candidate);
                value - gamma * plan.map(|(u, c)| u * (c - u)).sum::<f64>() / (std * std)
            })
            .collect();
        soft_weights(&values, temperature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_the_papers() {
        let config = MppiConfig {
            temperature: 2.0,
            std: 0.5,
            alpha: 0.25,
            ..MppiConfig::default()
        };
        let mut mppi = Mppi::new(config, 1, 1, 0).unwrap();
        mppi.plan = vec![0.4];
        let weights = mppi.weights(&[vec![0.5], vec![0.1]], &[1.0, 2.0]);
        // S = -return + 2 * 0.75 * 0.4 * noise / 0.25
        let cost = [-1.0 + 2.4 * 0.1, -2.0 - 2.4 * 0.3];
        let w = cost.map(|s: f64| (-s / 2.0).exp());
        assert!((weights[0] - w[0] / (w[0] + w[1])).abs() < 1e-12);
        assert!((weights[0] + weights[1] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn equal_returns_average_and_a_shift_moves_up() {
        let mut mppi = Mppi::new(MppiConfig::default(), 3, 2, 0).unwrap();
        let weights = mppi.weights(&vec![vec![0.3; 6]; 5], &[7.0; 5]);
        assert!(weights.iter().all(|w| (w - 0.2).abs() < 1e-12));
        mppi.plan = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        mppi.shift();
        assert_eq!(mppi.plan(), [3.0, 4.0, 5.0, 6.0, 0.0, 0.0]);
    }

    #[test]
    fn parks_a_double_integrator() {
        // Position, speed; ten steps ahead, 40 steps in all. Doing nothing leaves it at 1 with a cost of 1 a step.
        let advance = |[x, v]: [f64; 2], u: f64| [x + 0.2 * v, v + 0.2 * u];
        let mut state = [1.0, 0.0];
        let config = MppiConfig {
            samples: 200,
            std: 0.5,
            temperature: 0.5,
            ..MppiConfig::default()
        };
        let mut mppi = Mppi::new(config, 12, 1, 3).unwrap();
        for _ in 0..40 {
            let mut rollouts = |candidates: &[Vec<f64>]| {
                let value = |plan: &Vec<f64>| {
                    let (mut s, mut value) = (state, 0.0);
                    for &u in plan {
                        s = advance(s, u);
                        value -= s[0] * s[0] + 0.3 * s[1] * s[1];
                    }
                    value
                };
                Ok(candidates.iter().map(value).collect())
            };
            mppi.step(&mut rollouts).unwrap();
            state = advance(state, mppi.plan()[0]);
            mppi.shift();
        }
        assert!(state[0].abs() < 0.1 && state[1].abs() < 0.25, "{state:?}");
    }
}
