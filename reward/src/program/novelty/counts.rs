//! [`Counts`]: how often each cell of a grid was visited.

use std::collections::BTreeMap;

/// A cell of the grid.
pub type Cell = Vec<i64>;

/// Visits by cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    visits: BTreeMap<Cell, u64>,
}

impl Counts {
    /// The cell that a state lies in, on a grid of this width around 0.
    pub fn cell(state: &[f64], width: f64) -> Cell {
        state.iter().map(|v| (v / width).round() as i64).collect()
    }

    /// Visits so far.
    pub fn of(&self, cell: &Cell) -> u64 {
        self.visits.get(cell).copied().unwrap_or(0)
    }

    /// Counts a visit; gives the visits before it.
    pub fn visit(&mut self, cell: Cell) -> u64 {
        let visits = self.visits.entry(cell).or_default();
        *visits += 1;
        *visits - 1
    }

    /// Forgets.
    pub fn clear(&mut self) {
        self.visits.clear();
    }

    /// Cells and their visits, in order of cells.
    pub fn iter(&self) -> impl Iterator<Item = (&Cell, u64)> {
        self.visits.iter().map(|(cell, visits)| (cell, *visits))
    }
}

impl FromIterator<(Cell, u64)> for Counts {
    fn from_iter<I: IntoIterator<Item = (Cell, u64)>>(cells: I) -> Self {
        Self {
            visits: cells.into_iter().collect(),
        }
    }
}
