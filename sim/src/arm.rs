//! A simulated SO-101 behind the robot layer's [`Arm`] trait.

use rapport_robot::{Arm, ArmError, ArmSpec, ArmState, CheckedGoal};

use crate::world::{Torque, World, WorldError};

/// The arm of a [`World`]. It answers at once, and never loses a goal.
#[derive(Clone, Debug)]
pub struct SimArm {
    world: World,
}

impl SimArm {
    /// The arm of `world`.
    pub fn new(world: World) -> Self {
        Self { world }
    }

    fn switch(&self, torque: Torque) -> Result<(), ArmError> {
        for joint in 0..self.world.spec().dof() {
            self.world.set_servo_torque(joint, torque)?;
        }
        Ok(())
    }
}

impl From<WorldError> for ArmError {
    fn from(error: WorldError) -> Self {
        Self::Io(std::io::Error::other(error))
    }
}

impl Arm for SimArm {
    fn spec(&self) -> &ArmSpec {
        self.world.spec()
    }

    fn read(&mut self) -> Result<ArmState, ArmError> {
        Ok(self.world.arm_state()?)
    }

    fn command(&mut self, goal: &CheckedGoal) -> Result<(), ArmError> {
        if goal.positions().len() != self.world.spec().dof() {
            return Err(ArmError::Mismatch(format!(
                "the goal has {} joints, {} has {}",
                goal.positions().len(),
                self.world.spec().name,
                self.world.spec().dof()
            )));
        }
        self.world.set_goals(goal.positions());
        Ok(())
    }

    fn enable(&mut self) -> Result<(), ArmError> {
        self.world.hold_here();
        self.switch(Torque::On)
    }

    fn disable(&mut self) -> Result<(), ArmError> {
        self.switch(Torque::Off)
    }

    fn torque_enabled(&mut self) -> Result<Vec<bool>, ArmError> {
        Ok(self.world.servos_enabled())
    }

    fn rewinds(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::{Scene, SceneConfig};

    #[test]
    fn enabling_moves_nothing_and_disabling_lets_the_arm_sink() {
        let world = World::new(Scene::new(SceneConfig::default()).unwrap()).unwrap();
        let mut arm = SimArm::new(world.clone());
        world.place_arm(&[0.3, -0.5, 0.4, 0.8, -0.2, 0.5]).unwrap();
        arm.disable().unwrap();
        assert_eq!(arm.torque_enabled().unwrap(), [false; 6]);
        world.advance(20).unwrap();
        arm.enable().unwrap();
        assert_eq!(arm.torque_enabled().unwrap(), [true; 6]);
        let before = arm.read().unwrap();
        world.advance(400).unwrap();
        let after = arm.read().unwrap();
        for (a, b) in before.positions.iter().zip(&after.positions) {
            assert!((a - b).abs() < 0.08, "{a} {b}");
        }
        arm.disable().unwrap();
        world.advance(400).unwrap();
        let fallen = arm.read().unwrap();
        let moved = after
            .positions
            .iter()
            .zip(&fallen.positions)
            .fold(0.0_f64, |most, (a, b)| most.max((a - b).abs()));
        assert!(moved > 0.1, "{moved}");
    }
}
