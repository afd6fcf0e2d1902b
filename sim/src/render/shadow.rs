//! Shadows: the depth of the scene as a light sees it, and how much of that light reaches a point.

use mujoco_rs::wrappers::mj_model::{MjModel, MjtGeom};
use mujoco_rs::wrappers::mj_visualization::{MjtCatBit, MjvGeom};

use super::fill::Fill;
use super::footprint::Footprint;
use super::frame::Frame;
use super::lanes::{F, F3, LANES, dot1, three};
use super::lighting::{Beam, Light};
use super::mesh::{Mesh, Projected};
use super::shape::Shape;
use super::view::{Local, Vec3, View, cross, unit};

/// Samples along each side of a shadow map.
const SIDE: usize = 1024;

/// A directional light is placed this many times the half width of its map away, so that its rays are almost parallel.
const REMOTE: f32 = 20.0;

/// How far shadows reach, from the visual settings of a model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// Half width in metres of the shadows of a directional light.
    clip: f32,
    /// Half angle of the shadows of a spot as a fraction of its cutoff.
    scale: f32,
    /// Distance from a light at which things begin to throw shadows, m: that at which they begin to be seen by a camera.
    near: f32,
}

impl Reach {
    pub(super) fn of(model: &MjModel) -> Reach {
        let map = &model.vis().map;
        Reach {
            clip: map.shadowclip * model.stat().extent as f32,
            scale: map.shadowscale,
            near: map.znear * model.stat().extent as f32,
        }
    }
}

/// What one light sees.
#[derive(Clone, Debug)]
pub(super) struct ShadowMap {
    view: View,
    frame: Frame,
}

impl ShadowMap {
    pub(super) fn new() -> ShadowMap {
        ShadowMap {
            view: View::square([0.0; 3], [[0.0; 3]; 3], 1.0, SIDE),
            frame: Frame::depth_only(SIDE, SIDE),
        }
    }

    /// Looks at the scene from `light`. Planes and decoration throw no shadow, nor do transparent geoms.
    pub(super) fn draw(
        &mut self,
        light: &Light,
        reach: Reach,
        (geoms, meshes): (&[MjvGeom], &[Mesh]),
        footprint: &mut Footprint,
        vertices: &mut Vec<Projected>,
    ) {
        let forward = light.direction;
        let (eye, half, near) = match light.beam {
            Beam::Parallel => {
                let back = REMOTE * reach.clip;
                (
                    std::array::from_fn(|i| light.position[i] - back * forward[i]),
                    1.0 / REMOTE,
                    back + reach.near,
                )
            }
            Beam::Spot { cutoff } => {
                let half = (cutoff * reach.scale).min(1.4).tan();
                (light.position, half, reach.near)
            }
            Beam::Point => return,
        };
        let aside: Vec3 = if forward[0].abs() < 0.7 {
            [1.0, 0.0, 0.0]
        } else {
            [0.0, 1.0, 0.0]
        };
        let right = unit(cross(forward, aside));
        self.view = View::square(eye, [right, cross(right, forward), forward], half, SIDE);
        self.view.near = near;
        self.frame.depth.fill(f32::INFINITY);
        for geom in geoms {
            let seen = super::shape::is_solid(geom)
                && geom.category != MjtCatBit::mjCAT_DECOR as i32
                && geom.type_ != MjtGeom::mjGEOM_PLANE as i32;
            if !seen {
                continue;
            }
            let Some(shape) = Shape::of(geom, meshes) else {
                continue;
            };
            let local = Local::new(geom, &self.view);
            if shape.project(&self.view, &local, footprint) {
                let place = (&self.view, &local);
                shape.paint_depth(&mut self.frame, footprint, place, Fill::Depth, vertices);
            }
        }
    }
}

/// A shadow map in the coordinates of one geom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shadow {
    /// Number of the map.
    pub(super) number: usize,
    rows: [Vec3; 3],
    offset: Vec3,
}

impl Shadow {
    pub(super) fn new(number: usize, map: &ShadowMap, local: &Local) -> Shadow {
        let (rows, offset) = local.view_from_local(&map.view);
        Shadow {
            number,
            rows,
            offset,
        }
    }

    /// How much of the light reaches points `p` with normals `n`: 0 none, 1 all, between them near the border of a shadow.
    #[inline(always)]
    pub(super) fn light(&self, map: &ShadowMap, p: F3, n: F3) -> F {
        let view = &map.view;
        // Lifting the point off its surface by the width of a sample keeps the surface from shading itself.
        let lift = (dot1(p, self.rows[2]) + F::splat(self.offset[2])) * (1.5 * view.step_x);
        let p = three!(|i| p[i] + n[i] * lift);
        let q = three!(|i| dot1(p, self.rows[i]) + F::splat(self.offset[i]));
        let inverse = F::splat(1.0) / q[2];
        let last = (SIDE - 2) as f32;
        let zero = F::splat(0.0);
        let x = (q[0] * inverse - F::splat(view.left)) * (1.0 / view.step_x) - F::splat(0.5);
        let y = (F::splat(view.top) - q[1] * inverse) * (1.0 / view.step_y) - F::splat(0.5);
        let end = F::splat(last);
        let inside = zero.le(x) & x.lt(end) & zero.le(y) & y.lt(end) & zero.lt(q[2]);
        let (x, y) = (x.max(zero).min(end), y.max(zero).min(end));
        let (left, top) = (x.floor(), y.floor());
        let (x, y) = (x - left, y - top);
        // The clamps above, which also replace NaN, leave numbers within the map.
        let (left, top) = (left.cut().array(), top.cut().array());
        let mut corners = [[0.0f32; LANES]; 4];
        let stride = map.frame.stride;
        let depth = &map.frame.depth;
        for i in 0..LANES {
            let first = top[i] as usize * stride + left[i] as usize;
            if let (Some(above), Some(below)) = (
                depth.get(first..first + 2),
                depth.get(first + stride..first + stride + 2),
            ) {
                corners[0][i] = above[0];
                corners[1][i] = above[1];
                corners[2][i] = below[0];
                corners[3][i] = below[1];
            }
        }
        let limit = q[2] - lift * 0.5;
        let lit = |k: usize| {
            limit
                .le(F::from_array(corners[k]))
                .select(F::splat(1.0), zero)
        };
        let (a, b, c, d) = (lit(0), lit(1), lit(2), lit(3));
        let (above, below) = (a + (b - a) * x, c + (d - c) * x);
        inside.select(above + (below - above) * y, F::splat(1.0))
    }
}
