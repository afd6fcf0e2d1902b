//! Pushing the cube home.

use nalgebra::Vector2;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::Operator;
use crate::tasks::{Push, cube_in_plane};
use crate::world::Reading;

/// Goes behind the cube, to the right of it, then takes it along to the disc.
#[derive(Clone, Debug, Default)]
pub struct PushOperator {
    /// Share of the full speed.
    pace: f64,
    /// Where on the cube's side the finger aims, m from its middle.
    offset: f64,
    /// How far from the cube it lines up, m.
    clearance: f64,
    pushing: bool,
}

/// The cube is home when it is this close, m; the tolerance leaves room.
const HOME: f64 = 0.012;
/// A finger further than this from the cube's middle may slide off, m.
const LOST: f64 = 0.012;
/// The finger touches the cube when it is this near, m.
const TOUCH: f64 = 0.003;

impl Operator for PushOperator {
    fn start(&mut self, rng: &mut ChaCha8Rng) {
        *self = Self {
            pace: rng.random_range(0.65..=1.0),
            offset: rng.random_range(-0.003..=0.003),
            clearance: rng.random_range(0.016..=0.022),
            pushing: false,
        };
    }

    fn act(&mut self, reading: &Reading) -> Vec<f64> {
        let cube = cube_in_plane(reading);
        let tool = reading.tool().xy();
        let left = Vector2::from(Push::TARGET) - cube;
        let direction = left.try_normalize(1e-6).unwrap_or_default();
        // Pushed aslant, the cube is pressed off its middle; the finger must be there, or the cube turns round its edge.
        let beside = cube.x + self.offset - 0.4 * Push::CONTACT * direction.x - tool.x;
        let behind = cube.y - Push::CONTACT - tool.y;
        // Home, or as far to the left as a push to the left can help: lets go of it and waits.
        if left.norm() < HOME || left.y < 0.004 {
            self.pushing = false;
            let retreat = (behind - self.clearance).clamp(-0.6 * Push::STEP, 0.0);
            return vec![0.0, retreat / Push::STEP];
        }
        if self.pushing && beside.abs() > LOST {
            self.pushing = false;
        }
        if !self.pushing && beside.abs() < 0.004 && behind > -0.002 {
            self.pushing = true;
        }
        let step = if self.pushing && behind < TOUCH {
            // The flat of the finger takes the cube along by friction, also aslant.
            let stride = (0.6 * left.norm()).min(0.7 * self.pace * Push::STEP);
            Vector2::new(stride * direction.x + 0.4 * beside, stride * direction.y)
        } else if self.pushing {
            Vector2::new(0.6 * beside, behind.min(0.6 * Push::STEP))
        } else {
            // First out of the cube's way, then along it.
            let along = if behind > 0.6 * self.clearance {
                beside
            } else {
                0.0
            };
            Vector2::new(0.7 * along, 0.7 * (behind - self.clearance))
        };
        let step = step / Push::STEP;
        let longest = step.amax().max(1e-9);
        let limit = self.pace.min(longest) / longest;
        vec![step.x * limit, step.y * limit]
    }
}
