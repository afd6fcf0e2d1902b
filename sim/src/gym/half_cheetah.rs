//! HalfCheetah-v5: run in the plane with a back and a front leg (Wawrzyński 2009).

use std::f64::consts::TAU;

use mujoco_rs::prelude::*;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::classic::single;
use super::mujoco::{Data, Forces, MujocoSpec, Rules, compile};
use super::reacher::squared;
use crate::assets::GYMNASIUM;
use crate::env::EnvError;
use crate::environment::Outcome;

const CONTROL_COST: f64 = 0.1;
/// The reward per step of an episode that reaches Gymnasium's threshold, 4800 in 1000 steps.
const THRESHOLD: f64 = 4.8;
/// Mass of the whole, kg.
const MASS: f64 = 14.0;

/// A cheetah in the plane. The action is six torques, the reward the forward speed less a tenth of the sum of the squared
/// actions. The episode never ends by itself.
///
/// Progress is the reward; success is a step that earns 4.8, which is Gymnasium's threshold for a whole episode, per step.
#[derive(Clone, Copy, Debug)]
pub struct HalfCheetah;

impl Rules for HalfCheetah {
    const SPEC: MujocoSpec = MujocoSpec {
        name: "HalfCheetah-v5",
        instruction: "run forward as fast as possible",
        frame_skip: 5,
        max_steps: 1000,
        camera: "track",
        forces: Forces::Unused,
    };

    fn model() -> Result<MjModel, EnvError> {
        // The attribute is deprecated: MuJoCo would warn about it, on the console and in a file. The call that the warning
        // recommends gives the same model, bit for bit.
        let text = |text: String| text.replace(&format!(r#" settotalmass="{MASS}""#), "");
        let mut model = compile(&GYMNASIUM, "half_cheetah.xml", text, |_| Ok(()))?;
        model.set_totalmass(MASS);
        MjData::new(&mut model).set_const();
        Ok(model)
    }

    fn names(model: &MjModel) -> Vec<String> {
        let joints: Vec<_> = (0..model.njnt() as usize)
            .map(|id| {
                model
                    .id_to_name(MjtObjBase::mjOBJ_JOINT, id)
                    .unwrap_or_default()
            })
            .collect();
        let positions = joints[1..].iter().map(ToString::to_string);
        let velocities = joints.iter().map(|joint| format!("{joint}_velocity"));
        positions.chain(velocities).collect()
    }

    fn start(positions: &mut [f64], velocities: &mut [f64], rng: &mut ChaCha8Rng) {
        for position in positions {
            *position += rng.random_range(-0.1..0.1);
        }
        for velocity in velocities {
            *velocity += 0.1 * standard_normal(rng);
        }
    }

    fn observe(data: &Data, out: &mut [f64]) {
        let (positions, velocities) = out.split_at_mut(8);
        positions.copy_from_slice(&data.qpos()[1..]);
        velocities.copy_from_slice(data.qvel());
    }

    fn place(data: &Data) -> f64 {
        data.qpos()[0]
    }

    fn judge(data: &Data, speed: f64) -> Outcome {
        let reward = speed - single(single(CONTROL_COST) * squared(data.ctrl()));
        Outcome {
            reward,
            progress: reward,
            success: reward >= THRESHOLD,
            ..Outcome::default()
        }
    }
}

/// A number of the standard normal distribution, after Box and Muller.
fn standard_normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (TAU * rng.random::<f64>()).cos()
}
