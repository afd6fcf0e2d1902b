//! `so101-push`: push the cube onto the green disc.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4};
use std::ops::RangeInclusive;

use nalgebra::{Vector2, Vector3};
use rand_chacha::ChaCha8Rng;
use rapport_robot::action::{ActionSpace, ToolAxis, ToolDelta, ToolOrientation};

use super::{Task, joints_over, within};
use crate::scene::{MarkConfig, MarkShape, ObjectConfig, SceneConfig};
use crate::script::{Operator, PushOperator};
use crate::world::{Reading, World, WorldError};

/// The cube starts anywhere in a field before the arm, turned a little; the disc always lies to the arm's left. The closed
/// gripper points down at a fixed height with the flat of its fixed finger to the left, and moves in the plane, at most
/// 2.5 cm per step: one push to the left is enough, aimed by what the camera or the state says about the cube.
///
/// Reward: `-d(cube, disc) - 0.3 d(tool, pushing point)` in m, plus [`Push::BONUS`] where the cube lies on the disc; the
/// pushing point is where the finger touches the side of the cube that faces away from the disc. Between -0.6 and 0.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Push;

impl Push {
    /// Centre of the disc, base frame, m.
    pub const TARGET: [f64; 2] = [0.22, 0.12];
    /// Radius of the disc, m.
    pub const TARGET_RADIUS: f64 = 0.04;
    /// Where the cube's centre starts, x, m.
    pub const CUBE_X: RangeInclusive<f64> = 0.175..=0.275;
    /// Where the cube's centre starts, y, m.
    pub const CUBE_Y: RangeInclusive<f64> = -0.10..=0.04;
    /// How far the cube may be turned at the start, rad, either way.
    pub const CUBE_YAW: f64 = 0.35;
    /// The cube's centre this close to the disc's, m, is a success.
    pub const TOLERANCE: f64 = 0.035;
    /// A slower cube lies still, m/s.
    pub const STILL: f64 = 0.02;
    /// Height at which the tool is commanded to stay, m. The arm sags some millimetres below it.
    pub const HEIGHT: f64 = 0.028;
    /// Distance between tool and cube centre when the finger touches, m.
    pub const CONTACT: f64 = 0.024;
    /// Reward for a cube on the disc.
    pub const BONUS: f64 = 0.1;
    /// Largest travel of the tool in a policy step, m.
    pub const STEP: f64 = 0.025;

    /// Where the tool should be to push the cube towards the disc, base frame, m.
    pub fn pushing_point(cube: Vector2<f64>) -> Vector2<f64> {
        let way = Vector2::from(Self::TARGET) - cube;
        let direction = way
            .try_normalize(1e-6)
            .unwrap_or_else(|| Vector2::new(0.0, 1.0));
        cube - Self::CONTACT * direction
    }

    fn place_cube(world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        let x = within(rng, &Self::CUBE_X);
        let y = within(rng, &Self::CUBE_Y);
        let yaw = within(rng, &(-Self::CUBE_YAW..=Self::CUBE_YAW));
        world.place_cube(x, y, yaw)
    }

    fn place_arm(world: &World, x: f64, y: f64) -> Result<(), WorldError> {
        let joints = joints_over(Vector3::new(x, y, Self::HEIGHT), FRAC_PI_2, 0.0)?;
        world.place_arm(&joints)
    }
}

/// Centre of the cube in the plane, m; the middle of the field where a scene has no cube.
pub(crate) fn cube_in_plane(reading: &Reading) -> Vector2<f64> {
    reading
        .cube()
        .map_or(Vector2::new(0.22, 0.0), |cube| cube.position().xy())
}

impl Task for Push {
    fn name(&self) -> &'static str {
        "so101-push"
    }

    fn instruction(&self) -> &'static str {
        "push the red cube onto the green disc"
    }

    fn scene(&self) -> SceneConfig {
        SceneConfig {
            objects: vec![ObjectConfig::default()],
            marks: vec![MarkConfig::target(MarkShape::Disc {
                radius_m: Self::TARGET_RADIUS,
            })],
            ..SceneConfig::default()
        }
    }

    fn operator(&self) -> Box<dyn Operator> {
        Box::<PushOperator>::default()
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::ToolDelta(ToolDelta {
            axes: vec![ToolAxis::X, ToolAxis::Y],
            scale_m_per_step: Self::STEP,
            gripper_opening: 0.0,
            workspace_min: [0.14, -0.165, 0.01],
            workspace_max: [0.29, 0.165, 0.10],
            height: Some(Self::HEIGHT),
            orientation: ToolOrientation::Keep,
            ..ToolDelta::default()
        })
    }

    fn max_steps(&self) -> usize {
        50
    }

    fn reset(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        let [x, y] = Self::TARGET;
        world.place_target(Vector3::new(x, y, 0.0))?;
        Self::place_cube(world, rng)?;
        let x = within(rng, &(0.19..=0.25));
        let y = within(rng, &(-0.155..=-0.145));
        Self::place_arm(world, x, y)
    }

    fn reset_independently(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        let [target_x, target_y] = Self::TARGET;
        world.place_target(Vector3::new(target_x, target_y, 0.0))?;
        // The finger is about as wide as the cube: nearer than this they would overlap.
        let apart = 0.042;
        loop {
            let cube = Vector2::new(within(rng, &Self::CUBE_X), within(rng, &(-0.10..=0.15)));
            let tool = Vector2::new(within(rng, &(0.15..=0.27)), within(rng, &(-0.15..=0.15)));
            let yaw = within(rng, &(-FRAC_PI_4..=FRAC_PI_4));
            if (cube - tool).norm() > apart {
                world.place_cube(cube.x, cube.y, yaw)?;
                return Self::place_arm(world, tool.x, tool.y);
            }
        }
    }

    fn features(&self) -> &'static [&'static str] {
        const {
            &[
                "cube_x",
                "cube_y",
                "cube_sin_4yaw",
                "cube_cos_4yaw",
                "cube_from_tool_x",
                "cube_from_tool_y",
                "target_from_cube_x",
                "target_from_cube_y",
            ]
        }
    }

    fn environment_state(&self, reading: &Reading) -> Vec<f64> {
        let cube = cube_in_plane(reading);
        let from_tool = cube - reading.tool().xy();
        let to_target = Vector2::from(Self::TARGET) - cube;
        // A cube looks the same after a quarter turn.
        let (sin, cos) = (4.0 * reading.cube().map_or(0.0, |cube| cube.yaw())).sin_cos();
        vec![
            cube.x,
            cube.y,
            sin,
            cos,
            from_tool.x,
            from_tool.y,
            to_target.x,
            to_target.y,
        ]
    }

    fn reward(&self, reading: &Reading) -> f64 {
        let cube = cube_in_plane(reading);
        let distance = -self.progress(reading);
        let reach = (reading.tool().xy() - Self::pushing_point(cube)).norm();
        let bonus = if distance < Self::TOLERANCE {
            Self::BONUS
        } else {
            0.0
        };
        // A cube that was flicked away must not outweigh everything else in a batch.
        (bonus - distance - 0.3 * reach).max(-0.6)
    }

    fn progress(&self, reading: &Reading) -> f64 {
        -(Vector2::from(Self::TARGET) - cube_in_plane(reading)).norm()
    }

    fn success(&self, reading: &Reading) -> bool {
        -self.progress(reading) < Self::TOLERANCE
            && reading
                .cube()
                .is_some_and(|cube| cube.velocity.norm() < Self::STILL)
    }
}
