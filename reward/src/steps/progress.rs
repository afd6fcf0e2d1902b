//! [`StepCombiner`]: one reward from the steps' values.

use serde::{Deserialize, Serialize};

/// How the values of the steps, each in `[0, 1]`, become one reward. The first step is the state of rest and is worth nothing
/// (unless it is the only one).
///
/// The paper's main text says only that later steps must pay more than earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum StepCombiner {
    /// `Σ_{i≥2} v_i 2^(i-1)`, steps counted from 1: the form remembered from the revised paper (RSS 2017), not checked against it.
    Exponential2,
    /// `Σ_{i≥2} v_i (i-1)/(n-1)`.
    LinearIndex,
    /// `(k + v_{k+1}) / (n - 1)` in `[0, 1]`, where `k` steps after the first were reached in order: the next one counts as
    /// reached, for good, once its value exceeds the threshold. This default is ours: it needs only the past, does not
    /// fall when a step's look passes, and cannot be collected by showing the last step first.
    LatchedProgress {
        /// Value above which a step is reached.
        threshold: f64,
    },
}

impl Default for StepCombiner {
    fn default() -> Self {
        Self::LatchedProgress { threshold: 0.5 }
    }
}

impl StepCombiner {
    /// Combines values by step and time, each `[time]`, to a reward, `[time]`.
    pub fn combine(&self, values: &[Vec<f64>]) -> Vec<f64> {
        let frames = values.first().map_or(0, Vec::len);
        let Some((_, later)) = values.split_first().filter(|(_, later)| !later.is_empty()) else {
            return values.first().cloned().unwrap_or_default();
        };
        let last = later.len();
        match self {
            Self::Exponential2 => weighted(later, frames, |i| f64::powi(2.0, i as i32)),
            Self::LinearIndex => weighted(later, frames, |i| i as f64 / last as f64),
            Self::LatchedProgress { threshold } => {
                let mut reached = 0;
                (0..frames)
                    .map(|t| {
                        while reached < last && later[reached][t] > *threshold {
                            reached += 1;
                        }
                        let next = later.get(reached).map_or(0.0, |v| v[t]);
                        (reached as f64 + next) / last as f64
                    })
                    .collect()
            }
        }
    }
}

fn weighted(later: &[Vec<f64>], frames: usize, weight: impl Fn(usize) -> f64) -> Vec<f64> {
    (0..frames)
        .map(|t| {
            later
                .iter()
                .enumerate()
                .map(|(i, v)| weight(i + 1) * v[t])
                .sum()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_steps_pay_more() {
        let values = [
            vec![1.0, 0.0, 0.0],
            vec![0.0, 1.0, 0.0],
            vec![0.0, 0.0, 1.0],
        ];
        assert_eq!(StepCombiner::Exponential2.combine(&values), [0.0, 2.0, 4.0]);
        assert_eq!(StepCombiner::LinearIndex.combine(&values), [0.0, 0.5, 1.0]);
        assert_eq!(StepCombiner::default().combine(&values), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn latched_progress_cannot_skip_and_does_not_fall() {
        let latched = StepCombiner::default();
        let skipping = [vec![1.0; 3], vec![0.0, 0.0, 0.9], vec![0.9, 0.1, 0.4]];
        assert_eq!(latched.combine(&skipping), [0.0, 0.0, 0.7]);
        let passing = [vec![0.0; 3], vec![0.9, 0.0, 0.0], vec![0.0, 0.1, 0.9]];
        let found = latched.combine(&passing);
        assert!(found.windows(2).all(|w| w[0] <= w[1]), "{found:?}");
        assert_eq!(found[2], 1.0);
    }

    #[test]
    fn a_single_step_is_its_own_reward() {
        for combiner in [StepCombiner::Exponential2, StepCombiner::default()] {
            assert_eq!(combiner.combine(&[vec![0.2, 0.8]]), [0.2, 0.8]);
            assert!(combiner.combine(&[]).is_empty());
        }
    }
}
