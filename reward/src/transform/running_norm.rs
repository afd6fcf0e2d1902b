//! [`RunningNorm`]: rewards made comparable by what was seen of them.

use serde::{Deserialize, Serialize};

use super::{RewardTransform, map};
use crate::model::Signal;

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
