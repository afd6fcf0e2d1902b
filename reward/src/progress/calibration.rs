//! [`Calibration`] makes a score a probability that means what it says; [`Reliability`] shows whether it does.

use nalgebra::{Matrix2, Vector2};
use serde::{Deserialize, Serialize};

use crate::model::RewardError;
use crate::objective::{sigmoid, softplus};

/// What is fitted to a score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scaling {
    /// Nothing: `σ(z)`.
    None,
    /// A temperature: `σ(z / T)` (Guo et al., arXiv 1706.04599).
    Temperature,
    /// A slope and an offset: `σ(a z + b)` (Platt 1999).
    #[default]
    Platt,
}

/// `p = σ(slope z + offset)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// `a`, or `1 / T`.
    pub slope: f64,
    /// `b`.
    pub offset: f64,
}

impl Default for Calibration {
    fn default() -> Self {
        Self {
            slope: 1.0,
            offset: 0.0,
        }
    }
}

/// Steps of Newton's method at most.
const STEPS: usize = 100;
/// The least slope a temperature may come to: a score that points the wrong way is called worthless, not turned round.
const LEAST_SLOPE: f64 = 1e-3;

impl Calibration {
    /// Fits to scores that were not trained on, by maximum likelihood with Platt's targets `(n₊+1)/(n₊+2)` and `1/(n₋+2)`, which
    /// keep it finite where the scores tell the outcomes apart without error. Fails when only one outcome is there, and on
    /// scores that are not finite.
    pub fn fit(scores: &[f64], outcomes: &[bool], scaling: Scaling) -> Result<Self, RewardError> {
        check(scores, outcomes, "score")?;
        let good = outcomes.iter().filter(|o| **o).count();
        let bad = outcomes.len() - good;
        if good == 0 || bad == 0 {
            return Err(RewardError::Other(format!(
                "calibration needs both outcomes and has {good} good and {bad} bad; add clips of the other kind"
            )));
        }
        if scaling == Scaling::None {
            return Ok(Self::default());
        }
        let (high, low) = (
            (good + 1) as f64 / (good + 2) as f64,
            1.0 / (bad + 2) as f64,
        );
        let targets = || outcomes.iter().map(|&o| if o { high } else { low });
        // Scores of one scale, for steps of one size.
        let scale = scores
            .iter()
            .map(|z| z.abs())
            .fold(0.0, f64::max)
            .max(1e-12);
        let loss = |x: Vector2<f64>| -> f64 {
            let each = scores.iter().zip(targets()).map(|(z, q)| {
                let z = x[0] * z / scale + x[1];
                q * softplus(-z) + (1.0 - q) * softplus(z)
            });
            each.sum()
        };
        let offset_is_free = f64::from(u8::from(scaling == Scaling::Platt));
        let mut x = Vector2::new(scale.min(1e6), 0.0);
        let mut least = loss(x);
        for _ in 0..STEPS {
            let (mut gradient, mut curvature) = (Vector2::zeros(), Matrix2::zeros());
            for (z, q) in scores.iter().zip(targets()) {
                let row = Vector2::new(z / scale, offset_is_free);
                let p = sigmoid(x.dot(&Vector2::new(z / scale, 1.0)));
                gradient += row * (p - q);
                curvature += row * row.transpose() * (p * (1.0 - p));
            }
            curvature += Matrix2::identity() * (1e-9 * scores.len() as f64);
            let Some(inverse) = curvature.try_inverse() else {
                break;
            };
            let step = inverse * gradient;
            let mut share = 1.0;
            let moved = loop {
                let moved = x - step * share;
                let now = loss(moved);
                if now <= least {
                    least = now;
                    break Some(moved);
                }
                share *= 0.5;
                if share < 1e-6 {
                    break None;
                }
            };
            match moved {
                Some(moved) => x = moved,
                None => break,
            }
            if step.norm() * share < 1e-10 * (1.0 + x.norm()) {
                break;
            }
        }
        let slope = match scaling {
            Scaling::Temperature => (x[0] / scale).max(LEAST_SLOPE),
            _ => x[0] / scale,
        };
        Ok(Self {
            slope,
            offset: x[1],
        })
    }

    /// Probability for a score.
    pub fn probability(&self, score: f64) -> f64 {
        sigmoid(self.slope * score + self.offset)
    }
}

/// Predictions between two probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// How many.
    pub count: usize,
    /// Mean of what was predicted.
    pub predicted: f64,
    /// Share that came true.
    pub observed: f64,
}

/// What came true of what was predicted, for a plot and in two numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Equal stretches of probability from 0 to 1; empty ones are left out.
    pub bins: Vec<ReliabilityBin>,
    /// Mean distance of observed from predicted, each bin by its count.
    pub expected_calibration_error: f64,
    /// Mean squared distance of prediction from outcome.
    pub brier: f64,
}

impl Reliability {
    /// Of predictions and what came. Fails without any, and on predictions outside `[0, 1]`.
    pub fn of(predicted: &[f64], outcomes: &[bool], bins: usize) -> Result<Self, RewardError> {
        check(predicted, outcomes, "prediction")?;
        if bins == 0 || predicted.iter().any(|p| !(0.0..=1.0).contains(p)) {
            return Err(RewardError::Other(
                "reliability needs at least one bin and predictions between 0 and 1".into(),
            ));
        }
        let mut sums = vec![(0usize, 0.0, 0.0); bins];
        let mut brier = 0.0;
        for (p, outcome) in predicted.iter().zip(outcomes) {
            let came = f64::from(u8::from(*outcome));
            let bin = &mut sums[((p * bins as f64) as usize).min(bins - 1)];
            *bin = (bin.0 + 1, bin.1 + p, bin.2 + came);
            brier += (p - came).powi(2) / predicted.len() as f64;
        }
        let bins: Vec<ReliabilityBin> = sums
            .into_iter()
            .filter(|(count, _, _)| *count > 0)
            .map(|(count, predicted, observed)| ReliabilityBin {
                count,
                predicted: predicted / count as f64,
                observed: observed / count as f64,
            })
            .collect();
        let all = predicted.len() as f64;
        let off = |b: &ReliabilityBin| b.count as f64 / all * (b.predicted - b.observed).abs();
        Ok(Self {
            expected_calibration_error: bins.iter().map(off).sum(),
            bins,
            brier,
        })
    }
}

fn check(values: &[f64], outcomes: &[bool], what: &str) -> Result<(), RewardError> {
    if values.is_empty() || values.len() != outcomes.len() {
        return Err(RewardError::Other(format!(
            "{} {what}s do not go with {} outcomes; give as many of both, and at least one",
            values.len(),
            outcomes.len()
        )));
    }
    match values.iter().position(|v| !v.is_finite()) {
        Some(step) => Err(RewardError::NotFinite {
            what: format!("a {what}"),
            step,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    /// Scores that are `stretch` times the true logit.
    fn overconfident(count: usize, stretch: f64, shift: f64, seed: u64) -> (Vec<f64>, Vec<bool>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..count)
            .map(|_| {
                let logit: f64 = rng.random_range(-3.0..3.0);
                let came = rng.random::<f64>() < sigmoid(logit);
                (stretch * logit + shift, came)
            })
            .unzip()
    }

    #[test]
    fn the_temperature_and_the_offset_are_found() {
        let (scores, outcomes) = overconfident(20_000, 4.0, 0.0, 1);
        let fitted = Calibration::fit(&scores, &outcomes, Scaling::Temperature).unwrap();
        assert!(
            (fitted.slope - 0.25).abs() < 0.01 && fitted.offset == 0.0,
            "{fitted:?}"
        );
        let (scores, outcomes) = overconfident(20_000, 2.0, 3.0, 2);
        let fitted = Calibration::fit(&scores, &outcomes, Scaling::Platt).unwrap();
        assert!((fitted.slope - 0.5).abs() < 0.02, "{fitted:?}");
        assert!((fitted.offset + 1.5).abs() < 0.06, "{fitted:?}");
    }

    #[test]
    fn calibration_error_is_what_is_counted_by_hand() {
        let found = Reliability::of(&[0.1, 0.3, 0.9, 0.9], &[false, true, true, true], 2).unwrap();
        assert_eq!(found.bins.len(), 2);
        assert_eq!(
            (found.bins[0].predicted, found.bins[0].observed),
            (0.2, 0.5)
        );
        assert!((found.expected_calibration_error - (0.5 * 0.3 + 0.5 * 0.1)).abs() < 1e-12);
        assert!((found.brier - (0.01 + 0.49 + 0.01 + 0.01) / 4.0).abs() < 1e-12);
        assert!(Reliability::of(&[1.0], &[true], 10).unwrap().brier == 0.0);
        assert!(Reliability::of(&[1.1], &[true], 10).is_err());
        assert!(Reliability::of(&[], &[], 10).is_err());
    }

    proptest! {
        #[test]
        fn what_is_fitted_is_finite(
            scores in prop::collection::vec(prop_oneof![-5.0f64..5.0, Just(1e12), Just(-1e12), Just(0.0)], 2..20),
            platt: bool,
        ) {
            let outcomes: Vec<bool> = (0..scores.len()).map(|i| i % 2 == 0).collect();
            let scaling = if platt { Scaling::Platt } else { Scaling::Temperature };
            let fitted = Calibration::fit(&scores, &outcomes, scaling).unwrap();
            for z in scores {
                let p = fitted.probability(z);
                prop_assert!((0.0..=1.0).contains(&p), "{fitted:?} {p}");
            }
        }
    }

    #[test]
    fn scores_without_error_stay_finite_and_one_outcome_is_refused() {
        let fitted = Calibration::fit(
            &[-1.0, -2.0, 1.0, 2.0],
            &[false, false, true, true],
            Scaling::Platt,
        )
        .unwrap();
        assert!(fitted.slope > 0.5 && fitted.slope < 100.0, "{fitted:?}");
        let error = Calibration::fit(&[1.0, 2.0], &[true, true], Scaling::Platt).unwrap_err();
        assert!(error.to_string().contains("2 good and 0 bad"));
        assert!(Calibration::fit(&[f64::NAN, 1.0], &[true, false], Scaling::Platt).is_err());
    }
}
