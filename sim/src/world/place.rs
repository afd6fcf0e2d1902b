//! Moving things in a world: objects, the arm as a whole, the goals of its servos.

use nalgebra::{Isometry3, Vector3};
use rapport_robot::{JointKind, so101};

use super::{World, WorldError, no_joint};

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
        let mut physics = self.lock();
        *physics
            .enabled
            .get_mut(joint)
            .ok_or_else(|| no_joint(joint))? = torque == Torque::On;
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
        physics.poses_fresh = false;
        Ok(())
    }

    /// Stands the first object on the table, see [`World::place_object`].
    ///
    /// Errors: as [`World::place_object`].
    pub fn place_cube(&self, x: f64, y: f64, yaw: f64) -> Result<(), WorldError> {
        self.place_object(0, x, y, yaw)
    }

    /// Stands an object upright on the table at rest, centre at `(x, y)` m, turned by `yaw` rad.
    ///
    /// Errors: [`WorldError::Invalid`] where there is no such object or a number is not finite.
    pub fn place_object(&self, object: usize, x: f64, y: f64, yaw: f64) -> Result<(), WorldError> {
        let config = self.scene.config().objects.get(object);
        let height = config.map_or(0.0, |object| object.shape.half_size()[2]);
        let (sin, cos) = (0.5 * yaw).sin_cos();
        self.put(object, [x, y, height, cos, 0.0, 0.0, sin])
    }

    /// Puts an object anywhere, at rest.
    ///
    /// Errors: as [`World::place_object`].
    pub fn put_object(
        &self,
        object: usize,
        base_from_object: &Isometry3<f64>,
    ) -> Result<(), WorldError> {
        let t = base_from_object.translation.vector;
        let q = base_from_object.rotation;
        self.put(object, [t.x, t.y, t.z, q.w, q.i, q.j, q.k])
    }

    fn put(&self, object: usize, pose: [f64; 7]) -> Result<(), WorldError> {
        let Some(address) = self.scene.objects.get(object) else {
            return Err(missing("object", object));
        };
        if !pose.iter().all(|value| value.is_finite()) {
            return Err(WorldError::Invalid(format!(
                "the place of object {object} is not finite"
            )));
        }
        let mut physics = self.lock();
        physics.data.qpos_mut()[address.position..address.position + 7].copy_from_slice(&pose);
        physics.data.qvel_mut()[address.velocity..address.velocity + 6].fill(0.0);
        physics.poses_fresh = false;
        Ok(())
    }

    /// Stands a piece of furniture on the table, its middle at `(x, y)` m, its front turned to `yaw` rad from x, open by
    /// `opening` (m, a door rad) and at rest.
    ///
    /// Errors: [`WorldError::Invalid`] where there is no such fixture, a number is not finite, or it does not open so far.
    pub fn place_fixture(
        &self,
        fixture: usize,
        [x, y]: [f64; 2],
        yaw: f64,
        opening: f64,
    ) -> Result<(), WorldError> {
        let Some(address) = self.scene.fixtures.get(fixture) else {
            return Err(missing("fixture", fixture));
        };
        if ![x, y, yaw].iter().all(|value| value.is_finite()) {
            return Err(WorldError::Invalid(format!(
                "the place of fixture {fixture} is not finite"
            )));
        }
        let widest = address.joint.map_or(0.0, |joint| joint.range.1);
        if !(0.0..=widest).contains(&opening) {
            return Err(WorldError::Invalid(format!(
                "fixture {fixture} opens within 0..={widest}, not {opening}"
            )));
        }
        let mut physics = self.lock();
        let (sin, cos) = (0.5 * yaw).sin_cos();
        physics.data.mocap_pos_mut()[address.mocap] = [x, y, 0.0];
        physics.data.mocap_quat_mut()[address.mocap] = [cos, 0.0, 0.0, sin];
        if let Some(joint) = address.joint {
            physics.data.qpos_mut()[joint.position] = opening;
            physics.data.qvel_mut()[joint.velocity] = 0.0;
        }
        physics.poses_fresh = false;
        Ok(())
    }

    /// Moves the first mark, see [`World::place_mark`].
    ///
    /// Errors: as [`World::place_mark`].
    pub fn place_target(&self, position: Vector3<f64>) -> Result<(), WorldError> {
        self.place_mark(0, position)
    }

    /// Moves a mark; a flat one stays on the table whatever z says.
    ///
    /// Errors: [`WorldError::Invalid`] where there is none or a number is not finite.
    pub fn place_mark(&self, mark: usize, position: Vector3<f64>) -> Result<(), WorldError> {
        let marks = self.scene.marks.iter().zip(&self.scene.config().marks);
        let Some((&id, config)) = marks.into_iter().nth(mark) else {
            return Err(missing("mark", mark));
        };
        if !position.iter().all(|value| value.is_finite()) {
            return Err(WorldError::Invalid(format!(
                "the place of mark {mark} is not finite"
            )));
        }
        let mut physics = self.lock();
        let place = &mut physics.data.mocap_pos_mut()[id];
        let z = if config.shape.is_flat() {
            place[2]
        } else {
            position.z
        };
        *place = [position.x, position.y, z];
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
    }

    pub(crate) fn servos_enabled(&self) -> Vec<bool> {
        self.lock().enabled.clone()
    }
}

fn missing(kind: &str, number: usize) -> WorldError {
    WorldError::Invalid(format!("the scene has no {kind} number {number}"))
}

fn hinge_angle(kind: JointKind, position: f64) -> f64 {
    match kind {
        JointKind::Revolute => position,
        JointKind::Gripper => so101::jaw_angle_from_opening(position),
    }
}
