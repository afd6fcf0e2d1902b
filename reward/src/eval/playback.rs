//! Videos played backwards and held still: does the reward know which way time runs, and whether anything happens?

use rapport_perception::Features;

use super::rank::value_order_correlation;
use super::sample::{Sample, beginning, deviation, ending, mean, score};
use crate::model::{Clip, RewardError, RewardModel, Signal};

/// What is done to a video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Playback {
    /// The last frame first.
    Backwards,
    /// The first frame all the time.
    Frozen,
}

impl Playback {
    /// The clip played like that, of the same length, other channels too.
    pub fn of(self, clip: &Clip) -> Clip {
        let steps = clip.len();
        let times: Vec<usize> = match self {
            Self::Backwards => (0..steps).rev().collect(),
            Self::Frozen => vec![0; steps],
        };
        rearranged(clip, &times)
    }
}

/// The frames of a clip at the given times, with the other channels that have as many steps.
pub(super) fn rearranged(clip: &Clip, times: &[usize]) -> Clip {
    let pick = |f: &Features| {
        if f.len() == clip.len() {
            f.select(times)
        } else {
            f.clone()
        }
    };
    Clip {
        features: clip.features.select(times),
        columns: clip
            .columns
            .iter()
            .map(|(name, column)| (name.clone(), pick(column)))
            .collect(),
        fps: clip.fps,
    }
}

/// One clip as recorded, backwards and frozen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Played {
    /// Rank correlation of reward and time as recorded. None for a constant reward.
    pub forwards: Option<f64>,
    /// The same played backwards, against its own time.
    pub backwards: Option<f64>,
    /// How much more the clip is worth per step as recorded than backwards, in standard deviations of the reward over all clips.
    pub return_over_backwards: f64,
    /// The same over the frozen clip.
    pub return_over_frozen: f64,
    /// How far the reward rises from the first to the last fifth, in the same unit.
    pub rise: f64,
    /// How far it rises over the frozen clip.
    pub frozen_rise: f64,
}

/// Below this, in standard deviations of the reward, two values count as equal.
pub const EQUAL: f64 = 0.01;

/// Plays every clip backwards and frozen. `signals` are the rewards of `samples` as recorded.
pub fn play(
    model: &dyn RewardModel,
    samples: &[&Sample],
    signals: &[&Signal],
) -> Result<Vec<Played>, RewardError> {
    let all: Vec<f64> = signals.iter().flat_map(|s| s.per_step.clone()).collect();
    let unit = deviation(&all);
    let unit = if unit > 0.0 { unit } else { 1.0 };
    let mut played = Vec::with_capacity(samples.len());
    for (sample, signal) in samples.iter().zip(signals) {
        let backwards = score(model, &Playback::Backwards.of(&sample.clip))?.per_step;
        let frozen = score(model, &Playback::Frozen.of(&sample.clip))?.per_step;
        let real = &signal.per_step;
        played.push(Played {
            forwards: value_order_correlation(real),
            backwards: value_order_correlation(&backwards),
            return_over_backwards: (mean(real) - mean(&backwards)) / unit,
            return_over_frozen: (mean(real) - mean(&frozen)) / unit,
            rise: (ending(real) - beginning(real)) / unit,
            frozen_rise: (ending(&frozen) - beginning(&frozen)) / unit,
        });
    }
    Ok(played)
}

impl Played {
    /// How well the reward at each step tells forwards from backwards: half the difference of its rank correlations with time, 1
    /// at best. A constant reward has 0.
    pub fn direction(&self) -> f64 {
        (self.forwards.unwrap_or(0.0) - self.backwards.unwrap_or(0.0)) / 2.0
    }

    /// 1 when the whole clip is worth more than its reverse, 0 when less, a half when they are equal to within [`EQUAL`].
    pub fn prefers_forwards(&self) -> f64 {
        preference(self.return_over_backwards)
    }

    /// The same over the frozen clip.
    pub fn prefers_moving(&self) -> f64 {
        preference(self.return_over_frozen)
    }

    /// True when the reward rises over the clip and not over its frozen first frame (by less than a quarter as much).
    pub fn needs_movement(&self) -> bool {
        self.rise > EQUAL && self.frozen_rise < 0.25 * self.rise
    }
}

fn preference(gap: f64) -> f64 {
    if gap > EQUAL {
        1.0
    } else if gap < -EQUAL {
        0.0
    } else {
        0.5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_is_rearranged_with_its_other_channels() {
        let mut clip = Clip::from_features(Features::new(1, vec![1.0, 2.0, 3.0]), 10.0);
        clip.columns
            .insert("a".into(), Features::new(2, vec![1., 1., 2., 2., 3., 3.]));
        clip.columns.insert("b".into(), Features::new(1, vec![9.0]));
        let back = Playback::Backwards.of(&clip);
        assert_eq!(back.features.as_slice(), [3.0, 2.0, 1.0]);
        assert_eq!(back.columns["a"].as_slice(), [3., 3., 2., 2., 1., 1.]);
        assert_eq!(back.columns["b"].as_slice(), [9.0]);
        let frozen = Playback::Frozen.of(&clip);
        assert_eq!(frozen.features.as_slice(), [1.0, 1.0, 1.0]);
        assert_eq!(frozen.len(), 3);
        assert!(Playback::Frozen.of(&Clip::default()).is_empty());
    }

    #[test]
    fn equal_returns_are_half_a_preference() {
        assert_eq!(preference(0.5), 1.0);
        assert_eq!(preference(-0.5), 0.0);
        assert_eq!(preference(0.001), 0.5);
    }
}
