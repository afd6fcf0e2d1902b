//! [`examine`]: every check of a reward on recorded clips, and the verdict.
//!
//! A live reward (one that is known at every step, [`RewardModel::causal`]) is judged by how it goes up and down within a clip; a
//! reward of whole episodes by what clips are worth as wholes, since that is all it says.

mod agreement;
mod evidence;
mod hacking;
mod insight;
mod video;

use serde::{Deserialize, Serialize};

use super::calibration::Calibration;
use super::climb::{ClimbConfig, Rung};
use super::corruption::CorruptionConfig;
use super::economy::Sampling;
use super::pressure::{Point, Turn};
use super::probe::{Probe, ProbeConfig};
use super::sample::Sample;
use super::verdict::{Check, Verdict, overall, summary};
use crate::model::{RewardError, RewardModel};

use evidence::Evidence;

/// How a reward is examined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExamineConfig {
    /// Stretches that a clip is cut into where stretches are compared.
    pub stretches: usize,
    /// Planted corruptions.
    pub corruption: CorruptionConfig,
    /// Linear probes.
    pub probe: ProbeConfig,
    /// The search for what the reward likes best.
    pub climb: ClimbConfig,
    /// Seed of everything drawn by lot.
    pub seed: u64,
}

impl Default for ExamineConfig {
    fn default() -> Self {
        Self {
            stretches: 4,
            corruption: CorruptionConfig::default(),
            probe: ProbeConfig::default(),
            climb: ClimbConfig::default(),
            seed: 0,
        }
    }
}

impl ExamineConfig {
    /// Fails on settings that make no sense.
    pub fn validate(&self) -> Result<(), RewardError> {
        if self.stretches == 0 {
            return Err(RewardError::Other(
                "clips must be cut into at least one stretch".into(),
            ));
        }
        self.corruption.validate()?;
        self.probe.validate()?;
        self.climb.validate()
    }
}

/// A clip that was not examined, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its index among the samples.
    pub clip: usize,
    /// Why.
    pub reason: String,
}

/// What an examination found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Examination {
    /// The answer in a word.
    pub verdict: Verdict,
    /// The answer for a layman.
    pub summary: String,
    /// Every question and its answer.
    pub checks: Vec<Check>,
    /// Clips examined.
    pub clips: usize,
    /// Clips that could not be scored.
    pub left_out: Vec<LeftOut>,
    /// Best-of-N by the reward: reward and truth under growing pressure. Empty where it cannot be drawn.
    pub pressure: Vec<Point>,
    /// Where the truth turns along it.
    pub turn: Option<Turn>,
    /// The search through the space of features. Empty where it cannot be made.
    pub climb: Vec<Rung>,
    /// What can be read off what the reward looks at.
    pub probes: Vec<Probe>,
    /// Share of questions about the scene that those numbers answer, beyond guessing.
    pub utility: Option<f64>,
    /// How honest the reward's own uncertainty is, where it has one.
    pub calibration: Option<Calibration>,
    /// How many frames are enough.
    pub sampling: Vec<Sampling>,
}

impl Examination {
    /// The check of that name.
    pub fn check(&self, id: &str) -> Option<&Check> {
        self.checks.iter().find(|c| c.id == id)
    }

    /// Adds a check that was made elsewhere, and judges anew.
    pub fn add(&mut self, check: Check) {
        self.checks.push(check);
        self.verdict = overall(&self.checks);
        self.summary = summary(&self.checks);
    }
}

/// Examines a reward. Clips that cannot be scored are left out, with the reason. Fails on settings that make no sense, when what
/// is known about a clip does not fit it, and when no clip can be scored.
pub fn examine(
    model: &dyn RewardModel,
    samples: &[Sample],
    config: &ExamineConfig,
) -> Result<Examination, RewardError> {
    config.validate()?;
    let (evidence, left_out) = Evidence::gather(model, samples, config)?;
    let (pressure_check, pressure, turn) = hacking::pressure(&evidence);
    let (climb_check, climb) = hacking::holes(&evidence);
    let (probe_check, probes, utility) = insight::probes(&evidence);
    let (calibration_check, calibration) = insight::uncertainty(&evidence);
    let (sampling_check, sampling) = insight::economy(&evidence);
    let checks = vec![
        agreement::varies(&evidence),
        agreement::truth(&evidence),
        agreement::pairs(&evidence),
        pressure_check,
        video::backwards(&evidence),
        video::frozen(&evidence),
        climb_check,
        agreement::time(&evidence),
        agreement::epic(&evidence),
        video::outcome(&evidence),
        video::process(&evidence),
        video::corruption(&evidence),
        agreement::steps(&evidence),
        probe_check,
        calibration_check,
        sampling_check,
    ];
    Ok(Examination {
        verdict: overall(&checks),
        summary: summary(&checks),
        clips: evidence.samples.len(),
        checks,
        left_out,
        pressure,
        turn,
        climb,
        probes,
        utility,
        calibration,
        sampling,
    })
}

#[cfg(test)]
mod tests;
