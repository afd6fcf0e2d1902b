//! Cutting a demonstration into steps within which its features change least.
//!
//! For `N` frames cut at `0 = c_0 < c_1 < … < c_n = N`,
//!
//! ```text
//! minimise (1/n) Σ_k s(c_{k-1}, c_k)   with   s(i, j) = mean over features of the deviation of frames i..j
//! subject to c_k - c_{k-1} ≥ min_size
//! ```
//!
//! The paper scans the first cut and recurses on the rest. The sum has optimal substructure, so that a dynamic programme over
//! (segments left, first frame) finds the same cuts, the earliest of equally good ones included, in `O(n N²)` steps.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::model::RewardError;
use crate::transport::Points;

/// What is measured of the features within a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// Standard deviation, as in the paper's algorithm.
    #[default]
    StandardDeviation,
    /// Variance, as in the paper's prose.
    Variance,
}

/// How segments' scores are averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weighting {
    /// Every segment counts the same, as in the paper.
    #[default]
    Uniform,
    /// Every frame counts the same.
    ByLength,
}

/// How the cuts are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Search {
    /// The best cuts there are, by dynamic programming.
    #[default]
    Exact,
    /// One cut after the other, each where it helps most. Never better than [`Search::Exact`].
    GreedyBinary,
}

/// How a demonstration is cut into steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SegmentationConfig {
    /// Number of steps; chosen by hand, 2 to 4 in the paper.
    pub steps: usize,
    /// Least frames in a step.
    pub min_size: usize,
    /// What is measured of the features within a segment.
    pub spread: Spread,
    /// How segments' scores are averaged.
    pub weighting: Weighting,
    /// How the cuts are found.
    pub search: Search,
}

impl Default for SegmentationConfig {
    fn default() -> Self {
        Self {
            steps: 3,
            min_size: 5,
            spread: Spread::default(),
            weighting: Weighting::default(),
            search: Search::default(),
        }
    }
}

/// Where a clip was cut.
#[derive(Clone, Debug, PartialEq)]
pub struct Segmentation {
    /// First frame of every step but the first, ascending.
    pub cuts: Vec<usize>,
    /// The objective; small is good.
    pub score: f64,
}

/// Cuts a clip, `[time, dim]`. Fails when it is too short for so many steps, or a value is not finite.
pub fn segment(frames: &Points, config: &SegmentationConfig) -> Result<Segmentation, RewardError> {
    let SegmentationConfig {
        steps, min_size, ..
    } = *config;
    if steps == 0 || min_size == 0 {
        return Err(RewardError::Other(
            "steps and min_size of a segmentation must be at least 1".into(),
        ));
    }
    if frames.len() < steps.saturating_mul(min_size) {
        return Err(RewardError::Other(format!(
            "{} frames do not hold {steps} steps of at least {min_size}; ask for fewer or shorter steps",
            frames.len()
        )));
    }
    if let Some(bad) = frames.as_slice().iter().position(|v| !v.is_finite()) {
        return Err(RewardError::NotFinite {
            what: "a feature".into(),
            step: bad / frames.dim(),
        });
    }
    let costs = SegmentCosts::of(frames, config);
    let cuts = match config.search {
        Search::Exact => exact(&costs, steps, min_size),
        Search::GreedyBinary => greedy(&costs, steps, min_size),
    };
    let score = costs.objective(&cuts);
    Ok(Segmentation { cuts, score })
}

/// What every possible segment adds to the objective.
struct SegmentCosts {
    frames: usize,
    /// For segment `i..j` at `i * (frames + 1) + j`.
    values: Vec<f64>,
    /// What the sum is divided by.
    divisor: Weighting,
}

impl SegmentCosts {
    fn of(frames: &Points, config: &SegmentationConfig) -> Self {
        let n = frames.len();
        let values = (0..n)
            .into_par_iter()
            .flat_map_iter(|start| scores_from(frames, start, config))
            .collect();
        Self {
            frames: n,
            values,
            divisor: config.weighting,
        }
    }

    fn get(&self, start: usize, end: usize) -> f64 {
        self.values[start * (self.frames + 1) + end]
    }

    fn sum(&self, cuts: &[usize]) -> f64 {
        let starts = std::iter::once(0).chain(cuts.iter().copied());
        let ends = cuts.iter().copied().chain([self.frames]);
        starts.zip(ends).map(|(i, j)| self.get(i, j)).sum()
    }

    fn objective(&self, cuts: &[usize]) -> f64 {
        match self.divisor {
            Weighting::Uniform => self.sum(cuts) / (cuts.len() + 1) as f64,
            Weighting::ByLength => self.sum(cuts) / self.frames as f64,
        }
    }
}

/// Costs of all segments that begin at `start`, by their end. Means and squared deviations are updated frame by frame
/// (Welford), which stays exact where sums of squares would cancel.
fn scores_from(frames: &Points, start: usize, config: &SegmentationConfig) -> Vec<f64> {
    let dim = frames.dim();
    let mut costs = vec![0.0; start + 1];
    let mut mean = vec![0.0; dim];
    let mut squares = vec![0.0; dim];
    for last in start..frames.len() {
        let count = (last + 1 - start) as f64;
        let share = 1.0 / count;
        for ((mean, squares), x) in mean.iter_mut().zip(&mut squares).zip(frames.row(last)) {
            let off = x - *mean;
            *mean += off * share;
            *squares += off * (x - *mean);
        }
        let sum: f64 = match config.spread {
            Spread::StandardDeviation => squares.iter().map(|s| (s * share).sqrt()).sum(),
            Spread::Variance => squares.iter().map(|s| s * share).sum(),
        };
        let weight = match config.weighting {
            Weighting::Uniform => 1.0,
            Weighting::ByLength => count,
        };
        costs.push(weight * sum / dim as f64);
    }
    costs
}

fn exact(costs: &SegmentCosts, steps: usize, min_size: usize) -> Vec<usize> {
    let n = costs.frames;
    // rest[i]: least cost of frames i.. in the number of segments so far; first[k][i]: where the first of k + 2 segments ends.
    let mut rest: Vec<f64> = (0..=n)
        .map(|i| {
            if i < n {
                costs.get(i, n)
            } else {
                f64::INFINITY
            }
        })
        .collect();
    let mut first = Vec::with_capacity(steps - 1);
    for segments in 2..=steps {
        let mut best = vec![f64::INFINITY; n + 1];
        let mut cut = vec![0; n + 1];
        for start in 0..=n.saturating_sub(segments * min_size) {
            let last = n - (segments - 1) * min_size;
            for (end, rest) in rest
                .iter()
                .enumerate()
                .take(last + 1)
                .skip(start + min_size)
            {
                let cost = costs.get(start, end) + rest;
                if cost < best[start] {
                    (best[start], cut[start]) = (cost, end);
                }
            }
        }
        rest = best;
        first.push(cut);
    }
    let mut at = 0;
    first
        .iter()
        .rev()
        .map(|cut| {
            at = cut[at];
            at
        })
        .collect()
}

fn greedy(costs: &SegmentCosts, steps: usize, min_size: usize) -> Vec<usize> {
    let n = costs.frames;
    let mut cuts: Vec<usize> = Vec::new();
    while cuts.len() + 1 < steps {
        let mut best: Option<(f64, Vec<usize>)> = None;
        for cut in min_size..=n - min_size {
            let Err(place) = cuts.binary_search(&cut) else {
                continue;
            };
            let mut tried = cuts.clone();
            tried.insert(place, cut);
            if !leaves_room(&tried, n, steps, min_size) {
                continue;
            }
            let cost = costs.sum(&tried);
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, tried));
            }
        }
        // A cut that leaves room exists as long as the clip is long enough, which was checked.
        match best {
            Some((_, tried)) => cuts = tried,
            None => break,
        }
    }
    cuts
}

/// True when every segment is long enough and they can be cut further into as many as are wanted.
fn leaves_room(cuts: &[usize], n: usize, steps: usize, min_size: usize) -> bool {
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([n]);
    let mut room = 0;
    for (start, end) in starts.zip(ends) {
        if end - start < min_size {
            return false;
        }
        room += (end - start) / min_size;
    }
    room >= steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn golden() -> Points {
        Points::new(
            2,
            vec![
                0.0, 1.0, 0.1, 1.1, 0.0, 0.9, 2.0, 1.0, 2.2, 1.1, 2.1, 5.0, 2.0, 5.2, 2.1, 4.9,
            ],
        )
    }

    fn config(steps: usize, min_size: usize) -> SegmentationConfig {
        SegmentationConfig {
            steps,
            min_size,
            ..SegmentationConfig::default()
        }
    }

    #[test]
    fn cuts_are_the_reference_values() {
        let table: [(usize, &[usize], f64); 3] = [
            (2, &[5], 0.3154454290),
            (3, &[3, 5], 0.0751087459),
            (4, &[2, 4, 6], 0.41875),
        ];
        for (steps, cuts, score) in table {
            let found = segment(&golden(), &config(steps, 2)).unwrap();
            assert_eq!(found.cuts, cuts);
            assert!((found.score - score).abs() < 1e-9, "{found:?}");
        }
    }

    #[test]
    fn what_cannot_be_cut_is_refused() {
        let message = segment(&golden(), &config(3, 3)).unwrap_err().to_string();
        assert!(message.contains("8 frames"), "{message}");
        assert!(segment(&golden(), &config(0, 1)).is_err());
        assert!(segment(&golden(), &config(1, 8)).unwrap().cuts.is_empty());
    }

    /// The paper's recursion, word for word: the first cut is scanned, the rest is split, the average over what came
    /// before, the left part and the right parts is compared, and the first best cut stays.
    fn split(
        costs: &SegmentCosts,
        start: usize,
        n: usize,
        min_size: usize,
        before: &[f64],
    ) -> (Vec<usize>, Vec<f64>) {
        if n == 1 {
            return (vec![], vec![costs.get(start, costs.frames)]);
        }
        let mut best: Option<(f64, Vec<usize>, Vec<f64>)> = None;
        for cut in start + min_size..=costs.frames - (n - 1) * min_size {
            let left = costs.get(start, cut);
            let mut so_far = before.to_vec();
            so_far.push(left);
            let (mut cuts, mut scores) = split(costs, cut, n - 1, min_size, &so_far);
            cuts.insert(0, cut);
            scores.insert(0, left);
            let average =
                before.iter().chain(&scores).sum::<f64>() / (before.len() + scores.len()) as f64;
            if best.as_ref().is_none_or(|(least, ..)| average < *least) {
                best = Some((average, cuts, scores));
            }
        }
        let (_, cuts, scores) = best.unwrap();
        (cuts, scores)
    }

    /// Small arrays of few distinct values, so that ties occur.
    fn arrays() -> impl Strategy<Value = (Points, usize, usize)> {
        (1usize..4, 1usize..4, 1usize..3).prop_flat_map(|(steps, min_size, dim)| {
            (steps * min_size..10).prop_flat_map(move |n| {
                prop::collection::vec(0u8..4, n * dim).prop_map(move |v| {
                    let values = v.into_iter().map(f64::from).collect();
                    (Points::new(dim, values), steps, min_size)
                })
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]

        #[test]
        fn the_dynamic_programme_finds_what_the_recursion_finds((frames, steps, min_size) in arrays(), by_length: bool, variance: bool) {
            let config = SegmentationConfig {
                spread: if variance { Spread::Variance } else { Spread::StandardDeviation },
                weighting: if by_length { Weighting::ByLength } else { Weighting::Uniform },
                ..config(steps, min_size)
            };
            let costs = SegmentCosts::of(&frames, &config);
            let found = segment(&frames, &config).unwrap();
            let (cuts, _) = split(&costs, 0, steps, min_size, &[]);
            prop_assert!((found.score - costs.objective(&cuts)).abs() < 1e-12);
            // Among cuts that are equally good up to rounding, both take the earliest.
            if found.cuts != cuts {
                prop_assert!((costs.sum(&found.cuts) - costs.sum(&cuts)).abs() < 1e-14 * frames.len() as f64);
            }
            let greedy = segment(&frames, &SegmentationConfig { search: Search::GreedyBinary, ..config }).unwrap();
            prop_assert_eq!(greedy.cuts.len(), steps - 1);
            prop_assert!(greedy.score >= found.score - 1e-12);
        }

        #[test]
        fn moving_a_feature_changes_nothing_and_scaling_scales((frames, steps, min_size) in arrays(), shift in -8i8..8) {
            let plain = segment(&frames, &config(steps, min_size)).unwrap();
            let changed = |f: &dyn Fn(f64) -> f64| {
                let values = frames.as_slice().iter().map(|v| f(*v)).collect();
                segment(&Points::new(frames.dim(), values), &config(steps, min_size)).unwrap()
            };
            let shifted = changed(&|v| v + f64::from(shift));
            prop_assert!((plain.score - shifted.score).abs() < 1e-9);
            let doubled = changed(&|v| 2.0 * v);
            prop_assert!((2.0 * plain.score - doubled.score).abs() < 1e-12);
            prop_assert_eq!(plain.cuts, doubled.cuts);
        }
    }

    #[test]
    fn of_equally_good_cuts_the_earliest_is_taken() {
        let still = Points::new(1, vec![1.0; 9]);
        assert_eq!(segment(&still, &config(3, 2)).unwrap().cuts, [2, 4]);
    }
}
