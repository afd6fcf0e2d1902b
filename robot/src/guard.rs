//! The [`Guard`]: owns an arm and is the only way to move it.
//!
//! Every goal passes it: a goal that is not finite or has the wrong length is rejected, the rest is shaped so that position,
//! speed, acceleration, distance to the measurement, tool position and tool speed stay inside their limits. It watches
//! for goals and measurements that stop coming, for heat, supply and blocked joints, and it ends with torque off.
//! It can be configured, not switched off.
//!
//! This is software for hobby servos, without any rating: keep a switch in the arm's power supply within reach.

mod config;
mod limiter;
mod report;
mod state;
mod supervisor;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use config::{
    GuardConfig, JointLimit, JointLimits, SoftStart, Supervision, Watchdog, Workspace,
};
pub use report::{GuardError, GuardReport, Reason};
pub use state::{GuardEvent, GuardState, transition};

use crate::arm::{Arm, ArmError, ArmSpec, ArmState, CheckedGoal};
use crate::kinematics::Chain;
use limiter::{Limiter, ToolLimit};
use supervisor::{Supervisor, Verdict};

/// Three measurements in a row must agree this well before torque goes on, rad or fraction.
const COHERENT: f64 = 0.05;

/// A measurement may differ from the last one by this much more than the arm's speed explains, rad or fraction.
const JUMP: f64 = 0.1;

/// After this many measurements or commands in a row that make no sense or are not taken, a fault is latched.
const IN_A_ROW: u32 = 3;

/// Once at rest and without a goal, the command is repeated this often against lost frames, then the line is quiet: on
/// Feetech servos a goal also turns torque on, and a servo that has switched itself off must stay off.
const REPEATS: u32 = 3;

/// Owns an arm and keeps it inside its limits. Dropping it runs the stop order.
pub struct Guard {
    arm: Box<dyn Arm>,
    config: GuardConfig,
    limiter: Limiter,
    supervisor: Supervisor,
    state: GuardState,
    reason: Option<Reason>,
    report: GuardReport,
    /// Nothing is written to the arm's goals while this is false.
    writer_open: bool,
    /// Torque has been on since the switches were last read back as off.
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

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard")
            .field("arm", &self.arm.spec().name)
            .field("state", &self.state)
            .field("reason", &self.reason)
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
            limiter: Limiter::new(joints, tool),
            supervisor: Supervisor::new(config.supervision),
            config,
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
        })
    }

    /// What the arm is.
    pub fn spec(&self) -> &ArmSpec {
        self.arm.spec()
    }

    /// The limits in force, one per joint.
    pub fn limits(&self) -> &[JointLimit] {
        self.limiter.joints()
    }

    /// The configuration.
    pub fn config(&self) -> &GuardConfig {
        &self.config
    }

    /// What the guard lets happen now.
    pub fn state(&self) -> GuardState {
        self.state
    }

    /// Why it holds or has latched a fault.
    pub fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }

    /// Counters since the guard was made.
    pub fn report(&self) -> GuardReport {
        self.report
    }

    /// The newest plausible measurement. Its stamp tells its age: it is never stamped again.
    pub fn measured(&self) -> Option<&ArmState> {
        self.measured.as_ref().map(|(_, state)| state)
    }

    /// The last command, rad (gripper: fraction), `[dof]`; where the arm was armed if nothing was sent since.
    pub fn command(&self) -> &[f64] {
        self.limiter.command()
    }

    /// Whether the last command is also where the arm comes to rest.
    pub fn resting(&self) -> bool {
        self.limiter.resting()
    }

    /// Limp to armed: three coherent measurements inside the limits, the goal set to the measured position, torque on and
    /// read back as on.
    ///
    /// Errors: [`GuardError::State`] unless limp; [`GuardError::Refused`] with torque off; [`GuardError::Arm`].
    pub fn enable(&mut self, now: Duration) -> Result<(), GuardError> {
        if self.state != GuardState::Limp {
            return Err(GuardError::State {
                action: "enable the arm",
                state: self.state,
            });
        }
        let measured = self.verify(now)?;
        self.happen(GuardEvent::Verified);
        self.torque_suspected = true;
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
        if transition(self.state, GuardEvent::Rearmed).is_none() {
            return Err(GuardError::State {
                action: "arm again",
                state: self.state,
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

    /// Takes a goal if there is one (rad, gripper: fraction, `[dof]`) and sends the next command. Call it at a fixed rate,
    /// also without a goal. Returns the command, or `None` where nothing was sent.
    ///
    /// Problems show in [`Guard::state`], [`Guard::reason`] and [`Guard::report`].
    pub fn send(&mut self, now: Duration, goal: Option<&[f64]>) -> Option<&[f64]> {
        self.report.ticks += 1;
        if let Some(goal) = goal {
            self.take(now, goal);
        }
        let fresh = self.watch(now);
        if !self.writer_open {
            return None;
        }
        let since = self
            .sent_at
            .map_or(0.01, |at| now.saturating_sub(at).as_secs_f64());
        let dt = since.min(self.config.max_interval_s);
        match (&self.target, &self.measured) {
            (Some(target), Some((_, measured))) if fresh && self.state.follows_goals() => {
                let share = if self.state == GuardState::Running {
                    1.0
                } else {
                    self.config.soft_start.speed_share
                };
                self.limiter.advance(target, &measured.positions, dt, share);
                self.repeats = 0;
            }
            _ if self.limiter.resting() => {
                self.repeats += 1;
                if self.repeats > REPEATS {
                    self.sent_at = Some(now);
                    return None;
                }
            }
            _ => self.limiter.brake(dt),
        }
        self.count_shaping();
        self.end_soft_start(now);
        self.write(now)
    }

    /// Measures the arm and looks at what it says. `None` where this measurement failed; [`Guard::measured`] still has the
    /// last one.
    pub fn measure(&mut self, now: Duration) -> Option<&ArmState> {
        let trouble = match self.arm.read() {
            Ok(state) => match self.implausible(now, &state) {
                None => {
                    self.bad_reads = 0;
                    self.measured = Some((now, state));
                    self.supervise(now);
                    self.check_torque(now);
                    return self.measured();
                }
                Some(joint) => {
                    self.report.implausible_reads += 1;
                    self.bad_reads += 1;
                    let reason = Reason::Implausible { joint };
                    if self.bad_reads >= IN_A_ROW {
                        self.fault_because(reason);
                        return None;
                    }
                    reason.to_string()
                }
            },
            Err(error) => {
                self.report.missed_reads += 1;
                if let ArmError::Gone(_) = error {
                    self.writer_open = false;
                    self.fault_because(Reason::Blind {
                        ms: 0,
                        cause: error.to_string(),
                    });
                    return None;
                }
                error.to_string()
            }
        };
        let age = match &self.measured {
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

    /// The stop order: closes the goal writer (a goal would turn torque on again), then turns torque off on every joint,
    /// with retries, until every switch reads back as off. Ends limp; a latched fault stays latched. To stop a moving arm
    /// gently, [`Guard::hold`] it until it is [`Guard::resting`].
    ///
    /// Errors: [`GuardError::TorqueRemains`]; then a fault is latched.
    pub fn stop(&mut self) -> Result<(), GuardError> {
        self.happen(GuardEvent::StopRequested);
        self.finish_stop()
    }

    /// Stop order at once, and a latched fault.
    ///
    /// Errors: [`GuardError::TorqueRemains`].
    pub fn emergency_stop(&mut self) -> Result<(), GuardError> {
        self.fault_because(Reason::EmergencyStop);
        self.stop()
    }

    /// The operator has seen the fault: runs the stop order and ends limp.
    ///
    /// Errors: [`GuardError::State`] where there is no fault; [`GuardError::TorqueRemains`] with the fault latched again.
    pub fn acknowledge(&mut self) -> Result<(), GuardError> {
        if self.state != GuardState::Fault {
            return Err(GuardError::State {
                action: "acknowledge a fault",
                state: self.state,
            });
        }
        self.happen(GuardEvent::Acknowledged);
        self.finish_stop()
    }

    fn happen(&mut self, event: GuardEvent) -> bool {
        let Some(next) = transition(self.state, event) else {
            return false;
        };
        if next != self.state {
            match next {
                GuardState::Hold => self.report.holds += 1,
                GuardState::Fault => self.report.faults += 1,
                GuardState::Limp | GuardState::Armed => self.reason = None,
                _ => {}
            }
        }
        self.state = next;
        true
    }

    fn hold_because(&mut self, reason: Reason) {
        let before = self.state;
        if self.happen(GuardEvent::HoldRequested) && before != GuardState::Hold {
            self.reason = Some(reason);
            self.target = None;
        }
    }

    fn fault_because(&mut self, reason: Reason) {
        let before = self.state;
        if self.happen(GuardEvent::Fault) && before != GuardState::Fault {
            self.reason = Some(reason);
            self.target = None;
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
            .zip(self.limiter.joints())
            .zip(&spec.joints)
        {
            if *q < limit.min - tolerance || *q > limit.max + tolerance {
                return refused(format!(
                    "{} is at {q:.3}, outside {:.3} to {:.3}; move it inside by hand",
                    joint.name, limit.min, limit.max
                ));
            }
        }
        self.supervisor.restart();
        match self.supervisor.look(now, spec, &state, &state.positions) {
            Verdict::Hold(reason) | Verdict::TorqueOff(reason) => refused(reason.to_string()),
            Verdict::Fine | Verdict::Warm => Ok(state),
        }
    }

    fn begin(&mut self, now: Duration, measured: ArmState) {
        self.limiter.restart(&measured.positions);
        self.measured = Some((now, measured));
        self.target = None;
        self.goal_at = now;
        self.sent_at = None;
        self.torque_checked_at = now;
        (
            self.bad_goals,
            self.bad_reads,
            self.bad_writes,
            self.repeats,
        ) = (0, 0, 0, 0);
        self.writer_open = true;
    }

    fn take(&mut self, now: Duration, goal: &[f64]) {
        if !self.state.follows_goals() {
            self.report.refused += 1;
            return;
        }
        let length = goal.len() == self.arm.spec().dof();
        if length && goal.iter().all(|q| q.is_finite()) {
            if self.state == GuardState::Armed {
                self.soft_start_at = now;
            }
            self.report.goals += 1;
            self.bad_goals = 0;
            self.goal_at = now;
            let target = self.target.get_or_insert_default();
            target.clear();
            target.extend_from_slice(goal);
            self.happen(GuardEvent::Goal);
            return;
        }
        if length {
            self.report.rejected_not_finite += 1;
        } else {
            self.report.rejected_length += 1;
        }
        self.bad_goals += 1;
        if self.bad_goals >= self.config.max_bad_goals {
            self.fault_because(Reason::BadGoals {
                count: self.bad_goals,
            });
        }
    }

    /// Whether the goal is fresh; holds when it is lost.
    fn watch(&mut self, now: Duration) -> bool {
        if !matches!(self.state, GuardState::SoftStart | GuardState::Running) {
            return false;
        }
        let age = now.saturating_sub(self.goal_at);
        if age.as_secs_f64() < self.config.watchdog.stale_goal_s {
            return true;
        }
        self.report.starved += 1;
        if age.as_secs_f64() >= self.config.watchdog.lost_goal_s && self.happen(GuardEvent::Starved)
        {
            self.reason = Some(Reason::Starved {
                ms: age.as_millis() as u64,
            });
            self.target = None;
        }
        false
    }

    fn end_soft_start(&mut self, now: Duration) {
        let soft = self.config.soft_start;
        if self.state != GuardState::SoftStart {
            return;
        }
        let reached = self.target.as_ref().is_some_and(|target| {
            let limits = self.limiter.joints();
            let mut pairs = target.iter().zip(limits).zip(self.limiter.command());
            pairs.all(|((t, l), c)| (t.clamp(l.min, l.max) - c).abs() <= soft.reached)
        });
        let waited = now.saturating_sub(self.soft_start_at).as_secs_f64();
        if reached || waited >= soft.timeout_s {
            self.happen(GuardEvent::Reached);
        }
    }

    fn count_shaping(&mut self) {
        let shaped = self.limiter.shaped();
        self.report.clamped += u64::from(shaped.position);
        self.report.limited_gap += u64::from(shaped.gap);
        self.report.limited_velocity += u64::from(shaped.velocity);
        self.report.limited_acceleration += u64::from(shaped.acceleration);
        self.report.limited_workspace += u64::from(shaped.workspace);
        self.report.limited_tool_speed += u64::from(shaped.tool_speed);
    }

    fn write(&mut self, now: Duration) -> Option<&[f64]> {
        self.sent_at = Some(now);
        let goal = CheckedGoal::new(self.limiter.command().to_vec());
        match self.arm.command(&goal) {
            Ok(()) => {
                self.bad_writes = 0;
                self.report.sent += 1;
                Some(self.limiter.command())
            }
            Err(error) => {
                self.report.missed_writes += 1;
                self.bad_writes += 1;
                if matches!(error, ArmError::Gone(_)) || self.bad_writes >= IN_A_ROW {
                    self.writer_open = false;
                    self.fault_because(Reason::Deaf {
                        cause: error.to_string(),
                    });
                }
                None
            }
        }
    }

    /// The joint that cannot be where it was measured.
    fn implausible(&self, now: Duration, state: &ArmState) -> Option<String> {
        let spec = self.arm.spec();
        let finite = state.positions.iter().all(|q| q.is_finite());
        if state.positions.len() != spec.dof() || !finite {
            return Some("state".into());
        }
        let (at, last) = self.measured.as_ref()?;
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
        let Some((_, measured)) = &self.measured else {
            return;
        };
        let command = if self.writer_open {
            self.limiter.command()
        } else {
            &measured.positions
        };
        match self
            .supervisor
            .look(now, self.arm.spec(), measured, command)
        {
            Verdict::Fine => {}
            Verdict::Warm => self.report.warm += 1,
            Verdict::Hold(reason) => self.hold_because(reason),
            Verdict::TorqueOff(reason) => {
                self.fault_because(reason);
                if self.torque_suspected && self.stop().is_err() {
                    // The fault is latched already, and stop() is tried again with every measurement.
                    self.writer_open = false;
                }
            }
        }
    }

    /// A joint without torque while the arm is energised is a fault; no goal may go out then, since it would re-energise it.
    fn check_torque(&mut self, now: Duration) {
        let due = now.saturating_sub(self.torque_checked_at).as_secs_f64();
        if !self.writer_open || due < self.config.watchdog.torque_check_s {
            return;
        }
        self.torque_checked_at = now;
        match self.torque_off_joints() {
            Ok(joints) if joints.is_empty() => {}
            Ok(joints) => {
                self.writer_open = false;
                self.fault_because(Reason::TorqueLost { joints });
            }
            Err(_) => self.report.missed_reads += 1,
        }
    }

    fn torque_off_joints(&mut self) -> Result<Vec<String>, ArmError> {
        let on = self.arm.torque_enabled()?;
        let joints = self.arm.spec().joints.iter().enumerate();
        Ok(joints
            .filter(|(i, _)| on.get(*i) != Some(&true))
            .map(|(_, joint)| joint.name.clone())
            .collect())
    }

    fn finish_stop(&mut self) -> Result<(), GuardError> {
        let result = self.stop_order();
        let event = match &result {
            Ok(()) => GuardEvent::Stopped,
            Err(_) => GuardEvent::StopIncomplete,
        };
        self.happen(event);
        if let Err(GuardError::TorqueRemains { joints, .. }) = &result {
            self.reason = Some(Reason::TorqueRemains {
                joints: joints.clone(),
            });
        }
        result
    }

    fn stop_order(&mut self) -> Result<(), GuardError> {
        self.report.stops += 1;
        self.writer_open = false;
        self.target = None;
        let names = |spec: &ArmSpec| spec.joints.iter().map(|j| j.name.clone()).collect();
        let mut remaining: Vec<String> = names(self.arm.spec());
        let mut cause = String::from("it was never read back");
        for _ in 0..self.config.stop_attempts {
            if let Err(error) = self.arm.disable() {
                cause = error.to_string();
            }
            match self.arm.torque_enabled() {
                Ok(on) if on.len() == self.arm.spec().dof() => {
                    let joints = self.arm.spec().joints.iter().zip(&on);
                    remaining = joints
                        .filter(|(_, on)| **on)
                        .map(|(j, _)| j.name.clone())
                        .collect();
                    if remaining.is_empty() {
                        self.torque_suspected = false;
                        return Ok(());
                    }
                }
                Ok(_) => cause = "not every switch was read back".into(),
                Err(error) => cause = error.to_string(),
            }
        }
        Err(GuardError::TorqueRemains {
            joints: remaining,
            cause,
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.torque_suspected && self.stop_order().is_err() {
            // Nobody is left to be told; stop_order has tried as often as it may.
            self.state = GuardState::Fault;
        }
    }
}
