//! Forward kinematics and the geometric Jacobian of a serial chain. The inverse is in [`crate::inverse`].

use nalgebra::{Isometry3, Matrix6xX, Translation3, UnitQuaternion, Vector3};

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
        let mut poses = Vec::with_capacity(self.links.len() + 1);
        let tool = self.walk(joints, |pose| poses.push(*pose));
        poses.push(tool);
        poses
    }

    /// Pose of the tool in the base frame. `joints`: rad, one per link.
    pub fn base_from_tool(&self, joints: &[f64]) -> Isometry3<f64> {
        self.walk(joints, |_| ())
    }

    /// The geometric Jacobian at `joints`, `[6, links]`, in the base frame: rows 0..3 are the tool's velocity (m/s) and
    /// rows 3..6 its angular velocity (rad/s) for each joint turning at 1 rad/s (Siciliano et al., Robotics, eq. 3.30).
    pub fn jacobian(&self, joints: &[f64]) -> Matrix6xX<f64> {
        let poses = self.base_from_links(joints);
        let Some((tool, links)) = poses.split_last() else {
            return Matrix6xX::zeros(0);
        };
        let mut jacobian = Matrix6xX::zeros(links.len());
        for (mut column, link) in jacobian.column_iter_mut().zip(links) {
            let axis = link.rotation * Vector3::z();
            let lever = tool.translation.vector - link.translation.vector;
            column.fixed_rows_mut::<3>(0).copy_from(&axis.cross(&lever));
            column.fixed_rows_mut::<3>(3).copy_from(&axis);
        }
        jacobian
    }

    /// Calls `visit` with each link's pose in the base frame, base to tip, and returns the tool's. Allocates nothing.
    pub(crate) fn walk(
        &self,
        joints: &[f64],
        mut visit: impl FnMut(&Isometry3<f64>),
    ) -> Isometry3<f64> {
        let mut pose = Isometry3::identity();
        for (link, &angle) in self.links.iter().zip(joints) {
            let (sin, cos) = (0.5 * angle).sin_cos();
            let turn = UnitQuaternion::new_unchecked(nalgebra::Quaternion::new(cos, 0.0, 0.0, sin));
            pose *= link.parent_from_link;
            pose.rotation *= turn;
            visit(&pose);
        }
        pose * self.tool.parent_from_link
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::so101;
    use proptest::prelude::*;

    fn so101_joints() -> impl Strategy<Value = Vec<f64>> {
        let ranges: Vec<_> = so101::spec().joints[..5]
            .iter()
            .map(|joint| joint.min..joint.max)
            .collect();
        ranges
    }

    #[test]
    fn the_so101_points_forward_above_the_table_at_zero() {
        let tool = so101::chain().base_from_tool(&[0.0; 5]);
        let forward = tool.rotation * Vector3::z();
        assert!(tool.translation.x > 0.3 && tool.translation.y.abs() < 0.01);
        assert!(tool.translation.z > 0.1, "{}", tool.translation.z);
        assert!(forward.x > 0.99, "{forward}");
    }

    proptest! {
        #[test]
        fn the_jacobian_equals_finite_differences(joints in so101_joints()) {
            const H: f64 = 1e-6;
            let chain = so101::chain();
            let jacobian = chain.jacobian(&joints);
            for i in 0..joints.len() {
                let (mut low, mut high) = (joints.clone(), joints.clone());
                low[i] -= H;
                high[i] += H;
                let (low, high) = (chain.base_from_tool(&low), chain.base_from_tool(&high));
                let linear = (high.translation.vector - low.translation.vector) / (2.0 * H);
                let angular = (high.rotation * low.rotation.inverse()).scaled_axis() / (2.0 * H);
                prop_assert!((jacobian.fixed_view::<3, 1>(0, i) - linear).norm() < 1e-7);
                prop_assert!((jacobian.fixed_view::<3, 1>(3, i) - angular).norm() < 1e-7);
            }
        }
    }
}
