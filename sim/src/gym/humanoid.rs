//! Humanoid-v5: walk forward without falling (Tassa, Erez and Todorov 2012).

use mujoco_rs::prelude::*;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::mujoco::{Data, Forces, MujocoSpec, Rules, compile};
use super::numbered;
use crate::assets::GYMNASIUM;
use crate::env::EnvError;
use crate::environment::Outcome;

const FORWARD_WEIGHT: f64 = 1.25;
const CONTROL_COST: f64 = 0.1;
const CONTACT_COST: f64 = 5e-7;
/// The contact cost is cut off here.
const HIGHEST_CONTACT_COST: f64 = 10.0;
const HEALTHY_REWARD: f64 = 5.0;
/// Heights of the torso between which the humanoid is healthy, m; the ends are not.
const HEALTHY: (f64, f64) = (1.0, 2.0);
/// How far the start is from the upright pose, in every position and velocity.
const START_NOISE: f64 = 0.01;

/// A humanoid with 17 motors. The reward is 1.25 times the forward speed of the centre of mass, 5 while healthy, less a tenth of
/// the squared controls and 5e-7 of the squared contact forces, at most 10. The episode ends when the torso is not between
/// 1 m and 2 m high.
///
/// Progress is the reward; success is to be healthy still.
#[derive(Clone, Copy, Debug)]
pub struct Humanoid;

impl Rules for Humanoid {
    const SPEC: MujocoSpec = MujocoSpec {
        name: "Humanoid-v5",
        instruction: "walk forward without falling over",
        frame_skip: 5,
        max_steps: 1000,
        camera: "track",
        forces: Forces::Computed,
    };

    fn model() -> Result<MjModel, EnvError> {
        compile(&GYMNASIUM, FILE, |text| text, |_| Ok(()))
    }

    fn names(model: &MjModel) -> Vec<String> {
        names(model, Parts::Moving)
    }

    fn start(positions: &mut [f64], velocities: &mut [f64], rng: &mut ChaCha8Rng) {
        start(positions, velocities, rng);
    }

    fn observe(data: &Data, out: &mut [f64]) {
        observe(data, Parts::Moving, out);
    }

    fn place(data: &Data) -> f64 {
        place(data)
    }

    fn judge(data: &Data, speed: f64) -> Outcome {
        let contact = CONTACT_COST * sum_of_squares(data.cfrc_ext().as_flattened());
        let healthy = healthy(data);
        let reward = earned(data, speed) - contact.min(HIGHEST_CONTACT_COST);
        Outcome {
            reward,
            progress: reward,
            success: healthy,
            terminated: !healthy,
            truncated: false,
        }
    }
}

/// The model in Gymnasium's package.
pub(super) const FILE: &str = "humanoid.xml";

/// Of which bodies and degrees of freedom the observation tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parts {
    /// All, also the world and the root, of which it is all zeros: up to version 4.
    All,
    /// Those that say something: version 5.
    Moving,
}

impl Parts {
    /// The first body and the first degree of freedom with a force.
    fn first(self) -> (usize, usize) {
        match self {
            Parts::All => (0, 0),
            Parts::Moving => (1, 6),
        }
    }
}

pub(super) fn names(model: &MjModel, parts: Parts) -> Vec<String> {
    let (body, dof) = parts.first();
    let (nq, nv) = (model.nq() as usize, model.nv() as usize);
    let bodies = |prefix: &'static str, width: usize| {
        (body..model.nbody() as usize).flat_map(move |id| {
            let name = model
                .id_to_name(MjtObjBase::mjOBJ_BODY, id)
                .unwrap_or_default();
            numbered(prefix, 0..width).map(move |field| format!("{name}_{field}"))
        })
    };
    numbered("position", 2..nq)
        .chain(numbered("velocity", 0..nv))
        .chain(bodies("inertia", 10))
        .chain(bodies("velocity", 6))
        .chain(numbered("actuator_force", dof..nv))
        .chain(bodies("contact_force", 6))
        .collect()
}

pub(super) fn start(positions: &mut [f64], velocities: &mut [f64], rng: &mut ChaCha8Rng) {
    for value in positions.iter_mut().chain(velocities) {
        *value += rng.random_range(-START_NOISE..START_NOISE);
    }
}

pub(super) fn observe(data: &Data, parts: Parts, out: &mut [f64]) {
    let (body, dof) = parts.first();
    let mut rest = out;
    for part in [
        &data.qpos()[2..],
        data.qvel(),
        data.cinert()[body..].as_flattened(),
        data.cvel()[body..].as_flattened(),
        &data.qfrc_actuator()[dof..],
        data.cfrc_ext()[body..].as_flattened(),
    ] {
        let (these, others) = rest.split_at_mut(part.len());
        these.copy_from_slice(part);
        rest = others;
    }
}

/// x of the centre of mass, m.
pub(super) fn place(data: &Data) -> f64 {
    let masses = data.model().body_mass();
    let moment: f64 = masses.iter().zip(data.xipos()).map(|(m, x)| m * x[0]).sum();
    moment / masses.iter().sum::<f64>()
}

pub(super) fn healthy(data: &Data) -> bool {
    let height = data.qpos()[2];
    HEALTHY.0 < height && height < HEALTHY.1
}

/// The reward without contacts.
pub(super) fn earned(data: &Data, speed: f64) -> f64 {
    let alive = if healthy(data) { HEALTHY_REWARD } else { 0.0 };
    FORWARD_WEIGHT * speed + alive - CONTROL_COST * sum_of_squares(data.ctrl())
}

fn sum_of_squares(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}
