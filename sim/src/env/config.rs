//! How a task is run, and what can go wrong with it.

use std::path::PathBuf;

use rapport_robot::CameraError;
use rapport_robot::action::ActionError;
use rapport_robot::guard::{GuardConfig, GuardError, GuardState, Workspace};
use serde::{Deserialize, Serialize};

use crate::arm_config::ArmConfig;
use crate::assets::MissingAsset;
use crate::models::ModelError;
use crate::randomise::Randomisation;
use crate::render::{Backend, Quality, RenderError};
use crate::scene::SceneError;
use crate::tasks::UnknownTask;
use crate::world::WorldError;

/// How a task is run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnvConfig {
    /// Actions per second.
    pub policy_hz: f64,
    /// Joint goals per second; between two actions the goals are interpolated.
    pub control_hz: f64,
    /// Simulated time between placing things and the first observation, s, in which the arm settles under its weight.
    pub settle_s: f64,
    /// Policy steps of an episode. None: what the task says.
    pub max_steps: Option<usize>,
    /// The task of a model of one's own (`mjcf:FILE`, `urdf:FILE`), a [`TaskFile`](crate::models::TaskFile). Its rate counts
    /// there. None: everything is observed and nothing is worth anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_file: Option<PathBuf>,
    /// Width of the pictures, pixels.
    pub image_width: u32,
    /// Height of the pictures, pixels.
    pub image_height: u32,
    /// The limits of the arm.
    pub guard: GuardConfig,
    /// What draws the pictures.
    pub renderer: Backend,
    /// How well they are drawn.
    pub quality: Quality,
    /// The arm's servos and joints, for the tasks of the SO-101.
    pub arm: ArmConfig,
    /// What varies from episode to episode, for the tasks of the SO-101.
    pub randomisation: Randomisation,
}

impl Default for EnvConfig {
    fn default() -> Self {
        Self {
            policy_hz: 10.0,
            control_hz: 50.0,
            settle_s: 0.3,
            max_steps: None,
            task_file: None,
            image_width: 112,
            image_height: 112,
            guard: guard_config(),
            renderer: Backend::default(),
            quality: Quality::default(),
            arm: ArmConfig::default(),
            randomisation: Randomisation::default(),
        }
    }
}

/// The limits for a simulated arm, wherever a program drives one through a guard of its own. The guard's defaults are those
/// of manual operation beside a person: at the pace of these tasks they would shape every step, joint by joint, and the
/// tool would leave the line that the action asks for. These stay below what the servos can do (4.7 rad/s, 3.35 N m on
/// about 0.05 kg m2).
pub fn guard_config() -> GuardConfig {
    let mut config = GuardConfig::simulated();
    config.revolute.velocity = 3.0;
    config.revolute.acceleration = 40.0;
    config.workspace = Some(Workspace {
        speed: 0.4,
        ..Workspace::default()
    });
    config
}

/// Why an environment cannot be made or stepped.
#[derive(Debug, thiserror::Error)]
pub enum EnvError {
    /// The task does not exist.
    #[error(transparent)]
    Task(#[from] UnknownTask),
    /// The scene cannot be built.
    #[error(transparent)]
    Scene(#[from] SceneError),
    /// The simulation does not go on.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The action does not fit the task.
    #[error(transparent)]
    Action(#[from] ActionError),
    /// The guard does not let the arm move.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The guard has stopped following goals.
    #[error("the guard is in state {state:?}: {reason}")]
    Stopped {
        /// Its state.
        state: GuardState,
        /// Why, in words.
        reason: String,
    },
    /// There is no picture.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// A camera failed.
    #[error(transparent)]
    Camera(#[from] CameraError),
    /// A package of models or data is not there.
    #[error(transparent)]
    Asset(#[from] MissingAsset),
    /// A model or task file cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A number of the configuration cannot be used.
    #[error("environment: {0}")]
    Config(String),
}
