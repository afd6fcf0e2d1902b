//! Painting one geom: rays or triangles, depth test, light, store.

use super::footprint::Footprint;
use super::frame::Frame;
use super::lanes::{F, F3, LANES, Mask, dot1, three, vectorised};
use super::lighting::{Lighting, Material};
use super::mesh::{self, Mesh, Vertex};
use super::surface::Surface;
use super::texture::{Sky, Texture};
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
    let bytes = three!(|c| {
        let scaled = rgb[c].max(F::splat(0.0)).min(F::splat(1.0)) * 255.0 + F::splat(0.5);
        // SAFETY: the clamp above, which also replaces NaN, leaves numbers from 0.5 to 255.5.
        unsafe { scaled.to_words() }
    });
    let mut out = [0; LANES];
    for i in 0..LANES {
        out[i] = bytes[0][i] | bytes[1][i] << 8 | bytes[2][i] << 16;
    }
    out
}

#[inline(always)]
fn unpack(words: &[u32]) -> F3 {
    three!(|c| {
        let mut out = [0.0; LANES];
        for i in 0..LANES {
            out[i] = (words[i] >> (8 * c) & 0xff) as i32 as f32;
        }
        F::from_array(out) * (1.0 / 255.0)
    })
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
            let mixed = three!(|i| old[i] + (rgb[i] - old[i]) * self.alpha);
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
    fn sample(&self, x: F, y: F, footprint: f32) -> F3 {
        let level = self
            .texture
            .level(footprint * self.scale[0].abs().max(self.scale[1].abs()));
        let (u, v) = (
            x * self.scale[0] + F::splat(self.shift[0]),
            y * self.scale[1] + F::splat(self.shift[1]),
        );
        self.texture.sample(u, v, level)
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

/// Eight neighbouring samples of a surface, some of them visible, before light.
#[derive(Clone, Copy)]
pub(super) struct Chunk {
    /// First sample in the frame.
    index: usize,
    visible: Mask,
    t: F,
    p: F3,
    n: F3,
}

/// Chunks that are found before they are lit: enough to spread the cost of the call, few enough to stay in the nearest cache.
const BATCH: usize = 32;

vectorised! {
    /// Paints a surface by casting a ray through every sample of `footprint`.
    pub(super) fn cast[S: Surface](frame: &mut Frame, footprint: &Footprint, surface: &S, subject: &Subject<'_>) {
        let Subject { view, local, .. } = *subject;
        let mut batch = [Chunk::NONE; BATCH];
        let mut found = 0;
        for (row, &[start, end]) in (footprint.first_row..).zip(&footprint.spans) {
            let y = row as f32 + 0.5;
            let row_ray = three!(|i| local.ray[i] + y * local.ray_y[i]);
            let mut column = start;
            while column < end {
                let x = F::ramp() + F::splat(column as f32 + 0.5);
                let ray = three!(|i| x * local.ray_x[i] + F::splat(row_ray[i]));
                let hit = surface.hit(local.eye, ray, view.near);
                let index = row * frame.stride + column;
                let old = F::load(&frame.depth[index..]);
                let t = hit.t;
                let visible = hit.mask & t.lt(old) & t.le(F::splat(view.far)) & Mask::first(end - column);
                if visible.any() {
                    let p = three!(|i| ray[i] * t + F::splat(local.eye[i]));
                    let n = surface.normal(p, hit.part);
                    batch[found] = Chunk { index, visible, t, p, n };
                    found += 1;
                    if found == BATCH {
                        light(frame, subject, &batch);
                        found = 0;
                    }
                }
                column += LANES;
            }
        }
        light(frame, subject, &batch[..found]);
    }
}

impl Chunk {
    const NONE: Chunk = Chunk {
        index: 0,
        visible: Mask::NONE,
        t: F::ZERO,
        p: [F::ZERO; 3],
        n: [F::ZERO; 3],
    };
}

vectorised! {
    /// Lights chunks and puts them into the frame.
    fn light(frame: &mut Frame, subject: &Subject<'_>, chunks: &[Chunk]) {
        for &Chunk { index, visible, t, p, n } in chunks {
            let mut rgb = subject.lighting.shade(subject.material, p, n);
            if let Some(decal) = &subject.decal {
                let footprint = sample_on_plane(subject.local, p, t, visible);
                let texel = decal.sample(p[0], p[1], footprint);
                rgb = three!(|i| rgb[i] * texel[i]);
            }
            subject.paint.store(frame, index, visible, t, rgb);
        }
    }
}

/// Largest extent on the plane z = 0 of the sample of the first lane in `mask`.
#[inline(always)]
fn sample_on_plane(local: &Local, p: F3, t: F, mask: Mask) -> f32 {
    let lane = mask.first_lane();
    let t = t.array()[lane];
    // p = eye + t d with t = -eye_z / d_z, differentiated along one raster axis with d' = step.
    let d = three!(|i| (p[i].array()[lane] - local.eye[i]) / t);
    let [dx, dy] = [local.ray_x, local.ray_y].map(|step| {
        let (x, y) = (
            step[0] - d[0] * step[2] / d[2],
            step[1] - d[1] * step[2] / d[2],
        );
        x * x + y * y
    });
    t * dx.max(dy).sqrt()
}

/// Buffers for the vertices of the mesh at hand.
#[derive(Clone, Debug, Default)]
pub(super) struct MeshScratch {
    vertices: Vec<Vertex>,
}

/// Up to eight vectors in lanes; the last is repeated.
#[inline(always)]
fn gather(from: &[Vec3]) -> F3 {
    three!(|c| {
        let mut out = [0.0; LANES];
        for k in 0..LANES {
            out[k] = from[k.min(from.len() - 1)][c];
        }
        F::from_array(out)
    })
}

vectorised! {
    /// Paints a mesh: every vertex is moved and lit once, then its front faces are filled.
    pub(super) fn triangles(frame: &mut Frame, mesh: &Mesh, subject: &Subject<'_>, scratch: &mut MeshScratch) {
        let (rows, offset) = subject.local.view_from_local(subject.view);
        scratch.vertices.clear();
        for (positions, normals) in mesh.positions.chunks(LANES).zip(mesh.normals.chunks(LANES)) {
            let (p, n) = (gather(positions), gather(normals));
            let rgb = subject.lighting.shade(subject.material, p, n);
            let rgb = three!(|c| rgb[c].array());
            let view = three!(|i| (dot1(p, rows[i]) + F::splat(offset[i])).array());
            for k in 0..positions.len() {
                let position = [view[0][k], view[1][k], view[2][k]];
                scratch.vertices.push(Vertex { position, colour: [rgb[0][k], rgb[1][k], rgb[2][k]] });
            }
        }
        for &[a, b, c] in &mesh.triangles {
            let corners = [a, b, c].map(|i| scratch.vertices[i as usize]);
            mesh::clip(corners, subject.view.near, |part| mesh::fill(frame, subject.view, part, &subject.paint));
        }
    }
}

vectorised! {
    /// Fills what is still empty with the sky.
    pub(super) fn backdrop(frame: &mut Frame, view: &View, sky: &Sky) {
        let ray = view.ray(0.0, 0.0);
        for row in 0..frame.height {
            let up = (row as f32 + 0.5) * view.step_y;
            for column in (0..frame.width).step_by(LANES) {
                let index = row * frame.stride + column;
                let empty = F::splat(f32::INFINITY).eq(F::load(&frame.depth[index..]));
                let empty = empty & Mask::first(frame.width - column);
                if empty.any() {
                    let right = (F::ramp() + F::splat(column as f32 + 0.5)) * view.step_x;
                    let direction = three!(|i| right * view.right[i] + F::splat(ray[i] - up * view.up[i]));
                    empty.store_words(pack(sky.sample(direction)), &mut frame.colour[index..]);
                }
            }
        }
    }
}
