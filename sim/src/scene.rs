//! A scene: the compiled MuJoCo model of arm, table, objects, furniture, lights and cameras, and where in it each thing is.

mod config;
mod fixtures;
pub(crate) mod mjcf;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use mujoco_rs::prelude::*;
use rapport_robot::so101;

pub use config::{
    BLACK, BLUE, Colour, FixtureConfig, FixtureKind, GREEN, MarkConfig, MarkShape, OAK,
    ObjectConfig, ObjectShape, RED, SceneConfig, WHITE,
};

use crate::arm_mjcf;
use crate::quiet::quiet_mujoco;

/// Why there is no scene.
#[derive(Debug, thiserror::Error)]
pub enum SceneError {
    /// A number of the configuration cannot be used.
    #[error("scene: {0}")]
    Config(String),
    /// MuJoCo does not accept the model.
    #[error("MuJoCo does not compile the scene: {0}")]
    Model(String),
    /// A part that the code needs is missing in the model.
    #[error("the scene has no {kind} named {name}")]
    Missing {
        /// What kind of part.
        kind: &'static str,
        /// Its name.
        name: String,
    },
}

/// Addresses of one hinge and its servo.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HingeAddress {
    pub position: usize,
    pub velocity: usize,
    pub servo: usize,
}

/// Addresses of a joint: the first ones of a free body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JointAddress {
    pub position: usize,
    pub velocity: usize,
}

/// Addresses of what opens in a fixture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpeningAddress {
    pub position: usize,
    pub velocity: usize,
    /// How far it is open when closed and at most, m or rad.
    pub range: (f64, f64),
}

/// Addresses of a fixture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FixtureAddress {
    pub mocap: usize,
    /// What opens, if anything does.
    pub joint: Option<OpeningAddress>,
    pub handle: usize,
}

/// A compiled scene, shared by any number of worlds.
pub struct Scene {
    config: SceneConfig,
    model: Arc<MjModel>,
    pub(crate) hinges: Vec<HingeAddress>,
    pub(crate) objects: Vec<JointAddress>,
    pub(crate) fixtures: Vec<FixtureAddress>,
    /// Mocap numbers.
    pub(crate) marks: Vec<usize>,
    pub(crate) tool_site: usize,
}

impl std::fmt::Debug for Scene {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scene")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Names of the cameras of every scene: a low view of the arm and its workspace from the front, one from above, and one on
/// the gripper.
pub const CAMERAS: [&str; 3] = ["front", "top", "wrist"];

impl Scene {
    /// Compiles a scene.
    ///
    /// Errors: [`SceneError::Config`] for sizes that are not positive or a time step outside 0.1 to 10 ms.
    pub fn new(config: SceneConfig) -> Result<Arc<Self>, SceneError> {
        config::check(&config)?;
        quiet_mujoco();
        let model = MjModel::from_xml_string(&mjcf::mjcf(&config))
            .map_err(|error| SceneError::Model(error.to_string()))?;
        let hinges = so101::spec()
            .joints
            .iter()
            .map(|joint| {
                let name = joint.name.as_str();
                let JointAddress { position, velocity } = joint_address(&model, name)?;
                Ok(HingeAddress {
                    position,
                    velocity,
                    servo: find(&model, MjtObjBase::mjOBJ_ACTUATOR, "actuator", name)?,
                })
            })
            .collect::<Result<Vec<_>, SceneError>>()?;
        let objects = config
            .objects
            .iter()
            .map(|object| joint_address(&model, &object.name))
            .collect::<Result<Vec<_>, SceneError>>()?;
        let fixtures = config
            .fixtures
            .iter()
            .map(|fixture| {
                let handle = fixtures::handle(&fixture.name);
                let joint = model
                    .name_to_id(MjtObjBase::mjOBJ_JOINT, &fixture.name)
                    .map(|id| OpeningAddress {
                        position: model.jnt_qposadr()[id] as usize,
                        velocity: model.jnt_dofadr()[id] as usize,
                        range: model.jnt_range()[id].into(),
                    });
                Ok(FixtureAddress {
                    mocap: mocap(&model, &fixture.name)?,
                    joint,
                    handle: find(&model, MjtObjBase::mjOBJ_SITE, "site", &handle)?,
                })
            })
            .collect::<Result<Vec<_>, SceneError>>()?;
        let marks = config
            .marks
            .iter()
            .map(|mark| mocap(&model, &mark.name))
            .collect::<Result<Vec<_>, SceneError>>()?;
        let tool_site = find(&model, MjtObjBase::mjOBJ_SITE, "site", arm_mjcf::TOOL_SITE)?;
        Ok(Arc::new(Self {
            config,
            model: Arc::new(model),
            hinges,
            objects,
            fixtures,
            marks,
            tool_site,
        }))
    }

    /// What the scene was made from.
    pub fn config(&self) -> &SceneConfig {
        &self.config
    }

    /// The compiled model.
    pub fn model(&self) -> &Arc<MjModel> {
        &self.model
    }

    /// The number of a camera in the model.
    ///
    /// Errors: [`SceneError::Missing`].
    pub fn camera_id(&self, name: &str) -> Result<usize, SceneError> {
        CAMERAS
            .contains(&name)
            .then(|| self.model.name_to_id(MjtObjBase::mjOBJ_CAMERA, name))
            .flatten()
            .ok_or_else(|| SceneError::Missing {
                kind: "camera",
                name: name.into(),
            })
    }

    /// The scene as MJCF, for other programs and for the curious.
    pub fn mjcf(&self) -> String {
        mjcf::mjcf(&self.config)
    }
}

/// The number of a part of the model.
fn find(
    model: &MjModel,
    part: MjtObjBase,
    kind: &'static str,
    name: &str,
) -> Result<usize, SceneError> {
    model
        .name_to_id(part, name)
        .ok_or_else(|| SceneError::Missing {
            kind,
            name: name.into(),
        })
}

fn joint_address(model: &MjModel, name: &str) -> Result<JointAddress, SceneError> {
    let id = find(model, MjtObjBase::mjOBJ_JOINT, "joint", name)?;
    Ok(JointAddress {
        position: model.jnt_qposadr()[id] as usize,
        velocity: model.jnt_dofadr()[id] as usize,
    })
}

fn mocap(model: &MjModel, name: &str) -> Result<usize, SceneError> {
    let id = find(model, MjtObjBase::mjOBJ_BODY, "body", name)?;
    Ok(model.body_mocapid()[id] as usize)
}
