//! Putting a guard back to an earlier moment together with its simulated world.

use std::time::Duration;

use super::limiter::Limiter;
use super::supervisor::Supervisor;
use super::{Guard, GuardError, GuardReport, GuardState, Reason};
use crate::arm::ArmState;

/// All that a guard remembers from one tick to the next.
#[derive(Clone, Debug)]
pub struct GuardMemory {
    limiter: Limiter,
    supervisor: Supervisor,
    state: GuardState,
    reason: Option<Reason>,
    report: GuardReport,
    writer_open: bool,
    torque_suspected: bool,
    target: Option<Vec<f64>>,
    goal_at: Duration,
    sent_at: Option<Duration>,
    soft_start_at: Duration,
    torque_checked_at: Duration,
    measured: Option<(Duration, ArmState)>,
    bad_goals: u32,
    bad_reads: u32,
    bad_writes: u32,
    repeats: u32,
}

impl Guard {
    /// What this guard remembers now.
    pub fn memory(&self) -> GuardMemory {
        GuardMemory {
            limiter: self.limiter.clone(),
            supervisor: self.supervisor.clone(),
            state: self.state,
            reason: self.reason.clone(),
            report: self.report,
            writer_open: self.writer_open,
            torque_suspected: self.torque_suspected,
            target: self.target.clone(),
            goal_at: self.goal_at,
            sent_at: self.sent_at,
            soft_start_at: self.soft_start_at,
            torque_checked_at: self.torque_checked_at,
            measured: self.measured.clone(),
            bad_goals: self.bad_goals,
            bad_reads: self.bad_reads,
            bad_writes: self.bad_writes,
            repeats: self.repeats,
        }
    }

    /// Goes back to what it remembered, after the arm's world has been put back to the same moment and with it the clock.
    /// The limits in force stay those of the memory.
    ///
    /// Errors: [`GuardError::Refused`] for an arm whose world cannot be put back, which is every real arm.
    pub fn rewind(&mut self, memory: &GuardMemory) -> Result<(), GuardError> {
        if !self.arm.rewinds() {
            return Err(GuardError::Refused(format!(
                "{} is not simulated: a real arm cannot be put back to an earlier moment",
                self.arm.spec().name
            )));
        }
        let memory = memory.clone();
        self.limiter = memory.limiter;
        self.supervisor = memory.supervisor;
        self.state = memory.state;
        self.reason = memory.reason;
        self.report = memory.report;
        self.writer_open = memory.writer_open;
        self.torque_suspected = memory.torque_suspected;
        self.target = memory.target;
        self.goal_at = memory.goal_at;
        self.sent_at = memory.sent_at;
        self.soft_start_at = memory.soft_start_at;
        self.torque_checked_at = memory.torque_checked_at;
        self.measured = memory.measured;
        self.bad_goals = memory.bad_goals;
        self.bad_reads = memory.bad_reads;
        self.bad_writes = memory.bad_writes;
        self.repeats = memory.repeats;
        Ok(())
    }
}
