//! MuJoCo worlds behind the robot layer: tasks, vectorised stepping, rendering, and a byte-level servo-bus twin.

pub mod arm;
pub mod arm_config;
pub mod arm_mjcf;
pub mod assets;
pub mod camera;
pub mod clock;
mod crew;
pub mod double;
pub mod env;
pub mod environment;
pub mod gym;
pub mod identify;
pub mod log;
pub mod magical;
pub mod models;
mod quiet;
pub mod randomise;
pub mod render;
pub mod robosuite;
pub mod scene;
pub mod script;
pub mod servo_bus;
pub mod simulation;
pub mod tasks;
pub mod vec_env;
pub mod world;

pub use arm::SimArm;
pub use arm_config::{ArmConfig, JointConfig};
pub use camera::SimCamera;
pub use clock::{Pace, RealTime, SimClock};
pub use double::{Body, Double};
pub use env::{Env, EnvConfig, EnvError, Observation, Step};
pub use environment::{Actions, Description, EnvState, Environment, Outcome};
pub use models::{ArmChain, ModelError, TaskFile};
pub use randomise::{Randomisation, Variation};
pub use scene::{Scene, SceneConfig, SceneError};
pub use script::{Script, ScriptConfig, ScriptedTeleop};
pub use simulation::Simulation;
pub use tasks::{Task, UnknownTask};
pub use vec_env::{Batch, VecEnv};
pub use world::{
    FixtureState, ObjectState, Reading, ServoState, Snapshot, Torque, World, WorldError,
};

/// Version of the MuJoCo library in use, `3.17.0`.
pub fn mujoco_version() -> String {
    mujoco_rs::mujoco_version().to_string()
}
