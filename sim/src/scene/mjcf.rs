//! Scenes as MJCF: physics options, table, light, cameras and objects around the arm.

use nalgebra::Vector3;

use super::{CubeConfig, SceneConfig, TargetConfig};
use crate::arm_mjcf;

/// The whole model.
pub(super) fn mjcf(config: &SceneConfig) -> String {
    let defaults = arm_mjcf::defaults();
    let arm = arm_mjcf::bodies(&config.arm);
    let actuators = arm_mjcf::actuators(&config.arm);
    let cube = config.cube.as_ref().map(cube).unwrap_or_default();
    let target = config.target.map(target).unwrap_or_default();
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
{front}{top}{arm}{cube}{target}</worldbody>
<actuator>
{actuators}</actuator>
</mujoco>
"#
    )
}

fn cube(cube: &CubeConfig) -> String {
    let CubeConfig {
        side_m,
        mass_kg,
        friction,
    } = cube;
    let half = 0.5 * side_m;
    format!(
        r#"<body name="cube" pos="0.22 0 {half}"><freejoint name="cube"/><geom name="cube" type="box" size="{half} {half} {half}" mass="{mass_kg}" friction="{friction} 0.005 0.0001" contype="4" conaffinity="3" rgba="0.85 0.10 0.10 1"/></body>
"#
    )
}

fn target(target: TargetConfig) -> String {
    let (shape, z) = match target {
        TargetConfig::Disc { radius_m } => (
            format!(r#"type="cylinder" size="{radius_m} 0.0005""#),
            0.001,
        ),
        TargetConfig::Ball { radius_m } => (format!(r#"type="sphere" size="{radius_m}""#), 0.1),
    };
    format!(
        r#"<body name="target" mocap="true" pos="0.22 0.13 {z}"><geom name="target" {shape} contype="0" conaffinity="0" rgba="0.10 0.65 0.25 1"/></body>
"#
    )
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
