//! The simulated person: ranks three clips by the hidden return, and is never asked about clips that are nearly alike.

use std::collections::BTreeSet;

use anyhow::Context as _;
use rand::{Rng, RngExt as _};

/// Up to `count` different triplets `[best, middle, worst]` of clips whose returns lie at least `gap` of the spread apart. RAPL's
/// released labeller bins returns to the same end: near ties do not occur. Each list is the beginning of every longer one of the
/// same generator.
pub fn triplets(
    returns: &[f64],
    count: usize,
    gap: f64,
    rng: &mut impl Rng,
) -> anyhow::Result<Vec<[usize; 3]>> {
    let high = returns.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let low = returns.iter().copied().fold(f64::INFINITY, f64::min);
    let apart = gap * (high - low);
    let mut known = BTreeSet::new();
    let mut found = Vec::with_capacity(count);
    for _ in 0..1000 * count {
        if found.len() == count || returns.len() < 3 {
            break;
        }
        let mut three: [usize; 3] = std::array::from_fn(|_| rng.random_range(0..returns.len()));
        three.sort_by(|&a, &b| returns[b].total_cmp(&returns[a]));
        let [best, middle, worst] = three.map(|i| returns[i]);
        if best - middle > apart && middle - worst > apart && known.insert(three) {
            found.push(three);
        }
    }
    (found.len() == count).then_some(found).with_context(|| {
        format!(
            "{} clips hold fewer than {count} triplets that a person can tell apart; ask for more clips or fewer answers",
            returns.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn triplets_are_ordered_apart_and_nested() {
        let returns: Vec<f64> = (0..40).map(|i| f64::from(i * 7 % 40)).collect();
        let draw = |count| {
            let mut rng = ChaCha8Rng::seed_from_u64(3);
            triplets(&returns, count, 0.1, &mut rng).unwrap()
        };
        let (few, many) = (draw(10), draw(100));
        assert_eq!(few[..], many[..10]);
        for three in many {
            let [best, middle, worst] = three.map(|i| returns[i]);
            assert!(best - middle > 3.9 && middle - worst > 3.9);
        }
    }

    #[test]
    fn clips_that_cannot_be_told_apart_are_refused() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        assert!(triplets(&[1.0; 20], 5, 0.1, &mut rng).is_err());
        assert!(triplets(&[1.0, 2.0], 1, 0.1, &mut rng).is_err());
    }
}
