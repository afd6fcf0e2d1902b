//! Looking at a world: the arm, its servos, the objects.

use nalgebra::{Isometry3, Quaternion, Rotation3, Translation3, UnitQuaternion, Vector3};
use rapport_robot::{ArmState, JointKind, so101};

use super::{Physics, World, WorldError, no_joint, refresh};
use crate::arm_mjcf::MAX_SERVO_TORQUE;

/// Where a free body is and how it moves, in the base frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ObjectState {
    /// Pose in the base frame, m.
    pub base_from_object: Isometry3<f64>,
    /// Velocity of its centre, m/s.
    pub velocity: Vector3<f64>,
    /// Angular velocity in its own frame, rad/s.
    pub angular_velocity: Vector3<f64>,
}

impl ObjectState {
    /// Centre, base frame, m.
    pub fn position(&self) -> Vector3<f64> {
        self.base_from_object.translation.vector
    }

    /// Turn about the vertical, rad, in `-pi..=pi`.
    pub fn yaw(&self) -> f64 {
        let x = self.base_from_object.rotation * Vector3::x();
        x.y.atan2(x.x)
    }
}

/// Everything that can be measured in a world at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The arm.
    pub arm: ArmState,
    /// The tool's pose in the base frame.
    pub base_from_tool: Isometry3<f64>,
    /// The cube, where there is one.
    pub cube: Option<ObjectState>,
    /// Centre of the target mark, base frame, m, where there is one.
    pub target: Option<Vector3<f64>>,
}

impl Reading {
    /// Position of the tool, base frame, m.
    pub fn tool(&self) -> Vector3<f64> {
        self.base_from_tool.translation.vector
    }
}

/// One servo as its own electronics see it: hinge angles in rad, also for the gripper.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServoState {
    /// Hinge angle, rad.
    pub position: f64,
    /// Hinge speed, rad/s.
    pub velocity: f64,
    /// Torque at the hinge, N m, within ±[`MAX_SERVO_TORQUE`].
    pub torque: f64,
    /// Goal angle, rad.
    pub goal: f64,
    /// Whether it holds its goal.
    pub enabled: bool,
}

impl World {
    /// Measures the arm: positions, velocities and loads; the simulated servos have no thermometer and no voltmeter.
    ///
    /// Errors: [`WorldError::Diverged`].
    pub fn arm_state(&self) -> Result<ArmState, WorldError> {
        Ok(self.arm_locked(&*self.sound()?))
    }

    /// Measures everything at once.
    ///
    /// Errors: [`WorldError::Diverged`].
    pub fn reading(&self) -> Result<Reading, WorldError> {
        let mut physics = self.sound()?;
        refresh(&mut physics);
        Ok(Reading {
            arm: self.arm_locked(&physics),
            base_from_tool: self.tool_locked(&physics),
            cube: self.cube_locked(&physics),
            target: self.target_locked(&physics),
        })
    }

    fn arm_locked(&self, physics: &Physics) -> ArmState {
        let dof = self.spec.dof();
        let mut state = ArmState {
            stamp: self.time(physics),
            positions: Vec::with_capacity(dof),
            velocities: Vec::with_capacity(dof),
            loads: Vec::with_capacity(dof),
            ..ArmState::default()
        };
        let per_radian = 1.0 / (so101::GRIPPER_OPEN - so101::GRIPPER_CLOSED);
        for (hinge, joint) in self.scene.hinges.iter().zip(&self.spec.joints) {
            let angle = physics.data.qpos()[hinge.position];
            let speed = physics.data.qvel()[hinge.velocity];
            let (position, velocity) = match joint.kind {
                JointKind::Revolute => (angle, speed),
                JointKind::Gripper => (so101::opening_from_jaw_angle(angle), speed * per_radian),
            };
            state.positions.push(position);
            state.velocities.push(velocity);
            state
                .loads
                .push(physics.data.actuator_force()[hinge.servo] / MAX_SERVO_TORQUE);
        }
        state
    }

    fn tool_locked(&self, physics: &Physics) -> Isometry3<f64> {
        let site = self.scene.tool_site;
        let position = physics.data.site_xpos()[site];
        let rotation = nalgebra::Matrix3::from_row_slice(&physics.data.site_xmat()[site]);
        Isometry3::from_parts(
            Translation3::from(Vector3::from(position)),
            UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(rotation)),
        )
    }

    fn cube_locked(&self, physics: &Physics) -> Option<ObjectState> {
        self.scene.cube.map(|address| {
            let q = &physics.data.qpos()[address.position..address.position + 7];
            let v = &physics.data.qvel()[address.velocity..address.velocity + 6];
            ObjectState {
                base_from_object: Isometry3::from_parts(
                    Translation3::new(q[0], q[1], q[2]),
                    UnitQuaternion::from_quaternion(Quaternion::new(q[3], q[4], q[5], q[6])),
                ),
                velocity: Vector3::new(v[0], v[1], v[2]),
                angular_velocity: Vector3::new(v[3], v[4], v[5]),
            }
        })
    }

    fn target_locked(&self, physics: &Physics) -> Option<Vector3<f64>> {
        self.scene
            .target
            .map(|id| Vector3::from(physics.data.mocap_pos()[id]))
    }

    /// One servo.
    ///
    /// Errors: [`WorldError::Diverged`]; [`WorldError::Invalid`] for a joint that does not exist.
    pub fn servo(&self, joint: usize) -> Result<ServoState, WorldError> {
        let hinge = *self
            .scene
            .hinges
            .get(joint)
            .ok_or_else(|| no_joint(joint))?;
        let physics = self.sound()?;
        Ok(ServoState {
            position: physics.data.qpos()[hinge.position],
            velocity: physics.data.qvel()[hinge.velocity],
            torque: physics.data.actuator_force()[hinge.servo],
            goal: physics.goals[joint],
            enabled: physics.enabled[joint],
        })
    }

    /// The tool's pose in the base frame.
    ///
    /// Errors: [`WorldError::Diverged`].
    pub fn base_from_tool(&self) -> Result<Isometry3<f64>, WorldError> {
        let mut physics = self.sound()?;
        refresh(&mut physics);
        Ok(self.tool_locked(&physics))
    }

    /// The cube; `None` where the scene has none.
    ///
    /// Errors: [`WorldError::Diverged`].
    pub fn cube(&self) -> Result<Option<ObjectState>, WorldError> {
        Ok(self.cube_locked(&*self.sound()?))
    }

    /// Centre of the target mark, base frame, m; `None` where the scene has none.
    pub fn target(&self) -> Option<Vector3<f64>> {
        self.target_locked(&self.lock())
    }
}
