//! Measuring the arm, and what follows from what it says.

use std::time::Duration;

use super::report::Reason;
use super::supervisor::Verdict;
use super::{Guard, IN_A_ROW};
use crate::arm::{ArmError, ArmState};

/// A measurement may differ from the last one by this much more than the arm's speed explains, rad or fraction.
const JUMP: f64 = 0.1;

impl Guard {
    /// Measures the arm and looks at what it says. `None` where this measurement failed; [`Guard::measured`] still has the
    /// last one.
    pub fn measure(&mut self, now: Duration) -> Option<&ArmState> {
        let trouble = match self.arm.read() {
            Ok(state) => match self.implausible(now, &state) {
                None => {
                    self.memory.bad_reads = 0;
                    let before = self.memory.measured.replace((now, state));
                    self.notice_absence(now, before.map(|(at, _)| at));
                    self.supervise(now);
                    self.check_torque(now);
                    return self.measured();
                }
                Some(joint) => {
                    self.memory.report.implausible_reads += 1;
                    self.memory.bad_reads += 1;
                    let reason = Reason::Implausible { joint };
                    if self.memory.bad_reads >= IN_A_ROW {
                        self.fault_because(reason);
                        return None;
                    }
                    reason.to_string()
                }
            },
            Err(error) => {
                self.memory.report.missed_reads += 1;
                if let ArmError::Implausible { joint, .. } = error {
                    self.memory.report.implausible_reads += 1;
                    self.fault_because(Reason::Implausible { joint });
                    return None;
                }
                if let ArmError::Gone(_) = error {
                    self.memory.writer_open = false;
                    self.fault_because(Reason::Blind {
                        ms: 0,
                        cause: error.to_string(),
                    });
                    return None;
                }
                error.to_string()
            }
        };
        let age = match &self.memory.measured {
            Some((at, _)) => now.saturating_sub(*at),
            None => Duration::ZERO,
        };
        let reason = Reason::Blind {
            ms: age.as_millis() as u64,
            cause: trouble,
        };
        if age.as_secs_f64() >= self.config.watchdog.lost_state_s {
            self.fault_because(reason);
        } else if age.as_secs_f64() >= self.config.watchdog.stale_state_s {
            self.hold_because(reason);
        }
        None
    }

    /// A computer that slept, or a process that was stopped, does not go on as if nothing had been.
    fn notice_absence(&mut self, now: Duration, before: Option<Duration>) {
        let away = before.map_or(Duration::ZERO, |at| now.saturating_sub(at));
        if away.as_secs_f64() >= self.config.watchdog.lost_goal_s {
            self.hold_because(Reason::Away {
                ms: away.as_millis() as u64,
            });
        }
    }

    /// The joint that cannot be where it was measured.
    fn implausible(&self, now: Duration, state: &ArmState) -> Option<String> {
        let spec = self.arm.spec();
        let finite = state.positions.iter().all(|q| q.is_finite());
        if state.positions.len() != spec.dof() || !finite {
            return Some("state".into());
        }
        let (at, last) = self.memory.measured.as_ref()?;
        let seconds = now.saturating_sub(*at).as_secs_f64();
        let mut moves = state
            .positions
            .iter()
            .zip(&last.positions)
            .zip(&spec.joints);
        moves
            .find(|((a, b), joint)| (*a - *b).abs() > 1.5 * joint.max_velocity * seconds + JUMP)
            .map(|(_, joint)| joint.name.clone())
    }

    fn supervise(&mut self, now: Duration) {
        let Some((_, measured)) = &self.memory.measured else {
            return;
        };
        let command = if self.memory.writer_open {
            self.memory.limiter.command()
        } else {
            &measured.positions
        };
        match self
            .memory
            .supervisor
            .look(now, self.arm.spec(), measured, command)
        {
            Verdict::Fine => {}
            Verdict::Warm => self.memory.report.warm += 1,
            Verdict::Hold(reason) => self.hold_because(reason),
            Verdict::Silence(reason) => {
                self.memory.writer_open = false;
                self.fault_because(reason);
            }
            Verdict::TorqueOff(reason) => {
                self.fault_because(reason);
                if self.memory.torque_suspected && self.stop().is_err() {
                    // The fault is latched already, and stop() is tried again with every measurement.
                    self.memory.writer_open = false;
                }
            }
        }
    }

    /// A joint without torque while the arm is energised is a fault; no goal may go out then, since it would re-energise it.
    fn check_torque(&mut self, now: Duration) {
        let due = now
            .saturating_sub(self.memory.torque_checked_at)
            .as_secs_f64();
        if !self.memory.writer_open || due < self.config.watchdog.torque_check_s {
            return;
        }
        self.memory.torque_checked_at = now;
        match self.torque_off_joints() {
            Ok(joints) if joints.is_empty() => {}
            Ok(joints) => {
                self.memory.writer_open = false;
                self.fault_because(Reason::TorqueLost { joints });
            }
            Err(_) => self.memory.report.missed_reads += 1,
        }
    }

    pub(super) fn torque_off_joints(&mut self) -> Result<Vec<String>, ArmError> {
        let on = self.arm.torque_enabled()?;
        let joints = self.arm.spec().joints.iter().enumerate();
        Ok(joints
            .filter(|(i, _)| on.get(*i) != Some(&true))
            .map(|(_, joint)| joint.name.clone())
            .collect())
    }
}
