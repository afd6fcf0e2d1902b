//! [`TimeAttenuation`]: frames far from the moment that matters count less; and which frames to score at all.

use rand::{Rng, RngExt as _};
use serde::{Deserialize, Serialize};

use super::RewardTransform;
use crate::model::{RewardError, Signal};

/// The moment that matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anchor {
    /// The first frame.
    Start,
    /// The middle of the clip, as in the paper, whose subject is video generation.
    Middle,
    /// The last frame: what a task of a robot leads to.
    #[default]
    End,
}

impl Anchor {
    fn frame(self, frames: usize) -> f64 {
        let last = frames.saturating_sub(1) as f64;
        match self {
            Self::Start => 0.0,
            Self::Middle => last / 2.0,
            Self::End => last,
        }
    }
}

/// `r_t · exp(-decay · |t - anchor|)`, InstructVideo's temporal attenuation (methods row 13), with `t` in steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeAttenuation {
    /// The moment that matters.
    pub anchor: Anchor,
    /// How fast a step's weight falls, per step away from it.
    pub decay: f64,
}

impl Default for TimeAttenuation {
    fn default() -> Self {
        Self {
            anchor: Anchor::default(),
            decay: 0.1,
        }
    }
}

impl TimeAttenuation {
    /// Weight of step `t` of a clip.
    pub fn weight(&self, t: usize, frames: usize) -> f64 {
        (-self.decay * (t as f64 - self.anchor.frame(frames)).abs()).exp()
    }
}

impl RewardTransform for TimeAttenuation {
    fn apply(&self, mut signal: Signal) -> Signal {
        let frames = signal.per_step.len();
        for t in 0..frames {
            let weight = self.weight(t, frames);
            signal.per_step[t] *= weight;
            if let Some(deviations) = &mut signal.uncertainty {
                deviations[t] *= weight;
            }
        }
        signal
    }
}

/// Scores a clip by few of its frames: one at random from each of `segments` equal stretches, each counted with the weight of
/// its distance from the anchor (InstructVideo's segment sampling, methods row 13). Saves the encoder's time where frames are encoded only to
/// be scored.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SegmentSampling {
    /// Stretches, so many frames are scored.
    pub segments: usize,
    /// How frames count.
    pub attenuation: TimeAttenuation,
}

impl Default for SegmentSampling {
    fn default() -> Self {
        Self {
            segments: 4,
            attenuation: TimeAttenuation::default(),
        }
    }
}

impl SegmentSampling {
    /// The frames to score, in order, and their weights, which sum to 1. A clip with fewer frames than segments is taken whole.
    pub fn frames(&self, frames: usize, rng: &mut impl Rng) -> Vec<(usize, f64)> {
        let segments = self.segments.clamp(1, frames.max(1)).min(frames);
        let mut chosen: Vec<(usize, f64)> = (0..segments)
            .map(|k| {
                let (start, end) = (k * frames / segments, (k + 1) * frames / segments);
                let t = rng.random_range(start..end);
                (t, self.attenuation.weight(t, frames))
            })
            .collect();
        let total: f64 = chosen.iter().map(|(_, w)| w).sum();
        let count = chosen.len() as f64;
        for (_, weight) in &mut chosen {
            *weight = if total > 0.0 {
                *weight / total
            } else {
                1.0 / count
            };
        }
        chosen
    }

    /// The weighted mean of the rewards that `score` gives to the frames chosen. Fails on a clip without frames and as `score`
    /// does.
    pub fn estimate(
        &self,
        frames: usize,
        rng: &mut impl Rng,
        mut score: impl FnMut(usize) -> Result<f64, RewardError>,
    ) -> Result<f64, RewardError> {
        if frames == 0 {
            return Err(RewardError::Other(
                "the clip has no frames; give one with at least one".into(),
            ));
        }
        let chosen = self.frames(frames, rng);
        chosen
            .into_iter()
            .map(|(t, weight)| Ok(weight * score(t)?))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::eval::spearman;

    #[test]
    fn weights_fall_from_the_anchor() {
        let attenuated = |anchor| {
            TimeAttenuation { anchor, decay: 1.0 }
                .apply(Signal::new(vec![1.0; 3]))
                .per_step
        };
        let e = |x: f64| x.exp();
        assert_eq!(attenuated(Anchor::Start), [1.0, e(-1.0), e(-2.0)]);
        assert_eq!(attenuated(Anchor::Middle), [e(-1.0), 1.0, e(-1.0)]);
        assert_eq!(attenuated(Anchor::End), [e(-2.0), e(-1.0), 1.0]);
    }

    #[test]
    fn one_frame_of_every_stretch_and_weights_of_one_in_all() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for frames in [1, 2, 3, 4, 7, 200] {
            let chosen = SegmentSampling::default().frames(frames, &mut rng);
            let segments = frames.min(4);
            assert_eq!(chosen.len(), segments);
            for (k, (t, _)) in chosen.iter().enumerate() {
                assert!((k * frames / segments..(k + 1) * frames / segments).contains(t));
            }
            assert!((chosen.iter().map(|(_, w)| w).sum::<f64>() - 1.0).abs() < 1e-12);
        }
        assert!(SegmentSampling::default().frames(0, &mut rng).is_empty());
        assert!(
            SegmentSampling::default()
                .estimate(0, &mut rng, |_| Ok(1.0))
                .is_err()
        );
    }

    /// Row 13's check: four of 200 frames rank clips as all frames do.
    #[test]
    fn four_frames_of_two_hundred_rank_clips_like_all_of_them() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let sampling = SegmentSampling {
            attenuation: TimeAttenuation {
                anchor: Anchor::End,
                decay: 0.02,
            },
            ..SegmentSampling::default()
        };
        let (mut few, mut all) = (Vec::new(), Vec::new());
        for _ in 0..100 {
            // Progress that rises to its own height at its own pace.
            let (height, pace): (f64, f64) =
                (rng.random_range(0.0..1.0), rng.random_range(0.02..0.05));
            let progress: Vec<f64> = (0..200)
                .map(|t| height * (1.0 - (-pace * t as f64).exp()))
                .collect();
            few.push(
                sampling
                    .estimate(200, &mut rng, |t| Ok(progress[t]))
                    .unwrap(),
            );
            all.push(sampling.attenuation.apply(Signal::new(progress)).total());
        }
        let rank = spearman(&few, &all).unwrap();
        assert!(rank > 0.95, "{rank}");
    }
}
