//! [`Scale`]: a factor and an offset.

use serde::{Deserialize, Serialize};

use super::{RewardTransform, map};
use crate::model::Signal;

/// `factor · r + offset`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scale {
    /// Multiplied.
    pub factor: f64,
    /// Then added.
    pub offset: f64,
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            factor: 1.0,
            offset: 0.0,
        }
    }
}

impl RewardTransform for Scale {
    fn apply(&self, signal: Signal) -> Signal {
        map(signal, |r| self.factor * r + self.offset, |_| self.factor)
    }
}
