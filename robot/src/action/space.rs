//! What the numbers of an action mean.

use serde::{Deserialize, Serialize};

use super::ActionError;

/// The meaning of an action vector. Every component is in `-1..=1`; beyond that it counts as the nearer end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ActionSpace {
    /// One component per joint: -1 is the joint's smallest position, 1 its largest.
    #[default]
    JointGoals,
    /// Steps of the tool along base axes.
    ToolDelta(ToolDelta),
}

/// One component of a [`ToolDelta`] action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolAxis {
    /// Forward, along the base's x.
    X,
    /// Left, along the base's y.
    Y,
    /// Up, along the base's z.
    Z,
    /// Opening (positive) or closing the gripper.
    Gripper,
    /// Turning the tool about its own z axis, from how it was at the first action after a reset; needs
    /// [`ToolOrientation::Keep`].
    Roll,
}

/// How the tool is turned while it moves. Always second to its position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolOrientation {
    /// The tool's z axis points straight down.
    #[default]
    Down,
    /// As it was at the first action after a reset.
    Keep,
    /// As it falls out of the position.
    Free,
}

/// Steps of the tool from its commanded position, which is what is integrated: following the measured position would add
/// the arm's lag and sag to every step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToolDelta {
    /// The components of the action, in order.
    pub axes: Vec<ToolAxis>,
    /// Travel along an axis at action 1, m per step.
    pub scale_m_per_step: f64,
    /// Change of the gripper opening at action 1, fraction per step.
    pub gripper_per_step: f64,
    /// Turn about the tool's axis at action 1, rad per step.
    pub roll_per_step: f64,
    /// Gripper opening where the gripper is not among `axes`.
    pub gripper_opening: f64,
    /// Lower corner of the box the commanded tool stays in, base frame, m.
    pub workspace_min: [f64; 3],
    /// Upper corner.
    pub workspace_max: [f64; 3],
    /// Height to go to and stay at where z is not among `axes`, m. None: the height at the first action after a reset.
    pub height: Option<f64>,
    /// How the tool is turned.
    pub orientation: ToolOrientation,
    /// The commanded position stays within this distance of the measured one, m, so that an arm that is held back does
    /// not spring when it is let go.
    pub max_lead_m: f64,
}

impl Default for ToolDelta {
    /// x, y, z and gripper, 10 mm and a tenth of the opening per step, in the space in front of an SO-101, tool down.
    fn default() -> Self {
        Self {
            axes: vec![ToolAxis::X, ToolAxis::Y, ToolAxis::Z, ToolAxis::Gripper],
            scale_m_per_step: 0.01,
            gripper_per_step: 0.1,
            roll_per_step: 0.1,
            gripper_opening: 0.0,
            workspace_min: [0.10, -0.22, 0.005],
            workspace_max: [0.36, 0.22, 0.30],
            height: None,
            orientation: ToolOrientation::Down,
            max_lead_m: 0.04,
        }
    }
}

impl ToolDelta {
    pub(super) fn check(&self) -> Result<(), ActionError> {
        let bad = |what: &str| Err(ActionError::Config(what.into()));
        if self.axes.is_empty() {
            return bad("axes is empty");
        }
        if self
            .axes
            .iter()
            .enumerate()
            .any(|(i, axis)| self.axes[..i].contains(axis))
        {
            return bad("axes names an axis twice");
        }
        for (name, value) in [
            ("scale_m_per_step", self.scale_m_per_step),
            ("gripper_per_step", self.gripper_per_step),
            ("roll_per_step", self.roll_per_step),
            ("max_lead_m", self.max_lead_m),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return bad(&format!("{name} must be above 0"));
            }
        }
        if self.axes.contains(&ToolAxis::Roll) && self.orientation != ToolOrientation::Keep {
            return bad("a roll axis needs the orientation keep");
        }
        if !(0.0..=1.0).contains(&self.gripper_opening) {
            return bad("gripper_opening must be in 0..=1");
        }
        if self.height.is_some_and(|height| !height.is_finite()) {
            return bad("height is not finite");
        }
        let ordered =
            |(low, high): (&f64, &f64)| low.is_finite() && high.is_finite() && low <= high;
        if !self
            .workspace_min
            .iter()
            .zip(&self.workspace_max)
            .all(ordered)
        {
            return bad("workspace_min must be below workspace_max");
        }
        Ok(())
    }
}
