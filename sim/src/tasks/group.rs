//! `so101-group`: push two cubes over a line, together.

use std::f64::consts::FRAC_PI_4;
use std::ops::RangeInclusive;

use nalgebra::{Vector2, Vector3};
use rand_chacha::ChaCha8Rng;
use rapport_robot::action::ActionSpace;

use super::avoid::{place_arm_clear_of, place_closed_arm, pushing};
use super::{Push, Task, all_still, place_of, quarter_turns, within};
use crate::scene::{BLUE, MarkConfig, MarkShape, ObjectConfig, SceneConfig};
use crate::script::{GroupOperator, Operator};
use crate::world::{Reading, World, WorldError};

/// A red and a blue cube lie before the arm, the blue one to the left of the red one; further to the left a green line runs
/// away from the arm. The action is [`Push`]'s.
///
/// The hidden reward is the one of RAPL's "group" on a Franka arm, divided by three: `-max(|y1 - g|, |y2 - g|) - |p1 - p2| -
/// d(tool, red cube) / 6` in m, `g` being [`Group::GOAL`] beyond the line, the last distance at least that of touching. The
/// original task is 2.5 times as large, has its goal along x, counts the distances of two fingers, and adds small costs of
/// actions, of a lifted cube and of forces on the arm, which are left out here: the hand stays in the plane, and a reward is
/// of a state. Its success does not ask the cubes to be together at the end; this one does. Between -1 and 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group;

impl Group {
    /// Number of the red cube, which is to the right.
    pub const RED: usize = 0;
    /// Number of the blue cube.
    pub const BLUE: usize = 1;
    /// Where the red cube's middle starts, x, m.
    pub const CUBE_X: RangeInclusive<f64> = 0.185..=0.245;
    /// Where the red cube's middle starts, y, m.
    pub const CUBE_Y: RangeInclusive<f64> = -0.105..=-0.085;
    /// How far to the left of the red cube the blue one starts, m.
    pub const AHEAD: RangeInclusive<f64> = 0.045..=0.065;
    /// How far the blue cube may start off the red one's line, x, m, either way.
    pub const BESIDE: f64 = 0.010;
    /// How far the cubes may be turned at the start, rad, either way.
    pub const CUBE_YAW: f64 = 0.2;
    /// The line, y, m.
    pub const LINE: f64 = 0.05;
    /// How far beyond the line the goal is, m.
    pub const GOAL: f64 = 0.03;
    /// Cubes whose middles are nearer than this are together, m: less than twice a side.
    pub const TOGETHER: f64 = 0.048;

    /// How far each cube is from being over the line, m.
    fn missing(reading: &Reading) -> f64 {
        [Self::RED, Self::BLUE]
            .map(|cube| (Self::LINE - place_of(reading, cube).y).max(0.0))
            .into_iter()
            .fold(0.0, f64::max)
    }

    fn apart(reading: &Reading) -> f64 {
        (place_of(reading, Self::RED) - place_of(reading, Self::BLUE)).norm()
    }

    fn place_line(world: &World) -> Result<(), WorldError> {
        world.place_mark(0, Vector3::new(0.215, Self::LINE, 0.0))
    }
}

impl Task for Group {
    fn name(&self) -> &'static str {
        "so101-group"
    }

    fn instruction(&self) -> &'static str {
        "push both cubes over the green line, together"
    }

    fn scene(&self) -> SceneConfig {
        SceneConfig {
            objects: vec![
                ObjectConfig::default(),
                ObjectConfig::cube("blue_cube", BLUE),
            ],
            marks: vec![MarkConfig::target(MarkShape::Strip {
                size_m: [0.17, 0.006],
            })],
            ..SceneConfig::default()
        }
    }

    fn operator(&self) -> Box<dyn Operator> {
        Box::<GroupOperator>::default()
    }

    fn action_space(&self) -> ActionSpace {
        pushing()
    }

    fn max_steps(&self) -> usize {
        50
    }

    fn reset(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        Self::place_line(world)?;
        let red = Vector2::new(within(rng, &Self::CUBE_X), within(rng, &Self::CUBE_Y));
        let ahead = Vector2::new(
            within(rng, &(-Self::BESIDE..=Self::BESIDE)),
            within(rng, &Self::AHEAD),
        );
        for (number, place) in [red, red + ahead].into_iter().enumerate() {
            let yaw = within(rng, &(-Self::CUBE_YAW..=Self::CUBE_YAW));
            world.place_object(number, place.x, place.y, yaw)?;
        }
        place_closed_arm(world, rng)
    }

    fn reset_independently(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        Self::place_line(world)?;
        loop {
            let mut anywhere =
                || Vector2::new(within(rng, &Push::CUBE_X), within(rng, &(-0.10..=0.15)));
            let cubes = [anywhere(), anywhere()];
            if (cubes[0] - cubes[1]).norm() > 0.045 {
                for (number, place) in cubes.iter().enumerate() {
                    let yaw = within(rng, &(-FRAC_PI_4..=FRAC_PI_4));
                    world.place_object(number, place.x, place.y, yaw)?;
                }
                return place_arm_clear_of(world, rng, &cubes);
            }
        }
    }

    fn features(&self) -> &'static [&'static str] {
        const {
            &[
                "red_x",
                "red_y",
                "red_sin_4yaw",
                "red_cos_4yaw",
                "blue_x",
                "blue_y",
                "blue_sin_4yaw",
                "blue_cos_4yaw",
                "red_from_tool_x",
                "red_from_tool_y",
                "blue_from_red_x",
                "blue_from_red_y",
            ]
        }
    }

    fn environment_state(&self, reading: &Reading) -> Vec<f64> {
        let mut state = Vec::with_capacity(12);
        for cube in [Self::RED, Self::BLUE] {
            let place = place_of(reading, cube);
            let (sin, cos) = quarter_turns(reading, cube);
            state.extend([place.x, place.y, sin, cos]);
        }
        let (red, blue) = (place_of(reading, Self::RED), place_of(reading, Self::BLUE));
        let way = red - reading.tool();
        state.extend([way.x, way.y, blue.x - red.x, blue.y - red.y]);
        state
    }

    fn reward(&self, reading: &Reading) -> f64 {
        let red = place_of(reading, Self::RED);
        let goal = Self::LINE + Self::GOAL;
        let further = (red.y - goal)
            .abs()
            .max((place_of(reading, Self::BLUE).y - goal).abs());
        let reach = (reading.tool().xy() - red.xy()).norm().max(Push::CONTACT);
        (-further - Self::apart(reading) - reach / 6.0).max(-1.0)
    }

    fn progress(&self, reading: &Reading) -> f64 {
        let spread = (Self::apart(reading) - Self::TOGETHER).max(0.0);
        -Self::missing(reading) - spread
    }

    fn success(&self, reading: &Reading) -> bool {
        Self::missing(reading) <= 0.0
            && Self::apart(reading) < Self::TOGETHER
            && all_still(reading, Push::STILL)
    }
}
