//! Looking at a world: the arm, its servos, the objects.

use nalgebra::{Isometry3, Quaternion, Rotation3, Translation3, UnitQuaternion, Vector3};
use rapport_robot::{ArmState, JointKind, so101};

use super::{Physics, World, WorldError, no_joint, refresh};
use crate::arm_mjcf::MAX_SERVO_TORQUE;
use crate::scene::{FixtureAddress, JointAddress};

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

/// Where a piece of furniture stands and how far it is open, in the base frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FixtureState {
    /// Pose of its frame, on the table below its middle, m.
    pub base_from_fixture: Isometry3<f64>,
    /// How far it is open: m, a door rad; 0 for what does not open.
    pub opening: f64,
    /// How fast it opens, m/s or rad/s.
    pub speed: f64,
    /// Where a finger goes to open it, between the front and the bar of the handle, m; a tray: the middle of its floor.
    pub handle: Vector3<f64>,
}

/// Everything that can be measured in a world at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The arm.
    pub arm: ArmState,
    /// The tool's pose in the base frame.
    pub base_from_tool: Isometry3<f64>,
    /// The free objects, in the order of [`SceneConfig::objects`](crate::SceneConfig::objects).
    pub objects: Vec<ObjectState>,
    /// The furniture, in the order of [`SceneConfig::fixtures`](crate::SceneConfig::fixtures).
    pub fixtures: Vec<FixtureState>,
    /// Centres of the marks, base frame, m, in the order of [`SceneConfig::marks`](crate::SceneConfig::marks).
    pub marks: Vec<Vector3<f64>>,
}

impl Reading {
    /// Position of the tool, base frame, m.
    pub fn tool(&self) -> Vector3<f64> {
        self.base_from_tool.translation.vector
    }

    /// The first object: the cube, in scenes that have only one.
    pub fn cube(&self) -> Option<&ObjectState> {
        self.objects.first()
    }

    /// Centre of the first mark, base frame, m.
    pub fn target(&self) -> Option<Vector3<f64>> {
        self.marks.first().copied()
    }

    /// How wide the gripper is open, fraction.
    pub fn opening(&self) -> f64 {
        self.arm.positions.last().copied().unwrap_or(0.0)
    }

    /// How hard the gripper's servo pushes, share of its strength; negative: it closes.
    pub fn grip(&self) -> f64 {
        self.arm.loads.last().copied().unwrap_or(0.0)
    }

    /// How far the things of the scene have come from where they were at `start`: the longest way of an object, m, or the
    /// largest change of an opening, m (a door: rad).
    pub fn moved_since(&self, start: &Self) -> f64 {
        let ways = self
            .objects
            .iter()
            .zip(&start.objects)
            .map(|(now, then)| (now.position() - then.position()).norm());
        let openings = self
            .fixtures
            .iter()
            .zip(&start.fixtures)
            .map(|(now, then)| (now.opening - then.opening).abs());
        ways.chain(openings).fold(0.0, f64::max)
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
            objects: self
                .scene
                .objects
                .iter()
                .map(|&address| object(&physics, address))
                .collect(),
            fixtures: self
                .scene
                .fixtures
                .iter()
                .map(|&address| fixture(&physics, address))
                .collect(),
            marks: self
                .scene
                .marks
                .iter()
                .map(|&id| Vector3::from(physics.data.mocap_pos()[id]))
                .collect(),
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

    /// The first object; `None` where the scene has none.
    ///
    /// Errors: [`WorldError::Diverged`].
    pub fn cube(&self) -> Result<Option<ObjectState>, WorldError> {
        let physics = self.sound()?;
        let address = self.scene.objects.first();
        Ok(address.map(|&address| object(&physics, address)))
    }

    /// Centre of the first mark, base frame, m; `None` where the scene has none.
    pub fn target(&self) -> Option<Vector3<f64>> {
        let physics = self.lock();
        let mark = self.scene.marks.first();
        mark.map(|&id| Vector3::from(physics.data.mocap_pos()[id]))
    }
}

fn object(physics: &Physics, address: JointAddress) -> ObjectState {
    let q = &physics.data.qpos()[address.position..address.position + 7];
    let v = &physics.data.qvel()[address.velocity..address.velocity + 6];
    ObjectState {
        base_from_object: pose([q[0], q[1], q[2]], [q[3], q[4], q[5], q[6]]),
        velocity: Vector3::new(v[0], v[1], v[2]),
        angular_velocity: Vector3::new(v[3], v[4], v[5]),
    }
}

/// Poses must be fresh.
fn fixture(physics: &Physics, address: FixtureAddress) -> FixtureState {
    let data = &physics.data;
    let (opening, speed) = address.joint.map_or((0.0, 0.0), |joint| {
        (data.qpos()[joint.position], data.qvel()[joint.velocity])
    });
    FixtureState {
        base_from_fixture: pose(
            data.mocap_pos()[address.mocap],
            data.mocap_quat()[address.mocap],
        ),
        opening,
        speed,
        handle: Vector3::from(data.site_xpos()[address.handle]),
    }
}

fn pose([x, y, z]: [f64; 3], [w, i, j, k]: [f64; 4]) -> Isometry3<f64> {
    Isometry3::from_parts(
        Translation3::new(x, y, z),
        UnitQuaternion::from_quaternion(Quaternion::new(w, i, j, k)),
    )
}
