//! [`Points`] and the [`CostMatrix`] between two sets of them.

use rapport_perception::Features;
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
            Cost::Cosine => {
                let (from, to) = (normalised(from), normalised(to));
                pairwise(&from, &to, |x, y| 1.0 - dot(x, y))
            }
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
    for row in unit.values.chunks_exact_mut(points.dim.max(1)) {
        let scale = 1.0 / dot(row, row).sqrt().max(NORM_FLOOR);
        row.iter_mut().for_each(|v| *v *= scale);
    }
    unit
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
