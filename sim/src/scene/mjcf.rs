//! Scenes as MJCF: physics options, table, light, cameras and the things around the arm.
//!
//! Who collides with whom (`contype`, `conaffinity`): the arm (2) with the table (1) and with everything that can be touched;
//! objects (4) with all but marks; what stands still in a fixture (4) and what moves in it (8) with arm and objects, but never
//! with each other.

use std::fmt::Write as _;

use nalgebra::Vector3;

use super::config::{Colour, MarkConfig, MarkShape, ObjectConfig, ObjectShape, SceneConfig};
use super::fixtures;
use crate::arm_mjcf;

/// The whole model.
pub(super) fn mjcf(config: &SceneConfig) -> String {
    with_arm(
        config,
        &arm_mjcf::defaults(),
        &arm_mjcf::bodies(&config.arm),
        &arm_mjcf::actuators(&config.arm),
    )
}

/// Everything but the arm: the children of the outermost element, to stand beside another model's.
pub(crate) fn surroundings(config: &SceneConfig) -> String {
    let model = with_arm(config, "", "", "");
    let children = model.split_once('>').map_or("", |(_, rest)| rest);
    children.trim_end().trim_end_matches("</mujoco>").into()
}

fn with_arm(config: &SceneConfig, defaults: &str, arm: &str, actuators: &str) -> String {
    let mut things = String::new();
    for (i, object) in config.objects.iter().enumerate() {
        write_object(&mut things, object, i);
    }
    for (i, fixture) in config.fixtures.iter().enumerate() {
        fixtures::write(&mut things, fixture, i);
    }
    for (i, mark) in config.marks.iter().enumerate() {
        write_mark(&mut things, mark, i);
    }
    let timestep = config.timestep_s;
    let front = camera("front", [0.57, 0.0, 0.24], [0.20, 0.0, 0.075], 48.0);
    let top = camera("top", [0.2201, 0.0, 0.62], [0.22, 0.0, 0.0], 42.0);
    format!(
        r#"<mujoco model="so101">
<compiler angle="radian" autolimits="true"/>
<option timestep="{timestep}" integrator="implicitfast" cone="elliptic" impratio="10"><flag autoreset="disable"/></option>
<visual>
  <headlight ambient="0.35 0.35 0.35" diffuse="0.25 0.25 0.25" specular="0 0 0"/>
  <map znear="0.02" zfar="20"/>
  <global offwidth="640" offheight="480"/>
</visual>
<default>
{defaults}</default>
<asset>
  <texture name="sky" type="skybox" builtin="gradient" rgb1="0.78 0.82 0.86" rgb2="0.55 0.60 0.66" width="64" height="64"/>
  <material name="table" rgba="0.74 0.72 0.69 1" specular="0" shininess="0"/>
</asset>
<worldbody>
<light pos="0.35 -0.35 0.9" dir="-0.15 0.35 -0.9" diffuse="0.55 0.55 0.55" specular="0.1 0.1 0.1" castshadow="true"/>
<geom name="table" type="plane" size="0.9 0.9 0.05" material="table" contype="1" conaffinity="0" friction="0.3 0.005 0.0001"/>
{front}{top}{arm}{things}</worldbody>
<actuator>
{actuators}</actuator>
</mujoco>
"#
    )
}

/// Side by side, so that nothing overlaps before a task puts things where it wants them: 0, -1, 1, -2, 2, ...
fn slot(i: usize) -> f64 {
    let step = i.div_ceil(2) as f64;
    if i.is_multiple_of(2) { step } else { -step }
}

fn write_object(xml: &mut String, object: &ObjectConfig, i: usize) {
    let ObjectConfig {
        name,
        shape,
        mass_kg,
        friction,
        colour,
    } = object;
    let [.., z] = shape.half_size();
    let (y, rgba) = (0.08 * slot(i), rgba(*colour));
    let touch =
        format!(r#"friction="{friction} 0.005 0.0001" contype="4" conaffinity="15" rgba="{rgba}""#);
    let _ = write!(
        xml,
        r#"<body name="{name}" pos="0.22 {y} {z}"><freejoint name="{name}"/>"#
    );
    match *shape {
        ObjectShape::Box { .. } => {
            let [x, y, z] = shape.half_size();
            let _ = write!(
                xml,
                r#"<geom name="{name}" type="box" size="{x} {y} {z}" mass="{mass_kg}" {touch}/>"#
            );
        }
        ObjectShape::Ball { radius_m } => {
            let _ = write!(
                xml,
                r#"<geom name="{name}" type="sphere" size="{radius_m}" mass="{mass_kg}" priority="1" condim="1" {touch}/>"#
            );
        }
        ObjectShape::Cup {
            width_m,
            height_m,
            wall_m,
        } => {
            // A light thin wall squeezed by a strong hand: the contact has to be as stiff as the time step allows.
            let stiff = r#"solref="0.01 1" solimp="0.95 0.99 0.001""#;
            let (half, tall, wall) = (0.5 * width_m, 0.5 * height_m, 0.5 * wall_m);
            let (mass, low) = (mass_kg / 5.0, wall - tall);
            let _ = write!(
                xml,
                r#"<geom type="box" pos="0 0 {low}" size="{half} {half} {wall}" mass="{mass}" {stiff} {touch}/>"#
            );
            for side in [-1.0, 1.0] {
                let out = side * (half - wall);
                let inner = half - wall_m;
                let _ = write!(
                    xml,
                    r#"<geom type="box" pos="0 {out} 0" size="{half} {wall} {tall}" mass="{mass}" {stiff} {touch}/><geom type="box" pos="{out} 0 0" size="{wall} {inner} {tall}" mass="{mass}" {stiff} {touch}/>"#
                );
            }
        }
    }
    xml.push_str("</body>\n");
}

fn write_mark(xml: &mut String, mark: &MarkConfig, i: usize) {
    let (shape, z) = match mark.shape {
        MarkShape::Disc { radius_m } => (
            format!(r#"type="cylinder" size="{radius_m} 0.0005""#),
            0.001,
        ),
        MarkShape::Strip { size_m: [x, y] } => (
            format!(r#"type="box" size="{} {} 0.0005""#, 0.5 * x, 0.5 * y),
            0.001,
        ),
        MarkShape::Ball { radius_m } => (format!(r#"type="sphere" size="{radius_m}""#), 0.1),
    };
    let (name, y, rgba) = (&mark.name, 0.13 - 0.09 * i as f64, rgba(mark.colour));
    let _ = writeln!(
        xml,
        r#"<body name="{name}" mocap="true" pos="0.22 {y} {z}"><geom name="{name}" {shape} contype="0" conaffinity="0" rgba="{rgba}"/></body>"#
    );
}

/// An opaque colour.
pub(super) fn rgba([r, g, b]: Colour) -> String {
    format!("{r} {g} {b} 1")
}

/// A fixed camera at `eye` looking at `at`, its top towards the ceiling; `fovy` in degrees.
fn camera(name: &str, eye: [f64; 3], at: [f64; 3], fovy: f64) -> String {
    let forward = (Vector3::from(at) - Vector3::from(eye)).normalize();
    let right = forward.cross(&Vector3::z()).normalize();
    let up = right.cross(&forward);
    format!(
        r#"<camera name="{name}" pos="{} {} {}" xyaxes="{} {} {} {} {} {}" fovy="{fovy}"/>
"#,
        eye[0], eye[1], eye[2], right.x, right.y, right.z, up.x, up.y, up.z
    )
}
