//! Least squares with a prior and bounds, by Levenberg and Marquardt's method (Marquardt 1963: the damping scales with the
//! diagonal). Small enough to be here: a crate would bring a second version of the linear algebra, and knows neither priors
//! nor bounds.

use std::ops::ControlFlow;

use nalgebra::{DMatrix, DVector};

/// Length of a finite difference.
const DIFFERENCE: f64 = 0.01;

/// It ends when a step improves the cost by less than this. A number that is off by its own standard deviation costs 1.
const CONVERGED: f64 = 0.01;

/// Attempts with more and more damping before a step is given up.
const ATTEMPTS: usize = 12;

/// What is known before any measurement: independent normal distributions.
#[derive(Clone, Debug, PartialEq)]
pub struct Prior {
    /// Means, `[n]`.
    pub mean: Vec<f64>,
    /// Standard deviations, `[n]`.
    pub deviation: Vec<f64>,
}

impl Prior {
    /// Twice the negative logarithm of the density, but for a constant.
    fn cost(&self, x: &[f64]) -> f64 {
        let terms = x.iter().zip(&self.mean).zip(&self.deviation);
        terms
            .map(|((x, mean), deviation)| ((x - mean) / deviation).powi(2))
            .sum()
    }

    /// Adds half its gradient.
    fn add_gradient(&self, x: &[f64], gradient: &mut DVector<f64>) {
        for (i, g) in gradient.iter_mut().enumerate() {
            *g += (x[i] - self.mean[i]) / self.deviation[i].powi(2);
        }
    }

    /// Adds half its second derivative.
    pub(super) fn add_information(&self, information: &mut DMatrix<f64>) {
        for (i, deviation) in self.deviation.iter().enumerate() {
            information[(i, i)] += deviation.powi(-2);
        }
    }
}

/// Residuals `[vector][m]` of several vectors `[vector][n]`.
pub type Residuals<'a> = dyn FnMut(&[Vec<f64>]) -> Vec<Vec<f64>> + 'a;

/// A least-squares problem.
pub struct Problem<'a> {
    /// Residuals in units of their standard deviation, of each of several vectors, `[vector][m]`.
    pub residuals: &'a mut Residuals<'a>,
    /// What is known before.
    pub prior: &'a Prior,
    /// Smallest and largest value of each component, `[n]`.
    pub bounds: (&'a [f64], &'a [f64]),
    /// Most steps.
    pub iterations: usize,
}

impl std::fmt::Debug for Problem<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Problem")
            .field("prior", &self.prior)
            .finish_non_exhaustive()
    }
}

/// Where it ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// The best vector found, `[n]`.
    pub x: Vec<f64>,
    /// Its residuals, `[m]`.
    pub residuals: Vec<f64>,
    /// Sum of their squares and of the prior's terms.
    pub cost: f64,
    /// Whether it was asked to stop.
    pub stopped: bool,
}

impl Problem<'_> {
    /// Minimises from `start`, or from the nearest point within the bounds. `step` is told each new residual vector and may
    /// end it.
    pub fn minimise(
        &mut self,
        start: Vec<f64>,
        mut step: impl FnMut(&[f64]) -> ControlFlow<()>,
    ) -> Solution {
        let (low, high) = self.bounds;
        let mut x: Vec<f64> = (0..start.len())
            .map(|i| start[i].clamp(low[i], high[i]))
            .collect();
        let mut r = self.one(&x);
        let mut cost = self.cost(&x, &r);
        // Hardly any: where numbers are nearly exchangeable, damping by the diagonal hides the direction they share.
        let mut damping = 1e-4;
        let mut stopped = false;
        for _ in 0..self.iterations {
            stopped = step(&r).is_break();
            if stopped {
                break;
            }
            let jacobian = self.jacobian(&x);
            let mut gradient = jacobian.tr_mul(&DVector::from_column_slice(&r));
            self.prior.add_gradient(&x, &mut gradient);
            let mut information = jacobian.tr_mul(&jacobian);
            self.prior.add_information(&mut information);
            let Some((next, residuals, better)) =
                self.attempt(&x, cost, &information, &gradient, &mut damping)
            else {
                break;
            };
            let gained = cost - better;
            (x, r, cost) = (next, residuals, better);
            if gained < CONVERGED {
                break;
            }
        }
        Solution {
            x,
            residuals: r,
            cost,
            stopped,
        }
    }

    /// A better vector with its residuals and cost, if there is one near.
    fn attempt(
        &mut self,
        x: &[f64],
        cost: f64,
        information: &DMatrix<f64>,
        gradient: &DVector<f64>,
        damping: &mut f64,
    ) -> Option<(Vec<f64>, Vec<f64>, f64)> {
        let (low, high) = self.bounds;
        // What is at a bound and pressed against it stays there.
        let held = |i: usize| {
            (x[i] <= low[i] && gradient[i] > 0.0) || (x[i] >= high[i] && gradient[i] < 0.0)
        };
        for _ in 0..ATTEMPTS {
            let mut damped = information.clone();
            let mut gradient = gradient.clone();
            for i in 0..x.len() {
                damped[(i, i)] *= 1.0 + *damping;
                if held(i) {
                    gradient[i] = 0.0;
                    damped.row_mut(i).fill(0.0);
                    damped.column_mut(i).fill(0.0);
                    damped[(i, i)] = 1.0;
                }
            }
            if let Some(cholesky) = damped.cholesky() {
                let way = cholesky.solve(&gradient);
                let next: Vec<f64> = (0..x.len())
                    .map(|i| (x[i] - way[i]).clamp(low[i], high[i]))
                    .collect();
                let residuals = self.one(&next);
                let better = self.cost(&next, &residuals);
                if better < cost {
                    *damping = (*damping / 10.0).max(1e-12);
                    return Some((next, residuals, better));
                }
            }
            *damping *= 4.0;
        }
        None
    }

    /// Derivatives of the residuals at `x`, `[m, n]`, by central differences that stay within the bounds.
    pub fn jacobian(&mut self, x: &[f64]) -> DMatrix<f64> {
        let n = x.len();
        let (low, high) = self.bounds;
        let moved: Vec<Vec<f64>> = [-DIFFERENCE, DIFFERENCE]
            .iter()
            .flat_map(|way| {
                (0..n).map(move |i| {
                    let mut moved = x.to_vec();
                    moved[i] = (x[i] + way).clamp(low[i], high[i]);
                    moved
                })
            })
            .collect();
        let residuals = (self.residuals)(&moved);
        let columns: Vec<DVector<f64>> = (0..n)
            .map(|i| {
                let way = moved[n + i][i] - moved[i][i];
                let pairs = residuals[n + i].iter().zip(&residuals[i]);
                DVector::from_vec(pairs.map(|(above, below)| (above - below) / way).collect())
            })
            .collect();
        DMatrix::from_columns(&columns)
    }

    fn one(&mut self, x: &[f64]) -> Vec<f64> {
        (self.residuals)(&[x.to_vec()]).pop().unwrap_or_default()
    }

    fn cost(&self, x: &[f64], r: &[f64]) -> f64 {
        r.iter().map(|r| r * r).sum::<f64>() + self.prior.cost(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A decaying exponential, of which amplitude and rate are looked for.
    fn exponential(candidates: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let residuals = |x: &Vec<f64>| {
            let at = |t: f64| x[0] * (-x[1] * t).exp() - 2.0 * (-0.7 * t).exp();
            (0..40).map(|i| 100.0 * at(0.1 * f64::from(i))).collect()
        };
        candidates.iter().map(residuals).collect()
    }

    fn solve(prior: &Prior, high: &[f64]) -> Solution {
        let mut problem = Problem {
            residuals: &mut exponential,
            prior,
            bounds: (&[0.0, 0.0], high),
            iterations: 50,
        };
        problem.minimise(vec![0.5, 3.0], |_| ControlFlow::Continue(()))
    }

    #[test]
    fn it_finds_the_minimum_where_the_prior_says_little() {
        let prior = Prior {
            mean: vec![0.0; 2],
            deviation: vec![100.0; 2],
        };
        let solution = solve(&prior, &[10.0, 10.0]);
        assert!((solution.x[0] - 2.0).abs() < 1e-3, "{:?}", solution.x);
        assert!((solution.x[1] - 0.7).abs() < 1e-3, "{:?}", solution.x);
        assert!(!solution.stopped);
    }

    #[test]
    fn bounds_hold_and_a_firm_prior_wins() {
        let prior = Prior {
            mean: vec![1.5, 0.5],
            deviation: vec![1e-5, 100.0],
        };
        let solution = solve(&prior, &[10.0, 0.4]);
        assert!((solution.x[0] - 1.5).abs() < 1e-3, "{:?}", solution.x);
        assert!(solution.x[1] <= 0.4);
    }

    #[test]
    fn it_stops_when_asked_with_the_best_so_far() {
        let prior = Prior {
            mean: vec![0.0; 2],
            deviation: vec![100.0; 2],
        };
        let mut problem = Problem {
            residuals: &mut exponential,
            prior: &prior,
            bounds: (&[0.0; 2], &[10.0; 2]),
            iterations: 50,
        };
        let (mut calls, mut costs) = (0, Vec::new());
        let solution = problem.minimise(vec![0.5, 3.0], |r| {
            calls += 1;
            costs.push(r.iter().map(|r| r * r).sum::<f64>());
            if calls == 3 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert!(solution.stopped);
        assert!(costs[2] < costs[0]);
    }
}
