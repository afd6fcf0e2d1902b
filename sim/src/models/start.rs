//! How an episode begins.

use mujoco_rs::prelude::*;
use nalgebra::{Quaternion, UnitQuaternion, Vector3};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use toml::Spanned;

use super::error::ModelError;
use super::measure::{Data, Names};
use super::task::{Start, TaskFile};
use super::task_check::error_at;

/// Where a body that can be put somewhere has its pose.
#[derive(Clone, Copy, Debug)]
enum Pose {
    /// First address of a free joint.
    Free(usize),
    /// Number of a mocap body.
    Mocap(usize),
}

#[derive(Clone, Debug)]
enum Draw {
    /// A joint within a range.
    Joint { address: usize, range: [f64; 2] },
    /// A joint within a range about where it is, and within its limits.
    Around {
        address: usize,
        range: [f64; 2],
        limits: (f64, f64),
    },
    Body {
        pose: Pose,
        place: [Option<[f64; 2]>; 3],
        yaw: Option<[f64; 2]>,
    },
}

/// A servo whose goal is a position: it starts where its joint is.
#[derive(Clone, Copy, Debug)]
struct Servo {
    position: usize,
    control: usize,
    activation: Option<usize>,
    gear: f64,
    range: (f64, f64),
}

/// How an episode begins.
#[derive(Clone, Debug)]
pub(super) struct Beginning {
    keyframe: Option<usize>,
    /// Whether the keyframe says what the controls are.
    keeps_controls: bool,
    draws: Vec<Draw>,
    goal: Option<([[f64; 2]; 3], Option<usize>)>,
    servos: Vec<Servo>,
    pub(super) settle_s: f64,
}

impl Beginning {
    /// Looks the names up.
    ///
    /// Errors: names that are not there; a body that cannot be put anywhere.
    pub(super) fn new(task: &TaskFile, names: &Names<'_>) -> Result<Self, ModelError> {
        let model = names.model;
        let keyframe = task
            .keyframe
            .as_ref()
            .map(|key| keyframe(key, names))
            .transpose()?;
        let mut draws = Vec::new();
        for start in &task.start {
            draw(start, names, &mut draws)?;
        }
        let goal = match &task.goal {
            None => None,
            Some(goal) => {
                let shown = match &goal.get_ref().show {
                    None => None,
                    Some(body) => match pose(body, goal, names)? {
                        Pose::Mocap(id) => Some(id),
                        Pose::Free(_) => {
                            let message = format!(
                                "\"{body}\" is not a mocap body, so it cannot show the goal"
                            );
                            return Err(error_at(names.text, goal, message));
                        }
                    },
                };
                let place = goal.get_ref();
                Some(([place.x, place.y, place.z], shown))
            }
        };
        Ok(Self {
            keeps_controls: keyframe.is_some_and(|key| {
                let count = model.nu() as usize;
                let controls = &model.key_ctrl()[key * count..(key + 1) * count];
                controls.iter().any(|&control| control != 0.0)
            }),
            keyframe,
            draws,
            goal,
            servos: servos(model),
            settle_s: task.settle_s,
        })
    }

    /// Puts everything where the episode begins and returns the goal. Poses are not current afterwards.
    ///
    /// Errors: when MuJoCo does not take the keyframe.
    pub(super) fn apply(&self, data: &mut Data, rng: &mut ChaCha8Rng) -> Result<[f64; 3], String> {
        match self.keyframe {
            Some(key) => data
                .reset_keyframe(key)
                .map_err(|error| error.to_string())?,
            None => data.reset(),
        }
        for draw in &self.draws {
            draw.apply(data, rng);
        }
        let mut goal = [0.0; 3];
        if let Some((ranges, shown)) = &self.goal {
            goal = ranges.map(|range| within(rng, range));
            if let Some(mocap) = shown {
                data.mocap_pos_mut()[*mocap] = goal;
            }
        }
        if !self.keeps_controls {
            for servo in &self.servos {
                let (low, high) = servo.range;
                let wanted = (data.qpos()[servo.position] * servo.gear).clamp(low, high);
                data.ctrl_mut()[servo.control] = wanted;
                if let Some(activation) = servo.activation {
                    data.act_mut()[activation] = wanted;
                }
            }
        }
        Ok(goal)
    }
}

impl Draw {
    fn apply(&self, data: &mut Data, rng: &mut ChaCha8Rng) {
        match self {
            Self::Joint { address, range } => data.qpos_mut()[*address] = within(rng, *range),
            Self::Around {
                address,
                range,
                limits,
            } => {
                let near = data.qpos()[*address] + within(rng, *range);
                data.qpos_mut()[*address] = near.max(limits.0).min(limits.1);
            }
            Self::Body { pose, place, yaw } => {
                for (axis, range) in place.iter().enumerate() {
                    if let Some(range) = range {
                        let value = within(rng, *range);
                        match pose {
                            Pose::Free(first) => data.qpos_mut()[first + axis] = value,
                            Pose::Mocap(id) => data.mocap_pos_mut()[*id][axis] = value,
                        }
                    }
                }
                let Some(yaw) = yaw else {
                    return;
                };
                let turn = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), within(rng, *yaw));
                match pose {
                    Pose::Free(first) => {
                        let quat = &mut data.qpos_mut()[first + 3..first + 7];
                        let turned = turned(turn, [quat[0], quat[1], quat[2], quat[3]]);
                        quat.copy_from_slice(&turned);
                    }
                    Pose::Mocap(id) => {
                        let quat = &mut data.mocap_quat_mut()[*id];
                        *quat = turned(turn, *quat);
                    }
                }
            }
        }
    }
}

fn turned(turn: UnitQuaternion<f64>, [w, x, y, z]: [f64; 4]) -> [f64; 4] {
    let q = turn.into_inner() * Quaternion::new(w, x, y, z);
    [q.w, q.i, q.j, q.k]
}

fn within(rng: &mut ChaCha8Rng, [low, high]: [f64; 2]) -> f64 {
    rng.random_range(low..=high)
}

fn keyframe(key: &Spanned<String>, names: &Names<'_>) -> Result<usize, ModelError> {
    let count = names.model.ffi().nkey as usize;
    match key.get_ref().parse::<usize>() {
        Ok(number) if number < count => Ok(number),
        Ok(_) => {
            let message = format!("the model has {count} keyframes, counted from 0");
            Err(error_at(names.text, key, message))
        }
        Err(_) => names.id(MjtObjBase::mjOBJ_KEY, "keyframe", key.get_ref(), key),
    }
}

fn draw(
    start: &Spanned<Start>,
    names: &Names<'_>,
    draws: &mut Vec<Draw>,
) -> Result<(), ModelError> {
    let model = names.model;
    let Start {
        joint,
        range,
        around,
        body,
        x,
        y,
        z,
        yaw,
    } = start.get_ref();
    if let Some(body) = body {
        draws.push(Draw::Body {
            pose: pose(body, start, names)?,
            place: [*x, *y, *z],
            yaw: *yaw,
        });
        return Ok(());
    }
    let single = |joint: usize| {
        matches!(
            model.jnt_type()[joint],
            MjtJoint::mjJNT_HINGE | MjtJoint::mjJNT_SLIDE
        )
    };
    let name = joint.as_deref().unwrap_or("*");
    let joints: Vec<usize> = if name == "*" {
        (0..model.njnt() as usize)
            .filter(|&joint| single(joint))
            .collect()
    } else {
        vec![names.id(MjtObjBase::mjOBJ_JOINT, "joint", name, start)?]
    };
    for joint in joints {
        if !single(joint) {
            let message = format!("\"{name}\" is not a hinge or slide: name its body instead");
            return Err(error_at(names.text, start, message));
        }
        let address = model.jnt_qposadr()[joint] as usize;
        let limits = match model.jnt_range()[joint] {
            [low, high] if model.jnt_limited()[joint] => (low, high),
            _ => (f64::NEG_INFINITY, f64::INFINITY),
        };
        draws.push(match (*range, *around) {
            (Some(range), _) => Draw::Joint { address, range },
            (None, around) => Draw::Around {
                address,
                range: around.unwrap_or_default(),
                limits,
            },
        });
    }
    Ok(())
}

fn pose<T>(body: &str, at: &Spanned<T>, names: &Names<'_>) -> Result<Pose, ModelError> {
    let model = names.model;
    let id = names.id(MjtObjBase::mjOBJ_BODY, "body", body, at)?;
    if let Ok(mocap) = usize::try_from(model.body_mocapid()[id]) {
        return Ok(Pose::Mocap(mocap));
    }
    let joint = usize::try_from(model.body_jntadr()[id]).ok();
    let free = joint.filter(|&joint| matches!(model.jnt_type()[joint], MjtJoint::mjJNT_FREE));
    free.map(|joint| Pose::Free(model.jnt_qposadr()[joint] as usize)).ok_or_else(|| {
        let message = format!("the body \"{body}\" is fixed: only one with a free joint, or a mocap body, can be put somewhere");
        error_at(names.text, at, message)
    })
}

/// The actuators that hold a joint where their control says.
fn servos(model: &MjModel) -> Vec<Servo> {
    let mut servos = Vec::new();
    for id in 0..model.ffi().nactuator as usize {
        let joint = matches!(model.actuator_trntype()[id], MjtTrn::mjTRN_JOINT);
        let affine = matches!(model.actuator_biastype()[id], MjtBias::mjBIAS_AFFINE);
        let gain = model.actuator_gainprm()[id][0];
        let servo = joint && affine && gain > 0.0 && model.actuator_biasprm()[id][1] == -gain;
        let Some(joint) = usize::try_from(model.actuator_trnid()[id][0])
            .ok()
            .filter(|_| servo)
        else {
            continue;
        };
        if !matches!(
            model.jnt_type()[joint],
            MjtJoint::mjJNT_HINGE | MjtJoint::mjJNT_SLIDE
        ) || model.actuator_ctrlnum()[id] != 1
        {
            continue;
        }
        let control = model.actuator_ctrladr()[id] as usize;
        let range = match model.actuator_ctrlrange()[control] {
            [low, high] if model.actuator_ctrllimited()[control] && low <= high => (low, high),
            _ => (f64::NEG_INFINITY, f64::INFINITY),
        };
        let activation = match model.actuator_dyntype()[id] {
            MjtDyn::mjDYN_FILTER | MjtDyn::mjDYN_FILTEREXACT => {
                usize::try_from(model.actuator_actadr()[id]).ok()
            }
            _ => None,
        };
        servos.push(Servo {
            position: model.jnt_qposadr()[joint] as usize,
            control,
            activation,
            gear: model.actuator_gear()[model.actuator_outadr()[id] as usize][0],
            range,
        });
    }
    servos
}
