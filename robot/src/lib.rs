//! The hardware abstraction layer: arms, cameras, teleoperators, calibration, safety, control loop.
//!
//! Units are SI everywhere: radians, metres, seconds, newton metres. A gripper is an opening fraction in `0..=1`.
//! Degrees and `0..100` exist only at the LeRobot border (datasets and calibration files).

pub mod action;
pub mod arm;
pub mod calibration;
pub mod camera;
pub mod camera_stream;
pub mod clock;
pub mod control;
pub mod control_thread;
pub mod feetech;
pub mod guard;
pub mod guardian;
pub mod inverse;
pub mod kinematics;
pub mod lateness;
pub mod leader;
#[cfg(feature = "opencv")]
pub mod opencv_camera;
pub mod realtime;
pub mod rig;
pub mod sanity;
pub mod sensor;
pub mod so101;
pub mod teleop;
#[cfg(test)]
mod testing;
pub mod units;

pub use action::{ActionError, ActionMapper, ActionSpace, ToolAxis, ToolDelta};
pub use arm::{Arm, ArmError, ArmSpec, ArmState, CheckedGoal, JointKind, JointSpec, MotorAlarm};
pub use camera::{Camera, CameraError, Frame};
pub use camera_stream::CameraStream;
pub use clock::{Clock, SystemClock};
pub use control::{Control, ControlReport, Tick};
pub use control_thread::{ControlError, ControlHandle, ControlThreadConfig};
pub use guard::{Guard, GuardConfig, GuardError, GuardReport, GuardState, Reason};
pub use guardian::Guardian;
pub use leader::Leader;
#[cfg(feature = "opencv")]
pub use opencv_camera::{OpencvCamera, OpencvConfig};
pub use rig::{Drive, Observation, Rig, RigConfig, RigError};
pub use sensor::{Sensor, SensorError};
pub use teleop::{TeleopError, TeleopEvent, Teleoperator};
