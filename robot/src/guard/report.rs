//! What the guard says: counters, reasons, errors.

use serde::{Deserialize, Serialize};

use crate::arm::{ArmError, MotorAlarm};
use crate::guard::state::GuardState;

/// What the guard has seen and done since it was made. Ticks are calls of [`Guard::send`](super::Guard::send).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardReport {
    /// All ticks.
    pub ticks: u64,
    /// Commands that reached the arm.
    pub sent: u64,
    /// Goals that were taken.
    pub goals: u64,
    /// Goals rejected for NaN or infinity.
    pub rejected_not_finite: u64,
    /// Goals rejected for their length.
    pub rejected_length: u64,
    /// Goals that came while the guard was not following any.
    pub refused: u64,
    /// Ticks with a goal outside the position limits.
    pub clamped: u64,
    /// Ticks with a goal too far from the measured position.
    pub limited_gap: u64,
    /// Ticks at the speed limit of a joint.
    pub limited_velocity: u64,
    /// Ticks at the acceleration limit of a joint.
    pub limited_acceleration: u64,
    /// Ticks slowed by the workspace box.
    pub limited_workspace: u64,
    /// Ticks slowed by the tool's speed limit.
    pub limited_tool_speed: u64,
    /// Ticks without a fresh goal while following goals.
    pub starved: u64,
    /// Measurements that failed.
    pub missed_reads: u64,
    /// Measurements no arm can make: wrong length, NaN, a jump.
    pub implausible_reads: u64,
    /// Commands that the arm did not take.
    pub missed_writes: u64,
    /// Measurements with a warm motor.
    pub warm: u64,
    /// Times the guard went to [`GuardState::Hold`].
    pub holds: u64,
    /// Faults latched.
    pub faults: u64,
    /// Stop orders run.
    pub stops: u64,
}

/// Why the guard holds or has latched a fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Somebody asked for it.
    #[error("a hold was requested; arm again to go on")]
    Requested,
    /// The emergency stop was pressed.
    #[error("the emergency stop was pressed; acknowledge it to go on")]
    EmergencyStop,
    /// No fresh goal.
    #[error("no goal came for {ms} ms; arm again to go on")]
    Starved {
        /// Age of the last goal.
        ms: u64,
    },
    /// NaN or wrong lengths, again and again.
    #[error("{count} goals in a row were not finite or had the wrong length; look at the policy")]
    BadGoals {
        /// How many.
        count: u32,
    },
    /// No measurement.
    #[error("no measurement came for {ms} ms ({cause}); check cable and power")]
    Blind {
        /// Age of the last measurement.
        ms: u64,
        /// What the arm said last.
        cause: String,
    },
    /// Measurements that no arm can make.
    #[error("joint {joint} was measured where it cannot be; check its cable and horn")]
    Implausible {
        /// Joint name, or `state` where the whole measurement is malformed.
        joint: String,
    },
    /// The arm does not take commands.
    #[error("the arm does not take commands: {cause}")]
    Deaf {
        /// What the arm said.
        cause: String,
    },
    /// A motor is hot.
    #[error("joint {joint} is at {celsius:.0} degrees Celsius; let it cool")]
    Hot {
        /// Joint name.
        joint: String,
        /// Temperature.
        celsius: f64,
    },
    /// The supply is outside its range.
    #[error("joint {joint} has a supply of {volt:.1} V; check the power supply")]
    Voltage {
        /// Joint name.
        joint: String,
        /// Voltage.
        volt: f64,
    },
    /// A joint carries too much.
    #[error("joint {joint} carries {:.0} % of its torque; relieve it, then arm again", .load * 100.0)]
    Overload {
        /// Joint name.
        joint: String,
        /// Share of the torque.
        load: f64,
    },
    /// A motor has done something by itself.
    #[error("joint {joint} {}", match .alarm {
        MotorAlarm::Overload => "is overloaded and gives way; relieve it, then arm again",
        MotorAlarm::CutOut => "has switched its torque off, against too high a current; relieve it, then acknowledge",
        MotorAlarm::Reset => "was without power for a moment; check the supply and its plugs, then acknowledge",
        MotorAlarm::Deaf => "does not take goals; check its cable, then arm again",
        MotorAlarm::None => "is well",
    })]
    Motor {
        /// Joint name.
        joint: String,
        /// What it has done.
        alarm: MotorAlarm,
    },
    /// A joint was measured outside its range.
    #[error(
        "joint {joint} is at {position:.2}, outside its range; move it inside by hand, then arm again"
    )]
    OutOfRange {
        /// Joint name.
        joint: String,
        /// Where it is, rad or fraction.
        position: f64,
    },
    /// A motor drives its joint away from where it was told to go.
    #[error(
        "joint {joint} runs away from its command; its motor or its encoder is wired the wrong way round: set it up again"
    )]
    Runaway {
        /// Joint name.
        joint: String,
    },
    /// Nobody watched the arm: the computer slept, or the process was stopped.
    #[error("nobody watched the arm for {ms} ms; see that all is well, then arm again")]
    Away {
        /// For how long.
        ms: u64,
    },
    /// The loop cannot keep its rate.
    #[error(
        "the control loop missed {missed} of its last {of} slots; close other programs or lower the rate, then arm again"
    )]
    Overrun {
        /// Slots missed.
        missed: u64,
        /// Slots looked at.
        of: u64,
    },
    /// A joint does not follow.
    #[error("joint {joint} is {gap:.2} rad from its command; clear what blocks it, then arm again")]
    Blocked {
        /// Joint name.
        joint: String,
        /// Distance, rad.
        gap: f64,
    },
    /// Torque switched itself off.
    #[error("torque of {joints:?} is off while it should be on; check load and supply")]
    TorqueLost {
        /// Joint names.
        joints: Vec<String>,
    },
    /// The stop order did not succeed.
    #[error("torque of {joints:?} could not be read back as off; cut the power")]
    TorqueRemains {
        /// Joint names.
        joints: Vec<String>,
    },
}

/// Why the guard did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The configuration does not fit itself or the arm.
    #[error("guard configuration: {0}")]
    Config(String),
    /// Not in this state.
    #[error("the guard cannot {action} while it is {state:?}")]
    State {
        /// What was asked.
        action: &'static str,
        /// The state it was in.
        state: GuardState,
    },
    /// The arm is not where, or what, it may be to be energised.
    #[error("the arm is not energised: {0}")]
    Refused(String),
    /// The arm failed.
    #[error(transparent)]
    Arm(#[from] ArmError),
    /// The stop order did not succeed.
    #[error("torque of {joints:?} could not be read back as off ({cause}); cut the power")]
    TorqueRemains {
        /// Joint names.
        joints: Vec<String>,
        /// What the arm said last.
        cause: String,
    },
}
