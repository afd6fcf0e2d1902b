//! `so101-stack`: put the red cube on the blue one.

use std::f64::consts::FRAC_PI_2;
use std::ops::RangeInclusive;

use nalgebra::{Vector2, Vector3};
use rand_chacha::ChaCha8Rng;
use rapport_robot::action::{ActionSpace, ToolAxis, ToolDelta, ToolOrientation};

use super::{Lift, Task, all_still, joints_over, place_of, quarter_turns, within};
use crate::scene::{BLUE, ObjectConfig, SceneConfig};
use crate::script::{Operator, StackOperator};
use crate::world::{Reading, World, WorldError};

/// Red and blue cube lie anywhere in a field before the arm, the blue one out of the way of the fingers that grasp the red
/// one. The gripper starts open above the table; the action is [`Lift`]'s.
///
/// Reward: `2 lift - d(red, place on blue) - 0.5 d(tool, grasping point)` in m, `lift` being the red cube's height above the
/// table, at most a cube's side; plus [`Stack::BONUS`] where the red cube lies on the blue one, and as much again when the
/// gripper has let go of it. Between -0.6 and 0.26.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stack;

impl Stack {
    /// Number of the red cube.
    pub const RED: usize = 0;
    /// Number of the blue cube.
    pub const BLUE: usize = 1;
    /// Where the cubes' centres start, x, m.
    pub const CUBE_X: RangeInclusive<f64> = 0.18..=0.25;
    /// Where the cubes' centres start, y, m.
    pub const CUBE_Y: RangeInclusive<f64> = -0.09..=0.09;
    /// How far the cubes may be turned at the start, rad, either way.
    pub const CUBE_YAW: f64 = 0.25;
    /// Distance in the plane between the cubes' middles at which the red one still lies safely on the blue one, m.
    pub const OFFSET: f64 = 0.012;
    /// How much the red cube's height may differ from a side above the blue one's, m.
    pub const LEVEL: f64 = 0.004;
    /// A gripper that is open this far has let go, fraction.
    pub const RELEASED: f64 = 0.27;
    /// Reward for a cube on a cube, and for one that was let go.
    pub const BONUS: f64 = 0.1;

    /// Where the red cube's centre belongs, base frame, m.
    pub fn place(reading: &Reading) -> Vector3<f64> {
        place_of(reading, Self::BLUE) + Vector3::new(0.0, 0.0, ObjectConfig::CUBE_SIDE)
    }

    fn is_on(reading: &Reading) -> bool {
        let off = place_of(reading, Self::RED) - Self::place(reading);
        let blue_lies =
            place_of(reading, Self::BLUE).z < 0.5 * ObjectConfig::CUBE_SIDE + Self::LEVEL;
        blue_lies && off.xy().norm() < Self::OFFSET && off.z.abs() < Self::LEVEL
    }

    fn place_cubes(world: &World, rng: &mut ChaCha8Rng) -> Result<[Vector2<f64>; 2], WorldError> {
        let mut anywhere = || Vector2::new(within(rng, &Self::CUBE_X), within(rng, &Self::CUBE_Y));
        let (red, blue) = loop {
            let (red, blue) = (anywhere(), anywhere());
            // The open fingers that grasp the red cube reach from 12 cm to its right to 6 cm to its left.
            let off = blue - red;
            if off.x.abs() > 0.05 || off.y > 0.06 || off.y < -0.12 {
                break (red, blue);
            }
        };
        for (number, place) in [red, blue].into_iter().enumerate() {
            let yaw = within(rng, &(-Self::CUBE_YAW..=Self::CUBE_YAW));
            world.place_object(number, place.x, place.y, yaw)?;
        }
        Ok([red, blue])
    }
}

impl Task for Stack {
    fn name(&self) -> &'static str {
        "so101-stack"
    }

    fn instruction(&self) -> &'static str {
        "put the red cube on the blue cube"
    }

    fn scene(&self) -> SceneConfig {
        SceneConfig {
            objects: vec![
                ObjectConfig::default(),
                ObjectConfig::cube("blue_cube", BLUE),
            ],
            ..SceneConfig::default()
        }
    }

    fn operator(&self) -> Box<dyn Operator> {
        Box::<StackOperator>::default()
    }

    fn action_space(&self) -> ActionSpace {
        carrying()
    }

    fn max_steps(&self) -> usize {
        70
    }

    fn reset(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        Self::place_cubes(world, rng)?;
        place_open_arm(world, rng)
    }

    fn reset_independently(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        let cubes = Self::place_cubes(world, rng)?;
        place_arm_clear_of(world, rng, &cubes)
    }

    fn features(&self) -> &'static [&'static str] {
        const {
            &[
                "red_x",
                "red_y",
                "red_z",
                "red_sin_4yaw",
                "red_cos_4yaw",
                "red_from_tool_x",
                "red_from_tool_y",
                "red_from_tool_z",
                "place_from_red_x",
                "place_from_red_y",
                "place_from_red_z",
            ]
        }
    }

    fn environment_state(&self, reading: &Reading) -> Vec<f64> {
        let red = place_of(reading, Self::RED);
        let (way, left) = (red - reading.tool(), Self::place(reading) - red);
        let (sin, cos) = quarter_turns(reading, Self::RED);
        vec![
            red.x, red.y, red.z, sin, cos, way.x, way.y, way.z, left.x, left.y, left.z,
        ]
    }

    fn reward(&self, reading: &Reading) -> f64 {
        let red = place_of(reading, Self::RED);
        let lift = (red.z - 0.5 * ObjectConfig::CUBE_SIDE).clamp(0.0, ObjectConfig::CUBE_SIDE);
        let left = -self.progress(reading);
        let reach = (reading.tool() - Lift::grasping_point(red)).norm();
        let bonus = match (Self::is_on(reading), reading.opening() > Self::RELEASED) {
            (true, true) => 2.0 * Self::BONUS,
            (true, false) => Self::BONUS,
            // Going away from a cube that lies where it should costs nothing.
            (false, _) => 0.0,
        };
        let reach = if bonus > Self::BONUS { 0.0 } else { reach };
        (bonus + 2.0 * lift - left - 0.5 * reach).max(-0.6)
    }

    fn progress(&self, reading: &Reading) -> f64 {
        -(place_of(reading, Self::RED) - Self::place(reading)).norm()
    }

    fn success(&self, reading: &Reading) -> bool {
        Self::is_on(reading) && reading.opening() > Self::RELEASED && all_still(reading, 0.02)
    }
}

/// The action space of tasks that carry a cube: the tool, at most 2 cm per step along each axis, and the gripper, at most 0.15
/// of its range.
pub(super) fn carrying() -> ActionSpace {
    ActionSpace::ToolDelta(ToolDelta {
        axes: vec![ToolAxis::X, ToolAxis::Y, ToolAxis::Z, ToolAxis::Gripper],
        scale_m_per_step: Lift::STEP,
        gripper_per_step: 0.15,
        workspace_min: [0.14, -0.15, 0.012],
        workspace_max: [0.29, 0.15, 0.16],
        height: None,
        orientation: ToolOrientation::Keep,
        ..ToolDelta::default()
    })
}

/// Puts the arm above the middle of the field, open and pointing down, its fixed finger to the left.
pub(super) fn place_open_arm(world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
    let tool = Vector3::new(
        within(rng, &(0.19..=0.23)),
        within(rng, &(-0.03..=0.03)),
        within(rng, &(0.095..=0.115)),
    );
    let opening = within(rng, &(0.38..=0.46));
    world.place_arm(&joints_over(tool, FRAC_PI_2, opening)?)
}

/// Puts the arm anywhere, open and pointing down, clear of these cubes.
pub(super) fn place_arm_clear_of(
    world: &World,
    rng: &mut ChaCha8Rng,
    cubes: &[Vector2<f64>],
) -> Result<(), WorldError> {
    loop {
        let tool = Vector3::new(
            within(rng, &(0.16..=0.26)),
            within(rng, &(-0.11..=0.11)),
            within(rng, &(0.03..=0.115)),
        );
        // Open fingers reach about 8 cm to one side of the tool and 2 cm below it.
        let beside = tool.xy() - Vector2::new(0.0, 0.03);
        if tool.z > 0.06 || cubes.iter().all(|cube| (beside - cube).norm() > 0.09) {
            let opening = within(rng, &(0.2..=0.46));
            return world.place_arm(&joints_over(tool, FRAC_PI_2, opening)?);
        }
    }
}
