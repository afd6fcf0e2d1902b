//! Economy: how few frames of a clip must be scored to know what the clip is worth?
//!
//! As InstructVideo does for video (arXiv 2312.12490): the clip is cut into segments of one length, one random frame of each is
//! scored. Frames are not weighted by their distance from an anchor here, since the whole clip's mean is what is estimated.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::playback::rearranged;
use super::rank::spearman;
use super::sample::{Sample, mean, score, stretches};
use crate::model::{RewardError, RewardModel, Signal};

/// How well few frames stand for all.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sampling {
    /// Frames scored of each clip.
    pub frames: usize,
    /// Share of all frames.
    pub share: f64,
    /// Rank correlation over clips with what scoring all frames says. None when either is constant.
    pub agreement: Option<f64>,
}

/// Scores 1, 2, 4, ... frames of each clip, as long as that is less than all. Empty with fewer than five clips.
pub fn sampling(
    model: &dyn RewardModel,
    samples: &[Sample],
    signals: &[Signal],
    seed: u64,
) -> Result<Vec<Sampling>, RewardError> {
    if samples.len() < 5 {
        return Ok(Vec::new());
    }
    let whole: Vec<f64> = signals.iter().map(|s| mean(&s.per_step)).collect();
    let shortest = samples.iter().map(|s| s.clip.len()).min().unwrap_or(0);
    let total: usize = samples.iter().map(|s| s.clip.len()).sum();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut found = Vec::new();
    let mut frames = 1;
    while frames < shortest && frames <= 16 {
        let mut few = Vec::with_capacity(samples.len());
        for sample in samples {
            let times: Vec<usize> = stretches(sample.clip.len(), frames)
                .into_iter()
                .map(|stretch| rng.random_range(stretch))
                .collect();
            few.push(mean(
                &score(model, &rearranged(&sample.clip, &times))?.per_step,
            ));
        }
        found.push(Sampling {
            frames,
            share: (frames * samples.len()) as f64 / total as f64,
            agreement: spearman(&few, &whole),
        });
        frames *= 2;
    }
    Ok(found)
}
