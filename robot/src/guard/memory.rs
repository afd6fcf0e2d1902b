//! [`GuardMemory`]: all that changes in a guard, and putting it back to an earlier moment together with its simulated world.

use std::time::Duration;

use super::limiter::Limiter;
use super::supervisor::Supervisor;
use super::{Guard, GuardError, GuardReport, GuardState, Reason};
use crate::arm::ArmState;

/// All that a guard remembers from one tick to the next.
#[derive(Clone, Debug)]
pub struct GuardMemory {
    pub(super) limiter: Limiter,
    pub(super) supervisor: Supervisor,
    pub(super) state: GuardState,
    pub(super) reason: Option<Reason>,
    pub(super) report: GuardReport,
    /// Nothing is written to the arm's goals while this is false.
    pub(super) writer_open: bool,
    /// Torque has been on since the switches were last read back as off.
    pub(super) torque_suspected: bool,
    pub(super) target: Option<Vec<f64>>,
    pub(super) goal_at: Duration,
    pub(super) sent_at: Option<Duration>,
    pub(super) soft_start_at: Duration,
    pub(super) torque_checked_at: Duration,
    pub(super) measured: Option<(Duration, ArmState)>,
    pub(super) bad_goals: u32,
    pub(super) bad_reads: u32,
    pub(super) bad_writes: u32,
    pub(super) repeats: u32,
}

impl GuardMemory {
    /// Of a guard that has done nothing yet.
    pub(super) fn new(limiter: Limiter, supervisor: Supervisor) -> Self {
        Self {
            limiter,
            supervisor,
            state: GuardState::Limp,
            reason: None,
            report: GuardReport::default(),
            writer_open: false,
            torque_suspected: false,
            target: None,
            goal_at: Duration::ZERO,
            sent_at: None,
            soft_start_at: Duration::ZERO,
            torque_checked_at: Duration::ZERO,
            measured: None,
            bad_goals: 0,
            bad_reads: 0,
            bad_writes: 0,
            repeats: 0,
        }
    }
}

impl Guard {
    /// What this guard remembers now.
    pub fn memory(&self) -> GuardMemory {
        self.memory.clone()
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
        self.memory = memory.clone();
        Ok(())
    }
}
