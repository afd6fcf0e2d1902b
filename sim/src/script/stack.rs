//! Stacking.

use rand_chacha::ChaCha8Rng;

use super::Operator;
use super::carry::Carry;
use crate::tasks::{Stack, place_of};
use crate::world::Reading;

/// Carries the red cube onto the blue one.
#[derive(Clone, Debug, Default)]
pub struct StackOperator {
    carry: Carry,
}

impl Operator for StackOperator {
    fn start(&mut self, rng: &mut ChaCha8Rng) {
        self.carry = Carry::start(rng);
    }

    fn act(&mut self, reading: &Reading) -> Vec<f64> {
        let red = place_of(reading, Stack::RED);
        self.carry.act(reading, red, Stack::place(reading))
    }
}
