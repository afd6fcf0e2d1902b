//! Correlations between a reward and something else.

/// Pearson's correlation. None when fewer than two values are given, the counts differ, a value is not finite, or either side
/// is constant.
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() != y.len() || x.len() < 2 || !x.iter().chain(y).all(|v| v.is_finite()) {
        return None;
    }
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (x, y) = (x - mean_x, y - mean_y);
        xx += x * x;
        yy += y * y;
        xy += x * y;
    }
    (xx > 0.0 && yy > 0.0).then(|| (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0))
}

/// Ranks from 1; equal values share the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for group in order.chunk_by(|&a, &b| values[a] == values[b]) {
        for &i in group {
            ranks[i] = before as f64 + (group.len() as f64 + 1.0) / 2.0;
        }
        before += group.len();
    }
    ranks
}

/// Spearman's rank correlation with average ranks for ties: of a learned reward with the true one, say. None as for
/// [`pearson`].
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    if !x.iter().chain(y).all(|v| v.is_finite()) {
        return None;
    }
    pearson(&ranks(x), &ranks(y))
}

/// Value-order correlation: Spearman's correlation of values with time. 1 for a reward that only ever rises over a
/// successful clip. None as for [`pearson`].
pub fn value_order_correlation(values: &[f64]) -> Option<f64> {
    let time: Vec<f64> = (0..values.len()).map(|t| t as f64).collect();
    spearman(values, &time)
}

/// Kendall's τ-b, which corrects for ties. None as for [`pearson`].
pub fn kendall(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() != y.len() || x.len() < 2 || !x.iter().chain(y).all(|v| v.is_finite()) {
        return None;
    }
    let (mut agreement, mut in_x, mut in_y) = (0i64, 0i64, 0i64);
    for i in 0..x.len() {
        for j in 0..i {
            let (a, b) = (order(x[i], x[j]), order(y[i], y[j]));
            agreement += a * b;
            in_x += a * a;
            in_y += b * b;
        }
    }
    (in_x > 0 && in_y > 0).then(|| agreement as f64 / ((in_x as f64) * (in_y as f64)).sqrt())
}

fn order(a: f64, b: f64) -> i64 {
    i64::from(a > b) - i64::from(a < b)
}

/// EPIC distance between rewards that depend on the state only, for which canonical shaping is a constant shift:
/// `sqrt((1 - ρ)/2)` with Pearson's ρ. 0 for rewards that differ by a positive affine map, 1 for opposite ones. None as for
/// [`pearson`]. Source: Gleave et al., arXiv 2006.13900.
pub fn epic_distance(x: &[f64], y: &[f64]) -> Option<f64> {
    pearson(x, y).map(|rho| ((1.0 - rho) / 2.0).sqrt())
}

/// Share of `(better, worse)` scores in the right order; equal scores count half. None without pairs or when a score is not a
/// number.
pub fn pair_accuracy(pairs: &[(f64, f64)]) -> Option<f64> {
    if pairs.is_empty() || pairs.iter().any(|(a, b)| a.is_nan() || b.is_nan()) {
        return None;
    }
    let right: f64 = pairs
        .iter()
        .map(|(better, worse)| (1.0 + order(*better, *worse) as f64) / 2.0)
        .sum();
    Some(right / pairs.len() as f64)
}

/// Share of `(best, middle, worst)` scores in exactly that order. None without triplets.
pub fn triplet_accuracy(triplets: &[(f64, f64, f64)]) -> Option<f64> {
    if triplets.is_empty() {
        return None;
    }
    let right = triplets
        .iter()
        .filter(|(best, middle, worst)| best > middle && middle > worst)
        .count();
    Some(right as f64 / triplets.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn epic_is_the_reference_value_both_ways() {
        let reward = [0.21, 0.25, 0.19, 0.31, 0.33, 0.28];
        let label = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0];
        assert!((pearson(&reward, &label).unwrap() - 0.8916185520).abs() < 1e-9);
        assert!((epic_distance(&reward, &label).unwrap() - 0.2327890117).abs() < 1e-9);
        // With a binary truth of rate p, ρ is sqrt(p(1-p))/sd · (E[R|1] - E[R|0]).
        let mean = reward.iter().sum::<f64>() / 6.0;
        let sd = (reward.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / 6.0).sqrt();
        let gap = (0.31 + 0.33 + 0.28 - 0.21 - 0.25 - 0.19) / 3.0;
        assert!((0.5 / sd * gap - 0.8916185520).abs() < 1e-9);
    }

    #[test]
    fn value_order_correlation_is_the_reference_value() {
        let found = value_order_correlation(&[0.0, 0.1, 0.1, 0.4, 0.35, 0.7, 1.0]).unwrap();
        assert!((found - 0.9549937105).abs() < 1e-9);
    }

    #[test]
    fn ties_share_their_ranks() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0, 3.0]), [4.0, 1.0, 4.0, 2.0, 4.0]);
    }

    #[test]
    fn kendall_corrects_for_ties() {
        // Pairs of [1,2,2,3] against [1,3,2,2]: 3 agree, 1 disagrees, one tie on each side, of 6.
        let found = kendall(&[1.0, 2.0, 2.0, 3.0], &[1.0, 3.0, 2.0, 2.0]).unwrap();
        assert!((found - 2.0 / 5.0).abs() < 1e-12, "{found}");
        assert_eq!(kendall(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), Some(-1.0));
    }

    #[test]
    fn what_cannot_be_correlated_has_no_value() {
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(spearman(&[1.0], &[1.0]), None);
        assert_eq!(spearman(&[1.0, 2.0], &[1.0, 2.0, 3.0]), None);
        assert_eq!(spearman(&[1.0, f64::NAN], &[1.0, 2.0]), None);
        assert_eq!(kendall(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(pair_accuracy(&[]), None);
        assert_eq!(triplet_accuracy(&[]), None);
    }

    #[test]
    fn a_tie_is_half_a_right_pair() {
        assert_eq!(
            pair_accuracy(&[(2.0, 1.0), (1.0, 1.0), (0.0, 1.0), (5.0, 1.0)]),
            Some(0.625)
        );
        assert_eq!(
            triplet_accuracy(&[(3.0, 2.0, 1.0), (3.0, 1.0, 2.0)]),
            Some(0.5)
        );
    }

    proptest! {
        #[test]
        fn epic_ignores_positive_affine_maps(
            pairs in prop::collection::vec((-5.0f64..5.0, -5.0f64..5.0), 3..20),
            scale in 0.1f64..10.0,
            shift in -5.0f64..5.0,
        ) {
            let (x, y): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            let moved: Vec<f64> = x.iter().map(|v| v * scale + shift).collect();
            let opposite: Vec<f64> = x.iter().map(|v| -v).collect();
            let found = epic_distance(&x, &y).unwrap();
            prop_assert!((found - epic_distance(&moved, &y).unwrap()).abs() < 1e-6);
            prop_assert!((epic_distance(&x, &opposite).unwrap() - 1.0).abs() < 1e-9);
            prop_assert!(epic_distance(&x, &x).unwrap() < 1e-6);
        }

        #[test]
        fn rank_correlations_ignore_increasing_maps(
            pairs in prop::collection::vec((-5.0f64..5.0, -5.0f64..5.0), 3..20),
        ) {
            let (x, y): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            let bent: Vec<f64> = x.iter().map(|v| v.exp()).collect();
            prop_assert!((spearman(&x, &y).unwrap() - spearman(&bent, &y).unwrap()).abs() < 1e-12);
            prop_assert!((kendall(&x, &y).unwrap() - kendall(&bent, &y).unwrap()).abs() < 1e-12);
        }
    }
}
