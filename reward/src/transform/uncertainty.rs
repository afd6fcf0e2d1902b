//! [`UncertaintyDiscount`]: less reward where the model is not sure.

use serde::{Deserialize, Serialize};

use super::RewardTransform;
use crate::model::Signal;

/// `neutral + (r - neutral) exp(-u / scale) - penalty · u` with the standard deviation `u` of the step's reward.
///
/// The weight `exp(-u)` on what two readings disagree about is Ctrl-U's (methods row 4), where it weighs a loss; here it weighs
/// the reward itself, towards `neutral`, and the linear term makes it pessimistic. Two readings estimate a deviation poorly: use an
/// ensemble of four or more. A signal whose deviations are unknown is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UncertaintyDiscount {
    /// Standard deviation at which 1/e of the reward is left.
    pub scale: f64,
    /// Reward lost for each unit of standard deviation.
    pub penalty: f64,
    /// What a reward of which nothing is known counts as.
    pub neutral: f64,
}

impl Default for UncertaintyDiscount {
    fn default() -> Self {
        Self {
            scale: 0.1,
            penalty: 0.0,
            neutral: 0.0,
        }
    }
}

impl RewardTransform for UncertaintyDiscount {
    fn apply(&self, mut signal: Signal) -> Signal {
        let Some(deviations) = &mut signal.uncertainty else {
            return signal;
        };
        for (r, u) in signal.per_step.iter_mut().zip(deviations) {
            let weight = (-*u / self.scale).exp();
            *r = self.neutral + (*r - self.neutral) * weight - self.penalty * *u;
            *u *= weight;
        }
        signal
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::eval::spearman;

    #[test]
    fn a_sure_reward_stays_and_an_unsure_one_fades() {
        let discount = UncertaintyDiscount {
            penalty: 0.5,
            ..UncertaintyDiscount::default()
        };
        let signal = Signal {
            uncertainty: Some(vec![0.0, 0.1, 10.0]),
            ..Signal::new(vec![2.0; 3])
        };
        let out = discount.apply(signal);
        let expected = [2.0, 2.0 * (-1.0f64).exp() - 0.05, -5.0];
        for (a, b) in out.per_step.iter().zip(expected) {
            assert!((a - b).abs() < 1e-9, "{a} {b}");
        }
        let unknown = Signal::new(vec![1.0, -1.0]);
        assert_eq!(discount.apply(unknown.clone()), unknown);
    }

    /// Five scorers agree near the demonstrations and each errs on its own elsewhere; a search for the highest mean finds the
    /// errors, a search for the highest discounted mean does not.
    #[test]
    fn holes_of_an_ensemble_are_exploited_less() {
        let (mut raw_holes, mut discounted_holes, mut worst_rank) = (0, 0, 1.0f64);
        for seed in 0..20 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (mut per_step, mut deviations, mut truth, mut known) =
                (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for _ in 0..400 {
                let value: f64 = rng.random_range(0.0..1.0);
                let familiar = rng.random_range(0.0..1.0) < 0.5;
                let spread = if familiar { 0.01 } else { 0.6 };
                let members: Vec<f64> = (0..5)
                    .map(|_| {
                        let noise: f64 = (0..12).map(|_| rng.random_range(-0.5..0.5)).sum();
                        value + spread * noise
                    })
                    .collect();
                let mean = members.iter().sum::<f64>() / 5.0;
                let variance = members.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / 4.0;
                per_step.push(mean);
                deviations.push(variance.sqrt());
                truth.push(value);
                known.push(familiar);
            }
            let signal = Signal {
                uncertainty: Some(deviations),
                ..Signal::new(per_step)
            };
            let discounted = UncertaintyDiscount::default().apply(signal.clone());
            let best = |s: &Signal| {
                let best = s
                    .per_step
                    .iter()
                    .enumerate()
                    .max_by(|a, b| a.1.total_cmp(b.1));
                best.unwrap().0
            };
            raw_holes += usize::from(!known[best(&signal)]);
            discounted_holes += usize::from(!known[best(&discounted)]);
            let familiar = |values: &[f64]| -> Vec<f64> {
                values
                    .iter()
                    .zip(&known)
                    .filter(|(_, k)| **k)
                    .map(|(v, _)| *v)
                    .collect()
            };
            let rank = spearman(&familiar(&discounted.per_step), &familiar(&truth)).unwrap();
            worst_rank = worst_rank.min(rank);
        }
        assert!(
            raw_holes >= 18 && discounted_holes <= 2,
            "{raw_holes} {discounted_holes}"
        );
        assert!(worst_rank > 0.98, "{worst_rank}");
    }
}
