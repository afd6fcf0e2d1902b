//! [`RewardTransform`]: one reward signal made into another.
//!
//! Terms are left in the model's own units. Standard deviations are carried through to first order.

use serde::{Deserialize, Serialize};

use crate::model::{RewardError, Signal};
use crate::objective::{sigmoid, softplus};

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

/// `factor · r + offset`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scale {
    /// Multiplied.
    pub factor: f64,
    /// Then added.
    pub offset: f64,
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            factor: 1.0,
            offset: 0.0,
        }
    }
}

impl RewardTransform for Scale {
    fn apply(&self, signal: Signal) -> Signal {
        map(signal, |r| self.factor * r + self.offset, |_| self.factor)
    }
}

/// What [`RunningNorm`] takes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalise {
    /// The mean: rewards are centred.
    Mean,
    /// The mean and the scale.
    #[default]
    MeanAndDeviation,
}

/// `(r - mean) / deviation` over all rewards observed so far. Before the first observation it changes nothing; a deviation of
/// zero counts as 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunningNorm {
    /// What is taken out.
    pub normalise: Normalise,
    /// Results beyond this are cut off. None: never.
    pub clip: Option<f64>,
    /// Rewards observed.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Sum of their squared distances from it.
    pub squares: f64,
}

impl RunningNorm {
    /// Takes the mean out only.
    pub fn centre() -> Self {
        Self {
            normalise: Normalise::Mean,
            ..Self::default()
        }
    }

    fn factor(&self) -> f64 {
        let deviation = (self.squares / self.count.max(1) as f64).sqrt();
        match self.normalise {
            Normalise::MeanAndDeviation if deviation > 0.0 => 1.0 / deviation,
            _ => 1.0,
        }
    }
}

impl RewardTransform for RunningNorm {
    fn apply(&self, signal: Signal) -> Signal {
        let factor = self.factor();
        let limit = self.clip.unwrap_or(f64::INFINITY);
        map(
            signal,
            |r| (factor * (r - self.mean)).clamp(-limit, limit),
            |_| factor,
        )
    }

    fn observe(&mut self, signal: &Signal) {
        for r in signal.per_step.iter().filter(|r| r.is_finite()) {
            self.count += 1;
            let off = r - self.mean;
            self.mean += off / self.count as f64;
            self.squares += off * (r - self.mean);
        }
    }
}

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

/// `ln σ(r - reference)`: summed over several rewards it is the logical "and" (arXiv 2402.00742).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSigmoid {
    /// Reward that counts as just good enough: the 85th percentile of a reference policy's, in the paper.
    pub reference: f64,
}

impl RewardTransform for LogSigmoid {
    fn apply(&self, signal: Signal) -> Signal {
        map(
            signal,
            |r| -softplus(self.reference - r),
            |r| sigmoid(self.reference - r),
        )
    }
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
}

impl Transform {
    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        match self {
            Self::Squash(squash) if squash.references.is_empty() => Err(RewardError::Other(
                "a squash needs a reference reward; give at least one".into(),
            )),
            Self::RunningNorm(RunningNorm { clip: Some(c), .. }) if c.is_nan() || *c <= 0.0 => Err(
                RewardError::Other(format!("running-norm.clip is {c}; it must be positive")),
            ),
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
