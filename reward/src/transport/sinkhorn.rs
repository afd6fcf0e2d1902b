//! Sinkhorn's algorithm: the kernel form where it is safe in double precision, the log-domain form elsewhere.
//!
//! Both forms walk through the same iterates. The kernel form multiplies `exp(-C/ε)` by two vectors and needs no exponential
//! inside its loop, which makes it about twenty times faster; with a range of costs of more than [`KERNEL_RANGE`] ε its
//! vectors could overflow, so that the log-domain form takes over.

use super::cost::{CostMatrix, dot};
use super::{Band, TransportConfig};
use crate::model::RewardError;

/// Scaling vectors stay within `exp(±2·range/ε)`, and 1e±308 is the end of double precision.
const KERNEL_RANGE: f64 = 250.0;

/// A transport plan between two clips.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) cost: CostMatrix,
    /// `[rows, cols]`, row-major; zero where the band forbids a match.
    pub(super) mass: Vec<f64>,
    pub(super) epsilon: f64,
    iterations: usize,
    marginal_error: f64,
}

impl Plan {
    /// Frames of the first clip.
    pub fn rows(&self) -> usize {
        self.cost.rows
    }

    /// Frames of the second clip.
    pub fn cols(&self) -> usize {
        self.cost.cols
    }

    /// Share of the whole that goes from frame `t` to each frame of the second clip, `[cols]`; sums to `1/rows`.
    pub fn row(&self, t: usize) -> &[f64] {
        &self.mass[t * self.cost.cols..(t + 1) * self.cost.cols]
    }

    /// The costs that the plan was made for.
    pub fn cost(&self) -> &CostMatrix {
        &self.cost
    }

    /// The transport distance `<P, C>`, without the entropy.
    pub fn distance(&self) -> f64 {
        dot(&self.mass, &self.cost.values)
    }

    /// Reward of each frame of the first clip, `r_t = -(P Cᵀ)_tt`, `[rows]`; sums to minus the distance.
    pub fn rewards(&self) -> Vec<f64> {
        (0..self.rows())
            .map(|t| -dot(self.row(t), self.cost.row(t)))
            .collect()
    }

    /// The value that the plan minimises, `<P, C> + ε KL(P ‖ a bᵀ)`; never below the distance.
    pub fn regularised(&self) -> f64 {
        let independent = ((self.rows() * self.cols()) as f64).ln();
        let entropy: f64 = self
            .mass
            .iter()
            .filter(|&&p| p > 0.0)
            .map(|&p| p * (p.ln() + independent))
            .sum();
        self.distance() + self.epsilon * entropy
    }

    /// Row and column normalisations that were done.
    pub fn iterations(&self) -> usize {
        self.iterations
    }

    /// Largest distance of a column sum from `1/cols`. Above the configured tolerance only when the iterations ran out.
    pub fn marginal_error(&self) -> f64 {
        self.marginal_error
    }
}

pub(super) fn solve(cost: CostMatrix, config: &TransportConfig) -> Result<Plan, RewardError> {
    let allowed = config.band.map(|band| allowed(&cost, band));
    let allowed = allowed.as_deref();
    let solution = kernel(&cost, allowed, config)
        .or_else(|| log_domain(&cost, allowed, config))
        .ok_or_else(|| {
            RewardError::Other(format!(
                "transport with epsilon {} did not stay finite; give a larger epsilon",
                config.epsilon
            ))
        })?;
    Ok(Plan {
        cost,
        mass: solution.mass,
        epsilon: config.epsilon,
        iterations: solution.iterations,
        marginal_error: solution.marginal_error,
    })
}

struct Solution {
    mass: Vec<f64>,
    iterations: usize,
    marginal_error: f64,
}

fn allowed(cost: &CostMatrix, band: Band) -> Vec<bool> {
    (0..cost.rows)
        .flat_map(|t| (0..cost.cols).map(move |s| (t, s)))
        .map(|(t, s)| band.allows(t, cost.rows, s, cost.cols))
        .collect()
}

/// Costs over ε with the least of each row taken off (which leaves the plan as it is); infinite where no match is allowed.
fn scaled(cost: &CostMatrix, allowed: Option<&[bool]>, epsilon: f64) -> Vec<f64> {
    let mut scaled: Vec<f64> = cost.values.iter().map(|c| c / epsilon).collect();
    if let Some(allowed) = allowed {
        for (value, allowed) in scaled.iter_mut().zip(allowed) {
            if !allowed {
                *value = f64::INFINITY;
            }
        }
    }
    for row in scaled.chunks_exact_mut(cost.cols) {
        let least = row.iter().copied().fold(f64::INFINITY, f64::min);
        row.iter_mut().for_each(|v| *v -= least);
    }
    scaled
}

/// None when the range of costs is too wide, or when a band made a scaling leave the range of double precision.
fn kernel(
    cost: &CostMatrix,
    allowed: Option<&[bool]>,
    config: &TransportConfig,
) -> Option<Solution> {
    let mut kernel = scaled(cost, allowed, config.epsilon);
    let range = kernel
        .iter()
        .copied()
        .filter(|v| v.is_finite())
        .fold(0.0, f64::max);
    if range > KERNEL_RANGE {
        return None;
    }
    kernel.iter_mut().for_each(|v| *v = (-*v).exp());

    let row_sum = 1.0 / cost.rows as f64;
    let col_sum = 1.0 / cost.cols as f64;
    let mut u = vec![0.0; cost.rows];
    let mut v = vec![1.0; cost.cols];
    let mut column = vec![0.0; cost.cols];
    let (mut iterations, mut marginal_error) = (0, f64::INFINITY);
    for _ in 0..config.max_iterations {
        iterations += 1;
        column.fill(0.0);
        for (u, kernel) in u.iter_mut().zip(kernel.chunks_exact(cost.cols)) {
            *u = row_sum / dot(kernel, &v);
            for (column, k) in column.iter_mut().zip(kernel) {
                *column += *u * k;
            }
        }
        marginal_error = column
            .iter()
            .zip(&v)
            .map(|(column, v)| (column * v - col_sum).abs())
            .fold(0.0, f64::max);
        if !marginal_error.is_finite() {
            return None;
        }
        if marginal_error <= config.tolerance || iterations == config.max_iterations {
            break;
        }
        for (v, column) in v.iter_mut().zip(&column) {
            *v = col_sum / column;
        }
    }
    for (u, kernel) in u.iter().zip(kernel.chunks_exact_mut(cost.cols)) {
        for (k, v) in kernel.iter_mut().zip(&v) {
            *k *= u * v;
        }
    }
    let finite = kernel.iter().all(|p| p.is_finite());
    finite.then_some(Solution {
        mass: kernel,
        iterations,
        marginal_error,
    })
}

fn log_domain(
    cost: &CostMatrix,
    allowed: Option<&[bool]>,
    config: &TransportConfig,
) -> Option<Solution> {
    let mut scaled = scaled(cost, allowed, config.epsilon);
    let row_log = -(cost.rows as f64).ln();
    let col_log = -(cost.cols as f64).ln();
    let col_sum = 1.0 / cost.cols as f64;
    let mut f = vec![0.0; cost.rows];
    let mut g = vec![0.0; cost.cols];
    let mut highest = vec![0.0; cost.cols];
    let mut sums = vec![0.0; cost.cols];
    let (mut iterations, mut marginal_error) = (0, f64::INFINITY);
    for _ in 0..config.max_iterations {
        iterations += 1;
        highest.fill(f64::NEG_INFINITY);
        for (f, scaled) in f.iter_mut().zip(scaled.chunks_exact(cost.cols)) {
            let terms = || g.iter().zip(scaled).map(|(g, c)| g - c);
            let top = terms().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = terms().map(|x| (x - top).exp()).sum();
            *f = row_log - top - sum.ln();
            for (highest, c) in highest.iter_mut().zip(scaled) {
                *highest = f64::max(*highest, *f - c);
            }
        }
        sums.fill(0.0);
        for (f, scaled) in f.iter().zip(scaled.chunks_exact(cost.cols)) {
            for ((sum, highest), c) in sums.iter_mut().zip(&highest).zip(scaled) {
                *sum += (f - c - highest).exp();
            }
        }
        marginal_error = 0.0;
        for ((sum, highest), g) in sums.iter_mut().zip(&highest).zip(&g) {
            *sum = highest + sum.ln();
            marginal_error = f64::max(marginal_error, ((*sum + g).exp() - col_sum).abs());
        }
        if !sums.iter().all(|s| s.is_finite()) {
            return None;
        }
        if marginal_error <= config.tolerance || iterations == config.max_iterations {
            break;
        }
        for (g, sum) in g.iter_mut().zip(&sums) {
            *g = col_log - sum;
        }
    }
    for (f, scaled) in f.iter().zip(scaled.chunks_exact_mut(cost.cols)) {
        for (c, g) in scaled.iter_mut().zip(&g) {
            *c = (f + g - *c).exp();
        }
    }
    Some(Solution {
        mass: scaled,
        iterations,
        marginal_error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_give_the_same_plan() {
        let values: Vec<f64> = (0..35)
            .map(|i| ((i * 37 + 11) % 23) as f64 / 11.5)
            .collect();
        let cost = CostMatrix::new(5, 7, values).unwrap();
        for epsilon in [1.0, 0.1, 0.02] {
            let config = TransportConfig::tight(epsilon);
            let fast = kernel(&cost, None, &config).unwrap();
            let safe = log_domain(&cost, None, &config).unwrap();
            for (a, b) in fast.mass.iter().zip(&safe.mass) {
                assert!((a - b).abs() < 1e-12, "{a} {b}");
            }
        }
    }

    #[test]
    fn costs_far_above_epsilon_take_the_log_domain() {
        let cost = CostMatrix::new(2, 2, vec![0.0, 1.0, 1.0, 0.0]).unwrap();
        let config = TransportConfig::tight(1e-3);
        assert!(kernel(&cost, None, &config).is_none());
        let plan = solve(cost, &config).unwrap();
        assert!((plan.row(0)[0] - 0.5).abs() < 1e-12);
    }
}
