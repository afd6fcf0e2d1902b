//! Lifting the cube.

use nalgebra::Vector3;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::Operator;
use crate::tasks::{Lift, cube};
use crate::world::Reading;

/// Opens, goes over the cube, down beside it, closes, and goes up.
#[derive(Clone, Debug, Default)]
pub struct LiftOperator {
    stage: Stage,
    /// Share of the full speed.
    pace: f64,
    /// How wide the gripper opens, fraction.
    opening: f64,
    /// Steps spent closing.
    closing: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Over,
    Down,
    Close,
    Up,
}

/// Height of the tool above the table before it goes down, m.
const ABOVE: f64 = 0.075;
/// Height of the tool when it closes, m.
const GRASP: f64 = 0.016;
/// Steps it takes to close on the cube.
const CLOSING: usize = 6;
/// Load of the gripper's servo that holds the cube, share of its strength.
const GRIP: f64 = 0.45;

impl Operator for LiftOperator {
    fn start(&mut self, rng: &mut ChaCha8Rng) {
        *self = Self {
            stage: Stage::Over,
            pace: rng.random_range(0.7..=1.0),
            opening: rng.random_range(0.40..=0.46),
            closing: 0,
        };
    }

    fn act(&mut self, reading: &Reading) -> Vec<f64> {
        let cube = cube(reading);
        let tool = reading.tool();
        let beside = Lift::grasping_point(cube);
        let over = Vector3::new(beside.x, beside.y, ABOVE) - tool;
        let off = over.xy().norm();
        let opening = reading.arm.positions.last().copied().unwrap_or(0.0);
        let gripped = (opening - self.opening).abs() < 0.1;
        // A cube that is beside the gripper, or that fell out of it, has to be gone for again.
        match self.stage {
            Stage::Over if off < 0.006 && gripped => self.stage = Stage::Down,
            Stage::Down if off > 0.02 => self.stage = Stage::Over,
            Stage::Down if tool.z < GRASP + 0.006 => self.stage = Stage::Close,
            Stage::Close if self.closing >= CLOSING => self.stage = Stage::Up,
            Stage::Up if tool.z - cube.z > 0.03 => {
                self.stage = Stage::Over;
                self.closing = 0;
            }
            _ => {}
        }
        // Closes until the servo pushes back as hard as it should.
        let load = reading.arm.loads.last().copied().unwrap_or(0.0);
        let squeeze = (-0.2 * (load + GRIP)).clamp(-0.09, 0.03);
        let (step, grip) = match self.stage {
            Stage::Over => (over, self.opening - opening),
            Stage::Down => (
                Vector3::new(over.x, over.y, GRASP - tool.z),
                self.opening - opening,
            ),
            Stage::Close => {
                self.closing += 1;
                (Vector3::zeros(), squeeze)
            }
            Stage::Up => (Vector3::new(0.0, 0.0, 0.11 - tool.z), squeeze),
        };
        let step = 0.6 * step / Lift::STEP;
        let longest = step.amax().max(1e-9);
        let step = step * (self.pace.min(longest) / longest);
        vec![step.x, step.y, step.z, grip / 0.15]
    }
}
