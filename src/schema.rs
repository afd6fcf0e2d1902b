//! How a run of an arm becomes rows of a LeRobot dataset and back: which columns, in which units.
//!
//! A row holds what was seen at a moment and what was then done. Columns that LeRobot knows are in LeRobot's units (degrees,
//! gripper 0..100); the rest is SI. `control` is the action as policies know it, `-1..=1` in the task's own action space.

use anyhow::Context as _;
use rapport::dataset::{Column, Dtype, Episode, Feature};
use rapport::policy::PolicySpec;
use rapport::robot::{ArmSpec, so101, units};
use rapport::sim::tasks::Task;

use crate::practice::{SimPractice, observation_vector};

/// Measured joint positions.
pub const STATE: &str = "observation.state";
/// Joint goals that were sent.
pub const ACTION: &str = "action";
/// The same as the task's action, `-1..=1`.
pub const CONTROL: &str = "control";
/// Where the objects are, as a simulator or a tracker says.
pub const ENVIRONMENT: &str = "observation.environment_state";
/// Ground truth of the simulator: reward of the step that led to the next row.
pub const REWARD: &str = "next.reward";
/// Ground truth: the task is done after the step.
pub const SUCCESS: &str = "next.success";
/// Ground truth about the row's own state: metres from done, negative.
pub const PROGRESS: &str = "truth.progress";
/// Ground truth: 0 before anything moves, 1 while it is not at its goal, 2 at the goal.
pub const PHASE: &str = "truth.phase";

/// What was asked of the guard, in the units of [`ACTION`], which is what it sent.
pub const REQUESTED: &str = "robot.requested_action";
/// Motor currents, A.
pub const CURRENT: &str = "robot.current";
/// Motor temperatures, degrees Celsius.
pub const TEMPERATURE: &str = "robot.temperature";
/// Age of the row's measurement when its goal was sent, s.
pub const STATE_AGE: &str = "robot.state_age";

/// The numeric columns of a recording of `task` on `spec`, with the truth where a simulator gives it and what servos say of themselves where
/// there are servos. Names that begin with `robot.` are for people: learners take `observation.` and `action`.
pub fn features(spec: &ArmSpec, task: &dyn Task, referee: Referee, servos: Servos) -> Vec<Feature> {
    let joints = units::lerobot_names(spec);
    let mut features = vec![
        Feature::named(STATE, joints.clone()),
        Feature::named(ACTION, joints),
    ];
    if let Ok(mapper) =
        rapport::robot::action::ActionMapper::new(task.action_space(), spec.clone(), so101::chain())
    {
        features.push(Feature::named(CONTROL, mapper.names()));
    }
    if servos == Servos::Present {
        let names = || spec.joints.iter().map(|joint| joint.name.as_str());
        features.push(Feature::named(REQUESTED, units::lerobot_names(spec)));
        features.push(Feature::named(CURRENT, names()));
        features.push(Feature::named(TEMPERATURE, names()));
        features.push(Feature::new(STATE_AGE, 1));
    }
    if referee == Referee::Present {
        features.push(Feature::named(ENVIRONMENT, task.features().iter().copied()));
        features.push(Feature::new(REWARD, 1));
        features.push(Feature::new(SUCCESS, 1).stored_as(Dtype::Bool));
        features.push(Feature::new(PROGRESS, 1));
        features.push(Feature::new(PHASE, 1).stored_as(Dtype::Int64));
    }
    features
}

/// Whether there are servos that say something of themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Servos {
    /// On a serial port, real ones or a twin's.
    Present,
    /// The simulator itself moves the joints.
    Absent,
}

/// Whether somebody knows the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Referee {
    /// A simulator.
    Present,
    /// A real arm.
    Absent,
}

/// What policies of an environment see and do; an SO-101 task's action space goes with the policy to the arm.
pub fn policy_spec(practice: &mut SimPractice) -> anyhow::Result<PolicySpec> {
    let description = practice.description().clone();
    let space = match practice.arm() {
        Ok(arm) => serde_json::to_value(arm.task().action_space())?,
        Err(_) => serde_json::Value::Null,
    };
    Ok(PolicySpec {
        observation_dim: description.observation_len(),
        action_dim: description.action_len(),
        observation_names: description.observation,
        action_space: serde_json::json!({ "task": description.name, "space": space }),
    })
}

/// One row of numbers per time step.
pub type Rows = Vec<Vec<f32>>;

/// An episode as policies see it: observations `[time][observation_dim]` and actions `[time][action_dim]`.
pub fn observations_and_actions(episode: &Episode) -> anyhow::Result<(Rows, Rows)> {
    let column = |name: &str| -> anyhow::Result<&Column> {
        episode.columns.get(name).with_context(|| {
            format!("the dataset has no column {name}; record it with `rapport record --task`")
        })
    };
    let (state, control) = (column(STATE)?, column(CONTROL)?);
    let environment = episode.columns.get(ENVIRONMENT);
    let (spec, chain) = (so101::spec(), so101::chain());
    let mut observations = Vec::with_capacity(state.len());
    for t in 0..state.len() {
        let joints = units::positions_from_lerobot(&spec, state.row(t))
            .context("reading observation.state")?;
        let tool = chain
            .base_from_tool(&joints[..chain.links.len()])
            .translation
            .vector;
        let objects: Vec<f64> = environment
            .map(|e| e.row(t).iter().map(|&v| f64::from(v)).collect())
            .unwrap_or_default();
        observations.push(observation_vector(&joints, &tool.into(), &objects));
    }
    let actions = (0..control.len())
        .map(|t| control.row(t).to_vec())
        .collect();
    Ok((observations, actions))
}
