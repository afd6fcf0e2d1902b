//! Labels by likeness to verified ones, and a second opinion on labels.

use serde::{Deserialize, Serialize};

use crate::model::RewardError;

/// How labels spread from verified pairs (after Skywork-Reward-V2, arXiv 2507.01352, where a language model labels with similar
/// verified pairs before its eyes; here the neighbours vote themselves).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CurateConfig {
    /// Verified pairs that vote.
    pub neighbours: usize,
    /// Pairs whose nearest verified one is farther away than this, as a multiple of the median distance between verified
    /// neighbours, are left alone.
    pub reach: f64,
    /// Least share of the vote that the winner needs.
    pub agreement: f64,
}

impl Default for CurateConfig {
    fn default() -> Self {
        Self {
            neighbours: 5,
            reach: 1.5,
            agreement: 0.8,
        }
    }
}

/// A label that was spread to a pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Curated {
    /// Index of the pair.
    pub pair: usize,
    /// 1 when the first is better, 0 when the second is.
    pub label: f64,
    /// Share of the vote for it.
    pub agreement: f64,
}

/// Labels pairs by the verified pairs they are most like. A pair is the difference of its two clips' mean features: swapping the
/// clips turns the difference and the label round, so that every verified pair counts twice. `opinion` gives a second, independent
/// probability that the first of a pair is better (a reward model's); where it contradicts the vote the pair is discarded.
pub fn curate(
    verified: &[(Vec<f64>, f64)],
    pairs: &[Vec<f64>],
    mut opinion: impl FnMut(usize) -> Result<f64, RewardError>,
    config: &CurateConfig,
) -> Result<Vec<Curated>, RewardError> {
    let dim = verified.first().map_or(0, |(v, _)| v.len());
    let all = verified.iter().map(|(v, _)| v).chain(pairs);
    if all.clone().any(|v| v.len() != dim) || all.flatten().any(|v| !v.is_finite()) {
        return Err(RewardError::Other(
            "verified and other pairs must be finite and of one width; encode all with one encoder"
                .into(),
        ));
    }
    if verified.is_empty() {
        return Ok(Vec::new());
    }
    let distance = |a: &[f64], b: &[f64], sign: f64| -> f64 {
        let squares = a.iter().zip(b).map(|(a, b)| (a - sign * b).powi(2));
        squares.sum::<f64>().sqrt()
    };
    let nearest = |point: &[f64], but: Option<usize>| -> Vec<(f64, f64)> {
        let mut votes: Vec<(f64, f64)> = verified
            .iter()
            .enumerate()
            .filter(|(i, _)| Some(*i) != but)
            .flat_map(|(_, (v, label))| {
                [
                    (distance(point, v, 1.0), *label),
                    (distance(point, v, -1.0), 1.0 - label),
                ]
            })
            .collect();
        votes.sort_by(|a, b| a.0.total_cmp(&b.0));
        votes.truncate(config.neighbours.max(1));
        votes
    };
    let mut gaps: Vec<f64> = (0..verified.len())
        .filter_map(|i| nearest(&verified[i].0, Some(i)).first().map(|n| n.0))
        .collect();
    gaps.sort_by(f64::total_cmp);
    let reach = gaps
        .get(gaps.len() / 2)
        .map_or(f64::INFINITY, |median| median * config.reach);
    let mut found = Vec::new();
    for (pair, point) in pairs.iter().enumerate() {
        let votes = nearest(point, None);
        if votes[0].0 > reach {
            continue;
        }
        let share = votes.iter().map(|v| v.1).sum::<f64>() / votes.len() as f64;
        let (label, agreement) = if share >= 0.5 {
            (1.0, share)
        } else {
            (0.0, 1.0 - share)
        };
        if agreement < config.agreement || (opinion(pair)? - 0.5) * (label - 0.5) < 0.0 {
            continue;
        }
        found.push(Curated {
            pair,
            label,
            agreement,
        });
    }
    Ok(found)
}

/// Weight of a label that a second, frozen judge gives the probability `p` of the first being better: the judge's confidence in
/// the label, `q p + (1 - q)(1 - p)`, but not less than `floor`. Source: listener-rewarded thinking, arXiv 2506.22832.
pub fn second_judge(label: f64, p: f64, floor: f64) -> f64 {
    (label * p + (1.0 - label) * (1.0 - p)).max(floor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn labels_near_verified_ones_are_right_and_contradicted_ones_are_dropped() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut point =
            || -> Vec<f64> { (0..3).map(|_| rng.random::<f64>() * 2.0 - 1.0).collect() };
        // Which is better follows a bend that no line says.
        let truth = |d: &[f64]| f64::from(u8::from(d[0] + 0.8 * d[1].powi(3) > 0.0));
        let verified: Vec<(Vec<f64>, f64)> = (0..200)
            .map(|_| {
                let d = point();
                let label = truth(&d);
                (d, label)
            })
            .collect();
        let mut pairs: Vec<Vec<f64>> = (0..300).map(|_| point()).collect();
        pairs.push(vec![40.0, 0.0, 0.0]);
        let config = CurateConfig::default();
        let right = |found: &[Curated]| {
            let count = found.iter().filter(|c| c.label == truth(&pairs[c.pair]));
            count.count() as f64 / found.len() as f64
        };
        let alone = curate(&verified, &pairs, |_| Ok(0.5), &config).unwrap();
        assert!(alone.len() > 150, "{}", alone.len());
        assert!(right(&alone) >= 0.9, "{}", right(&alone));
        assert!(alone.iter().all(|c| c.pair != 300), "out of reach");
        // A second opinion that errs one time in ten.
        let opinions: Vec<f64> = pairs
            .iter()
            .map(|d| {
                let p = 0.2 + 0.6 * truth(d);
                if rng.random::<f64>() < 0.1 {
                    1.0 - p
                } else {
                    p
                }
            })
            .collect();
        let both = curate(&verified, &pairs, |i| Ok(opinions[i]), &config).unwrap();
        assert!(right(&both) > right(&alone) && both.len() < alone.len());
        assert!(
            both.iter()
                .all(|c| (opinions[c.pair] > 0.5) == (c.label == 1.0))
        );
    }

    #[test]
    fn nothing_verified_labels_nothing_and_values_must_be_finite() {
        let config = CurateConfig::default();
        assert!(curate(&[], &[], |_| Ok(0.5), &config).unwrap().is_empty());
        let bad = [(vec![f64::NAN], 1.0)];
        assert!(curate(&bad, &[vec![0.0]], |_| Ok(0.5), &config).is_err());
        let narrow = [(vec![0.0], 1.0)];
        assert!(curate(&narrow, &[vec![0.0, 1.0]], |_| Ok(0.5), &config).is_err());
    }

    #[test]
    fn a_second_judge_weighs_labels_by_its_confidence() {
        assert_eq!(second_judge(1.0, 0.9, 0.0), 0.9);
        assert!((second_judge(0.0, 0.9, 0.0) - 0.1).abs() < 1e-12);
        assert_eq!(second_judge(0.5, 0.9, 0.0), 0.5);
        assert_eq!(second_judge(0.0, 1.0, 0.05), 0.05);
    }
}
