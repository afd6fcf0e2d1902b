//! A scene: the compiled MuJoCo model of arm, table, objects, lights and cameras, and where in it each thing is.

mod mjcf;

use std::sync::{Arc, Once};

use mujoco_rs::prelude::*;
use rapport_robot::so101;
use serde::{Deserialize, Serialize};

use crate::arm_config::ArmConfig;
use crate::arm_mjcf;

/// What lies on the table, and how finely time is cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SceneConfig {
    /// Length of a physics step, s. 4 to 5 ms hold a grasp as well as 2 ms does.
    pub timestep_s: f64,
    /// The cube, if there is one.
    pub cube: Option<CubeConfig>,
    /// The mark that shows where to go, if there is one.
    pub target: Option<TargetConfig>,
    /// The arm's servos and joints.
    pub arm: ArmConfig,
}

impl Default for SceneConfig {
    fn default() -> Self {
        Self {
            timestep_s: 0.005,
            cube: None,
            target: None,
            arm: ArmConfig::default(),
        }
    }
}

/// A red cube that can be pushed and lifted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CubeConfig {
    /// Length of an edge, m.
    pub side_m: f64,
    /// Mass, kg.
    pub mass_kg: f64,
    /// Sliding friction against the table. Against the fingers it is 1.
    pub friction: f64,
}

impl Default for CubeConfig {
    fn default() -> Self {
        Self {
            side_m: 0.03,
            mass_kg: 0.03,
            friction: 0.5,
        }
    }
}

/// A green mark that nothing collides with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TargetConfig {
    /// A flat disc on the table.
    Disc {
        /// Radius, m.
        radius_m: f64,
    },
    /// A ball in the air.
    Ball {
        /// Radius, m.
        radius_m: f64,
    },
}

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

/// Addresses of a free body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FreeAddress {
    pub position: usize,
    pub velocity: usize,
}

/// A compiled scene, shared by any number of worlds.
pub struct Scene {
    config: SceneConfig,
    model: Arc<MjModel>,
    pub(crate) hinges: Vec<HingeAddress>,
    pub(crate) cube: Option<FreeAddress>,
    pub(crate) target: Option<usize>,
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
        check(&config)?;
        quiet_mujoco();
        let model = MjModel::from_xml_string(&mjcf::mjcf(&config))
            .map_err(|error| SceneError::Model(error.to_string()))?;
        let missing = |kind, name: &str| SceneError::Missing {
            kind,
            name: name.into(),
        };
        let hinges = so101::spec()
            .joints
            .iter()
            .map(|joint| {
                let name = joint.name.as_str();
                let id = model
                    .name_to_id(MjtObjBase::mjOBJ_JOINT, name)
                    .ok_or_else(|| missing("joint", name))?;
                let servo = model
                    .name_to_id(MjtObjBase::mjOBJ_ACTUATOR, name)
                    .ok_or_else(|| missing("actuator", name))?;
                Ok(HingeAddress {
                    position: model.jnt_qposadr()[id] as usize,
                    velocity: model.jnt_dofadr()[id] as usize,
                    servo,
                })
            })
            .collect::<Result<Vec<_>, SceneError>>()?;
        let cube = model
            .name_to_id(MjtObjBase::mjOBJ_JOINT, "cube")
            .map(|id| FreeAddress {
                position: model.jnt_qposadr()[id] as usize,
                velocity: model.jnt_dofadr()[id] as usize,
            });
        let target = model
            .name_to_id(MjtObjBase::mjOBJ_BODY, "target")
            .map(|id| model.body_mocapid()[id] as usize);
        let tool_site = model
            .name_to_id(MjtObjBase::mjOBJ_SITE, arm_mjcf::TOOL_SITE)
            .ok_or_else(|| missing("site", arm_mjcf::TOOL_SITE))?;
        Ok(Arc::new(Self {
            config,
            model: Arc::new(model),
            hinges,
            cube,
            target,
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

fn check(config: &SceneConfig) -> Result<(), SceneError> {
    let positive = |name: &str, value: f64| {
        if value.is_finite() && value > 0.0 {
            Ok(())
        } else {
            Err(SceneError::Config(format!("{name} must be above 0")))
        }
    };
    if !(1e-4..=0.01).contains(&config.timestep_s) {
        return Err(SceneError::Config(format!(
            "timestep_s must be within 0.0001..=0.01, it is {}",
            config.timestep_s
        )));
    }
    if let Some(problem) = config.arm.problem() {
        return Err(SceneError::Config(format!("arm: {problem}")));
    }
    if let Some(cube) = &config.cube {
        positive("cube.side_m", cube.side_m)?;
        positive("cube.mass_kg", cube.mass_kg)?;
        positive("cube.friction", cube.friction)?;
    }
    match config.target {
        Some(TargetConfig::Disc { radius_m } | TargetConfig::Ball { radius_m }) => {
            positive("target.radius_m", radius_m)
        }
        None => Ok(()),
    }
}

/// Keeps MuJoCo from writing a log file into the working directory; what it warns of is read from the data and becomes an
/// error.
pub(crate) fn quiet_mujoco() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let config = log_config()
            .with_logto_console(false)
            .with_logto_file(false);
        // SAFETY: two flags are written once, before this crate compiles its first model; MuJoCo reads them only when it
        // has something to say.
        unsafe { set_log_config(config) };
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::Vector3;
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_tool_site_is_where_the_chain_says() {
        let scene = Scene::new(SceneConfig::default()).unwrap();
        let mut data = MjData::new(scene.model().clone());
        let (chain, spec) = (so101::chain(), so101::spec());
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..200 {
            let joints: Vec<f64> = spec.joints[..5]
                .iter()
                .map(|joint| rng.random_range(joint.min..=joint.max))
                .collect();
            for (hinge, q) in scene.hinges.iter().zip(&joints) {
                data.qpos_mut()[hinge.position] = *q;
            }
            data.kinematics();
            let tool = chain.base_from_tool(&joints);
            let site = Vector3::from(data.site_xpos()[scene.tool_site]);
            assert!((tool.translation.vector - site).norm() < 1e-4);
            let m = data.site_xmat()[scene.tool_site];
            let axis = tool.rotation * Vector3::z();
            assert!((axis - Vector3::new(m[2], m[5], m[8])).norm() < 1e-4);
        }
    }

    #[test]
    fn links_weigh_what_the_published_model_says() {
        let scene = Scene::new(SceneConfig::default()).unwrap();
        let model = scene.model();
        for (body, mass) in [
            ("base", 0.147),
            ("shoulder", 0.100),
            ("upper_arm", 0.103),
            ("lower_arm", 0.104),
            ("wrist", 0.079),
            ("gripper", 0.087),
            ("moving_jaw", 0.012),
        ] {
            let id = model.name_to_id(MjtObjBase::mjOBJ_BODY, body).unwrap();
            assert!((model.body_mass()[id] - mass).abs() < 1e-6, "{body}");
        }
    }

    #[test]
    fn the_fingertips_meet_when_closed_and_are_parallel_at_the_grasp_width() {
        let scene = Scene::new(SceneConfig::default()).unwrap();
        let model = scene.model();
        let mut data = MjData::new(model.clone());
        let fixed = model
            .name_to_id(MjtObjBase::mjOBJ_GEOM, "fixed_pad")
            .unwrap();
        let moving = model
            .name_to_id(MjtObjBase::mjOBJ_GEOM, "moving_pad")
            .unwrap();
        data.qpos_mut()[scene.hinges[5].position] = so101::GRIPPER_CLOSED;
        data.kinematics();
        assert!(data.geom_distance(fixed, moving, 1.0, None).abs() < 1e-3);
        let parallel = (0..2000)
            .map(|i| so101::GRIPPER_CLOSED + 0.0005 * f64::from(i))
            .find(|&angle| {
                data.qpos_mut()[scene.hinges[5].position] = angle;
                data.kinematics();
                let (a, b) = (data.geom_xmat()[fixed], data.geom_xmat()[moving]);
                a[0] * b[0] + a[3] * b[3] + a[6] * b[6] > 1.0 - 1e-6
            })
            .unwrap();
        let width = data.geom_distance(fixed, moving, 1.0, None);
        assert!(
            (width - arm_mjcf::PARALLEL_GRASP_WIDTH).abs() < 1e-3,
            "{width} m apart at {parallel} rad"
        );
    }

    #[test]
    fn a_scene_with_impossible_numbers_is_refused() {
        for config in [
            SceneConfig {
                timestep_s: 0.1,
                ..SceneConfig::default()
            },
            SceneConfig {
                cube: Some(CubeConfig {
                    side_m: -1.0,
                    ..CubeConfig::default()
                }),
                ..SceneConfig::default()
            },
            SceneConfig {
                target: Some(TargetConfig::Ball { radius_m: f64::NAN }),
                ..SceneConfig::default()
            },
        ] {
            assert!(matches!(Scene::new(config), Err(SceneError::Config(_))));
        }
    }

    #[test]
    fn only_the_scenes_cameras_have_numbers() {
        let scene = Scene::new(SceneConfig::default()).unwrap();
        for name in CAMERAS {
            scene.camera_id(name).unwrap();
        }
        let error = scene.camera_id("back\0door").unwrap_err();
        assert!(matches!(error, SceneError::Missing { kind: "camera", .. }));
    }
}
