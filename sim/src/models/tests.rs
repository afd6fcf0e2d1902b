mod import;
mod kinematics;

use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;
use nalgebra::Vector3;

use super::*;
use crate::environment::{Actions, Environment, make};
use crate::render::Backend;
use crate::vec_env::VecEnv;
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
fn many_at_once_do_the_same_on_any_number_of_threads() {
    let folder = Folder::new();
    let config = EnvConfig {
        task_file: Some(folder.write("task.toml", &TASK.replace("body_of_goal", "mark"))),
        ..EnvConfig::default()
    };
    let name = format!("mjcf:{}", folder.write("model.xml", ARM).display());
    let run = |threads| {
        let mut envs = VecEnv::new(&name, &config, 5, threads).unwrap();
        let mut batch = envs.reset(2).unwrap();
        // Episodes have five steps, so that new ones begin on the way.
        (0..12)
            .map(|i| {
                let actions: Vec<f64> = (0..5).map(|k| (f64::from(i + k) * 0.6).sin()).collect();
                envs.step(&actions, &mut batch).unwrap();
                batch.clone()
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(2));
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
fn a_block_in_the_air_is_what_a_picking_scene_wants() {
    let folder = Folder::new();
    for named in &NAMED[..2] {
        let mut done = Vec::new();
        for height in [0.02, 0.3] {
            let lifted = format!("body = \"block\"\nz = [{height}, {height}]\n");
            let task = named
                .task
                .replace("body = \"block\"\n", &lifted)
                .replace("settle_s = 0.2", "settle_s = 0.0");
            let config = EnvConfig {
                task_file: Some(folder.write("task.toml", &task)),
                ..EnvConfig::default()
            };
            let mut env = make(named.name, &config).unwrap();
            env.reset(0).unwrap();
            let outcome = env
                .step(&vec![0.0; env.description().action_len()])
                .unwrap();
            done.push((outcome.success, outcome.progress == 0.0));
        }
        assert_eq!(done, [(false, false), (true, true)], "{}", named.name);
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
