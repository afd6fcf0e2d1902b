//! What a policy's numbers mean: from an action in `-1..=1` to a joint goal.

mod space;

use std::f64::consts::{PI, TAU};

use nalgebra::{UnitQuaternion, Vector3};

pub use space::{ActionSpace, ToolAxis, ToolDelta, ToolOrientation};

use crate::arm::{ArmSpec, ArmState, JointKind};
use crate::inverse::{InverseConfig, InverseError, Orientation, ToolTarget};
use crate::kinematics::Chain;

/// Why an action has no goal.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ActionError {
    /// The wrong number of components.
    #[error("the action has {found} components, the action space {expected}")]
    Length {
        /// Components of the action space.
        expected: usize,
        /// Components given.
        found: usize,
    },
    /// NaN or infinite.
    #[error("component {index} of the action is not finite")]
    NotFinite {
        /// Which component.
        index: usize,
    },
    /// The measured state does not belong to this arm.
    #[error("the state has {found} finite joint positions, the arm {expected} joints")]
    State {
        /// Joints of the arm.
        expected: usize,
        /// Finite positions in the state.
        found: usize,
    },
    /// The action space does not fit the arm or itself.
    #[error("action space: {0}")]
    Config(String),
    /// The chain cannot be solved at all.
    #[error(transparent)]
    Inverse(InverseError),
}

/// What has been commanded so far, since the last reset.
#[derive(Clone, Debug)]
struct Commanded {
    tool: Vector3<f64>,
    joints: Vec<f64>,
    gripper: f64,
    height: f64,
    orientation: Orientation,
    /// Turn of the tool about its axis away from `orientation`, rad.
    roll: f64,
}

/// The tool turns no further than this either way, rad.
const MOST_ROLL: f64 = 2.4;

/// Turns actions into joint goals. Call [`ActionMapper::reset`] at the start of every episode.
#[derive(Clone, Debug)]
pub struct ActionMapper {
    space: ActionSpace,
    spec: ArmSpec,
    chain: Chain,
    limits: Vec<(f64, f64)>,
    inverse: InverseConfig,
    commanded: Option<Commanded>,
}

impl ActionMapper {
    /// A mapper for one arm.
    ///
    /// Errors: [`ActionError::Config`] where a number is out of range, or the chain has not one link per joint before the
    /// gripper.
    pub fn new(space: ActionSpace, spec: ArmSpec, chain: Chain) -> Result<Self, ActionError> {
        let revolute = spec
            .joints
            .iter()
            .take_while(|joint| joint.kind == JointKind::Revolute)
            .count();
        if let ActionSpace::ToolDelta(delta) = &space {
            delta.check()?;
            if revolute != chain.links.len() {
                return Err(ActionError::Config(format!(
                    "{} has {revolute} joints before the gripper, its chain {} links",
                    spec.name,
                    chain.links.len()
                )));
            }
            if spec.dof() > revolute + 1 {
                return Err(ActionError::Config(format!(
                    "{} has joints after the gripper",
                    spec.name
                )));
            }
            if spec.dof() == revolute && delta.axes.contains(&ToolAxis::Gripper) {
                return Err(ActionError::Config(format!("{} has no gripper", spec.name)));
            }
        }
        let limits = spec.joints[..revolute]
            .iter()
            .map(|joint| (joint.min, joint.max))
            .collect();
        Ok(Self {
            space,
            spec,
            chain,
            limits,
            inverse: InverseConfig::warm(),
            commanded: None,
        })
    }

    /// The action space.
    pub fn space(&self) -> &ActionSpace {
        &self.space
    }

    /// The arm.
    pub fn spec(&self) -> &ArmSpec {
        &self.spec
    }

    /// The arm's chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Length of an action.
    pub fn action_len(&self) -> usize {
        match &self.space {
            ActionSpace::JointGoals => self.spec.dof(),
            ActionSpace::ToolDelta(delta) => delta.axes.len(),
        }
    }

    /// Names of the components, for datasets and plots: joint names, or `x`, `y`, `z`, `gripper`, `roll`.
    pub fn names(&self) -> Vec<String> {
        match &self.space {
            ActionSpace::JointGoals => self.spec.joints.iter().map(|j| j.name.clone()).collect(),
            ActionSpace::ToolDelta(delta) => delta
                .axes
                .iter()
                .map(|axis| {
                    match axis {
                        ToolAxis::X => "x",
                        ToolAxis::Y => "y",
                        ToolAxis::Z => "z",
                        ToolAxis::Gripper => "gripper",
                        ToolAxis::Roll => "roll",
                    }
                    .into()
                })
                .collect(),
        }
    }

    /// Position of the tool in the base frame for a measured state, m.
    ///
    /// Errors: [`ActionError::State`].
    pub fn tool(&self, state: &ArmState) -> Result<Vector3<f64>, ActionError> {
        self.check_positions(&state.positions)?;
        Ok(self
            .chain
            .base_from_tool(&state.positions)
            .translation
            .vector)
    }

    /// Forgets what was commanded: the next action starts from the measured state.
    pub fn reset(&mut self) {
        self.commanded = None;
    }

    /// The joint goal, rad (gripper: fraction), `[dof]`, inside the spec's limits.
    ///
    /// Errors: [`ActionError::Length`], [`ActionError::NotFinite`], [`ActionError::State`]; nothing is integrated then.
    pub fn goal(&mut self, action: &[f32], state: &ArmState) -> Result<Vec<f64>, ActionError> {
        let expected = self.action_len();
        if action.len() != expected {
            return Err(ActionError::Length {
                expected,
                found: action.len(),
            });
        }
        if let Some(index) = action.iter().position(|a| !a.is_finite()) {
            return Err(ActionError::NotFinite { index });
        }
        self.check_positions(&state.positions)?;
        if let ActionSpace::ToolDelta(delta) = &self.space {
            let mut now = match self.commanded.take() {
                Some(commanded) => commanded,
                None => self.start(delta, state),
            };
            let result = self.advance(delta, &mut now, action, state);
            let mut goal = now.joints.clone();
            if self.spec.dof() > goal.len() {
                goal.push(now.gripper);
            }
            self.commanded = Some(now);
            result.map(|()| goal)
        } else {
            let share = |a: f32| 0.5 * (f64::from(a).clamp(-1.0, 1.0) + 1.0);
            Ok(action
                .iter()
                .zip(&self.spec.joints)
                .map(|(&a, joint)| joint.min + share(a) * (joint.max - joint.min))
                .collect())
        }
    }

    /// The action that comes closest to a joint goal, for recording a teleoperator who thinks in joints. Integrates nothing:
    /// feed the result to [`ActionMapper::goal`].
    ///
    /// Errors: [`ActionError::State`] where the goal or the state does not fit the arm.
    pub fn action_toward(&self, goal: &[f64], state: &ArmState) -> Result<Vec<f32>, ActionError> {
        self.check_positions(goal)?;
        self.check_positions(&state.positions)?;
        Ok(match &self.space {
            ActionSpace::JointGoals => goal
                .iter()
                .zip(&self.spec.joints)
                .map(|(q, joint)| {
                    let range = (joint.max - joint.min).max(f64::MIN_POSITIVE);
                    ((2.0 * (q - joint.min) / range - 1.0) as f32).clamp(-1.0, 1.0)
                })
                .collect(),
            ActionSpace::ToolDelta(delta) => {
                let now = match &self.commanded {
                    Some(commanded) => commanded.clone(),
                    None => self.start(delta, state),
                };
                let base_from_goal = self.chain.base_from_tool(goal);
                let way = base_from_goal.translation.vector - now.tool;
                let turn = match now.orientation {
                    Orientation::Full(kept) => {
                        let turn = kept.inverse() * base_from_goal.rotation;
                        (2.0 * turn.k.atan2(turn.w) - now.roll + PI).rem_euclid(TAU) - PI
                    }
                    _ => 0.0,
                };
                let opening = goal.get(now.joints.len()).copied().unwrap_or(now.gripper);
                delta
                    .axes
                    .iter()
                    .map(|axis| {
                        let action = match axis {
                            ToolAxis::X => way.x / delta.scale_m_per_step,
                            ToolAxis::Y => way.y / delta.scale_m_per_step,
                            ToolAxis::Z => way.z / delta.scale_m_per_step,
                            ToolAxis::Gripper => (opening - now.gripper) / delta.gripper_per_step,
                            ToolAxis::Roll => turn / delta.roll_per_step,
                        };
                        action.clamp(-1.0, 1.0) as f32
                    })
                    .collect()
            }
        })
    }

    fn check_positions(&self, positions: &[f64]) -> Result<(), ActionError> {
        let expected = self.spec.dof();
        let found = positions.iter().filter(|q| q.is_finite()).count();
        if positions.len() == expected && found == expected {
            Ok(())
        } else {
            Err(ActionError::State { expected, found })
        }
    }

    fn start(&self, delta: &ToolDelta, state: &ArmState) -> Commanded {
        let joints: Vec<f64> = state
            .positions
            .iter()
            .zip(&self.limits)
            .map(|(q, &(low, high))| q.clamp(low, high))
            .collect();
        let tool = self.chain.base_from_tool(&joints);
        let measured = state
            .positions
            .get(joints.len())
            .map_or(0.0, |q| q.clamp(0.0, 1.0));
        let gripper = if delta.axes.contains(&ToolAxis::Gripper) {
            measured
        } else {
            delta.gripper_opening
        };
        Commanded {
            tool: tool.translation.vector,
            height: delta.height.unwrap_or(tool.translation.z),
            orientation: match delta.orientation {
                ToolOrientation::Down => Orientation::Pointing {
                    tool_axis: Vector3::z(),
                    base_direction: -Vector3::z(),
                },
                ToolOrientation::Keep => Orientation::Full(tool.rotation),
                ToolOrientation::Free => Orientation::Free,
            },
            joints,
            gripper,
            roll: 0.0,
        }
    }

    fn advance(
        &self,
        delta: &ToolDelta,
        now: &mut Commanded,
        action: &[f32],
        state: &ArmState,
    ) -> Result<(), ActionError> {
        let scale = delta.scale_m_per_step;
        let mut aim = now.tool;
        if !delta.axes.contains(&ToolAxis::Z) {
            aim.z = now.height;
        }
        let (mut gripper, mut roll) = (now.gripper, now.roll);
        for (axis, &a) in delta.axes.iter().zip(action) {
            let a = f64::from(a).clamp(-1.0, 1.0);
            match axis {
                ToolAxis::X => aim.x += a * scale,
                ToolAxis::Y => aim.y += a * scale,
                ToolAxis::Z => aim.z += a * scale,
                ToolAxis::Gripper => gripper += a * delta.gripper_per_step,
                ToolAxis::Roll => roll += a * delta.roll_per_step,
            }
        }
        // Outside the box or away from the fixed height, the way back is walked at the same pace.
        let mut tool = now.tool;
        for i in 0..3 {
            let inside = aim[i].clamp(delta.workspace_min[i], delta.workspace_max[i]);
            tool[i] += (inside - tool[i]).clamp(-scale, scale);
        }
        let measured = self
            .chain
            .base_from_tool(&state.positions)
            .translation
            .vector;
        let lead = tool - measured;
        if lead.norm() > delta.max_lead_m {
            tool = measured + lead.normalize() * delta.max_lead_m;
        }
        let roll = roll.clamp(-MOST_ROLL, MOST_ROLL);
        let target = ToolTarget {
            position: tool,
            orientation: match now.orientation {
                Orientation::Full(kept) if roll != 0.0 => Orientation::Full(
                    kept * UnitQuaternion::from_axis_angle(&Vector3::z_axis(), roll),
                ),
                kept => kept,
            },
        };
        match self
            .chain
            .inverse(&target, &now.joints, &self.limits, &self.inverse)
        {
            Ok(solution) => {
                now.tool = tool;
                now.joints = solution.joints;
            }
            // At the edge of the reach the tool slides along the edge, and what it could not do is not remembered.
            Err(InverseError::Unreachable(closest)) => {
                now.tool = self
                    .chain
                    .base_from_tool(&closest.joints)
                    .translation
                    .vector;
                now.joints = closest.joints;
            }
            Err(error) => return Err(ActionError::Inverse(error)),
        }
        now.gripper = gripper.clamp(0.0, 1.0);
        now.roll = roll;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::so101;

    /// Over the table, tool down.
    fn ready() -> ArmState {
        let limits: Vec<_> = so101::spec().joints[..5]
            .iter()
            .map(|j| (j.min, j.max))
            .collect();
        let target = ToolTarget {
            position: Vector3::new(0.22, 0.0, 0.08),
            orientation: Orientation::Pointing {
                tool_axis: Vector3::z(),
                base_direction: -Vector3::z(),
            },
        };
        let mut positions = so101::chain()
            .inverse(&target, &[0.0; 5], &limits, &InverseConfig::default())
            .unwrap()
            .joints;
        positions.push(0.5);
        ArmState {
            positions,
            ..ArmState::default()
        }
    }

    fn mapper(delta: ToolDelta) -> ActionMapper {
        ActionMapper::new(ActionSpace::ToolDelta(delta), so101::spec(), so101::chain()).unwrap()
    }

    /// An arm that is where it was last sent.
    fn follow(mapper: &mut ActionMapper, state: &mut ArmState, action: &[f32]) {
        state.positions = mapper.goal(action, state).unwrap();
    }

    #[test]
    fn joint_goals_span_the_limits() {
        let spec = so101::spec();
        let mut mapper =
            ActionMapper::new(ActionSpace::JointGoals, spec.clone(), so101::chain()).unwrap();
        let low = mapper.goal(&[-1.0; 6], &ready()).unwrap();
        let high = mapper.goal(&[7.0; 6], &ready()).unwrap();
        for (i, joint) in spec.joints.iter().enumerate() {
            assert!((low[i] - joint.min).abs() < 1e-12 && (high[i] - joint.max).abs() < 1e-12);
        }
        let goal = ready().positions;
        let action = mapper.action_toward(&goal, &ready()).unwrap();
        for (a, b) in mapper.goal(&action, &ready()).unwrap().iter().zip(&goal) {
            assert!((a - b).abs() < 1e-6);
        }
    }

    #[test]
    fn a_roll_turns_the_tool_about_its_axis_and_leaves_it_where_it_is() {
        let mut mapper = mapper(ToolDelta {
            axes: vec![ToolAxis::Z, ToolAxis::Roll],
            orientation: ToolOrientation::Keep,
            ..ToolDelta::default()
        });
        let mut state = ready();
        let before = so101::chain().base_from_tool(&state.positions);
        for _ in 0..8 {
            follow(&mut mapper, &mut state, &[0.0, 1.0]);
        }
        let after = so101::chain().base_from_tool(&state.positions);
        let turn = before.rotation.inverse() * after.rotation;
        assert!((turn.angle() - 0.8).abs() < 0.01, "{}", turn.angle());
        assert!((turn * Vector3::z() - Vector3::z()).norm() < 0.02);
        assert!((after.translation.vector - before.translation.vector).norm() < 5e-4);
        let back = mapper.action_toward(&ready().positions, &state).unwrap();
        assert_eq!(back[1], -1.0);
        let wrong = ToolDelta {
            axes: vec![ToolAxis::Roll],
            ..ToolDelta::default()
        };
        let space = ActionSpace::ToolDelta(wrong);
        assert!(ActionMapper::new(space, so101::spec(), so101::chain()).is_err());
    }

    #[test]
    fn a_tool_step_has_the_asked_length_and_keeps_the_tool_down() {
        let mut mapper = mapper(ToolDelta::default());
        let mut state = ready();
        let before = mapper.tool(&state).unwrap();
        for _ in 0..4 {
            follow(&mut mapper, &mut state, &[0.5, -1.0, 0.0, 1.0]);
        }
        let moved = mapper.tool(&state).unwrap() - before;
        assert!(
            (moved - Vector3::new(0.02, -0.04, 0.0)).norm() < 5e-4,
            "{moved}"
        );
        let tool = so101::chain().base_from_tool(&state.positions);
        assert!((tool.rotation * Vector3::z()).z < -0.999);
        assert!((state.positions[5] - 0.9).abs() < 1e-6);
    }

    #[test]
    fn the_commanded_tool_never_leaves_the_workspace_or_runs_from_the_measured_one() {
        let delta = ToolDelta::default();
        let mut mapper = mapper(delta.clone());
        let held = ready();
        let start = mapper.tool(&held).unwrap();
        let mut goal = Vec::new();
        for _ in 0..50 {
            goal = mapper.goal(&[1.0, 0.0, 0.0, 0.0], &held).unwrap();
        }
        let tool = so101::chain().base_from_tool(&goal).translation.vector;
        assert!((tool - start).norm() < delta.max_lead_m + 1e-3);
        let mut state = ready();
        for _ in 0..50 {
            follow(&mut mapper, &mut state, &[0.0, 0.0, -1.0, 0.0]);
        }
        let tool = mapper.tool(&state).unwrap();
        assert!((tool.z - delta.workspace_min[2]).abs() < 1e-3, "{}", tool.z);
    }

    #[test]
    fn a_fixed_height_is_approached_step_by_step_and_held() {
        let mut mapper = mapper(ToolDelta {
            axes: vec![ToolAxis::X, ToolAxis::Y],
            height: Some(0.04),
            ..ToolDelta::default()
        });
        let mut state = ready();
        let mut last = mapper.tool(&state).unwrap().z;
        for _ in 0..10 {
            follow(&mut mapper, &mut state, &[0.0, 1.0]);
            let z = mapper.tool(&state).unwrap().z;
            assert!((last - z).abs() < 0.0105);
            last = z;
        }
        assert!((last - 0.04).abs() < 1e-3 && state.positions[5] == 0.0);
    }

    #[test]
    fn at_the_edge_of_reach_the_arm_turns_around_at_once() {
        let mut mapper = mapper(ToolDelta {
            workspace_max: [2.0, 2.0, 2.0],
            orientation: ToolOrientation::Free,
            ..ToolDelta::default()
        });
        let mut state = ready();
        for _ in 0..100 {
            follow(&mut mapper, &mut state, &[1.0, 0.0, 0.0, 0.0]);
        }
        let edge = mapper.tool(&state).unwrap().x;
        assert!(edge > 0.3 && edge < 0.6);
        for _ in 0..3 {
            follow(&mut mapper, &mut state, &[-1.0, 0.0, 0.0, 0.0]);
        }
        assert!(mapper.tool(&state).unwrap().x < edge - 0.02);
    }

    #[test]
    fn bad_actions_are_typed_errors_and_change_nothing() {
        let mut mapper = mapper(ToolDelta::default());
        let state = ready();
        let first = mapper.goal(&[0.0; 4], &state).unwrap();
        assert_eq!(
            mapper.goal(&[1.0; 3], &state),
            Err(ActionError::Length {
                expected: 4,
                found: 3
            })
        );
        for bad in [f32::NAN, f32::INFINITY] {
            assert_eq!(
                mapper.goal(&[1.0, bad, 0.0, 0.0], &state),
                Err(ActionError::NotFinite { index: 1 })
            );
        }
        let lost = ArmState {
            positions: vec![f64::NAN; 6],
            ..ArmState::default()
        };
        assert!(matches!(
            mapper.goal(&[1.0; 4], &lost),
            Err(ActionError::State { .. })
        ));
        let again = mapper.goal(&[0.0; 4], &state).unwrap();
        assert!(first.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-3));
    }

    #[test]
    fn a_demonstrated_joint_goal_becomes_the_step_that_goes_there() {
        let mut mapper = mapper(ToolDelta::default());
        let state = ready();
        let mut teacher = mapper.clone();
        let action = [0.3_f32, -0.6, 0.2, -0.5];
        let goal = teacher.goal(&action, &state).unwrap();
        let found = mapper.action_toward(&goal, &state).unwrap();
        for (a, b) in action.iter().zip(&found) {
            assert!((a - b).abs() < 0.02, "{action:?} {found:?}");
        }
        assert!(mapper.goal(&found, &state).is_ok());
    }

    #[test]
    fn the_configuration_round_trips_and_refuses_unknown_names() {
        let space = ActionSpace::ToolDelta(ToolDelta::default());
        let text = toml::to_string(&space).unwrap();
        assert_eq!(toml::from_str::<ActionSpace>(&text).unwrap(), space);
        assert!(toml::from_str::<ActionSpace>("kind = \"tool_delta\"\nscale = 1.0").is_err());
        let upside_down = ToolDelta {
            workspace_min: [1.0; 3],
            ..ToolDelta::default()
        };
        let space = ActionSpace::ToolDelta(upside_down);
        assert!(ActionMapper::new(space, so101::spec(), so101::chain()).is_err());
    }
}
