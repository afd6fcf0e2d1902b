//! Triangle meshes of the model: loading, clipping at the near plane, and filling depth and normals. Light comes after, once
//! for each sample that stays visible.

use std::collections::HashMap;

use mujoco_rs::wrappers::mj_model::MjModel;

use super::frame::Frame;
use super::lanes::{F, LANES, Mask};
use super::view::{Vec3, View, cross, dot, sub, unit};

/// A mesh with one normal per vertex (vertices with several normals are repeated).
#[derive(Clone, Debug, Default)]
pub(super) struct Mesh {
    pub(super) positions: Vec<Vec3>,
    pub(super) normals: Vec<Vec3>,
    pub(super) triangles: Vec<[u32; 3]>,
    /// Smallest and largest coordinates.
    pub(super) bounds: [Vec3; 2],
}

/// A vertex normal further than this (as a cosine) from the normal of a face does not belong to it: it comes from the other side of
/// an edge. OpenGL pictures of MuJoCo draw the line in the same place.
const SHARP: f32 = 0.8;

impl Mesh {
    /// Every mesh of `model`, with the normals that MuJoCo made, and normals of the faces at sharp edges.
    pub(super) fn all(model: &MjModel) -> Vec<Mesh> {
        (0..model.nmesh() as usize)
            .map(|id| Mesh::of(model, id))
            .collect()
    }

    fn of(model: &MjModel, id: usize) -> Mesh {
        let vertices = &model.mesh_vert()[model.mesh_vertadr()[id] as usize..];
        let normals = &model.mesh_normal()[model.mesh_normaladr()[id] as usize..];
        let first = model.mesh_faceadr()[id] as usize;
        let faces = first..first + model.mesh_facenum()[id] as usize;
        let mut mesh = Mesh::default();
        let mut known = HashMap::new();
        for (corners, smooth) in model.mesh_face()[faces.clone()]
            .iter()
            .zip(&model.mesh_facenormal()[faces])
        {
            let [a, b, c] = corners.map(|v| vertices[v as usize]);
            let across = cross(sub(b, a), sub(c, a));
            if dot(across, across) == 0.0 {
                continue;
            }
            let flat = unit(across);
            mesh.triangles.push(std::array::from_fn(|i| {
                let position = vertices[corners[i] as usize];
                let vertex = normals[smooth[i] as usize];
                let normal = if dot(vertex, flat) < SHARP {
                    flat
                } else {
                    vertex
                };
                *known
                    .entry((corners[i], normal.map(f32::to_bits)))
                    .or_insert_with(|| {
                        mesh.positions.push(position);
                        mesh.normals.push(normal);
                        mesh.positions.len() as u32 - 1
                    })
            }));
        }
        mesh.measure();
        mesh
    }

    /// Sets `bounds` from the positions.
    fn measure(&mut self) {
        let mut bounds = [[f32::INFINITY; 3], [f32::NEG_INFINITY; 3]];
        for p in &self.positions {
            for i in 0..3 {
                bounds[0][i] = bounds[0][i].min(p[i]);
                bounds[1][i] = bounds[1][i].max(p[i]);
            }
        }
        self.bounds = bounds;
    }
}

/// A vertex in view coordinates (right, up, forward) with its normal in the mesh's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vertex {
    pub(super) position: Vec3,
    pub(super) normal: Vec3,
}

/// Cuts a triangle at the near plane and hands the one or two triangles in front of it to `draw`.
#[inline(always)]
pub(super) fn clip(corners: [Vertex; 3], near: f32, mut draw: impl FnMut([Vertex; 3])) {
    let inside = corners.map(|v| v.position[2] >= near);
    match inside.iter().filter(|&&inside| inside).count() {
        3 => draw(corners),
        0 => {}
        count => {
            let cut = |a: Vertex, b: Vertex| {
                let k = (near - a.position[2]) / (b.position[2] - a.position[2]);
                let mix = |p: Vec3, q: Vec3| std::array::from_fn(|i| p[i] + (q[i] - p[i]) * k);
                let mut position: Vec3 = mix(a.position, b.position);
                position[2] = near;
                Vertex {
                    position,
                    normal: mix(a.normal, b.normal),
                }
            };
            // Turn the triangle so that the odd corner comes first; the winding stays.
            let odd = inside
                .iter()
                .position(|&inside| inside == (count == 1))
                .unwrap_or(0);
            let [a, b, c] = [corners[odd], corners[(odd + 1) % 3], corners[(odd + 2) % 3]];
            let (ab, ac) = (cut(a, b), cut(a, c));
            if count == 1 {
                draw([a, ab, ac]);
            } else {
                draw([ab, b, c]);
                draw([ab, c, ac]);
            }
        }
    }
}

/// What filling a triangle writes besides depth.
#[derive(Clone, Copy)]
pub(super) enum Fill {
    /// The number in the object buffer, and the normal.
    Surface(u32),
    /// Nothing.
    Depth,
}

/// Fills a triangle that lies in front of the near plane; back faces (clockwise on the picture) are left out.
#[inline(always)]
pub(super) fn fill(frame: &mut Frame, view: &View, corners: [Vertex; 3], what: Fill) {
    let [a, b, c] = corners.map(|v| view.raster(v.position));
    // Twice the area; the raster's y axis points down, so front faces have a negative one.
    let area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
    if area >= 0.0 || !area.is_finite() {
        return;
    }
    let least = |i: usize| a[i].min(b[i]).min(c[i]);
    let most = |i: usize| a[i].max(b[i]).max(c[i]);
    // Samples sit at half numbers.
    let x_first = (least(0) - 0.5).ceil().max(0.0) as usize;
    let x_end = ((most(0) - 0.5).floor() + 1.0).clamp(0.0, frame.width as f32) as usize;
    let y_first = (least(1) - 0.5).ceil().max(0.0) as usize;
    let y_end = ((most(1) - 0.5).floor() + 1.0).clamp(0.0, frame.height as f32) as usize;
    if x_first >= x_end || y_first >= y_end {
        return;
    }

    // Edge functions, positive inside. Coefficients of a shared edge are exact opposites in its two triangles: no gaps.
    let edge = |p: [f32; 2], q: [f32; 2]| [q[1] - p[1], p[0] - q[0], q[0] * p[1] - p[0] * q[1]];
    let edges = [edge(a, b), edge(b, c), edge(c, a)];
    // Inverse depth, and anything on the triangle times inverse depth, are linear on the raster.
    let inverse = corners.map(|v| 1.0 / v.position[2]);
    let scale = 1.0 / area;
    let linear = |value: [f32; 3]| {
        let (u, v) = (value[1] - value[0], value[2] - value[0]);
        let dx = (u * (c[1] - a[1]) - v * (b[1] - a[1])) * scale;
        let dy = (v * (b[0] - a[0]) - u * (c[0] - a[0])) * scale;
        [dx, dy, value[0]]
    };
    let depth = linear(inverse);
    let normal: [[f32; 3]; 3] =
        std::array::from_fn(|i| linear(std::array::from_fn(|k| corners[k].normal[i] * inverse[k])));

    // Measured from a corner, so that the steep slopes of slivers do not magnify rounding.
    let at = |f: [f32; 3], x: F, y: f32| (x - a[0]) * f[0] + (f[1] * (y - a[1]) + f[2]);
    let side = |e: [f32; 3], x: F, y: f32| x * e[0] + (e[1] * y + e[2]);
    for row in y_first..y_end {
        let y = row as f32 + 0.5;
        // Where the edges cut this row; the exact test follows per sample.
        let (mut from, mut to) = (x_first as f32, x_end as f32);
        for [dx, dy, constant] in edges {
            let cut = -(dy * y + constant) / dx;
            if dx > 0.0 {
                from = from.max(cut - 1.0);
            } else if dx < 0.0 {
                to = to.min(cut + 1.0);
            }
        }
        let (from, to) = (from as usize, (to.max(0.0) as usize).min(x_end));
        let mut column = from;
        while column < to {
            let x = F::ramp() + (column as f32 + 0.5);
            let zero = F::splat(0.0);
            let inside = zero.le(side(edges[0], x, y))
                & zero.le(side(edges[1], x, y))
                & zero.le(side(edges[2], x, y))
                & Mask::first(to - column);
            if inside.any() {
                let t = F::splat(1.0) / at(depth, x, y);
                let index = row * frame.stride + column;
                let old = F::load(&frame.depth[index..]);
                let visible = inside & t.lt(old);
                if visible.any() {
                    visible.select(t, old).store(&mut frame.depth[index..]);
                    if let Fill::Surface(object) = what {
                        visible.store_words([object; LANES], &mut frame.object[index..]);
                        for (buffer, slope) in frame.normal.iter_mut().zip(normal) {
                            let old = F::load(&buffer[index..]);
                            visible
                                .select(at(slope, x, y), old)
                                .store(&mut buffer[index..]);
                        }
                    }
                }
            }
            column += LANES;
        }
    }
}
