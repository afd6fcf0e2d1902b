//! `so101-lift`: grasp the cube and lift it.

use std::f64::consts::FRAC_PI_2;
use std::ops::RangeInclusive;

use nalgebra::{Vector2, Vector3};
use rand_chacha::ChaCha8Rng;
use rapport_robot::action::{ActionSpace, ToolAxis, ToolDelta, ToolOrientation};

use super::{Task, joints_over, within};
use crate::scene::{ObjectConfig, SceneConfig};
use crate::script::{LiftOperator, Operator};
use crate::world::{Reading, World, WorldError};

/// The gripper starts open above the table, pointing down, its fixed finger to the arm's left; the action moves the tool, at
/// most 2 cm per step along each axis, and the gripper, at most 0.15 of its range.
///
/// Reward: `5 lift - 0.5 d(tool, grasping point)` in m, `lift` being the cube's height above its place on the table, at most
/// [`Lift::HEIGHT`]; plus [`Lift::BONUS`] when it is that high. Between -0.3 and 0.4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lift;

impl Lift {
    /// Where the cube's centre starts, x, m.
    pub const CUBE_X: RangeInclusive<f64> = 0.18..=0.25;
    /// Where the cube's centre starts, y, m.
    pub const CUBE_Y: RangeInclusive<f64> = -0.08..=0.08;
    /// How far the cube may be turned at the start, rad, either way.
    pub const CUBE_YAW: f64 = 0.3;
    /// How far the cube must be lifted, m.
    pub const HEIGHT: f64 = 0.06;
    /// Reward for a cube that is up.
    pub const BONUS: f64 = 0.1;
    /// Largest travel of the tool along an axis in a policy step, m.
    pub const STEP: f64 = 0.02;
    /// Distance between the fixed finger's inner face and the middle of a cube that is well between the fingers, m.
    pub const BESIDE: f64 = 0.018;

    /// Where the tool should be to grasp a cube: its fixed finger just to the left of it, m.
    pub fn grasping_point(cube: Vector3<f64>) -> Vector3<f64> {
        cube + Vector3::new(0.0, Self::BESIDE, 0.0)
    }

    /// How far the cube has been lifted, m, within `0..=`[`Lift::HEIGHT`].
    pub fn height(reading: &Reading) -> f64 {
        let rest = 0.5 * ObjectConfig::CUBE_SIDE;
        (cube(reading).z - rest).clamp(0.0, Self::HEIGHT)
    }

    fn place_cube(world: &World, rng: &mut ChaCha8Rng) -> Result<Vector2<f64>, WorldError> {
        let x = within(rng, &Self::CUBE_X);
        let y = within(rng, &Self::CUBE_Y);
        let yaw = within(rng, &(-Self::CUBE_YAW..=Self::CUBE_YAW));
        world.place_cube(x, y, yaw)?;
        Ok(Vector2::new(x, y))
    }
}

/// Centre of the cube, m; the middle of its field where a scene has no cube.
pub(crate) fn cube(reading: &Reading) -> Vector3<f64> {
    reading
        .cube()
        .map_or(Vector3::new(0.215, 0.0, 0.015), |cube| cube.position())
}

impl Task for Lift {
    fn name(&self) -> &'static str {
        "so101-lift"
    }

    fn instruction(&self) -> &'static str {
        "pick up the red cube"
    }

    fn scene(&self) -> SceneConfig {
        SceneConfig {
            objects: vec![ObjectConfig::default()],
            ..SceneConfig::default()
        }
    }

    fn operator(&self) -> Box<dyn Operator> {
        Box::<LiftOperator>::default()
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::ToolDelta(ToolDelta {
            axes: vec![ToolAxis::X, ToolAxis::Y, ToolAxis::Z, ToolAxis::Gripper],
            scale_m_per_step: Self::STEP,
            gripper_per_step: 0.15,
            workspace_min: [0.14, -0.13, 0.012],
            workspace_max: [0.29, 0.13, 0.16],
            height: None,
            orientation: ToolOrientation::Keep,
            ..ToolDelta::default()
        })
    }

    fn max_steps(&self) -> usize {
        50
    }

    fn reset(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        Self::place_cube(world, rng)?;
        let tool = Vector3::new(
            within(rng, &(0.19..=0.23)),
            within(rng, &(-0.03..=0.03)),
            within(rng, &(0.085..=0.105)),
        );
        let opening = within(rng, &(0.38..=0.48));
        world.place_arm(&joints_over(tool, FRAC_PI_2, opening)?)
    }

    fn reset_independently(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        let cube = Self::place_cube(world, rng)?;
        // Open fingers reach about 8 cm to one side of the tool and 2 cm below it.
        loop {
            let tool = Vector3::new(
                within(rng, &(0.16..=0.26)),
                within(rng, &(-0.11..=0.11)),
                within(rng, &(0.03..=0.11)),
            );
            let beside = tool.xy() - Vector2::new(0.0, 0.03);
            if tool.z > 0.06 || (beside - cube).norm() > 0.09 {
                let opening = within(rng, &(0.2..=0.48));
                return world.place_arm(&joints_over(tool, FRAC_PI_2, opening)?);
            }
        }
    }

    fn features(&self) -> &'static [&'static str] {
        const {
            &[
                "cube_x",
                "cube_y",
                "cube_z",
                "cube_sin_4yaw",
                "cube_cos_4yaw",
                "cube_from_tool_x",
                "cube_from_tool_y",
                "cube_from_tool_z",
            ]
        }
    }

    fn environment_state(&self, reading: &Reading) -> Vec<f64> {
        let cube = cube(reading);
        let way = cube - reading.tool();
        let (sin, cos) = (4.0 * reading.cube().map_or(0.0, |cube| cube.yaw())).sin_cos();
        vec![cube.x, cube.y, cube.z, sin, cos, way.x, way.y, way.z]
    }

    fn reward(&self, reading: &Reading) -> f64 {
        let height = Self::height(reading);
        let reach = (reading.tool() - Self::grasping_point(cube(reading))).norm();
        let bonus = if height >= Self::HEIGHT {
            Self::BONUS
        } else {
            0.0
        };
        (bonus + 5.0 * height - 0.5 * reach).max(-0.3)
    }

    fn progress(&self, reading: &Reading) -> f64 {
        Self::height(reading) - Self::HEIGHT
    }

    fn success(&self, reading: &Reading) -> bool {
        Self::height(reading) >= Self::HEIGHT
    }
}
