//! Reacher-v5: bring the tip of a two-jointed arm to a target in the plane.

use std::f64::consts::FRAC_1_SQRT_2;

use mujoco_rs::prelude::*;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::mujoco::{Data, Forces, MujocoSpec, Rules, add_camera, compile};
use crate::assets::GYMNASIUM;
use crate::env::EnvError;
use crate::environment::Outcome;

const FINGERTIP: usize = 3;
const TARGET: usize = 4;
/// Distance at which the fingertip's ball and the target's touch, m.
const TOUCH: f64 = 0.019;

/// An arm with two hinges. The action is the torques, the reward minus the distance from fingertip to target and minus the sum
/// of the squared actions. The episode never ends by itself.
///
/// Progress is the distance, negative, in m; success is a fingertip that touches the target.
#[derive(Clone, Copy, Debug)]
pub struct Reacher;

impl Rules for Reacher {
    const SPEC: MujocoSpec = MujocoSpec {
        name: "Reacher-v5",
        instruction: "bring the fingertip to the red ball",
        frame_skip: 2,
        max_steps: 50,
        camera: "table",
        forces: Forces::Unused,
    };

    fn model() -> Result<MjModel, EnvError> {
        compile(
            &GYMNASIUM,
            "reacher.xml",
            |text| text,
            |spec| {
                // The model has no camera. This is the view that Gymnasium has of it: 1.24 m away, 45 degrees down.
                let (down, away) = (FRAC_1_SQRT_2, 1.24 * FRAC_1_SQRT_2);
                let eye = [0.025, -away, 0.01 + away];
                add_camera(
                    spec,
                    Self::SPEC.camera,
                    eye,
                    [1.0, 0.0, 0.0],
                    [0.0, down, -down],
                )
            },
        )
    }

    fn names(_: &MjModel) -> Vec<String> {
        [
            "cos_joint0",
            "cos_joint1",
            "sin_joint0",
            "sin_joint1",
            "target_x",
            "target_y",
            "joint0_velocity",
            "joint1_velocity",
            "target_to_fingertip_x",
            "target_to_fingertip_y",
        ]
        .map(String::from)
        .to_vec()
    }

    fn start(positions: &mut [f64], velocities: &mut [f64], rng: &mut ChaCha8Rng) {
        for position in &mut *positions {
            *position += rng.random_range(-0.1..0.1);
        }
        let goal = loop {
            let goal: [f64; 2] = [(); 2].map(|()| rng.random_range(-0.2..0.2));
            if goal[0].hypot(goal[1]) < 0.2 {
                break goal;
            }
        };
        positions[2..].copy_from_slice(&goal);
        for velocity in &mut velocities[..2] {
            *velocity += rng.random_range(-0.005..0.005);
        }
    }

    fn observe(data: &Data, out: &mut [f64]) {
        let (positions, velocities) = (data.qpos(), data.qvel());
        let off = target_to_fingertip(data);
        out.copy_from_slice(&[
            positions[0].cos(),
            positions[1].cos(),
            positions[0].sin(),
            positions[1].sin(),
            positions[2],
            positions[3],
            velocities[0],
            velocities[1],
            off[0],
            off[1],
        ]);
    }

    fn place(_: &Data) -> f64 {
        0.0
    }

    fn judge(data: &Data, _: f64) -> Outcome {
        let [x, y, z] = target_to_fingertip(data);
        let distance = (x * x + y * y + z * z).sqrt();
        Outcome {
            reward: -distance - squared(data.ctrl()),
            progress: -distance,
            success: distance < TOUCH,
            ..Outcome::default()
        }
    }
}

fn target_to_fingertip(data: &Data) -> [f64; 3] {
    let (tip, target) = (data.xpos()[FINGERTIP], data.xpos()[TARGET]);
    [tip[0] - target[0], tip[1] - target[1], tip[2] - target[2]]
}

/// Sum of squares in single precision, in which Gymnasium has the actions.
pub(super) fn squared(action: &[f64]) -> f64 {
    f64::from(
        action
            .iter()
            .fold(0.0, |sum: f32, &a| sum + (a as f32) * (a as f32)),
    )
}
