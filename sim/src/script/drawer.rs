//! Pulling a drawer.

use nalgebra::Vector3;
use rand_chacha::ChaCha8Rng;

use super::Operator;
use super::hook::Hook;
use crate::tasks::{Drawer, furniture};
use crate::world::Reading;

/// Hooks into the handle and pulls.
#[derive(Clone, Debug, Default)]
pub struct DrawerOperator {
    hook: Hook,
}

/// How far the drawer is pulled beyond what is asked for, m.
const BEYOND: f64 = 0.008;
/// How far ahead of the handle the tool aims, m.
const AHEAD: f64 = 0.035;

impl Operator for DrawerOperator {
    fn start(&mut self, rng: &mut ChaCha8Rng) {
        self.hook = Hook::start(rng);
    }

    fn act(&mut self, reading: &Reading) -> Vec<f64> {
        let drawer = furniture(reading);
        let out = drawer.base_from_fixture.rotation * Vector3::x();
        let across = drawer.base_from_fixture.rotation * Vector3::y();
        let left = (Drawer::OPEN + BEYOND - drawer.opening).max(0.0);
        let centre = across.dot(&(drawer.handle - reading.tool()));
        let pull = left.min(AHEAD) * out + 0.7 * centre * across;
        self.hook.act(reading, &drawer, pull)
    }
}
