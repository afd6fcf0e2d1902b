//! [`Sum`].

use serde::{Deserialize, Serialize};

use super::{Combiner, assemble, common_length, variance};
use crate::model::{RewardError, Signal};

/// `Σ_i w_i r_i`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sum {
    /// A weight for each reward; none at all means 1 for each.
    pub weights: Vec<f64>,
}

impl Combiner for Sum {
    fn combine(&self, signals: &[Signal]) -> Result<Signal, RewardError> {
        let steps = common_length(signals)?;
        if !self.weights.is_empty() && self.weights.len() != signals.len() {
            return Err(RewardError::Other(format!(
                "{} weights do not suit {} rewards; give one for each",
                self.weights.len(),
                signals.len()
            )));
        }
        let weight = |i: usize| self.weights.get(i).copied().unwrap_or(1.0);
        let sum = |f: &dyn Fn(usize, &Signal) -> f64| {
            signals
                .iter()
                .enumerate()
                .map(|(i, s)| f(i, s))
                .sum::<f64>()
        };
        let per_step = (0..steps)
            .map(|t| sum(&|i, s| weight(i) * s.per_step[t]))
            .collect();
        let variances = (0..steps)
            .map(|t| sum(&|i, s| weight(i).powi(2) * variance(s, t)))
            .collect();
        Ok(assemble(signals, per_step, variances))
    }
}
