//! Which numbers of a simulation are the robot's and which the environment's, by name.

use std::sync::Arc;

use mujoco_rs::prelude::*;
use mujoco_rs::wrappers::mj_data::MjData;

/// Where one or several numbers of an observation come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Channel {
    /// A hinge or slide: `NAME.pos`, rad or m.
    Joint {
        /// Name of the number without `.pos`.
        name: String,
        /// Its place in the positions.
        address: usize,
    },
    /// Two fingers that slide apart: `NAME.pos`, 0 closed to 1 open.
    Opening {
        /// Name of the number without `.pos`.
        name: String,
        /// Places of both fingers in the positions; the first opens upwards, the second downwards.
        addresses: [usize; 2],
        /// Distance between the fingers when open, m.
        width_m: f64,
    },
    /// A body: `NAME.x`, `.y`, `.z`, m, and its turn as a quaternion `.qw`, `.qx`, `.qy`, `.qz`, world frame.
    Body {
        /// Name in front of the dot.
        name: String,
        /// Number of the body.
        body: usize,
    },
    /// A place on a body: `NAME.x`, `.y`, `.z`, m, world frame.
    Site {
        /// Name in front of the dot.
        name: String,
        /// Number of the site.
        site: usize,
    },
}

impl Channel {
    /// The names of its numbers.
    pub fn names(&self) -> Vec<String> {
        let (name, parts): (&str, &[&str]) = match self {
            Self::Joint { name, .. } | Self::Opening { name, .. } => (name, &["pos"]),
            Self::Body { name, .. } => (name, &["x", "y", "z", "qw", "qx", "qy", "qz"]),
            Self::Site { name, .. } => (name, &["x", "y", "z"]),
        };
        parts.iter().map(|part| format!("{name}.{part}")).collect()
    }

    fn read(&self, data: &MjData<Arc<MjModel>>, out: &mut Vec<f64>) {
        match *self {
            Self::Joint { address, .. } => out.push(data.qpos()[address]),
            Self::Opening {
                addresses: [a, b],
                width_m,
                ..
            } => out.push((data.qpos()[a] - data.qpos()[b]) / width_m),
            Self::Body { body, .. } => {
                out.extend(data.xpos()[body]);
                out.extend(data.xquat()[body]);
            }
            Self::Site { site, .. } => out.extend(data.site_xpos()[site]),
        }
    }
}

/// What of a simulation becomes `observation.state` and `observation.environment_state`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    /// The robot's own numbers.
    pub robot: Vec<Channel>,
    /// Those of everything else.
    pub environment: Vec<Channel>,
}

impl Layout {
    /// Joints named in `robot` are the robot's, in that order; without names, every hinge and slide is. Everything else that
    /// can move, mocap bodies included, is the environment's.
    ///
    /// Errors: the name that is no hinge or slide of the model.
    pub fn of(model: &MjModel, robot: Option<&[String]>) -> Result<Self, String> {
        let joints: Vec<(String, usize)> = (0..model.njnt() as usize)
            .map(|id| (name_of(model, MjtObjBase::mjOBJ_JOINT, id, "joint"), id))
            .collect();
        let single = |id: usize| {
            matches!(
                model.jnt_type()[id],
                MjtJoint::mjJNT_HINGE | MjtJoint::mjJNT_SLIDE
            )
        };
        let channel = |(name, id): &(String, usize)| {
            if single(*id) {
                Channel::Joint {
                    name: name.clone(),
                    address: model.jnt_qposadr()[*id] as usize,
                }
            } else {
                body(model, model.jnt_bodyid()[*id] as usize)
            }
        };
        let own: Vec<&(String, usize)> = match robot {
            Some(names) => names
                .iter()
                .map(|wanted| {
                    joints
                        .iter()
                        .find(|(name, id)| name == wanted && single(*id))
                        .ok_or_else(|| wanted.clone())
                })
                .collect::<Result<_, _>>()?,
            None => joints.iter().filter(|(_, id)| single(*id)).collect(),
        };
        let others = joints.iter().filter(|joint| !own.contains(joint));
        let mocap = (0..model.nbody() as usize)
            .filter(|&id| model.body_mocapid()[id] >= 0)
            .map(|id| body(model, id));
        Ok(Self {
            robot: own.iter().map(|joint| channel(joint)).collect(),
            environment: others.map(channel).chain(mocap).collect(),
        })
    }

    /// Names of the numbers of some channels.
    pub fn names(channels: &[Channel]) -> Vec<String> {
        channels.iter().flat_map(Channel::names).collect()
    }

    /// The numbers of some channels, SI units.
    pub(crate) fn values(channels: &[Channel], data: &MjData<Arc<MjModel>>) -> Vec<f64> {
        let mut out = Vec::new();
        for channel in channels {
            channel.read(data, &mut out);
        }
        out
    }
}

/// The pose of body number `id` under its own name.
pub(crate) fn body(model: &MjModel, id: usize) -> Channel {
    Channel::Body {
        name: name_of(model, MjtObjBase::mjOBJ_BODY, id, "body"),
        body: id,
    }
}

fn name_of(model: &MjModel, kind: MjtObjBase, id: usize, otherwise: &str) -> String {
    model
        .id_to_name(kind, id)
        .filter(|name| !name.is_empty())
        .map_or_else(|| format!("{otherwise}{id}"), |name| name.replace('/', "_"))
}
