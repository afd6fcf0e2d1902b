//! [`LogTame`]: rewards with wild spreads are damped before they are added.

use serde::{Deserialize, Serialize};

use super::{Combiner, Sum};
use crate::model::{RewardError, Signal};

/// Above which coefficient of variation a reward is damped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Threshold {
    /// The mean of all rewards' coefficients.
    #[default]
    Mean,
    /// Their median.
    Median,
    /// This one.
    Fixed(f64),
}

/// `Σ_i w_i r_i` with `ln(1 + r_i)` in place of `r_i` for each reward whose coefficient of variation (deviation over mean) is
/// above the threshold: PaCo-RL's log-taming (methods row 5), which keeps one heavy-tailed reward from drowning the others. Only
/// the damped rewards must not be negative; what is below zero counts as zero there.
///
/// The coefficients are of what [`LogTame::fit`] was shown, in the paper the batch; without it of the clip itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogTame {
    /// A weight for each reward; none at all means 1 for each.
    pub weights: Vec<f64>,
    /// Above which coefficient of variation a reward is damped.
    pub threshold: Threshold,
    /// Coefficient of variation of each reward, once fitted.
    pub coefficients: Vec<f64>,
}

impl LogTame {
    /// Takes the coefficients from a batch: for each clip the signals in their order. Fails when clips have different numbers of
    /// rewards, and on none.
    pub fn fit(&mut self, batch: &[Vec<Signal>]) -> Result<(), RewardError> {
        let rewards = batch.first().map_or(0, Vec::len);
        if rewards == 0 || batch.iter().any(|signals| signals.len() != rewards) {
            return Err(RewardError::Other(
                "log-taming needs the same rewards of every clip; score at least one".into(),
            ));
        }
        self.coefficients = (0..rewards)
            .map(|i| {
                let values = batch.iter().flat_map(|signals| signals[i].per_step.iter());
                coefficient(values)
            })
            .collect();
        Ok(())
    }
}

/// Deviation over the size of the mean; infinite for a reward that varies about zero, 0 for one that does not vary.
fn coefficient<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for value in values.filter(|v| v.is_finite()) {
        count += 1.0;
        let off = value - mean;
        mean += off / count;
        squares += off * (value - mean);
    }
    let deviation = if count > 0.0 {
        f64::sqrt(squares / count)
    } else {
        0.0
    };
    if deviation == 0.0 {
        0.0
    } else {
        deviation / f64::abs(mean)
    }
}

impl Combiner for LogTame {
    fn combine(&self, signals: &[Signal]) -> Result<Signal, RewardError> {
        let coefficients: Vec<f64> = if self.coefficients.is_empty() {
            signals
                .iter()
                .map(|s| coefficient(s.per_step.iter()))
                .collect()
        } else if self.coefficients.len() == signals.len() {
            self.coefficients.clone()
        } else {
            return Err(RewardError::Other(format!(
                "log-taming was fitted to {} rewards and there are {}; fit it again",
                self.coefficients.len(),
                signals.len()
            )));
        };
        let threshold = match self.threshold {
            Threshold::Mean => coefficients.iter().sum::<f64>() / coefficients.len().max(1) as f64,
            Threshold::Median => {
                let mut sorted = coefficients.clone();
                sorted.sort_by(f64::total_cmp);
                sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
            }
            Threshold::Fixed(value) => value,
        };
        // One reward that varies about zero has an infinite coefficient, and so has the mean then: it is damped all the same.
        let wild = |c: f64| c > threshold || (c.is_infinite() && threshold.is_infinite());
        let tamed: Vec<Signal> = signals
            .iter()
            .zip(coefficients)
            .map(|(signal, c)| {
                if wild(c) {
                    damp(signal)
                } else {
                    signal.clone()
                }
            })
            .collect();
        Sum {
            weights: self.weights.clone(),
        }
        .combine(&tamed)
    }
}

fn damp(signal: &Signal) -> Signal {
    let mut signal = signal.clone();
    if let Some(deviations) = &mut signal.uncertainty {
        for (deviation, r) in deviations.iter_mut().zip(&signal.per_step) {
            *deviation /= 1.0 + r.max(0.0);
        }
    }
    signal
        .per_step
        .iter_mut()
        .for_each(|r| *r = r.max(0.0).ln_1p());
    signal
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::eval::spearman;

    /// Row 5's check: a heavy-tailed reward with a hundred times the spread keeps less than 60 % of the say, and its own order.
    #[test]
    fn a_heavy_tail_keeps_its_order_and_loses_its_dominance() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let calm: Vec<f64> = (0..500)
            .map(|_| 5.0 + rng.random_range(-2.0..2.0))
            .collect();
        let wild: Vec<f64> = (0..500)
            .map(|i| ((f64::from(i) + 0.5) / 500.0).powf(-1.2) - 1.0)
            .collect();
        let spread =
            |values: &[f64]| coefficient(values.iter()) * values.iter().sum::<f64>() / 500.0;
        assert!(spread(&wild) > 100.0 * spread(&calm));
        let signals = [Signal::new(calm.clone()), Signal::new(wild.clone())];
        let tamed = LogTame::default().combine(&signals).unwrap().per_step;
        // What is left when the calm reward is taken away is the damped one.
        let damped: Vec<f64> = tamed.iter().zip(&calm).map(|(t, c)| t - c).collect();
        assert!(spearman(&damped, &wild).unwrap() > 1.0 - 1e-9);
        let share = |wild: f64, calm: f64| wild / (wild + calm);
        let (before, after) = (
            share(spread(&wild), spread(&calm)),
            share(spread(&damped), spread(&calm)),
        );
        assert!(before > 0.95 && after < 0.6, "{before} {after}");
    }

    #[test]
    fn fitting_fixes_which_rewards_are_damped() {
        let mut tame = LogTame::default();
        let batch = vec![
            vec![Signal::new(vec![1.0]), Signal::new(vec![0.0])],
            vec![Signal::new(vec![1.1]), Signal::new(vec![100.0])],
        ];
        tame.fit(&batch).unwrap();
        let out = tame
            .combine(&[Signal::new(vec![7.0]), Signal::new(vec![-3.0])])
            .unwrap();
        assert_eq!(out.per_step, [7.0]);
        let out = tame
            .combine(&[Signal::new(vec![7.0]), Signal::new(vec![1.0])])
            .unwrap();
        assert!((out.per_step[0] - 7.0 - 2f64.ln()).abs() < 1e-12);
        assert!(tame.fit(&[]).is_err());
        assert!(tame.combine(&[Signal::new(vec![1.0])]).is_err());
        let constant = [Signal::new(vec![0.0; 3]), Signal::new(vec![0.0; 3])];
        assert_eq!(
            LogTame::default().combine(&constant).unwrap().per_step,
            [0.0; 3]
        );
    }
}
