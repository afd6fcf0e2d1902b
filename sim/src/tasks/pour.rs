//! `so101-pour`: pour the balls out of a cup into a bowl.

use std::ops::RangeInclusive;

use nalgebra::{Isometry3, Matrix3, Point3, Rotation3, UnitQuaternion, Vector3};
use rand_chacha::ChaCha8Rng;
use rapport_robot::action::{ActionSpace, ToolAxis, ToolDelta, ToolOrientation};

use super::{Task, joints_at, place_of, within};
use crate::scene::{
    BLUE, Colour, FixtureConfig, FixtureKind, ObjectConfig, ObjectShape, SceneConfig, WHITE,
};
use crate::script::{Operator, PourOperator};
use crate::world::{Reading, World, WorldError};

/// A small square cup with four balls in it stands before the arm, a bowl to its left. The gripper points forward, a little
/// down, and is open, its fixed finger to the left; the action moves the tool, at most 2 cm per step along each axis, and the gripper, at
/// most 0.15 of its range, and turns the tool about its axis, at most 0.25 rad.
///
/// Reward: `-d(balls, bowl) - 0.3 d(tool, side of the cup) (1 - in)`, the balls' mean distance from the middle of the bowl's
/// floor, in m, plus [`Pour::BONUS`] `in`, the share of the balls in the bowl. Between -0.4 and 0.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pour;

const ORANGE: Colour = [0.95, 0.45, 0.05];

impl Pour {
    /// Number of the cup.
    pub const CUP: usize = 0;
    /// How many balls there are; their numbers follow the cup's.
    pub const BALLS: usize = 4;
    /// Radius of a ball, m.
    pub const BALL_RADIUS: f64 = 0.006;
    /// Outer width and height of the cup and thickness of its walls, m.
    pub const CUP_SIZE: [f64; 3] = [0.034, 0.060, 0.003];
    /// Where the cup's middle starts, x, m.
    pub const CUP_X: RangeInclusive<f64> = 0.28..=0.295;
    /// Where the cup's middle starts, y, m.
    pub const CUP_Y: RangeInclusive<f64> = -0.05..=-0.02;
    /// Depth, width and height of the bowl, m.
    pub const BOWL_SIZE: [f64; 3] = [0.10, 0.10, 0.022];
    /// Where the bowl's middle is, x, m.
    pub const BOWL_X: RangeInclusive<f64> = 0.26..=0.275;
    /// Where the bowl's middle is, y, m.
    pub const BOWL_Y: RangeInclusive<f64> = 0.08..=0.09;
    /// Balls that must be in the bowl.
    pub const POURED: usize = 3;
    /// Reward for all balls in the bowl.
    pub const BONUS: f64 = 0.2;
    /// How far the tool points down from level, rad. So low and so near the arm cannot point level.
    pub const PITCH: f64 = 0.35;
    /// Turn of the tool at action 1, rad per step.
    pub const ROLL: f64 = 0.25;

    /// Where the tool should be to grasp the cup: its fixed finger just to the left of it, m.
    pub fn grasping_point(reading: &Reading) -> Vector3<f64> {
        let beside = Vector3::new(0.0, 0.5 * Self::CUP_SIZE[0] + 0.003, 0.0);
        reading
            .objects
            .get(Self::CUP)
            .map_or(Vector3::new(0.28, -0.04, 0.03), |cup| {
                cup.position() + cup.base_from_object.rotation * beside
            })
    }

    /// Pose of the bowl.
    pub fn bowl(reading: &Reading) -> Isometry3<f64> {
        reading
            .fixtures
            .first()
            .map_or(Isometry3::translation(0.275, 0.08, 0.0), |bowl| {
                bowl.base_from_fixture
            })
    }

    /// How many balls are in the bowl.
    pub fn poured(reading: &Reading) -> usize {
        let bowl = Self::bowl(reading);
        let [depth, width, height] = Self::BOWL_SIZE;
        Self::balls(reading)
            .filter(|&ball| {
                let p = bowl.inverse_transform_point(&Point3::from(ball));
                p.x.abs() < 0.5 * depth && p.y.abs() < 0.5 * width && p.z < height + 0.005
            })
            .count()
    }

    /// Centres of the balls, m.
    pub fn balls(reading: &Reading) -> impl Iterator<Item = Vector3<f64>> + '_ {
        (1..=Self::BALLS).map(|ball| place_of(reading, ball))
    }

    fn place_things(world: &World, rng: &mut ChaCha8Rng) -> Result<Vector3<f64>, WorldError> {
        let (x, y) = (within(rng, &Self::CUP_X), within(rng, &Self::CUP_Y));
        world.place_object(Self::CUP, x, y, 0.0)?;
        let [_, _, wall] = Self::CUP_SIZE;
        let side = Self::BALL_RADIUS + 0.0003;
        for ball in 0..Self::BALLS {
            let (a, b) = (ball % 2 * 2, ball / 2 * 2);
            let place = Isometry3::translation(
                x + (a as f64 - 1.0) * side,
                y + (b as f64 - 1.0) * side,
                wall + Self::BALL_RADIUS,
            );
            world.put_object(1 + ball, &place)?;
        }
        let bowl = [within(rng, &Self::BOWL_X), within(rng, &Self::BOWL_Y)];
        world.place_fixture(0, bowl, 0.0, 0.0)?;
        Ok(Vector3::new(x, y, 0.5 * Self::CUP_SIZE[1]))
    }

    /// Puts the arm at `tool`, pointing forward and [`Pour::PITCH`] down, its fixed finger to the left.
    fn place_arm(world: &World, tool: Vector3<f64>, opening: f64) -> Result<(), WorldError> {
        let (sin, cos) = Self::PITCH.sin_cos();
        let base_from_tool = Matrix3::from_columns(&[
            Vector3::y(),
            Vector3::new(sin, 0.0, cos),
            Vector3::new(cos, 0.0, -sin),
        ]);
        let forward =
            UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(base_from_tool));
        world.place_arm(&joints_at(tool, forward, opening)?)
    }
}

impl Task for Pour {
    fn name(&self) -> &'static str {
        "so101-pour"
    }

    fn instruction(&self) -> &'static str {
        "pour the balls into the bowl"
    }

    fn scene(&self) -> SceneConfig {
        let [width_m, height_m, wall_m] = Self::CUP_SIZE;
        let cup = ObjectConfig {
            name: "cup".into(),
            shape: ObjectShape::Cup {
                width_m,
                height_m,
                wall_m,
            },
            mass_kg: 0.04,
            colour: WHITE,
            ..ObjectConfig::default()
        };
        let ball = |number: usize| ObjectConfig {
            name: format!("ball_{number}"),
            shape: ObjectShape::Ball {
                radius_m: Self::BALL_RADIUS,
            },
            mass_kg: 0.003,
            colour: ORANGE,
            ..ObjectConfig::default()
        };
        SceneConfig {
            objects: std::iter::once(cup)
                .chain((1..=Self::BALLS).map(ball))
                .collect(),
            fixtures: vec![FixtureConfig {
                name: "bowl".into(),
                kind: FixtureKind::Tray {
                    size_m: Self::BOWL_SIZE,
                },
                colour: BLUE,
            }],
            ..SceneConfig::default()
        }
    }

    fn operator(&self) -> Box<dyn Operator> {
        Box::<PourOperator>::default()
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::ToolDelta(ToolDelta {
            axes: vec![
                ToolAxis::X,
                ToolAxis::Y,
                ToolAxis::Z,
                ToolAxis::Gripper,
                ToolAxis::Roll,
            ],
            scale_m_per_step: 0.02,
            gripper_per_step: 0.15,
            roll_per_step: Self::ROLL,
            workspace_min: [0.22, -0.13, 0.028],
            workspace_max: [0.31, 0.13, 0.14],
            height: None,
            orientation: ToolOrientation::Keep,
            ..ToolDelta::default()
        })
    }

    fn max_steps(&self) -> usize {
        80
    }

    fn reset(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        Self::place_things(world, rng)?;
        let tool = Vector3::new(
            within(rng, &(0.235..=0.245)),
            within(rng, &(-0.04..=-0.01)),
            within(rng, &(0.05..=0.08)),
        );
        Self::place_arm(world, tool, within(rng, &(0.32..=0.40)))
    }

    fn reset_independently(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        let cup = Self::place_things(world, rng)?;
        loop {
            let tool = Vector3::new(
                within(rng, &(0.23..=0.30)),
                within(rng, &(-0.10..=0.10)),
                within(rng, &(0.03..=0.14)),
            );
            // Clear of the cup, below the fingers or before their tips, and of the bowl.
            let clear = tool.z > cup.z + 0.065 || tool.x < 0.24;
            if clear {
                return Self::place_arm(world, tool, within(rng, &(0.1..=0.40)));
            }
        }
    }

    fn features(&self) -> &'static [&'static str] {
        const {
            &[
                "cup_x",
                "cup_y",
                "cup_z",
                "cup_up_x",
                "cup_up_y",
                "cup_up_z",
                "side_from_tool_x",
                "side_from_tool_y",
                "side_from_tool_z",
                "bowl_from_cup_x",
                "bowl_from_cup_y",
                "balls_from_bowl_x",
                "balls_from_bowl_y",
                "balls_from_bowl_z",
                "balls_in_bowl",
            ]
        }
    }

    fn environment_state(&self, reading: &Reading) -> Vec<f64> {
        let cup = place_of(reading, Self::CUP);
        let up = reading.objects.get(Self::CUP).map_or(Vector3::z(), |cup| {
            cup.base_from_object.rotation * Vector3::z()
        });
        let way = Self::grasping_point(reading) - reading.tool();
        let bowl = Self::bowl(reading).translation.vector;
        let balls = Self::balls(reading).sum::<Vector3<f64>>() / Self::BALLS as f64 - bowl;
        vec![
            cup.x,
            cup.y,
            cup.z,
            up.x,
            up.y,
            up.z,
            way.x,
            way.y,
            way.z,
            bowl.x - cup.x,
            bowl.y - cup.y,
            balls.x,
            balls.y,
            balls.z,
            Self::poured(reading) as f64 / Self::BALLS as f64,
        ]
    }

    fn reward(&self, reading: &Reading) -> f64 {
        let share = Self::poured(reading) as f64 / Self::BALLS as f64;
        let reach = (reading.tool() - Self::grasping_point(reading)).norm();
        let left = -self.progress(reading);
        (Self::BONUS * share - left - 0.3 * reach * (1.0 - share)).max(-0.4)
    }

    fn progress(&self, reading: &Reading) -> f64 {
        let bowl = Self::bowl(reading).translation.vector;
        let sum: f64 = Self::balls(reading).map(|ball| (ball - bowl).norm()).sum();
        -sum / Self::BALLS as f64
    }

    fn success(&self, reading: &Reading) -> bool {
        Self::poured(reading) >= Self::POURED
    }
}
