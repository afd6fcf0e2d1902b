//! What is behind everything: the skybox, and the haze that hides where a plane without end meets it.

use mujoco_rs::wrappers::mj_model::{MjModel, MjtGeom};
use mujoco_rs::wrappers::mj_visualization::MjvGeom;

use super::frame::Frame;
use super::lanes::{F, LANES, Mask, dot, dot1, three, vectorised};
use super::paint::{pack, unpack};
use super::texture::Cube;
use super::view::{Vec3, View};

vectorised! {
    /// Fills what is still empty with the sky. MuJoCo turns the cube so that its +y is the world's +z.
    pub(super) fn backdrop(frame: &mut Frame, view: &View, sky: &Cube) {
        let ray = view.ray(0.0, 0.0);
        let footprint = view.samples * view.step_x.max(view.step_y);
        for row in 0..frame.height {
            let up = (row as f32 + 0.5) * view.step_y;
            for column in (0..frame.width).step_by(LANES) {
                let index = row * frame.stride + column;
                let empty = F::splat(f32::INFINITY).eq(F::load(&frame.depth[index..]));
                let empty = empty & Mask::first(frame.width - column);
                if empty.any() {
                    let right = (F::ramp() + F::splat(column as f32 + 0.5)) * view.step_x;
                    let world = three!(|i| right * view.right[i] + F::splat(ray[i] - up * view.up[i]));
                    let colour = sky.sample([world[0], world[2], -world[1]], footprint);
                    empty.store_words(pack(colour), &mut frame.colour[index..]);
                }
            }
        }
    }
}

/// How far away the sky is drawn, as a fraction of the farthest distance there is.
const SKY_DISTANCE: f32 = 0.70;

/// The look of haze, from the visual settings of a model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Haze {
    colour: Vec3,
    /// Width of the ring of haze as a fraction of its radius.
    width: f32,
    /// Where between the plane (0) and the height of the eye (1) it is thickest.
    thickest: f32,
}

impl Haze {
    /// The haze of pictures of `model`; none if its ring has no width.
    pub(super) fn of(model: &MjModel) -> Option<Haze> {
        let [r, g, b, _] = model.vis().rgba.haze;
        let width = model.vis().map.haze;
        let slope = 1f32.atan2(width);
        let thickest =
            0.5f32.sqrt() * width * slope.sin() / (0.75 * std::f32::consts::PI - slope).sin();
        (width > 0.0 && thickest > 0.0 && thickest < 1.0).then_some(Haze {
            colour: [r, g, b],
            width,
            thickest,
        })
    }

    /// Draws a ring of haze around the horizon of the first plane without end, if the eye is above it.
    ///
    /// MuJoCo's ring is a cone around the eye: on the plane its radius is `1 - width` times the distance of the sky, at the
    /// height of the eye it is that distance. It is invisible at both ends.
    pub(super) fn draw(&self, frame: &mut Frame, view: &View, geoms: &[MjvGeom]) {
        let Some(plane) = geoms.iter().find(|geom| {
            geom.type_ == MjtGeom::mjGEOM_PLANE as i32 && geom.size[0] == 0.0 && geom.size[1] == 0.0
        }) else {
            return;
        };
        let m = &plane.mat;
        let up = [m[2], m[5], m[8]];
        let distance = SKY_DISTANCE * view.far;
        let height = super::view::dot(super::view::sub(view.eye, plane.pos), up) / distance;
        if height >= 0.0 {
            veil(frame, view, self, (up, distance, height));
        }
    }
}

vectorised! {
    fn veil(frame: &mut Frame, view: &View, haze: &Haze, horizon: (Vec3, f32, f32)) {
        let (up, distance, height) = horizon;
        let zero = F::splat(0.0);
        let one = F::splat(1.0);
        for row in 0..frame.height {
            let ray = view.ray(0.0, row as f32 + 0.5);
            for column in (0..frame.width).step_by(LANES) {
                let right = (F::ramp() + F::splat(column as f32 + 0.5)) * view.step_x;
                let d = three!(|i| right * view.right[i] + F::splat(ray[i]));
                // How far the ray falls on a way of one along the plane.
                let fall = -dot1(d, up);
                let level = three!(|i| d[i] + fall * up[i]);
                let along = dot(level, level).sqrt();
                let slope = fall / along.max(F::splat(1e-20));
                // Part of the height of the eye that the ray has fallen when it meets the cone.
                let fallen = slope / (slope * haze.width + F::splat(height));
                let t = (one - fallen * haze.width) * distance / along;
                let index = row * frame.stride + column;
                let seen = zero.lt(slope) & fallen.lt(one) & t.lt(F::load(&frame.depth[index..]))
                    & Mask::first(frame.width - column);
                if seen.any() {
                    let level = one - fallen;
                    let thickness = (level * (1.0 / haze.thickest))
                        .min(fallen * (1.0 / (1.0 - haze.thickest)))
                        .max(zero);
                    let old = unpack(&frame.colour[index..index + LANES]);
                    let mixed = three!(|i| old[i] + (F::splat(haze.colour[i]) - old[i]) * thickness);
                    seen.store_words(pack(mixed), &mut frame.colour[index..]);
                }
            }
        }
    }
}
