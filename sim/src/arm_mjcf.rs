//! An SO-101-shaped arm as MJCF, built of primitives around the kinematics of [`rapport_robot::so101`].
//!
//! Frames, hinge ranges and the tool come from that module alone, so the simulated arm and the inverse kinematics cannot
//! drift apart. Masses are those of the published URDF. Servos and joints are what [`ArmConfig`] says, by default the
//! identified STS3215 model of the public SO-101 MJCF: position servos that saturate at 3.35 N m.

use std::fmt::Write as _;

use nalgebra::Isometry3;
use rapport_robot::JointKind;
use rapport_robot::kinematics::Link;
use rapport_robot::so101;

use crate::arm_config::{ArmConfig, JointConfig};

/// Largest servo torque, N m.
pub const MAX_SERVO_TORQUE: f64 = 3.35;

/// Name of the site at the tool frame.
pub const TOOL_SITE: &str = "tool";

/// Width of an object whose sides both fingers touch flat, m. The fingers are parallel at this opening.
pub const PARALLEL_GRASP_WIDTH: f64 = 0.028;

const YELLOW: &str = "0.96 0.66 0.10 1";
const SERVO: &str = "0.13 0.13 0.15 1";
const PAD: &str = "0.25 0.25 0.28 1";

/// Defaults that the arm's elements refer to; goes into the model's `<default>`.
pub fn defaults() -> String {
    let JointConfig {
        gain,
        damping,
        frictionloss,
        armature,
    } = JointConfig::default();
    format!(
        r#"<default class="arm">
  <joint type="hinge" axis="0 0 1" damping="{damping}" frictionloss="{frictionloss}" armature="{armature}"/>
  <position kp="{gain}" forcerange="-{MAX_SERVO_TORQUE} {MAX_SERVO_TORQUE}"/>
  <geom contype="2" conaffinity="1" friction="1.0 0.01 0.0001" rgba="{YELLOW}"/>
  <default class="servo"><geom type="box" rgba="{SERVO}" mass="0.055"/></default>
  <default class="shell"><geom mass="0"/></default>
  <default class="trim"><geom contype="0" conaffinity="0" mass="0"/></default>
  <default class="pad"><geom type="box" condim="4" mass="0.001" rgba="{PAD}"/></default>
</default>
"#
    )
}

/// The arm's body tree with the base frame at the world's origin, standing on the table z = 0.
pub fn bodies(arm: &ArmConfig) -> String {
    let chain = so101::chain();
    let spec = so101::spec();
    let mut xml = String::from("<body name=\"base\" childclass=\"arm\">\n");
    xml.push_str(BASE);
    let shapes = [SHOULDER, UPPER_ARM, LOWER_ARM, WRIST];
    for (i, (link, joint)) in chain.links.iter().zip(&spec.joints).enumerate() {
        let range = (joint.min, joint.max);
        open(&mut xml, link, &joint.name, range, arm.joint(&joint.name));
        match shapes.get(i) {
            Some(shape) => xml.push_str(shape),
            None => gripper(&mut xml, &chain.tool),
        }
    }
    for joint in spec.joints.iter().filter(|j| j.kind == JointKind::Gripper) {
        let range = (
            so101::jaw_angle_from_opening(joint.min),
            so101::jaw_angle_from_opening(joint.max),
        );
        let model = arm.joint(&joint.name);
        open(&mut xml, &so101::jaw(), &joint.name, range, model);
        jaw(&mut xml, &chain.tool);
        xml.push_str("</body>\n");
    }
    for _ in &chain.links {
        xml.push_str("</body>\n");
    }
    xml.push_str("</body>\n");
    xml
}

/// One position servo per joint, named as the joint, in the order of the spec.
pub fn actuators(arm: &ArmConfig) -> String {
    let mut xml = String::new();
    for joint in so101::spec().joints {
        let (low, high) = match joint.kind {
            JointKind::Revolute => (joint.min, joint.max),
            JointKind::Gripper => (
                so101::jaw_angle_from_opening(joint.min),
                so101::jaw_angle_from_opening(joint.max),
            ),
        };
        let name = joint.name;
        let gain = arm.joint(&name).gain;
        let _ = writeln!(
            xml,
            r#"<position class="arm" name="{name}" joint="{name}" kp="{gain}" ctrlrange="{low} {high}"/>"#
        );
    }
    xml
}

/// `pos="x y z" quat="w x y z"` of a frame.
fn pose(parent_from_child: &Isometry3<f64>) -> String {
    let t = parent_from_child.translation.vector;
    let q = parent_from_child.rotation;
    format!(
        r#"pos="{} {} {}" quat="{} {} {} {}""#,
        t.x, t.y, t.z, q.w, q.i, q.j, q.k
    )
}

fn open(
    xml: &mut String,
    link: &Link,
    joint: &str,
    (low, high): (f64, f64),
    JointConfig {
        damping,
        frictionloss,
        armature,
        ..
    }: JointConfig,
) {
    let _ = writeln!(
        xml,
        r#"<body name="{}" {}><joint name="{joint}" range="{low} {high}" damping="{damping}" frictionloss="{frictionloss}" armature="{armature}"/>"#,
        link.name,
        pose(&link.parent_from_link)
    );
}

// Link frames at zero: see the chain. The base has x forward and z up; in the shoulder x and z are turned round; from the
// upper arm on, z points to the arm's left, and 0.018 m along it is the arm's middle plane.
const BASE: &str = r#"<geom class="trim" type="box" pos="0.022 0 0.006" size="0.062 0.052 0.006"/>
<geom class="shell" type="box" pos="0.030 0 0.029" size="0.036 0.030 0.019" mass="0.092"/>
<geom class="servo" pos="-0.020 0 0.024" size="0.014 0.021 0.012"/>
<geom class="trim" type="cylinder" pos="0.0388 0 0.051" size="0.027 0.004" rgba="0.13 0.13 0.15 1"/>
"#;

const SHOULDER: &str = r#"<geom class="shell" type="box" pos="-0.008 0 -0.014" size="0.028 0.026 0.014" mass="0.045"/>
<geom class="servo" pos="-0.022 -0.001 -0.047" size="0.020 0.0175 0.023"/>
<geom class="trim" type="cylinder" pos="-0.0304 0 -0.0542" size="0.019 0.0215" euler="1.5708 0 0"/>
"#;

const UPPER_ARM: &str = r#"<geom class="shell" type="capsule" fromto="-0.012 -0.004 0.018 -0.1126 -0.028 0.018" size="0.0155" mass="0.048"/>
<geom class="trim" type="cylinder" fromto="0 0 -0.006 0 0 0.042" size="0.0135" rgba="0.13 0.13 0.15 1"/>
<geom class="servo" pos="-0.098 -0.022 0.018" size="0.0228 0.0125 0.0185"/>
"#;

const LOWER_ARM: &str = r#"<geom class="shell" type="capsule" fromto="-0.008 0 0.018 -0.1349 0.0052 0.018" size="0.0135" mass="0.049"/>
<geom class="trim" type="cylinder" fromto="0 0 -0.004 0 0 0.040" size="0.016"/>
<geom class="servo" pos="-0.118 0.004 0.018" size="0.0228 0.0125 0.0180"/>
"#;

const WRIST: &str = r#"<geom class="shell" type="capsule" fromto="0 -0.004 0.0181 0 -0.020 0.0181" size="0.0165" mass="0.024"/>
<geom class="servo" pos="0 -0.036 0.0181" size="0.0125 0.0200 0.0175"/>
<geom class="trim" type="cylinder" fromto="0 0 -0.002 0 0 0.038" size="0.0140"/>
"#;

/// Thickness of a finger behind its pad, m.
const FINGER: f64 = 0.007;
/// Thickness of a pad, m.
const PAD_THICKNESS: f64 = 0.002;
/// Half the width of a finger, m.
const FINGER_HALF_WIDTH: f64 = 0.014;
/// How far the fingertips reach beyond the tool frame, m.
const BEYOND_TOOL: f64 = 0.006;
/// Length of the flat part of the moving finger, m.
const MOVING_FINGER: f64 = 0.046;

/// Palm, jaw servo, the fixed finger whose inner face holds the tool frame, the tool site and the wrist camera.
fn gripper(xml: &mut String, tool: &Link) {
    let t = tool.parent_from_link.translation.vector;
    let tip = t.z - BEYOND_TOOL;
    let root = -0.022;
    let (middle, half) = (0.5 * (tip + root), 0.5 * (root - tip));
    let pad_x = t.x - 0.5 * PAD_THICKNESS;
    let finger_x = t.x - PAD_THICKNESS - 0.5 * FINGER;
    let pad_half = 0.024;
    xml.push_str(
        r#"<geom class="shell" type="box" pos="0.002 0 -0.014" size="0.021 0.020 0.014" mass="0.022"/>
<geom class="servo" pos="0.0215 0.003 -0.022" size="0.0125 0.0150 0.0200"/>
"#,
    );
    let _ = writeln!(
        xml,
        r#"<geom class="shell" name="fixed_finger" type="box" pos="{finger_x} 0 {middle}" size="{} {FINGER_HALF_WIDTH} {half}" mass="0.009"/>
<geom class="pad" name="fixed_pad" pos="{pad_x} 0 {}" size="{} {FINGER_HALF_WIDTH} {pad_half}"/>
<site name="{TOOL_SITE}" {} size="0.003" rgba="0 0 0 0"/>
<camera name="wrist" pos="0.005 -0.07 -0.02" xyaxes="1 0 0 0 0.740 0.673" fovy="75"/>"#,
        0.5 * FINGER,
        tip + pad_half,
        0.5 * PAD_THICKNESS,
        pose(&tool.parent_from_link),
    );
}

/// The moving finger: a claw whose tip meets the fixed finger's when closed, and whose flat is parallel to it at
/// [`PARALLEL_GRASP_WIDTH`].
fn jaw(xml: &mut String, tool: &Link) {
    let gripper_from_jaw = so101::jaw().parent_from_link;
    let t = tool.parent_from_link.translation.vector;
    // In the gripper's x-z plane, about the hinge: x is towards opening, y against the fingers' direction.
    let hinge = gripper_from_jaw.translation.vector;
    let closed = so101::GRIPPER_CLOSED;
    let tip_closed = (t.x - hinge.x, t.z - BEYOND_TOOL - hinge.z);
    let tip = turn(tip_closed, -closed);
    // The hinge angle at which the tip is one grasp width away from the fixed finger.
    let reach = tip.0.hypot(tip.1);
    let parallel = ((t.x + PARALLEL_GRASP_WIDTH - hinge.x) / reach).asin() - (tip.0 / reach).asin();
    let back = turn((0.0, 1.0), -parallel);
    let away = turn((1.0, 0.0), -parallel);
    let at = |along: f64, behind: f64| {
        (
            tip.0 + along * back.0 + behind * away.0,
            tip.1 + along * back.1 + behind * away.1,
        )
    };
    let half = 0.5 * MOVING_FINGER;
    let pad = at(half, 0.5 * PAD_THICKNESS);
    let finger = at(half, PAD_THICKNESS + 0.5 * FINGER);
    let root = at(MOVING_FINGER - 0.004, PAD_THICKNESS + 0.5 * FINGER);
    // The fingers' middle plane in the jaw's frame, whose z runs against the gripper's y.
    let plane = hinge.y - t.y;
    let turned = -parallel;
    let _ = writeln!(
        xml,
        r#"<geom class="shell" name="moving_finger" type="box" pos="{} {} {plane}" size="{} {half} {FINGER_HALF_WIDTH}" euler="0 0 {turned}" mass="0.011"/>
<geom class="pad" name="moving_pad" pos="{} {} {plane}" size="{} {half} {FINGER_HALF_WIDTH}" euler="0 0 {turned}"/>
<geom class="trim" type="capsule" fromto="0 -0.004 {plane} {} {} {plane}" size="0.009"/>
<geom class="trim" type="cylinder" fromto="0 0 -0.004 0 0 {}" size="0.0115" rgba="{SERVO}"/>"#,
        finger.0,
        finger.1,
        0.5 * FINGER,
        pad.0,
        pad.1,
        0.5 * PAD_THICKNESS,
        root.0,
        root.1,
        2.0 * plane,
    );
}

/// Turns a vector of the jaw's x-y plane by `angle`, rad.
fn turn((x, y): (f64, f64), angle: f64) -> (f64, f64) {
    let (sin, cos) = angle.sin_cos();
    (x * cos - y * sin, x * sin + y * cos)
}
