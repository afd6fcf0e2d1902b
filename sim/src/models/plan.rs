//! A task file and a model put together: numbers in the place of names, checked once and shared by all environments.

use std::path::Path;
use std::sync::Arc;

use mujoco_rs::prelude::*;
use toml::Spanned;

use super::error::ModelError;
use super::measure::{Data, Measure, Names, Place, control_range};
use super::source::Text;
use super::start::Beginning;
use super::task::{ActionKind, Point, TaskFile};
use super::task_check::error_at;
use crate::env::EnvConfig;
use crate::environment::{Actions, Description};

/// Physics steps in a step of the policy.
const MOST_SUBSTEPS: f64 = 100_000.0;

/// What one part of an observation is.
#[derive(Clone, Copy, Debug)]
enum Seen {
    Position(usize),
    Velocity(usize),
    Sensor(usize),
    Point(Place),
    Rotation(Place),
    Between(Place, Place),
}

/// A control that the policy moves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Control {
    pub(super) index: usize,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// Everything about an environment that does not change.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) model: Arc<MjModel>,
    pub(super) description: Description,
    pub(super) substeps: usize,
    pub(super) controls: Vec<Control>,
    pub(super) kind: ActionKind,
    pub(super) delta: f64,
    pub(super) beginning: Beginning,
    seen: Vec<Seen>,
    rewards: Vec<Measure>,
    success: Vec<Measure>,
    failure: Vec<Measure>,
    bonus: f64,
}

impl Plan {
    /// Puts `task`, read from `text`, and `model` together under `name`.
    ///
    /// Errors: the line of the task file whose names the model does not have.
    pub(super) fn new(
        name: &str,
        model: Arc<MjModel>,
        (task, text): (&TaskFile, &Text),
        config: &EnvConfig,
    ) -> Result<Self, ModelError> {
        let names = Names {
            model: &model,
            text,
            has_goal: task.goal.is_some(),
        };
        let timestep = model.opt().timestep;
        let substeps = (1.0 / (task.policy_hz * timestep)).round();
        if !(1.0..=MOST_SUBSTEPS).contains(&substeps) {
            let message = format!(
                "policy_hz is {}, but the model's timestep is {timestep} s: a step would be {substeps} physics steps",
                task.policy_hz
            );
            return Err(ModelError::new(&text.path, message));
        }
        let (seen, observation) = observed(task, &names)?;
        let controls = controls(task, &names)?;
        let clauses = |list: &[Spanned<_>]| -> Result<Vec<Measure>, ModelError> {
            list.iter()
                .map(|clause| Measure::new(clause, &names))
                .collect()
        };
        let ranges = match task.action.kind {
            ActionKind::Control => controls.iter().map(|c| (c.low, c.high)).collect(),
            ActionKind::Normalised | ActionKind::Delta => vec![(-1.0, 1.0); controls.len()],
        };
        let description = Description {
            name: name.into(),
            instruction: task.instruction.clone(),
            observation,
            action: Actions::Continuous(ranges),
            max_steps: config.max_steps.unwrap_or(task.max_steps),
            policy_hz: 1.0 / (substeps * timestep),
            cameras: cameras(task, &names)?,
        };
        Ok(Self {
            beginning: Beginning::new(task, &names)?,
            seen,
            rewards: clauses(&task.reward)?,
            success: clauses(&task.success)?,
            failure: clauses(&task.failure)?,
            bonus: task.success_bonus,
            substeps: substeps as usize,
            controls,
            kind: task.action.kind,
            delta: task.action.step,
            description,
            model,
        })
    }

    /// Writes what is seen of `data`, whose poses must be current.
    pub(super) fn observe(&self, data: &Data, goal: [f64; 3], out: &mut Vec<f64>) {
        out.clear();
        for seen in &self.seen {
            match *seen {
                Seen::Position(address) => out.push(data.qpos()[address]),
                Seen::Velocity(address) => out.push(data.qvel()[address]),
                Seen::Sensor(address) => out.push(data.sensordata()[address]),
                Seen::Point(place) => out.extend(place.position(data, goal).iter()),
                Seen::Rotation(place) => out.extend(place.rotation(data)),
                Seen::Between(from, to) => {
                    out.extend((to.position(data, goal) - from.position(data, goal)).iter());
                }
            }
        }
    }

    /// Reward, progress, success and failure.
    pub(super) fn judge(&self, data: &Data, goal: [f64; 3]) -> (f64, f64, bool, bool) {
        let mut reward: f64 = self
            .rewards
            .iter()
            .map(|term| term.reward(data, goal))
            .sum();
        let missing: f64 = self
            .success
            .iter()
            .map(|clause| clause.missing(data, goal))
            .sum();
        let success = !self.success.is_empty() && missing == 0.0;
        if success {
            reward += self.bonus;
        }
        let progress = if self.success.is_empty() {
            reward
        } else {
            0.0 - missing
        };
        let failure = self
            .failure
            .iter()
            .any(|clause| clause.missing(data, goal) == 0.0);
        (reward, progress, success, failure)
    }
}

fn cameras(task: &TaskFile, names: &Names<'_>) -> Result<Vec<String>, ModelError> {
    let model = names.model;
    if task.cameras.is_empty() {
        let name = |id| {
            model
                .id_to_name(MjtObjBase::mjOBJ_CAMERA, id)
                .filter(|name| !name.is_empty())
        };
        return Ok((0..model.ncam() as usize)
            .map(|id| name(id).map_or_else(|| format!("camera{id}"), String::from))
            .collect());
    }
    task.cameras
        .iter()
        .map(|camera| {
            names.id(MjtObjBase::mjOBJ_CAMERA, "camera", camera.get_ref(), camera)?;
            Ok(camera.get_ref().clone())
        })
        .collect()
}

fn controls(task: &TaskFile, names: &Names<'_>) -> Result<Vec<Control>, ModelError> {
    let model = names.model;
    let mut indices = Vec::new();
    if task.action.actuators.is_empty() {
        indices.extend(0..model.nu() as usize);
    }
    for actuator in &task.action.actuators {
        for index in names.controls(actuator.get_ref(), actuator)? {
            if indices.contains(&index) {
                let message = format!("the actuator \"{}\" is named twice", actuator.get_ref());
                return Err(error_at(names.text, actuator, message));
            }
            indices.push(index);
        }
    }
    let control = |index| {
        let (low, high) = control_range(model, index);
        Control { index, low, high }
    };
    Ok(indices.into_iter().map(control).collect())
}

/// What is seen, and its names.
fn observed(task: &TaskFile, names: &Names<'_>) -> Result<(Vec<Seen>, Vec<String>), ModelError> {
    let mut list = List {
        model: names.model,
        seen: Vec::new(),
        names: Vec::new(),
    };
    let every = 0..names.model.njnt() as usize;
    let Some(observe) = &task.observe else {
        every.clone().for_each(|joint| list.joint(joint));
        every.for_each(|joint| list.velocity(joint));
        return Ok((list.seen, list.names));
    };
    let joints = |chosen: &[Spanned<String>]| -> Result<Vec<usize>, ModelError> {
        let mut joints = Vec::new();
        for name in chosen {
            if name.get_ref() == "*" {
                joints.extend(every.clone());
            } else {
                joints.push(names.id(MjtObjBase::mjOBJ_JOINT, "joint", name.get_ref(), name)?);
            }
        }
        Ok(joints)
    };
    joints(&observe.joints)?
        .into_iter()
        .for_each(|joint| list.joint(joint));
    joints(&observe.velocities)?
        .into_iter()
        .for_each(|joint| list.velocity(joint));
    for point in &observe.points {
        let place = names.place(point.get_ref(), point)?;
        list.push(
            Seen::Point(place),
            point.get_ref().to_string(),
            &["x", "y", "z"],
        );
    }
    for point in &observe.rotations {
        let place = names.place(point.get_ref(), point)?;
        if matches!(point.get_ref(), Point::Goal | Point::Fixed(_)) {
            return Err(error_at(
                names.text,
                point,
                "only bodies, sites and geoms are turned",
            ));
        }
        list.push(
            Seen::Rotation(place),
            point.get_ref().to_string(),
            &["qw", "qx", "qy", "qz"],
        );
    }
    for pair in &observe.between {
        let [from, to] = pair.get_ref();
        let seen = Seen::Between(names.place(from, pair)?, names.place(to, pair)?);
        list.push(seen, format!("{from}_to_{to}"), &["x", "y", "z"]);
    }
    for sensor in &observe.sensors {
        let name = sensor.get_ref();
        let id = names.id(MjtObjBase::mjOBJ_SENSOR, "sensor", name, sensor)?;
        let (first, count) = (
            names.model.sensor_adr()[id] as usize,
            names.model.sensor_dim()[id] as usize,
        );
        for i in 0..count {
            list.seen.push(Seen::Sensor(first + i));
            list.names.push(if count == 1 {
                name.clone()
            } else {
                format!("{name}_{i}")
            });
        }
    }
    Ok((list.seen, list.names))
}

struct List<'a> {
    model: &'a MjModel,
    seen: Vec<Seen>,
    names: Vec<String>,
}

impl List<'_> {
    fn push(&mut self, seen: Seen, name: String, parts: &[&str]) {
        self.seen.push(seen);
        self.names
            .extend(parts.iter().map(|part| format!("{name}_{part}")));
    }

    fn name(&self, joint: usize) -> String {
        let name = self.model.id_to_name(MjtObjBase::mjOBJ_JOINT, joint);
        name.filter(|name| !name.is_empty())
            .map_or_else(|| format!("joint{joint}"), String::from)
    }

    fn joint(&mut self, joint: usize) {
        let (name, first) = (self.name(joint), self.model.jnt_qposadr()[joint] as usize);
        let parts: &[&str] = match self.model.jnt_type()[joint] {
            MjtJoint::mjJNT_FREE => &["_x", "_y", "_z", "_qw", "_qx", "_qy", "_qz"],
            MjtJoint::mjJNT_BALL => &["_qw", "_qx", "_qy", "_qz"],
            MjtJoint::mjJNT_SLIDE | MjtJoint::mjJNT_HINGE => &[""],
        };
        for (i, part) in parts.iter().enumerate() {
            self.seen.push(Seen::Position(first + i));
            self.names.push(format!("{name}{part}"));
        }
    }

    fn velocity(&mut self, joint: usize) {
        let (name, first) = (self.name(joint), self.model.jnt_dofadr()[joint] as usize);
        let parts: &[&str] = match self.model.jnt_type()[joint] {
            MjtJoint::mjJNT_FREE => &["_vx", "_vy", "_vz", "_wx", "_wy", "_wz"],
            MjtJoint::mjJNT_BALL => &["_wx", "_wy", "_wz"],
            MjtJoint::mjJNT_SLIDE | MjtJoint::mjJNT_HINGE => &["_velocity"],
        };
        for (i, part) in parts.iter().enumerate() {
            self.seen.push(Seen::Velocity(first + i));
            self.names.push(format!("{name}{part}"));
        }
    }
}

/// What an environment without a task file does: everything is observed and nothing is worth anything.
pub(super) fn plain(model: &Path) -> (TaskFile, Text) {
    let text = Text {
        path: model.into(),
        text: String::new(),
    };
    (TaskFile::default(), text)
}
