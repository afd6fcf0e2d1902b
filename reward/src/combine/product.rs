//! [`Product`].

use serde::{Deserialize, Serialize};

use super::{Combiner, assemble, common_length, variance};
use crate::model::{RewardError, Signal};

/// `Π_i r_i`: all must be good. Meant for rewards that are not negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {}

impl Combiner for Product {
    fn combine(&self, signals: &[Signal]) -> Result<Signal, RewardError> {
        let steps = common_length(signals)?;
        let product = |t: usize, without: Option<usize>| -> f64 {
            let factors = signals
                .iter()
                .enumerate()
                .filter(|(i, _)| Some(*i) != without);
            factors.map(|(_, s)| s.per_step[t]).product()
        };
        let per_step = (0..steps).map(|t| product(t, None)).collect();
        let variances = (0..steps)
            .map(|t| {
                let part = |(i, s)| product(t, Some(i)).powi(2) * variance(s, t);
                signals.iter().enumerate().map(part).sum()
            })
            .collect();
        Ok(assemble(signals, per_step, variances))
    }
}
