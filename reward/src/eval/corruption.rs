//! Corruption localisation: frames of another clip are put into a good one; does the reward show where?
//!
//! After ViCrit (arXiv 2506.10128), which asks a model to find one planted error. Here five frames from the beginning of another
//! demonstration replace five in the second half of this one: the work is undone for half a second.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::Features;
use serde::{Deserialize, Serialize};

use super::sample::{Sample, score};
use crate::model::{Clip, RewardError, RewardModel};

/// How corruptions are planted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorruptionConfig {
    /// Frames replaced in each trial.
    pub frames: usize,
    /// Trials.
    pub trials: usize,
}

impl Default for CorruptionConfig {
    fn default() -> Self {
        Self {
            frames: 5,
            trials: 60,
        }
    }
}

impl CorruptionConfig {
    /// Fails without frames or trials.
    pub fn validate(&self) -> Result<(), RewardError> {
        if self.frames == 0 || self.trials == 0 {
            return Err(RewardError::Other(
                "a corruption test needs at least one frame and one trial".into(),
            ));
        }
        Ok(())
    }
}

/// In how many trials the reward pointed at the corrupted frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Located {
    /// Trials made.
    pub trials: usize,
    /// The least reward of the clip was in the corrupted span.
    pub by_minimum: usize,
    /// The deepest dip below the running median was: fair to rewards that begin low and rise.
    pub by_dip: usize,
}

/// Plants corruptions and looks for them. None without two clips that are long enough (four times the corrupted span).
pub fn locate(
    model: &dyn RewardModel,
    samples: &[&Sample],
    config: &CorruptionConfig,
    seed: u64,
) -> Result<Option<Located>, RewardError> {
    config.validate()?;
    let span = config.frames;
    let usable: Vec<&Clip> = samples
        .iter()
        .map(|s| &s.clip)
        .filter(|c| c.len() >= 4 * span)
        .collect();
    if usable.len() < 2 {
        return Ok(None);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut found = Located::default();
    for _ in 0..config.trials {
        let host = rng.random_range(0..usable.len());
        let guest = (host + rng.random_range(1..usable.len())) % usable.len();
        let (host, guest) = (usable[host], usable[guest]);
        let at = rng.random_range(host.len() / 2..=host.len() - span);
        let from = rng.random_range(0..=guest.len() / 20);
        let rewards = score(model, &planted(host, guest, at, from, span))?.per_step;
        let inside = |t: Option<usize>| t.is_some_and(|t| (at..at + span).contains(&t));
        found.trials += 1;
        found.by_minimum += usize::from(inside(lowest(&rewards)));
        found.by_dip += usize::from(inside(deepest_dip(&rewards, 2 * span)));
    }
    Ok(Some(found))
}

/// `host` with `span` frames from `at` on replaced by those of `guest` from `from` on. Channels that both have are replaced too.
fn planted(host: &Clip, guest: &Clip, at: usize, from: usize, span: usize) -> Clip {
    let put = |host: &Features, guest: &Features| {
        let dim = host.dim();
        let mut values = host.as_slice().to_vec();
        values[at * dim..(at + span) * dim]
            .copy_from_slice(&guest.as_slice()[from * dim..(from + span) * dim]);
        Features::new(dim, values)
    };
    let columns = host.columns.iter().map(|(name, column)| {
        let other = guest.columns.get(name).filter(|other| {
            other.dim() == column.dim() && column.len() == host.len() && other.len() == guest.len()
        });
        let column = other.map_or_else(|| column.clone(), |other| put(column, other));
        (name.clone(), column)
    });
    Clip {
        features: put(&host.features, &guest.features),
        columns: columns.collect(),
        fps: host.fps,
    }
}

/// The step with the least value. None when all are equal.
fn lowest(values: &[f64]) -> Option<usize> {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (high > low)
        .then(|| values.iter().position(|&v| v == low))
        .flatten()
}

/// The step that is furthest below the median of the steps up to `reach` away. None when none is below it.
fn deepest_dip(values: &[f64], reach: usize) -> Option<usize> {
    let mut deepest: Option<(usize, f64)> = None;
    for t in 0..values.len() {
        // A window of one length everywhere: at the ends it leans inwards.
        let start = t
            .saturating_sub(reach)
            .min(values.len().saturating_sub(2 * reach + 1));
        let mut window = values[start..(start + 2 * reach + 1).min(values.len())].to_vec();
        window.sort_by(f64::total_cmp);
        let depth = window[window.len() / 2] - values[t];
        if depth > deepest.map_or(0.0, |(_, d)| d) {
            deepest = Some((t, depth));
        }
    }
    deepest.map(|(t, _)| t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dip_is_found_in_a_rising_reward_and_its_start_is_none() {
        let mut rising: Vec<f64> = (0..40).map(f64::from).collect();
        rising[25] = 4.0;
        rising[26] = 5.0;
        assert_eq!(lowest(&rising), Some(0));
        assert_eq!(deepest_dip(&rising, 4), Some(25));
        assert_eq!(deepest_dip(&[1.0; 9], 2), None);
        assert_eq!(lowest(&[1.0; 9]), None);
        assert_eq!(lowest(&[]), None);
    }

    #[test]
    fn planting_replaces_the_span_and_nothing_else() {
        let clip = |v: f32| Clip::from_features(Features::new(1, vec![v; 6]), 10.0);
        let planted = planted(&clip(0.0), &clip(1.0), 2, 1, 3);
        assert_eq!(planted.features.as_slice(), [0.0, 0.0, 1.0, 1.0, 1.0, 0.0]);
    }
}
