//! [`Features`]: what an encoder makes of a clip.

use serde::{Deserialize, Serialize};

/// A matrix of features, `[time, dim]`, row-major `f32`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Features {
    dim: usize,
    values: Vec<f32>,
}

impl Features {
    /// From rows laid end to end. `values.len()` must be a multiple of `dim`; the remainder is a bug of the caller.
    pub fn new(dim: usize, values: Vec<f32>) -> Self {
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
    pub fn row(&self, t: usize) -> &[f32] {
        &self.values[t * self.dim..(t + 1) * self.dim]
    }

    /// All rows, first to last.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.dim.max(1))
    }

    /// The values, `[time * dim]`.
    pub fn as_slice(&self) -> &[f32] {
        &self.values
    }

    /// Rows at the given times, in that order.
    pub fn select(&self, times: &[usize]) -> Self {
        Self {
            dim: self.dim,
            values: times
                .iter()
                .flat_map(|&t| self.row(t).iter().copied())
                .collect(),
        }
    }
}
