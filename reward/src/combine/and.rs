//! [`And`]: every reward must be good enough.

use serde::{Deserialize, Serialize};

use super::{Combiner, Sum};
use crate::model::{RewardError, Signal};
use crate::transform::{LogSigmoid, RewardTransform};

/// `Σ_i ln σ(r_i - r_ref,i)`: the logarithm of the chance that all rewards are good enough, were they independent (LSC, arXiv
/// 2402.00742, methods row 52). Unlike a plain sum it does not pay for more of what is already good.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct And {
    /// What counts as just good enough, for each reward; see [`LogSigmoid::fit`]. None at all means 0 for each.
    pub references: Vec<f64>,
}

impl Combiner for And {
    fn combine(&self, signals: &[Signal]) -> Result<Signal, RewardError> {
        if !self.references.is_empty() && self.references.len() != signals.len() {
            return Err(RewardError::Other(format!(
                "{} references do not suit {} rewards; give one for each",
                self.references.len(),
                signals.len()
            )));
        }
        let logs: Vec<Signal> = signals
            .iter()
            .enumerate()
            .map(|(i, signal)| {
                let reference = self.references.get(i).copied().unwrap_or(0.0);
                LogSigmoid { reference }.apply(signal.clone())
            })
            .collect();
        Sum::default().combine(&logs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::combine::bandit::Bandit;

    #[test]
    fn both_must_be_good() {
        let signals = [vec![0.0, 3.0, 9.0], vec![0.0, 3.0, -3.0]].map(Signal::new);
        let all = And::default().combine(&signals).unwrap().per_step;
        assert!((all[0] - 0.25f64.ln()).abs() < 1e-12);
        assert!(all[1] > all[0] && all[0] > all[2]);
        assert!(
            And {
                references: vec![1.0]
            }
            .combine(&signals)
            .is_err()
        );
    }

    /// Row 52's check, on goals that work against each other: at the same distance from the old policy the worse of the two
    /// rewards is better than with the plain sum. Measured: see `docs/methods.md`.
    #[test]
    fn the_worse_of_two_opposed_goals_gains_more_than_by_a_sum() {
        // An action trades one goal for the other along a front; most of the actions are poor at both.
        let arms: Vec<[f64; 2]> = (0..41)
            .flat_map(|i| {
                let lean = f64::from(i) / 20.0 - 1.0;
                (0..5).map(move |k| {
                    let quality = f64::from(k);
                    [
                        quality - 2.0 + 2.5 * lean,
                        quality - 2.0 - 2.5 * lean + 0.6 * lean * lean,
                    ]
                })
            })
            .collect();
        let each = |f: &dyn Fn(&[f64; 2]) -> f64| -> Vec<f64> { arms.iter().map(f).collect() };
        let signals = [0, 1].map(|i| Signal::new(each(&|arm| arm[i])));
        let worse = each(&|arm| arm[0].min(arm[1]));
        let bandit = Bandit::uniform(arms.len());
        let and = And {
            references: vec![1.0, 1.0],
        }
        .combine(&signals)
        .unwrap()
        .per_step;
        let sum = Sum::default().combine(&signals).unwrap().per_step;
        for divergence in [0.5, 1.0, 2.0] {
            let [by_and, by_sum] = [&and, &sum].map(|reward| {
                let policy = bandit.tilted(reward, divergence);
                policy.mean(&worse)
            });
            assert!(by_and > by_sum + 0.1, "KL {divergence}: {by_and} {by_sum}");
        }
    }
}
