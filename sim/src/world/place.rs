//! Moving things in a world: objects, the arm as a whole, the goals of its servos.

use nalgebra::Vector3;
use rapport_robot::{JointKind, so101};

use super::{World, WorldError, no_joint};
use crate::scene::TargetConfig;

/// Whether a servo holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torque {
    /// It holds its goal.
    On,
    /// It gives no force; gears and friction remain.
    Off,
}

impl World {
    /// Sets the goal of one servo, rad, as its bus would: for the twin, which stands below the driver and its guard.
    /// Everything else commands a [`SimArm`](crate::SimArm) through a guard.
    ///
    /// Errors: [`WorldError::Invalid`] for a goal that is not finite or a joint that does not exist.
    pub fn set_servo_goal(&self, joint: usize, angle: f64) -> Result<(), WorldError> {
        if !angle.is_finite() {
            return Err(WorldError::Invalid(format!(
                "the goal of servo {joint} is not finite"
            )));
        }
        let mut physics = self.lock();
        *physics
            .goals
            .get_mut(joint)
            .ok_or_else(|| no_joint(joint))? = angle;
        Ok(())
    }

    /// Switches the torque of one servo.
    ///
    /// Errors: [`WorldError::Invalid`] for a joint that does not exist.
    pub fn set_servo_torque(&self, joint: usize, torque: Torque) -> Result<(), WorldError> {
        let physics = &mut *self.lock();
        let enabled = physics
            .enabled
            .get_mut(joint)
            .ok_or_else(|| no_joint(joint))?;
        let was = std::mem::replace(enabled, torque == Torque::On);
        if *enabled && !was {
            // What was sent before the torque went off is no longer on its way.
            let goal = physics.goals[joint];
            physics
                .underway
                .iter_mut()
                .for_each(|goals| goals[joint] = goal);
        }
        Ok(())
    }

    /// Puts the arm somewhere at rest, holding that pose. `positions`: rad (gripper: fraction), one per joint.
    ///
    /// Errors: [`WorldError::Invalid`] for the wrong length or numbers that are not finite.
    pub fn place_arm(&self, positions: &[f64]) -> Result<(), WorldError> {
        if positions.len() != self.spec.dof() || positions.iter().any(|q| !q.is_finite()) {
            return Err(WorldError::Invalid(format!(
                "the arm needs {} finite positions",
                self.spec.dof()
            )));
        }
        let mut physics = self.lock();
        for (i, (hinge, joint)) in self.scene.hinges.iter().zip(&self.spec.joints).enumerate() {
            let angle = hinge_angle(joint.kind, positions[i]);
            physics.data.qpos_mut()[hinge.position] = angle;
            physics.data.qvel_mut()[hinge.velocity] = 0.0;
            physics.goals[i] = angle;
            physics.enabled[i] = true;
        }
        physics.arrive();
        physics.poses_fresh = false;
        Ok(())
    }

    /// Stands the cube on the table at rest, centre at `(x, y)` m, turned by `yaw` rad.
    ///
    /// Errors: [`WorldError::Invalid`] where there is no cube or a number is not finite.
    pub fn place_cube(&self, x: f64, y: f64, yaw: f64) -> Result<(), WorldError> {
        let (Some(address), Some(cube)) = (self.scene.cube, &self.scene.config().cube) else {
            return Err(WorldError::Invalid("the scene has no cube".into()));
        };
        if ![x, y, yaw].iter().all(|value| value.is_finite()) {
            return Err(WorldError::Invalid("the cube's place is not finite".into()));
        }
        let mut physics = self.lock();
        let (sin, cos) = (0.5 * yaw).sin_cos();
        physics.data.qpos_mut()[address.position..address.position + 7].copy_from_slice(&[
            x,
            y,
            0.5 * cube.side_m,
            cos,
            0.0,
            0.0,
            sin,
        ]);
        physics.data.qvel_mut()[address.velocity..address.velocity + 6].fill(0.0);
        physics.poses_fresh = false;
        Ok(())
    }

    /// Moves the target mark; a disc stays on the table whatever z says.
    ///
    /// Errors: [`WorldError::Invalid`] where there is none or a number is not finite.
    pub fn place_target(&self, position: Vector3<f64>) -> Result<(), WorldError> {
        let Some(id) = self.scene.target else {
            return Err(WorldError::Invalid("the scene has no target".into()));
        };
        if !position.iter().all(|value| value.is_finite()) {
            return Err(WorldError::Invalid(
                "the target's place is not finite".into(),
            ));
        }
        let mut physics = self.lock();
        let mark = &mut physics.data.mocap_pos_mut()[id];
        let z = match self.scene.config().target {
            Some(TargetConfig::Disc { .. }) => mark[2],
            _ => position.z,
        };
        *mark = [position.x, position.y, z];
        physics.poses_fresh = false;
        Ok(())
    }

    /// Sets all goals at once, rad (gripper: fraction). Only [`SimArm`](crate::SimArm) calls this, with a checked goal.
    pub(crate) fn set_goals(&self, positions: &[f64]) {
        let mut physics = self.lock();
        for ((goal, position), joint) in physics
            .goals
            .iter_mut()
            .zip(positions)
            .zip(&self.spec.joints)
        {
            *goal = hinge_angle(joint.kind, *position);
        }
    }

    /// Makes every goal the present position.
    pub(crate) fn hold_here(&self) {
        let mut physics = self.lock();
        for (i, hinge) in self.scene.hinges.iter().enumerate() {
            physics.goals[i] = physics.data.qpos()[hinge.position];
        }
        physics.arrive();
    }

    pub(crate) fn servos_enabled(&self) -> Vec<bool> {
        self.lock().enabled.clone()
    }
}

fn hinge_angle(kind: JointKind, position: f64) -> f64 {
    match kind {
        JointKind::Revolute => position,
        JointKind::Gripper => so101::jaw_angle_from_opening(position),
    }
}
