//! Logged runs: the states of a model and the actions between them, to be looked at again later.
//!
//! Pictures are the expensive part of a recording. A run that is logged as states costs a few hundred bytes a step; drawing
//! it from any camera, in any size, can wait. [`Log`] is such a run in memory, [`Playback`] shows it again moment by moment.
//! [`StateLogWriter`] and [`read`] keep runs of one's own on disk; [`robosuite`](crate::robosuite) reads other people's.

mod layout;
mod playback;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::path::PathBuf;
use std::sync::Arc;

use mujoco_rs::prelude::*;
use mujoco_rs::wrappers::mj_data::MjData;
use serde::{Deserialize, Serialize};

use crate::world::WorldError;

pub use layout::{Channel, Layout};
pub use playback::Playback;
pub use read::read;
pub use write::{ActionComponent, StateLogConfig, StateLogWriter, Step};

/// Name of the description in a folder of logged runs.
pub const DESCRIPTION: &str = "log.json";

/// What `format` says in `log.json`. The number goes up when older programs can no longer read the folder.
pub const FORMAT: &str = "rapport states 1";

/// Parts of MuJoCo's state that a log may hold, in MuJoCo's own order, which is the order in a row.
const PARTS: [(&str, MjtState); 13] = [
    ("time", MjtState::mjSTATE_TIME),
    ("qpos", MjtState::mjSTATE_QPOS),
    ("qvel", MjtState::mjSTATE_QVEL),
    ("act", MjtState::mjSTATE_ACT),
    ("warmstart", MjtState::mjSTATE_WARMSTART),
    ("ctrl", MjtState::mjSTATE_CTRL),
    ("qfrc_applied", MjtState::mjSTATE_QFRC_APPLIED),
    ("xfrc_applied", MjtState::mjSTATE_XFRC_APPLIED),
    ("eq_active", MjtState::mjSTATE_EQ_ACTIVE),
    ("mocap_pos", MjtState::mjSTATE_MOCAP_POS),
    ("mocap_quat", MjtState::mjSTATE_MOCAP_QUAT),
    ("userdata", MjtState::mjSTATE_USERDATA),
    ("plugin", MjtState::mjSTATE_PLUGIN),
];

/// What a picture of a moment needs: time, positions, velocities, activations, and where mocap bodies are.
pub const VISIBLE: [&str; 6] = ["time", "qpos", "qvel", "act", "mocap_pos", "mocap_quat"];

/// Why a log cannot be read, written or shown.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file cannot be read or written.
    #[error("cannot {what} {}: {error}", path.display())]
    Io {
        /// What was tried, `read`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {why}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// What was given to the writer does not fit.
    #[error("state log: {0}")]
    Config(String),
    /// A logged state makes no sense.
    #[error("{name}, state {row}: {error}")]
    State {
        /// The run.
        name: String,
        /// Number of the state.
        row: usize,
        /// What is wrong with it.
        error: WorldError,
    },
}

impl LogError {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>, error: std::io::Error) -> Self {
        Self::Io {
            what,
            path: path.into(),
            error,
        }
    }

    pub(crate) fn invalid(path: impl Into<PathBuf>, why: impl Into<String>) -> Self {
        Self::Invalid {
            path: path.into(),
            why: why.into(),
        }
    }
}

/// What a component of an action means. It decides what a row that stands for several logged steps holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// Where something should be: of several, the last.
    #[default]
    Goal,
    /// How fast something should go: of several, the mean.
    Rate,
}

/// Numbers in rows of equal length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    width: usize,
    values: Vec<f64>,
}

impl Table {
    /// A table of rows of `width` numbers. None when the values are no whole number of rows.
    pub fn new(width: usize, values: Vec<f64>) -> Option<Self> {
        let whole = width > 0 && values.len().is_multiple_of(width);
        whole.then_some(Self { width, values })
    }

    /// Numbers in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Row number `i`.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.width..][..self.width]
    }
}

/// What a referee says about a state.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Reward for having come to the state.
    pub reward: f64,
    /// Whether the task is done in it.
    pub success: bool,
}

/// Somebody who knows whether the task is done.
pub trait Referee: Send + Sync {
    /// The verdict on state number `row`, which `data` shows, everything derived from it included.
    fn judge(&self, row: usize, data: &MjData<Arc<MjModel>>) -> Verdict;
}

/// One logged run.
pub struct Log {
    /// What to call it in messages, `lift`.
    pub name: String,
    /// The task in words.
    pub instruction: String,
    /// What LeRobot calls the robot.
    pub robot_type: String,
    /// States a second of simulated time.
    pub rate_hz: f64,
    /// The model.
    pub model: Arc<MjModel>,
    /// What a state holds, bits of `mjtState`.
    pub(crate) parts: u32,
    /// States, `[n, ...]`.
    pub states: Table,
    /// Actions, `[m, action_dim]`. Action `i` was taken in state `i`; `m` is `n - 1`, or `n` where the outcome of the last
    /// action was not logged.
    pub actions: Table,
    /// Names of the components of an action and what they mean, `[action_dim]`.
    pub action: Vec<(String, Meaning)>,
    /// What of the state a policy may see, and what is the environment's.
    pub layout: Layout,
    /// Further columns by name, one row for each action.
    pub columns: Vec<(String, Table)>,
    /// Who knows the truth, if anybody does.
    pub referee: Option<Box<dyn Referee>>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("name", &self.name)
            .field("states", &self.states.len())
            .field("actions", &self.actions.len())
            .finish_non_exhaustive()
    }
}

impl Log {
    /// Names of the model's cameras.
    pub fn cameras(&self) -> Vec<String> {
        (0..self.model.ncam() as usize)
            .filter_map(|id| self.model.id_to_name(MjtObjBase::mjOBJ_CAMERA, id))
            .map(String::from)
            .collect()
    }

    /// The further column called `name`.
    pub fn column(&self, name: &str) -> Option<&Table> {
        let mut columns = self.columns.iter();
        columns
            .find(|(known, _)| known == name)
            .map(|(_, table)| table)
    }

    /// The action of a row that stands for the logged actions `first..end`, see [`Meaning`].
    pub fn action_over(&self, first: usize, end: usize) -> Vec<f64> {
        let end = end.clamp(first + 1, self.actions.len());
        self.action
            .iter()
            .enumerate()
            .map(|(i, (_, meaning))| match meaning {
                Meaning::Goal => self.actions.row(end - 1)[i],
                Meaning::Rate => {
                    let sum: f64 = (first..end).map(|row| self.actions.row(row)[i]).sum();
                    sum / (end - first) as f64
                }
            })
            .collect()
    }
}
