//! The SO-101 arm as data: joints, limits, kinematic chain.
//!
//! Offsets, axes and limits are the published ones (SO-101 URDF, "new calibration", Apache-2.0): zero is the middle of each
//! joint's range. Servo speed: STS3215 at 7.4 V, about 45 rpm without load.

use std::f64::consts::{FRAC_PI_2, PI};

use crate::arm::{ArmSpec, JointKind, JointSpec};
use crate::kinematics::{Chain, Link};

/// Largest servo speed, rad/s.
pub const MAX_JOINT_VELOCITY: f64 = 4.7;

/// The gripper's hinge angle when the opening fraction is 0, rad.
pub const GRIPPER_CLOSED: f64 = -0.174_533;

/// The gripper's hinge angle when the opening fraction is 1, rad.
pub const GRIPPER_OPEN: f64 = 1.745_33;

const REVOLUTE: [(&str, f64, f64); 5] = [
    ("shoulder_pan", -1.919_86, 1.919_86),
    ("shoulder_lift", -1.745_33, 1.745_33),
    ("elbow_flex", -1.69, 1.69),
    ("wrist_flex", -1.658_06, 1.658_06),
    ("wrist_roll", -2.743_85, 2.841_21),
];

/// The joints, base to tip, the gripper last.
pub fn spec() -> ArmSpec {
    let mut joints: Vec<JointSpec> = REVOLUTE
        .iter()
        .map(|&(name, min, max)| JointSpec {
            name: name.into(),
            kind: JointKind::Revolute,
            min,
            max,
            max_velocity: MAX_JOINT_VELOCITY,
        })
        .collect();
    joints.push(JointSpec {
        name: "gripper".into(),
        kind: JointKind::Gripper,
        min: 0.0,
        max: 1.0,
        max_velocity: MAX_JOINT_VELOCITY / (GRIPPER_OPEN - GRIPPER_CLOSED),
    });
    ArmSpec {
        name: "so101".into(),
        robot_type: "so_follower".into(),
        joints,
    }
}

/// The chain from base to tool: five hinges about their local z axis, then the fixed tool frame between the jaws.
pub fn chain() -> Chain {
    Chain {
        links: vec![
            Link::new("shoulder", [0.038_835_3, 0.0, 0.0624], [PI, 0.0, -PI]),
            Link::new(
                "upper_arm",
                [-0.030_399_2, -0.018_277_8, -0.0542],
                [-FRAC_PI_2, -FRAC_PI_2, 0.0],
            ),
            Link::new("lower_arm", [-0.112_57, -0.028, 0.0], [0.0, 0.0, FRAC_PI_2]),
            Link::new("wrist", [-0.1349, 0.0052, 0.0], [0.0, 0.0, -FRAC_PI_2]),
            Link::new(
                "gripper",
                [0.0, -0.0611, 0.0181],
                [FRAC_PI_2, 0.048_679_5, PI],
            ),
        ],
        tool: Link::new(
            "tool",
            [-0.0079, -0.000_218_121, -0.098_127_4],
            [0.0, PI, 0.0],
        ),
    }
}

/// The moving jaw, hinged on the gripper link about its local z axis.
pub fn jaw() -> Link {
    Link::new(
        "moving_jaw",
        [0.0202, 0.0188, -0.0234],
        [FRAC_PI_2, 0.0, 0.0],
    )
}

/// Hinge angle of the jaw for an opening fraction, rad.
pub fn jaw_angle_from_opening(opening: f64) -> f64 {
    GRIPPER_CLOSED + opening * (GRIPPER_OPEN - GRIPPER_CLOSED)
}

/// Opening fraction for a hinge angle of the jaw.
pub fn opening_from_jaw_angle(angle: f64) -> f64 {
    (angle - GRIPPER_CLOSED) / (GRIPPER_OPEN - GRIPPER_CLOSED)
}
