//! Pushing round a zone.

use nalgebra::Vector2;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::Operator;
use super::steer::Steer;
use crate::tasks::{Avoid, Push, place_of};
use crate::world::Reading;

/// Takes the cube past the zone on the side where it lies, then to the disc.
#[derive(Clone, Debug, Default)]
pub struct AvoidOperator {
    steer: Steer,
    /// How far from the zone's middle the cube passes, m.
    berth: f64,
    /// The side on which it passes, the sign of x; chosen at the first look.
    side: Option<f64>,
}

/// The cube is home when it is this close, m; the tolerance leaves room.
const HOME: f64 = 0.014;
/// How far to the right of the zone's middle the cube is at its full berth, m.
const BEFORE: f64 = 0.035;
/// The zone is passed when the cube is this far to the left of its middle, m.
const PASSED: f64 = 0.012;

impl Operator for AvoidOperator {
    fn start(&mut self, rng: &mut ChaCha8Rng) {
        *self = Self {
            steer: Steer::start(rng),
            berth: rng.random_range(0.050..=0.054),
            side: None,
        };
    }

    fn act(&mut self, reading: &Reading) -> Vec<f64> {
        let cube = place_of(reading, Avoid::CUBE).xy();
        let zone = Avoid::zone(reading);
        let tool = reading.tool().xy();
        let side = *self
            .side
            .get_or_insert(if cube.x < zone.x { -1.0 } else { 1.0 });
        let left = Vector2::from(Push::TARGET) - cube;
        if left.norm() < HOME || left.y < 0.004 {
            return self.steer.let_go(tool, cube);
        }
        let aside = zone.x + side * self.berth - cube.x;
        let way = if cube.y < zone.y - BEFORE {
            Vector2::new(aside, zone.y - BEFORE + 0.01 - cube.y)
        } else if cube.y < zone.y + PASSED {
            Vector2::new(aside, BEFORE)
        } else {
            left
        };
        self.steer.push(tool, cube, way)
    }
}
