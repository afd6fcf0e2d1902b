//! [`Pi2`]: policy improvement with path integrals (Theodorou, Buchli and Schaal 2010, "A generalized path integral control approach
//! to reinforcement learning", JMLR 11, table 1), as Sermanet et al. (arXiv 1612.06699) improve the opening of a door with it.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde::{Deserialize, Serialize};

use super::{check_finite, first_fault, normal};
use crate::policy::PolicyError;

/// Settings of [`Pi2`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pi2Config {
    /// Rollouts of an iteration.
    pub rollouts: usize,
    /// The paper's h: how much more the best rollout counts than the worst, `e^h`.
    pub sharpness: f64,
    /// Standard deviation of the exploration, in units of the parameters.
    pub std: f64,
    /// Factor on that deviation after each iteration, in `(0, 1]`.
    pub decay: f64,
    /// Weight R of the control cost `1/2 theta' R theta` of a time step, the same for all parameters.
    pub control_cost: f64,
}

impl Default for Pi2Config {
    fn default() -> Self {
        Self {
            rollouts: 10,
            sharpness: 10.0,
            std: 0.2,
            decay: 0.95,
            control_cost: 0.0,
        }
    }
}

impl Pi2Config {
    /// Says what is wrong with these settings, if anything.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let positive = |v: f64| v > 0.0 && v.is_finite();
        first_fault(
            "pi2",
            &[
                (self.rollouts < 2, "rollouts must be at least 2"),
                (!positive(self.sharpness), "sharpness must be above 0"),
                (!positive(self.std), "std must be above 0"),
                (
                    !(self.decay > 0.0 && self.decay <= 1.0),
                    "decay must be above 0 and at most 1",
                ),
                (
                    !(self.control_cost >= 0.0 && self.control_cost.is_finite()),
                    "control_cost must be at least 0",
                ),
            ],
        )
    }
}

/// Features of time: how active each parameter is at each step.
#[derive(Clone, Debug, PartialEq)]
pub struct Basis {
    /// `[steps, count]`.
    rows: Vec<Vec<f64>>,
    count: usize,
}

impl Basis {
    /// Gaussian bumps, `count` of them at even times over `steps`, that sum to 1 at every step. Neighbours cross where both are
    /// at `e^(-1/2)` of their top.
    ///
    /// # Errors
    /// Without steps or bumps.
    pub fn gaussian(steps: usize, count: usize) -> Result<Self, PolicyError> {
        if steps == 0 || count == 0 {
            return Err(PolicyError::Other(
                "pi2: a basis needs at least one step and one bump".into(),
            ));
        }
        let spacing =
            (steps.saturating_sub(1) as f64 / count.saturating_sub(1).max(1) as f64).max(1e-9);
        let rows = (0..steps)
            .map(|t| {
                let bump = |i: usize| {
                    let off = (t as f64 - i as f64 * spacing) / (0.5 * spacing);
                    (-0.5 * off * off).exp()
                };
                let sum: f64 = (0..count).map(bump).sum();
                (0..count).map(|i| bump(i) / sum).collect()
            })
            .collect();
        Ok(Self { rows, count })
    }

    /// Time steps.
    pub fn steps(&self) -> usize {
        self.rows.len()
    }

    /// Parameters of one dimension.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The trajectory of parameters `[dims, count]`: `[steps, dims]`, row by row.
    ///
    /// # Panics
    /// When the parameters are not a whole number of dimensions: a bug of the caller.
    pub fn trajectory(&self, parameters: &[f64]) -> Vec<f64> {
        assert_eq!(parameters.len() % self.count, 0, "[dims, count] parameters");
        let dot = |row: &[f64], theta: &[f64]| row.iter().zip(theta).map(|(g, p)| g * p).sum();
        self.rows
            .iter()
            .flat_map(|row| {
                parameters
                    .chunks(self.count)
                    .map(move |theta| dot(row, theta))
            })
            .collect()
    }
}

/// What came of an iteration.
#[derive(Clone, Debug, PartialEq)]
pub struct Pi2Report {
    /// Sum of the rewards of each rollout, in their order.
    pub returns: Vec<f64>,
    /// How far the parameters moved.
    pub moved: f64,
}

/// Parameters `[dims, count]` of a trajectory that is linear in a [`Basis`], improved from the rewards of its steps.
///
/// Every rollout has one exploration `eps` of all parameters. At each step `i`, with `g` the basis, `M = g g' / (g' g)` and
/// `S_k = -sum_{j >= i} r_j + 1/2 sum_{j >= i} |theta + M_j eps|^2 R`:
///
/// ```text
/// P_k     = exp(-h (S_k - min S) / (max S - min S)), normalised over the rollouts
/// delta_i = sum_k P_k M_i eps_k
/// theta  += sum_i (N - i) g_i delta_i / sum_i (N - i) g_i      (by parameter)
/// ```
#[derive(Clone, Debug)]
pub struct Pi2 {
    config: Pi2Config,
    basis: Basis,
    parameters: Vec<f64>,
    std: f64,
    iterations: u64,
    rng: ChaCha8Rng,
}

impl Pi2 {
    /// Starts at `parameters`, `[dims, basis.count()]`.
    pub fn new(
        config: Pi2Config,
        basis: Basis,
        parameters: Vec<f64>,
        seed: u64,
    ) -> Result<Self, PolicyError> {
        config.validate()?;
        if parameters.is_empty() || !parameters.len().is_multiple_of(basis.count) {
            return Err(PolicyError::Other(format!(
                "pi2: {} parameters are not a whole number of dimensions with {} each",
                parameters.len(),
                basis.count
            )));
        }
        check_finite("parameters", &parameters, 0)?;
        Ok(Self {
            std: config.std,
            config,
            basis,
            parameters,
            iterations: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
        })
    }

    /// The parameters, `[dims, basis.count()]`.
    pub fn parameters(&self) -> &[f64] {
        &self.parameters
    }

    /// The features of time.
    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    /// Iterations made.
    pub fn iterations(&self) -> u64 {
        self.iterations
    }

    /// Parameters to try in this iteration, `[rollouts]` of `[dims, count]`.
    pub fn draw(&mut self) -> Vec<Vec<f64>> {
        (0..self.config.rollouts)
            .map(|_| {
                let parameters = self.parameters.iter();
                parameters
                    .map(|p| p + self.std * normal(&mut self.rng))
                    .collect()
            })
            .collect()
    }

    /// One iteration: `rewards` tries parameters and gives the reward of every step, by rollout and time, `[rollouts][steps]`.
    ///
    /// # Errors
    /// Those of `rewards`, and for rewards that do not fit or are not finite; the parameters are then as before.
    pub fn step(
        &mut self,
        mut rewards: impl FnMut(&[Vec<f64>]) -> Result<Vec<Vec<f64>>, PolicyError>,
    ) -> Result<Pi2Report, PolicyError> {
        let tried = self.draw();
        let rewards = rewards(&tried)?;
        self.improve(&tried, &rewards)
    }

    /// The second half of [`Pi2::step`]: improves from what was tried, as drawn, and its rewards.
    ///
    /// # Errors
    /// For rewards that do not fit or are not finite.
    pub fn improve(
        &mut self,
        tried: &[Vec<f64>],
        rewards: &[Vec<f64>],
    ) -> Result<Pi2Report, PolicyError> {
        let steps = self.basis.steps();
        let fits = tried.iter().all(|t| t.len() == self.parameters.len())
            && rewards.len() == tried.len()
            && rewards.iter().all(|r| r.len() == steps);
        if !fits || tried.is_empty() {
            return Err(PolicyError::Other(format!(
                "pi2: every rollout needs {} parameters and {steps} rewards",
                self.parameters.len()
            )));
        }
        for (k, row) in rewards.iter().enumerate() {
            check_finite(&format!("rewards[{k}]"), row, self.iterations)?;
        }
        let explored: Vec<Vec<f64>> = tried
            .iter()
            .map(|t| t.iter().zip(&self.parameters).map(|(t, p)| t - p).collect())
            .collect();
        let costs: Vec<Vec<f64>> = explored
            .iter()
            .zip(rewards)
            .map(|(eps, rewards)| self.costs_to_go(eps, rewards))
            .collect();
        let count = self.basis.count;
        let mut moved = vec![0.0; self.parameters.len()];
        let mut mass = vec![0.0; count];
        for (i, g) in self.basis.rows.iter().enumerate() {
            let at: Vec<f64> = costs.iter().map(|c| c[i]).collect();
            let weights = self.weights(&at);
            let ahead = (steps - i) as f64;
            for (mass, g) in mass.iter_mut().zip(g) {
                *mass += ahead * g;
            }
            for (k, eps) in explored.iter().enumerate() {
                for (eps, moved) in eps.chunks(count).zip(moved.chunks_mut(count)) {
                    let along = project(g, eps);
                    for (moved, g) in moved.iter_mut().zip(g) {
                        *moved += ahead * g * weights[k] * along * g;
                    }
                }
            }
        }
        for (n, moved) in moved.iter_mut().enumerate() {
            *moved /= mass[n % count].max(f64::MIN_POSITIVE);
            self.parameters[n] += *moved;
        }
        self.iterations += 1;
        self.std *= self.config.decay;
        Ok(Pi2Report {
            returns: rewards.iter().map(|r| r.iter().sum()).collect(),
            moved: moved.iter().map(|m| m * m).sum::<f64>().sqrt(),
        })
    }

    /// `S` of one rollout from every step on, `[steps]`.
    fn costs_to_go(&self, explored: &[f64], rewards: &[f64]) -> Vec<f64> {
        let count = self.basis.count;
        let mut cost = 0.0;
        let mut costs: Vec<f64> = (0..rewards.len())
            .rev()
            .map(|j| {
                cost -= rewards[j];
                if self.config.control_cost > 0.0 {
                    let g = &self.basis.rows[j];
                    for (theta, eps) in self.parameters.chunks(count).zip(explored.chunks(count)) {
                        let along = project(g, eps);
                        let square = |(p, g): (&f64, &f64)| (p + along * g).powi(2);
                        let squares: f64 = theta.iter().zip(g).map(square).sum();
                        cost += 0.5 * self.config.control_cost * squares;
                    }
                }
                cost
            })
            .collect();
        costs.reverse();
        costs
    }

    /// Probabilities of rollouts with these costs; all the same where the costs are.
    fn weights(&self, costs: &[f64]) -> Vec<f64> {
        let low = costs.iter().copied().fold(f64::INFINITY, f64::min);
        let high = costs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let range = (high - low).max(1e-12);
        let values: Vec<f64> = costs
            .iter()
            .map(|s| -self.config.sharpness * (s - low) / range)
            .collect();
        super::soft_weights(&values, 1.0)
    }
}

/// `g' eps / g' g`: `M eps` is this times `g`.
fn project(g: &[f64], eps: &[f64]) -> f64 {
    let dot: f64 = g.iter().zip(eps).map(|(g, e)| g * e).sum();
    dot / g.iter().map(|g| g * g).sum::<f64>().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests;
