//! The [`Guard`]: owns an arm and is the only way to move it.
//!
//! Every goal passes it: a goal that is not finite or has the wrong length is rejected, the rest is shaped so that position,
//! speed, acceleration, distance to the measurement, tool position and tool speed stay inside their limits. It watches
//! for goals and measurements that stop coming, for heat, supply and blocked joints, and it ends with torque off.
//! It can be configured, not switched off.
//!
//! This is software for hobby servos, without any rating: keep a switch in the arm's power supply within reach.

mod config;
mod follow;
mod limiter;
mod measure;
mod memory;
mod report;
mod state;
mod stop;
mod supervisor;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use config::{
    GuardConfig, JointLimit, JointLimits, SoftStart, Supervision, Watchdog, Workspace,
};
pub use memory::GuardMemory;
pub use report::{GuardError, GuardReport, Reason};
pub use state::{GuardEvent, GuardState, transition};

use crate::arm::{Arm, ArmSpec, ArmState, CheckedGoal};
use crate::kinematics::Chain;
use limiter::{Limiter, ToolLimit};
use supervisor::{Supervisor, Verdict};

/// Three measurements in a row must agree this well before torque goes on, rad or fraction.
const COHERENT: f64 = 0.05;

/// After this many measurements or commands in a row that make no sense or are not taken, a fault is latched.
const IN_A_ROW: u32 = 3;

/// Once at rest and without a goal, the command is repeated this often against lost frames, then the line is quiet: on
/// Feetech servos a goal also turns torque on, and a servo that has switched itself off must stay off.
const REPEATS: u32 = 3;

/// Owns an arm and keeps it inside its limits. Dropping it runs the stop order.
pub struct Guard {
    arm: Box<dyn Arm>,
    config: GuardConfig,
    memory: GuardMemory,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard")
            .field("arm", &self.arm.spec().name)
            .field("state", &self.memory.state)
            .field("reason", &self.memory.reason)
            .finish_non_exhaustive()
    }
}

impl Guard {
    /// Takes an arm whose kinematics are not known. Nothing is sent yet.
    ///
    /// Errors: [`GuardError::Config`], also where the configuration has a workspace: that needs [`Guard::with_chain`].
    pub fn new(arm: Box<dyn Arm>, config: GuardConfig) -> Result<Self, GuardError> {
        if config.workspace.is_some() {
            return Err(GuardError::Config(
                "a workspace needs the arm's chain; use Guard::with_chain".into(),
            ));
        }
        Self::build(arm, None, config)
    }

    /// Takes an arm and its chain. Nothing is sent yet.
    ///
    /// Errors: [`GuardError::Config`].
    pub fn with_chain(
        arm: Box<dyn Arm>,
        chain: Chain,
        config: GuardConfig,
    ) -> Result<Self, GuardError> {
        if chain.links.is_empty() || chain.links.len() > arm.spec().dof() {
            return Err(GuardError::Config(format!(
                "the chain has {} links, {} has {} joints",
                chain.links.len(),
                arm.spec().name,
                arm.spec().dof()
            )));
        }
        Self::build(arm, Some(chain), config)
    }

    fn build(
        arm: Box<dyn Arm>,
        chain: Option<Chain>,
        config: GuardConfig,
    ) -> Result<Self, GuardError> {
        if let Some(problem) = config.problem() {
            return Err(GuardError::Config(problem));
        }
        let joints = config.joints(arm.spec()).map_err(GuardError::Config)?;
        let tool = chain
            .zip(config.workspace)
            .map(|(chain, workspace)| ToolLimit { chain, workspace });
        Ok(Self {
            arm,
            memory: GuardMemory::new(
                Limiter::new(joints, tool),
                Supervisor::new(config.supervision),
            ),
            config,
        })
    }

    /// What the arm is.
    pub fn spec(&self) -> &ArmSpec {
        self.arm.spec()
    }

    /// The limits in force, one per joint.
    pub fn limits(&self) -> &[JointLimit] {
        self.memory.limiter.joints()
    }

    /// The configuration.
    pub fn config(&self) -> &GuardConfig {
        &self.config
    }

    /// What the guard lets happen now.
    pub fn state(&self) -> GuardState {
        self.memory.state
    }

    /// Why it holds or has latched a fault.
    pub fn reason(&self) -> Option<&Reason> {
        self.memory.reason.as_ref()
    }

    /// Counters since the guard was made.
    pub fn report(&self) -> GuardReport {
        self.memory.report
    }

    /// When the newest plausible measurement came, on the clock that [`Guard::measure`] is called with. A failed measurement
    /// does not move it.
    pub fn measured_at(&self) -> Option<Duration> {
        self.memory.measured.as_ref().map(|(at, _)| *at)
    }

    /// The newest plausible measurement. It is never stamped again.
    pub fn measured(&self) -> Option<&ArmState> {
        self.memory.measured.as_ref().map(|(_, state)| state)
    }

    /// The last command, rad (gripper: fraction), `[dof]`; where the arm was armed if nothing was sent since.
    pub fn command(&self) -> &[f64] {
        self.memory.limiter.command()
    }

    /// Whether the last command is also where the arm comes to rest.
    pub fn resting(&self) -> bool {
        self.memory.limiter.resting()
    }

    /// Limp to armed: three coherent measurements inside the limits, the goal set to the measured position, torque on and
    /// read back as on.
    ///
    /// Errors: [`GuardError::State`] unless limp; [`GuardError::Refused`] with torque off; [`GuardError::Arm`].
    pub fn enable(&mut self, now: Duration) -> Result<(), GuardError> {
        if self.memory.state != GuardState::Limp {
            return Err(GuardError::State {
                action: "enable the arm",
                state: self.memory.state,
            });
        }
        let measured = self.verify(now)?;
        self.happen(GuardEvent::Verified);
        self.memory.torque_suspected = true;
        let energised = match self.arm.enable() {
            Ok(()) => self.torque_off_joints(),
            Err(error) => Err(error),
        };
        let problem = match energised {
            Ok(off) if off.is_empty() => None,
            Ok(off) => Some(GuardError::Refused(format!("torque of {off:?} stays off"))),
            Err(error) => Some(GuardError::Arm(error)),
        };
        if let Some(problem) = problem {
            self.stop()?;
            return Err(problem);
        }
        self.begin(now, measured);
        self.happen(GuardEvent::Energised);
        Ok(())
    }

    /// From hold, or in between two episodes, to armed: as [`Guard::enable`], with torque on all the while.
    ///
    /// Errors: [`GuardError::State`] while limp, stopping or faulty; [`GuardError::Refused`], [`GuardError::Arm`] where the
    /// arm cannot be measured or is not where it may be; then nothing has changed.
    pub fn rearm(&mut self, now: Duration) -> Result<(), GuardError> {
        if transition(self.memory.state, GuardEvent::Rearmed).is_none() {
            return Err(GuardError::State {
                action: "arm again",
                state: self.memory.state,
            });
        }
        let measured = self.verify(now)?;
        self.arm
            .command(&CheckedGoal::new(measured.positions.clone()))?;
        self.begin(now, measured);
        self.happen(GuardEvent::Rearmed);
        Ok(())
    }

    /// Brakes and stands still with torque on, until armed again.
    pub fn hold(&mut self) {
        self.hold_because(Reason::Requested);
    }

    /// Lets an arm at rest use this share of its torque; see [`Arm::soften`].
    ///
    /// Errors: [`GuardError::State`] where it is not on hold; [`GuardError::Arm`].
    pub fn soften(&mut self, share: f64) -> Result<(), GuardError> {
        if self.memory.state != GuardState::Hold {
            return Err(GuardError::State {
                action: "soften the arm",
                state: self.memory.state,
            });
        }
        Ok(self.arm.soften(share.clamp(0.0, 1.0))?)
    }

    /// Holds because the loop around it cannot keep its rate.
    pub(crate) fn hold_after_overruns(&mut self, missed: u64, of: u64) {
        self.hold_because(Reason::Overrun { missed, of });
    }

    fn happen(&mut self, event: GuardEvent) -> bool {
        let Some(next) = transition(self.memory.state, event) else {
            return false;
        };
        if next != self.memory.state {
            match next {
                GuardState::Hold => self.memory.report.holds += 1,
                GuardState::Fault => self.memory.report.faults += 1,
                GuardState::Limp | GuardState::Armed => self.memory.reason = None,
                _ => {}
            }
        }
        self.memory.state = next;
        true
    }

    fn hold_because(&mut self, reason: Reason) {
        let before = self.memory.state;
        if self.happen(GuardEvent::HoldRequested) && before != GuardState::Hold {
            self.memory.reason = Some(reason);
            self.memory.target = None;
        }
    }

    fn fault_because(&mut self, reason: Reason) {
        let before = self.memory.state;
        if self.happen(GuardEvent::Fault) && before != GuardState::Fault {
            self.memory.reason = Some(reason);
            self.memory.target = None;
        }
    }

    /// Three measurements that agree, inside the limits, of a cool arm.
    fn verify(&mut self, now: Duration) -> Result<ArmState, GuardError> {
        let refused = |what: String| Err(GuardError::Refused(what));
        let mut last: Option<ArmState> = None;
        for _ in 0..3 {
            let state = self.arm.read()?;
            let spec = self.arm.spec();
            if state.positions.len() != spec.dof() || !state.positions.iter().all(|q| q.is_finite())
            {
                return refused(format!("{} was not measured completely", spec.name));
            }
            if let Some(last) = &last {
                let pairs = state.positions.iter().zip(&last.positions);
                if let Some(i) = pairs
                    .map(|(a, b)| (a - b).abs())
                    .position(|gap| gap > COHERENT)
                {
                    let name = &spec.joints[i].name;
                    return refused(format!("{name} moves; let the arm come to rest"));
                }
            }
            last = Some(state);
        }
        let Some(state) = last else {
            return refused("it was not measured".into());
        };
        let spec = self.arm.spec();
        let tolerance = self.config.start_tolerance;
        for ((q, limit), joint) in state
            .positions
            .iter()
            .zip(self.memory.limiter.joints())
            .zip(&spec.joints)
        {
            if *q < limit.min - tolerance || *q > limit.max + tolerance {
                return refused(format!(
                    "{} is at {q:.3}, outside {:.3} to {:.3}; move it inside by hand",
                    joint.name, limit.min, limit.max
                ));
            }
        }
        self.memory.supervisor.restart();
        match self
            .memory
            .supervisor
            .look(now, spec, &state, &state.positions)
        {
            Verdict::Hold(reason) | Verdict::Silence(reason) | Verdict::TorqueOff(reason) => {
                refused(reason.to_string())
            }
            Verdict::Fine | Verdict::Warm => Ok(state),
        }
    }

    fn begin(&mut self, now: Duration, measured: ArmState) {
        self.memory.limiter.restart(&measured.positions);
        self.memory.measured = Some((now, measured));
        self.memory.target = None;
        self.memory.goal_at = now;
        self.memory.sent_at = None;
        self.memory.torque_checked_at = now;
        (
            self.memory.bad_goals,
            self.memory.bad_reads,
            self.memory.bad_writes,
            self.memory.repeats,
        ) = (0, 0, 0, 0);
        self.memory.writer_open = true;
    }
}
