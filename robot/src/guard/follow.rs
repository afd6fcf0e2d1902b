//! From goals to commands: takes goals, watches that they keep coming, sends what the limiter makes of them.

use std::time::Duration;

use super::report::Reason;
use super::state::{GuardEvent, GuardState};
use super::{Guard, IN_A_ROW, REPEATS};
use crate::arm::{ArmError, CheckedGoal};

/// What the first command after arming may bridge, s.
const FIRST_INTERVAL: f64 = 0.01;

impl Guard {
    /// Takes a goal if there is one (rad, gripper: fraction, `[dof]`) and sends the next command. Call it at a fixed rate,
    /// also without a goal. Returns the command, or `None` where nothing was sent.
    ///
    /// Problems show in [`Guard::state`], [`Guard::reason`] and [`Guard::report`].
    pub fn send(&mut self, now: Duration, goal: Option<&[f64]>) -> Option<&[f64]> {
        self.memory.report.ticks += 1;
        if let Some(goal) = goal {
            self.take(now, goal);
        }
        let fresh = self.watch(now);
        if !self.memory.writer_open {
            return None;
        }
        let since = self
            .memory
            .sent_at
            .map_or(FIRST_INTERVAL, |at| now.saturating_sub(at).as_secs_f64());
        let dt = since.min(self.config.max_interval_s);
        match (&self.memory.target, &self.memory.measured) {
            (Some(target), Some((_, measured))) if fresh && self.memory.state.follows_goals() => {
                let share = if self.memory.state == GuardState::Running {
                    1.0
                } else {
                    self.config.soft_start.speed_share
                };
                self.memory
                    .limiter
                    .advance(target, &measured.positions, dt, share);
                self.memory.repeats = 0;
            }
            _ if self.memory.limiter.resting() => {
                self.memory.repeats += 1;
                if self.memory.repeats > REPEATS {
                    self.memory.sent_at = Some(now);
                    return None;
                }
            }
            _ => self.memory.limiter.brake(dt),
        }
        self.count_shaping();
        self.end_soft_start(now);
        self.write(now)
    }

    fn take(&mut self, now: Duration, goal: &[f64]) {
        if !self.memory.state.follows_goals() {
            self.memory.report.refused += 1;
            return;
        }
        let length = goal.len() == self.arm.spec().dof();
        if length && goal.iter().all(|q| q.is_finite()) {
            if self.memory.state == GuardState::Armed {
                self.memory.soft_start_at = now;
            }
            self.memory.report.goals += 1;
            self.memory.bad_goals = 0;
            self.memory.goal_at = now;
            let target = self.memory.target.get_or_insert_default();
            target.clear();
            target.extend_from_slice(goal);
            self.happen(GuardEvent::Goal);
            return;
        }
        if length {
            self.memory.report.rejected_not_finite += 1;
        } else {
            self.memory.report.rejected_length += 1;
        }
        self.memory.bad_goals += 1;
        if self.memory.bad_goals >= self.config.max_bad_goals {
            self.fault_because(Reason::BadGoals {
                count: self.memory.bad_goals,
            });
        }
    }

    /// Whether the goal is fresh; holds when it is lost.
    fn watch(&mut self, now: Duration) -> bool {
        if !matches!(
            self.memory.state,
            GuardState::SoftStart | GuardState::Running
        ) {
            return false;
        }
        let age = now.saturating_sub(self.memory.goal_at);
        if age.as_secs_f64() < self.config.watchdog.stale_goal_s {
            return true;
        }
        self.memory.report.starved += 1;
        if age.as_secs_f64() >= self.config.watchdog.lost_goal_s && self.happen(GuardEvent::Starved)
        {
            self.memory.reason = Some(Reason::Starved {
                ms: age.as_millis() as u64,
            });
            self.memory.target = None;
        }
        false
    }

    fn end_soft_start(&mut self, now: Duration) {
        let soft = self.config.soft_start;
        if self.memory.state != GuardState::SoftStart {
            return;
        }
        let reached = self.memory.target.as_ref().is_some_and(|target| {
            let limits = self.memory.limiter.joints();
            let mut pairs = target.iter().zip(limits).zip(self.memory.limiter.command());
            pairs.all(|((t, l), c)| (t.clamp(l.min, l.max) - c).abs() <= soft.reached)
        });
        let waited = now.saturating_sub(self.memory.soft_start_at).as_secs_f64();
        if reached || waited >= soft.timeout_s {
            self.happen(GuardEvent::Reached);
        }
    }

    fn count_shaping(&mut self) {
        let shaped = self.memory.limiter.shaped();
        self.memory.report.clamped += u64::from(shaped.position);
        self.memory.report.limited_gap += u64::from(shaped.gap);
        self.memory.report.limited_velocity += u64::from(shaped.velocity);
        self.memory.report.limited_acceleration += u64::from(shaped.acceleration);
        self.memory.report.limited_workspace += u64::from(shaped.workspace);
        self.memory.report.limited_tool_speed += u64::from(shaped.tool_speed);
    }

    fn write(&mut self, now: Duration) -> Option<&[f64]> {
        self.memory.sent_at = Some(now);
        let goal = CheckedGoal::new(self.memory.limiter.command().to_vec());
        match self.arm.command(&goal) {
            Ok(()) => {
                self.memory.bad_writes = 0;
                self.memory.report.sent += 1;
                Some(self.memory.limiter.command())
            }
            Err(error) => {
                self.memory.report.missed_writes += 1;
                self.memory.bad_writes += 1;
                if matches!(error, ArmError::Gone(_)) || self.memory.bad_writes >= IN_A_ROW {
                    self.memory.writer_open = false;
                    self.fault_because(Reason::Deaf {
                        cause: error.to_string(),
                    });
                }
                None
            }
        }
    }
}
