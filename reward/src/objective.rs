//! [`PairObjective`]: the one loss on "this over that". What is compared decides the method: returns give Bradley-Terry,
//! transport distances RAPL, log-probability ratios DPO, differences of log ratios and rewards PRDP.

use serde::{Deserialize, Serialize};

/// How a disagreement is paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairLoss {
    /// Cross-entropy `-q log p - (1 - q) log(1 - p)`.
    #[default]
    NegativeLogLikelihood,
    /// `|q - p|`, for `q = 1` the `1 - p` of RAPL's released code. Its slope fades where the model is badly wrong.
    OneMinusP,
    /// `(q - p)²`, RAPL's released loss for clips that are equally good (`q = ½`).
    SquaredProbability,
    /// `max(0, 1 - z)` for `q = 1`, mirrored for `q = 0`.
    Hinge,
    /// `(z - q)²` with any target `q`: the regression of PRDP.
    Squared,
}

/// A loss on the gap between what was preferred and what was not.
///
/// ```text
/// z = (gap - margin) / temperature        p = η/2 + (1 - η) σ(z)
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairObjective {
    /// How a disagreement is paid for.
    pub loss: PairLoss,
    /// Gap that counts as one logit. Smaller is stricter; DPO's β is its inverse.
    pub temperature: f64,
    /// Gap that a preferred item should have at least.
    pub margin: f64,
    /// Share η of answers taken to be random.
    pub noise: f64,
    /// Share of the label given to the opposite answer (label smoothing).
    pub smoothing: f64,
}

impl Default for PairObjective {
    fn default() -> Self {
        Self {
            loss: PairLoss::default(),
            temperature: 1.0,
            margin: 0.0,
            noise: 0.0,
            smoothing: 0.0,
        }
    }
}

/// Value of a [`PairObjective`] at one gap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairValue {
    /// The loss.
    pub loss: f64,
    /// Its derivative by the gap.
    pub slope: f64,
    /// Probability that the model gives to the first over the second.
    pub probability: f64,
}

impl PairObjective {
    /// Loss at a gap (score of the first less score of the second) for a label `q`: 1 when the first was preferred, 0 when
    /// the second was, ½ when they were equal; for [`PairLoss::Squared`] the gap wanted.
    pub fn evaluate(&self, gap: f64, label: f64) -> PairValue {
        let z = (gap - self.margin) / self.temperature;
        let clean = sigmoid(z);
        let probability = 0.5 * self.noise + (1.0 - self.noise) * clean;
        // d probability / dz
        let rise = (1.0 - self.noise) * clean * (1.0 - clean);
        let q = if self.loss == PairLoss::Squared {
            label
        } else {
            label + self.smoothing * (1.0 - 2.0 * label)
        };
        let (loss, slope) = match self.loss {
            PairLoss::NegativeLogLikelihood if self.noise == 0.0 => {
                (q * softplus(-z) + (1.0 - q) * softplus(z), clean - q)
            }
            PairLoss::NegativeLogLikelihood => (
                -q * probability.ln() - (1.0 - q) * (1.0 - probability).ln(),
                rise * ((1.0 - q) / (1.0 - probability) - q / probability),
            ),
            PairLoss::OneMinusP => {
                let off = probability - q;
                (off.abs(), rise * off.signum())
            }
            PairLoss::SquaredProbability => {
                let off = probability - q;
                (off * off, 2.0 * off * rise)
            }
            PairLoss::Hinge => {
                let side = |z: f64| {
                    if z < 1.0 { (1.0 - z, -1.0) } else { (0.0, 0.0) }
                };
                let ((first, up), (second, down)) = (side(z), side(-z));
                (q * first + (1.0 - q) * second, q * up - (1.0 - q) * down)
            }
            PairLoss::Squared => ((z - q) * (z - q), 2.0 * (z - q)),
        };
        PairValue {
            loss,
            slope: slope / self.temperature,
            probability,
        }
    }
}

/// `1 / (1 + e^-x)`.
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// `log(1 + e^x)`, without overflow. `-softplus(-x)` is the logarithm of the sigmoid.
pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bradley_terry_is_the_reference_value() {
        let gap = (0.2 + 0.5 - 0.1) - (0.1 + 0.1 + 0.6);
        let plain = PairObjective::default().evaluate(gap, 1.0);
        assert!((plain.probability - 0.4501660027).abs() < 1e-9);
        assert!((plain.loss - 0.7981388694).abs() < 1e-9);
        let noisy = PairObjective {
            noise: 0.1,
            ..Default::default()
        }
        .evaluate(gap, 1.0);
        assert!((noisy.probability - 0.4551494024).abs() < 1e-9);
    }

    #[test]
    fn diffusion_dpo_is_the_reference_value() {
        let objective = PairObjective {
            temperature: 1.0 / 50.0,
            ..Default::default()
        };
        let gap = -((0.10 - 0.12) - (0.30 - 0.25));
        assert!((objective.evaluate(gap, 1.0).loss - 0.0297504183).abs() < 1e-9);
        assert!((objective.evaluate(0.0, 1.0).loss - std::f64::consts::LN_2).abs() < 1e-9);
    }

    #[test]
    fn a_squared_tie_at_zero_costs_nothing() {
        let objective = PairObjective {
            loss: PairLoss::Squared,
            ..Default::default()
        };
        let value = objective.evaluate(0.0, 0.0);
        assert_eq!((value.loss, value.slope), (0.0, 0.0));
    }

    #[test]
    fn extreme_gaps_stay_finite() {
        for gap in [-1e6, 1e6] {
            let value = PairObjective::default().evaluate(gap, 1.0);
            assert!(value.loss.is_finite() && value.slope.is_finite());
        }
    }

    fn losses() -> impl Strategy<Value = PairLoss> {
        prop_oneof![
            Just(PairLoss::NegativeLogLikelihood),
            Just(PairLoss::OneMinusP),
            Just(PairLoss::SquaredProbability),
            Just(PairLoss::Hinge),
            Just(PairLoss::Squared),
        ]
    }

    proptest! {
        #[test]
        fn slopes_agree_with_finite_differences(
            loss in losses(), gap in -3.0f64..3.0, label in prop_oneof![Just(0.0), Just(0.5), Just(1.0)],
            temperature in 0.2f64..3.0, noise in prop_oneof![Just(0.0), Just(0.2)], smoothing in prop_oneof![Just(0.0), Just(0.1)],
        ) {
            let objective = PairObjective { loss, temperature, margin: 0.1, noise, smoothing };
            let z: f64 = (gap - 0.1) / temperature;
            prop_assume!((z.abs() - 1.0).abs() > 1e-3 && z.abs() > 1e-3);
            let step = 1e-6;
            let value = objective.evaluate(gap, label);
            prop_assume!(loss != PairLoss::OneMinusP || value.loss > 1e-4);
            let slope = (objective.evaluate(gap + step, label).loss - objective.evaluate(gap - step, label).loss) / (2.0 * step);
            prop_assert!((value.slope - slope).abs() < 1e-5 * (1.0 + slope.abs()), "{} {}", value.slope, slope);
        }

        #[test]
        fn swapping_the_items_and_the_label_changes_nothing(loss in losses(), gap in -3.0f64..3.0, label in 0.0f64..1.0) {
            prop_assume!(loss != PairLoss::Squared);
            let objective = PairObjective { loss, smoothing: 0.05, ..Default::default() };
            let (a, b) = (objective.evaluate(gap, label), objective.evaluate(-gap, 1.0 - label));
            prop_assert!((a.loss - b.loss).abs() < 1e-9);
            prop_assert!((a.slope + b.slope).abs() < 1e-9);
        }
    }
}
