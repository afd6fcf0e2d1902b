//! Painting one geom: rays or triangles, depth test, light, store.

use super::footprint::Footprint;
use super::frame::Frame;
use super::lanes::{F, F3, LANES, Mask};
use super::lighting::{Lighting, Material};
use super::mesh::{self, Mesh, Vertex};
use super::surface::Surface;
use super::texture::Texture;
use super::view::{Local, Vec3, View};

/// How finished samples enter the frame.
pub(super) struct Paint {
    /// Written to the object buffer.
    pub(super) object: u32,
    /// 1 covers; less is blended over what is there and leaves depth and object alone.
    pub(super) alpha: f32,
}

/// 8-bit channels in one word each: 0xBBGGRR.
#[inline(always)]
pub(super) fn pack(rgb: F3) -> [u32; LANES] {
    let byte = |f: F| {
        let scaled = f.max(F::splat(0.0)).min(F::splat(1.0)) * 255.0 + F::splat(0.5);
        // SAFETY: the clamp above, which also replaces NaN, leaves numbers from 0.5 to 255.5.
        scaled
            .array()
            .map(|x| unsafe { x.to_int_unchecked::<i32>() } as u32)
    };
    let (r, g, b) = (byte(rgb[0]), byte(rgb[1]), byte(rgb[2]));
    let mut out = [0; LANES];
    for i in 0..LANES {
        out[i] = r[i] | g[i] << 8 | b[i] << 16;
    }
    out
}

#[inline(always)]
fn unpack(words: &[u32]) -> F3 {
    let mut out = [[0.0f32; LANES]; 3];
    for i in 0..LANES {
        for (c, lanes) in out.iter_mut().enumerate() {
            lanes[i] = (words[i] >> (8 * c) & 0xff) as i32 as f32 * (1.0 / 255.0);
        }
    }
    out.map(F::from_array)
}

impl Paint {
    /// Puts eight samples at `index` into the frame where `mask` is true.
    #[inline(always)]
    pub(super) fn store(&self, frame: &mut Frame, index: usize, mask: Mask, t: F, rgb: F3) {
        if self.alpha >= 1.0 {
            let old = F::load(&frame.depth[index..]);
            mask.select(t, old).store(&mut frame.depth[index..]);
            mask.store_words(pack(rgb), &mut frame.colour[index..]);
            mask.store_words([self.object; LANES], &mut frame.object[index..]);
        } else {
            let old = unpack(&frame.colour[index..index + LANES]);
            let mixed = [0, 1, 2].map(|i| old[i] + (rgb[i] - old[i]) * self.alpha);
            mask.store_words(pack(mixed), &mut frame.colour[index..]);
        }
    }
}

/// A 2D texture laid on the x-y plane of a geom: `u = x * scale[0] + shift[0]`, likewise `v`.
pub(super) struct Decal<'a> {
    pub(super) texture: &'a Texture,
    pub(super) scale: [f32; 2],
    pub(super) shift: [f32; 2],
}

impl Decal<'_> {
    /// Texture colours at the points with coordinates `x`, `y`; `footprint` is the size of a sample on the plane.
    #[inline(always)]
    fn sample(&self, mask: Mask, x: F, y: F, footprint: f32) -> F3 {
        let level = self
            .texture
            .level(footprint * self.scale[0].abs().max(self.scale[1].abs()));
        let (u, v) = (
            x * self.scale[0] + F::splat(self.shift[0]),
            y * self.scale[1] + F::splat(self.shift[1]),
        );
        let (u, v) = (u.array(), v.array());
        let mut out = [[0.0; LANES]; 3];
        for i in 0..LANES {
            if mask.lane(i) {
                let texel = self.texture.sample(u[i], v[i], level);
                for c in 0..3 {
                    out[c][i] = texel[c];
                }
            }
        }
        out.map(F::from_array)
    }
}

/// Everything that painting a geom needs besides its shape.
pub(super) struct Subject<'a> {
    pub(super) view: &'a View,
    pub(super) local: &'a Local,
    pub(super) lighting: &'a Lighting<'a>,
    pub(super) material: &'a Material,
    pub(super) decal: Option<Decal<'a>>,
    pub(super) paint: Paint,
}

/// Paints a surface by casting a ray through every sample of `footprint`.
#[inline(always)]
pub(super) fn cast<S: Surface>(
    frame: &mut Frame,
    footprint: &Footprint,
    surface: &S,
    subject: &Subject<'_>,
) {
    let Subject { view, local, .. } = *subject;
    for (row, &[start, end]) in (footprint.first_row..).zip(&footprint.spans) {
        let y = row as f32 + 0.5;
        let row_ray: Vec3 = std::array::from_fn(|i| local.ray[i] + y * local.ray_y[i]);
        let mut column = start;
        while column < end {
            let x = F::ramp() + F::splat(column as f32 + 0.5);
            let ray = [0, 1, 2].map(|i| x * local.ray_x[i] + F::splat(row_ray[i]));
            let hit = surface.hit(local.eye, ray, view.near);
            let index = row * frame.stride + column;
            let old = F::load(&frame.depth[index..]);
            let visible =
                hit.mask & hit.t.lt(old) & hit.t.le(F::splat(view.far)) & Mask::first(end - column);
            if visible.any() {
                let p = [0, 1, 2].map(|i| ray[i] * hit.t + F::splat(local.eye[i]));
                let n = surface.normal(p, hit.part);
                let mut rgb = subject.lighting.shade(subject.material, p, n);
                if let Some(decal) = &subject.decal {
                    let footprint = sample_on_plane(local, ray, hit.t, visible);
                    let texel = decal.sample(visible, p[0], p[1], footprint);
                    rgb = [0, 1, 2].map(|i| rgb[i] * texel[i]);
                }
                subject.paint.store(frame, index, visible, hit.t, rgb);
            }
            column += LANES;
        }
    }
}

/// Largest extent on the plane z = 0 of the sample of the first lane in `mask`.
#[inline(always)]
fn sample_on_plane(local: &Local, ray: F3, t: F, mask: Mask) -> f32 {
    let lane = (0..LANES).find(|&i| mask.lane(i)).unwrap_or(0);
    let (d, t): (Vec3, f32) = (
        std::array::from_fn(|i| ray[i].array()[lane]),
        t.array()[lane],
    );
    // p = eye + t d with t = -eye_z / d_z, differentiated along one raster axis with d' = step.
    let extent = |step: Vec3| {
        let dp: [f32; 2] = std::array::from_fn(|i| t * (step[i] - d[i] * step[2] / d[2]));
        (dp[0] * dp[0] + dp[1] * dp[1]).sqrt()
    };
    extent(local.ray_x).max(extent(local.ray_y))
}

/// Buffers for the vertices of the mesh at hand.
#[derive(Clone, Debug, Default)]
pub(super) struct MeshScratch {
    vertices: Vec<Vertex>,
}

/// Paints a mesh: every vertex is moved and lit once, then its front faces are filled.
#[inline(always)]
pub(super) fn triangles(
    frame: &mut Frame,
    mesh: &Mesh,
    subject: &Subject<'_>,
    scratch: &mut MeshScratch,
) {
    let (rows, offset) = subject.local.view_from_local(subject.view);
    scratch.vertices.clear();
    let groups = mesh.positions.chunks(LANES).zip(mesh.normals.chunks(LANES));
    for (positions, normals) in groups {
        let gather = |from: &[Vec3]| -> F3 {
            std::array::from_fn(|i| {
                F::from_array(std::array::from_fn(|k| from[k.min(from.len() - 1)][i]))
            })
        };
        let (p, n) = (gather(positions), gather(normals));
        let rgb = subject.lighting.shade(subject.material, p, n).map(F::array);
        let view =
            [0, 1, 2].map(|i| (super::lanes::dot1(p, rows[i]) + F::splat(offset[i])).array());
        scratch
            .vertices
            .extend((0..positions.len()).map(|k| Vertex {
                position: [view[0][k], view[1][k], view[2][k]],
                colour: [rgb[0][k], rgb[1][k], rgb[2][k]],
            }));
    }
    for triangle in &mesh.triangles {
        let corners = triangle.map(|i| scratch.vertices[i as usize]);
        mesh::clip(corners, subject.view.near, |part| {
            mesh::fill(frame, subject.view, part, &subject.paint)
        });
    }
}
