//! What the servos' horns are fixed to.

use std::time::Duration;

use crate::arm_mjcf::MAX_SERVO_TORQUE;
use crate::world::{Torque, World, WorldError};

/// One hinge, measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct JointReading {
    /// Hinge angle, rad.
    pub angle: f64,
    /// Hinge speed, rad/s.
    pub velocity: f64,
    /// Share of the largest servo torque, `-1..=1`.
    pub load: f64,
}

/// The plant does not go on; its servos fall silent.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the arm behind the servo bus: {0}")]
pub struct PlantError(pub String);

impl From<WorldError> for PlantError {
    fn from(error: WorldError) -> Self {
        Self(error.to_string())
    }
}

/// Hinges that servos can move. Angles are in rad, also for a gripper.
pub trait JointPlant: Send {
    /// How many hinges.
    fn joints(&self) -> usize;

    /// Brings the hinges to this moment since the bus was started. Called often, with times that never go back.
    fn advance(&mut self, now: Duration) -> Result<(), PlantError>;

    /// Measures one hinge.
    fn measure(&self, joint: usize) -> Result<JointReading, PlantError>;

    /// The angle that a servo with torque drives its hinge to, rad.
    fn set_goal(&mut self, joint: usize, angle: f64) -> Result<(), PlantError>;

    /// Switches the force of one servo.
    fn set_torque(&mut self, joint: usize, torque: Torque) -> Result<(), PlantError>;
}

/// The arm of a MuJoCo world. The bus is then what moves the world's time: nothing else should.
#[derive(Debug)]
pub struct WorldPlant {
    world: World,
    origin: Duration,
}

impl WorldPlant {
    /// The arm of `world`, from its present moment on.
    pub fn new(world: World) -> Self {
        let origin = world.now();
        Self { world, origin }
    }
}

impl JointPlant for WorldPlant {
    fn joints(&self) -> usize {
        self.world.spec().dof()
    }

    fn advance(&mut self, now: Duration) -> Result<(), PlantError> {
        // The last whole step: a twin that rounds up would run ahead of the wall by a step for every request.
        let step = self.world.timestep().as_nanos().max(1);
        let whole = now.as_nanos() / step * step;
        let whole = Duration::from_nanos(u64::try_from(whole).unwrap_or(u64::MAX));
        Ok(self.world.advance_until(self.origin + whole)?)
    }

    fn measure(&self, joint: usize) -> Result<JointReading, PlantError> {
        let servo = self.world.servo(joint)?;
        Ok(JointReading {
            angle: servo.position,
            velocity: servo.velocity,
            load: servo.torque / MAX_SERVO_TORQUE,
        })
    }

    fn set_goal(&mut self, joint: usize, angle: f64) -> Result<(), PlantError> {
        Ok(self.world.set_servo_goal(joint, angle)?)
    }

    fn set_torque(&mut self, joint: usize, torque: Torque) -> Result<(), PlantError> {
        Ok(self.world.set_servo_torque(joint, torque)?)
    }
}
