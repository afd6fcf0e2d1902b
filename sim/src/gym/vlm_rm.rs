//! The humanoid of "Vision-Language Models are Zero-Shot Reward Models for Reinforcement Learning" (Rocamonde et al. 2023,
//! VLM-RM): Gymnasium's, dressed and seen so that a vision-language model recognises what it does.

use mujoco_rs::error::MjEditError;
use mujoco_rs::prelude::*;
use mujoco_rs::wrappers::mj_editing::{MjsTexture, MjtBuiltin, MjtMark};
use rand_chacha::ChaCha8Rng;

use super::humanoid::{self, FILE, Parts};
use super::mujoco::{Data, Forces, MujocoSpec, Rules, add_camera, compile};
use crate::assets::GYMNASIUM;
use crate::env::EnvError;
use crate::environment::Outcome;

/// Gymnasium's Humanoid-v4 as the paper uses it: episodes of 100 steps that nothing ends early, 376 observed numbers, and the
/// reward of Humanoid-v4 (no contact cost), which only serves as a measure.
///
/// As published: the physics, the colours white, the floor without reflection and gloss, the light straight down from 1 m, the
/// shining body, and the camera of 3.5 m distance that looks 10 degrees down at (0, 0, 1) from in front. Not as published: the
/// pictures on floor, sky and body. The authors' are other people's photographs; these are drawn to about their mean
/// colours and contrast (dark slabs, a blue sky with clouds, brushed white). The authors' last step of an episode is a
/// termination, here it is a truncation. Unconfirmed: that reward and observation are version 4's number by number; no peer
/// that runs here has that version, so unlike [`Humanoid`](super::Humanoid) they are not tested against one.
///
/// Progress is the reward; success is a torso between 1 m and 2 m high. The paper's own judge of success is a person.
#[derive(Clone, Copy, Debug)]
pub struct VlmRmHumanoid;

impl Rules for VlmRmHumanoid {
    const SPEC: MujocoSpec = MujocoSpec {
        name: "vlm-rm-humanoid",
        instruction: "a humanoid robot kneeling",
        frame_skip: 5,
        max_steps: 100,
        camera: "front",
        forces: Forces::Computed,
    };

    fn model() -> Result<MjModel, EnvError> {
        compile(&GYMNASIUM, FILE, |text| text, dress)
    }

    fn names(model: &MjModel) -> Vec<String> {
        humanoid::names(model, Parts::All)
    }

    fn start(positions: &mut [f64], velocities: &mut [f64], rng: &mut ChaCha8Rng) {
        humanoid::start(positions, velocities, rng);
    }

    fn observe(data: &Data, out: &mut [f64]) {
        humanoid::observe(data, Parts::All, out);
    }

    fn place(data: &Data) -> f64 {
        humanoid::place(data)
    }

    fn judge(data: &Data, speed: f64) -> Outcome {
        let reward = humanoid::earned(data, speed);
        Outcome {
            reward,
            progress: reward,
            success: humanoid::healthy(data),
            ..Outcome::default()
        }
    }
}

/// Gives the model the paper's look. Nothing here has to do with the physics.
fn dress(spec: &mut MjSpec) -> Result<(), MjEditError> {
    for geom in spec.geom_iter_mut() {
        *geom.rgba_mut() = [1.0; 4];
    }
    for light in spec.light_iter_mut() {
        *light.pos_mut() = [0.0, 0.0, 1.0];
        *light.dir_mut() = [0.0, 0.0, -1.5];
        *light.specular_mut() = [0.5; 3];
    }
    for material in spec.material_iter_mut() {
        let shine = if material.name() == "geom" { 1.0 } else { 0.0 };
        material.set_specular(shine);
        material.set_shininess(shine);
        material.set_reflectance(0.0);
    }
    for texture in spec.texture_iter_mut() {
        match texture.type_() {
            MjtTexture::mjTEXTURE_SKYBOX => paint(texture, 256, 6, sky),
            MjtTexture::mjTEXTURE_CUBE => paint(texture, 128, 6, skin),
            _ => paint(texture, 256, 1, floor),
        }
    }
    let (sin, cos) = 10_f64.to_radians().sin_cos();
    let eye = [3.5 * cos, 0.0, 1.0 + 3.5 * sin];
    let camera = VlmRmHumanoid::SPEC.camera;
    add_camera(spec, camera, eye, [0.0, 1.0, 0.0], [-cos, 0.0, -sin])
}

/// Replaces a texture by `faces` times the picture `colour(x, y)`, x and y from 0 to 1 from the top left corner.
fn paint(texture: &mut MjsTexture, side: usize, faces: usize, colour: fn(f64, f64) -> [f64; 3]) {
    let at = |i: usize| (i as f64 + 0.5) / side as f64;
    let face: Vec<u8> = (0..side * side)
        .flat_map(|i| colour(at(i % side), at(i / side)))
        .map(|value| value.clamp(0.0, 255.0).round() as u8)
        .collect();
    texture.set_builtin(MjtBuiltin::mjBUILTIN_NONE);
    texture.set_mark(MjtMark::mjMARK_NONE);
    texture.set_random(0.0);
    texture.set_width(side as i32);
    texture.set_height((faces * side) as i32);
    texture.set_nchannel(3);
    texture.set_data(&face.repeat(faces));
}

/// A blue sky with clouds, paler at the bottom.
fn sky(x: f64, y: f64) -> [f64; 3] {
    let octave = |k: i32| {
        let fine = 2_f64.powi(k);
        // At 12 the part of the sky behind the humanoid is mostly clear, as in the paper.
        0.5 * noise(3.0 * fine * x + 12.0, 4.0 * fine * y) / fine
    };
    let cloud: f64 = (0..6).map(octave).sum();
    let white = ((cloud - 0.47) * 5.0).clamp(0.0, 1.0).max(0.5 * y * y);
    mix([0.0, 132.0, 212.0], [246.0, 248.0, 252.0], white)
}

/// Near-black slabs of slate in three columns, with dark joints.
fn floor(x: f64, y: f64) -> [f64; 3] {
    let column = (3.0 * x).floor();
    let (across, along) = (3.0 * x - column, 4.0 * y + 0.37 * column);
    let slab = along.floor().rem_euclid(4.0);
    let joint = across.min(1.0 - across) < 0.02 || along.fract() < 0.025;
    let stone = 44.0 + 20.0 * corner(column as i64, slab as i64);
    let grain = 14.0 * (noise(12.0 * x, 12.0 * y) + noise(60.0 * x, 60.0 * y) - 1.0);
    [if joint { 32.0 } else { stone + grain }; 3]
}

/// White with slanting brush strokes.
fn skin(x: f64, y: f64) -> [f64; 3] {
    [239.0 + 28.0 * (noise(40.0 * (x + y), 3.0 * (x - y + 1.0)) - 0.5); 3]
}

fn mix(a: [f64; 3], b: [f64; 3], share: f64) -> [f64; 3] {
    std::array::from_fn(|i| a[i] + share * (b[i] - a[i]))
}

/// Smooth noise from 0 to 1 with one bump per unit.
fn noise(x: f64, y: f64) -> f64 {
    let (column, row) = (x.floor(), y.floor());
    let ease = |t: f64| t * t * (3.0 - 2.0 * t);
    let (across, down) = (ease(x - column), ease(y - row));
    let at = |i: i64, k: i64| corner(column as i64 + i, row as i64 + k);
    let top = at(0, 0) + across * (at(1, 0) - at(0, 0));
    let bottom = at(0, 1) + across * (at(1, 1) - at(0, 1));
    top + down * (bottom - top)
}

/// A number from 0 to 1 that depends on nothing but these two (the finaliser of SplitMix64).
fn corner(x: i64, y: i64) -> f64 {
    let mut z = (x as u64) << 32 ^ (y as u64 & 0xffff_ffff) ^ 0x9e37_79b9_7f4a_7c15;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ z >> 31) as f64 / u64::MAX as f64
}
