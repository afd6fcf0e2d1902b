//! A small move of every joint, one after the other, to see that each does what it is told and no other one does.
//!
//! It finds a joint that does not move, moves too little or too far, or takes another one along. It cannot find two joints whose names are
//! exchanged, nor a zero in the wrong place: goal and measurement are wrong alike then.

use std::time::Duration;

use serde::Serialize;

use crate::arm::JointKind;
use crate::control::Control;
use crate::guard::GuardState;

/// How far a joint is moved, rad (2 degrees); a gripper this fraction of its opening.
const MOVE: f64 = 0.035;

/// Time to get there, and to settle.
const PATIENCE: Duration = Duration::from_millis(600);

/// What came of a small move of one joint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Response {
    /// Joint name.
    pub name: String,
    /// The move that was asked for, rad or fraction.
    pub asked: f64,
    /// What was measured of it.
    pub moved: f64,
    /// The largest move of any other joint meanwhile.
    pub others: f64,
}

impl Response {
    /// In the right direction, more or less as far as asked, and alone.
    pub fn is_right(&self) -> bool {
        (0.3..2.0).contains(&(self.moved / self.asked)) && self.others < 0.7 * self.asked.abs()
    }
}

impl Control {
    /// Moves every joint of an armed arm by two degrees and back, and says what each did. Stops at the first that does something else, and
    /// holds. Takes about a second a joint.
    pub fn sanity_move(&mut self) -> Vec<Response> {
        let home = self.guard().command().to_vec();
        let mut responses = Vec::new();
        for (i, spec) in self.guard().spec().joints.clone().iter().enumerate() {
            let limit = self.guard().limits()[i];
            // Towards the middle of its range.
            let inwards = (0.5 * (limit.min + limit.max) - home[i]).signum();
            let asked = MOVE * inwards;
            let mut goal = home.clone();
            goal[i] += asked;
            let before = self.settle(&home);
            let after = self.settle(&goal);
            let moves: Vec<f64> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
            let others = moves.iter().enumerate().filter(|(j, _)| *j != i);
            let response = Response {
                name: spec.name.clone(),
                asked,
                moved: moves.get(i).copied().unwrap_or_default(),
                others: others.map(|(_, m)| m.abs()).fold(0.0, f64::max),
            };
            // A gripper may be pressing on something.
            let right = response.is_right() || spec.kind == JointKind::Gripper;
            responses.push(response);
            if !right || !self.guard().state().follows_goals() {
                self.hold();
                return responses;
            }
        }
        self.settle(&home);
        responses
    }

    /// Where the joints are after some time with this goal.
    fn settle(&mut self, goal: &[f64]) -> Vec<f64> {
        let end = self.now() + PATIENCE;
        let mut tick = self.tick(Some(goal));
        while self.now() < end && tick.guard != GuardState::Fault {
            tick = self.tick(Some(goal));
        }
        tick.state.positions
    }
}
