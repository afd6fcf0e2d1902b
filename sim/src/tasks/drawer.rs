//! `so101-drawer`: pull a drawer open.

use std::ops::RangeInclusive;

use rand_chacha::ChaCha8Rng;
use rapport_robot::action::ActionSpace;

use super::Task;
use super::door::{
    FEATURES, furniture, furniture_state, hooking, place_arm_beside, place_closed_arm,
    place_furniture,
};
use crate::scene::{FixtureConfig, FixtureKind, OAK, SceneConfig};
use crate::script::{DrawerOperator, Operator};
use crate::world::{Reading, World, WorldError};

/// A chest with a drawer stands to the arm's left, its front to the right. The closed gripper points down; the action moves the
/// tool, at most 2 cm per step along each axis: behind the bar of the handle, from above, and along with it.
///
/// Reward: `5 opening - 0.5 d(tool, handle)` in m, the opening at most [`Drawer::OPEN`]; plus [`Drawer::BONUS`] when the drawer
/// is that far open. Between -0.3 and 0.35.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drawer;

impl Drawer {
    /// Depth, width and height of the chest, m.
    pub const SIZE: [f64; 3] = [0.08, 0.10, 0.07];
    /// Middle of the chest, x, m.
    pub const X: RangeInclusive<f64> = 0.195..=0.22;
    /// Middle of the chest, y, m.
    pub const Y: RangeInclusive<f64> = 0.135..=0.15;
    /// How far the chest may be turned from facing the arm's right, rad, either way.
    pub const YAW: f64 = 0.15;
    /// How far the drawer must be pulled out, m.
    pub const OPEN: f64 = 0.05;
    /// Reward for an open drawer.
    pub const BONUS: f64 = 0.1;
}

impl Task for Drawer {
    fn name(&self) -> &'static str {
        "so101-drawer"
    }

    fn instruction(&self) -> &'static str {
        "pull the drawer open"
    }

    fn scene(&self) -> SceneConfig {
        SceneConfig {
            fixtures: vec![FixtureConfig {
                name: "chest".into(),
                kind: FixtureKind::Drawer { size_m: Self::SIZE },
                colour: OAK,
            }],
            ..SceneConfig::default()
        }
    }

    fn operator(&self) -> Box<dyn Operator> {
        Box::<DrawerOperator>::default()
    }

    fn action_space(&self) -> ActionSpace {
        hooking()
    }

    fn max_steps(&self) -> usize {
        50
    }

    fn reset(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        place_furniture(world, rng, (Self::X, Self::Y, Self::YAW), 0.0..=0.0)?;
        place_closed_arm(world, rng)
    }

    fn reset_independently(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        place_furniture(world, rng, (Self::X, Self::Y, Self::YAW), 0.0..=0.06)?;
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
        (bonus + 5.0 * opening - 0.5 * reach).max(-0.3)
    }

    fn progress(&self, reading: &Reading) -> f64 {
        furniture(reading).opening.clamp(0.0, Self::OPEN) - Self::OPEN
    }

    fn success(&self, reading: &Reading) -> bool {
        furniture(reading).opening >= Self::OPEN
    }
}
