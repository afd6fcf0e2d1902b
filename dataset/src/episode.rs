//! [`Episode`]: one attempt at a task, indexed by time. The currency of every room.

use std::collections::BTreeMap;

use image::RgbImage;

/// A numeric channel over time, `[time, dim]`, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Column {
    /// Names of the components, `[dim]`; empty when they have none.
    pub names: Vec<String>,
    /// Width of a row.
    pub dim: usize,
    /// Values, `[time, dim]`.
    pub values: Vec<f32>,
}

impl Column {
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
}

/// One attempt at a task.
#[derive(Clone, Debug, Default)]
pub struct Episode {
    /// What was to be done, in words.
    pub task: String,
    /// Rows per second.
    pub fps: u32,
    /// Numeric channels by LeRobot feature name (`observation.state`, `action`, `next.reward`), each `[time, dim]`.
    pub columns: BTreeMap<String, Column>,
    /// Images by camera name (`front`), each `[time]`.
    pub cameras: BTreeMap<String, Vec<RgbImage>>,
}

impl Episode {
    /// Number of time steps.
    pub fn len(&self) -> usize {
        self.columns
            .values()
            .map(Column::len)
            .chain(self.cameras.values().map(Vec::len))
            .max()
            .unwrap_or(0)
    }

    /// True when nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
