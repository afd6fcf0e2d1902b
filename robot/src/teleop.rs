//! The [`Teleoperator`] trait: whoever shows the robot what to do, a leader arm, a keyboard or a script.

use crate::arm::ArmState;

/// Something the operator said besides a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TeleopEvent {
    /// The episode is finished and worth keeping.
    Done,
    /// Throw the episode away and record it again.
    Redo,
    /// Stop the session after this moment.
    Quit,
}

/// Why a teleoperator gave no goal.
#[derive(Debug, thiserror::Error)]
#[error("teleoperator {name}: {cause}")]
pub struct TeleopError {
    /// Which one.
    pub name: String,
    /// What went wrong.
    pub cause: String,
}

/// Gives the follower's next joint goal.
pub trait Teleoperator: Send {
    /// Name for logs (`leader`, `script:push`).
    fn name(&self) -> &str;

    /// The next goal, rad (gripper: fraction), `[dof]`, given the follower's newest state; or an event.
    fn next_goal(
        &mut self,
        follower: &ArmState,
    ) -> Result<(Vec<f64>, Option<TeleopEvent>), TeleopError>;

    /// The action behind the newest goal in the task's own action space, `-1..=1`, where the operator thinks in it.
    fn action(&self) -> Option<&[f32]> {
        None
    }

    /// Called before each episode.
    fn reset(&mut self) {}
}
