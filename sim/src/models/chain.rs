//! The kinematics of a model's arm for the robot layer, so that forward and inverse kinematics are the same code for a
//! simulated robot and a real one.

use std::f64::consts::PI;
use std::path::Path;

use mujoco_rs::prelude::*;
use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion, Vector3};
use rapport_robot::kinematics::{Chain, Link};

use super::error::ModelError;
use super::import::{Format, load};

/// The hinges between the world and a tip.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmChain {
    /// The chain; its base frame is the world.
    pub chain: Chain,
    /// Names of its joints, base to tip.
    pub joints: Vec<String>,
    /// Their limits, rad; a whole turn either way for a joint without.
    pub limits: Vec<(f64, f64)>,
    /// Where in `qpos` they are.
    pub addresses: Vec<usize>,
}

impl ArmChain {
    /// The chain in the model at `path` from the world to the site or, where there is no site of this name, the body called
    /// `tip`.
    ///
    /// Errors: a model that cannot be used; when there is no such tip, no hinge moves it, or a slide, ball or free joint does.
    pub fn load(path: &Path, format: Format, tip: &str) -> Result<Self, ModelError> {
        let model = load(path, format)?;
        arm_chain(&model, tip).map_err(|why| ModelError::new(path, why))
    }
}

/// [`ArmChain::load`] for a compiled model.
pub(super) fn arm_chain(model: &MjModel, tip: &str) -> Result<ArmChain, String> {
    let find = |kind| {
        (!tip.contains('\0'))
            .then(|| model.name_to_id(kind, tip))
            .flatten()
    };
    let (mut body, tip_pose) = if let Some(site) = find(MjtObjBase::mjOBJ_SITE) {
        let pose = pose(model.site_pos()[site], model.site_quat()[site]);
        (model.site_bodyid()[site] as usize, pose)
    } else if let Some(body) = find(MjtObjBase::mjOBJ_BODY) {
        (body, Isometry3::identity())
    } else {
        return Err(format!("the model has no site or body \"{tip}\""));
    };
    // Bodies from the world to the tip.
    let mut path = Vec::new();
    while body != 0 {
        path.push(body);
        body = model.body_parentid()[body] as usize;
    }
    path.reverse();

    let mut arm = ArmChain {
        chain: Chain {
            links: Vec::new(),
            tool: Link::new(tip, [0.0; 3], [0.0; 3]),
        },
        joints: Vec::new(),
        limits: Vec::new(),
        addresses: Vec::new(),
    };
    // What is fixed since the last hinge.
    let mut since = Isometry3::identity();
    for body in path {
        since *= pose(model.body_pos()[body], model.body_quat()[body]);
        let first = model.body_jntadr()[body];
        for joint in first..first + model.body_jntnum()[body] {
            let joint = joint as usize;
            let name = model
                .id_to_name(MjtObjBase::mjOBJ_JOINT, joint)
                .unwrap_or_default();
            if !matches!(model.jnt_type()[joint], MjtJoint::mjJNT_HINGE) {
                return Err(format!(
                    "\"{tip}\" is moved by the joint \"{name}\", which is not a hinge"
                ));
            }
            let address = model.jnt_qposadr()[joint] as usize;
            // A frame at the anchor whose z axis is the joint's, as a chain has it.
            let anchor = Translation3::from(Vector3::from(model.jnt_pos()[joint]));
            let axis = Vector3::from(model.jnt_axis()[joint]);
            let turn = UnitQuaternion::rotation_between(&Vector3::z(), &axis)
                .unwrap_or_else(|| UnitQuaternion::from_axis_angle(&Vector3::x_axis(), PI));
            let body_from_hinge = Isometry3::from_parts(anchor, turn);
            arm.chain.links.push(Link {
                name: name.to_owned(),
                parent_from_link: since * body_from_hinge,
            });
            // The model is drawn with the joint at its reference position.
            let reference = model.qpos0()[address];
            let back = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), -reference);
            since =
                Isometry3::from_parts(Translation3::identity(), back) * body_from_hinge.inverse();
            arm.joints.push(name.to_owned());
            arm.addresses.push(address);
            arm.limits.push(match model.jnt_range()[joint] {
                [low, high] if model.jnt_limited()[joint] => (low, high),
                _ => (-PI, PI),
            });
        }
    }
    if arm.joints.is_empty() {
        return Err(format!("no hinge moves \"{tip}\""));
    }
    arm.chain.tool.parent_from_link = since * tip_pose;
    Ok(arm)
}

fn pose(position: [f64; 3], [w, x, y, z]: [f64; 4]) -> Isometry3<f64> {
    let rotation = UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z));
    Isometry3::from_parts(Translation3::from(Vector3::from(position)), rotation)
}
