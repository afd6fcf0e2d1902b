//! Sorting.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::Operator;
use super::carry::Carry;
use crate::scene::ObjectConfig;
use crate::tasks::{Sort, place_of};
use crate::world::Reading;

/// Carries one cube home, then the other.
#[derive(Clone, Debug, Default)]
pub struct SortOperator {
    /// The cube in hand.
    now: usize,
    carries: [Carry; 2],
}

impl Operator for SortOperator {
    fn start(&mut self, rng: &mut ChaCha8Rng) {
        *self = Self {
            now: rng.random_range(0..2),
            carries: [Carry::start(rng), Carry::start(rng)],
        };
    }

    fn act(&mut self, reading: &Reading) -> Vec<f64> {
        let other = 1 - self.now;
        if self.carries[self.now].is_done() && !self.carries[other].is_done() {
            self.now = other;
        }
        let cube = place_of(reading, self.now);
        let height = 0.5 * ObjectConfig::CUBE_SIDE;
        let place = Sort::disc(reading, self.now).push(height);
        self.carries[self.now].act(reading, cube, place)
    }
}
