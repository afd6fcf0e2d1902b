//! What one episode drew.

use std::collections::BTreeMap;

use mujoco_rs::prelude::*;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{Randomisation, Range};
use crate::script::normal;

/// A kind of change.
#[allow(missing_docs)] // Each is documented as a field of [`Randomisation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    ObjectPosition,
    ObjectTurn,
    Arm,
    Friction,
    Mass,
    Damping,
    Frictionloss,
    Armature,
    Gain,
    Latency,
    JointNoise,
    ObjectNoise,
    Colour,
    LightPosition,
    Light,
    CameraPosition,
    CameraTurn,
    CameraFovy,
}

impl Kind {
    /// Every kind. The place in this list decides the stream of random numbers: add at the end only.
    pub const ALL: [Self; 18] = [
        Self::ObjectPosition,
        Self::ObjectTurn,
        Self::Arm,
        Self::Friction,
        Self::Mass,
        Self::Damping,
        Self::Frictionloss,
        Self::Armature,
        Self::Gain,
        Self::Latency,
        Self::JointNoise,
        Self::ObjectNoise,
        Self::Colour,
        Self::LightPosition,
        Self::Light,
        Self::CameraPosition,
        Self::CameraTurn,
        Self::CameraFovy,
    ];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::ObjectPosition => "object_m",
            Self::ObjectTurn => "object_rad",
            Self::Arm => "arm_rad",
            Self::Friction => "friction",
            Self::Mass => "mass",
            Self::Damping => "damping",
            Self::Frictionloss => "frictionloss",
            Self::Armature => "armature",
            Self::Gain => "gain",
            Self::Latency => "latency_s",
            Self::JointNoise => "joint_noise",
            Self::ObjectNoise => "object_noise",
            Self::Colour => "colour",
            Self::LightPosition => "light_m",
            Self::Light => "light",
            Self::CameraPosition => "camera_m",
            Self::CameraTurn => "camera_rad",
            Self::CameraFovy => "camera_fovy_deg",
        }
    }

    /// Whether it changes the model, rather than the start, the delay or the observation.
    pub(super) fn is_of_model(self) -> bool {
        !matches!(
            self,
            Self::ObjectPosition
                | Self::ObjectTurn
                | Self::Arm
                | Self::Latency
                | Self::JointNoise
                | Self::ObjectNoise
        )
    }

    /// A stream of random numbers that nothing else of the same seed uses: tasks take stream 0.
    fn stream(self, seed: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(0x7261_6e64 + self as u64);
        rng
    }
}

/// One number that was drawn.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub kind: Kind,
    /// Of the body, joint, actuator, light or camera in the model; of the first geom of a colour.
    pub id: usize,
    /// 0 to 2 for x, y and z, or red, green and blue.
    pub axis: usize,
    pub value: f64,
    name: String,
}

/// What one episode drew from a [`Randomisation`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Variation {
    seed: u64,
    pub(super) changes: Vec<Change>,
}

impl Variation {
    /// Draws for an episode of a world of `model`.
    pub fn sample(config: &Randomisation, model: &MjModel, seed: u64) -> Self {
        let mut changes = Vec::new();
        for (kind, range) in config.ranges() {
            draw(kind, range, model, seed, &mut changes);
        }
        Self { seed, changes }
    }

    /// The same, without the changes whose name `keep` refuses; see [`Variation::values`] for the names.
    pub fn keeping(mut self, keep: impl Fn(&str) -> bool) -> Self {
        self.changes.retain(|change| keep(&change.name));
        self
    }

    /// Whether it changes nothing.
    pub fn is_none(&self) -> bool {
        self.changes.is_empty()
    }

    /// What was drawn, by name: `friction.cube`, `camera_m.front.x`, `latency_s`.
    pub fn values(&self) -> BTreeMap<String, f64> {
        self.changes
            .iter()
            .map(|change| (change.name.clone(), change.value))
            .collect()
    }

    pub(super) fn changes_model(&self) -> bool {
        self.changes.iter().any(|change| change.kind.is_of_model())
    }

    /// Delay beyond the arm's own, s.
    pub fn latency_s(&self) -> f64 {
        self.only(Kind::Latency)
    }

    /// What is added to the start of free joint or hinge `joint` of the model along axis 0 or 1.
    pub(crate) fn shift(&self, kind: Kind, joint: usize, axis: usize) -> f64 {
        self.changes
            .iter()
            .find(|c| c.kind == kind && c.id == joint && c.axis == axis)
            .map_or(0.0, |change| change.value)
    }

    /// Adds the noise of policy step `step` to observed joints and objects; both are left alone where there is none.
    pub fn blur(&self, step: usize, joints: &mut [f64], objects: &mut [f64]) {
        for (kind, values) in [(Kind::JointNoise, joints), (Kind::ObjectNoise, objects)] {
            let deviation = self.only(kind);
            if deviation > 0.0 {
                let mut rng = kind.stream(self.seed);
                // The noise belongs to the step: nothing has to be remembered to go back to it.
                rng.set_word_pos((step as u128 + 1) << 20);
                for value in values {
                    *value += deviation * normal(&mut rng);
                }
            }
        }
    }

    fn only(&self, kind: Kind) -> f64 {
        self.shift(kind, 0, 0)
    }
}

/// Axis names of positions, colours and rotations.
const AXES: [&str; 3] = ["x", "y", "z"];
const CHANNELS: [&str; 3] = ["r", "g", "b"];

fn draw(kind: Kind, range: Range, model: &MjModel, seed: u64, changes: &mut Vec<Change>) {
    let mut rng = kind.stream(seed);
    let mut one = |id: usize, axis: usize, part: &str| {
        changes.push(Change {
            kind,
            id,
            axis,
            value: rng.random_range(range.low..=range.high),
            name: format!("{}{part}", kind.name()),
        });
    };
    let name = |kind: MjtObjBase, what: &str, id: usize| {
        let name = model.id_to_name(kind, id).filter(|name| !name.is_empty());
        name.map_or_else(|| format!(".{what}{id}"), |name| format!(".{name}"))
    };
    let joint = |id: usize| name(MjtObjBase::mjOBJ_JOINT, "joint", id);
    let body = |id: usize| name(MjtObjBase::mjOBJ_BODY, "body", id);
    match kind {
        Kind::ObjectPosition => {
            for id in free_joints(model) {
                for (axis, label) in AXES[..2].iter().enumerate() {
                    one(id, axis, &format!("{}.{label}", joint(id)));
                }
            }
        }
        Kind::ObjectTurn => free_joints(model).for_each(|id| one(id, 0, &joint(id))),
        Kind::Arm => driven_hinges(model).for_each(|id| one(id, 0, &joint(id))),
        Kind::Friction => {
            let geoms = model.body_geomnum();
            (0..model.nbody() as usize)
                .filter(|&id| geoms[id] > 0)
                .for_each(|id| one(id, 0, &body(id)));
        }
        Kind::Mass => {
            let masses = model.body_mass();
            (1..model.nbody() as usize)
                .filter(|&id| masses[id] > 0.0)
                .for_each(|id| one(id, 0, &body(id)));
        }
        Kind::Damping | Kind::Frictionloss | Kind::Armature => {
            single_axis(model).for_each(|id| one(id, 0, &joint(id)));
        }
        // Gains of other kinds are parameters of a curve.
        Kind::Gain => (0..model.actuator_gaintype().len())
            .filter(|&id| model.actuator_gaintype()[id] == MjtGain::mjGAIN_FIXED)
            .for_each(|id| one(id, 0, &name(MjtObjBase::mjOBJ_ACTUATOR, "actuator", id))),
        Kind::Latency | Kind::JointNoise | Kind::ObjectNoise => one(0, 0, ""),
        Kind::Colour => {
            for id in first_of_colours(model) {
                let label = match usize::try_from(model.geom_matid()[id]) {
                    Ok(material) => name(MjtObjBase::mjOBJ_MATERIAL, "material", material),
                    Err(_) => name(MjtObjBase::mjOBJ_GEOM, "geom", id),
                };
                for (axis, channel) in CHANNELS.iter().enumerate() {
                    one(id, axis, &format!("{label}.{channel}"));
                }
            }
        }
        Kind::LightPosition => {
            for id in 0..model.nlight() as usize {
                let light = name(MjtObjBase::mjOBJ_LIGHT, "light", id);
                for (axis, label) in AXES.iter().enumerate() {
                    one(id, axis, &format!("{light}.{label}"));
                }
            }
        }
        Kind::Light => {
            let lights = model.nlight() as usize;
            (0..lights).for_each(|id| one(id, 0, &name(MjtObjBase::mjOBJ_LIGHT, "light", id)));
            one(lights, 0, ".headlight");
        }
        Kind::CameraPosition | Kind::CameraTurn => {
            for id in 0..model.ncam() as usize {
                let camera = name(MjtObjBase::mjOBJ_CAMERA, "camera", id);
                for (axis, label) in AXES.iter().enumerate() {
                    one(id, axis, &format!("{camera}.{label}"));
                }
            }
        }
        Kind::CameraFovy => (0..model.ncam() as usize)
            .for_each(|id| one(id, 0, &name(MjtObjBase::mjOBJ_CAMERA, "camera", id))),
    }
}

fn free_joints(model: &MjModel) -> impl Iterator<Item = usize> {
    let types = model.jnt_type();
    (0..types.len()).filter(|&id| types[id] == MjtJoint::mjJNT_FREE)
}

fn single_axis(model: &MjModel) -> impl Iterator<Item = usize> {
    let types = model.jnt_type();
    (0..types.len())
        .filter(|&id| matches!(types[id], MjtJoint::mjJNT_HINGE | MjtJoint::mjJNT_SLIDE))
}

/// Hinges that belong to a robot: those with an actuator, but for the gripper.
fn driven_hinges(model: &MjModel) -> impl Iterator<Item = usize> {
    single_axis(model).filter(|&id| {
        let name = model.id_to_name(MjtObjBase::mjOBJ_JOINT, id);
        name.is_some_and(|name| {
            name != "gripper" && model.name_to_id(MjtObjBase::mjOBJ_ACTUATOR, name).is_some()
        })
    })
}

/// One geom for each material and for each colour that is not a material's.
fn first_of_colours(model: &MjModel) -> Vec<usize> {
    let (materials, colours) = (model.geom_matid(), model.geom_rgba());
    let same = |a: usize, b: usize| {
        if materials[a] >= 0 || materials[b] >= 0 {
            materials[a] == materials[b]
        } else {
            colours[a] == colours[b]
        }
    };
    let mut firsts: Vec<usize> = Vec::new();
    for id in 0..colours.len() {
        if !firsts.iter().any(|&first| same(first, id)) {
            firsts.push(id);
        }
    }
    firsts
}
