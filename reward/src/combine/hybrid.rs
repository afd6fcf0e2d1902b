//! [`Hybrid`]: a rule where it can judge, a model elsewhere.

use serde::{Deserialize, Serialize};

use super::{Combiner, assemble, common_length, variance};
use crate::model::{RewardError, Signal};

/// `c · rule + (1 - c) · model + Σ_i w_i aspect_i - duration_penalty`, HARMO's reward (methods row 32) on a robot: a verifier counts
/// where it applies, a learned reward elsewhere, and how the thing was done counts beside.
///
/// The signals are, in order: the rule, its confidence (cut to 0..=1; a value that is not a number counts as 0), the model, then
/// any further aspects (smoothness, distance to limits). A confidence that rises gradually near the border of the rule's
/// domain keeps the reward free of jumps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hybrid {
    /// A weight for each further aspect; none at all means 1 for each.
    pub weights: Vec<f64>,
    /// Cost of every step: the length term.
    pub duration_penalty: f64,
}

impl Combiner for Hybrid {
    fn combine(&self, signals: &[Signal]) -> Result<Signal, RewardError> {
        let steps = common_length(signals)?;
        let [rule, confidence, model, aspects @ ..] = signals else {
            return Err(RewardError::Other(format!(
                "a hybrid needs a rule, its confidence and a model, in this order; there are {} rewards",
                signals.len()
            )));
        };
        if !self.weights.is_empty() && self.weights.len() != aspects.len() {
            return Err(RewardError::Other(format!(
                "{} weights do not suit {} aspects; give one for each",
                self.weights.len(),
                aspects.len()
            )));
        }
        let weight = |i: usize| self.weights.get(i).copied().unwrap_or(1.0);
        let (mut per_step, mut variances) = (Vec::with_capacity(steps), Vec::with_capacity(steps));
        for t in 0..steps {
            let share = confidence.per_step[t];
            let share = if share.is_nan() {
                0.0
            } else {
                share.clamp(0.0, 1.0)
            };
            // A part that does not count may be anything, not a number included.
            let part = |share: f64, value: f64| if share > 0.0 { share * value } else { 0.0 };
            let mut reward = part(share, rule.per_step[t]) + part(1.0 - share, model.per_step[t])
                - self.duration_penalty;
            let mut spread = part(share * share, variance(rule, t))
                + part((1.0 - share).powi(2), variance(model, t));
            for (i, aspect) in aspects.iter().enumerate() {
                reward += weight(i) * aspect.per_step[t];
                spread += weight(i).powi(2) * variance(aspect, t);
            }
            per_step.push(reward);
            variances.push(spread);
        }
        Ok(assemble(signals, per_step, variances))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row 32's check: the rule where it is sure, the model where it is silent, and no jump at the border.
    #[test]
    fn the_rule_where_it_covers_the_model_elsewhere_and_no_jump_between() {
        let steps = 200;
        let distance: Vec<f64> = (0..steps)
            .map(|t| 0.2 * (1.0 - t as f64 / steps as f64))
            .collect();
        // The verifier sees the last 5 cm and gains its confidence over 4 cm before.
        let confidence = Signal::new(
            distance
                .iter()
                .map(|d| ((0.09 - d) / 0.04).clamp(0.0, 1.0))
                .collect(),
        );
        let rule = Signal::new(
            distance
                .iter()
                .map(|d| if *d < 0.1 { 1.0 - 10.0 * d } else { f64::NAN })
                .collect(),
        );
        let model = Signal::new(distance.iter().map(|d| -d).collect());
        let out = Hybrid::default()
            .combine(&[rule.clone(), confidence, model.clone()])
            .unwrap()
            .per_step;
        for t in 0..steps {
            if distance[t] < 0.05 {
                assert_eq!(out[t], rule.per_step[t]);
            }
            if distance[t] > 0.09 {
                assert_eq!(out[t], model.per_step[t]);
            }
        }
        let jump = out
            .windows(2)
            .map(|w| (w[1] - w[0]).abs())
            .fold(0.0, f64::max);
        assert!(jump < 0.05, "{jump}");
    }

    #[test]
    fn aspects_and_duration_count_beside() {
        let signals =
            [[1.0, 1.0], [1.0, f64::NAN], [5.0, 5.0], [0.5, -0.5]].map(|v| Signal::new(v.to_vec()));
        let hybrid = Hybrid {
            weights: vec![2.0],
            duration_penalty: 0.25,
        };
        assert_eq!(hybrid.combine(&signals).unwrap().per_step, [1.75, 3.75]);
        assert!(hybrid.combine(&signals[..2]).is_err());
        assert!(hybrid.combine(&signals[..3]).is_err());
    }
}
