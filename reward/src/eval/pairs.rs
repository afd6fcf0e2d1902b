//! Pair accuracy: of two stretches from different clips, does the reward prefer the better one?

use super::interval::{Interval, bootstrap_over};
use super::pressure::Choice;

/// Pairs whose truths differ by less than this share of the range of truths have no right order.
pub const NEAR_TIE: f64 = 0.05;

/// Pairs of stretches from different clips in the right order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairsInOrder {
    /// Share in the right order, equal rewards half, with the bootstrap interval over clips.
    pub accuracy: Interval,
    /// Pairs.
    pub pairs: usize,
}

/// Compares every two stretches from different clips. None without a pair that has a right order, and with a value that is not
/// finite.
pub fn pairs_in_order(choices: &[Choice], seed: u64) -> Option<PairsInOrder> {
    if !choices
        .iter()
        .all(|c| c.proxy.is_finite() && c.truth.is_finite())
    {
        return None;
    }
    let low = choices
        .iter()
        .map(|c| c.truth)
        .fold(f64::INFINITY, f64::min);
    let high = choices
        .iter()
        .map(|c| c.truth)
        .fold(f64::NEG_INFINITY, f64::max);
    let margin = NEAR_TIE * (high - low);
    let clips = 1 + choices.iter().map(|c| c.clip).max()?;
    // Right pairs and pairs of every two clips: what the bootstrap draws from.
    let mut table = vec![(0.0, 0u32); clips * clips];
    for (i, a) in choices.iter().enumerate() {
        for b in &choices[..i] {
            let gap = a.truth - b.truth;
            if a.clip == b.clip || gap.abs() <= margin || gap == 0.0 {
                continue;
            }
            let agreement = (a.proxy - b.proxy) * gap.signum();
            let right = if agreement > 0.0 {
                1.0
            } else if agreement < 0.0 {
                0.0
            } else {
                0.5
            };
            let cell = &mut table[a.clip.max(b.clip) * clips + a.clip.min(b.clip)];
            cell.0 += right;
            cell.1 += 1;
        }
    }
    let mut present: Vec<usize> = choices.iter().map(|c| c.clip).collect();
    present.sort_unstable();
    present.dedup();
    let accuracy = bootstrap_over(present.len(), seed, |drawn| {
        let (mut right, mut count) = (0.0, 0);
        for (i, &a) in drawn.iter().enumerate() {
            for &b in &drawn[..i] {
                let (a, b) = (present[a], present[b]);
                let cell = table[a.max(b) * clips + a.min(b)];
                right += cell.0;
                count += cell.1;
            }
        }
        (count > 0).then(|| right / f64::from(count))
    })?;
    Some(PairsInOrder {
        accuracy,
        pairs: table.iter().map(|(_, n)| *n as usize).sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn choices(values: &[(f64, f64, usize)]) -> Vec<Choice> {
        values
            .iter()
            .map(|&(proxy, truth, clip)| Choice { proxy, truth, clip })
            .collect()
    }

    #[test]
    fn pairs_are_counted_between_clips_and_near_ties_are_not() {
        let found = pairs_in_order(
            &choices(&[(1.0, 0.0, 0), (2.0, 1.0, 0), (3.0, 0.01, 1), (0.0, 1.0, 2)]),
            0,
        )
        .unwrap();
        // Clip 0 with 1: (0 and 0.01 are a tie), 1 above 0.01 but 2 below 3: wrong. 0 with 2: 0 below 1 but 1 above 0: wrong
        // (1 and 1 are a tie). 1 with 2: wrong.
        assert_eq!((found.accuracy.value, found.pairs), (0.0, 3));
        assert!(pairs_in_order(&choices(&[(1.0, 0.0, 0), (2.0, 1.0, 0)]), 0).is_none());
        assert!(pairs_in_order(&choices(&[(1.0, 0.5, 0), (2.0, 0.5, 1)]), 0).is_none());
        assert!(pairs_in_order(&choices(&[(f64::NAN, 0.0, 0), (2.0, 1.0, 1)]), 0).is_none());
        assert!(pairs_in_order(&[], 0).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn increasing_maps_change_nothing_and_the_opposite_is_the_rest(
            values in prop::collection::vec((-3.0f64..3.0, -3.0f64..3.0, 0usize..6), 4..40),
        ) {
            let plain = choices(&values);
            let bent: Vec<Choice> = plain.iter().map(|c| Choice { proxy: c.proxy.exp(), ..*c }).collect();
            let against: Vec<Choice> = plain.iter().map(|c| Choice { proxy: -c.proxy, ..*c }).collect();
            let found = pairs_in_order(&plain, 1);
            prop_assert_eq!(found, pairs_in_order(&bent, 1));
            if let (Some(found), Some(against)) = (found, pairs_in_order(&against, 1)) {
                prop_assert!((found.accuracy.value + against.accuracy.value - 1.0).abs() < 1e-9);
                prop_assert!(found.accuracy.low <= found.accuracy.value && found.accuracy.value <= found.accuracy.high);
            }
        }
    }
}
