//! [`Gate`].

use serde::{Deserialize, Serialize};

use super::{Combiner, Sum, common_length};
use crate::model::{RewardError, Signal};

/// The sum of all rewards but the first, at steps at which the first (a safety check, say) reaches the threshold; elsewhere a
/// fixed reward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gate {
    /// Least value of the first reward that opens the gate.
    pub threshold: f64,
    /// Reward where the gate is closed.
    pub closed: f64,
}

impl Combiner for Gate {
    fn combine(&self, signals: &[Signal]) -> Result<Signal, RewardError> {
        common_length(signals)?;
        let (gate, rest) = signals.split_at(1);
        if rest.is_empty() {
            return Err(RewardError::Other(
                "a gate needs a reward behind it; name at least two".into(),
            ));
        }
        let mut sum = Sum::default().combine(rest)?;
        for (t, value) in gate[0].per_step.iter().enumerate() {
            // A gate whose value is not a number stays closed.
            if !value.ge(&self.threshold) {
                sum.per_step[t] = self.closed;
                if let Some(deviations) = &mut sum.uncertainty {
                    deviations[t] = 0.0;
                }
            }
        }
        Ok(sum)
    }
}
