//! Agreement of two divisions of a clip into steps.

use crate::model::Signal;

/// The step of every frame, `[frames]`, from the frames at which a new step begins (ascending, exclusive of 0 and `frames`).
pub fn labels_from_cuts(cuts: &[usize], frames: usize) -> Vec<usize> {
    (0..frames)
        .map(|t| cuts.iter().filter(|&&cut| cut <= t).count())
        .collect()
}

/// Intersection over union of each step's frames in two labellings, `[steps]`, and as last value of the pair their mean.
/// A step that occurs in neither has no say: its value is None and the mean leaves it out. None when the lengths differ or
/// there is no frame. The measure of Sermanet et al. (arXiv 1612.06699), tables 1 and 2.
pub fn step_jaccard(
    found: &[usize],
    truth: &[usize],
    steps: usize,
) -> Option<(Vec<Option<f64>>, f64)> {
    if found.len() != truth.len() || found.is_empty() {
        return None;
    }
    let per_step: Vec<Option<f64>> = (0..steps)
        .map(|step| {
            let (mut both, mut either) = (0u32, 0u32);
            for (f, t) in found.iter().zip(truth) {
                both += u32::from(*f == step && *t == step);
                either += u32::from(*f == step || *t == step);
            }
            (either > 0).then(|| f64::from(both) / f64::from(either))
        })
        .collect();
    let present: Vec<f64> = per_step.iter().copied().flatten().collect();
    let mean = present.iter().sum::<f64>() / present.len() as f64;
    (!present.is_empty()).then_some((per_step, mean))
}

/// Mean distance between corresponding step boundaries, in frames. None when their numbers differ or there is none.
pub fn boundary_error(found: &[usize], truth: &[usize]) -> Option<f64> {
    if found.len() != truth.len() || found.is_empty() {
        return None;
    }
    let sum: usize = found.iter().zip(truth).map(|(f, t)| f.abs_diff(*t)).sum();
    Some(sum as f64 / found.len() as f64)
}

/// The step that each frame is in, for rewards that have steps (terms `step 1`, `step 2`, ...): the one with the largest value,
/// never an earlier one than before. None for a reward without.
pub fn steps_passed(signal: &Signal) -> Option<Vec<usize>> {
    let steps: Vec<_> = (1..)
        .map_while(|i| signal.terms.get(&format!("step {i}")))
        .collect();
    let mut reached = 0;
    (!steps.is_empty()).then(|| {
        (0..signal.per_step.len())
            .map(|t| {
                let best = (0..steps.len()).max_by(|&a, &b| steps[a][t].total_cmp(&steps[b][t]));
                reached = reached.max(best.unwrap_or(0));
                reached
            })
            .collect()
    })
}

/// Frames at which a label rises.
pub fn cuts(labels: &[usize]) -> Vec<usize> {
    (1..labels.len())
        .filter(|&t| labels[t] > labels[t - 1])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_become_labels() {
        assert_eq!(labels_from_cuts(&[2, 3], 5), [0, 0, 1, 2, 2]);
        assert_eq!(labels_from_cuts(&[], 2), [0, 0]);
    }

    #[test]
    fn jaccard_counts_shared_frames() {
        let (per_step, mean) = step_jaccard(&[0, 0, 1, 1, 1], &[0, 1, 1, 1, 1], 2).unwrap();
        assert_eq!(per_step, [Some(0.5), Some(0.75)]);
        assert_eq!(mean, 0.625);
        assert!(step_jaccard(&[0], &[0, 0], 1).is_none());
        let (per_step, mean) = step_jaccard(&[0, 0], &[0, 0], 2).unwrap();
        assert_eq!(per_step[1], None);
        assert_eq!(mean, 1.0);
    }

    #[test]
    fn the_step_reached_is_never_left_again() {
        let mut signal = Signal::new(vec![0.0; 4]);
        assert_eq!(steps_passed(&signal), None);
        signal
            .terms
            .insert("step 1".into(), vec![1.0, 0.0, 1.0, 0.0]);
        signal
            .terms
            .insert("step 2".into(), vec![0.0, 1.0, 0.0, 1.0]);
        assert_eq!(steps_passed(&signal), Some(vec![0, 1, 1, 1]));
        assert_eq!(cuts(&[0, 1, 1, 2]), [1, 3]);
    }

    #[test]
    fn boundary_error_is_a_mean_in_frames() {
        assert_eq!(boundary_error(&[5, 10], &[6, 13]), Some(2.0));
        assert_eq!(boundary_error(&[5], &[6, 13]), None);
    }
}
