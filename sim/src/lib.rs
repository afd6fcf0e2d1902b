//! MuJoCo worlds behind the robot layer: tasks, vectorised stepping, rendering, and a byte-level servo-bus twin.

pub mod arm;
pub mod arm_mjcf;
pub mod clock;
pub mod render;
pub mod scene;
pub mod world;

pub use arm::SimArm;
pub use clock::{Pace, RealTime, SimClock};
pub use scene::{Scene, SceneConfig, SceneError};
pub use world::{ObjectState, ServoState, Snapshot, Torque, World, WorldError};
