//! How sure a measured number is.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// A number with the interval that holds the true one with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The measured number.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} [{:.3}, {:.3}]", self.value, self.low, self.high)
    }
}

/// The mean of a sample with its percentile bootstrap interval from 2000 resamples. None without values or when one is not
/// finite. The same seed gives the same interval.
pub fn bootstrap_mean(values: &[f64], seed: u64) -> Option<Interval> {
    const RESAMPLES: usize = 2000;
    if values.is_empty() || !values.iter().all(|v| v.is_finite()) {
        return None;
    }
    let n = values.len();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| (0..n).map(|_| values[rng.random_range(0..n)]).sum::<f64>() / n as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    Some(Interval {
        value: values.iter().sum::<f64>() / n as f64,
        low: means[RESAMPLES / 40],
        high: means[RESAMPLES - 1 - RESAMPLES / 40],
    })
}

/// A statistic of `count` things with its percentile bootstrap interval: `statistic` gets the indices of the things, all of them
/// for the value, and 400 draws with replacement for the interval. Draws for which it is not defined are left out. None when it
/// is not defined for all of them, or not finite. One thing has no spread: its interval has no width. The same seed gives the
/// same interval.
pub fn bootstrap_over(
    count: usize,
    seed: u64,
    statistic: impl Fn(&[usize]) -> Option<f64>,
) -> Option<Interval> {
    const RESAMPLES: usize = 400;
    let all: Vec<usize> = (0..count).collect();
    let value = statistic(&all).filter(|v| v.is_finite())?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut drawn = vec![0; count];
    let mut values: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            for index in &mut drawn {
                *index = rng.random_range(0..count);
            }
            statistic(&drawn).filter(|v| v.is_finite())
        })
        .collect();
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else {
        return Some(Interval {
            value,
            low: value,
            high: value,
        });
    };
    // A statistic that is extreme on the whole sample lies outside most draws; the interval holds it all the same.
    Some(Interval {
        value,
        low: values[last / 40].min(value),
        high: values[last - last / 40].max(value),
    })
}

/// A success rate with its Wilson score interval, which stays sensible at 0 and at `trials` successes. None without trials
/// or with more successes than trials.
pub fn wilson(successes: usize, trials: usize) -> Option<Interval> {
    /// 97.5 % quantile of the normal distribution.
    const Z: f64 = 1.959963984540054;
    if trials == 0 || successes > trials {
        return None;
    }
    let n = trials as f64;
    let rate = successes as f64 / n;
    let shrink = 1.0 + Z * Z / n;
    let centre = (rate + Z * Z / (2.0 * n)) / shrink;
    let half = Z / shrink * (rate * (1.0 - rate) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some(Interval {
        value: rate,
        low: (centre - half).clamp(0.0, rate),
        high: (centre + half).clamp(rate, 1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_agrees_with_published_values() {
        // 0.95 intervals as tabulated for 10 of 20 and 0 of 10.
        let half = wilson(10, 20).unwrap();
        assert!((half.low - 0.2993).abs() < 1e-4 && (half.high - 0.7007).abs() < 1e-4);
        let none = wilson(0, 10).unwrap();
        assert!(none.low == 0.0 && (none.high - 0.2775).abs() < 1e-4);
        assert_eq!(wilson(0, 0), None);
        assert_eq!(wilson(3, 2), None);
    }

    #[test]
    fn the_bootstrap_interval_covers_the_mean_about_as_often_as_promised() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let covered = (0..200)
            .filter(|&i| {
                let sample: Vec<f64> = (0..40).map(|_| rng.random::<f64>()).collect();
                let interval = bootstrap_mean(&sample, i).unwrap();
                (interval.low..=interval.high).contains(&0.5)
            })
            .count();
        assert!((178..=198).contains(&covered), "{covered}");
    }

    #[test]
    fn any_statistic_of_groups_has_an_interval() {
        let sample: Vec<f64> = (0..40).map(|i| f64::from(i % 7)).collect();
        let mean =
            |of: &[usize]| Some(of.iter().map(|&i| sample[i]).sum::<f64>() / of.len() as f64);
        let (by_index, direct) = (
            bootstrap_over(40, 1, mean).unwrap(),
            bootstrap_mean(&sample, 1).unwrap(),
        );
        assert!((by_index.value - direct.value).abs() < 1e-12);
        assert!((by_index.low - direct.low).abs() < 0.2);
        assert!((by_index.high - direct.high).abs() < 0.2);
        assert_eq!(bootstrap_over(0, 1, mean), None);
        assert_eq!(bootstrap_over(3, 1, |_| None), None);
        let lonely = bootstrap_over(3, 1, |of| (of == [0, 1, 2]).then_some(0.5)).unwrap();
        assert_eq!(lonely.value, 0.5);
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let sample = [0.1, 0.5, 0.9, 0.2];
        assert_eq!(bootstrap_mean(&sample, 3), bootstrap_mean(&sample, 3));
        assert_eq!(bootstrap_mean(&[], 3), None);
    }
}
