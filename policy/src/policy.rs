//! The [`Policy`] and [`Learner`] traits.

use std::collections::BTreeMap;
use std::path::Path;

/// Whether an action is to try something out or to do the best known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Sample, for learning.
    Explore,
    /// The mean, for evaluation and deployment.
    Exploit,
}

/// Named numbers of one update, for `metrics.jsonl` and the viewer.
pub type Metrics = BTreeMap<String, f64>;

/// One step of experience.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// Observation, `[obs_dim]`.
    pub observation: Vec<f32>,
    /// Action in `-1..=1`, `[action_dim]`.
    pub action: Vec<f32>,
    /// Reward of the step.
    pub reward: f32,
    /// Observation after it, `[obs_dim]`.
    pub next_observation: Vec<f32>,
    /// The task ended here: no value after it.
    pub terminated: bool,
    /// The clock ended the episode here: the value goes on.
    pub truncated: bool,
}

/// Why a policy could not act, learn, be written or be read.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A number that is not one, with the tensor it is in.
    #[error("{tensor} is not finite at update {update}; the last good checkpoint is kept")]
    NotFinite {
        /// Which tensor.
        tensor: String,
        /// When.
        update: u64,
    },
    /// A checkpoint that cannot be used.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: String,
        /// What is wrong, and what to do.
        cause: String,
    },
    /// Anything else, in one sentence.
    #[error("{0}")]
    Other(String),
}

/// Chooses actions.
pub trait Policy: Send {
    /// Width of an observation.
    fn observation_dim(&self) -> usize;

    /// Width of an action.
    fn action_dim(&self) -> usize;

    /// Action in `-1..=1`, `[action_dim]`, for an observation `[obs_dim]`.
    fn act(&mut self, observation: &[f32], mode: Mode) -> Result<Vec<f32>, PolicyError>;

    /// Called at the start of each episode.
    fn reset(&mut self) {}
}

/// A policy that improves.
pub trait Learner: Policy {
    /// Takes in one episode, in order, rewards already labelled.
    fn observe(&mut self, episode: &[Transition]) -> Result<(), PolicyError>;

    /// One gradient step.
    fn update(&mut self) -> Result<Metrics, PolicyError>;

    /// Writes everything that is needed to go on exactly: networks, optimiser, replay, random state. Atomic.
    fn save(&self, dir: &Path) -> Result<(), PolicyError>;
}
