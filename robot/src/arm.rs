//! The [`Arm`] trait: what a robot arm is, whatever drives it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a joint's position number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JointKind {
    /// Position in radians.
    Revolute,
    /// Opening fraction: 0 closed, 1 open.
    Gripper,
}

/// One joint of an arm, in the order of every goal and state vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JointSpec {
    /// Name, as LeRobot spells it (`shoulder_pan`).
    pub name: String,
    /// Meaning of the position.
    pub kind: JointKind,
    /// Smallest allowed position, rad or fraction.
    pub min: f64,
    /// Largest allowed position, rad or fraction.
    pub max: f64,
    /// Largest speed the hardware can do, rad/s or 1/s.
    pub max_velocity: f64,
}

/// What an arm is: its name and joints. Fixed for the life of the arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmSpec {
    /// Model name, `so101`.
    pub name: String,
    /// LeRobot's `robot_type` for datasets, `so_follower`.
    pub robot_type: String,
    /// Joints, base to tip; the gripper last.
    pub joints: Vec<JointSpec>,
}

impl ArmSpec {
    /// Number of joints, the length of every goal.
    pub fn dof(&self) -> usize {
        self.joints.len()
    }
}

/// What a motor has done by itself, or has not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MotorAlarm {
    /// Nothing.
    #[default]
    None,
    /// Overloaded, it gives way: it pushes with a part of its torque only.
    Overload,
    /// It has switched its torque off, against too high a current.
    CutOut,
    /// It was without power for a moment and has forgotten its settings.
    Reset,
    /// It does not take goals.
    Deaf,
}

/// One measurement of an arm. Missing channels are empty vectors, never invented numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ArmState {
    /// When it was measured, on the arm's [`crate::Clock`].
    pub stamp: Duration,
    /// Positions, rad (gripper: fraction), `[dof]`.
    pub positions: Vec<f64>,
    /// Velocities, rad/s (gripper: 1/s), `[dof]` or empty.
    pub velocities: Vec<f64>,
    /// Load as a share of the largest torque, `-1..=1`, `[dof]` or empty.
    pub loads: Vec<f64>,
    /// Temperatures, degrees Celsius, `[dof]` or empty.
    pub temperatures: Vec<f64>,
    /// Supply voltages, volt, `[dof]` or empty.
    pub voltages: Vec<f64>,
    /// Motor currents, ampere, `[dof]` or empty.
    pub currents: Vec<f64>,
    /// What the motors have done by themselves, `[dof]` or empty.
    pub alarms: Vec<MotorAlarm>,
}

/// A goal that has passed the [`Guard`](crate::guard::Guard). Nothing else can make one, so nothing else can move an arm.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedGoal(Vec<f64>);

impl CheckedGoal {
    /// Only the guard calls this.
    pub(crate) fn new(positions: Vec<f64>) -> Self {
        Self(positions)
    }

    /// Positions, rad (gripper: fraction), `[dof]`.
    pub fn positions(&self) -> &[f64] {
        &self.0
    }
}

/// Why an arm did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ArmError {
    /// The port could not be opened.
    #[error("cannot open {port}: {cause}; {advice}")]
    Open {
        /// Device path.
        port: String,
        /// What the system said.
        cause: String,
        /// What to do.
        advice: String,
    },
    /// Servos that did not answer in time.
    #[error("no answer from {joints:?} within {deadline_ms} ms; check cable and power")]
    Silent {
        /// Joint names.
        joints: Vec<String>,
        /// The deadline that passed.
        deadline_ms: u64,
    },
    /// The arm is gone (cable out, process dead).
    #[error("{0} is gone; it may hold its last goal: cut its power before touching it")]
    Gone(String),
    /// A joint was measured, again and again, where it cannot be.
    #[error(
        "{joint}: {cause}; it slipped, was turned by force, or its encoder fails: check it and connect again"
    )]
    Implausible {
        /// Joint name.
        joint: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A servo is not what the spec says.
    #[error("{0}")]
    Mismatch(String),
    /// Anything else from the system.
    #[error("arm input/output: {0}")]
    Io(#[from] std::io::Error),
}

/// A robot arm. Only a [`Guard`](crate::guard::Guard) can obtain the [`CheckedGoal`] that [`Arm::command`] needs.
pub trait Arm: Send {
    /// What this arm is.
    fn spec(&self) -> &ArmSpec;

    /// Measures all joints.
    fn read(&mut self) -> Result<ArmState, ArmError>;

    /// Sends a position goal.
    fn command(&mut self, goal: &CheckedGoal) -> Result<(), ArmError>;

    /// Turns torque on, with the goal set to the present position first, so that nothing moves.
    fn enable(&mut self) -> Result<(), ArmError>;

    /// Lets every joint use this share of the torque it may use, `0..=1`, until torque goes off: an arm that goes limp slowly does not
    /// fall. Arms that cannot do nothing.
    ///
    /// Errors: as [`Arm::command`].
    fn soften(&mut self, share: f64) -> Result<(), ArmError> {
        let _ = share;
        Ok(())
    }

    /// Turns torque off on every joint that answers, even when some do not; then reports the ones that did not.
    fn disable(&mut self) -> Result<(), ArmError>;

    /// Reads the torque switches back, `[dof]`.
    fn torque_enabled(&mut self) -> Result<Vec<bool>, ArmError>;

    /// Whether the world of this arm can be put back to an earlier moment. Only a simulated one can, and only then does a
    /// guard let itself be put back with it.
    fn rewinds(&self) -> bool {
        false
    }
}
