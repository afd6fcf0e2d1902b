//! `so101-reach`: bring the tool to a ball in the air.

use std::f64::consts::FRAC_PI_2;
use std::ops::RangeInclusive;

use nalgebra::Vector3;
use rand_chacha::ChaCha8Rng;
use rapport_robot::action::{ActionSpace, ToolAxis, ToolDelta, ToolOrientation};

use super::{Task, joints_over, within};
use crate::scene::{MarkConfig, MarkShape, SceneConfig};
use crate::script::{Operator, ReachOperator};
use crate::world::{Reading, World, WorldError};

/// The ball hangs somewhere above the table; the action moves the tool, at most 2 cm per step along each axis.
///
/// Reward: `-d(tool, ball)` in m, plus [`Reach::BONUS`] within [`Reach::TOLERANCE`]. Between -0.5 and 0.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach;

impl Reach {
    /// Where the ball may be: x, y, z, m.
    pub const BALL: [RangeInclusive<f64>; 3] = [0.16..=0.27, -0.12..=0.12, 0.05..=0.14];
    /// Radius of the ball, m.
    pub const BALL_RADIUS: f64 = 0.012;
    /// A tool this close to the ball's centre, m, has reached it.
    pub const TOLERANCE: f64 = 0.015;
    /// Reward for being there.
    pub const BONUS: f64 = 0.1;
    /// Largest travel of the tool along an axis in a policy step, m.
    pub const STEP: f64 = 0.02;

    fn place(
        world: &World,
        rng: &mut ChaCha8Rng,
        tool: &[RangeInclusive<f64>; 3],
    ) -> Result<(), WorldError> {
        let mut anywhere = |ranges: &[RangeInclusive<f64>; 3]| {
            Vector3::from([0, 1, 2].map(|axis| within(rng, &ranges[axis])))
        };
        let ball = anywhere(&Self::BALL);
        let tool = anywhere(tool);
        world.place_target(ball)?;
        world.place_arm(&joints_over(tool, FRAC_PI_2, 0.0)?)
    }
}

impl Task for Reach {
    fn name(&self) -> &'static str {
        "so101-reach"
    }

    fn instruction(&self) -> &'static str {
        "touch the green ball"
    }

    fn scene(&self) -> SceneConfig {
        SceneConfig {
            marks: vec![MarkConfig::target(MarkShape::Ball {
                radius_m: Self::BALL_RADIUS,
            })],
            ..SceneConfig::default()
        }
    }

    fn operator(&self) -> Box<dyn Operator> {
        Box::<ReachOperator>::default()
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::ToolDelta(ToolDelta {
            axes: vec![ToolAxis::X, ToolAxis::Y, ToolAxis::Z],
            scale_m_per_step: Self::STEP,
            gripper_opening: 0.0,
            workspace_min: [0.13, -0.16, 0.02],
            workspace_max: [0.30, 0.16, 0.18],
            height: None,
            orientation: ToolOrientation::Down,
            ..ToolDelta::default()
        })
    }

    fn max_steps(&self) -> usize {
        40
    }

    fn reset(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        Self::place(world, rng, &[0.18..=0.22, -0.03..=0.03, 0.08..=0.11])
    }

    fn reset_independently(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        Self::place(world, rng, &Self::BALL)
    }

    fn features(&self) -> &'static [&'static str] {
        const {
            &[
                "target_x",
                "target_y",
                "target_z",
                "target_from_tool_x",
                "target_from_tool_y",
                "target_from_tool_z",
            ]
        }
    }

    fn environment_state(&self, reading: &Reading) -> Vec<f64> {
        let ball = ball(reading);
        let way = ball - reading.tool();
        vec![ball.x, ball.y, ball.z, way.x, way.y, way.z]
    }

    fn reward(&self, reading: &Reading) -> f64 {
        let distance = -self.progress(reading);
        let bonus = if distance < Self::TOLERANCE {
            Self::BONUS
        } else {
            0.0
        };
        (bonus - distance).max(-0.5)
    }

    fn progress(&self, reading: &Reading) -> f64 {
        -(ball(reading) - reading.tool()).norm()
    }

    fn success(&self, reading: &Reading) -> bool {
        -self.progress(reading) < Self::TOLERANCE
    }
}

/// Centre of the ball, m; the middle of its space where a scene has none.
pub(crate) fn ball(reading: &Reading) -> Vector3<f64> {
    reading.target().unwrap_or(Vector3::new(0.215, 0.0, 0.095))
}
