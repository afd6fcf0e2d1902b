//! [`RewardTransform`]: one reward signal made into another.
//!
//! Terms are left in the model's own units. Standard deviations are carried through to first order.

mod attenuation;
mod log_sigmoid;
mod potential;
mod running_norm;
mod scale;
mod squash;
mod uncertainty;

use serde::{Deserialize, Serialize};

pub use attenuation::{Anchor, SegmentSampling, TimeAttenuation};
pub use log_sigmoid::LogSigmoid;
pub use potential::PotentialDifference;
pub use running_norm::{Normalise, RunningNorm};
pub use scale::Scale;
pub use squash::Squash;
pub use uncertainty::UncertaintyDiscount;

use crate::model::{RewardError, Signal};

/// Makes a reward into another. Statistics come from [`RewardTransform::observe`] alone, so that applying is repeatable.
pub trait RewardTransform: Send + Sync {
    /// The new signal.
    fn apply(&self, signal: Signal) -> Signal;

    /// Lets a signal count in the transform's statistics, where it has any.
    fn observe(&mut self, _signal: &Signal) {}
}

/// Maps every step's reward by `f`, whose derivative `slope` carries the standard deviation.
fn map(mut signal: Signal, f: impl Fn(f64) -> f64, slope: impl Fn(f64) -> f64) -> Signal {
    if let Some(deviations) = &mut signal.uncertainty {
        for (deviation, r) in deviations.iter_mut().zip(&signal.per_step) {
            *deviation *= slope(*r).abs();
        }
    }
    signal.per_step.iter_mut().for_each(|r| *r = f(*r));
    signal
}

/// Any of the transforms, as it stands in a settings file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Transform {
    /// [`Scale`].
    Scale(Scale),
    /// [`RunningNorm`].
    RunningNorm(RunningNorm),
    /// [`Squash`].
    Squash(Squash),
    /// [`LogSigmoid`].
    LogSigmoid(LogSigmoid),
    /// [`UncertaintyDiscount`].
    UncertaintyDiscount(UncertaintyDiscount),
    /// [`TimeAttenuation`].
    TimeAttenuation(TimeAttenuation),
    /// [`PotentialDifference`].
    PotentialDifference(PotentialDifference),
}

impl Transform {
    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        let wrong = |what: String| Err(RewardError::Other(what));
        match self {
            Self::Squash(squash) if squash.references.is_empty() => {
                wrong("a squash needs a reference reward; give at least one".into())
            }
            Self::RunningNorm(RunningNorm { clip: Some(c), .. }) if c.is_nan() || *c <= 0.0 => {
                wrong(format!("running-norm.clip is {c}; it must be positive"))
            }
            Self::UncertaintyDiscount(UncertaintyDiscount { scale, .. })
                if scale.is_nan() || *scale <= 0.0 =>
            {
                wrong(format!(
                    "uncertainty-discount.scale is {scale}; it must be positive"
                ))
            }
            Self::TimeAttenuation(TimeAttenuation { decay, .. })
                if !decay.is_finite() || *decay < 0.0 =>
            {
                wrong(format!(
                    "time-attenuation.decay is {decay}; it must be 0 or more"
                ))
            }
            Self::PotentialDifference(PotentialDifference { discount })
                if !(0.0..=1.0).contains(discount) =>
            {
                wrong(format!(
                    "potential-difference.discount is {discount}; it must lie in 0..=1"
                ))
            }
            _ => Ok(()),
        }
    }
}

impl RewardTransform for Transform {
    fn apply(&self, signal: Signal) -> Signal {
        match self {
            Self::Scale(t) => t.apply(signal),
            Self::RunningNorm(t) => t.apply(signal),
            Self::Squash(t) => t.apply(signal),
            Self::LogSigmoid(t) => t.apply(signal),
            Self::UncertaintyDiscount(t) => t.apply(signal),
            Self::TimeAttenuation(t) => t.apply(signal),
            Self::PotentialDifference(t) => t.apply(signal),
        }
    }

    fn observe(&mut self, signal: &Signal) {
        if let Self::RunningNorm(t) = self {
            t.observe(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::PairObjective;
    use proptest::prelude::*;

    fn signal(per_step: &[f64]) -> Signal {
        Signal {
            uncertainty: Some(vec![0.1; per_step.len()]),
            ..Signal::new(per_step.to_vec())
        }
    }

    proptest! {
        #[test]
        fn squashing_against_one_reference_is_the_probability_of_beating_it(r in -5.0f64..5.0, m in -5.0f64..5.0) {
            let squashed = Squash { references: vec![m], steepness: 1.0 }.apply(signal(&[r])).per_step[0];
            let probability = PairObjective::default().evaluate(r - m, 1.0).probability;
            prop_assert!((squashed - probability).abs() < 1e-12);
            let log = LogSigmoid { reference: m }.apply(signal(&[r])).per_step[0];
            prop_assert!((log - probability.ln()).abs() < 1e-12);
        }

        #[test]
        fn deviations_follow_the_slope(r in -3.0f64..3.0) {
            let transforms = [
                Transform::Scale(Scale { factor: -2.0, offset: 1.0 }),
                Transform::Squash(Squash { references: vec![0.0, 1.0], steepness: 2.0 }),
                Transform::LogSigmoid(LogSigmoid { reference: 0.5 }),
            ];
            for transform in transforms {
                let at = |r: f64| transform.apply(signal(&[r]));
                let slope = (at(r + 1e-6).per_step[0] - at(r - 1e-6).per_step[0]) / 2e-6;
                prop_assert!((at(r).uncertainty.unwrap()[0] - 0.1 * slope.abs()).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn a_running_norm_learns_only_what_it_observes() {
        let mut norm = RunningNorm::default();
        let raw = signal(&[1.0, 2.0, 3.0, 6.0]);
        assert_eq!(norm.apply(raw.clone()).per_step, raw.per_step);
        norm.observe(&signal(&[1.0, 2.0]));
        norm.observe(&signal(&[3.0, 6.0]));
        let out = norm.apply(raw.clone()).per_step;
        assert!(out.iter().sum::<f64>().abs() < 1e-12);
        assert!((out.iter().map(|r| r * r).sum::<f64>() / 4.0 - 1.0).abs() < 1e-12);
        assert_eq!(norm.apply(raw.clone()).per_step, out);
        let mut centre = RunningNorm::centre();
        centre.observe(&raw);
        assert_eq!(centre.apply(raw).per_step, [-2.0, -1.0, 0.0, 3.0]);
    }

    #[test]
    fn a_clip_limits_the_result() {
        let norm = RunningNorm {
            clip: Some(1.0),
            ..RunningNorm::default()
        };
        assert_eq!(
            norm.apply(signal(&[-5.0, 0.5, 5.0])).per_step,
            [-1.0, 0.5, 1.0]
        );
    }

    #[test]
    fn squashing_is_bounded_and_keeps_the_order() {
        let squash = Squash {
            references: vec![-1.0, 0.0, 2.0],
            steepness: 1.5,
        };
        let out = squash.apply(signal(&[-1e9, -1.0, 0.0, 1.0, 1e9])).per_step;
        assert!(out.windows(2).all(|w| w[0] < w[1]));
        assert_eq!((out[0], out[4]), (0.0, 1.0));
    }
}
