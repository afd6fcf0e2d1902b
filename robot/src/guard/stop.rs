//! The stop order: the goal writer closed first, then torque off on every joint, until it reads back as off.

use super::Guard;
use super::report::{GuardError, Reason};
use super::state::{GuardEvent, GuardState};
use crate::arm::ArmSpec;

impl Guard {
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
        if self.memory.state != GuardState::Fault {
            return Err(GuardError::State {
                action: "acknowledge a fault",
                state: self.memory.state,
            });
        }
        self.happen(GuardEvent::Acknowledged);
        self.finish_stop()
    }

    fn finish_stop(&mut self) -> Result<(), GuardError> {
        let result = self.stop_order();
        let event = match &result {
            Ok(()) => GuardEvent::Stopped,
            Err(_) => GuardEvent::StopIncomplete,
        };
        self.happen(event);
        if let Err(GuardError::TorqueRemains { joints, .. }) = &result {
            self.memory.reason = Some(Reason::TorqueRemains {
                joints: joints.clone(),
            });
        }
        result
    }

    fn stop_order(&mut self) -> Result<(), GuardError> {
        self.memory.report.stops += 1;
        self.memory.writer_open = false;
        self.memory.target = None;
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
                        self.memory.torque_suspected = false;
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
        if self.memory.torque_suspected && self.stop_order().is_err() {
            // Nobody is left to be told; stop_order has tried as often as it may.
            self.memory.state = GuardState::Fault;
        }
    }
}
