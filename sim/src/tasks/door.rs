//! `so101-door`: open the door of a small cabinet.

use std::f64::consts::FRAC_PI_2;
use std::ops::RangeInclusive;

use nalgebra::{Vector2, Vector3};
use rand_chacha::ChaCha8Rng;
use rapport_robot::action::{ActionSpace, ToolAxis, ToolDelta, ToolOrientation};

use super::{Task, joints_over, within};
use crate::scene::{FixtureConfig, FixtureKind, OAK, SceneConfig};
use crate::script::{DoorOperator, Operator};
use crate::world::{FixtureState, Reading, World, WorldError};

/// A cabinet stands to the arm's left, its front to the right. The closed gripper points down; the action moves the tool, at
/// most 2 cm per step along each axis: behind the bar of the handle, from above, and along with it.
///
/// Reward: `0.3 opening - 0.5 d(tool, handle)`, the opening in rad, at most [`Door::OPEN`], the distance in m; plus
/// [`Door::BONUS`] when the door is that far open. Between -0.3 and 0.34.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Door;

impl Door {
    /// Depth, width and height of the cabinet, m.
    pub const SIZE: [f64; 3] = [0.07, 0.11, 0.09];
    /// Middle of the cabinet, x, m.
    pub const X: RangeInclusive<f64> = 0.195..=0.22;
    /// Middle of the cabinet, y, m.
    pub const Y: RangeInclusive<f64> = 0.13..=0.15;
    /// How far the cabinet may be turned from facing the arm's right, rad, either way.
    pub const YAW: f64 = 0.12;
    /// How far the door must be opened, rad.
    pub const OPEN: f64 = 0.8;
    /// Reward for an open door.
    pub const BONUS: f64 = 0.1;
}

impl Task for Door {
    fn name(&self) -> &'static str {
        "so101-door"
    }

    fn instruction(&self) -> &'static str {
        "open the door of the cabinet"
    }

    fn scene(&self) -> SceneConfig {
        SceneConfig {
            fixtures: vec![FixtureConfig {
                name: "cabinet".into(),
                kind: FixtureKind::Door { size_m: Self::SIZE },
                colour: OAK,
            }],
            ..SceneConfig::default()
        }
    }

    fn operator(&self) -> Box<dyn Operator> {
        Box::<DoorOperator>::default()
    }

    fn action_space(&self) -> ActionSpace {
        hooking()
    }

    fn max_steps(&self) -> usize {
        60
    }

    fn reset(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        place_furniture(world, rng, (Self::X, Self::Y, Self::YAW), 0.0..=0.0)?;
        place_closed_arm(world, rng)
    }

    fn reset_independently(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        place_furniture(world, rng, (Self::X, Self::Y, Self::YAW), 0.0..=1.3)?;
        place_arm_beside(world, rng)
    }

    fn features(&self) -> &'static [&'static str] {
        FEATURES
    }

    fn environment_state(&self, reading: &Reading) -> Vec<f64> {
        furniture_state(reading)
    }

    fn reward(&self, reading: &Reading) -> f64 {
        let opening = furniture(reading).opening.clamp(0.0, Self::OPEN);
        let reach = (reading.tool() - furniture(reading).handle).norm();
        let bonus = if self.success(reading) {
            Self::BONUS
        } else {
            0.0
        };
        (bonus + 0.3 * opening - 0.5 * reach).max(-0.3)
    }

    fn progress(&self, reading: &Reading) -> f64 {
        furniture(reading).opening.clamp(0.0, Self::OPEN) - Self::OPEN
    }

    fn success(&self, reading: &Reading) -> bool {
        furniture(reading).opening >= Self::OPEN
    }
}

/// The action space of tasks that hook a closed finger into a handle: the tool, at most 2 cm per step along each axis.
pub(super) fn hooking() -> ActionSpace {
    ActionSpace::ToolDelta(ToolDelta {
        axes: vec![ToolAxis::X, ToolAxis::Y, ToolAxis::Z],
        scale_m_per_step: 0.02,
        gripper_opening: 0.0,
        workspace_min: [0.13, -0.13, 0.025],
        workspace_max: [0.29, 0.14, 0.16],
        height: None,
        orientation: ToolOrientation::Keep,
        ..ToolDelta::default()
    })
}

/// The first fixture; a closed one in the middle of its field where a scene has none.
pub(crate) fn furniture(reading: &Reading) -> FixtureState {
    reading.fixtures.first().copied().unwrap_or(FixtureState {
        base_from_fixture: nalgebra::Isometry3::translation(0.21, 0.14, 0.0),
        opening: 0.0,
        speed: 0.0,
        handle: Vector3::new(0.22, 0.08, 0.045),
    })
}

/// Names of [`furniture_state`].
pub(super) const FEATURES: &[&str] = &[
    "handle_x",
    "handle_y",
    "handle_z",
    "handle_from_tool_x",
    "handle_from_tool_y",
    "handle_from_tool_z",
    "sin_yaw",
    "cos_yaw",
    "opening",
    "opening_speed",
];

/// Where handle and front are and how far open, `[10]`.
pub(super) fn furniture_state(reading: &Reading) -> Vec<f64> {
    let FixtureState {
        base_from_fixture,
        opening,
        speed,
        handle,
    } = furniture(reading);
    let way = handle - reading.tool();
    let front = base_from_fixture * Vector3::x();
    vec![
        handle.x, handle.y, handle.z, way.x, way.y, way.z, front.y, front.x, opening, speed,
    ]
}

/// Stands the furniture at its place (x, y, yaw away from facing the arm's right), open within `opening`.
pub(super) fn place_furniture(
    world: &World,
    rng: &mut ChaCha8Rng,
    (x, y, yaw): (RangeInclusive<f64>, RangeInclusive<f64>, f64),
    opening: RangeInclusive<f64>,
) -> Result<(), WorldError> {
    let place = [within(rng, &x), within(rng, &y)];
    let yaw = within(rng, &(-yaw..=yaw)) - FRAC_PI_2;
    world.place_fixture(0, place, yaw, within(rng, &opening))
}

/// Puts the arm before the furniture, closed and pointing down.
pub(super) fn place_closed_arm(world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
    let tool = Vector3::new(
        within(rng, &(0.18..=0.24)),
        within(rng, &(-0.05..=0.0)),
        within(rng, &(0.09..=0.12)),
    );
    world.place_arm(&joints_over(tool, FRAC_PI_2, 0.0)?)
}

/// Puts the arm anywhere to the right of the furniture or above it, closed and pointing down.
pub(super) fn place_arm_beside(world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
    loop {
        let plane = Vector2::new(within(rng, &(0.16..=0.27)), within(rng, &(-0.12..=0.10)));
        let height = within(rng, &(0.03..=0.14));
        // An open door or drawer reaches to the middle of the table.
        if height > 0.105 || plane.y < -0.05 {
            let tool = plane.push(height);
            return world.place_arm(&joints_over(tool, FRAC_PI_2, 0.0)?);
        }
    }
}
