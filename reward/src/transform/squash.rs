//! [`Squash`]: PAR, a reward as the chance of beating a reference.

use serde::{Deserialize, Serialize};

use super::{RewardTransform, map};
use crate::model::Signal;
use crate::objective::sigmoid;

/// `(1/M) Σ_m σ(k (r - r_m))` over reference rewards `r_m`: bounded, centred, steep at first and flat where a reward gets
/// suspiciously good (PAR, arXiv 2502.18770). With one reference and `k = 1` it is Bradley-Terry's probability of beating it. It
/// delays the exploitation of a flawed reward; it does not prevent it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Squash {
    /// Rewards of the reference policy; one is enough, ten are plenty.
    pub references: Vec<f64>,
    /// The factor `k`.
    pub steepness: f64,
}

impl Default for Squash {
    fn default() -> Self {
        Self {
            references: vec![0.0],
            steepness: 1.0,
        }
    }
}

impl RewardTransform for Squash {
    fn apply(&self, signal: Signal) -> Signal {
        let mean = |f: &dyn Fn(f64) -> f64| {
            self.references.iter().map(|m| f(*m)).sum::<f64>() / self.references.len() as f64
        };
        let value = |r: f64, m: f64| sigmoid(self.steepness * (r - m));
        map(
            signal,
            |r| mean(&|m| value(r, m)),
            |r| mean(&|m| self.steepness * value(r, m) * (1.0 - value(r, m))),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::combine::bandit::Bandit;
    use crate::transform::LogSigmoid;

    /// Row 21's check, and its limit: one action in a hundred cheats the reward. Pressed moderately, the squashed reward keeps
    /// the truth above zero where the raw one has lost it; pressed hard it is lost all the same.
    #[test]
    fn cheats_pay_less_until_the_pressure_is_high() {
        let arms = 400;
        let truth: Vec<f64> = (0..arms)
            .map(|i| {
                if i % 100 == 0 {
                    -3.0
                } else {
                    2.4 * f64::from(i) / f64::from(arms) - 1.2
                }
            })
            .collect();
        let cheated: Vec<f64> = truth
            .iter()
            .enumerate()
            .map(|(i, t)| if i % 100 == 0 { 8.0 } else { *t })
            .collect();
        let bandit = Bandit::uniform(arms as usize);
        let squash = Squash {
            references: vec![0.0],
            steepness: 2.0,
        };
        let par = squash.apply(Signal::new(cheated.clone())).per_step;
        let lsc = LogSigmoid { reference: 0.0 }
            .apply(Signal::new(cheated.clone()))
            .per_step;
        let truth_at = |reward: &[f64], divergence| bandit.tilted(reward, divergence).mean(&truth);
        for divergence in [0.5, 1.0] {
            let [raw, par, lsc] = [&cheated, &par, &lsc].map(|r| truth_at(r, divergence));
            assert!(
                raw < 0.4 && par > raw + 0.2 && lsc > raw + 0.2,
                "KL {divergence}: {raw} {par} {lsc}"
            );
            assert!(par > 0.0);
        }
        // A monotone transform delays it and no more.
        assert!(truth_at(&par, 4.5) < -2.0);
    }
}
