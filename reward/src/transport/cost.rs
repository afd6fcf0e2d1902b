//! [`Points`] and the [`CostMatrix`] between two sets of them.

use nalgebra::{DMatrixView, DMatrixViewMut};
use rapport_perception::Features;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::model::RewardError;

/// Norms below this count as this in a cosine, so that a zero vector has cosine 0 (cost 1) with everything instead of no
/// value at all.
pub const NORM_FLOOR: f64 = 1e-8;

/// Cost of matching two frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cost {
    /// `1 - cos(x, y)`, in `[0, 2]`; norms are floored at [`NORM_FLOOR`].
    #[default]
    Cosine,
    /// `‖x - y‖₂`.
    Euclidean,
}

/// Embeddings of the frames of a clip in double precision, `[time, dim]`, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Points {
    dim: usize,
    values: Vec<f64>,
}

impl Points {
    /// From rows laid end to end. `values.len()` must be a multiple of `dim`; the remainder is a bug of the caller.
    pub fn new(dim: usize, values: Vec<f64>) -> Self {
        assert!(
            dim > 0 && values.len().is_multiple_of(dim),
            "{} values do not make rows of {dim}",
            values.len()
        );
        Self { dim, values }
    }

    /// Width of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.dim).unwrap_or(0)
    }

    /// True when there is no row.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Row `t`, `[dim]`.
    pub fn row(&self, t: usize) -> &[f64] {
        &self.values[t * self.dim..(t + 1) * self.dim]
    }

    /// The values, `[time * dim]`.
    pub fn as_slice(&self) -> &[f64] {
        &self.values
    }

    /// The values, to change.
    pub fn as_mut_slice(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// In single precision.
    pub fn to_features(&self) -> Features {
        if self.dim == 0 {
            return Features::default();
        }
        Features::new(self.dim, self.values.iter().map(|&v| v as f32).collect())
    }
}

impl From<&Features> for Points {
    fn from(features: &Features) -> Self {
        Self {
            dim: features.dim(),
            values: features.as_slice().iter().map(|&v| f64::from(v)).collect(),
        }
    }
}

/// Costs of matching every frame of one clip with every frame of another, `[rows, cols]`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct CostMatrix {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) values: Vec<f64>,
}

impl CostMatrix {
    /// From rows laid end to end. Fails when there is no row or column, the count is wrong, or a value is not finite.
    pub fn new(rows: usize, cols: usize, values: Vec<f64>) -> Result<Self, RewardError> {
        if rows == 0 || cols == 0 {
            return Err(RewardError::Other(
                "a clip without frames cannot be matched; give clips of at least one frame".into(),
            ));
        }
        if values.len() != rows * cols {
            return Err(RewardError::Other(format!(
                "{} costs do not make a {rows} x {cols} matrix",
                values.len()
            )));
        }
        if let Some(bad) = values.iter().position(|v| !v.is_finite()) {
            return Err(RewardError::NotFinite {
                what: "the matching cost".into(),
                step: bad / cols,
            });
        }
        Ok(Self { rows, cols, values })
    }

    /// The costs between two clips.
    pub fn between(from: &Points, to: &Points, cost: Cost) -> Result<Self, RewardError> {
        if !from.is_empty() && !to.is_empty() && from.dim() != to.dim() {
            return Err(RewardError::Other(format!(
                "frames of {} and {} numbers cannot be matched; embed both clips the same way",
                from.dim(),
                to.dim()
            )));
        }
        let values = match cost {
            Cost::Cosine => cosine_costs(from, &normalised(to)),
            Cost::Euclidean => pairwise(from, to, |x, y| squared_distance(x, y).sqrt()),
        };
        Self::new(from.len(), to.len(), values)
    }

    /// Frames of the first clip.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Frames of the second clip.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Costs of frame `t` of the first clip, `[cols]`.
    pub fn row(&self, t: usize) -> &[f64] {
        &self.values[t * self.cols..(t + 1) * self.cols]
    }

    /// All costs, `[rows * cols]`.
    pub fn as_slice(&self) -> &[f64] {
        &self.values
    }
}

/// `1 - cos` of every pair, `[from.len(), to.len()]`, as matrix products of a few rows at a time. `to` has unit rows.
fn cosine_costs(from: &Points, to: &Points) -> Vec<f64> {
    /// Rows of a product: enough for speed, few enough that a long clip's unit vectors never stand in memory together.
    const ROWS: usize = 64;
    let (dim, cols) = (from.dim, to.len());
    let mut costs = vec![0.0; from.len() * cols];
    if costs.is_empty() {
        return costs;
    }
    // Rows are what nalgebra, column-major, calls columns.
    let to = DMatrixView::from_slice(&to.values, dim, cols).transpose();
    let product = |(rows, out): (&[f64], &mut [f64])| {
        let mut unit = rows.to_vec();
        normalise(&mut unit, dim);
        let count = rows.len() / dim;
        let unit = DMatrixView::from_slice(&unit, dim, count);
        let mut out = DMatrixViewMut::from_slice(out, cols, count);
        out.fill(1.0);
        out.gemm(-1.0, &to, &unit, 1.0);
    };
    if from.len() <= ROWS {
        product((&from.values, &mut costs));
    } else {
        let rows = from.values.par_chunks(ROWS * dim);
        rows.zip(costs.par_chunks_mut(ROWS * cols))
            .for_each(product);
    }
    costs
}

fn pairwise(from: &Points, to: &Points, f: impl Fn(&[f64], &[f64]) -> f64) -> Vec<f64> {
    let mut values = Vec::with_capacity(from.len() * to.len());
    for t in 0..from.len() {
        let x = from.row(t);
        values.extend((0..to.len()).map(|s| f(x, to.row(s))));
    }
    values
}

/// Each row divided by its floored norm.
pub(super) fn normalised(points: &Points) -> Points {
    let mut unit = points.clone();
    normalise(&mut unit.values, points.dim);
    unit
}

fn normalise(rows: &mut [f64], dim: usize) {
    for row in rows.chunks_exact_mut(dim.max(1)) {
        let scale = 1.0 / dot(row, row).sqrt().max(NORM_FLOOR);
        row.iter_mut().for_each(|v| *v *= scale);
    }
}

/// Inner product with eight running sums, which the compiler turns into vector instructions.
pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    let (x, x_tail) = x.as_chunks::<8>();
    let (y, y_tail) = y.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (x, y) in x.iter().zip(y) {
        for lane in 0..8 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    let tail: f64 = x_tail.iter().zip(y_tail).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f64>() + tail
}

pub(crate) fn squared_distance(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum()
}
