//! RA-BC: cloning in which a step counts by the progress that followed it (SARM, Chen et al., arXiv 2509.25358, equations 8 and
//! 9; constants and statistics as in LeRobot's `rabc.py`, which reads the same progress from a parquet file).
//!
//! ```text
//! Δ_t = p_min(t + chunk, last) - p_t        w = 1 where Δ > κ,   0 where Δ < 0,   clip((Δ - (μ - 2σ)) / (4σ + ε), 0, 1) between
//! ```
//!
//! with μ (not below 0) and σ (not below ε) over all steps; a batch's weights are then scaled to a mean of 1.

use serde::{Deserialize, Serialize};

use crate::model::RewardError;

/// Settings of the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RaBcConfig {
    /// Steps ahead that progress is compared over: the length of an action chunk.
    pub chunk: usize,
    /// κ: progress that counts in full.
    pub enough: f64,
    /// ε.
    pub epsilon: f64,
}

impl Default for RaBcConfig {
    fn default() -> Self {
        Self {
            chunk: 50,
            enough: 0.01,
            epsilon: 1e-6,
        }
    }
}

/// Progress gained over the next `chunk` steps of an episode, at its end over what is left, `[time]`.
pub fn gains(progress: &[f64], chunk: usize) -> Vec<f64> {
    let last = progress.len().saturating_sub(1);
    (0..progress.len())
        .map(|t| progress[t.saturating_add(chunk).min(last)] - progress[t])
        .collect()
}

/// Gives steps weights, with the statistics of one set of episodes.
#[derive(Clone, Debug, PartialEq)]
pub struct RaBc {
    config: RaBcConfig,
    mean: f64,
    deviation: f64,
}

impl RaBc {
    /// From the progress of every episode, each `[time]`. Fails without any step and on progress that is not finite.
    pub fn fit(episodes: &[Vec<f64>], config: &RaBcConfig) -> Result<Self, RewardError> {
        let fine = config.epsilon > 0.0 && config.enough.is_finite();
        if config.chunk == 0 || !fine {
            return Err(RewardError::Other(format!(
                "ra-bc with chunk {}, enough {} and epsilon {}; the chunk must be at least 1 and epsilon above 0",
                config.chunk, config.enough, config.epsilon
            )));
        }
        for episode in episodes {
            if let Some(step) = episode.iter().position(|p| !p.is_finite()) {
                return Err(RewardError::NotFinite {
                    what: "the progress".into(),
                    step,
                });
            }
        }
        let all: Vec<f64> = episodes
            .iter()
            .flat_map(|episode| gains(episode, config.chunk))
            .collect();
        if all.is_empty() {
            return Err(RewardError::Other(
                "there is no progress to weigh steps by; give episodes with at least one step"
                    .into(),
            ));
        }
        let count = all.len() as f64;
        let mean = all.iter().sum::<f64>() / count;
        let variance = all.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / count;
        Ok(Self::new(mean, variance.sqrt(), config.clone()))
    }

    /// From statistics that are known.
    pub fn new(mean: f64, deviation: f64, config: RaBcConfig) -> Self {
        Self {
            mean: mean.max(0.0),
            deviation: deviation.max(config.epsilon),
            config,
        }
    }

    /// Weight in `[0, 1]` of a step followed by this gain.
    pub fn weight(&self, gain: f64) -> f64 {
        if gain > self.config.enough {
            1.0
        } else if gain >= 0.0 {
            let lower = self.mean - 2.0 * self.deviation;
            let soft = (gain - lower) / (4.0 * self.deviation + self.config.epsilon);
            soft.clamp(0.0, 1.0)
        } else {
            0.0
        }
    }

    /// Weight of every step of an episode, `[time]`.
    pub fn weights(&self, progress: &[f64]) -> Vec<f64> {
        gains(progress, self.config.chunk)
            .into_iter()
            .map(|gain| self.weight(gain))
            .collect()
    }

    /// Scales the weights of a batch to a mean of 1, up to ε; weights of nothing stay that.
    pub fn balance(&self, weights: &mut [f64]) {
        let scale = weights.len() as f64 / (weights.iter().sum::<f64>() + self.config.epsilon);
        for weight in weights {
            *weight *= scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_the_reference_values() {
        let weigher = RaBc::new(0.02, 0.03, RaBcConfig::default());
        let table = [
            (-0.01, 0.0),
            (0.0, 0.3333305556),
            (0.005, 0.3749968750),
            (0.01, 0.4166631945),
            (0.02, 1.0),
        ];
        for (gain, weight) in table {
            let found = weigher.weight(gain);
            assert!((found - weight).abs() < 1e-9, "{gain}: {found}");
        }
    }

    #[test]
    fn gains_stop_at_the_end_of_an_episode() {
        let found = gains(&[0.0, 0.1, 0.3, 0.6], 2);
        let expected = [0.3, 0.5, 0.3, 0.0];
        assert!(
            found
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-12)
        );
        assert!(gains(&[], 2).is_empty());
        assert_eq!(gains(&[0.4], usize::MAX), [0.0]);
    }

    /// RA-BC against cloning on demonstrations with hesitations put in: those steps lose their weight.
    #[test]
    fn hesitation_and_going_back_weigh_less() {
        let mut episodes = vec![(0..40).map(|t| f64::from(t) / 39.0).collect::<Vec<_>>(); 3];
        // Stands still, then goes back.
        let mut bad: Vec<f64> = (0..20).map(|t| f64::from(t) / 39.0).collect();
        bad.extend([19.0 / 39.0; 15]);
        bad.extend((0..5).map(|t| (19.0 - 2.0 * f64::from(t)) / 39.0));
        episodes.push(bad.clone());
        let config = RaBcConfig {
            chunk: 5,
            ..Default::default()
        };
        let weigher = RaBc::fit(&episodes, &config).unwrap();
        let good = weigher.weights(&episodes[0]);
        let bad = weigher.weights(&bad);
        let mean = |w: &[f64]| w.iter().sum::<f64>() / w.len() as f64;
        assert!(mean(&good[..34]) == 1.0 && mean(&bad[22..35]) < 0.6);
        let mut batch = [good, bad].concat();
        weigher.balance(&mut batch);
        assert!((mean(&batch) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn degenerate_progress_is_refused_or_defined() {
        let config = RaBcConfig::default();
        assert!(RaBc::fit(&[], &config).is_err());
        assert!(RaBc::fit(&[vec![0.0, f64::NAN]], &config).is_err());
        let still = RaBc::fit(&[vec![0.5; 4]], &config).unwrap();
        let mut weights = still.weights(&[0.5; 4]);
        assert!(weights.iter().all(|w| (0.0..=1.0).contains(w)));
        still.balance(&mut weights);
        assert!(weights.iter().all(|w| w.is_finite()));
        let mut nothing = [0.0; 3];
        still.balance(&mut nothing);
        assert_eq!(nothing, [0.0; 3]);
    }
}
