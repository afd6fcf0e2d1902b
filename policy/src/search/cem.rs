//! [`Cem`]: the cross-entropy method (Rubinstein 1999; De Boer et al. 2005, "A tutorial on the cross-entropy method", section 4).

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde::{Deserialize, Serialize};

use super::{Rollouts, evaluate, first_fault, normal};
use crate::policy::PolicyError;

/// Settings of [`Cem`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CemConfig {
    /// Candidates drawn in an iteration.
    pub population: usize,
    /// Of those, how many of the best the Gaussian is fitted to.
    pub elites: usize,
    /// Share of the new fit in the Gaussian, in `(0, 1]`; the rest is kept. 1: no smoothing.
    pub smoothing: f64,
    /// Standard deviation at the start, in units of the candidates.
    pub initial_std: f64,
    /// Standard deviation below which none falls: the search does not freeze.
    pub min_std: f64,
    /// Candidates are cut off at plus and minus this number; infinite: nowhere.
    pub bound: f64,
}

impl Default for CemConfig {
    fn default() -> Self {
        Self {
            population: 64,
            elites: 8,
            smoothing: 0.9,
            initial_std: 0.5,
            min_std: 0.02,
            bound: 1.0,
        }
    }
}

impl CemConfig {
    /// Says what is wrong with these settings, if anything.
    pub fn validate(&self) -> Result<(), PolicyError> {
        first_fault(
            "cem",
            &[
                (
                    !(1..=self.population).contains(&self.elites),
                    "elites must be in 1..=population",
                ),
                (
                    !(self.smoothing > 0.0 && self.smoothing <= 1.0),
                    "smoothing must be above 0 and at most 1",
                ),
                (
                    !(self.initial_std > 0.0 && self.initial_std.is_finite()),
                    "initial_std must be above 0",
                ),
                (
                    !(self.min_std >= 0.0 && self.min_std.is_finite()),
                    "min_std must be at least 0",
                ),
                (
                    self.bound.is_nan() || self.bound <= 0.0,
                    "bound must be above 0",
                ),
            ],
        )
    }
}

/// A diagonal Gaussian that is refitted to the best of its draws.
///
/// `mean' = a * mean(elites) + (1 - a) * mean`, the standard deviations likewise and at least `min_std`, with `a` the smoothing.
#[derive(Clone, Debug)]
pub struct Cem {
    config: CemConfig,
    /// `[dim]`.
    mean: Vec<f64>,
    /// `[dim]`.
    std: Vec<f64>,
    iterations: u64,
    rng: ChaCha8Rng,
}

impl Cem {
    /// Starts around `mean`, `[dim]`.
    pub fn new(config: CemConfig, mean: Vec<f64>, seed: u64) -> Result<Self, PolicyError> {
        config.validate()?;
        super::check_finite("mean", &mean, 0)?;
        Ok(Self {
            std: vec![config.initial_std; mean.len()],
            config,
            mean,
            iterations: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
        })
    }

    /// The middle of the search, `[dim]`.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// How wide the search is, `[dim]`.
    pub fn std(&self) -> &[f64] {
        &self.std
    }

    /// Goes on around another middle, as wide as at the start.
    pub(super) fn restart(&mut self, mean: Vec<f64>) {
        self.std = vec![self.config.initial_std; mean.len()];
        self.mean = mean;
    }

    /// One iteration: draws, evaluates, refits. Gives the best return among the draws.
    ///
    /// # Errors
    /// Those of `rollouts`, and for returns that are not finite; the Gaussian is then as before.
    pub fn step(&mut self, rollouts: &mut dyn Rollouts) -> Result<f64, PolicyError> {
        let bound = self.config.bound;
        let candidates: Vec<Vec<f64>> = (0..self.config.population)
            .map(|_| {
                let gaussian = self.mean.iter().zip(&self.std);
                gaussian
                    .map(|(mean, std)| (mean + std * normal(&mut self.rng)).clamp(-bound, bound))
                    .collect()
            })
            .collect();
        let returns = evaluate(rollouts, &candidates, self.iterations)?;
        let mut order: Vec<usize> = (0..returns.len()).collect();
        order.sort_by(|&a, &b| returns[b].total_cmp(&returns[a]));
        let elites: Vec<&Vec<f64>> = order[..self.config.elites]
            .iter()
            .map(|&i| &candidates[i])
            .collect();
        self.refit(&elites);
        self.iterations += 1;
        Ok(returns[order[0]])
    }

    fn refit(&mut self, elites: &[&Vec<f64>]) {
        let (count, share) = (elites.len() as f64, self.config.smoothing);
        for i in 0..self.mean.len() {
            let mean = elites.iter().map(|e| e[i]).sum::<f64>() / count;
            let variance = elites.iter().map(|e| (e[i] - mean).powi(2)).sum::<f64>() / count;
            self.mean[i] = share * mean + (1.0 - share) * self.mean[i];
            let std = share * variance.sqrt() + (1.0 - share) * self.std[i];
            self.std[i] = std.max(self.config.min_std);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fit_is_the_smoothed_one() {
        let config = CemConfig {
            smoothing: 0.25,
            initial_std: 2.0,
            ..CemConfig::default()
        };
        let mut cem = Cem::new(config, vec![1.0, 0.0], 0).unwrap();
        cem.refit(&[&vec![3.0, 0.0], &vec![5.0, 0.0]]);
        // Elites: mean 4, deviation 1; and mean 0, deviation 0.
        assert!((cem.mean[0] - (0.25 * 4.0 + 0.75)).abs() < 1e-12);
        assert!((cem.std[0] - (0.25 + 1.5)).abs() < 1e-12);
        assert!((cem.std[1] - 1.5).abs() < 1e-12);
        for _ in 0..100 {
            cem.refit(&[&vec![3.0, 0.0]]);
        }
        assert!((cem.std[0] - 0.02).abs() < 1e-12, "never below min_std");
    }

    #[test]
    fn finds_the_top_of_a_quadratic() {
        let top = [0.3, -0.7, 0.1];
        let mut cem = Cem::new(CemConfig::default(), vec![0.0; 3], 1).unwrap();
        let mut rollouts = |candidates: &[Vec<f64>]| {
            let value = |c: &Vec<f64>| -> f64 {
                let scales = [1.0, 10.0, 0.1];
                c.iter()
                    .zip(top)
                    .zip(scales)
                    .map(|((x, t), s)| -s * (x - t) * (x - t))
                    .sum()
            };
            Ok(candidates.iter().map(value).collect())
        };
        for _ in 0..40 {
            cem.step(&mut rollouts).unwrap();
        }
        for (x, t) in cem.mean().iter().zip(top) {
            assert!((x - t).abs() < 0.06, "{:?}", cem.mean());
        }
    }

    #[test]
    fn the_same_seed_searches_the_same_and_bad_settings_are_refused() {
        let run = || {
            let mut cem = Cem::new(CemConfig::default(), vec![0.5; 2], 9).unwrap();
            let mut rollouts = |c: &[Vec<f64>]| Ok(c.iter().map(|c| -c[0].abs() + c[1]).collect());
            for _ in 0..5 {
                cem.step(&mut rollouts).unwrap();
            }
            cem.mean().to_vec()
        };
        assert_eq!(run(), run());
        let config = CemConfig {
            elites: 65,
            ..CemConfig::default()
        };
        assert!(Cem::new(config, vec![0.0], 0).is_err());
    }
}
