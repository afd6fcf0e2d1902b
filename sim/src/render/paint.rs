//! Painting one geom: rays or triangles, depth test, light, store.

use super::footprint::Footprint;
use super::frame::Frame;
use super::lanes::{F, F3, LANES, Mask, three, unit, vectorised};
use super::lighting::{Lighting, Material};
use super::mesh::{self, Fill, Mesh, Vertex};
use super::surface::Surface;
use super::texture::{Sky, Texture};
use super::view::{Local, View};

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
    pub(super) lighting: Lighting<'a>,
    pub(super) material: Material,
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

/// Lights chunks and puts them into the frame.
fn light(frame: &mut Frame, subject: &Subject<'_>, chunks: &[Chunk]) {
    if subject.lighting.has_shadows() {
        light_with_shadows(frame, subject, chunks);
    } else {
        light_without_shadows(frame, subject, chunks);
    }
}

vectorised! {
    fn light_with_shadows(frame: &mut Frame, subject: &Subject<'_>, chunks: &[Chunk]) {
        light_chunks::<true>(frame, subject, chunks);
    }
}

vectorised! {
    fn light_without_shadows(frame: &mut Frame, subject: &Subject<'_>, chunks: &[Chunk]) {
        light_chunks::<false>(frame, subject, chunks);
    }
}

#[inline(always)]
fn light_chunks<const SHADOWS: bool>(frame: &mut Frame, subject: &Subject<'_>, chunks: &[Chunk]) {
    for &Chunk {
        index,
        visible,
        t,
        p,
        n,
    } in chunks
    {
        let mut rgb = subject.lighting.shade::<SHADOWS>(&subject.material, p, n);
        if let Some(decal) = &subject.decal {
            let footprint = sample_on_plane(subject.local, p, t, visible);
            let texel = decal.sample(p[0], p[1], footprint);
            rgb = three!(|i| rgb[i] * texel[i]);
        }
        subject.paint.store(frame, index, visible, t, rgb);
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

vectorised! {
    /// Writes the depth of a surface.
    pub(super) fn cast_depth[S: Surface](frame: &mut Frame, footprint: &Footprint, surface: &S, view: &View, local: &Local) {
        for (row, &[start, end]) in (footprint.first_row..).zip(&footprint.spans) {
            let y = row as f32 + 0.5;
            let row_ray = three!(|i| local.ray[i] + y * local.ray_y[i]);
            for column in (start..end).step_by(LANES) {
                let x = F::ramp() + F::splat(column as f32 + 0.5);
                let ray = three!(|i| x * local.ray_x[i] + F::splat(row_ray[i]));
                let hit = surface.hit(local.eye, ray, view.near);
                let index = row * frame.stride + column;
                let old = F::load(&frame.depth[index..]);
                let nearer = hit.mask & hit.t.lt(old) & Mask::first(end - column);
                nearer.select(hit.t, old).store(&mut frame.depth[index..]);
            }
        }
    }
}

vectorised! {
    /// Fills the front faces of a mesh. `vertices` is scratch space.
    pub(super) fn fill(frame: &mut Frame, mesh: &Mesh, view: &View, local: &Local, what: Fill, vertices: &mut Vec<Vertex>) {
        let (rows, offset) = local.view_from_local(view);
        vertices.clear();
        vertices.extend(mesh.positions.iter().zip(&mesh.normals).map(|(&p, &normal)| {
            let position = three!(|i| super::view::dot(rows[i], p) + offset[i]);
            Vertex { position, normal }
        }));
        for &[a, b, c] in &mesh.triangles {
            let corners = [a, b, c].map(|i| vertices[i as usize]);
            mesh::clip(corners, view.near, |part| mesh::fill(frame, view, part, what));
        }
    }
}

vectorised! {
    /// Lights the samples of `footprint` that [`fill`] gave to the subject.
    pub(super) fn light_filled(frame: &mut Frame, footprint: &Footprint, subject: &Subject<'_>) {
        let local = subject.local;
        let mut batch = [Chunk::NONE; BATCH];
        let mut found = 0;
        for (row, &[start, end]) in (footprint.first_row..).zip(&footprint.spans) {
            let y = row as f32 + 0.5;
            let row_ray = three!(|i| local.ray[i] + y * local.ray_y[i]);
            for column in (start..end).step_by(LANES) {
                let index = row * frame.stride + column;
                let mine = Mask::words_equal(&frame.object[index..], subject.paint.object);
                let visible = mine & Mask::first(end - column);
                if visible.any() {
                    let x = F::ramp() + F::splat(column as f32 + 0.5);
                    let t = F::load(&frame.depth[index..]);
                    let p = three!(|i| (x * local.ray_x[i] + F::splat(row_ray[i])) * t + F::splat(local.eye[i]));
                    let n = unit(three!(|i| F::load(&frame.normal[i][index..])));
                    batch[found] = Chunk { index, visible, t, p, n };
                    found += 1;
                    if found == BATCH {
                        light(frame, subject, &batch);
                        found = 0;
                    }
                }
            }
        }
        light(frame, subject, &batch[..found]);
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
