//! Pushing a cube to the left: what the operators of avoid and group have in common.

use nalgebra::Vector2;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::tasks::Push;

/// Goes behind a cube, to the right of it, and takes it along towards a place to its left, as [`PushOperator`] does.
///
/// [`PushOperator`]: super::PushOperator
#[derive(Clone, Debug, Default)]
pub(super) struct Steer {
    /// Share of the full speed.
    pace: f64,
    /// Where on the cube's side the finger aims, m from its middle.
    offset: f64,
    /// How far from the cube it lines up, m.
    clearance: f64,
    pushing: bool,
}

/// A finger further than this from the cube's middle may slide off, m.
const LOST: f64 = 0.017;
/// Way along x for each way along y that friction allows.
const STEEPEST: f64 = 0.75;
/// How much further along x the finger goes than the cube should, which slips along it.
const SLIP: f64 = 1.3;
/// The finger touches the cube when it is this near, m.
const TOUCH: f64 = 0.003;

impl Steer {
    /// Begins: chooses how this one is done.
    pub(super) fn start(rng: &mut ChaCha8Rng) -> Self {
        Self {
            pace: rng.random_range(0.65..=1.0),
            offset: rng.random_range(-0.002..=0.002),
            clearance: rng.random_range(0.012..=0.016),
            pushing: false,
        }
    }

    /// What to do to take the cube at `cube` along `way`, m.
    pub(super) fn push(
        &mut self,
        tool: Vector2<f64>,
        cube: Vector2<f64>,
        way: Vector2<f64>,
    ) -> Vec<f64> {
        // Further aslant than this the cube would slip along the finger.
        let steep = STEEPEST * way.y.abs();
        let way = Vector2::new(way.x.clamp(-steep, steep), way.y);
        let direction = way.try_normalize(1e-6).unwrap_or_default();
        // Pushed aslant, the cube is pressed off its middle; the finger must be there, or the cube turns round its edge.
        let beside = cube.x + self.offset - 0.4 * Push::CONTACT * direction.x - tool.x;
        let behind = cube.y - Push::CONTACT - tool.y;
        if self.pushing && beside.abs() > LOST {
            self.pushing = false;
        }
        if !self.pushing && beside.abs() < 0.004 && behind > -0.002 {
            self.pushing = true;
        }
        let step = if self.pushing && behind < TOUCH {
            // The flat of the finger takes the cube along by friction, also aslant.
            let stride = (0.6 * way.norm()).min(0.7 * self.pace * Push::STEP);
            Vector2::new(
                SLIP * stride * direction.x + 0.4 * beside,
                stride * direction.y,
            )
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

    /// What to do to let go of the cube at `cube` and wait.
    pub(super) fn let_go(&mut self, tool: Vector2<f64>, cube: Vector2<f64>) -> Vec<f64> {
        self.pushing = false;
        let behind = cube.y - Push::CONTACT - tool.y;
        let retreat = (behind - self.clearance).clamp(-0.6 * Push::STEP, 0.0);
        vec![0.0, retreat / Push::STEP]
    }
}
