//! Outcome and process: does the reward know how a clip ended, and how it went on the way?
//!
//! A judge of outcomes looks at the end of a clip, a judge of the process at every step (ViLBench, arXiv 2503.20271, compares
//! the two for vision-language rewards). The planted fault tells them apart: in the middle of a good clip the work is undone and
//! done again, and the end stays as it was. Only a judge of the process can see it.

use super::playback::rearranged;
use super::rank::spearman;
use super::sample::{Sample, deviation, ending, mean, score};
use crate::model::{RewardError, RewardModel, Signal};

/// Area under the ROC curve: the chance that a positive scores above a negative, ties half. None without one of each or with a
/// value that is not a number. Equal to the Mann-Whitney statistic over the number of pairs.
pub fn separation(positives: &[f64], negatives: &[f64]) -> Option<f64> {
    if positives.iter().chain(negatives).any(|v| v.is_nan()) {
        return None;
    }
    let pairs = positives.len() * negatives.len();
    let won: f64 = positives
        .iter()
        .flat_map(|p| {
            negatives
                .iter()
                .map(move |n| f64::from(u8::from(p > n)) + 0.5 * f64::from(u8::from(p == n)))
        })
        .sum();
    (pairs > 0).then(|| won / pairs as f64)
}

/// What the two judges make of the clips.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// Chance that a success ends on a higher reward (mean over the last fifth) than a failure. None without both.
    pub outcome: Option<f64>,
    /// Successes and failures it is from.
    pub outcomes: (usize, usize),
    /// Rank correlation with the truth within each clip that progresses and has one.
    pub process: Vec<f64>,
    /// Clips with a planted fault.
    pub faults: usize,
    /// In how many the mean reward fell by more than 0.03 of the reward's standard deviation.
    pub seen_by_process: usize,
    /// In how many the reward at the end did.
    pub seen_by_outcome: usize,
}

/// Judges the clips, and those that progress once more with a planted fault. `signals` are the rewards as recorded.
pub fn judge(
    model: &dyn RewardModel,
    samples: &[Sample],
    signals: &[Signal],
) -> Result<Judged, RewardError> {
    let mut judged = Judged::default();
    let (mut good, mut poor) = (Vec::new(), Vec::new());
    for (sample, signal) in samples.iter().zip(signals) {
        match sample.success {
            Some(true) => good.push(ending(&signal.per_step)),
            Some(false) => poor.push(ending(&signal.per_step)),
            None => {}
        }
        if let Some(truth) = sample.truth.as_ref().filter(|_| sample.progresses()) {
            judged.process.extend(spearman(&signal.per_step, truth));
        }
    }
    judged.outcome = separation(&good, &poor);
    judged.outcomes = (good.len(), poor.len());

    let all: Vec<f64> = signals.iter().flat_map(|s| s.per_step.clone()).collect();
    // A fifth of the clip is at fault, so that its mean can fall by a fifth of what the work is worth at most.
    let least = 0.03 * deviation(&all).max(f64::MIN_POSITIVE);
    for (sample, signal) in samples.iter().zip(signals) {
        if !sample.progresses() || sample.clip.len() < 10 {
            continue;
        }
        let faulty = rearranged(&sample.clip, &undone_halfway(sample.clip.len()));
        let faulty = score(model, &faulty)?.per_step;
        judged.faults += 1;
        judged.seen_by_process += usize::from(mean(&signal.per_step) - mean(&faulty) > least);
        judged.seen_by_outcome += usize::from(ending(&signal.per_step) - ending(&faulty) > least);
    }
    Ok(judged)
}

/// Times of a clip whose middle fifth shows its first frames again: the work undone, then done as before.
fn undone_halfway(steps: usize) -> Vec<usize> {
    let (from, to) = (2 * steps / 5, 3 * steps / 5);
    (0..steps)
        .map(|t| if (from..to).contains(&t) { t - from } else { t })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separation_counts_pairs() {
        assert_eq!(separation(&[2.0, 3.0], &[1.0, 2.0]), Some(0.875));
        assert_eq!(separation(&[1.0], &[]), None);
        assert_eq!(separation(&[f64::NAN], &[1.0]), None);
    }

    #[test]
    fn a_planted_fault_keeps_the_end() {
        assert_eq!(undone_halfway(10), [0, 1, 2, 3, 0, 1, 6, 7, 8, 9]);
    }
}
