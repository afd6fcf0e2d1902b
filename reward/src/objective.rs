//! [`PairObjective`]: the one loss on "this over that". What is compared decides the method: returns give Bradley-Terry,
//! transport distances RAPL, log-probability ratios DPO, differences of log ratios and rewards PRDP.

mod direct;

pub use direct::{LogRatio, ProximalValue, proximal, ratio_gap, step_gaps};

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::model::RewardError;
use crate::network::values;

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
/// z = (gap - m) / temperature        m = (2q - 1) margin        p = η/2 + (1 - η) σ(z)
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairObjective {
    /// How a disagreement is paid for.
    pub loss: PairLoss,
    /// Gap that counts as one logit. Smaller is stricter; DPO's β is its inverse.
    pub temperature: f64,
    /// Gap that a preferred item should have at least. It counts in the label's direction, so that equal items have none.
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

/// What is known of one comparison, and how it differs from the others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairTarget {
    /// 1 when the first is better, 0 when the second is, ½ when they are equal, between for a strength; for
    /// [`PairLoss::Squared`] the gap wanted.
    pub label: f64,
    /// How much it counts.
    pub weight: f64,
    /// Added to the objective's margin.
    pub margin: f64,
    /// Share of the label given to the opposite answer, on top of the objective's.
    pub smoothing: f64,
    /// The objective's temperature is divided by this.
    pub sharpness: f64,
}

impl Default for PairTarget {
    fn default() -> Self {
        Self::new(1.0)
    }
}

impl PairTarget {
    /// A comparison like any other.
    pub fn new(label: f64) -> Self {
        Self {
            label,
            weight: 1.0,
            margin: 0.0,
            smoothing: 0.0,
            sharpness: 1.0,
        }
    }

    /// The same said of the items in the other order.
    pub fn swapped(self) -> Self {
        Self {
            label: 1.0 - self.label,
            ..self
        }
    }

    /// Says what is wrong with the numbers, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        let check = |holds: bool, name: &str, value: f64, range: &str| {
            if holds {
                Ok(())
            } else {
                Err(RewardError::Other(format!(
                    "its {name} is {value}; give {range}"
                )))
            }
        };
        let Self {
            label,
            weight,
            margin,
            smoothing,
            sharpness,
        } = *self;
        check((0.0..=1.0).contains(&label), "label", label, "0 to 1")?;
        check(
            weight.is_finite() && weight >= 0.0,
            "weight",
            weight,
            "0 or more",
        )?;
        check(margin.is_finite(), "margin", margin, "a finite number")?;
        check(
            (0.0..=1.0).contains(&smoothing),
            "smoothing",
            smoothing,
            "0 to 1",
        )?;
        check(
            sharpness.is_finite() && sharpness > 0.0,
            "sharpness",
            sharpness,
            "more than 0",
        )
    }
}

impl PairObjective {
    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        let check = |holds: bool, sentence: &str| {
            if holds {
                Ok(())
            } else {
                Err(RewardError::Other(format!("objective.{sentence}")))
            }
        };
        check(
            self.temperature.is_finite() && self.temperature > 0.0,
            "temperature must be positive",
        )?;
        check(self.margin.is_finite(), "margin must be finite")?;
        check(
            (0.0..1.0).contains(&self.noise),
            "noise must be at least 0 and below 1",
        )?;
        check(
            (0.0..=1.0).contains(&self.smoothing),
            "smoothing must lie between 0 and 1",
        )
    }

    /// [`PairObjective::evaluate`] with what is peculiar to one comparison; its weight is left out.
    pub fn evaluate_target(&self, gap: f64, target: &PairTarget) -> PairValue {
        let (a, b) = (self.smoothing, target.smoothing);
        Self {
            margin: self.margin + target.margin,
            temperature: self.temperature / target.sharpness,
            smoothing: a + b - 2.0 * a * b,
            ..self.clone()
        }
        .evaluate(gap, target.label)
    }

    /// A tensor to take a step down from and the weighted mean loss, for gaps `[pairs]` that a network gave. The tensor is
    /// `Σ_i w_i slope_i gap_i / Σ_i w_i` with the slopes held fixed: its value says nothing, its gradient is exactly that of
    /// the mean loss. So every trained method shares this one loss in double precision.
    pub fn descend(
        &self,
        gaps: Tensor<1>,
        targets: &[PairTarget],
    ) -> Result<(Tensor<1>, f64), RewardError> {
        let weight: f64 = targets.iter().map(|t| t.weight).sum();
        let weight = if weight > 0.0 { weight } else { 1.0 };
        let mut loss = 0.0;
        let slopes: Vec<f32> = values(gaps.clone().detach())?
            .into_iter()
            .zip(targets)
            .map(|(gap, target)| {
                let value = self.evaluate_target(f64::from(gap), target);
                loss += target.weight * value.loss / weight;
                (target.weight * value.slope / weight) as f32
            })
            .collect();
        if !loss.is_finite() {
            return Err(RewardError::Other(
                "the loss is no longer finite; lower the learning rate".into(),
            ));
        }
        let slopes = TensorData::new(slopes, [targets.len()]);
        let slopes = Tensor::from_data(slopes, &gaps.device());
        Ok(((gaps * slopes).sum(), loss))
    }

    /// Loss at a gap (score of the first less score of the second) for a label `q`: 1 when the first was preferred, 0 when
    /// the second was, ½ when they were equal; for [`PairLoss::Squared`] the gap wanted.
    pub fn evaluate(&self, gap: f64, label: f64) -> PairValue {
        let direction = if self.loss == PairLoss::Squared {
            1.0
        } else {
            2.0 * label - 1.0
        };
        let z = (gap - direction * self.margin) / self.temperature;
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
            let direction = if loss == PairLoss::Squared { 1.0 } else { 2.0 * label - 1.0 };
            let z: f64 = (gap - 0.1 * direction) / temperature;
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
            let objective = PairObjective { loss, smoothing: 0.05, margin: 0.3, ..Default::default() };
            let (a, b) = (objective.evaluate(gap, label), objective.evaluate(-gap, 1.0 - label));
            prop_assert!((a.loss - b.loss).abs() < 1e-9);
            prop_assert!((a.slope + b.slope).abs() < 1e-9);
        }
    }
}
