//! [`BenchConfig`]: what is measured of the door.

use rapport::policy::search::Pi2Config;
use rapport::reward::StepsConfig;
use rapport::reward::steps::SegmentationConfig;
use serde::{Deserialize, Serialize};

/// What is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BenchConfig {
    /// Seeds: door, demonstrations, start and exploration are new with each.
    pub seeds: u64,
    /// The first of them.
    pub first_seed: u64,
    /// Iterations of PI2; the paper has 11.
    pub iterations: usize,
    /// Rollouts of an iteration; the paper has 10.
    pub rollouts: usize,
    /// Bumps over the episode, for each component of the action.
    pub bumps: usize,
    /// Standard deviation of the exploration, in units of the action.
    pub std: f64,
    /// Factor on that deviation after each iteration.
    pub decay: f64,
    /// Share of rollouts that open the door at the start; the paper has 10 %.
    pub start: f64,
    /// Sizes of disturbance of the demonstration that are tried for the start, in units of the action.
    pub sizes: Vec<f64>,
    /// Random directions of disturbance that are tried.
    pub disturbances: usize,
    /// Rollouts by which a start is judged.
    pub trials: usize,
    /// Videos that the perceptual reward is learned from.
    pub demonstrations: usize,
    /// Steps that are looked for in them.
    pub parts: usize,
    /// Policy steps between two pictures of a rollout.
    pub stride: usize,
    /// Frozen encoder.
    pub encoder: String,
    /// Side of the pictures, pixels.
    pub side: u32,
}

impl Default for BenchConfig {
    fn default() -> Self {
        Self {
            seeds: 5,
            first_seed: 0,
            iterations: 11,
            rollouts: 10,
            bumps: 12,
            std: 0.1,
            decay: 0.93,
            start: 0.1,
            sizes: vec![0.0, 0.05, 0.1, 0.15, 0.2, 0.3],
            disturbances: 3,
            trials: 40,
            demonstrations: 8,
            parts: 3,
            stride: 3,
            encoder: "efficientnet-lite0:block10@112".into(),
            side: 112,
        }
    }
}

impl BenchConfig {
    /// Small enough for a test of the whole way.
    pub fn quick() -> Self {
        Self {
            seeds: 1,
            iterations: 2,
            sizes: vec![0.0, 0.1, 0.2],
            disturbances: 1,
            trials: 10,
            demonstrations: 3,
            stride: 6,
            ..Self::default()
        }
    }

    /// Says what is wrong with it, if anything.
    pub fn validate(&self) -> Result<(), String> {
        let check = |holds: bool, sentence: &str| -> Result<(), String> {
            if holds { Ok(()) } else { Err(sentence.into()) }
        };
        check(
            self.seeds > 0 && self.iterations > 0 && self.demonstrations > 0,
            "seeds, iterations and demonstrations must be above 0",
        )?;
        check(
            self.bumps > 0 && self.stride > 0 && self.side > 0,
            "bumps, stride and side must be above 0",
        )?;
        check(
            !self.sizes.is_empty() && self.disturbances > 0 && self.trials > 1,
            "the start needs a size, a direction and two trials at least",
        )?;
        check(self.parts > 1, "a task has at least two steps")?;
        let pi2 = self.pi2(self.rollouts);
        pi2.validate().map_err(|error| error.to_string())
    }

    /// Settings of PI2 with this many rollouts.
    pub fn pi2(&self, rollouts: usize) -> Pi2Config {
        Pi2Config {
            rollouts,
            std: self.std,
            decay: self.decay,
            ..Pi2Config::default()
        }
    }

    /// How steps are learned.
    pub fn settings(&self) -> StepsConfig {
        StepsConfig {
            segmentation: SegmentationConfig {
                steps: self.parts,
                ..SegmentationConfig::default()
            },
            ..StepsConfig::default()
        }
    }
}
