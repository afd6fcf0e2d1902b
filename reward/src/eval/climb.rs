//! [`climb`]: a search that optimises against a reward, and watches the truth.
//!
//! The cross-entropy method: draw a population around a Gaussian, keep the best by the reward, fit the Gaussian to them. The
//! pressure of each round is the Kullback-Leibler divergence of its Gaussian from the first one.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::sample::mean;
use crate::model::RewardError;

/// How hard is climbed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClimbConfig {
    /// Rounds.
    pub rounds: usize,
    /// Candidates of a round.
    pub population: usize,
    /// Share of them that the next round is made from.
    pub elite: f64,
    /// Least standard deviation in each direction, in units of the first round's.
    pub least_deviation: f64,
}

impl Default for ClimbConfig {
    fn default() -> Self {
        Self {
            rounds: 12,
            population: 64,
            elite: 0.2,
            least_deviation: 0.1,
        }
    }
}

impl ClimbConfig {
    /// Fails without rounds, with fewer than two survivors, and with a deviation that is not positive.
    pub fn validate(&self) -> Result<(), RewardError> {
        let fail = |what: &str| Err(RewardError::Other(format!("a climb needs {what}")));
        if self.rounds == 0 {
            return fail("at least one round");
        }
        if !(self.elite > 0.0 && self.elite <= 1.0) || self.survivors() < 2 {
            return fail("an elite between 0 and 1 that leaves at least two candidates");
        }
        if !(self.least_deviation > 0.0 && self.least_deviation.is_finite()) {
            return fail("a least deviation above 0");
        }
        Ok(())
    }

    fn survivors(&self) -> usize {
        (self.population as f64 * self.elite).round() as usize
    }
}

/// What a candidate turned out to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// The reward.
    pub proxy: f64,
    /// The truth.
    pub truth: f64,
    /// How far it is from anything recorded, in a unit of the caller's; 0 where that has no meaning.
    pub strangeness: f64,
}

/// One round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rung {
    /// Nats between its Gaussian and the first.
    pub kl: f64,
    /// Mean reward.
    pub proxy: f64,
    /// Mean truth.
    pub truth: f64,
    /// Mean strangeness.
    pub strangeness: f64,
}

/// Climbs in `dims` directions from a standard Gaussian; `try_out` says what a candidate `[dims]` is worth. Fails on settings
/// that make no sense, without directions, when a candidate fails, and when its reward or truth is not finite.
pub fn climb(
    dims: usize,
    config: &ClimbConfig,
    seed: u64,
    mut try_out: impl FnMut(&[f64]) -> Result<Found, RewardError>,
) -> Result<Vec<Rung>, RewardError> {
    config.validate()?;
    if dims == 0 {
        return Err(RewardError::Other(
            "a climb needs at least one direction".into(),
        ));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut centre, mut spread) = (vec![0.0; dims], vec![1.0; dims]);
    let mut rungs = Vec::with_capacity(config.rounds);
    for round in 0..config.rounds {
        let mut tried = Vec::with_capacity(config.population);
        for _ in 0..config.population {
            let candidate: Vec<f64> = centre
                .iter()
                .zip(&spread)
                .map(|(m, s)| m + s * normal(&mut rng))
                .collect();
            let found = try_out(&candidate)?;
            if !found.proxy.is_finite() || !found.truth.is_finite() {
                return Err(RewardError::NotFinite {
                    what: "what a candidate is worth".into(),
                    step: round,
                });
            }
            tried.push((candidate, found));
        }
        let over =
            |pick: fn(&Found) -> f64| mean(&tried.iter().map(|(_, f)| pick(f)).collect::<Vec<_>>());
        rungs.push(Rung {
            kl: gaussian_kl(&centre, &spread),
            proxy: over(|f| f.proxy),
            truth: over(|f| f.truth),
            strangeness: over(|f| f.strangeness),
        });
        tried.sort_by(|a, b| b.1.proxy.total_cmp(&a.1.proxy));
        tried.truncate(config.survivors());
        for d in 0..dims {
            let values: Vec<f64> = tried.iter().map(|(c, _)| c[d]).collect();
            centre[d] = mean(&values);
            spread[d] = super::sample::deviation(&values).max(config.least_deviation);
        }
    }
    Ok(rungs)
}

/// `KL(N(m, s²) || N(0, 1)) = Σ (s² + m² - 1)/2 - ln s`, nats.
fn gaussian_kl(centre: &[f64], spread: &[f64]) -> f64 {
    centre
        .iter()
        .zip(spread)
        .map(|(m, s)| 0.5 * (s * s + m * m - 1.0) - s.ln())
        .sum()
}

/// A standard normal number (Box and Muller's way).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pressure_is_the_divergence_of_gaussians() {
        assert_eq!(gaussian_kl(&[0.0, 0.0], &[1.0, 1.0]), 0.0);
        // N(1, 0.5²) from N(0, 1): ln 2 + (0.25 + 1)/2 - 1/2.
        let expected = 2f64.ln() + 0.625 - 0.5;
        assert!((gaussian_kl(&[1.0], &[0.5]) - expected).abs() < 1e-12);
    }

    #[test]
    fn a_climb_finds_the_hole_in_a_reward() {
        // The truth is best at the middle; the reward forgets to say so beyond x = 1.
        let rungs = climb(3, &ClimbConfig::default(), 0, |x| {
            let truth = -x[0].powi(2);
            Ok(Found {
                proxy: if x[0] > 1.0 { x[0] } else { truth },
                truth,
                strangeness: x[0].abs(),
            })
        })
        .unwrap();
        let (first, last) = (rungs[0], rungs[rungs.len() - 1]);
        assert!(last.proxy > first.proxy + 1.0 && last.truth < first.truth - 2.0);
        assert!(last.kl > 2.0 && last.strangeness > first.strangeness);
        assert!(first.kl.abs() < 1e-12);
    }

    #[test]
    fn the_same_seed_climbs_the_same_way() {
        let run = || {
            climb(2, &ClimbConfig::default(), 4, |x| {
                Ok(Found {
                    proxy: -x[0] * x[0] - x[1],
                    truth: 0.0,
                    strangeness: 0.0,
                })
            })
            .unwrap()
        };
        assert_eq!(run(), run());
    }

    #[test]
    fn senseless_settings_and_values_are_refused() {
        let fine = |_: &[f64]| {
            Ok(Found {
                proxy: 0.0,
                truth: 0.0,
                strangeness: 0.0,
            })
        };
        let config = |elite, rounds| ClimbConfig {
            elite,
            rounds,
            ..ClimbConfig::default()
        };
        assert!(climb(1, &config(0.0, 1), 0, fine).is_err());
        assert!(climb(1, &config(0.5, 0), 0, fine).is_err());
        assert!(climb(0, &ClimbConfig::default(), 0, fine).is_err());
        let nan = climb(1, &ClimbConfig::default(), 0, |_| {
            Ok(Found {
                proxy: f64::NAN,
                truth: 0.0,
                strangeness: 0.0,
            })
        });
        assert!(nan.unwrap_err().to_string().contains("not finite"));
    }
}
