//! Demonstrations that people gave in robosuite 1.0.1: a Panda arm, driven by hand through a device, in simulation.
//!
//! The wheel holds, for each task, the states and actions of one run (HDF5) and the model it ran in (MJCF), but no pictures.
//! [`Robosuite`] finds them in a wheel or in its unpacked folder and makes a [`Log`] of each, with the success condition of
//! robosuite's own source, so that a [`Playback`](crate::log::Playback) can show, judge and draw them.
//!
//! What was found in the files, and what follows from it:
//! - States come at 20 Hz: `time`, `qpos`, `qvel`. The first is the state after the first control step, 0.052 s.
//! - Action `i` was taken in state `i`: the first finger movement after a gripper command shows one state later. The state
//!   after the last action was not kept.
//! - An action is six numbers in -1..=1 for the controller of the hand (a step of up to 0.05 m and 0.5 rad in the world
//!   frame) and one for the gripper, -1 open, 1 closed.

mod archive;
mod hdf5;
mod model;
mod task;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mujoco_rs::prelude::*;

use crate::assets::{MissingAsset, Package, ROBOSUITE};
use crate::log::{Channel, Layout, Log, Meaning, Table};

pub use task::Task;

use archive::Archive;

/// Names of the components of an action: steps of the hand along and about the axes of the world, and the gripper.
pub const ACTION: [&str; 7] = ["dx", "dy", "dz", "drx", "dry", "drz", "gripper"];

/// Parts of a state, in the order of a row: MuJoCo's own.
const STATE: u32 =
    MjtState::mjSTATE_TIME as u32 | MjtState::mjSTATE_QPOS as u32 | MjtState::mjSTATE_QVEL as u32;

/// Why a demonstration cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RobosuiteError {
    /// Nothing is there.
    #[error(transparent)]
    Missing(#[from] MissingAsset),
    /// Something is there, but it is not robosuite.
    #[error(
        "{} holds no robosuite demonstrations: there is no robosuite/models/assets/demonstrations in it; run `./x assets {}` for {}",
        path.display(), package.folder, package.wheel
    )]
    NoDemonstrations {
        /// The folder or wheel.
        path: PathBuf,
        /// Where they would come from.
        package: Package,
    },
    /// The wheel cannot be unpacked.
    #[error("{} cannot be unpacked: {why}", path.display())]
    Wheel {
        /// The wheel.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// The file of states and actions is damaged or of another kind.
    #[error("{} is no demonstration of robosuite: {why}", path.display())]
    Demonstration {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The model does not compile, or lacks what the task needs.
    #[error("the model {} cannot be used: {why}", path.display())]
    Model {
        /// The model.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// A demonstration that was found and not yet read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its folder's name, `lift`.
    pub name: String,
    /// The robot, `panda`.
    pub robot: String,
    /// The file of states and actions.
    pub file: PathBuf,
}

/// The demonstrations of one robosuite package.
#[derive(Debug)]
pub struct Robosuite {
    archive: Archive,
}

impl Robosuite {
    /// Opens a wheel (`.whl`) or a folder into which one was unpacked. A wheel's models, meshes and textures are unpacked
    /// into a temporary folder that goes when this does.
    ///
    /// Errors: [`RobosuiteError`] names what is missing and the command that fetches it.
    pub fn open(path: &Path) -> Result<Self, RobosuiteError> {
        Ok(Self {
            archive: Archive::open(path)?,
        })
    }

    /// The package that `./x assets robosuite` fetched.
    ///
    /// Errors: [`RobosuiteError::Missing`] when it was not.
    pub fn installed() -> Result<Self, RobosuiteError> {
        Self::open(&ROBOSUITE.file("")?)
    }

    /// What is in it, by name.
    ///
    /// Errors: when a folder cannot be read.
    pub fn demonstrations(&self) -> Result<Vec<Found>, RobosuiteError> {
        let root = self.archive.assets().join("demonstrations");
        let mut found = Vec::new();
        for task in folders(&root)? {
            for robot in folders(&task)? {
                let file = robot.join("demo.hdf5");
                if file.is_file() {
                    found.push(Found {
                        name: name_of(&task),
                        robot: name_of(&robot),
                        file,
                    });
                }
            }
        }
        Ok(found)
    }

    /// Which task a demonstration is of. None: none whose success this program can judge; the name of the environment says
    /// which.
    ///
    /// Errors: when the file is damaged.
    pub fn task(&self, found: &Found) -> Result<(String, Option<Task>), RobosuiteError> {
        let name = hdf5::read(&found.file)?.environment;
        let task = Task::by_environment(&name);
        Ok((name, task))
    }

    /// Reads the runs of a demonstration, in the order of their numbers, and compiles their models.
    ///
    /// Errors: for files that are damaged or missing, models that do not compile, states that do not fit, and tasks whose
    /// success cannot be judged.
    pub fn load(&self, found: &Found) -> Result<Vec<Log>, RobosuiteError> {
        let recorded = hdf5::read(&found.file)?;
        let task = Task::by_environment(&recorded.environment).ok_or_else(|| {
            RobosuiteError::Demonstration {
                path: found.file.clone(),
                why: format!(
                    "the success of {} cannot be judged; known are: {}",
                    recorded.environment,
                    Task::ALL.map(Task::environment).join(", ")
                ),
            }
        })?;
        let count = recorded.runs.len();
        recorded
            .runs
            .into_iter()
            .map(|run| {
                let path = found.file.with_file_name("models").join(&run.model);
                let name = if count == 1 {
                    found.name.clone()
                } else {
                    format!("{} {}", found.name, run.name)
                };
                self.log(name, task, &found.file, run, &path)
            })
            .collect()
    }

    fn log(
        &self,
        name: String,
        task: Task,
        file: &Path,
        run: hdf5::Run,
        path: &Path,
    ) -> Result<Log, RobosuiteError> {
        let wrong = |why: String| RobosuiteError::Demonstration {
            path: file.to_owned(),
            why: format!("{}: {why}", run.name),
        };
        let model = Arc::new(model::compile(path, self.archive.assets())?);
        let width = model.state_size(STATE);
        if run.states.width() != width {
            return Err(wrong(format!(
                "a state has {} numbers, and {} needs {width}",
                run.states.width(),
                path.display()
            )));
        }
        if run.actions.width() != ACTION.len() {
            return Err(wrong(format!(
                "an action has {} numbers instead of {}",
                run.actions.width(),
                ACTION.len()
            )));
        }
        if run.actions.len() != run.states.len() {
            return Err(wrong(format!(
                "it has {} states and {} actions",
                run.states.len(),
                run.actions.len()
            )));
        }
        let rate_hz = rate(&run.states).map_err(wrong)?;
        let unfit = |why: String| RobosuiteError::Model {
            path: path.to_owned(),
            why,
        };
        let mut action: Vec<_> = ACTION.map(|name| (name.to_owned(), Meaning::Rate)).into();
        if let Some((_, meaning)) = action.last_mut() {
            *meaning = Meaning::Goal;
        }
        Ok(Log {
            name,
            instruction: task.instruction().into(),
            robot_type: "panda".into(),
            rate_hz,
            layout: layout(&model, task).map_err(unfit)?,
            referee: Some(Box::new(task::Judge::new(task, &model).map_err(unfit)?)),
            model,
            parts: STATE,
            states: run.states,
            actions: run.actions,
            action,
            columns: Vec::new(),
        })
    }
}

/// Seven joints and the gripper are the robot's; the task's objects are the environment's.
fn layout(model: &MjModel, task: Task) -> Result<Layout, String> {
    let address = |name: &str| {
        model
            .name_to_id(MjtObjBase::mjOBJ_JOINT, name)
            .map(|id| (model.jnt_qposadr()[id] as usize, model.jnt_range()[id]))
            .ok_or_else(|| format!("it has no joint {name}"))
    };
    let mut robot = Vec::new();
    for joint in 1..=7 {
        let (address, _) = address(&format!("robot0_joint{joint}"))?;
        robot.push(Channel::Joint {
            name: format!("joint{joint}"),
            address,
        });
    }
    let (left, left_range) = address("gripper0_finger_joint1")?;
    let (right, right_range) = address("gripper0_finger_joint2")?;
    let width_m = left_range[1] - right_range[0];
    if width_m <= 0.0 || !width_m.is_finite() {
        return Err(format!("its gripper opens {width_m} m"));
    }
    robot.push(Channel::Opening {
        name: "gripper".into(),
        addresses: [left, right],
        width_m,
    });
    let mut environment = Vec::new();
    for name in task.bodies() {
        let body = model
            .name_to_id(MjtObjBase::mjOBJ_BODY, name)
            .ok_or_else(|| format!("it has no body {name}"))?;
        environment.push(Channel::Body {
            name: (*name).into(),
            body,
        });
    }
    for name in task.joints() {
        environment.push(Channel::Joint {
            name: (*name).into(),
            address: address(name)?.0,
        });
    }
    for name in task.sites() {
        let site = model
            .name_to_id(MjtObjBase::mjOBJ_SITE, name)
            .ok_or_else(|| format!("it has no site {name}"))?;
        environment.push(Channel::Site {
            name: (*name).into(),
            site,
        });
    }
    Ok(Layout { robot, environment })
}

/// States a second, from the times in the states, which must go up evenly.
fn rate(states: &Table) -> Result<f64, String> {
    if states.len() < 2 {
        return Err(format!("it has {} states; a run needs two", states.len()));
    }
    let step = (states.row(states.len() - 1)[0] - states.row(0)[0]) / (states.len() - 1) as f64;
    let uneven = (1..states.len())
        .find(|&i| ((states.row(i)[0] - states.row(i - 1)[0]) - step).abs() > 1e-6);
    if let Some(i) = uneven {
        return Err(format!("the time does not go up evenly at state {i}"));
    }
    if !step.is_finite() || step <= 0.0 {
        return Err(format!("a step takes {step} s"));
    }
    // The logged times carry the rounding of thousands of additions.
    Ok((1.0 / step * 1e3).round() / 1e3)
}

/// The folders in a folder, by name.
fn folders(path: &Path) -> Result<Vec<PathBuf>, RobosuiteError> {
    let io = |error| RobosuiteError::Io {
        path: path.to_owned(),
        error,
    };
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
