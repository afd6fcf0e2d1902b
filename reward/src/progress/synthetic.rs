//! A made world for tests: features of a hidden progress, with a nuisance per clip and per frame, and noise.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::{EncoderSpec, Features};

const DIM: usize = 24;

pub(crate) fn encoder() -> EncoderSpec {
    EncoderSpec {
        name: "made".into(),
        dim: DIM,
        fingerprint: "5e".repeat(32),
    }
}

/// How progress looks.
pub(crate) struct World {
    centres: Vec<f64>,
    nuisance: Vec<f64>,
    /// How loud the nuisance of a clip, and of a frame, is.
    loudness: f64,
    /// Amplitude of the noise on every feature.
    pub noise: f64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Self {
            centres: (0..DIM).map(|_| rng.random_range(-0.2..1.2)).collect(),
            nuisance: (0..DIM).map(|_| rng.random_range(-1.0..1.0)).collect(),
            loudness: 0.8,
            noise: 0.05,
        }
    }

    /// A clip that goes through the given progress.
    pub fn clip(&self, progress: &[f64], seed: u64) -> Features {
        let mut rng = ChaCha8Rng::seed_from_u64(1000 + seed);
        let offset = self.loudness * rng.random_range(-1.0..1.0);
        let mut values = Vec::new();
        for p in progress {
            let offset = offset + self.loudness * rng.random_range(-1.0..1.0);
            for (centre, nuisance) in self.centres.iter().zip(&self.nuisance) {
                let bump = (-(p - centre) * (p - centre) / 0.08).exp();
                let noise = self.noise * rng.random_range(-1.0..1.0);
                values.push((bump + offset * nuisance + noise) as f32);
            }
        }
        Features::new(DIM, values)
    }

    /// Progress from 0 to 1, at a pace of its own.
    pub fn success(&self, frames: usize, seed: u64) -> Features {
        let pace = 0.7 + 0.2 * (seed % 4) as f64;
        let last = (frames.max(2) - 1) as f64;
        let progress: Vec<f64> = (0..frames).map(|t| (t as f64 / last).powf(pace)).collect();
        self.clip(&progress, seed)
    }

    /// Progress up to 0.7, then back to 0.3.
    pub fn near_miss(&self, frames: usize, seed: u64) -> Features {
        let turn = 0.6 * frames as f64;
        let progress: Vec<f64> = (0..frames)
            .map(|t| {
                let t = t as f64;
                if t < turn {
                    0.7 * t / turn
                } else {
                    0.7 - 0.4 * (t - turn) / (frames as f64 - turn)
                }
            })
            .collect();
        self.clip(&progress, seed)
    }

    /// Little progress, and that lost again.
    pub fn failure(&self, frames: usize, seed: u64) -> Features {
        let progress: Vec<f64> = (0..frames)
            .map(|t| 0.15 * (6.0 * t as f64 / frames as f64).sin().abs())
            .collect();
        self.clip(&progress, seed)
    }
}
