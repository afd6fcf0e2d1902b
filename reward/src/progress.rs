//! Rewards that say how far along a task is: embeddings in which distance to the goal is progress, networks that read progress
//! off the frames so far, success with a calibrated probability, and what cloning does with progress.
//!
//! | what | module | source |
//! |---|---|---|
//! | [`cycle`]: clips of one task aligned by cycle consistency | XIRL's embedding | arXiv 2106.03911 |
//! | [`value`]: an embedding whose distances are values | VIP | arXiv 2210.00030 |
//! | [`contrast`]: an embedding of the order of frames | R3M's time-contrastive part | arXiv 2203.12601 |
//! | [`CausalProgress`]: progress from the frames so far | ReWiND, with stages SARM | arXiv 2505.10911, 2509.25358 |
//! | [`ra_bc`]: weights for cloning | RA-BC | arXiv 2509.25358 |
//! | [`SuccessClassifier`]: probability of success | a calibrated logistic head | Platt 1999 |
//! | [`shuffle`]: progress of frames shown out of order | GVL | arXiv 2411.04549 |

mod calibration;
mod causal;
pub mod contrast;
pub mod cycle;
mod embedding;
pub mod ra_bc;
pub mod rewind;
pub mod shuffle;
mod stages;
mod standard;
mod success;
mod transformer;
pub mod value;

pub use calibration::{Calibration, Reliability, ReliabilityBin, Scaling};
pub use causal::{CausalProgress, ProgressConfig, ProgressReport};
pub use contrast::ContrastConfig;
pub use cycle::CycleConfig;
pub use embedding::{EmbeddedGoal, Embedding, EmbeddingConfig, GoalForm};
pub use stages::Stages;
pub(crate) use standard::Standard;
pub use success::{SuccessClassifier, SuccessConfig, SuccessReport};
pub use value::ValueConfig;

use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use rapport_perception::{EncoderSpec, Features};

use crate::model::RewardError;

/// Clips that can be learned from: at least `count` of at least `frames` frames, of the encoder's width, all finite.
pub(crate) fn check_clips<'a>(
    clips: impl ExactSizeIterator<Item = &'a Features>,
    encoder: &EncoderSpec,
    count: usize,
    frames: usize,
) -> Result<(), RewardError> {
    if clips.len() < count {
        return Err(RewardError::Other(format!(
            "{} clips are too few to learn from; give at least {count}",
            clips.len()
        )));
    }
    for (i, clip) in clips.enumerate() {
        crate::model::check_features(clip, encoder)?;
        if clip.len() < frames {
            return Err(RewardError::Other(format!(
                "clip {i} has {} frames where at least {frames} are needed; leave it out",
                clip.len()
            )));
        }
    }
    Ok(())
}

/// `most` frames spread evenly from the first to the last of `len`, or all where there are no more: `⌊i (len-1)/(most-1)⌋`,
/// as ReWiND thins clips.
pub(crate) fn spread(len: usize, most: usize) -> Vec<usize> {
    if len <= most || most == 0 {
        return (0..len).collect();
    }
    if most == 1 {
        return vec![len - 1];
    }
    (0..most).map(|i| i * (len - 1) / (most - 1)).collect()
}

/// `log(1 + e^x)` without overflow.
pub(crate) fn stable_softplus<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    relu(x.clone()) + (-x.abs()).exp().log1p()
}

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod stored_tests;
#[cfg(test)]
pub(crate) mod synthetic;
