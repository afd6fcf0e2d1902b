//! Hooking a closed finger into a handle: what the operators of door and drawer have in common.

use nalgebra::Vector3;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::world::{FixtureState, Reading};

/// Goes above the handle, down behind its bar, and along with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Hook {
    /// Share of the full speed.
    pace: f64,
    /// How high above the handle it comes, m.
    above: f64,
    hooked: bool,
}

/// Largest travel of the tool along an axis in a policy step, m.
const STEP: f64 = 0.02;
/// The finger is over the gap behind the bar when it is this near its middle, m.
const OVER: f64 = 0.007;
/// A finger further than this from the gap's middle has slipped out, m.
const LOST: f64 = 0.035;
/// Height of the tool, against the bar's, when the finger is behind the bar, m.
const DEEP: f64 = -0.008;

impl Hook {
    /// Begins: chooses how this one is done.
    pub(super) fn start(rng: &mut ChaCha8Rng) -> Self {
        Self {
            pace: rng.random_range(0.65..=1.0),
            above: rng.random_range(0.035..=0.05),
            hooked: false,
        }
    }

    /// What to do now: once the finger is behind the bar, it goes `pull` from where it is, m.
    pub(super) fn act(
        &mut self,
        reading: &Reading,
        fixture: &FixtureState,
        pull: Vector3<f64>,
    ) -> Vec<f64> {
        let way = fixture.handle - reading.tool();
        let off = way.xy().norm();
        if self.hooked && (off > LOST || way.z < -0.03) {
            self.hooked = false;
        }
        if !self.hooked && off < 2.0 * OVER && way.z + DEEP > -0.006 {
            self.hooked = true;
        }
        let deep = way.z + DEEP;
        let step = if self.hooked {
            Vector3::new(pull.x, pull.y, 0.5 * deep)
        } else if off > 2.0 * OVER {
            // High over everything first, then across.
            let rise = way.z + self.above;
            let share = if rise > 0.015 { 0.0 } else { 1.0 };
            Vector3::new(share * way.x, share * way.y, rise)
        } else {
            let down = if off < OVER { deep } else { 0.0 };
            Vector3::new(way.x, way.y, down)
        };
        let step = 0.6 * step / STEP;
        let longest = step.amax().max(1e-9);
        let step = step * (self.pace.min(longest) / longest);
        vec![step.x, step.y, step.z]
    }
}
