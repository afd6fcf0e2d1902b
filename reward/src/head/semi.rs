//! Unlabelled pairs that a head is sure of, and clips cropped in time (SURF, arXiv 2203.10050).

use rand::{Rng, RngExt as _};
use rapport_perception::Features;
use serde::{Deserialize, Serialize};

use super::pairs::Pair;
use crate::model::{Clip, RewardError};
use crate::objective::sigmoid;

/// How unlabelled pairs are used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SurfConfig {
    /// Least probability of the likelier verdict for a pair to be labelled with it.
    pub threshold: f64,
    /// Weight of such a label next to a given one.
    pub weight: f64,
    /// Shortest and longest stretch, in frames, that a clip is cropped to for training. None: clips stay whole.
    pub crop: Option<(usize, usize)>,
}

impl Default for SurfConfig {
    fn default() -> Self {
        Self {
            threshold: 0.95,
            weight: 1.0,
            crop: Some((45, 55)),
        }
    }
}

impl SurfConfig {
    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        let sure = (0.5..=1.0).contains(&self.threshold);
        let weighs = self.weight.is_finite() && self.weight >= 0.0;
        let crops = self
            .crop
            .is_none_or(|(least, most)| 0 < least && least <= most);
        if sure && weighs && crops {
            Ok(())
        } else {
            Err(RewardError::Other(
                "surf: the threshold must lie between 0.5 and 1, the weight must not be negative, and a crop goes from at least 1 frame up"
                    .into(),
            ))
        }
    }

    /// The label of a pair by one member's gap, where it is sure enough.
    pub fn pseudo_label(&self, gap: f64) -> Option<f64> {
        (sigmoid(gap.abs()) >= self.threshold).then_some(if gap < 0.0 { 0.0 } else { 1.0 })
    }

    /// Labels unlabelled pairs by each member's gap, `[pairs][members]` ([`super::PreferenceHead::gaps`]). SURF lets each member
    /// label anew for itself at every step; here the members vote once before a training, which is the same where they are
    /// sure and agree, and drops the pairs where they do not.
    pub fn pseudo_labelled(&self, unlabelled: &[Pair], gaps: &[Vec<f64>]) -> Vec<Pair> {
        let mut found = Vec::new();
        for (pair, gaps) in unlabelled.iter().zip(gaps) {
            let mean = gaps.iter().map(|&g| sigmoid(g)).sum::<f64>() / gaps.len().max(1) as f64;
            let odds = (mean / (1.0 - mean)).ln();
            if let Some(label) = self.pseudo_label(odds) {
                let mut pair = pair.clone();
                pair.target.label = label;
                pair.target.weight = self.weight;
                found.push(pair);
            }
        }
        found
    }

    /// A random stretch of a clip, as long as [`SurfConfig::crop`] says; shorter clips stay whole. A crop keeps a label because
    /// clips that differ by a few frames are taken to be as good as each other.
    pub fn crop(&self, clip: &Clip, rng: &mut impl Rng) -> Clip {
        let Some((least, most)) = self.crop else {
            return clip.clone();
        };
        let length = rng.random_range(least..=most);
        if clip.len() <= length {
            return clip.clone();
        }
        let start = rng.random_range(0..=clip.len() - length);
        let times: Vec<usize> = (start..start + length).collect();
        let cut = |features: &Features| {
            if features.len() == clip.len() {
                features.select(&times)
            } else {
                features.clone()
            }
        };
        Clip {
            features: cut(&clip.features),
            columns: clip
                .columns
                .iter()
                .map(|(name, column)| (name.clone(), cut(column)))
                .collect(),
            fps: clip.fps,
        }
    }
}
