//! [`Stages`]: progress from a stage and the progress within it (SARM, Chen et al., arXiv 2509.25358).

use rapport_perception::Features;
use serde::{Deserialize, Serialize};

use crate::model::RewardError;
use crate::steps::{SegmentationConfig, segment};
use crate::transport::Points;

/// Mean share of time that demonstrations spend in each stage; `progress = P_{k-1} + ᾱ_k τ` with `P` their running sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stages {
    /// ᾱ, which add up to 1.
    shares: Vec<f64>,
}

/// Where a frame stands: its stage, counted from 0, and the progress within it.
pub(super) type Standing = (usize, f64);

impl Stages {
    /// One stage: progress is what is within it.
    pub fn one() -> Self {
        Self { shares: vec![1.0] }
    }

    /// From the mean shares of the stages. Fails when there is none, or one is not above 0.
    pub fn new(shares: &[f64]) -> Result<Self, RewardError> {
        let sum: f64 = shares.iter().sum();
        if shares.is_empty() || !sum.is_finite() || shares.iter().any(|s| s.is_nan() || *s <= 0.0) {
            return Err(RewardError::Other(format!(
                "stages with shares {shares:?} have no progress; give at least one, all above 0"
            )));
        }
        Ok(Self {
            shares: shares.iter().map(|s| s / sum).collect(),
        })
    }

    /// Cuts demonstrations into stages without labels, where SARM has people name them. Also gives where each was cut.
    pub(super) fn discover(
        demonstrations: &[&Features],
        config: &SegmentationConfig,
    ) -> Result<(Self, Vec<Vec<usize>>), RewardError> {
        let mut shares = vec![0.0; config.steps];
        let mut cuts = Vec::with_capacity(demonstrations.len());
        for (i, clip) in demonstrations.iter().enumerate() {
            let found = segment(&Points::from(*clip), config).map_err(|e| {
                RewardError::Other(format!(
                    "demonstration {i} could not be cut into stages: {e}"
                ))
            })?;
            let starts = std::iter::once(0).chain(found.cuts.iter().copied());
            let ends = found.cuts.iter().copied().chain([clip.len()]);
            for (share, (start, end)) in shares.iter_mut().zip(starts.zip(ends)) {
                *share += (end - start) as f64 / clip.len() as f64;
            }
            cuts.push(found.cuts);
        }
        Ok((Self::new(&shares)?, cuts))
    }

    /// The same, refused when it was written by hand and is not what [`Stages::new`] makes.
    pub(super) fn checked(self) -> Result<Self, RewardError> {
        Self::new(&self.shares)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.shares.len()
    }

    /// Never true: there is at least one stage.
    pub fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// Progress in `[0, 1]` at `tau` (in `[0, 1]`) of a stage, counted from 0; stages beyond the last count as the last.
    pub fn progress(&self, stage: usize, tau: f64) -> f64 {
        let stage = stage.min(self.len() - 1);
        let before: f64 = self.shares[..stage].iter().sum();
        (before + self.shares[stage] * tau.clamp(0.0, 1.0)).clamp(0.0, 1.0)
    }
}

/// Where a frame stands in a demonstration of `len` frames cut at `cuts`: `τ` runs from 0 at a stage's first frame to 1 at its
/// last; a stage of one frame is done.
pub(super) fn standing(frame: usize, cuts: &[usize], len: usize) -> Standing {
    let stage = cuts.partition_point(|&cut| cut <= frame);
    let start = if stage == 0 { 0 } else { cuts[stage - 1] };
    let last = cuts.get(stage).map_or(len, |&cut| cut) - 1;
    let tau = if last > start {
        (frame - start) as f64 / (last - start) as f64
    } else {
        1.0
    };
    (stage, tau)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_monotone_from_nothing_to_all() {
        let stages = Stages::new(&[0.2, 0.5, 0.3]).unwrap();
        assert_eq!(stages.progress(0, 0.0), 0.0);
        assert!((stages.progress(1, 0.5) - 0.45).abs() < 1e-12);
        assert_eq!(stages.progress(2, 1.0), 1.0);
        let cuts = [4, 9];
        let along: Vec<f64> = (0..12)
            .map(|t| {
                let (stage, tau) = standing(t, &cuts, 12);
                stages.progress(stage, tau)
            })
            .collect();
        assert!(along.windows(2).all(|w| w[0] <= w[1]), "{along:?}");
        assert_eq!((along[0], along[11]), (0.0, 1.0));
    }

    #[test]
    fn a_frame_stands_in_the_stage_that_holds_it() {
        assert_eq!(standing(0, &[3], 6), (0, 0.0));
        assert_eq!(standing(2, &[3], 6), (0, 1.0));
        assert_eq!(standing(3, &[3], 6), (1, 0.0));
        assert_eq!(standing(5, &[3], 6), (1, 1.0));
        assert_eq!(standing(0, &[], 1), (0, 1.0));
        assert!(Stages::new(&[]).is_err() && Stages::new(&[0.5, 0.0]).is_err());
    }
}
