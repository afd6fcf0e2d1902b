//! [`StateLogWriter`]: runs on disk as states, actions and outcomes, without pictures.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mujoco_rs::prelude::*;
use mujoco_rs::wrappers::mj_data::MjData;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use super::{DESCRIPTION, FORMAT, Layout, LogError, Meaning, PARTS, VISIBLE};
use crate::quiet::quiet_mujoco;

/// What a folder of logged runs holds; it is `log.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateLogConfig {
    /// [`FORMAT`].
    #[serde(default = "format")]
    pub format: String,
    /// States a second of simulated time.
    pub rate_hz: f64,
    /// The task in words.
    pub instruction: String,
    /// What LeRobot calls the robot.
    #[serde(default = "unknown")]
    pub robot_type: String,
    /// Parts of MuJoCo's state that a row holds, in MuJoCo's order: `time`, `qpos`, `qvel`, `act`, `warmstart`, `ctrl`,
    /// `qfrc_applied`, `xfrc_applied`, `eq_active`, `mocap_pos`, `mocap_quat`, `userdata`, `plugin`. Pictures need
    /// [`VISIBLE`].
    #[serde(default = "visible")]
    pub state: Vec<String>,
    /// The components of an action.
    pub action: Vec<ActionComponent>,
    /// Hinges and slides that are the robot's, in the order of `observation.state`. None: every hinge and slide.
    #[serde(default)]
    pub robot: Option<Vec<String>>,
    /// The model, relative to the folder.
    #[serde(default = "scene")]
    pub scene: PathBuf,
}

/// A component of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionComponent {
    /// Its name.
    pub name: String,
    /// What it means.
    #[serde(default)]
    pub meaning: Meaning,
}

fn format() -> String {
    FORMAT.into()
}

fn unknown() -> String {
    "unknown".into()
}

fn visible() -> Vec<String> {
    VISIBLE.map(String::from).into()
}

fn scene() -> PathBuf {
    "scene.xml".into()
}

impl StateLogConfig {
    /// A log of `rate_hz` states a second of a task, with actions that are goals.
    pub fn new<N: Into<String>>(
        rate_hz: f64,
        instruction: &str,
        action: impl IntoIterator<Item = N>,
    ) -> Self {
        let component = |name: N| ActionComponent {
            name: name.into(),
            meaning: Meaning::Goal,
        };
        Self {
            format: format(),
            rate_hz,
            instruction: instruction.into(),
            robot_type: unknown(),
            state: visible(),
            action: action.into_iter().map(component).collect(),
            robot: None,
            scene: scene(),
        }
    }

    /// The bits of the parts of a state.
    ///
    /// Errors: what is wrong with the configuration.
    pub(super) fn check(&self) -> Result<u32, String> {
        if self.format != FORMAT {
            return Err(format!(
                "the format is {:?}, and this program knows {FORMAT:?}",
                self.format
            ));
        }
        if !(self.rate_hz.is_finite() && self.rate_hz > 0.0) {
            return Err(format!("rate_hz is {}, and must be above 0", self.rate_hz));
        }
        if self.instruction.trim().is_empty() {
            return Err("the instruction is empty; say in words what the task is".into());
        }
        if self.action.is_empty() {
            return Err("an action needs a component".into());
        }
        let outside = self.scene.is_absolute()
            || self.scene.components().any(|part| part.as_os_str() == "..");
        if outside {
            return Err(format!(
                "the scene {} must be a file in the folder",
                self.scene.display()
            ));
        }
        let mut bits = 0;
        let mut last = None;
        for name in &self.state {
            let place = PARTS
                .iter()
                .position(|(known, _)| known == name)
                .ok_or_else(|| {
                    let known: Vec<&str> = PARTS.iter().map(|(known, _)| *known).collect();
                    format!("a state has no part {name}; it has: {}", known.join(", "))
                })?;
            if last.is_some_and(|last| last >= place) {
                return Err(format!(
                    "the part {name} of a state is out of MuJoCo's order, or given twice"
                ));
            }
            last = Some(place);
            bits |= PARTS[place].1 as u32;
        }
        if !self.state.iter().any(|name| name == "qpos") {
            return Err("a state without qpos says nothing about where things are".into());
        }
        Ok(bits)
    }
}

/// What a step led to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step<'a> {
    /// The action that was taken, `[action_dim]`.
    pub action: &'a [f64],
    /// Its reward.
    pub reward: f64,
    /// Whether the task is done after it.
    pub success: bool,
}

/// A folder of logged runs being written.
///
/// Every run is a file of its own that appears when it is complete; whatever kills the program loses at most the run that
/// is going on.
#[derive(Debug)]
pub struct StateLogWriter {
    dir: PathBuf,
    parts: u32,
    width: usize,
    action_len: usize,
    states: Vec<f64>,
    actions: Vec<f64>,
    rewards: Vec<f64>,
    successes: Vec<u8>,
    saved: usize,
}

impl StateLogWriter {
    /// A new folder `dir` for runs of the model that `scene` describes (MJCF; files it names are relative to `dir`).
    ///
    /// Errors: [`LogError::Config`] for a configuration that cannot be used, a scene that does not compile, or a folder that
    /// is not empty; [`LogError::Io`].
    pub fn create(dir: &Path, scene: &str, config: &StateLogConfig) -> Result<Self, LogError> {
        let parts = config.check().map_err(LogError::Config)?;
        if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(LogError::Config(format!(
                "{} is not empty; choose a new folder",
                dir.display()
            )));
        }
        let path = dir.join(&config.scene);
        let folder = path.parent().unwrap_or(dir);
        std::fs::create_dir_all(folder).map_err(|e| LogError::io("create", folder, e))?;
        write(&path, scene.as_bytes())?;
        let model = compile(&path).map_err(|why| LogError::invalid(&path, why))?;
        Layout::of(&model, config.robot.as_deref()).map_err(|name| {
            LogError::Config(format!("the scene has no hinge or slide called {name}"))
        })?;
        let text = serde_json::to_vec_pretty(config)
            .map_err(|error| LogError::Config(error.to_string()))?;
        write(&dir.join(DESCRIPTION), &text)?;
        Ok(Self {
            dir: dir.to_owned(),
            parts,
            width: model.state_size(parts),
            action_len: config.action.len(),
            states: Vec::new(),
            actions: Vec::new(),
            rewards: Vec::new(),
            successes: Vec::new(),
            saved: 0,
        })
    }

    /// Begins a run in the state that `data` is in. What was logged since the last save is dropped.
    ///
    /// Errors: [`LogError::Config`] for the data of another model.
    pub fn begin(&mut self, data: &MjData<Arc<MjModel>>) -> Result<(), LogError> {
        self.discard();
        self.push(data)
    }

    /// Logs a step and the state that it led to.
    ///
    /// Errors: [`LogError::Config`] before [`begin`](Self::begin), for an action of another length, for numbers that are not
    /// finite, and for the data of another model. The run is then as it was.
    pub fn step(&mut self, step: Step<'_>, data: &MjData<Arc<MjModel>>) -> Result<(), LogError> {
        if self.states.is_empty() {
            return Err(LogError::Config(
                "a run must begin before its first step".into(),
            ));
        }
        if step.action.len() != self.action_len {
            return Err(LogError::Config(format!(
                "an action has {} numbers instead of {}",
                step.action.len(),
                self.action_len
            )));
        }
        if !step.reward.is_finite() || step.action.iter().any(|value| !value.is_finite()) {
            return Err(LogError::Config(
                "an action or a reward is not finite".into(),
            ));
        }
        self.push(data)?;
        self.actions.extend_from_slice(step.action);
        self.rewards.push(step.reward);
        self.successes.push(u8::from(step.success));
        Ok(())
    }

    fn push(&mut self, data: &MjData<Arc<MjModel>>) -> Result<(), LogError> {
        let state = data.state(self.parts);
        if state.len() != self.width {
            return Err(LogError::Config(format!(
                "a state of this simulation has {} numbers, one of the log's scene {}",
                state.len(),
                self.width
            )));
        }
        if let Some(i) = state.iter().position(|value| !value.is_finite()) {
            return Err(LogError::Config(format!(
                "number {i} of the state is {}",
                state[i]
            )));
        }
        self.states.extend_from_slice(&state);
        Ok(())
    }

    /// Drops the run that is going on.
    pub fn discard(&mut self) {
        self.states.clear();
        self.actions.clear();
        self.rewards.clear();
        self.successes.clear();
    }

    /// Ends the run and writes it. Gives its number.
    ///
    /// Errors: [`LogError::Config`] for a run without a step; [`LogError::Io`], after which the run is still there and can be
    /// saved again.
    pub fn save(&mut self) -> Result<usize, LogError> {
        let steps = self.rewards.len();
        if steps == 0 {
            return Err(LogError::Config(
                "the run has no step, so there is nothing to save".into(),
            ));
        }
        let path = self.dir.join(episode_file(self.saved));
        let (states, actions, rewards) = (
            bytes(&self.states),
            bytes(&self.actions),
            bytes(&self.rewards),
        );
        let view = |name: &'static str, dtype, shape: Vec<usize>, data| {
            TensorView::new(dtype, shape, data)
                .map(|view| (name, view))
                .map_err(|error| LogError::invalid(&path, error.to_string()))
        };
        let tensors = [
            view("state", Dtype::F64, vec![steps + 1, self.width], &states)?,
            view("action", Dtype::F64, vec![steps, self.action_len], &actions)?,
            view("reward", Dtype::F64, vec![steps], &rewards)?,
            view("success", Dtype::U8, vec![steps], &self.successes)?,
        ];
        let file = safetensors::serialize(tensors, None)
            .map_err(|error| LogError::invalid(&path, error.to_string()))?;
        write(&path, &file)?;
        self.discard();
        self.saved += 1;
        Ok(self.saved - 1)
    }
}

/// Name of the file of run number `i`.
pub(super) fn episode_file(i: usize) -> String {
    format!("episode-{i:06}.safetensors")
}

/// Compiles a scene.
pub(super) fn compile(path: &Path) -> Result<MjModel, String> {
    quiet_mujoco();
    MjModel::from_xml(path).map_err(|error| format!("MuJoCo does not compile it: {error}"))
}

fn bytes(values: &[f64]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// Writes a file so that it is there completely or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&partial, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(|error| LogError::io("write", path, error))
}
