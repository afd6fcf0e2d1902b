//! Derivatives of the transport distance, through the converged plan.
//!
//! With `P = exp((f + g - C)/ε)` and fixed marginals, a change `dC` moves the potentials by the solution of
//!
//! ```text
//! [ diag(P·1)      P      ] [df]   [ (P∘dC)·1  ]
//! [    Pᵀ       diag(Pᵀ·1) ] [dg] = [ (P∘dC)ᵀ·1 ]
//! ```
//!
//! a singular system of which any solution will do (adding a constant to `f` and taking it from `g` changes nothing), so that
//! `g_S = 0` leaves T + S - 1 unknowns. Solving it once for the adjoint `(λ, μ)` with right-hand side `((P∘C)·1, (P∘C)ᵀ·1)` gives
//!
//! ```text
//! d<P, C>/dC_ts = P_ts (1 + (λ_t + μ_s - C_ts)/ε)
//! ```
//!
//! Rows are eliminated first, which leaves a symmetric positive definite system of S - 1 unknowns.

use nalgebra::{DMatrix, DVector};

use super::cost::{Cost, NORM_FLOOR, Points, dot, normalised};
use super::sinkhorn::Plan;

impl Plan {
    /// Derivative of [`Plan::distance`] by every cost, `[rows, cols]`, the plan's own change included (implicit
    /// differentiation, as in the released RAPL code). Accurate as far as the plan has converged.
    pub fn distance_gradient(&self) -> Vec<f64> {
        let (rows, cols) = (self.rows(), self.cols());
        let (lambda, mu) = self.adjoint();
        let mut gradient = Vec::with_capacity(rows * cols);
        for (t, lambda) in lambda.iter().enumerate() {
            for ((p, c), mu) in self.row(t).iter().zip(self.cost.row(t)).zip(&mu) {
                gradient.push(p * (1.0 + (lambda + mu - c) / self.epsilon));
            }
        }
        gradient
    }

    /// Derivative of [`Plan::regularised`] by every cost, which is the plan itself (the envelope theorem). It is **not** the
    /// derivative of [`Plan::distance`].
    pub fn regularised_gradient(&self) -> &[f64] {
        &self.mass
    }

    fn adjoint(&self) -> (Vec<f64>, Vec<f64>) {
        let (rows, cols) = (self.rows(), self.cols());
        let mut row_mass = vec![0.0; rows];
        let mut row_rhs = vec![0.0; rows];
        let mut col_mass = vec![0.0; cols];
        let mut col_rhs = vec![0.0; cols];
        for t in 0..rows {
            for (s, (p, c)) in self.row(t).iter().zip(self.cost.row(t)).enumerate() {
                row_mass[t] += p;
                row_rhs[t] += p * c;
                col_mass[s] += p;
                col_rhs[s] += p * c;
            }
        }
        // Schur complement diag(Pᵀ·1) - Pᵀ diag(P·1)⁻¹ P and its right-hand side, without the last column.
        let free = cols - 1;
        let mut schur = DMatrix::<f64>::zeros(free, free);
        let mut rhs = DVector::from_column_slice(&col_rhs[..free]);
        for t in 0..rows {
            let p = &self.row(t)[..free];
            let scale = 1.0 / row_mass[t];
            for (j, &pj) in p.iter().enumerate() {
                let weight = pj * scale;
                rhs[j] -= weight * row_rhs[t];
                if weight != 0.0 {
                    let column = &mut schur.as_mut_slice()[j * free..j * free + free];
                    for (entry, pi) in column[j..].iter_mut().zip(&p[j..]) {
                        *entry -= weight * pi;
                    }
                }
            }
        }
        for (s, mass) in col_mass[..free].iter().enumerate() {
            schur[(s, s)] += mass;
        }
        let mut mu: Vec<f64> = solve_semidefinite(schur, rhs).iter().copied().collect();
        mu.push(0.0);
        let lambda = (0..rows)
            .map(|t| (row_rhs[t] - dot(self.row(t), &mu)) / row_mass[t])
            .collect();
        (lambda, mu)
    }
}

/// Solves a system whose lower triangle is given. A plan that falls into separate blocks makes it singular; then the
/// shortest solution is taken.
fn solve_semidefinite(lower: DMatrix<f64>, rhs: DVector<f64>) -> DVector<f64> {
    if rhs.is_empty() {
        return rhs;
    }
    let scale = lower.diagonal().max();
    match lower.clone().cholesky() {
        Some(factor) if factor.l_dirty().diagonal().min().powi(2) > 1e-12 * scale => {
            factor.solve(&rhs)
        }
        _ => {
            let mut full = lower;
            full.fill_upper_triangle_with_lower_triangle();
            let eigen = full.symmetric_eigen();
            let floor = 1e-12 * eigen.eigenvalues.max().max(f64::MIN_POSITIVE);
            let mut coordinates = eigen.eigenvectors.tr_mul(&rhs);
            for (x, value) in coordinates.iter_mut().zip(eigen.eigenvalues.iter()) {
                *x = if *value > floor { *x / value } else { 0.0 };
            }
            &eigen.eigenvectors * coordinates
        }
    }
}

impl Cost {
    /// Carries a derivative by the costs, `[from.len(), to.len()]`, back to the embeddings: derivatives by `from` and `to`.
    /// A frame at the norm floor, or two frames in the same place under the Euclidean cost, pass nothing back.
    pub fn backward(self, from: &Points, to: &Points, gradient: &[f64]) -> (Points, Points) {
        let mut by_from = Points::new(from.dim(), vec![0.0; from.as_slice().len()]);
        let mut by_to = Points::new(to.dim(), vec![0.0; to.as_slice().len()]);
        match self {
            Cost::Cosine => {
                let (x, y) = (normalised(from), normalised(to));
                accumulate(
                    &x,
                    &y,
                    gradient,
                    &mut by_from,
                    &mut by_to,
                    |weight, x, y| {
                        let cosine = dot(x, y);
                        (-weight, weight * cosine)
                    },
                );
                divide_by_norms(from, &mut by_from);
                divide_by_norms(to, &mut by_to);
            }
            Cost::Euclidean => {
                accumulate(
                    from,
                    to,
                    gradient,
                    &mut by_from,
                    &mut by_to,
                    |weight, x, y| {
                        let distance = super::cost::squared_distance(x, y).sqrt();
                        let pull = if distance > 0.0 {
                            weight / distance
                        } else {
                            0.0
                        };
                        (-pull, pull)
                    },
                );
            }
        }
        (by_from, by_to)
    }
}

/// Adds `across·y + along·x` to the derivative by `x`, and the mirror image to that by `y`, for every pair.
fn accumulate(
    x: &Points,
    y: &Points,
    gradient: &[f64],
    by_x: &mut Points,
    by_y: &mut Points,
    coefficients: impl Fn(f64, &[f64], &[f64]) -> (f64, f64),
) {
    let dim = x.dim();
    for t in 0..x.len() {
        let row_x = x.row(t);
        let by_row = &mut by_x.as_mut_slice()[t * dim..(t + 1) * dim];
        for s in 0..y.len() {
            let row_y = y.row(s);
            let (across, along) = coefficients(gradient[t * y.len() + s], row_x, row_y);
            let by_col = &mut by_y.as_mut_slice()[s * dim..(s + 1) * dim];
            for i in 0..dim {
                by_row[i] += across * row_y[i] + along * row_x[i];
                by_col[i] += across * row_x[i] + along * row_y[i];
            }
        }
    }
}

/// The last step of the chain rule through `x / ‖x‖`.
fn divide_by_norms(points: &Points, gradient: &mut Points) {
    let dim = points.dim();
    for t in 0..points.len() {
        let row = points.row(t);
        let norm = dot(row, row).sqrt();
        let scale = if norm > NORM_FLOOR { 1.0 / norm } else { 0.0 };
        for v in &mut gradient.as_mut_slice()[t * dim..(t + 1) * dim] {
            *v *= scale;
        }
    }
}
