//! The [`World`]: one simulation, shared by the arm, clock, cameras and readings that look at it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mujoco_rs::prelude::*;
use nalgebra::{Isometry3, Quaternion, Rotation3, Translation3, UnitQuaternion, Vector3};
use rapport_robot::{ArmSpec, ArmState, JointKind, so101};

use crate::arm_mjcf::MAX_SERVO_TORQUE;
use crate::scene::{Scene, TargetConfig};

/// Everything that decides how a simulation goes on.
const FULL_STATE: u32 = MjtState::mjSTATE_INTEGRATION as u32;

/// No joint of these worlds moves this fast, rad/s or m/s: a simulation that says so has come apart.
const IMPLAUSIBLE_SPEED: f64 = 300.0;

/// Why a world does not go on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WorldError {
    /// The numbers stopped making sense. Nothing of this world can be used before it is reset or restored.
    #[error("the simulation came apart at {at_s:.3} s: {what}; reset the world")]
    Diverged {
        /// Simulated time, s.
        at_s: f64,
        /// What was found.
        what: String,
    },
    /// A pose, goal or snapshot does not fit this world.
    #[error("world: {0}")]
    Invalid(String),
}

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

/// A full copy of a world's state. Fits any world of the same scene.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    state: Box<[f64]>,
    goals: Vec<f64>,
    enabled: Vec<bool>,
    signature: u64,
}

struct Physics {
    data: MjData<Arc<MjModel>>,
    goals: Vec<f64>,
    enabled: Vec<bool>,
    steps: u64,
    /// Poses of bodies, sites and cameras belong to the present joint positions.
    poses_fresh: bool,
    diverged: Option<WorldError>,
}

/// A handle on one simulation. Clones are handles on the same one.
#[derive(Clone)]
pub struct World {
    scene: Arc<Scene>,
    spec: Arc<ArmSpec>,
    step: Duration,
    physics: Arc<Mutex<Physics>>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

impl World {
    /// A world at rest: the arm at zero with torque on, the cube and the target where the scene puts them.
    ///
    /// Errors: [`WorldError::Invalid`] when MuJoCo has no memory for it.
    pub fn new(scene: Arc<Scene>) -> Result<Self, WorldError> {
        let data = MjData::try_new(scene.model().clone())
            .map_err(|error| WorldError::Invalid(error.to_string()))?;
        let joints = scene.hinges.len();
        let step = Duration::from_secs_f64(scene.config().timestep_s);
        let world = Self {
            scene,
            spec: Arc::new(so101::spec()),
            step,
            physics: Arc::new(Mutex::new(Physics {
                data,
                goals: vec![0.0; joints],
                enabled: vec![true; joints],
                steps: 0,
                poses_fresh: false,
                diverged: None,
            })),
        };
        world.reset();
        Ok(world)
    }

    /// The scene.
    pub fn scene(&self) -> &Arc<Scene> {
        &self.scene
    }

    /// What the arm is.
    pub fn spec(&self) -> &ArmSpec {
        &self.spec
    }

    /// Length of a physics step.
    pub fn timestep(&self) -> Duration {
        self.step
    }

    /// Simulated time since the world was made. It never goes back, not at a reset and not when a snapshot is restored.
    pub fn now(&self) -> Duration {
        self.time(&self.lock())
    }

    /// Physics steps since the world was made.
    pub fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// Puts everything back where the scene has it, at rest.
    pub fn reset(&self) {
        let mut physics = self.lock();
        physics.data.reset();
        physics.diverged = None;
        physics.poses_fresh = false;
        physics.goals.fill(0.0);
        physics.enabled.fill(true);
    }

    /// Steps the physics until `deadline`, to the nearest step that is not before it.
    ///
    /// Errors: [`WorldError::Diverged`], now and on every use until the world is reset.
    pub fn advance_until(&self, deadline: Duration) -> Result<(), WorldError> {
        let mut physics = self.lock();
        let missing = deadline.saturating_sub(self.time(&physics)).as_nanos();
        let count = missing.div_ceil(self.step.as_nanos().max(1));
        self.advance_locked(&mut physics, u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// Steps the physics `count` times.
    ///
    /// Errors: [`WorldError::Diverged`].
    pub fn advance(&self, count: u64) -> Result<(), WorldError> {
        self.advance_locked(&mut self.lock(), count)
    }

    fn advance_locked(&self, physics: &mut Physics, count: u64) -> Result<(), WorldError> {
        for _ in 0..count {
            if let Some(error) = &physics.diverged {
                return Err(error.clone());
            }
            for (i, hinge) in self.scene.hinges.iter().enumerate() {
                // A servo without torque has its goal where it is, which is exactly no force.
                let goal = if physics.enabled[i] {
                    physics.goals[i]
                } else {
                    physics.data.qpos()[hinge.position]
                };
                physics.data.ctrl_mut()[hinge.servo] = goal;
            }
            physics.data.step();
            physics.steps += 1;
            physics.poses_fresh = false;
            if let Some(what) = fault(&physics.data) {
                physics.diverged = Some(WorldError::Diverged {
                    at_s: self.time(physics).as_secs_f64(),
                    what,
                });
            }
        }
        physics.diverged.clone().map_or(Ok(()), Err)
    }

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

    /// Centre of the target mark, base frame, m; `None` where the scene has none.
    pub fn target(&self) -> Option<Vector3<f64>> {
        self.target_locked(&self.lock())
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

    /// Copies the whole state: a world that restores it goes on bit for bit the same.
    pub fn snapshot(&self) -> Snapshot {
        let physics = self.lock();
        Snapshot {
            state: physics.data.state(FULL_STATE),
            goals: physics.goals.clone(),
            enabled: physics.enabled.clone(),
            signature: self.scene.model().signature(),
        }
    }

    /// Goes back to a snapshot. The clock goes on.
    ///
    /// Errors: [`WorldError::Invalid`] for a snapshot of another scene.
    pub fn restore(&self, snapshot: &Snapshot) -> Result<(), WorldError> {
        if snapshot.signature != self.scene.model().signature() {
            return Err(WorldError::Invalid(
                "the snapshot is of another scene".into(),
            ));
        }
        let mut physics = self.lock();
        physics.data.reset();
        physics
            .data
            .set_state(&snapshot.state, FULL_STATE)
            .map_err(|error| WorldError::Invalid(error.to_string()))?;
        physics.goals.clone_from(&snapshot.goals);
        physics.enabled.clone_from(&snapshot.enabled);
        physics.poses_fresh = false;
        physics.diverged = None;
        Ok(())
    }

    /// Gives `look` the MuJoCo data with all poses, cameras and lights up to date. For drawing; change nothing.
    ///
    /// Errors: [`WorldError::Diverged`].
    pub fn with_data<T>(
        &self,
        look: impl FnOnce(&mut MjData<Arc<MjModel>>) -> T,
    ) -> Result<T, WorldError> {
        let mut physics = self.sound()?;
        refresh(&mut physics);
        Ok(look(&mut physics.data))
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

    /// Makes the next step come apart.
    #[cfg(test)]
    pub(crate) fn shatter(&self) {
        self.lock().data.qvel_mut()[3] = f64::NAN;
    }

    fn lock(&self) -> MutexGuard<'_, Physics> {
        self.physics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sound(&self) -> Result<MutexGuard<'_, Physics>, WorldError> {
        let physics = self.lock();
        match &physics.diverged {
            Some(error) => Err(error.clone()),
            None => Ok(physics),
        }
    }

    fn time(&self, physics: &Physics) -> Duration {
        Duration::from_nanos((self.step.as_nanos() as u64).saturating_mul(physics.steps))
    }
}

/// Whether a servo holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torque {
    /// It holds its goal.
    On,
    /// It gives no force; gears and friction remain.
    Off,
}

fn no_joint(joint: usize) -> WorldError {
    WorldError::Invalid(format!("there is no joint number {joint}"))
}

fn hinge_angle(kind: JointKind, position: f64) -> f64 {
    match kind {
        JointKind::Revolute => position,
        JointKind::Gripper => so101::jaw_angle_from_opening(position),
    }
}

/// What is wrong with the state, if anything. MuJoCo's own checks look at the state before a step; this looks at the one after.
fn fault(data: &MjData<Arc<MjModel>>) -> Option<String> {
    if data.qpos().iter().any(|q| !q.is_finite()) {
        return Some("a position is not finite".into());
    }
    let fastest = data.qvel().iter().fold(0.0, |most: f64, v| {
        if v.is_finite() {
            most.max(v.abs())
        } else {
            f64::INFINITY
        }
    });
    (fastest > IMPLAUSIBLE_SPEED).then(|| format!("something moves at {fastest:.0} m/s or rad/s"))
}

/// Brings body, site, camera and light poses up to the present positions, without touching what the next step starts from.
fn refresh(physics: &mut Physics) {
    if !physics.poses_fresh {
        physics.data.kinematics();
        physics.data.com_pos();
        physics.data.camlight();
        physics.poses_fresh = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::{CubeConfig, SceneConfig};

    const REST: [f64; 6] = [0.1, -0.4, 0.3, 0.9, 0.2, 0.5];

    fn world() -> World {
        let scene = Scene::new(SceneConfig {
            cube: Some(CubeConfig::default()),
            target: Some(TargetConfig::Disc { radius_m: 0.04 }),
            ..SceneConfig::default()
        })
        .unwrap();
        let world = World::new(scene).unwrap();
        world.place_arm(&REST).unwrap();
        world.place_cube(0.3, 0.1, 0.3).unwrap();
        world
    }

    #[test]
    fn an_arm_with_torque_holds_its_pose_and_one_without_falls() {
        let holding = world();
        holding.advance(200).unwrap();
        for (q, rest) in holding.arm_state().unwrap().positions.iter().zip(REST) {
            assert!((q - rest).abs() < 0.06, "{q} {rest}");
        }
        let limp = world();
        for joint in 0..6 {
            limp.set_servo_torque(joint, Torque::Off).unwrap();
        }
        limp.advance(200).unwrap();
        let before = holding.base_from_tool().unwrap().translation.z;
        let after = limp.base_from_tool().unwrap().translation.z;
        assert!(after < before - 0.03, "{before} {after}");
        assert!(
            limp.arm_state()
                .unwrap()
                .loads
                .iter()
                .all(|l| l.abs() < 1e-9)
        );
    }

    #[test]
    fn a_goal_moves_the_joint_there() {
        let world = world();
        let goal = [-0.5, -0.2, 0.1, 0.7, -0.6, 0.9];
        world.set_goals(&goal);
        world.advance(400).unwrap();
        let state = world.arm_state().unwrap();
        for (q, goal) in state.positions.iter().zip(goal) {
            assert!((q - goal).abs() < 0.06, "{q} {goal}");
        }
        assert!(state.loads.iter().all(|load| load.abs() <= 1.0));
        assert_eq!(state.stamp, Duration::from_secs(2));
    }

    #[test]
    fn a_restored_world_goes_on_bit_for_bit_the_same() {
        let world = world();
        world.set_goals(&[0.6, 0.3, 0.3, 1.0, 0.2, 0.0]);
        world.advance(100).unwrap();
        let middle = world.snapshot();
        world.advance(100).unwrap();
        let first = world.snapshot();
        // Looking must not change the future.
        let other = World::new(world.scene().clone()).unwrap();
        other.restore(&middle).unwrap();
        for _ in 0..100 {
            other.advance(1).unwrap();
            other.base_from_tool().unwrap();
        }
        assert_eq!(first, other.snapshot());
        assert_eq!(world.now(), Duration::from_secs(1));
        assert_eq!(other.now(), Duration::from_millis(500));
    }

    #[test]
    fn objects_are_where_they_are_put() {
        let world = world();
        let cube = world.cube().unwrap().unwrap();
        assert!((cube.position() - Vector3::new(0.3, 0.1, 0.015)).norm() < 1e-12);
        assert!((cube.yaw() - 0.3).abs() < 1e-12);
        world.advance(100).unwrap();
        let later = world.cube().unwrap().unwrap();
        assert!((cube.position() - later.position()).norm() < 1e-3);
        world.place_target(Vector3::new(0.2, -0.1, 5.0)).unwrap();
        let target = world.target().unwrap();
        assert_eq!((target.x, target.y), (0.2, -0.1));
        assert!(target.z < 0.01);
    }

    #[test]
    fn a_world_that_came_apart_says_so_until_it_is_reset() {
        let world = world();
        world.shatter();
        assert!(matches!(world.advance(3), Err(WorldError::Diverged { .. })));
        assert!(world.arm_state().is_err());
        assert!(world.cube().is_err());
        assert!(world.advance(1).is_err());
        world.reset();
        world.place_arm(&REST).unwrap();
        world.advance(10).unwrap();
        assert!(
            world
                .arm_state()
                .unwrap()
                .positions
                .iter()
                .all(|q| q.is_finite())
        );
    }

    #[test]
    fn a_snapshot_of_another_scene_is_refused() {
        let bare = World::new(Scene::new(SceneConfig::default()).unwrap()).unwrap();
        assert!(matches!(
            world().restore(&bare.snapshot()),
            Err(WorldError::Invalid(_))
        ));
    }
}
