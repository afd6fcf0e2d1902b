//! `so101-sort`: put each cube onto the disc of its colour.

use std::ops::RangeInclusive;

use nalgebra::{Vector2, Vector3};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rapport_robot::action::ActionSpace;

use super::stack::{carrying, place_arm_clear_of, place_open_arm};
use super::{Lift, Task, all_still, place_of, within};
use crate::scene::{BLUE, Colour, MarkConfig, MarkShape, ObjectConfig, SceneConfig};
use crate::script::{Operator, SortOperator};
use crate::world::{Reading, World, WorldError};

/// A red and a blue cube lie in two rows before the arm, either in either; a red and a blue disc lie to the left and the right,
/// either on either side. The action is [`Lift`]'s.
///
/// Reward: `-(d(red cube, red disc) + d(blue cube, blue disc)) - 0.3 d(tool, grasping point of the cube that is still to be
/// moved)` in m, plus [`Sort::BONUS`] for every cube on its disc. Between -0.8 and 0.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sort;

/// The cubes' colours, paler, so that a cube can be seen on its disc.
const PALE_RED: Colour = [0.93, 0.55, 0.52];
const PALE_BLUE: Colour = [0.52, 0.64, 0.93];

impl Sort {
    /// Rows in which the cubes' centres start, x, m.
    pub const ROWS: [RangeInclusive<f64>; 2] = [0.175..=0.19, 0.24..=0.255];
    /// Where the cubes' centres start, y, m.
    pub const CUBE_Y: RangeInclusive<f64> = -0.05..=0.05;
    /// How far the cubes may be turned at the start, rad, either way.
    pub const CUBE_YAW: f64 = 0.25;
    /// Centre of a disc, x, and its distance from the middle, y, m.
    pub const DISC: [f64; 2] = [0.215, 0.115];
    /// Radius of the discs, m.
    pub const DISC_RADIUS: f64 = 0.035;
    /// A cube's centre this close to its disc's, m, is home.
    pub const TOLERANCE: f64 = 0.028;
    /// Reward for a cube that is home.
    pub const BONUS: f64 = 0.1;

    /// Where the disc of cube `number` lies (0 the red one, 1 the blue one), base frame, m.
    pub fn disc(reading: &Reading, number: usize) -> Vector2<f64> {
        let [x, y] = Self::DISC;
        reading
            .marks
            .get(number)
            .map_or(Vector2::new(x, y), |mark| mark.xy())
    }

    /// Whether a cube lies on its disc.
    pub fn is_home(reading: &Reading, number: usize) -> bool {
        let cube = place_of(reading, number);
        Self::left(reading, number) < Self::TOLERANCE
            && cube.z < 0.5 * ObjectConfig::CUBE_SIDE + 0.005
    }

    /// How far a cube is from its disc in the plane, m.
    pub fn left(reading: &Reading, number: usize) -> f64 {
        (place_of(reading, number).xy() - Self::disc(reading, number)).norm()
    }

    fn place_things(world: &World, rng: &mut ChaCha8Rng) -> Result<[Vector2<f64>; 2], WorldError> {
        let (rows, side) = (rng.random_range(0..2), rng.random_range(0..2));
        let mut places = [Vector2::zeros(); 2];
        for (number, place) in places.iter_mut().enumerate() {
            let row = &Self::ROWS[(number + rows) % 2];
            *place = Vector2::new(within(rng, row), within(rng, &Self::CUBE_Y));
            let yaw = within(rng, &(-Self::CUBE_YAW..=Self::CUBE_YAW));
            world.place_object(number, place.x, place.y, yaw)?;
            let [x, y] = Self::DISC;
            let y = if (number + side) % 2 == 0 { y } else { -y };
            world.place_mark(number, Vector3::new(x, y, 0.0))?;
        }
        Ok(places)
    }
}

impl Task for Sort {
    fn name(&self) -> &'static str {
        "so101-sort"
    }

    fn instruction(&self) -> &'static str {
        "put each cube onto the disc of its colour"
    }

    fn scene(&self) -> SceneConfig {
        let disc = |name: &str, colour: Colour| MarkConfig {
            name: name.into(),
            shape: MarkShape::Disc {
                radius_m: Self::DISC_RADIUS,
            },
            colour,
        };
        SceneConfig {
            objects: vec![
                ObjectConfig::default(),
                ObjectConfig::cube("blue_cube", BLUE),
            ],
            marks: vec![disc("red_disc", PALE_RED), disc("blue_disc", PALE_BLUE)],
            ..SceneConfig::default()
        }
    }

    fn operator(&self) -> Box<dyn Operator> {
        Box::<SortOperator>::default()
    }

    fn action_space(&self) -> ActionSpace {
        carrying()
    }

    fn max_steps(&self) -> usize {
        120
    }

    fn reset(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        Self::place_things(world, rng)?;
        place_open_arm(world, rng)
    }

    fn reset_independently(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        let cubes = Self::place_things(world, rng)?;
        place_arm_clear_of(world, rng, &cubes)
    }

    fn features(&self) -> &'static [&'static str] {
        const {
            &[
                "red_x",
                "red_y",
                "red_z",
                "red_from_tool_x",
                "red_from_tool_y",
                "red_from_tool_z",
                "red_disc_from_red_x",
                "red_disc_from_red_y",
                "blue_x",
                "blue_y",
                "blue_z",
                "blue_from_tool_x",
                "blue_from_tool_y",
                "blue_from_tool_z",
                "blue_disc_from_blue_x",
                "blue_disc_from_blue_y",
            ]
        }
    }

    fn environment_state(&self, reading: &Reading) -> Vec<f64> {
        let mut state = Vec::with_capacity(16);
        for number in 0..2 {
            let cube = place_of(reading, number);
            let way = cube - reading.tool();
            let left = Self::disc(reading, number) - cube.xy();
            state.extend([cube.x, cube.y, cube.z, way.x, way.y, way.z, left.x, left.y]);
        }
        state
    }

    fn reward(&self, reading: &Reading) -> f64 {
        let home = [0, 1].map(|number| Self::is_home(reading, number));
        let bonus: f64 = home
            .iter()
            .map(|&h| if h { Self::BONUS } else { 0.0 })
            .sum();
        let reach = home.iter().position(|&home| !home).map_or(0.0, |number| {
            let cube = place_of(reading, number);
            (reading.tool() - Lift::grasping_point(cube)).norm()
        });
        (bonus + self.progress(reading) - 0.3 * reach).max(-0.8)
    }

    fn progress(&self, reading: &Reading) -> f64 {
        -(Self::left(reading, 0) + Self::left(reading, 1))
    }

    fn success(&self, reading: &Reading) -> bool {
        (0..2).all(|number| Self::is_home(reading, number)) && all_still(reading, 0.02)
    }
}
