//! [`Sample`]: a clip with what is known about it, and how a reward sees it.

use std::collections::BTreeMap;

use crate::model::{Clip, Context, RewardError, RewardModel, Signal};

use super::rank::value_order_correlation;

/// A recorded clip with what is known about it.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// What the reward gets to see.
    pub clip: Clip,
    /// How well the task stands at each step, larger is better, `[time]`: a simulator's progress or its reward.
    pub truth: Option<Vec<f64>>,
    /// Whether the task was done at the end.
    pub success: Option<bool>,
    /// Which step of the task each frame is in, `[time]`, rising.
    pub phase: Option<Vec<usize>>,
    /// Other things that are known at each step, each `[time]`: speed, smoothness, where things are.
    pub dimensions: BTreeMap<String, Vec<f64>>,
}

impl Sample {
    /// A clip about which nothing is known.
    pub fn new(clip: Clip) -> Self {
        Self {
            clip,
            ..Self::default()
        }
    }

    /// Whether the task gets nearer to done over the clip: the truth rises with time (rank correlation above 0.5), or else the
    /// clip is a success, or else nothing is known, and a recording counts as a demonstration.
    pub fn progresses(&self) -> bool {
        match (&self.truth, self.success) {
            (Some(truth), _) => value_order_correlation(truth).is_some_and(|rho| rho > 0.5),
            (None, Some(success)) => success,
            (None, None) => true,
        }
    }

    /// Fails when something known about the clip has not one value for each step.
    pub fn validate(&self) -> Result<(), RewardError> {
        let steps = self.clip.len();
        let lengths = [
            ("the truth", self.truth.as_ref().map(Vec::len)),
            ("the phase", self.phase.as_ref().map(Vec::len)),
        ];
        let lengths = lengths.iter().map(|(name, length)| (*name, *length)).chain(
            self.dimensions
                .iter()
                .map(|(name, d)| (name.as_str(), Some(d.len()))),
        );
        for (name, length) in lengths {
            if length.is_some_and(|l| l != steps) {
                return Err(RewardError::Other(format!(
                    "{name} has {} values for a clip of {steps} steps; give one for each step",
                    length.unwrap_or(0)
                )));
            }
        }
        Ok(())
    }
}

/// Scores a clip for an examination: fails when the reward gives no finite number for some step.
pub fn score(model: &dyn RewardModel, clip: &Clip) -> Result<Signal, RewardError> {
    let signal = model.score(clip, &Context::default())?;
    if signal.per_step.len() != clip.len() {
        return Err(RewardError::Other(format!(
            "the reward gave {} values for {} steps",
            signal.per_step.len(),
            clip.len()
        )));
    }
    match signal.per_step.iter().position(|r| !r.is_finite()) {
        Some(step) => Err(RewardError::NotFinite {
            what: "the reward".into(),
            step,
        }),
        None => Ok(signal),
    }
}

/// The mean. 0 of nothing.
pub(super) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        0.0
    } else {
        values.iter().sum::<f64>() / values.len() as f64
    }
}

/// The population standard deviation. 0 of nothing.
pub(super) fn deviation(values: &[f64]) -> f64 {
    let centre = mean(values);
    mean(
        &values
            .iter()
            .map(|v| (v - centre).powi(2))
            .collect::<Vec<_>>(),
    )
    .sqrt()
}

/// The mean over the last fifth, of at least one value.
pub(super) fn ending(values: &[f64]) -> f64 {
    mean(&values[values.len() - values.len().div_ceil(5)..])
}

/// The mean over the first fifth, of at least one value.
pub(super) fn beginning(values: &[f64]) -> f64 {
    mean(&values[..values.len().div_ceil(5)])
}

/// Cuts `0..steps` into `pieces` stretches of nearly one length, none empty.
pub(super) fn stretches(steps: usize, pieces: usize) -> Vec<std::ops::Range<usize>> {
    let pieces = pieces.clamp(1, steps.max(1));
    (0..pieces)
        .map(|i| i * steps / pieces..(i + 1) * steps / pieces)
        .filter(|r| !r.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rapport_perception::Features;

    #[test]
    fn what_is_known_must_fit_the_clip() {
        let clip = Clip::from_features(Features::new(1, vec![0.0; 3]), 10.0);
        let mut sample = Sample::new(clip);
        assert!(sample.validate().is_ok());
        sample.truth = Some(vec![0.0; 2]);
        let error = sample.validate().unwrap_err().to_string();
        assert!(error.contains("the truth has 2 values for a clip of 3 steps"));
    }

    #[test]
    fn the_truth_says_whether_a_clip_progresses_before_its_outcome_does() {
        let mut sample = Sample::new(Clip::default());
        assert!(sample.progresses());
        sample.success = Some(false);
        assert!(!sample.progresses());
        sample.truth = Some(vec![0.0, 1.0, 2.0]);
        assert!(sample.progresses());
        sample.truth = Some(vec![1.0, 1.0, 1.0]);
        assert!(!sample.progresses());
    }

    #[test]
    fn stretches_cover_everything_once() {
        assert_eq!(stretches(7, 3), [0..2, 2..4, 4..7]);
        assert_eq!(stretches(2, 4), [0..1, 1..2]);
        assert!(stretches(0, 4).is_empty());
        assert_eq!(ending(&[1.0]), 1.0);
        assert_eq!(beginning(&[]), 0.0);
    }
}
