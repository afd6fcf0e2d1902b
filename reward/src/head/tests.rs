//! Behaviour of trained heads.

#![allow(
    clippy::print_stdout,
    reason = "the numbers of docs/methods.md, with --no-capture"
)]

mod answers;
mod bad_input;
mod conditions;
mod labels;
mod learning;
mod people;
mod trips;

use rand::{Rng, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::{EncoderSpec, Features};

use super::*;
use crate::model::Clip;

pub(super) fn encoder(dim: usize) -> EncoderSpec {
    EncoderSpec {
        name: "test".into(),
        dim,
        fingerprint: "ab".repeat(32),
    }
}

/// A number near 0 with the spread of a standard normal one (the sum of twelve uniform ones).
pub(super) fn normal(rng: &mut impl Rng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}

/// Clips of `frames` frames of independent normal features.
pub(super) fn clips(count: usize, frames: usize, dim: usize, seed: u64) -> Vec<Clip> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count)
        .map(|_| {
            let values = (0..frames * dim).map(|_| normal(&mut rng) as f32).collect();
            Clip::from_features(Features::new(dim, values), 10.0)
        })
        .collect()
}

/// The sum of `reward` over a clip's frames.
pub(super) fn total(clip: &Clip, reward: impl Fn(&[f32]) -> f64) -> f64 {
    clip.features.rows().map(reward).sum()
}

/// Random pairs of clips, the better one first as often as not.
pub(super) fn compare(
    clips: &[Clip],
    count: usize,
    seed: u64,
    value: impl Fn(&Clip) -> f64,
) -> Pairs {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f64> = clips.iter().map(value).collect();
    let items = (0..count)
        .map(|answer| {
            let first = rng.random_range(0..clips.len());
            let mut second = rng.random_range(0..clips.len() - 1);
            second += usize::from(second >= first);
            let label = f64::from(u8::from(values[first] > values[second]));
            Pair::new(first, second, label, answer)
        })
        .collect();
    Pairs {
        clips: clips.to_vec(),
        items,
        skipped: 0,
    }
}

pub(super) fn quick() -> HeadConfig {
    HeadConfig {
        learning_rate: 1e-2,
        epochs: 30,
        batch: 64,
        ..HeadConfig::default()
    }
}
