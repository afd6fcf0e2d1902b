//! [`LogSigmoid`]: LSC, a reward as the logarithm of the chance of being good enough.

use serde::{Deserialize, Serialize};

use super::{RewardTransform, map};
use crate::model::{RewardError, Signal};
use crate::objective::{sigmoid, softplus};

/// `ln σ(r - reference)`: summed over several rewards it is the logical "and" (arXiv 2402.00742).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSigmoid {
    /// Reward that counts as just good enough: the 85th percentile of a reference policy's, in the paper.
    pub reference: f64,
}

impl RewardTransform for LogSigmoid {
    fn apply(&self, signal: Signal) -> Signal {
        map(
            signal,
            |r| -softplus(self.reference - r),
            |r| sigmoid(self.reference - r),
        )
    }
}

impl LogSigmoid {
    /// With the reference at a quantile of a reference policy's rewards, interpolated between neighbours; the paper takes 0.85.
    /// Fails without a finite reward and on a quantile outside 0..=1.
    pub fn fit(rewards: &[f64], quantile: f64) -> Result<Self, RewardError> {
        if !(0.0..=1.0).contains(&quantile) {
            return Err(RewardError::Other(format!(
                "the quantile is {quantile}; it must lie in 0..=1"
            )));
        }
        let mut sorted: Vec<f64> = rewards.iter().copied().filter(|r| r.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else {
            return Err(RewardError::Other(
                "a reference needs rewards; give those of the policy before training".into(),
            ));
        };
        let place = quantile * last as f64;
        let below = place.floor() as usize;
        let above = (below + 1).min(last);
        let reference = sorted[below] + (place - below as f64) * (sorted[above] - sorted[below]);
        Ok(Self { reference })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_a_quantile_of_what_the_old_policy_got() {
        let rewards: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert!((LogSigmoid::fit(&rewards, 0.85).unwrap().reference - 85.0).abs() < 1e-9);
        assert_eq!(
            LogSigmoid::fit(&[f64::NAN, 2.0], 0.85).unwrap().reference,
            2.0
        );
        assert!(LogSigmoid::fit(&[f64::NAN], 0.5).is_err());
        assert!(LogSigmoid::fit(&[1.0], 1.5).is_err());
    }
}
