//! Opening a door.

use nalgebra::Vector3;
use rand_chacha::ChaCha8Rng;

use super::Operator;
use super::hook::Hook;
use crate::tasks::{Door, furniture};
use crate::world::Reading;

/// Hooks into the handle and takes it along its arc.
#[derive(Clone, Debug, Default)]
pub struct DoorOperator {
    hook: Hook,
}

/// How far the door is taken beyond what is asked for, rad.
const BEYOND: f64 = 0.12;
/// How far ahead of the handle the tool aims, m.
const AHEAD: f64 = 0.035;

impl Operator for DoorOperator {
    fn start(&mut self, rng: &mut ChaCha8Rng) {
        self.hook = Hook::start(rng);
    }

    fn act(&mut self, reading: &Reading) -> Vec<f64> {
        let door = furniture(reading);
        let [depth, width, _] = Door::SIZE;
        let hinge = door.base_from_fixture * nalgebra::Point3::new(0.5 * depth, -0.5 * width, 0.0);
        let arm = door.handle - hinge.coords;
        // Opening turns clockwise, seen from above.
        let along = Vector3::new(arm.y, -arm.x, 0.0).normalize();
        let left = (Door::OPEN + BEYOND - door.opening).max(0.0) * arm.xy().norm();
        // Stays in the middle of the handle, so that the finger does not run against its stalks.
        let inward = arm.xy().normalize().push(0.0);
        let centre = inward.dot(&(door.handle - reading.tool()));
        let pull = along * left.min(AHEAD) + 0.7 * centre * inward;
        self.hook.act(reading, &door, pull)
    }
}
