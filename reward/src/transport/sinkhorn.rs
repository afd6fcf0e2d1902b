//! Sinkhorn's algorithm in its kernel form, with half-steps in the log domain wherever that form would leave double precision.
//!
//! The plan is `P_ts = u_t K_ts v_s` with `K = exp(f + g - C/ε)`. An iteration scales `u` until the rows are right, then `v` until the
//! columns are; it reads `K` once and needs no exponential. The first `f` is each row's least cost and `g` is zero. When a scaling
//! leaves [`SAFE`] (costs far above ε: sums underflow), that half-step is done on the logarithms instead, its result is taken up
//! by the potentials `f` and `g`, and the kernel is made anew around them (Schmitzer, arXiv 1610.06519, section 3.3). Every iterate is
//! that of the plain log-domain algorithm; only rounding differs.

use super::cost::{CostMatrix, dot};
use super::simd::Aligned;
use super::vector::{self, Instructions, LANES};
use super::{Band, TransportConfig};
use crate::model::RewardError;

/// Where scalings may lie. A kernel entry that underflows weighs less than `1e-308 · 1e240` in any sum: nothing.
const SAFE: std::ops::RangeInclusive<f64> = 1e-120..=1e120;

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

    /// The costs that the plan was made for, the weight of time included.
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

/// Buffers of a problem in flight, kept for the next one.
#[derive(Clone, Debug)]
pub(super) struct Workspace {
    instructions: Instructions,
    /// `cols` rounded up to whole groups of lanes.
    stride: usize,
    /// `[rows, stride]`, zero in the padding.
    kernel: Aligned,
    /// `[rows]`.
    u: Vec<f64>,
    f: Vec<f64>,
    /// `[stride]`; `v` is zero in the padding.
    v: Aligned,
    column: Aligned,
    g: Aligned,
    row: Aligned,
    /// `[rows, cols]`; empty without a band.
    allowed: Vec<bool>,
    /// A row of costs, infinite where the band forbids a match.
    banded: Vec<f64>,
}

impl Default for Workspace {
    fn default() -> Self {
        Self {
            instructions: vector::widest(),
            stride: 0,
            kernel: Aligned::default(),
            u: Vec::new(),
            f: Vec::new(),
            v: Aligned::default(),
            column: Aligned::default(),
            g: Aligned::default(),
            row: Aligned::default(),
            allowed: Vec::new(),
            banded: Vec::new(),
        }
    }
}

pub(super) fn solve(
    mut cost: CostMatrix,
    config: &TransportConfig,
    workspace: &mut Workspace,
) -> Result<Plan, RewardError> {
    if config.time_weight > 0.0 {
        add_time(&mut cost, config.time_weight);
    }
    workspace.shape(&cost, config.band);
    let (iterations, marginal_error) = workspace.iterate(&cost, config);
    let mass = workspace.mass(cost.cols);
    if !marginal_error.is_finite() || !mass.iter().all(|p| p.is_finite()) {
        return Err(RewardError::Other(format!(
            "transport with epsilon {} did not stay finite; give a larger epsilon",
            config.epsilon
        )));
    }
    Ok(Plan {
        cost,
        mass,
        epsilon: config.epsilon,
        iterations,
        marginal_error,
    })
}

/// Adds `weight · (time of t - time of s)²`, times being the middles of the frames' spans in relative time.
fn add_time(cost: &mut CostMatrix, weight: f64) {
    let (rows, cols) = (cost.rows, cost.cols);
    for (t, row) in cost.values.chunks_exact_mut(cols).enumerate() {
        for (s, c) in row.iter_mut().enumerate() {
            let apart = Band::apart(t, rows, s, cols);
            *c += weight * apart * apart;
        }
    }
}

impl Workspace {
    fn shape(&mut self, cost: &CostMatrix, band: Option<Band>) {
        let (rows, cols) = (cost.rows, cost.cols);
        self.stride = cols.next_multiple_of(LANES);
        // The padding must be zero.
        self.kernel.reset(rows * self.stride);
        self.u.resize(rows, 0.0);
        self.f.resize(rows, 0.0);
        for padded in [&mut self.v, &mut self.column, &mut self.g, &mut self.row] {
            padded.reset(self.stride);
        }
        self.allowed.clear();
        self.banded.clear();
        if let Some(band) = band {
            let cells = (0..rows).flat_map(|t| (0..cols).map(move |s| (t, s)));
            self.allowed
                .extend(cells.map(|(t, s)| band.allows(t, rows, s, cols)));
            self.banded.resize(cols, 0.0);
        }
    }

    /// Gives the number of iterations and the error of the columns after the last; `u`, `kernel` and `v` hold the plan.
    fn iterate(&mut self, cost: &CostMatrix, config: &TransportConfig) -> (usize, f64) {
        let rate = 1.0 / config.epsilon;
        let (row_sum, col_sum) = (1.0 / cost.rows as f64, 1.0 / cost.cols as f64);
        let cols = cost.cols;
        for t in 0..cost.rows {
            let least = self
                .costs(cost, t)
                .iter()
                .fold(f64::INFINITY, |a, &b| if b < a { b } else { a });
            self.f[t] = least * rate;
        }
        self.v[..cols].fill(1.0);
        self.build(cost, rate);
        let (mut iterations, mut error) = (0, f64::INFINITY);
        while iterations < config.max_iterations {
            iterations += 1;
            vector::sweep(
                self.instructions,
                &self.kernel,
                &self.v,
                row_sum,
                &mut self.u,
                &mut self.column,
            );
            if !self.u.iter().all(|u| SAFE.contains(u)) {
                self.log_rows(cost, rate);
            }
            error = 0.0;
            for (column, v) in self.column[..cols].iter().zip(self.v.iter()) {
                let off = (column * v - col_sum).abs();
                // A comparison that lets NaN through, so that it is not lost.
                error = if off <= error { error } else { off };
            }
            if error <= config.tolerance
                || !error.is_finite()
                || iterations == config.max_iterations
            {
                break;
            }
            let mut safe = true;
            for (v, column) in self.v[..cols].iter_mut().zip(self.column.iter()) {
                *v = col_sum / column;
                safe &= SAFE.contains(v);
            }
            if !safe {
                self.log_columns(cost, rate);
            }
        }
        // Costs near the end of double precision over a small ε: no potential can hold them.
        let finite = |values: &[f64]| values.iter().all(|v| v.is_finite());
        if !(finite(&self.u) && finite(&self.f) && finite(&self.g[..cols])) {
            error = f64::NAN;
        }
        (iterations, error)
    }

    /// Costs of frame `t`, with the band.
    fn costs<'a>(&'a mut self, cost: &'a CostMatrix, t: usize) -> &'a [f64] {
        let row = cost.row(t);
        if self.allowed.is_empty() {
            return row;
        }
        let allowed = &self.allowed[t * row.len()..(t + 1) * row.len()];
        for ((banded, c), allowed) in self.banded.iter_mut().zip(row).zip(allowed) {
            *banded = if *allowed { *c } else { f64::INFINITY };
        }
        &self.banded
    }

    /// The kernel around the potentials as they are.
    fn build(&mut self, cost: &CostMatrix, rate: f64) {
        let (stride, cols, instructions) = (self.stride, cost.cols, self.instructions);
        let mut kernel = std::mem::take(&mut self.kernel);
        let g = std::mem::take(&mut self.g);
        for (t, out) in kernel.chunks_exact_mut(stride).enumerate() {
            let shift = self.f[t];
            let row = self.costs(cost, t);
            vector::kernel_row(instructions, row, rate, shift, &g[..cols], &mut out[..cols]);
        }
        self.kernel = kernel;
        self.g = g;
    }

    /// The rows' half-step on the logarithms, and the columns' sums after it.
    fn log_rows(&mut self, cost: &CostMatrix, rate: f64) {
        let (cols, instructions) = (cost.cols, self.instructions);
        for (g, v) in self.g[..cols].iter_mut().zip(self.v.iter_mut()) {
            *g += v.ln();
            *v = 1.0;
        }
        let log_mass = -(cost.rows as f64).ln();
        let (g, mut scratch) = (std::mem::take(&mut self.g), std::mem::take(&mut self.row));
        for t in 0..cost.rows {
            let row = self.costs(cost, t);
            let (top, sum) =
                vector::log_row(instructions, row, rate, &g[..cols], &mut scratch[..cols]);
            self.f[t] = log_mass - top - sum.ln();
        }
        (self.g, self.row) = (g, scratch);
        self.u.fill(1.0);
        self.build(cost, rate);
        self.column.fill(0.0);
        for row in self.kernel.chunks_exact(self.stride) {
            for (column, k) in self.column.iter_mut().zip(row) {
                *column += k;
            }
        }
    }

    /// The columns' half-step on the logarithms.
    fn log_columns(&mut self, cost: &CostMatrix, rate: f64) {
        let (cols, instructions) = (cost.cols, self.instructions);
        for (f, u) in self.f.iter_mut().zip(&mut self.u) {
            *f += u.ln();
            *u = 1.0;
        }
        let (mut highest, mut sums) = (std::mem::take(&mut self.row), std::mem::take(&mut self.g));
        highest.fill(f64::NEG_INFINITY);
        sums.fill(0.0);
        for t in 0..cost.rows {
            let f = self.f[t];
            for (highest, c) in highest.iter_mut().zip(self.costs(cost, t)) {
                let x = f - c * rate;
                *highest = if x > *highest { x } else { *highest };
            }
        }
        for t in 0..cost.rows {
            let f = self.f[t];
            let row = self.costs(cost, t);
            vector::log_column(
                instructions,
                row,
                rate,
                f,
                &highest[..cols],
                &mut sums[..cols],
            );
        }
        let log_mass = -(cols as f64).ln();
        for (sum, highest) in sums[..cols].iter_mut().zip(highest.iter()) {
            *sum = log_mass - highest - sum.ln();
        }
        (self.row, self.g) = (highest, sums);
        self.v[..cols].fill(1.0);
        self.build(cost, rate);
    }

    /// The plan, `[rows, cols]`.
    fn mass(&self, cols: usize) -> Vec<f64> {
        let mut mass = vec![0.0; self.u.len() * cols];
        for ((out, row), u) in mass
            .chunks_exact_mut(cols)
            .zip(self.kernel.chunks_exact(self.stride))
            .zip(&self.u)
        {
            vector::mass_row(self.instructions, &row[..cols], *u, &self.v[..cols], out);
        }
        mass
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The plain log-domain algorithm with the standard library's functions: what the above must agree with.
    fn log_domain(cost: &CostMatrix, config: &TransportConfig) -> (Vec<f64>, usize) {
        let (rows, cols) = (cost.rows, cost.cols);
        let entry = |t: usize, s: usize| match config.band {
            Some(band) if !band.allows(t, rows, s, cols) => f64::INFINITY,
            _ => cost.row(t)[s] / config.epsilon,
        };
        let log_sum = |terms: &mut dyn Iterator<Item = f64>| {
            let terms: Vec<f64> = terms.collect();
            let top = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            top + terms.iter().map(|x| (x - top).exp()).sum::<f64>().ln()
        };
        let (mut f, mut g) = (vec![0.0; rows], vec![0.0; cols]);
        let mut iterations = 0;
        loop {
            iterations += 1;
            for (t, f) in f.iter_mut().enumerate() {
                *f = -(rows as f64).ln() - log_sum(&mut (0..cols).map(|s| g[s] - entry(t, s)));
            }
            let sums: Vec<f64> = (0..cols)
                .map(|s| log_sum(&mut (0..rows).map(|t| f[t] - entry(t, s))))
                .collect();
            let error = sums
                .iter()
                .zip(&g)
                .map(|(sum, g)| ((sum + g).exp() - 1.0 / cols as f64).abs())
                .fold(0.0, f64::max);
            if error <= config.tolerance || iterations == config.max_iterations {
                break;
            }
            for (g, sum) in g.iter_mut().zip(&sums) {
                *g = -(cols as f64).ln() - sum;
            }
        }
        let mass = (0..rows)
            .flat_map(|t| (0..cols).map(move |s| (t, s)))
            .map(|(t, s)| (f[t] + g[s] - entry(t, s)).exp())
            .collect();
        (mass, iterations)
    }

    fn agree(cost: &CostMatrix, config: &TransportConfig) -> Result<(), TestCaseError> {
        let plan = solve(cost.clone(), config, &mut Workspace::default()).unwrap();
        let (mass, iterations) = log_domain(cost, config);
        for (a, b) in plan.mass.iter().zip(&mass) {
            prop_assert!((a - b).abs() < 1e-11, "{a} {b}");
        }
        // Rounding may decide differently on the very edge of the tolerance.
        prop_assert!(
            plan.iterations.abs_diff(iterations) <= 1 + iterations / 50,
            "{} {iterations}",
            plan.iterations
        );
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn every_iterate_is_that_of_the_log_domain(
            rows in 1usize..14, cols in 1usize..14, seed in prop::collection::vec(0.0f64..2.0, 14 * 14),
            epsilon in prop_oneof![Just(1.0), Just(0.1), Just(0.01), Just(1e-3), Just(1e-4)],
            band in prop_oneof![Just(None), (0.05f64..0.6).prop_map(|half_width| Some(Band { half_width }))],
            iterations in prop_oneof![Just(1usize), Just(3), Just(300)],
        ) {
            let cost = CostMatrix::new(rows, cols, seed[..rows * cols].to_vec()).unwrap();
            // Well above rounding, so that both stop at the same iteration.
            let config = TransportConfig { band, tolerance: 1e-12, max_iterations: iterations, ..TransportConfig::tight(epsilon) };
            // At a ten-thousandth, rounding of c/ε alone is 2e4 · 1e-16, and many iterations add up.
            prop_assume!(epsilon > 1e-3 || iterations <= 3);
            agree(&cost, &config)?;
        }
    }

    #[test]
    fn costs_far_above_epsilon_are_solved_on_the_logarithms() {
        let cost = CostMatrix::new(2, 2, vec![0.0, 1.0, 1.0, 0.0]).unwrap();
        for epsilon in [1e-3, 1e-6, 1e-9] {
            let config = TransportConfig::tight(epsilon);
            let plan = solve(cost.clone(), &config, &mut Workspace::default()).unwrap();
            assert!((plan.row(0)[0] - 0.5).abs() < 1e-12);
            assert!(plan.row(0)[1] < 1e-12);
        }
        // One column far from every row, so that its sum underflows at once.
        let cost = CostMatrix::new(2, 2, vec![0.0, 100.0, 0.0, 100.0]).unwrap();
        let plan = solve(
            cost,
            &TransportConfig::tight(1e-2),
            &mut Workspace::default(),
        )
        .unwrap();
        assert!((plan.distance() - 50.0).abs() < 1e-9, "{plan:?}");
        assert!(plan.marginal_error() < 1e-12);
    }

    #[test]
    fn a_workspace_carries_nothing_over_to_the_next_problem() {
        let mut workspace = Workspace::default();
        let config = TransportConfig::tight(0.05);
        for (rows, cols, band) in [
            (9, 17, None),
            (3, 2, Some(Band { half_width: 0.2 })),
            (5, 8, None),
            (8, 3, None),
        ] {
            let values = (0..rows * cols)
                .map(|i| ((i * 31 + 5) % 17) as f64 / 8.0)
                .collect();
            let cost = CostMatrix::new(rows, cols, values).unwrap();
            let config = TransportConfig {
                band,
                ..config.clone()
            };
            let fresh = solve(cost.clone(), &config, &mut Workspace::default()).unwrap();
            let used = solve(cost, &config, &mut workspace).unwrap();
            assert_eq!(fresh.mass, used.mass);
        }
    }
}
