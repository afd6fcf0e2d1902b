//! [`ClaimConfig`]: what is measured of the claim.

use serde::{Deserialize, Serialize};

use crate::experiments::filming::Set;
use crate::experiments::manner::Preferred;
use crate::experiments::rivals::{Method, RivalsConfig};

/// What is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClaimConfig {
    /// Tasks.
    pub tasks: Vec<Preferred>,
    /// Looks of the test clips.
    pub sets: Vec<Set>,
    /// Rewards.
    pub methods: Vec<Method>,
    /// Numbers of answers, ascending; a longer list begins with the shorter ones.
    pub answers: Vec<usize>,
    /// The number of answers that tables show.
    pub headline: usize,
    /// Seeds: clips, answers and starting weights are new with each.
    pub seeds: u64,
    /// The first of them.
    pub first_seed: u64,
    /// Clips that the answers are about.
    pub pool: usize,
    /// Clips done well that the person shows, as RAPL's experts.
    pub exemplars: usize,
    /// Held-out clips.
    pub test: usize,
    /// Held-out triplets.
    pub test_triplets: usize,
    /// Least difference of returns that the person notices, as a share of their spread.
    pub gap: f64,
    /// Frames of a clip.
    pub frames: usize,
    /// Side of the pictures, pixels.
    pub side: u32,
    /// Frozen encoder.
    pub encoder: String,
    /// Principal components that rewards with answers see.
    pub components: usize,
    /// How the rewards are learned.
    pub rivals: RivalsConfig,
}

impl Default for ClaimConfig {
    fn default() -> Self {
        Self {
            tasks: vec![Preferred::Avoid, Preferred::Group],
            sets: Set::ALL.to_vec(),
            methods: Method::ALL.to_vec(),
            answers: vec![20, 50, 100, 150, 300],
            headline: 150,
            seeds: 5,
            first_seed: 0,
            pool: 150,
            exemplars: 6,
            test: 48,
            test_triplets: 300,
            gap: 0.05,
            frames: 12,
            side: 112,
            encoder: "efficientnet-lite0:block10@112".into(),
            components: 100,
            rivals: RivalsConfig::default(),
        }
    }
}

impl ClaimConfig {
    /// Small enough for a test of the whole way.
    pub fn quick() -> Self {
        Self {
            answers: vec![10, 30],
            headline: 30,
            seeds: 2,
            pool: 30,
            exemplars: 2,
            test: 12,
            test_triplets: 40,
            frames: 8,
            components: 20,
            rivals: RivalsConfig {
                align: rapport::reward::AlignConfig {
                    epochs: 10,
                    ..RivalsConfig::default().align
                },
                steps: rapport::reward::StepsConfig {
                    segmentation: rapport::reward::steps::SegmentationConfig {
                        min_size: 2,
                        ..Default::default()
                    },
                    ..Default::default()
                },
                ..RivalsConfig::default()
            },
            ..Self::default()
        }
    }

    /// Says what is wrong with it, if anything.
    pub fn validate(&self) -> Result<(), String> {
        let check = |holds: bool, sentence: &str| if holds { Ok(()) } else { Err(sentence.into()) };
        check(
            !self.answers.is_empty() && self.answers.is_sorted() && !self.answers.contains(&0),
            "the numbers of answers must be above 0 and ascend",
        )?;
        check(
            self.answers.contains(&self.headline),
            "the headline number of answers must be one of those measured",
        )?;
        check(self.seeds > 0, "there must be at least one seed")?;
        check(
            self.frames >= 2 && self.exemplars > 0 && self.pool >= 3 && self.test >= 6,
            "a claim needs 2 frames, an exemplar, 3 clips to ask about and 6 to test on",
        )?;
        check(
            (0.0..0.5).contains(&self.gap),
            "the gap must be at least 0 and below a half",
        )
    }
}

impl ClaimConfig {
    /// Numbers of answers at which a method is measured.
    pub fn answers_of(&self, method: Method) -> Vec<usize> {
        if method.asks() {
            self.answers.clone()
        } else {
            vec![0]
        }
    }

    /// The number of answers that tables show of a method.
    pub fn headline_of(&self, method: Method) -> usize {
        if method.asks() { self.headline } else { 0 }
    }

    /// Takes out the sets that cannot be filmed on this machine, and says why.
    pub(super) fn leave_out_what_is_missing(&mut self) -> Vec<(String, String)> {
        let missing = rapport::sim::assets::SO101
            .file("so101_new_calib.xml")
            .err()
            .map(|error| error.to_string());
        let Some(why) = missing else {
            return Vec::new();
        };
        let needs_it = |set: &Set| matches!(set, Set::Arm | Set::RoomAndArm);
        let gone: Vec<_> = self.sets.iter().copied().filter(needs_it).collect();
        self.sets.retain(|set| !needs_it(set));
        gone.into_iter()
            .map(|set| (set.name().into(), why.clone()))
            .collect()
    }
}
