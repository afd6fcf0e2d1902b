//! `so101-avoid`: push the cube onto the green disc, round a zone that it must keep away from.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4};
use std::ops::RangeInclusive;

use nalgebra::{Vector2, Vector3};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rapport_robot::action::{ActionSpace, ToolAxis, ToolDelta, ToolOrientation};

use super::{Push, Task, all_still, joints_over, place_of, quarter_turns, within};
use crate::scene::{BLACK, MarkConfig, MarkShape, ObjectConfig, ObjectShape, SceneConfig, WHITE};
use crate::script::{AvoidOperator, Operator};
use crate::world::{Reading, World, WorldError};

/// [`Push`] with a black zone on the straight way to the disc, and in the zone a white skittle, which tells at the end whether
/// something was there. The action is `Push`'s.
///
/// Reward: `-d(cube, disc) - 0.3 d(tool, pushing point)` in m, less [`Avoid::PENALTY`] while the cube is nearer than
/// [`Avoid::SAFE`] to the zone's middle, plus [`Push::BONUS`] where the cube lies on the disc. Between -1 and 0.1. The first and
/// the third term are the privileged reward of RAPL's "avoid" as it is remembered (unconfirmed): `-d(object, goal) -
/// 2 [d(object, obstacle) < d_safe]` in a world about six times as large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Avoid;

impl Avoid {
    /// Number of the cube.
    pub const CUBE: usize = 0;
    /// Number of the skittle.
    pub const SKITTLE: usize = 1;
    /// Lengths of the skittle's edges, m.
    pub const SKITTLE_SIZE: [f64; 3] = [0.014, 0.014, 0.045];
    /// Where the zone's middle may be, x, m.
    pub const ZONE_X: RangeInclusive<f64> = 0.212..=0.228;
    /// Where the zone's middle may be, y, m.
    pub const ZONE_Y: RangeInclusive<f64> = -0.018..=-0.003;
    /// Radius of the zone, m.
    pub const ZONE_RADIUS: f64 = 0.026;
    /// A cube whose middle is nearer than this to the zone's is too near, m.
    pub const SAFE: f64 = 0.040;
    /// How far the cube's middle starts to one side of the zone's or the other, x, m.
    pub const CUBE_X: RangeInclusive<f64> = 0.012..=0.032;
    /// Where the cube's middle starts, y, m.
    pub const CUBE_Y: RangeInclusive<f64> = -0.115..=-0.10;
    /// What a step with the cube too near costs.
    pub const PENALTY: f64 = 0.35;

    /// Middle of the zone, base frame, m.
    pub fn zone(reading: &Reading) -> Vector2<f64> {
        reading
            .marks
            .get(1)
            .map_or(Vector2::new(0.22, -0.01), |mark| mark.xy())
    }

    /// Whether the skittle stands where it stood.
    pub fn is_standing(reading: &Reading) -> bool {
        reading.objects.get(Self::SKITTLE).is_none_or(|skittle| {
            let up = skittle.base_from_object.rotation * Vector3::z();
            up.z > 0.9 && (skittle.position().xy() - Self::zone(reading)).norm() < 0.008
        })
    }

    fn place_marks(world: &World, rng: &mut ChaCha8Rng) -> Result<Vector2<f64>, WorldError> {
        let zone = Vector2::new(within(rng, &Self::ZONE_X), within(rng, &Self::ZONE_Y));
        let [x, y] = Push::TARGET;
        world.place_mark(0, Vector3::new(x, y, 0.0))?;
        world.place_mark(1, zone.push(0.0))?;
        world.place_object(Self::SKITTLE, zone.x, zone.y, 0.0)?;
        Ok(zone)
    }
}

impl Task for Avoid {
    fn name(&self) -> &'static str {
        "so101-avoid"
    }

    fn instruction(&self) -> &'static str {
        "push the red cube onto the green disc and keep away from the black zone"
    }

    fn scene(&self) -> SceneConfig {
        SceneConfig {
            objects: vec![
                ObjectConfig::default(),
                ObjectConfig {
                    name: "skittle".into(),
                    shape: ObjectShape::Box {
                        size_m: Self::SKITTLE_SIZE,
                    },
                    mass_kg: 0.01,
                    colour: WHITE,
                    ..ObjectConfig::default()
                },
            ],
            marks: vec![
                MarkConfig::target(MarkShape::Disc {
                    radius_m: Push::TARGET_RADIUS,
                }),
                MarkConfig {
                    name: "zone".into(),
                    shape: MarkShape::Disc {
                        radius_m: Self::ZONE_RADIUS,
                    },
                    colour: BLACK,
                },
            ],
            ..SceneConfig::default()
        }
    }

    fn operator(&self) -> Box<dyn Operator> {
        Box::<AvoidOperator>::default()
    }

    fn action_space(&self) -> ActionSpace {
        pushing()
    }

    fn max_steps(&self) -> usize {
        60
    }

    fn reset(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        let zone = Self::place_marks(world, rng)?;
        let off = within(rng, &Self::CUBE_X);
        let x = zone.x + if rng.random() { off } else { -off };
        let y = within(rng, &Self::CUBE_Y);
        let yaw = within(rng, &(-Push::CUBE_YAW..=Push::CUBE_YAW));
        world.place_object(Self::CUBE, x, y, yaw)?;
        place_closed_arm(world, rng)
    }

    fn reset_independently(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
        let zone = Self::place_marks(world, rng)?;
        loop {
            let cube = Vector2::new(within(rng, &Push::CUBE_X), within(rng, &(-0.10..=0.15)));
            let yaw = within(rng, &(-FRAC_PI_4..=FRAC_PI_4));
            // Anywhere but on the skittle.
            if (cube - zone).norm() > 0.034 {
                world.place_object(Self::CUBE, cube.x, cube.y, yaw)?;
                return place_arm_clear_of(world, rng, &[cube, zone]);
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
                "zone_from_cube_x",
                "zone_from_cube_y",
                "skittle_from_zone_x",
                "skittle_from_zone_y",
                "skittle_z",
            ]
        }
    }

    fn environment_state(&self, reading: &Reading) -> Vec<f64> {
        let cube = place_of(reading, Self::CUBE).xy();
        let skittle = place_of(reading, Self::SKITTLE);
        let zone = Self::zone(reading);
        let (sin, cos) = quarter_turns(reading, Self::CUBE);
        let mut state = vec![cube.x, cube.y, sin, cos];
        for way in [
            cube - reading.tool().xy(),
            Vector2::from(Push::TARGET) - cube,
            zone - cube,
            skittle.xy() - zone,
        ] {
            state.extend([way.x, way.y]);
        }
        state.push(skittle.z);
        state
    }

    fn reward(&self, reading: &Reading) -> f64 {
        let cube = place_of(reading, Self::CUBE).xy();
        let distance = -self.progress(reading);
        let reach = (reading.tool().xy() - Push::pushing_point(cube)).norm();
        let mut reward = -distance - 0.3 * reach;
        if distance < Push::TOLERANCE {
            reward += Push::BONUS;
        }
        if (cube - Self::zone(reading)).norm() < Self::SAFE {
            reward -= Self::PENALTY;
        }
        reward.max(-1.0)
    }

    fn progress(&self, reading: &Reading) -> f64 {
        -(Vector2::from(Push::TARGET) - place_of(reading, Self::CUBE).xy()).norm()
    }

    fn success(&self, reading: &Reading) -> bool {
        -self.progress(reading) < Push::TOLERANCE
            && Self::is_standing(reading)
            && all_still(reading, Push::STILL)
    }
}

/// The action space of tasks that push: the closed tool in the plane, at most 2.5 cm per step along each axis.
pub(super) fn pushing() -> ActionSpace {
    ActionSpace::ToolDelta(ToolDelta {
        axes: vec![ToolAxis::X, ToolAxis::Y],
        scale_m_per_step: Push::STEP,
        gripper_opening: 0.0,
        workspace_min: [0.13, -0.165, 0.01],
        workspace_max: [0.30, 0.165, 0.10],
        height: Some(Push::HEIGHT),
        orientation: ToolOrientation::Keep,
        ..ToolDelta::default()
    })
}

/// Puts the arm to the right of everything, closed and pointing down.
pub(super) fn place_closed_arm(world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError> {
    let tool = Vector3::new(
        within(rng, &(0.19..=0.25)),
        within(rng, &(-0.16..=-0.15)),
        Push::HEIGHT,
    );
    world.place_arm(&joints_over(tool, FRAC_PI_2, 0.0)?)
}

/// Puts the arm anywhere at its height, closed and pointing down, clear of things at these places.
pub(super) fn place_arm_clear_of(
    world: &World,
    rng: &mut ChaCha8Rng,
    things: &[Vector2<f64>],
) -> Result<(), WorldError> {
    loop {
        let tool = Vector2::new(within(rng, &(0.15..=0.27)), within(rng, &(-0.15..=0.15)));
        // The finger is about as wide as a cube: nearer than this they would overlap.
        if things.iter().all(|thing| (thing - tool).norm() > 0.042) {
            let tool = tool.push(Push::HEIGHT);
            return world.place_arm(&joints_over(tool, FRAC_PI_2, 0.0)?);
        }
    }
}
