//! The [`World`]: one simulation, shared by the arm, clock, cameras and readings that look at it.

mod measure;
mod place;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mujoco_rs::prelude::*;
use rapport_robot::{ArmSpec, so101};

pub use measure::{FixtureState, ObjectState, Reading, ServoState};
pub use place::Torque;

use crate::scene::Scene;

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

/// A full copy of a world's state. Fits any world of the same scene.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    state: Box<[f64]>,
    goals: Vec<f64>,
    enabled: Vec<bool>,
    steps: u64,
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
    /// A world at rest: the arm at zero with torque on, everything else where the scene puts it.
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

    /// Simulated time since the world was made. It does not go back at a reset nor when a snapshot is restored, only when
    /// an environment is.
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

    /// Copies the whole state: a world that restores it goes on bit for bit the same.
    pub fn snapshot(&self) -> Snapshot {
        let physics = self.lock();
        Snapshot {
            state: physics.data.state(FULL_STATE),
            goals: physics.goals.clone(),
            enabled: physics.enabled.clone(),
            steps: physics.steps,
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

    /// Goes back to a snapshot, and the clock with it: for whoever owns everything that looks at this world's clock.
    ///
    /// Errors: as [`World::restore`].
    pub(crate) fn rewind(&self, snapshot: &Snapshot) -> Result<(), WorldError> {
        self.restore(snapshot)?;
        self.lock().steps = snapshot.steps;
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

fn no_joint(joint: usize) -> WorldError {
    WorldError::Invalid(format!("there is no joint number {joint}"))
}
