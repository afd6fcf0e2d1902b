//! Linear probes: what can be read off the numbers that a reward looks at?
//!
//! A dimension (speed, distance, smoothness) that a linear map reads off the features is there to be rewarded or to be gamed; one
//! that it cannot read is not seen (MRMBench, arXiv 2511.12464, probes frozen reward models like this). Every prediction is of a
//! clip that the probe was not fitted on. Two controls: the same probe for values shuffled over the frames must find nothing
//! (Vision-SR1's question whether what was perceived suffices, arXiv 2508.19652), and the reward itself is correlated with the
//! dimension. From the same predictions comes [`utility`], CapRL's score of a representation (arXiv 2509.22647): how many
//! questions about the scene it answers.

use nalgebra::{DMatrix, DVector, SymmetricEigen};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::Features;
use serde::{Deserialize, Serialize};

use super::rank::spearman;
use super::sample::{deviation, mean};
use crate::model::RewardError;

/// How is probed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProbeConfig {
    /// Frames used at most, evenly over all clips.
    pub frames: usize,
    /// Parts that the clips are dealt into; each is predicted from the others.
    pub folds: usize,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            frames: 400,
            folds: 5,
        }
    }
}

impl ProbeConfig {
    /// Fails with fewer than ten frames or two folds.
    pub fn validate(&self) -> Result<(), RewardError> {
        if self.frames < 10 || self.folds < 2 {
            return Err(RewardError::Other(
                "a probe needs at least 10 frames and 2 folds".into(),
            ));
        }
        Ok(())
    }
}

/// What a probe read off the features about one dimension.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probe {
    /// Which.
    pub dimension: String,
    /// Rank correlation of held-out predictions with the truth. None when either is constant.
    pub read: Option<f64>,
    /// Share of the variance explained, held out; negative when the mean would be better.
    pub explained: Option<f64>,
    /// Rank correlation for shuffled values: what a probe finds where nothing is.
    pub chance: Option<f64>,
    /// Share of held-out frames put on the right side of the median.
    pub above_median: Option<f64>,
    /// Rank correlation of the reward itself with the dimension.
    pub rewarded: Option<f64>,
}

/// Ridge regression from features, ready for any number of dimensions: the features are normalised (each to mean 0 and deviation
/// 1 over all frames), compared with each other once, and decomposed once for each fold.
pub struct Prober {
    folds: Vec<Fold>,
    frames: usize,
    shuffled: Vec<usize>,
}

struct Fold {
    train: Vec<usize>,
    test: Vec<usize>,
    /// Decomposition of the training frames' products.
    eigen: SymmetricEigen<f64, nalgebra::Dyn>,
    /// Products of test with training frames.
    across: DMatrix<f64>,
}

impl Prober {
    /// For frames of clips: `features` `[frames, dim]`, and the clip of each frame. None with fewer than two clips or ten frames.
    pub fn new(
        features: &Features,
        clips: &[usize],
        config: &ProbeConfig,
        seed: u64,
    ) -> Result<Option<Self>, RewardError> {
        config.validate()?;
        let frames = features.len();
        let mut names = clips.to_vec();
        names.sort_unstable();
        names.dedup();
        if names.len() < 2 || frames < 10 || clips.len() != frames {
            return Ok(None);
        }
        if let Some(bad) = features.as_slice().iter().position(|v| !v.is_finite()) {
            return Err(RewardError::NotFinite {
                what: "a probed feature".into(),
                step: bad / features.dim(),
            });
        }
        let products = products(features);
        let folds = config.folds.min(names.len());
        let fold_of = |frame: usize| names.binary_search(&clips[frame]).unwrap_or(0) % folds;
        let folds = (0..folds)
            .map(|fold| {
                let (test, train): (Vec<_>, Vec<_>) =
                    (0..frames).partition(|&i| fold_of(i) == fold);
                let part = |rows: &[usize], columns: &[usize]| {
                    DMatrix::from_fn(rows.len(), columns.len(), |i, j| {
                        products[(rows[i], columns[j])]
                    })
                };
                Fold {
                    eigen: SymmetricEigen::new(part(&train, &train)),
                    across: part(&test, &train),
                    train,
                    test,
                }
            })
            .collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut shuffled: Vec<usize> = (0..frames).collect();
        for i in (1..frames).rev() {
            shuffled.swap(i, rng.random_range(0..=i));
        }
        Ok(Some(Self {
            folds,
            frames,
            shuffled,
        }))
    }

    /// Probes one dimension, `[frames]`; `reward` is the reward of each frame.
    pub fn probe(&self, dimension: &str, values: &[f64], reward: &[f64]) -> Probe {
        let sound = values.len() == self.frames && values.iter().all(|v| v.is_finite());
        let mut probe = Probe {
            dimension: dimension.into(),
            read: None,
            explained: None,
            chance: None,
            above_median: None,
            rewarded: None,
        };
        if !sound || deviation(values) <= 0.0 {
            return probe;
        }
        let predicted = self.predict(values);
        let off: Vec<f64> = values
            .iter()
            .zip(&predicted)
            .map(|(v, p)| (v - p).powi(2))
            .collect();
        let median = {
            let mut sorted = values.to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted[sorted.len() / 2]
        };
        let right = values
            .iter()
            .zip(&predicted)
            .filter(|(v, p)| (**v >= median) == (**p >= median))
            .count();
        let other: Vec<f64> = self.shuffled.iter().map(|&i| values[i]).collect();
        probe.read = spearman(&predicted, values);
        probe.explained = Some(1.0 - mean(&off) / deviation(values).powi(2));
        probe.chance = spearman(&self.predict(&other), &other);
        probe.above_median = Some(right as f64 / values.len() as f64);
        probe.rewarded = spearman(reward, values);
        probe
    }

    /// Every frame's value as predicted from the other folds' clips.
    fn predict(&self, values: &[f64]) -> Vec<f64> {
        let mut predicted = vec![0.0; values.len()];
        for fold in &self.folds {
            let centre = mean(&fold.train.iter().map(|&i| values[i]).collect::<Vec<_>>());
            let y = DVector::from_iterator(
                fold.train.len(),
                fold.train.iter().map(|&i| values[i] - centre),
            );
            let answer = &fold.across * ridge(&fold.eigen, &y);
            for (&frame, value) in fold.test.iter().zip(answer.iter()) {
                predicted[frame] = value + centre;
            }
        }
        predicted
    }
}

/// Dual coefficients of ridge regression with the penalty that generalised cross-validation likes best, of seven between 1e-4
/// and 100 times the mean eigenvalue.
fn ridge(eigen: &SymmetricEigen<f64, nalgebra::Dyn>, y: &DVector<f64>) -> DVector<f64> {
    let n = y.len() as f64;
    let turned = eigen.eigenvectors.transpose() * y;
    let scale = (eigen.eigenvalues.iter().sum::<f64>() / n).max(1e-9);
    let coefficients = |penalty: f64| {
        DVector::from_iterator(
            y.len(),
            turned
                .iter()
                .zip(eigen.eigenvalues.iter())
                .map(|(t, l)| t / (l.max(0.0) + penalty)),
        )
    };
    let best = [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0]
        .map(|factor| factor * scale)
        .into_iter()
        .map(|penalty| {
            // With residual `penalty · c` and `I - H = penalty (K + penalty)^-1`.
            let residual = coefficients(penalty).norm_squared() * penalty * penalty / n;
            let freedom = eigen
                .eigenvalues
                .iter()
                .map(|l| penalty / (l.max(0.0) + penalty))
                .sum::<f64>()
                / n;
            (residual / (freedom * freedom), penalty)
        })
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(scale, |(_, penalty)| penalty);
    &eigen.eigenvectors * coefficients(best)
}

/// Products of normalised rows over the width, `[frames, frames]`.
fn products(features: &Features) -> DMatrix<f64> {
    let (frames, dim) = (features.len(), features.dim());
    let mut x = DMatrix::from_row_iterator(
        frames,
        dim,
        features.as_slice().iter().map(|&v| f64::from(v)),
    );
    for mut column in x.column_iter_mut() {
        let centre = column.mean();
        column.add_scalar_mut(-centre);
        let size = (column.norm_squared() / frames as f64).sqrt();
        if size > 1e-12 {
            column /= size;
        } else {
            column.fill(0.0);
        }
    }
    (&x * x.transpose()) / dim.max(1) as f64
}

/// Of the questions "is this dimension above its median?", the share answered right beyond guessing: 0 for guesses, 1 for
/// everything. None without a dimension that varies.
pub fn utility(probes: &[Probe]) -> Option<f64> {
    let answered: Vec<f64> = probes
        .iter()
        .filter_map(|p| p.above_median)
        .map(|right| (2.0 * right - 1.0).max(0.0))
        .collect();
    (!answered.is_empty()).then(|| mean(&answered))
}

/// Frames to probe: about `most`, evenly over clips of the given lengths, as `(clip, time)`.
pub fn frames_to_probe(lengths: &[usize], most: usize) -> Vec<(usize, usize)> {
    let all = lengths
        .iter()
        .enumerate()
        .flat_map(|(clip, &length)| (0..length).map(move |t| (clip, t)));
    let total: usize = lengths.iter().sum();
    all.step_by(total.div_ceil(most.max(1)).max(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten clips of 30 frames; the first feature is `seen`, the others are noise; `unseen` is in none of them.
    fn scene(seed: u64) -> (Vec<f32>, Vec<usize>, Vec<f64>, Vec<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut features, mut clips, mut seen, mut unseen) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for clip in 0..10 {
            for _ in 0..30 {
                let (a, b) = (rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0));
                features.push(a as f32);
                features.extend((0..7).map(|_| rng.random_range(-1.0f32..1.0)));
                clips.push(clip);
                seen.push(a);
                unseen.push(b);
            }
        }
        (features, clips, seen, unseen)
    }

    #[test]
    fn what_is_there_is_read_and_what_is_not_is_near_chance() {
        let (features, clips, seen, unseen) = scene(1);
        let features = Features::new(8, features);
        let prober = Prober::new(&features, &clips, &ProbeConfig::default(), 0)
            .unwrap()
            .unwrap();
        let known = prober.probe("seen", &seen, &seen);
        assert!(known.read.unwrap() > 0.98 && known.explained.unwrap() > 0.95);
        assert!(known.chance.unwrap().abs() < 0.15, "{known:?}");
        assert!((known.rewarded.unwrap() - 1.0).abs() < 1e-12);
        let unknown = prober.probe("unseen", &unseen, &seen);
        assert!(unknown.read.unwrap().abs() < 0.15, "{unknown:?}");
        assert!(unknown.explained.unwrap() < 0.05);
    }

    #[test]
    fn an_attribute_more_raises_the_utility_of_a_representation() {
        let (mut features, clips, seen, unseen) = scene(2);
        let worth = |features: &[f32]| {
            let features = Features::new(8, features.to_vec());
            let prober = Prober::new(&features, &clips, &ProbeConfig::default(), 0)
                .unwrap()
                .unwrap();
            utility(&[
                prober.probe("seen", &seen, &seen),
                prober.probe("unseen", &unseen, &seen),
            ])
            .unwrap()
        };
        let before = worth(&features);
        for (i, value) in unseen.iter().enumerate() {
            features[8 * i + 1] = *value as f32;
        }
        let after = worth(&features);
        assert!(after > before + 0.3 && before < 0.6, "{before} {after}");
    }

    #[test]
    fn what_cannot_be_probed_has_no_numbers() {
        let features = Features::new(1, vec![0.0; 20]);
        let one_clip = Prober::new(&features, &[0; 20], &ProbeConfig::default(), 0);
        assert!(one_clip.unwrap().is_none());
        let clips: Vec<usize> = (0..20).map(|i| i / 10).collect();
        let prober = Prober::new(&features, &clips, &ProbeConfig::default(), 0)
            .unwrap()
            .unwrap();
        let constant = prober.probe("x", &[1.0; 20], &[1.0; 20]);
        assert_eq!((constant.read, constant.explained), (None, None));
        // Features that say nothing predict the mean of the others.
        let values: Vec<f64> = (0..20).map(f64::from).collect();
        let blind = prober.probe("x", &values, &values);
        assert!(blind.explained.unwrap() <= 0.0, "{blind:?}");
        assert_eq!(utility(&[constant]), None);
        let nan = Features::new(1, vec![f32::NAN; 20]);
        assert!(Prober::new(&nan, &clips, &ProbeConfig::default(), 0).is_err());
    }

    #[test]
    fn frames_are_spread_over_all_clips() {
        let frames = frames_to_probe(&[10, 10], 5);
        assert_eq!(frames, [(0, 0), (0, 4), (0, 8), (1, 2), (1, 6)]);
        assert!(frames_to_probe(&[], 5).is_empty());
    }
}
