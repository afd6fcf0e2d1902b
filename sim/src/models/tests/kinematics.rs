//! The chains of models for the robot layer.

use mujoco_rs::prelude::*;
use nalgebra::{Matrix3, Rotation3, UnitQuaternion, Vector3};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_robot::inverse::{InverseConfig, Orientation, ToolTarget};

use super::super::chain::arm_chain;
use super::super::*;
use super::Folder;

fn joints_within(limits: &[(f64, f64)], rng: &mut ChaCha8Rng, share: f64) -> Vec<f64> {
    let within = |&(low, high): &(f64, f64)| {
        let (middle, half) = (0.5 * (low + high), 0.5 * share * (high - low));
        rng.random_range(middle - half..=middle + half)
    };
    limits.iter().map(within).collect()
}

#[test]
fn a_chain_is_where_mujoco_has_the_tip() {
    for (name, tip, count) in [
        ("so101-published", "gripperframe", 5),
        ("panda", "pinch", 7),
        ("aloha", "cali_left_site1", 6),
        ("aloha", "vx300s_right/gripper_link", 6),
    ] {
        let model = load(&published(name).unwrap(), Format::Mjcf).unwrap();
        let arm = arm_chain(&model, tip).unwrap();
        assert_eq!(arm.joints.len(), count, "{name}");
        let mut data = MjData::new(model.clone());
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for _ in 0..100 {
            let joints = joints_within(&arm.limits, &mut rng, 1.0);
            for (&address, &q) in arm.addresses.iter().zip(&joints) {
                data.qpos_mut()[address] = q;
            }
            data.kinematics();
            let (position, matrix) = match model.name_to_id(MjtObjBase::mjOBJ_SITE, tip) {
                Some(site) => (data.site_xpos()[site], data.site_xmat()[site]),
                None => {
                    let body = model.name_to_id(MjtObjBase::mjOBJ_BODY, tip).unwrap();
                    (data.xpos()[body], data.xmat()[body])
                }
            };
            let tool = arm.chain.base_from_tool(&joints);
            assert!(
                (tool.translation.vector - Vector3::from(position)).norm() < 1e-9,
                "{name}"
            );
            let rotation = tool.rotation.to_rotation_matrix();
            assert!(
                (rotation.matrix() - Matrix3::from_row_slice(&matrix)).norm() < 1e-9,
                "{name}"
            );
        }
    }
}

#[test]
fn a_chain_knows_anchors_axes_references_and_what_it_cannot_do() {
    let folder = Folder::new();
    let path = folder.write(
        "odd.xml",
        r#"<mujoco><compiler angle="radian"/><worldbody><body pos="0.1 0.2 0.3" euler="0.1 0.2 0.3">
        <joint name="a" axis="1 2 3" pos="0.05 0 0.02" ref="0.4"/><joint name="b" axis="0 0 -1" pos="0 0.03 0"/><geom size="0.05"/>
        <body name="tip" pos="0 0 0.2" euler="0 1 0"><geom size="0.05"/><body name="drawer"><joint name="s" type="slide"/><geom size="0.05"/></body></body></body></worldbody></mujoco>"#,
    );
    let model = load(&path, Format::Mjcf).unwrap();
    let arm = arm_chain(&model, "tip").unwrap();
    assert_eq!(arm.joints, ["a", "b"]);
    let mut data = MjData::new(model.clone());
    for q in [[0.4, 0.0], [1.3, -0.7], [-2.0, 2.5]] {
        data.qpos_mut()[..2].copy_from_slice(&q);
        data.kinematics();
        let tip = model.name_to_id(MjtObjBase::mjOBJ_BODY, "tip").unwrap();
        let tool = arm.chain.base_from_tool(&q);
        assert!((tool.translation.vector - Vector3::from(data.xpos()[tip])).norm() < 1e-12);
        let rotation = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(
            Matrix3::from_row_slice(&data.xmat()[tip]),
        ));
        assert!(tool.rotation.angle_to(&rotation) < 1e-7);
    }
    assert!(
        arm_chain(&model, "drawer")
            .unwrap_err()
            .contains("not a hinge")
    );
    assert!(
        arm_chain(&model, "nothing\0")
            .unwrap_err()
            .contains("no site or body")
    );
    assert!(arm_chain(&model, "world").unwrap_err().contains("no hinge"));
}

#[test]
fn inverse_kinematics_of_a_published_arm_finds_joints_for_where_it_has_been() {
    for (name, tip, full) in [
        ("so101-published", "gripperframe", false),
        ("panda", "pinch", true),
        ("aloha", "cali_left_site1", true),
    ] {
        let arm = ArmChain::load(&published(name).unwrap(), Format::Mjcf, tip).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        for _ in 0..40 {
            let joints = joints_within(&arm.limits, &mut rng, 0.8);
            let there = arm.chain.base_from_tool(&joints);
            let target = ToolTarget {
                position: there.translation.vector,
                orientation: if full {
                    Orientation::Full(there.rotation)
                } else {
                    Orientation::Free
                },
            };
            let start = joints_within(&arm.limits, &mut rng, 0.5);
            let config = InverseConfig {
                orientation_tolerance: 1e-3,
                max_iterations: 200,
                restarts: 60,
                ..InverseConfig::default()
            };
            let found = arm
                .chain
                .inverse(&target, &start, &arm.limits, &config)
                .unwrap();
            let again = arm.chain.base_from_tool(&found.joints);
            assert!(
                (again.translation.vector - there.translation.vector).norm() < 2e-5,
                "{name}"
            );
            if full {
                assert!(again.rotation.angle_to(&there.rotation) < 2e-3, "{name}");
            }
        }
    }
}

#[test]
fn the_published_urdf_puts_its_gripper_where_the_published_mjcf_does() {
    let mjcf = published("so101-published").unwrap();
    let urdf = mjcf.with_file_name("so101_new_calib.urdf");
    let one = ArmChain::load(&mjcf, Format::Mjcf, "gripperframe").unwrap();
    let other = ArmChain::load(&urdf, Format::Urdf, "gripper_frame_link").unwrap();
    assert_eq!(one.joints, other.joints);
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let at = |joints: &[f64]| {
        let (one, other) = (
            one.chain.base_from_tool(joints),
            other.chain.base_from_tool(joints),
        );
        // The files round their numbers differently.
        assert!((one.translation.vector - other.translation.vector).norm() < 1e-4);
        one.rotation.inverse() * other.rotation
    };
    // They do not turn the frame alike, but it is the same frame of the same body.
    let between = at(&[0.0; 5]);
    for _ in 0..50 {
        let joints = joints_within(&one.limits, &mut rng, 1.0);
        assert!(at(&joints).angle_to(&between) < 1e-3);
    }
}
