//! The [`Policy`] and [`Learner`] traits.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rapport_reward::Relabel;

use crate::checkpoint::PolicySpec;
use crate::replay::Replay;

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

/// A reward that is asked when a batch is drawn, because it changes while the policy learns. Its inputs are an observation and the
/// action behind it, `[batch, obs_dim + action_dim]`.
pub type Rewarder = Arc<dyn Relabel + Send + Sync>;

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

    /// Observations, the newest included, that [`Policy::chunk`] looks back on.
    fn looks(&self) -> usize {
        1
    }

    /// Actions that one look gives: what [`Policy::chunk`] is long.
    fn chunk_len(&self) -> usize {
        1
    }

    /// The next actions in `-1..=1`, `[chunk_len, action_dim]`, from the newest observations `[looks][obs_dim]`, oldest first; the
    /// oldest stands for those before it. The first action belongs to the newest observation. For whoever executes chunks in a
    /// way of their own, such as [`crate::ChunkQueue`]: what [`Policy::act`] has yet to give is not touched.
    fn chunk(&mut self, recent: &[&[f32]]) -> Result<Vec<f32>, PolicyError> {
        self.act(newest(recent)?, Mode::Exploit)
    }
}

/// An action to be done, unless a number of it is none.
pub(crate) fn finite(action: Vec<f32>) -> Result<Vec<f32>, PolicyError> {
    match action.iter().position(|a| !a.is_finite()) {
        None => Ok(action),
        Some(at) => Err(PolicyError::NotFinite {
            tensor: format!("action[{at}]"),
            update: 0,
        }),
    }
}

/// The last of some observations.
pub(crate) fn newest<'o>(recent: &[&'o [f32]]) -> Result<&'o [f32], PolicyError> {
    recent
        .last()
        .copied()
        .ok_or_else(|| PolicyError::Other("a chunk of actions needs an observation".into()))
}

/// Acts at random, every action in `-1..=1` as likely: how exploring begins.
#[derive(Clone, Debug)]
pub struct UniformPolicy {
    widths: (usize, usize),
    rng: ChaCha8Rng,
}

impl UniformPolicy {
    /// For observations and actions of these widths.
    pub fn new(spec: &PolicySpec, seed: u64) -> Self {
        Self {
            widths: (spec.observation_dim, spec.action_dim),
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }
}

impl Policy for UniformPolicy {
    fn observation_dim(&self) -> usize {
        self.widths.0
    }

    fn action_dim(&self) -> usize {
        self.widths.1
    }

    fn act(&mut self, _: &[f32], _: Mode) -> Result<Vec<f32>, PolicyError> {
        Ok((0..self.widths.1)
            .map(|_| self.rng.random_range(-1.0..=1.0))
            .collect())
    }
}

/// A policy that improves by practice.
///
/// Whoever joins environment, reward and learner asks [`Policy::act`] for actions, hands over what they led to, and makes the
/// updates that are due:
///
/// ```text
/// observe(steps) ; while updates_due() > 0 { update() }
/// ```
pub trait Learner: Policy {
    /// What it sees and does.
    fn spec(&self) -> &PolicySpec;

    /// Takes in consecutive steps of one episode, in order, rewards already labelled: a whole episode, or where rewards do not
    /// wait for its end a piece of it. Only the last step may end the episode.
    fn observe(&mut self, steps: &[Transition]) -> Result<(), PolicyError>;

    /// Takes in one demonstration, with rewards already labelled, where the learner can use demonstrations.
    fn observe_demonstration(&mut self, episode: &[Transition]) -> Result<(), PolicyError>;

    /// Steps observed in the task, demonstrations not counted.
    fn steps(&self) -> u64;

    /// Episodes whose end was observed, demonstrations not counted.
    fn episodes(&self) -> u64;

    /// Gradient steps made.
    fn updates(&self) -> u64;

    /// Gradient steps that the configuration asks for after what was observed, and that were not made yet.
    fn updates_due(&self) -> u64;

    /// One gradient step.
    fn update(&mut self) -> Result<Metrics, PolicyError>;

    /// A copy of what acts, for evaluation or for other threads. Its noise is its own: acting with it changes nothing here.
    fn actor(&self) -> Box<dyn Policy>;

    /// Like [`Learner::actor`], but one that explores as the learner itself would now, with noise drawn from `seed`: for whoever
    /// plays episodes beside the learning.
    fn explorer(&self, seed: u64) -> Box<dyn Policy>;

    /// Stored experience, demonstrations last, for relabelling when the reward changes; empty for learners that keep none.
    fn replays(&mut self) -> Vec<&mut Replay> {
        Vec::new()
    }

    /// From now on, the rewards of a batch are what `rewarder` says of it, whatever was stored with its steps; it is not saved.
    /// Fails for learners that draw no batches from stored experience, and for targets that look several steps ahead.
    fn set_rewarder(&mut self, _: Rewarder) -> Result<(), PolicyError> {
        Err(PolicyError::Other(
            "this learner keeps no experience whose rewards could be asked for again; use td3 or sac".into(),
        ))
    }

    /// Writes everything that is needed to go on exactly: networks, optimiser, replay, random state. Atomic.
    fn save(&self, dir: &Path) -> Result<(), PolicyError>;

    /// Writes what deployment needs and no more. Atomic.
    fn save_policy(&self, dir: &Path) -> Result<(), PolicyError>;
}
