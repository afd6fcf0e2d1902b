//! The tasks: what lies on the table, how an episode starts, what an action means, and how well it went.

use std::f64::consts::FRAC_PI_2;
use std::ops::RangeInclusive;
use std::sync::Arc;

use nalgebra::{Matrix3, Rotation3, UnitQuaternion, Vector3};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rapport_robot::action::ActionSpace;
use rapport_robot::inverse::{InverseConfig, InverseError, Orientation, ToolTarget};
use rapport_robot::so101;

use crate::scene::SceneConfig;
use crate::script::Operator;
use crate::world::{Reading, World, WorldError};

mod avoid;
mod door;
mod drawer;
mod group;
mod lift;
mod pour;
mod push;
mod reach;
mod sort;
mod stack;
#[cfg(test)]
mod tests;

pub use avoid::Avoid;
pub use door::Door;
pub(crate) use door::furniture;
pub use drawer::Drawer;
pub use group::Group;
pub use lift::Lift;
pub(crate) use lift::cube;
pub use pour::Pour;
pub use push::Push;
pub(crate) use push::cube_in_plane;
pub use reach::Reach;
pub(crate) use reach::ball;
pub use sort::Sort;
pub use stack::Stack;

/// A task. It keeps nothing itself: all that changes is in the world.
pub trait Task: Send + Sync {
    /// Name on the command line and in datasets.
    fn name(&self) -> &'static str;

    /// The task in words, as a person would put it to the robot.
    fn instruction(&self) -> &'static str;

    /// What lies on the table.
    fn scene(&self) -> SceneConfig;

    /// Somebody who can do the task.
    fn operator(&self) -> Box<dyn Operator>;

    /// What an action means.
    fn action_space(&self) -> ActionSpace;

    /// Policy steps of an episode.
    fn max_steps(&self) -> usize;

    /// Sets up the start of an episode. The world has been reset before.
    ///
    /// Errors: a place outside the arm's reach, which the task's own ranges exclude.
    fn reset(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError>;

    /// Puts the arm and the object anywhere in the workspace, each without regard to the other, at rest. Tells whether a
    /// reward looks at the object or only at the arm that usually moves with it. The world has been reset before.
    ///
    /// Errors: as [`Task::reset`].
    fn reset_independently(&self, world: &World, rng: &mut ChaCha8Rng) -> Result<(), WorldError>;

    /// Names of the environment state's components, `[n]`.
    fn features(&self) -> &'static [&'static str];

    /// The true state of the objects, in m, rad and their sines, `[n]`. No camera can be asked for it.
    fn environment_state(&self, reading: &Reading) -> Vec<f64>;

    /// The ground-truth reward of being in this state for one policy step. Dense and bounded.
    fn reward(&self, reading: &Reading) -> f64;

    /// How far the task is from done, as a negative distance in m (a door: rad); 0 is done.
    fn progress(&self, reading: &Reading) -> f64;

    /// Whether the task is done. What counts is the end of the episode.
    fn success(&self, reading: &Reading) -> bool;
}

/// A task that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no task {name:?}; the tasks are {}", known.join(", "))]
pub struct UnknownTask {
    /// What was asked for.
    pub name: String,
    /// What there is.
    pub known: Vec<&'static str>,
}

/// Every task.
pub fn all() -> Vec<Arc<dyn Task>> {
    vec![
        Arc::new(Reach),
        Arc::new(Push),
        Arc::new(Lift),
        Arc::new(Stack),
        Arc::new(Sort),
        Arc::new(Door),
        Arc::new(Drawer),
        Arc::new(Pour),
        Arc::new(Avoid),
        Arc::new(Group),
    ]
}

/// The task with this name.
///
/// Errors: [`UnknownTask`], which lists the names.
pub fn by_name(name: &str) -> Result<Arc<dyn Task>, UnknownTask> {
    let tasks = all();
    let known = tasks.iter().map(|task| task.name()).collect();
    tasks
        .into_iter()
        .find(|task| task.name() == name)
        .ok_or_else(|| UnknownTask {
            name: name.into(),
            known,
        })
}

/// The rotation of a tool that points straight down, its fixed finger towards `yaw` (rad from x, about z).
fn tool_down(yaw: f64) -> UnitQuaternion<f64> {
    let (sin, cos) = yaw.sin_cos();
    let base_from_tool = Matrix3::from_columns(&[
        Vector3::new(cos, sin, 0.0),
        Vector3::new(sin, -cos, 0.0),
        Vector3::new(0.0, 0.0, -1.0),
    ]);
    UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(base_from_tool))
}

/// Joint positions with the tool at `tool` (base frame, m), straight down, the fixed finger towards `yaw`, the gripper open
/// by `opening`.
///
/// Errors: [`WorldError::Invalid`] where the arm cannot reach.
fn joints_over(tool: Vector3<f64>, yaw: f64, opening: f64) -> Result<Vec<f64>, WorldError> {
    joints_at(tool, tool_down(yaw), opening)
}

/// The same for a tool that is turned in any way; the position comes first.
fn joints_at(
    tool: Vector3<f64>,
    base_from_tool: UnitQuaternion<f64>,
    opening: f64,
) -> Result<Vec<f64>, WorldError> {
    let spec = so101::spec();
    let limits: Vec<(f64, f64)> = spec.joints[..spec.dof() - 1]
        .iter()
        .map(|joint| (joint.min, joint.max))
        .collect();
    // From elbow up and tool down over the table the solver never ends in another branch.
    let start = [-tool.y.atan2(tool.x), -0.3, 0.3, FRAC_PI_2, 0.0];
    let target = ToolTarget {
        position: tool,
        orientation: Orientation::Full(base_from_tool),
    };
    let mut joints =
        match so101::chain().inverse(&target, &start, &limits, &InverseConfig::default()) {
            Ok(solution) => solution.joints,
            Err(InverseError::Unreachable(solution)) if solution.position_error < 1e-3 => {
                solution.joints
            }
            Err(error) => return Err(WorldError::Invalid(error.to_string())),
        };
    joints.push(opening);
    Ok(joints)
}

/// Centre of an object, base frame, m; the middle of the field where a scene has no such object.
pub(crate) fn place_of(reading: &Reading, object: usize) -> Vector3<f64> {
    reading
        .objects
        .get(object)
        .map_or(Vector3::new(0.22, 0.0, 0.015), |o| o.position())
}

/// Sine and cosine of four times an object's yaw: a cube looks the same after a quarter turn.
fn quarter_turns(reading: &Reading, object: usize) -> (f64, f64) {
    let yaw = reading.objects.get(object).map_or(0.0, |o| o.yaw());
    (4.0 * yaw).sin_cos()
}

/// Whether all objects move slower than `speed`, m/s.
fn all_still(reading: &Reading, speed: f64) -> bool {
    reading.objects.iter().all(|o| o.velocity.norm() < speed)
}

/// A number from a range.
fn within(rng: &mut ChaCha8Rng, range: &RangeInclusive<f64>) -> f64 {
    rng.random_range(range.clone())
}
