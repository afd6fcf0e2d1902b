//! Pushing two cubes together.

use nalgebra::Vector2;
use rand_chacha::ChaCha8Rng;

use super::Operator;
use super::steer::Steer;
use crate::tasks::{Group, place_of};
use crate::world::Reading;

/// Takes the red cube along until it meets the blue one, and both over the line.
#[derive(Clone, Debug, Default)]
pub struct GroupOperator {
    steer: Steer,
}

/// How far beyond the line the red cube is taken, m.
const BEYOND: f64 = 0.014;
/// Cubes whose middles are nearer than this along the way touch, m.
const TOUCH: f64 = 0.034;

impl Operator for GroupOperator {
    fn start(&mut self, rng: &mut ChaCha8Rng) {
        self.steer = Steer::start(rng);
    }

    fn act(&mut self, reading: &Reading) -> Vec<f64> {
        let red = place_of(reading, Group::RED).xy();
        let blue = place_of(reading, Group::BLUE).xy();
        let tool = reading.tool().xy();
        let left = Group::LINE + BEYOND - red.y;
        if left < 0.002 {
            return self.steer.let_go(tool, red);
        }
        let ahead = blue - red;
        let way = if ahead.y > TOUCH {
            // Behind the middle of the other cube before they meet.
            ahead
        } else {
            // The hind cube is kept behind the middle of the one in front, or they turn away from each other.
            Vector2::new(0.8 * ahead.x, left)
        };
        self.steer.push(tool, red, way)
    }
}
