//! Pairs out of a judge's rankings and scores (UnifiedReward, arXiv 2503.05236): rank first, then keep what also passes by itself.

use serde::{Deserialize, Serialize};

use crate::model::RewardError;

/// What passes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SiftConfig {
    /// Least quantile of the absolute scores for the better item of a pair.
    pub better_above: f64,
    /// Largest quantile for the worse one.
    pub worse_below: f64,
    /// Least confidence of the judge in its ranking.
    pub confidence: f64,
}

impl Default for SiftConfig {
    fn default() -> Self {
        Self {
            better_above: 0.6,
            worse_below: 0.4,
            confidence: 0.5,
        }
    }
}

/// A pair that passed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mined {
    /// The better item.
    pub better: usize,
    /// The worse item.
    pub worse: usize,
    /// The judge's probability for that order.
    pub confidence: f64,
}

/// Ranks candidate pairs by a judge's probability that the first is better, and keeps those whose better item scores high and
/// whose worse item scores low by themselves. Surest first.
pub fn rank_then_sift(
    candidates: &[(usize, usize)],
    mut judge: impl FnMut(usize, usize) -> Result<f64, RewardError>,
    scores: &[f64],
    config: &SiftConfig,
) -> Result<Vec<Mined>, RewardError> {
    if let Some(bad) = scores.iter().position(|s| !s.is_finite()) {
        return Err(RewardError::NotFinite {
            what: "an absolute score".into(),
            step: bad,
        });
    }
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    let quantile = |share: f64| {
        let last = sorted.len().saturating_sub(1);
        let at = (share.clamp(0.0, 1.0) * last as f64).round() as usize;
        sorted.get(at).copied().unwrap_or(f64::NAN)
    };
    let (high, low) = (quantile(config.better_above), quantile(config.worse_below));
    let mut mined = Vec::new();
    for &(first, second) in candidates {
        if first.max(second) >= scores.len() {
            return Err(RewardError::Other(format!(
                "a candidate pair names item {} of {}",
                first.max(second),
                scores.len()
            )));
        }
        let p = judge(first, second)?;
        if !(0.0..=1.0).contains(&p) {
            return Err(RewardError::Other(format!(
                "the judge gave {p} as a probability for items {first} and {second}"
            )));
        }
        let (better, worse, confidence) = if p >= 0.5 {
            (first, second, p)
        } else {
            (second, first, 1.0 - p)
        };
        let passes = confidence >= config.confidence
            && scores[better] >= high
            && scores[worse] <= low
            && scores[better] > scores[worse];
        if passes {
            mined.push(Mined {
                better,
                worse,
                confidence,
            });
        }
    }
    mined.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    Ok(mined)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::sigmoid;
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn sifted_pairs_are_righter_than_as_many_unsifted_ones() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let truth: Vec<f64> = (0..200).map(|_| rng.random()).collect();
        // Judge and scorer both see the truth through noise of their own.
        let scores: Vec<f64> = truth
            .iter()
            .map(|t| t + 0.5 * (rng.random::<f64>() - 0.5))
            .collect();
        let candidates: Vec<(usize, usize)> = (0..600)
            .map(|_| (rng.random_range(0..100), rng.random_range(100..200)))
            .collect();
        let verdicts: Vec<f64> = candidates
            .iter()
            .map(|&(a, b)| sigmoid(6.0 * (truth[a] - truth[b] + rng.random::<f64>() - 0.5)))
            .collect();
        let accuracy = |pairs: &[Mined]| {
            let right = pairs.iter().filter(|p| truth[p.better] > truth[p.worse]);
            right.count() as f64 / pairs.len() as f64
        };
        let mine = |config: &SiftConfig| {
            let mut at = 0;
            let judge = |_, _| {
                at += 1;
                Ok(verdicts[at - 1])
            };
            rank_then_sift(&candidates, judge, &scores, config).unwrap()
        };
        let sifted = mine(&SiftConfig::default());
        let all = mine(&SiftConfig {
            better_above: 0.0,
            worse_below: 1.0,
            confidence: 0.0,
        });
        // As many, evenly out of all: rankings alone.
        let step = verdicts.len() / sifted.len();
        let unsifted: Vec<Mined> = candidates
            .iter()
            .zip(&verdicts)
            .step_by(step)
            .take(sifted.len())
            .map(|(&(a, b), &p)| Mined {
                better: if p >= 0.5 { a } else { b },
                worse: if p >= 0.5 { b } else { a },
                confidence: p.max(1.0 - p),
            })
            .collect();
        assert!(sifted.len() > 60 && sifted.len() < all.len());
        let (with, without) = (accuracy(&sifted), accuracy(&unsifted));
        assert!(with > without + 0.1, "{with} {without}");
        assert!(
            sifted
                .windows(2)
                .all(|w| w[0].confidence >= w[1].confidence)
        );
    }

    #[test]
    fn senseless_judges_are_refused() {
        let config = SiftConfig::default();
        assert!(rank_then_sift(&[(0, 1)], |_, _| Ok(f64::NAN), &[0.0, 1.0], &config).is_err());
        assert!(rank_then_sift(&[(0, 2)], |_, _| Ok(0.5), &[0.0, 1.0], &config).is_err());
        assert!(rank_then_sift(&[(0, 1)], |_, _| Ok(0.5), &[0.0, f64::NAN], &config).is_err());
        let same = rank_then_sift(&[(0, 1)], |_, _| Ok(1.0), &[1.0, 1.0], &config).unwrap();
        assert!(same.is_empty());
    }
}
