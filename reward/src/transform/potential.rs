//! [`PotentialDifference`]: a value of states made into a reward for getting to better ones.

use serde::{Deserialize, Serialize};

use super::RewardTransform;
use crate::model::Signal;

/// `γ Φ(s_t) - Φ(s_{t-1})` where the signal is a potential `Φ` of every frame, and 0 at the first frame. Added to another reward it
/// leaves the best policy as it was (Ng, Harada, Russell 1999); alone, with `γ = 1`, it pays for progress and its sum is the
/// difference between the last frame and the first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PotentialDifference {
    /// The learner's discount; 1 for plain differences.
    pub discount: f64,
}

impl Default for PotentialDifference {
    fn default() -> Self {
        Self { discount: 1.0 }
    }
}

impl RewardTransform for PotentialDifference {
    fn apply(&self, mut signal: Signal) -> Signal {
        let difference = |values: &[f64], combine: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
            let after_first = values.windows(2).map(|pair| combine(pair[0], pair[1]));
            let first = values.first().map(|_| 0.0);
            first.into_iter().chain(after_first).collect()
        };
        let discount = self.discount;
        signal.uncertainty = signal
            .uncertainty
            .map(|u| difference(&u, &|before, now| before.hypot(discount * now)));
        signal.per_step = difference(&signal.per_step, &|before, now| discount * now - before);
        signal
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_discounted_sum_depends_on_the_ends_only(
            values in proptest::collection::vec(-5.0f64..5.0, 1..20), discount in 0.5f64..1.0,
        ) {
            let shaped = PotentialDifference { discount }.apply(Signal::new(values.clone())).per_step;
            let total: f64 = shaped.iter().skip(1).enumerate().map(|(t, r)| discount.powi(t as i32) * r).sum();
            let ends = discount.powi(values.len() as i32 - 1) * values[values.len() - 1] - values[0];
            prop_assert!((total - ends).abs() < 1e-9);
        }
    }

    #[test]
    fn a_clip_without_frames_has_no_differences() {
        assert!(
            PotentialDifference::default()
                .apply(Signal::default())
                .per_step
                .is_empty()
        );
    }
}
