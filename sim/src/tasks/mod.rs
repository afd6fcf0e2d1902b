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

mod lift;
mod push;
mod reach;

pub use lift::Lift;
pub(crate) use lift::cube;
pub use push::Push;
pub(crate) use push::cube_in_plane;
pub use reach::Reach;
pub(crate) use reach::ball;

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

    /// How far the task is from done, as a negative distance in m; 0 is done.
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
    vec![Arc::new(Reach), Arc::new(Push), Arc::new(Lift)]
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
    let spec = so101::spec();
    let limits: Vec<(f64, f64)> = spec.joints[..spec.dof() - 1]
        .iter()
        .map(|joint| (joint.min, joint.max))
        .collect();
    // From elbow up and tool down over the table the solver never ends in another branch.
    let start = [-tool.y.atan2(tool.x), -0.3, 0.3, FRAC_PI_2, 0.0];
    let target = ToolTarget {
        position: tool,
        orientation: Orientation::Full(tool_down(yaw)),
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

/// A number from a range.
fn within(rng: &mut ChaCha8Rng, range: &RangeInclusive<f64>) -> f64 {
    rng.random_range(range.clone())
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_task_is_an_error_that_lists_the_known_ones() {
        let message = by_name("so101-juggle").err().map(|e| e.to_string());
        assert_eq!(
            message.as_deref(),
            Some(
                "there is no task \"so101-juggle\"; the tasks are so101-reach, so101-push, so101-lift"
            )
        );
    }

    #[test]
    fn the_tool_is_put_where_it_is_asked_for() {
        for (x, y) in [(0.16, -0.14), (0.22, 0.0), (0.26, 0.12)] {
            let joints = joints_over(Vector3::new(x, y, 0.03), FRAC_PI_2, 0.5).unwrap();
            let tool = so101::chain().base_from_tool(&joints[..5]);
            assert!((tool.translation.vector - Vector3::new(x, y, 0.03)).norm() < 1e-3);
            assert!((tool.rotation * Vector3::z()).z < -0.999);
            assert!((tool.rotation * Vector3::x()).y > 0.999);
        }
        assert!(joints_over(Vector3::new(0.8, 0.0, 0.03), 0.0, 0.0).is_err());
    }
}
