//! Entropic optimal transport between two clips: how much the frames of one must be moved to become the frames of another.
//!
//! For embeddings `x_1..x_T` and `y_1..y_S` with cost `C` and uniform marginals `a = 1/T`, `b = 1/S`:
//!
//! ```text
//! P        = argmin <P, C> + ε Σ P log P    with  P·1 = a,  Pᵀ·1 = b
//! distance = <P, C>                         (the transport part, without the entropy)
//! r_t      = -(P Cᵀ)_tt                     (so that Σ_t r_t = -distance)
//! ```
//!
//! RAPL (arXiv 2310.07932) uses ε = 1, which spreads the plan almost evenly; ROT (arXiv 2206.15469) uses ε = 0.01, which is
//! close to an assignment. Both are profiles of [`TransportConfig`]; neither is corrected here. Order in time plays no part
//! unless a [`Band`] restricts which frames may meet or [`TransportConfig::time_weight`] makes meeting across time cost.

mod cost;
mod gradient;
mod simd;
mod sinkhorn;
mod vector;

pub(crate) use cost::dot;
pub use cost::{Cost, CostMatrix, NORM_FLOOR, Points};
pub use sinkhorn::Plan;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::model::RewardError;

/// How clips are transported into each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransportConfig {
    /// Cost of matching two frames.
    pub cost: Cost,
    /// Weight ε of the entropy, in units of the cost.
    pub epsilon: f64,
    /// Stop when, after the rows were normalised, no column sum of the plan is further than this from `1/S`.
    pub tolerance: f64,
    /// Stop after this many row and column normalisations at the latest; [`Plan::marginal_error`] then tells how far it got.
    pub max_iterations: usize,
    /// Which frames may be matched, by their place in time. None: all.
    pub band: Option<Band>,
    /// Weight `w` of time: `w (time of t - time of s)²` is added to every cost, times being the middles of the frames' spans in
    /// relative time (for clips of one length that is `w (t/T - s/T)²`). With 0 a clip played backwards costs the same.
    pub time_weight: f64,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self::rapl()
    }
}

impl TransportConfig {
    /// The settings of RAPL's released code: cosine cost, ε = 1, columns within 1e-6, at most 1000 iterations.
    pub fn rapl() -> Self {
        Self {
            cost: Cost::Cosine,
            epsilon: 1.0,
            tolerance: 1e-6,
            max_iterations: 1000,
            band: None,
            time_weight: 0.0,
        }
    }

    /// The sharper ε = 0.01 of ROT. Its stopping rule is the solver's own (1e-9), its budget the function's default of 500.
    pub fn rot() -> Self {
        Self {
            epsilon: 0.01,
            tolerance: 1e-9,
            max_iterations: 500,
            ..Self::rapl()
        }
    }

    /// Converged to rounding, for comparing numbers.
    pub fn tight(epsilon: f64) -> Self {
        Self {
            epsilon,
            tolerance: 1e-14,
            max_iterations: 100_000,
            ..Self::rapl()
        }
    }

    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        let positive = |what: &str, value: f64| {
            if value.is_finite() && value > 0.0 {
                Ok(())
            } else {
                Err(RewardError::Other(format!(
                    "transport.{what} is {value}; it must be a positive number"
                )))
            }
        };
        positive("epsilon", self.epsilon)?;
        positive("tolerance", self.tolerance)?;
        if let Some(band) = &self.band {
            positive("band.half_width", band.half_width)?;
        }
        if self.max_iterations == 0 {
            return Err(RewardError::Other(
                "transport.max_iterations is 0; give at least 1".into(),
            ));
        }
        if !(self.time_weight.is_finite() && self.time_weight >= 0.0) {
            return Err(RewardError::Other(format!(
                "transport.time_weight is {}; it must be 0 or a positive number",
                self.time_weight
            )));
        }
        Ok(())
    }

    /// A solver with these settings, which keeps its buffers from one problem to the next.
    pub fn solver(&self) -> Result<Solver, RewardError> {
        self.validate()?;
        Ok(Solver {
            config: self.clone(),
            workspace: sinkhorn::Workspace::default(),
        })
    }

    /// Transports one clip into another. Fails when a clip has no frame, widths differ, or a value is not finite.
    pub fn solve(&self, from: &Points, to: &Points) -> Result<Plan, RewardError> {
        self.solver()?.solve(from, to)
    }

    /// As [`TransportConfig::solve`] for a cost matrix that is already there.
    pub fn solve_cost(&self, cost: CostMatrix) -> Result<Plan, RewardError> {
        self.solver()?.solve_cost(cost)
    }

    /// As [`TransportConfig::solve`] for many pairs of clips `(from, to)`, on all processor cores; plans in the order of the pairs.
    pub fn solve_batch(&self, pairs: &[(&Points, &Points)]) -> Result<Vec<Plan>, RewardError> {
        let solver = self.solver()?;
        pairs
            .par_iter()
            .map_with(solver, |solver, (from, to)| solver.solve(from, to))
            .collect()
    }

    /// As [`TransportConfig::solve_cost`] for many cost matrices, on all processor cores.
    pub fn solve_costs(&self, costs: Vec<CostMatrix>) -> Result<Vec<Plan>, RewardError> {
        let solver = self.solver()?;
        costs
            .into_par_iter()
            .map_with(solver, |solver, cost| solver.solve_cost(cost))
            .collect()
    }
}

/// Solves one transport problem after another without allocating anything but the plans. Made by [`TransportConfig::solver`].
#[derive(Clone, Debug)]
pub struct Solver {
    config: TransportConfig,
    workspace: sinkhorn::Workspace,
}

impl Solver {
    /// Transports one clip into another. Fails when a clip has no frame, widths differ, or a value is not finite.
    pub fn solve(&mut self, from: &Points, to: &Points) -> Result<Plan, RewardError> {
        let cost = CostMatrix::between(from, to, self.config.cost)?;
        self.solve_cost(cost)
    }

    /// As [`Solver::solve`] for a cost matrix that is already there.
    pub fn solve_cost(&mut self, cost: CostMatrix) -> Result<Plan, RewardError> {
        sinkhorn::solve(cost, &self.config, &mut self.workspace)
    }
}

/// Restricts matching to frames at about the same relative time, the simplest cure for transport's blindness to order
/// (after TemporalOT, NeurIPS 2024).
///
/// Frame `t` of `T` covers the time span `[t/T, (t+1)/T]`. Two frames may meet when their spans overlap (which keeps the
/// problem solvable for any lengths) or when the middles of the spans are at most `half_width` apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// Largest distance in relative time, 1 being the length of a clip.
    pub half_width: f64,
}

impl Band {
    /// True when frame `t` of `rows` may be matched with frame `s` of `cols`.
    pub fn allows(&self, t: usize, rows: usize, s: usize, cols: usize) -> bool {
        let overlap = t * cols < (s + 1) * rows && s * rows < (t + 1) * cols;
        overlap || Self::apart(t, rows, s, cols).abs() <= self.half_width
    }

    /// Middle of frame `t`'s span less that of frame `s`'s, in relative time.
    fn apart(t: usize, rows: usize, s: usize, cols: usize) -> f64 {
        (2 * t + 1) as f64 / (2 * rows) as f64 - (2 * s + 1) as f64 / (2 * cols) as f64
    }
}

#[cfg(test)]
mod tests;
