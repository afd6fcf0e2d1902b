//! Progress of frames shown out of order, so that whoever scores them cannot just count upwards (GVL, Ma et al., arXiv
//! 2411.04549). The first frame is shown as what it is; the others are shuffled, scored, and put back.

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use rapport_perception::Features;

use crate::eval::value_order_correlation;
use crate::model::RewardError;

/// Whoever tells how complete a task is from single frames: a vision-language model, a person, a goal distance.
pub trait FrameScorer {
    /// Completion of every shuffled frame, `[frames]`, knowing which frame came first.
    fn completion(&mut self, first: &[f32], shuffled: &Features) -> Result<Vec<f64>, RewardError>;
}

impl<F> FrameScorer for F
where
    F: FnMut(&[f32], &Features) -> Result<Vec<f64>, RewardError>,
{
    fn completion(&mut self, first: &[f32], shuffled: &Features) -> Result<Vec<f64>, RewardError> {
        self(first, shuffled)
    }
}

/// An order of frames, and the way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shuffle {
    order: Vec<usize>,
}

impl Shuffle {
    /// Of `len` frames. The same seed gives the same order.
    pub fn new(len: usize, seed: u64) -> Self {
        let mut order: Vec<usize> = (0..len).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        Self { order }
    }

    /// Where each frame shown comes from.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// Values of frames as shown, put back where they belong. As many as frames.
    pub fn undo(&self, shown: &[f64]) -> Vec<f64> {
        let mut values = vec![0.0; self.order.len()];
        for (&from, value) in self.order.iter().zip(shown) {
            values[from] = *value;
        }
        values
    }
}

/// Completion of every frame of a clip in its own order, `[time]`; the first counts as nothing done. Fails on a clip without
/// frames and on answers that are too few, too many or not finite.
pub fn shuffled_progress(
    scorer: &mut impl FrameScorer,
    features: &Features,
    seed: u64,
) -> Result<Vec<f64>, RewardError> {
    if features.is_empty() {
        return Err(RewardError::Other(
            "the clip has no frames; give one with at least one".into(),
        ));
    }
    let shuffle = Shuffle::new(features.len() - 1, seed);
    let times: Vec<usize> = shuffle.order().iter().map(|i| i + 1).collect();
    let shown = features.select(&times);
    let answers = scorer.completion(features.row(0), &shown)?;
    if answers.len() != shown.len() {
        return Err(RewardError::Other(format!(
            "{} answers came back for {} frames; ask for one a frame",
            answers.len(),
            shown.len()
        )));
    }
    if let Some(at) = answers.iter().position(|a| !a.is_finite()) {
        return Err(RewardError::NotFinite {
            what: "a completion".into(),
            step: times[at],
        });
    }
    Ok(std::iter::once(0.0).chain(shuffle.undo(&answers)).collect())
}

/// GVL's measure: rank correlation of [`shuffled_progress`] with time; see [`value_order_correlation`].
pub fn shuffled_order_correlation(
    scorer: &mut impl FrameScorer,
    features: &Features,
    seed: u64,
) -> Result<Option<f64>, RewardError> {
    Ok(value_order_correlation(&shuffled_progress(
        scorer, features, seed,
    )?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shuffling_and_putting_back_changes_nothing(values in prop::collection::vec(-1.0f64..1.0, 0..30), seed: u64) {
            let shuffle = Shuffle::new(values.len(), seed);
            let shown: Vec<f64> = shuffle.order().iter().map(|&i| values[i]).collect();
            prop_assert_eq!(shuffle.undo(&shown), values);
        }
    }

    #[test]
    fn who_looks_finds_the_order_and_who_counts_does_not() {
        let clip = Features::new(1, (0..40).map(|t| t as f32 / 39.0).collect());
        let mut looks = |first: &[f32], shown: &Features| {
            Ok(shown.rows().map(|r| f64::from(r[0] - first[0])).collect())
        };
        let voc = shuffled_order_correlation(&mut looks, &clip, 3).unwrap();
        assert!((voc.unwrap() - 1.0).abs() < 1e-12);
        let mut counts =
            |_: &[f32], shown: &Features| Ok((0..shown.len()).map(|t| t as f64).collect());
        let voc = shuffled_order_correlation(&mut counts, &clip, 3).unwrap();
        assert!(voc.unwrap().abs() < 0.4);
    }

    #[test]
    fn answers_that_do_not_fit_are_refused() {
        let clip = Features::new(1, vec![0.0, 1.0, 2.0]);
        let mut few = |_: &[f32], _: &Features| Ok(vec![0.5]);
        assert!(shuffled_progress(&mut few, &clip, 0).is_err());
        let mut broken = |_: &[f32], s: &Features| Ok(vec![f64::NAN; s.len()]);
        assert!(shuffled_progress(&mut broken, &clip, 0).is_err());
        let mut none = |_: &[f32], _: &Features| Ok(vec![]);
        assert_eq!(
            shuffled_progress(&mut none, &clip.select(&[0]), 0).unwrap(),
            [0.0]
        );
        assert!(shuffled_progress(&mut none, &clip.select(&[]), 0).is_err());
    }
}
