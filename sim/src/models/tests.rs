use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;
use mujoco_rs::prelude::*;
use nalgebra::{Matrix3, Rotation3, UnitQuaternion, Vector3};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_robot::inverse::{InverseConfig, Orientation, ToolTarget};

use super::*;
use crate::environment::{Actions, Environment, make};
use crate::render::Backend;
use crate::world::WorldError;

/// A hand on two joints beside a ball, and a mark.
const ARM: &str = r#"<mujoco model="arm">
  <option timestep="0.005"/>
  <worldbody>
    <light pos="0 0 2"/>
    <camera name="side" pos="0 -1 0.5" xyaxes="1 0 0 0 0.4 1"/>
    <geom name="floor" type="plane" size="2 2 0.1"/>
    <body name="upper" pos="0 0 0.1">
      <joint name="shoulder" axis="0 1 0" range="-90 90"/>
      <geom type="capsule" fromto="0 0 0 0 0 0.3" size="0.02"/>
      <body name="lower" pos="0 0 0.3">
        <joint name="elbow" axis="0 1 0" range="-120 120"/>
        <geom type="capsule" fromto="0 0 0 0 0 0.2" size="0.015"/>
        <site name="hand" pos="0 0 0.2"/>
      </body>
    </body>
    <body name="ball" pos="0.5 0 0.03"><freejoint name="ball"/><geom size="0.03" mass="0.1" condim="6"/></body>
    <body name="mark" mocap="true"><geom type="sphere" size="0.02" contype="0" conaffinity="0"/></body>
  </worldbody>
  <actuator>
    <position name="shoulder" joint="shoulder" kp="60" kv="4" ctrlrange="-1.5 1.5"/>
    <motor name="elbow" joint="elbow" ctrlrange="-2 2"/>
  </actuator>
  <sensor><jointpos name="elbow_angle" joint="elbow"/></sensor>
  <keyframe><key name="bent" qpos="0.5 0.5 0.5 0 0.03 1 0 0 0"/></keyframe>
</mujoco>
"#;

const TASK: &str = r#"
instruction = "bring the hand to the mark"
max_steps = 5
policy_hz = 20
keyframe = "bent"
success_bonus = 10.0

[observe]
joints = ["*"]
velocities = ["elbow"]
points = ["site:hand", "goal"]
rotations = ["body:ball"]
between = [["site:hand", [0.0, 0.0, 0.0]]]
sensors = ["elbow_angle"]

[action]
kind = "normalised"
actuators = ["shoulder"]

[goal]
x = [0.2, 0.3]
y = [0.0, 0.0]
z = [0.4, 0.4]
show = "body_of_goal"

[[start]]
joint = "shoulder"
around = [-0.2, 0.2]

[[start]]
body = "ball"
x = [0.4, 0.6]
yaw = [1.0, 1.0]

[[reward]]
distance = ["site:hand", "goal"]
weight = -2.0

[[success]]
distance = ["site:hand", "goal"]
below = 100.0
"#;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn env(&self, model: &str, task: Option<&str>) -> Result<Box<dyn Environment>, EnvError> {
        let model = self.write("model.xml", model);
        let config = EnvConfig {
            task_file: task.map(|task| self.write("task.toml", task)),
            renderer: Backend::Cpu,
            ..EnvConfig::default()
        };
        make(&format!("mjcf:{}", model.display()), &config)
    }
}

fn observed(env: &dyn Environment) -> Vec<f64> {
    let mut out = vec![0.0; env.description().observation_len()];
    env.observe(&mut out);
    out
}

fn of<'a>(env: &dyn Environment, seen: &'a [f64], name: &str) -> &'a f64 {
    let index = env.description().observation.iter().position(|n| n == name);
    &seen[index.unwrap_or_else(|| panic!("{name} is not observed"))]
}

#[test]
fn a_task_file_says_what_is_seen_done_and_wanted() {
    let folder = Folder::new();
    let task = TASK.replace("body_of_goal", "mark");
    let mut env = folder.env(ARM, Some(&task)).unwrap();
    let description = env.description().clone();
    assert_eq!(description.instruction, "bring the hand to the mark");
    assert_eq!(description.action, Actions::Continuous(vec![(-1.0, 1.0)]));
    assert_eq!((description.max_steps, description.policy_hz), (5, 20.0));
    assert_eq!(description.cameras, ["side"]);
    env.reset(3).unwrap();
    let seen = observed(&*env);
    // The keyframe's half radian and something within 0.2 of it; the elbow and the ball as they are told.
    assert!((of(&*env, &seen, "shoulder") - 0.5).abs() <= 0.2);
    assert_eq!(*of(&*env, &seen, "elbow"), 0.5);
    assert_eq!(*of(&*env, &seen, "elbow_angle"), 0.5);
    assert!((0.4..=0.6).contains(of(&*env, &seen, "ball_x")));
    assert!((of(&*env, &seen, "ball_qz") - 0.5_f64.sin()).abs() < 1e-12);
    assert!((of(&*env, &seen, "ball_qw") - 0.5_f64.cos()).abs() < 1e-12);
    let goal = ["goal_x", "goal_y", "goal_z"].map(|name| *of(&*env, &seen, name));
    assert!((0.2..=0.3).contains(&goal[0]) && goal[1] == 0.0 && goal[2] == 0.4);
    // Where two links of these lengths end.
    let (q1, q2) = (*of(&*env, &seen, "shoulder"), 0.5);
    let x = 0.3 * q1.sin() + 0.2 * (q1 + q2).sin();
    let z = 0.1 + 0.3 * q1.cos() + 0.2 * (q1 + q2).cos();
    assert!((of(&*env, &seen, "hand_x") - x).abs() < 1e-12);
    assert!((of(&*env, &seen, "hand_z") - z).abs() < 1e-12);
    assert!((of(&*env, &seen, "hand_to_[0, 0, 0]_z") + z).abs() < 1e-12);

    for i in 1..=5 {
        let outcome = env.step(&[1.0]).unwrap();
        let seen = observed(&*env);
        let hand = ["hand_x", "hand_y", "hand_z"].map(|name| *of(&*env, &seen, name));
        let way = Vector3::from(hand) - Vector3::from(goal);
        assert!((outcome.reward - (10.0 - 2.0 * way.norm())).abs() < 1e-12);
        assert_eq!((outcome.success, outcome.progress), (true, 0.0));
        assert_eq!((outcome.terminated, outcome.truncated), (false, i == 5));
    }
    let mut picture = RgbImage::new(32, 24);
    env.render("side", &mut picture).unwrap();
    let first = *picture.get_pixel(0, 0);
    assert!(picture.pixels().any(|pixel| *pixel != first));
    assert!(
        env.render("top", &mut picture)
            .unwrap_err()
            .to_string()
            .contains("side")
    );
}

#[test]
fn a_servo_holds_the_arm_where_the_episode_begins() {
    let folder = Folder::new();
    let task = "policy_hz = 20\n[[start]]\njoint = \"shoulder\"\nrange = [0.6, 0.8]\n[action]\nkind = \"delta\"\nactuators = [\"shoulder\"]\n";
    let mut env = folder.env(ARM, Some(task)).unwrap();
    env.reset(1).unwrap();
    let before = *of(&*env, &observed(&*env), "shoulder");
    for _ in 0..10 {
        env.step(&[0.0]).unwrap();
    }
    let after = *of(&*env, &observed(&*env), "shoulder");
    assert!((after - before).abs() < 0.1, "{before} {after}");
    for _ in 0..20 {
        env.step(&[-1.0]).unwrap();
    }
    let moved = *of(&*env, &observed(&*env), "shoulder");
    assert!(moved < before - 1.0, "{moved}");
}

#[test]
fn without_a_task_everything_is_seen_and_actions_are_controls() {
    let folder = Folder::new();
    let mut env = folder.env(ARM, None).unwrap();
    let description = env.description().clone();
    assert_eq!(
        description.action,
        Actions::Continuous(vec![(-1.5, 1.5), (-2.0, 2.0)])
    );
    assert_eq!(description.observation.len(), 9 + 8);
    env.reset(0).unwrap();
    let outcome = env.step(&[9.0, 0.0]).unwrap();
    assert_eq!((outcome.reward, outcome.success), (0.0, false));
    assert!(env.step(&[0.0]).is_err());
    assert!(env.step(&[0.0, f64::NAN]).is_err());
}

#[test]
fn the_same_seed_gives_the_same_episode_and_a_saved_state_goes_on_the_same() {
    let folder = Folder::new();
    let task = TASK
        .replace("body_of_goal", "mark")
        .replace("max_steps = 5", "max_steps = 50");
    let mut env = folder.env(ARM, Some(&task)).unwrap();
    let mut other = folder.env(ARM, Some(&task)).unwrap();
    other.reset(8).unwrap();
    other.step(&[0.4]).unwrap();
    let go = |env: &mut dyn Environment, from: usize| {
        (from..from + 15)
            .map(|i| (env.step(&[(i as f64 * 0.7).sin()]).unwrap(), observed(env)))
            .collect::<Vec<_>>()
    };
    env.reset(4).unwrap();
    other.reset(4).unwrap();
    assert_eq!(go(&mut *env, 0), go(&mut *other, 0));
    let saved = env.save().unwrap();
    let first = go(&mut *env, 15);
    env.restore(&saved).unwrap();
    assert_eq!(go(&mut *env, 15), first);
    other.reset(5).unwrap();
    let start = observed(&*other);
    env.reset(4).unwrap();
    assert_ne!(observed(&*env), start);
    other.restore(&saved).unwrap();
    assert_eq!(go(&mut *other, 15), first);
}

#[test]
fn a_name_that_the_model_does_not_have_is_reported_with_its_line() {
    let folder = Folder::new();
    for (from, to, line, part) in [
        (
            "show = \"body_of_goal\"",
            "show = \"ball\"",
            20,
            "not a mocap body",
        ),
        (
            "show = \"body_of_goal\"",
            "show = \"moon\"",
            20,
            "it has world, upper, lower, ball, mark",
        ),
        (
            "joint = \"shoulder\"",
            "joint = \"knee\"",
            26,
            "it has shoulder, elbow, ball",
        ),
        (
            "joint = \"shoulder\"",
            "joint = \"ball\"",
            26,
            "name its body instead",
        ),
        ("body = \"ball\"", "body = \"lower\"", 30, "is fixed"),
        ("[\"elbow_angle\"]", "[\"e\\u0000\"]", 14, "no sensor"),
        ("\"bent\"", "\"4\"", 5, "1 keyframes"),
        ("\"bent\"", "\"curled\"", 5, "it has bent"),
        ("[\"shoulder\"]", "[\"shoulder\", \"*\"]", 18, "named twice"),
        ("policy_hz = 20", "policy_hz = 1000", 0, "physics steps"),
    ] {
        let task = TASK.replace(from, to).replace("body_of_goal", "mark");
        let error = folder.env(ARM, Some(&task)).err().unwrap();
        let EnvError::Model(error) = &error else {
            panic!("{error}");
        };
        assert!(error.file.ends_with("task.toml"), "{error}");
        assert_eq!(error.line.unwrap_or(0), line, "{error}");
        assert!(error.message.contains(part), "{error}");
    }
}

#[test]
fn a_model_that_comes_apart_says_so_until_it_is_reset() {
    let folder = Folder::new();
    // A spring without damping that a step of this length cannot follow.
    let wild = r#"<mujoco><option timestep="0.05" gravity="0 0 0"/><worldbody><body><joint name="s" type="slide" stiffness="1e6" springref="0.1"/>
        <geom size="0.1" mass="0.1" contype="0" conaffinity="0"/></body></worldbody>
        <actuator><motor joint="s" ctrlrange="-1 1"/></actuator></mujoco>"#;
    let mut env = folder.env(wild, None).unwrap();
    env.reset(0).unwrap();
    let diverged = |result: Result<_, EnvError>| {
        matches!(result, Err(EnvError::World(WorldError::Diverged { .. })))
    };
    let mut steps = 0;
    while !diverged(env.step(&[1.0])) {
        steps += 1;
        assert!(steps < 1000, "never noticed");
    }
    assert!(diverged(env.step(&[0.0])));
    assert!(env.save().is_err());
    env.reset(0).unwrap();
    env.step(&[1.0]).unwrap();
}

#[test]
fn a_mistake_in_an_included_file_is_reported_there() {
    let folder = Folder::new();
    let main = folder.write(
        "main.xml",
        "<mujoco>\n<include file=\"part.xml\"/>\n</mujoco>\n",
    );
    folder.write(
        "part.xml",
        "<mujocoinclude>\n<worldbody>\n<!-- -- a comment -- -->\n<body name=\"b\"><geom sise=\"1\"/></body>\n</worldbody>\n</mujocoinclude>\n",
    );
    let error = load(&main, Format::Mjcf).unwrap_err();
    assert!(error.file.ends_with("part.xml"), "{error}");
    assert_eq!(error.line, Some(4), "{error}");
    folder.write(
        "part.xml",
        "<mujocoinclude>\n\n<include file=\"main.xml\"/></mujocoinclude>\n",
    );
    let error = load(&main, Format::Mjcf).unwrap_err();
    assert_eq!(
        (error.line, error.file.ends_with("part.xml")),
        (Some(3), true),
        "{error}"
    );
    folder.write(
        "part.xml",
        "<mujocoinclude>\n<asset><mesh file=\"no.stl\"/></asset></mujocoinclude>\n",
    );
    let error = load(&main, Format::Mjcf).unwrap_err();
    assert_eq!(error.line, Some(2), "{error}");
    assert!(error.message.contains("no.stl"), "{error}");
}

#[test]
fn numbers_that_ask_for_too_much_are_refused_before_anything_is_allocated() {
    let folder = Folder::new();
    for (content, line) in [
        (
            "<worldbody>\n<replicate count=\"1000\"><replicate count=\"1000\"><body/></replicate></replicate></worldbody>",
            2,
        ),
        ("<size memory=\"1T\"/>", 1),
        ("<size nuserdata=\"1e300\"/>", 1),
        ("<option iterations=\"2000000000\"/>", 1),
        (
            "<asset>\n\n<texture name=\"t\" type=\"2d\" builtin=\"flat\" width=\"100000\" height=\"1\"/></asset>",
            3,
        ),
        ("<worldbody><geom size=\"nan\"/></worldbody>", 1),
        (
            "<worldbody><geom size=\"1\" pos=\"0 0 1e999\"/></worldbody>",
            1,
        ),
        (
            "<custom><numeric name=\"n\" size=\"1000000000\"/></custom>",
            1,
        ),
    ] {
        let path = folder.write("m.xml", &format!("<mujoco>{content}</mujoco>"));
        let error = load(&path, Format::Mjcf).unwrap_err();
        assert_eq!(error.line, Some(line), "{error}");
    }
}

#[test]
fn a_model_that_asks_for_too_little_memory_gets_enough() {
    let folder = Folder::new();
    // With the 16 kB that it asks for MuJoCo would end the process in the first step.
    let boxes: String = (0..20)
        .map(|i| {
            let (x, z) = (0.05 * f64::from(i), 0.04 + 0.01 * f64::from(i));
            format!("<body pos=\"{x} 0 {z}\"><freejoint/><geom type=\"box\" size=\".05 .05 .05\"/></body>")
        })
        .collect();
    let pile = format!(
        "<mujoco><size memory=\"16K\"/><worldbody><geom type=\"plane\" size=\"2 2 .1\"/>{boxes}</worldbody></mujoco>"
    );
    let mut env = folder.env(&pile, None).unwrap();
    for _ in 0..20 {
        env.step(&[]).unwrap();
    }
}

/// A tetrahedron as binary STL.
fn tetrahedron() -> Vec<u8> {
    let p = [
        [0.0_f32; 3],
        [0.1, 0.0, 0.0],
        [0.0, 0.1, 0.0],
        [0.0, 0.0, 0.1],
    ];
    let mut stl = vec![0; 80];
    stl.extend(4_u32.to_le_bytes());
    for face in [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]] {
        stl.extend([0; 12]);
        for corner in face {
            stl.extend(p[corner as usize].iter().flat_map(|x| x.to_le_bytes()));
        }
        stl.extend([0; 2]);
    }
    stl
}

const URDF: &str = r#"<?xml version="1.0"?>
<robot name="pointer">
  <link name="base"/>
  <link name="arm">
    <inertial><origin xyz="0.1 0 0"/><mass value="0.5"/><inertia ixx="0.001" iyy="0.002" izz="0.002" ixy="0" ixz="0" iyz="0"/></inertial>
    <visual><geometry><mesh filename="package://pointer/meshes/arm.stl"/></geometry></visual>
    <collision><geometry><mesh filename="package://pointer/meshes/arm.stl"/></geometry></collision>
  </link>
  <link name="tip"/>
  <joint name="turn" type="revolute"><parent link="base"/><child link="arm"/><origin xyz="0 0 0.5"/><axis xyz="0 1 0"/>
    <limit lower="-1" upper="1" effort="5" velocity="1"/></joint>
  <joint name="end" type="fixed"><parent link="arm"/><child link="tip"/><origin xyz="0.2 0 0"/></joint>
</robot>
"#;

#[test]
fn a_urdf_gets_servos_a_camera_and_its_packages_meshes() {
    let folder = Folder::new();
    let package = folder.0.path().join("pointer");
    fs::create_dir_all(package.join("meshes")).unwrap();
    fs::create_dir_all(package.join("urdf")).unwrap();
    fs::write(package.join("meshes/arm.stl"), tetrahedron()).unwrap();
    let path = package.join("urdf/pointer.urdf");
    fs::write(&path, URDF).unwrap();
    let config = EnvConfig {
        renderer: Backend::Cpu,
        task_file: Some(folder.write(
            "t.toml",
            "[observe]\njoints = [\"turn\"]\npoints = [\"body:tip\"]\n",
        )),
        ..EnvConfig::default()
    };
    let mut env = make(&format!("urdf:{}", path.display()), &config).unwrap();
    assert_eq!(
        env.description().action,
        Actions::Continuous(vec![(-1.0, 1.0)])
    );
    assert_eq!(env.description().cameras, ["overview"]);
    env.reset(0).unwrap();
    for _ in 0..20 {
        env.step(&[0.5]).unwrap();
    }
    let seen = observed(&*env);
    assert!((of(&*env, &seen, "turn") - 0.5).abs() < 0.05, "{seen:?}");
    assert!((of(&*env, &seen, "tip_x") - 0.2 * of(&*env, &seen, "turn").cos()).abs() < 1e-9);
    let mut picture = RgbImage::new(32, 32);
    env.render("overview", &mut picture).unwrap();
    let first = *picture.get_pixel(0, 0);
    assert!(picture.pixels().any(|pixel| *pixel != first));

    fs::write(
        &path,
        URDF.replace(
            "<visual><geometry><mesh filename=\"package",
            "<visual><geometry><mesh filename=\"package://x",
        ),
    )
    .unwrap();
    let error = load(&path, Format::Urdf).unwrap_err();
    assert_eq!(error.line, Some(6), "{error}");
    fs::write(&path, URDF.replace("arm.stl", "arm.dae")).unwrap();
    assert!(load(&path, Format::Urdf).is_err());
}

#[test]
fn a_missing_package_says_which_command_fetches_it() {
    let error = NAMED[1].package.file("no_such_scene.xml").unwrap_err();
    assert!(error.to_string().contains("./x assets panda"), "{error}");
}

#[test]
fn the_published_models_can_be_practised_in() {
    for name in NAMES {
        let config = EnvConfig {
            renderer: Backend::Cpu,
            ..EnvConfig::default()
        };
        let mut env = make(name, &config).unwrap();
        let description = env.description().clone();
        assert_eq!(description.name, name);
        let Actions::Continuous(ranges) = &description.action else {
            panic!();
        };
        let (nu, middle): (usize, Vec<f64>) = (
            ranges.len(),
            ranges
                .iter()
                .map(|(low, high)| 0.5 * (low + high))
                .collect(),
        );
        assert_eq!(
            nu,
            [6, 8, 16][NAMES.iter().position(|&n| n == name).unwrap()]
        );
        env.reset(1).unwrap();
        let start = observed(&*env);
        let one: Vec<_> = (0..5).map(|_| env.step(&middle).unwrap()).collect();
        assert!(
            one.iter()
                .all(|outcome| outcome.reward.is_finite() && !outcome.success),
            "{name}"
        );
        env.reset(1).unwrap();
        assert_eq!(observed(&*env), start);
        let again: Vec<_> = (0..5).map(|_| env.step(&middle).unwrap()).collect();
        assert_eq!(one, again, "{name}");
        for camera in &description.cameras {
            let mut picture = RgbImage::new(64, 48);
            env.render(camera, &mut picture).unwrap();
            let first = *picture.get_pixel(0, 0);
            assert!(
                picture.pixels().any(|pixel| *pixel != first),
                "{name} {camera}"
            );
        }
    }
}

#[test]
fn lighter_pictures_leave_the_motion_bit_for_bit_as_it_was() {
    let path = published("so101-published").unwrap();
    let light = load(&path, Format::Mjcf).unwrap();
    let original = load_original(&path, Format::Mjcf).unwrap();
    assert!(light.mesh_facenum().iter().all(|&faces| faces <= 500));
    assert!(original.mesh_facenum().iter().sum::<i32>() > 50_000);
    assert_eq!(light.mesh_vert(), original.mesh_vert());
    let run = |model: &Arc<MjModel>| {
        let mut data = MjData::new(model.clone());
        for i in 0..600 {
            // Down onto the block and the floor, so that meshes touch things.
            let target = [0.0, 1.2 * f64::from(i) / 600.0, 0.6, 0.8, 0.3, 0.5];
            data.ctrl_mut().copy_from_slice(&target);
            data.step();
        }
        assert!(data.ffi().ncon > 0);
        data.qpos().to_vec()
    };
    assert_eq!(run(&light), run(&original));
}

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
        let model = load(&published(name).unwrap(), Format::Mjcf).unwrap();
        let arm = arm_chain(&model, tip).unwrap();
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
fn the_example_of_the_documentation_is_a_task_that_runs() {
    let page = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/how-to/own-robot.md"),
    )
    .unwrap();
    let block = |kind: &str| {
        let start = page.find(&format!("```{kind}\n")).unwrap() + kind.len() + 4;
        &page[start..start + page[start..].find("```").unwrap()]
    };
    let folder = Folder::new();
    let mut env = folder.env(block("xml"), Some(block("toml"))).unwrap();
    env.reset(0).unwrap();
    let action = vec![0.1; env.description().action_len()];
    let outcome = env.step(&action).unwrap();
    assert!(outcome.reward != 0.0 && outcome.reward.is_finite());
}
