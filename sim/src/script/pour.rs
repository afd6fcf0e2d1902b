//! Pouring.

use nalgebra::Vector3;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::Operator;
use crate::tasks::Pour;
use crate::world::Reading;

/// Lines up before the cup, goes forward, closes, lifts, carries it beside the bowl and tips it to the left.
#[derive(Clone, Debug, Default)]
pub struct PourOperator {
    stage: Stage,
    /// Share of the full speed.
    pace: f64,
    /// How wide the gripper opens, fraction.
    opening: f64,
    /// How far the cup is tipped, rad.
    tip: f64,
    /// Steps spent closing.
    closing: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Before,
    Forward,
    Close,
    Lift,
    Across,
    Tip,
}

/// Largest travel of the tool along an axis in a policy step, m.
const STEP: f64 = 0.02;
/// How far before the cup's middle the tool lines up, m.
const BEFORE: f64 = 0.046;
/// How far to the left of the grasping point the tool passes the cup, m.
const CLEAR: f64 = 0.008;
/// Height at which the cup is carried, m.
const CARRY: f64 = 0.078;
/// How far to the right of the bowl's middle the tool is when it tips the cup, m.
const BESIDE: f64 = 0.040;
/// How far before the bowl's middle, m: it points down a little, so the mouth comes back.
const AHEAD: f64 = 0.026;
/// Steps it takes to close on the cup.
const CLOSING: usize = 6;
/// Load of the gripper's servo that holds the cup, share of its strength.
const GRIP: f64 = 0.25;

impl Operator for PourOperator {
    fn start(&mut self, rng: &mut ChaCha8Rng) {
        *self = Self {
            stage: Stage::Before,
            pace: rng.random_range(0.7..=1.0),
            opening: rng.random_range(0.34..=0.38),
            tip: rng.random_range(2.2..=2.35),
            closing: 0,
        };
    }

    fn act(&mut self, reading: &Reading) -> Vec<f64> {
        let tool = reading.tool();
        let to_cup = Pour::grasping_point(reading) - tool;
        let bowl = Pour::bowl(reading).translation.vector;
        let to_bowl = Vector3::new(bowl.x + AHEAD, bowl.y - BESIDE, CARRY) - tool;
        let beside = to_cup + Vector3::new(0.0, CLEAR, 0.0);
        let before = beside - Vector3::new(BEFORE, 0.0, 0.0);
        // How far the tool is turned to the left: where its fixed finger, which began there, is now.
        let finger = reading.base_from_tool.rotation * Vector3::x();
        let turned = (-finger.z).atan2(finger.y);
        let opening = reading.opening();
        match self.stage {
            Stage::Before if before.yz().norm() < 0.005 && before.x.abs() < 0.01 => {
                self.stage = Stage::Forward;
            }
            Stage::Forward if beside.yz().norm() > 0.012 => self.stage = Stage::Before,
            Stage::Forward if to_cup.x < 0.003 => self.stage = Stage::Close,
            Stage::Close if self.closing >= CLOSING => self.stage = Stage::Lift,
            // A cup that stayed behind has to be gone for again.
            Stage::Lift | Stage::Across if to_cup.norm() > 0.03 => {
                self.stage = Stage::Before;
                self.closing = 0;
            }
            Stage::Lift if tool.z > CARRY - 0.012 => self.stage = Stage::Across,
            Stage::Across if to_bowl.xy().norm() < 0.008 => self.stage = Stage::Tip,
            _ => {}
        }
        let squeeze = (-0.2 * (reading.grip() + GRIP)).clamp(-0.09, 0.03);
        let (way, grip, tip) = match self.stage {
            Stage::Before => (0.7 * before, self.opening - opening, 0.0),
            Stage::Forward => {
                let slow = Vector3::new(beside.x.min(0.02), beside.y, beside.z);
                (slow, self.opening - opening, 0.0)
            }
            Stage::Close => {
                self.closing += 1;
                (Vector3::zeros(), squeeze, 0.0)
            }
            Stage::Lift => (Vector3::new(0.0, 0.0, CARRY - tool.z), squeeze, 0.0),
            Stage::Across => (to_bowl, squeeze, 0.0),
            Stage::Tip => (to_bowl, squeeze, self.tip),
        };
        let step = 0.6 * way / STEP;
        let longest = step.amax().max(1e-9);
        let step = step * (self.pace.min(longest) / longest);
        // To the left is against the tool's axis, which points forward.
        let roll = (0.6 * (turned - tip) / Pour::ROLL).clamp(-self.pace, self.pace);
        vec![step.x, step.y, step.z, grip / 0.15, roll]
    }
}
