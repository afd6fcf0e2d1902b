//! Carrying a cube: what the operators of stack and sort have in common.

use nalgebra::Vector3;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::tasks::Lift;
use crate::world::Reading;

/// Grasps a cube, carries it over a place, puts it down, lets go and gets out of the way.
#[derive(Clone, Debug, Default)]
pub(super) struct Carry {
    stage: Stage,
    /// Share of the full speed.
    pace: f64,
    /// How wide the gripper opens, fraction.
    opening: f64,
    /// Steps spent in this stage.
    steps: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Over,
    Down,
    Close,
    Up,
    Across,
    Lower,
    LetGo,
    Aside,
    Away,
    Done,
}

/// Height of the tool above the table before it goes down, m.
const ABOVE: f64 = 0.080;
/// Height of the tool when it closes, m.
const GRASP: f64 = 0.016;
/// Steps it takes to close on the cube.
const CLOSING: usize = 6;
/// Load of the gripper's servo that holds the cube, share of its strength.
const GRIP: f64 = 0.40;
/// How high the cube is carried, its centre above the place, m.
const CARRY: f64 = 0.04;
/// The cube is over its place when it is this near, m.
const OVER: f64 = 0.004;
/// A cube that was let go of lies where it should when it is this near, m; else it has to be gone for again.
const HOME: f64 = 0.015;
/// Distance of the tool from the cube's middle when the fixed finger just touches, and when it is clear, m.
const TOUCHING: f64 = 0.014;
const CLEAR: f64 = 0.023;
/// Change of the gripper at action 1, fraction.
const GRIPPER_STEP: f64 = 0.15;

impl Carry {
    /// Begins: chooses how this one is done.
    pub(super) fn start(rng: &mut ChaCha8Rng) -> Self {
        Self {
            stage: Stage::Over,
            pace: rng.random_range(0.75..=1.0),
            opening: rng.random_range(0.38..=0.42),
            steps: 0,
        }
    }

    /// Whether the cube was let go of and the gripper is out of the way.
    pub(super) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    fn go(&mut self, stage: Stage) {
        self.stage = stage;
        self.steps = 0;
    }

    /// What to do now with the cube whose centre is at `cube` and belongs at `place`, m.
    pub(super) fn act(
        &mut self,
        reading: &Reading,
        cube: Vector3<f64>,
        place: Vector3<f64>,
    ) -> Vec<f64> {
        let tool = reading.tool();
        let beside = Lift::grasping_point(cube);
        let over = Vector3::new(beside.x, beside.y, ABOVE) - tool;
        let across = place - cube;
        let opening = reading.opening();
        let is_open = (opening - self.opening).abs() < 0.1;
        let lost = tool.z - cube.z > 0.03;
        self.steps += 1;
        match self.stage {
            Stage::Over if over.xy().norm() < 0.006 && is_open && over.z.abs() < 0.03 => {
                self.go(Stage::Down);
            }
            Stage::Down if over.xy().norm() > 0.02 => self.go(Stage::Over),
            Stage::Down if tool.z < GRASP + 0.006 => self.go(Stage::Close),
            Stage::Close if self.steps > CLOSING => self.go(Stage::Up),
            // A cube that fell out of the gripper has to be gone for again.
            Stage::Up | Stage::Across | Stage::Lower if lost => self.go(Stage::Over),
            Stage::Up if across.z < -0.8 * CARRY => self.go(Stage::Across),
            Stage::Across if across.xy().norm() < OVER => self.go(Stage::Lower),
            Stage::Lower if across.xy().norm() > 3.0 * OVER => self.go(Stage::Across),
            // Down where it should be, or as far as it goes.
            Stage::Lower if across.z > -0.0015 || self.steps > 12 => self.go(Stage::LetGo),
            Stage::LetGo if is_open => self.go(Stage::Aside),
            Stage::Aside if self.steps > 2 => self.go(Stage::Away),
            Stage::Away if tool.z > place.z + 0.06 => {
                let is_home = across.xy().norm() < HOME && across.z.abs() < HOME;
                self.go(if is_home { Stage::Done } else { Stage::Over });
            }
            _ => {}
        }
        // Closes until the servo pushes back as hard as it should.
        let squeeze = (-0.2 * (reading.grip() + GRIP)).clamp(-0.09, 0.03);
        let open = self.opening - opening;
        let (way, grip) = match self.stage {
            // High enough for the gripper to pass over everything, then down.
            Stage::Over if over.xy().norm() > 0.03 => {
                (Vector3::new(over.x, over.y, over.z.max(0.0)), open)
            }
            Stage::Over => (over, open),
            Stage::Down => (Vector3::new(over.x, over.y, GRASP - tool.z), open),
            Stage::Close => (Vector3::zeros(), squeeze),
            Stage::Up => (Vector3::new(0.0, 0.0, across.z + CARRY), squeeze),
            Stage::Across => (Vector3::new(across.x, across.y, across.z + CARRY), squeeze),
            Stage::Lower => (
                Vector3::new(across.x, across.y, (across.z - 0.004).max(-0.012)),
                squeeze,
            ),
            // The fixed finger stays where it was, whatever the hand does, and leaves the cube's side before it goes up along it.
            Stage::LetGo => (Vector3::new(0.0, place.y + TOUCHING - tool.y, 0.0), open),
            Stage::Aside => (Vector3::new(0.0, place.y + CLEAR - tool.y, 0.0), open),
            Stage::Away | Stage::Done => {
                let aside = place.y + CLEAR - tool.y;
                (Vector3::new(0.0, aside, place.z + 0.075 - tool.z), open)
            }
        };
        let step = 0.6 * way / Lift::STEP;
        let longest = step.amax().max(1e-9);
        let step = step * (self.pace.min(longest) / longest);
        vec![step.x, step.y, step.z, grip / GRIPPER_STEP]
    }
}
