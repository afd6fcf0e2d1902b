//! The hardware abstraction layer: arms, cameras, teleoperators, calibration, safety, control loop.
//!
//! Units are SI everywhere: radians, metres, seconds, newton metres. A gripper is an opening fraction in `0..=1`.
//! Degrees and `0..100` exist only at the LeRobot border (datasets and calibration files).

pub mod action;
pub mod arm;
pub mod calibration;
pub mod camera;
pub mod clock;
pub mod feetech;
pub mod guard;
pub mod inverse;
pub mod kinematics;
pub mod so101;
pub mod teleop;
#[cfg(test)]
mod testing;

pub use action::{ActionError, ActionMapper, ActionSpace, ToolAxis, ToolDelta};
pub use arm::{Arm, ArmError, ArmSpec, ArmState, CheckedGoal, JointKind, JointSpec};
pub use camera::{Camera, CameraError, Frame};
pub use clock::{Clock, SystemClock};
pub use guard::{Guard, GuardConfig, GuardError, GuardReport, GuardState, Reason};
pub use teleop::{TeleopError, TeleopEvent, Teleoperator};
