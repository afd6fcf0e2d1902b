//! [`BenchConfig`]: what is measured of perceptual steps.

use rapport::reward::StepsConfig;
use rapport::reward::steps::{SegmentationConfig, Weighting};
use rapport::sim::randomise::{Randomisation, Range};
use serde::{Deserialize, Serialize};

use super::staged::Staged;

/// What is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BenchConfig {
    /// Tasks.
    pub tasks: Vec<Staged>,
    /// Numbers of steps, 2 or 3.
    pub steps: Vec<usize>,
    /// Demonstrations learned from; the paper has 11 of pouring.
    pub demonstrations: usize,
    /// Demonstrations kept for the second table.
    pub tests: usize,
    /// Seeds: demonstrations and rooms are new with each.
    pub seeds: u64,
    /// The first of them.
    pub first_seed: u64,
    /// Frozen encoders, whose features stand side by side.
    pub encoders: Vec<String>,
    /// Side of the pictures, pixels.
    pub side: u32,
    /// Least frames of a step.
    pub min_size: usize,
    /// Draws of the baselines for each video.
    pub draws: usize,
    /// What differs between the videos.
    pub rooms: Randomisation,
}

impl Default for BenchConfig {
    fn default() -> Self {
        Self {
            tasks: Staged::ALL.to_vec(),
            steps: vec![2, 3],
            demonstrations: 11,
            tests: 11,
            seeds: 5,
            first_seed: 0,
            encoders: vec!["efficientnet-lite0:block10@112".into()],
            side: 112,
            min_size: 5,
            draws: 200,
            rooms: Randomisation {
                colour: Some(Range::new(-0.25, 0.2)),
                light: Some(Range::new(0.6, 1.4)),
                light_m: Some(Range::new(-0.3, 0.3)),
                camera_m: Some(Range::new(-0.02, 0.02)),
                camera_rad: Some(Range::new(-0.04, 0.04)),
                ..Randomisation::default()
            },
        }
    }
}

impl BenchConfig {
    /// Small enough for a test of the whole way.
    pub fn quick() -> Self {
        Self {
            tasks: vec![Staged::Lift],
            demonstrations: 3,
            tests: 2,
            seeds: 2,
            draws: 50,
            ..Self::default()
        }
    }

    /// Says what is wrong with it, if anything.
    pub fn validate(&self) -> Result<(), String> {
        let check = |holds: bool, sentence: &str| if holds { Ok(()) } else { Err(sentence.into()) };
        check(
            self.steps.iter().all(|steps| (2..=3).contains(steps)),
            "the true steps are known for 2 and 3 steps",
        )?;
        check(
            self.demonstrations > 0 && self.tests > 0 && self.seeds > 0 && self.draws > 0,
            "demonstrations, tests, seeds and draws must be above 0",
        )?;
        check(self.min_size > 0, "the least step has at least one frame")?;
        check(!self.encoders.is_empty(), "name at least one encoder")
    }
}

impl BenchConfig {
    /// How steps are learned.
    pub fn settings(&self, steps: usize, weighting: Weighting) -> StepsConfig {
        StepsConfig {
            segmentation: SegmentationConfig {
                steps,
                min_size: self.min_size,
                weighting,
                ..SegmentationConfig::default()
            },
            ..StepsConfig::default()
        }
    }
}
