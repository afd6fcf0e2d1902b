//! Reaching the ball.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::Operator;
use crate::tasks::{Reach, ball};
use crate::world::Reading;

/// Goes straight there.
#[derive(Clone, Debug, Default)]
pub struct ReachOperator {
    /// Share of the full speed.
    pace: f64,
}

impl Operator for ReachOperator {
    fn start(&mut self, rng: &mut ChaCha8Rng) {
        self.pace = rng.random_range(0.6..=1.0);
    }

    fn act(&mut self, reading: &Reading) -> Vec<f64> {
        let step = 0.6 * (ball(reading) - reading.tool()) / Reach::STEP;
        let longest = step.amax().max(1e-9);
        let step = step * (self.pace.min(longest) / longest);
        vec![step.x, step.y, step.z]
    }
}
