//! Forward and inverse kinematics of a serial chain.

use nalgebra::{Isometry3, Translation3, UnitQuaternion, Vector3};

/// A frame fixed to its parent when the joint is at zero; its joint turns about the frame's own z axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Name of the body this frame carries.
    pub name: String,
    /// Pose of this frame in its parent's.
    pub parent_from_link: Isometry3<f64>,
}

impl Link {
    /// From a URDF origin: metres and roll-pitch-yaw (fixed axes x, y, z), radians.
    pub fn new(name: &str, xyz: [f64; 3], rpy: [f64; 3]) -> Self {
        Self {
            name: name.into(),
            parent_from_link: Isometry3::from_parts(
                Translation3::new(xyz[0], xyz[1], xyz[2]),
                UnitQuaternion::from_euler_angles(rpy[0], rpy[1], rpy[2]),
            ),
        }
    }
}

/// A serial chain of hinges ending in a tool frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// One per hinge, base to tip.
    pub links: Vec<Link>,
    /// The tool, fixed to the last link.
    pub tool: Link,
}

impl Chain {
    /// Pose of every link in the base frame, then of the tool: `links.len() + 1` poses. `joints`: rad, one per link.
    pub fn base_from_links(&self, joints: &[f64]) -> Vec<Isometry3<f64>> {
        let mut pose = Isometry3::identity();
        let mut poses = Vec::with_capacity(self.links.len() + 1);
        for (link, &angle) in self.links.iter().zip(joints) {
            pose *=
                link.parent_from_link * UnitQuaternion::from_axis_angle(&Vector3::z_axis(), angle);
            poses.push(pose);
        }
        poses.push(pose * self.tool.parent_from_link);
        poses
    }

    /// Pose of the tool in the base frame.
    pub fn base_from_tool(&self, joints: &[f64]) -> Isometry3<f64> {
        self.base_from_links(joints)
            .pop()
            .unwrap_or_else(Isometry3::identity)
    }
}
