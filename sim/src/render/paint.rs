//! Painting one geom: rays or triangles, depth test, light, store.

use super::decal::{self, Decal};
use super::fill::{self, Fill};
use super::footprint::Footprint;
use super::frame::Frame;
use super::lanes::{F, F3, LANES, Mask, Words, dot1, three, unit, vectorised};
use super::lighting::{Lighting, Material};
use super::mesh::{Mesh, Projected};
use super::surface::Surface;
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
pub(super) fn pack(rgb: F3) -> Words {
    let bytes = three!(|c| {
        let scaled = rgb[c].max(F::splat(0.0)).min(F::splat(1.0)) * 255.0 + F::splat(0.5);
        scaled.cut()
    });
    bytes[0] | bytes[1].left::<8>() | bytes[2].left::<16>()
}

/// Channels from 0 to 1 of eight such words.
#[inline(always)]
pub(super) fn unpack(words: &[u32]) -> F3 {
    let words = Words::load(words);
    let bytes = [words, words.right::<8>(), words.right::<16>()];
    three!(|c| bytes[c].low_byte().to_numbers() * (1.0 / 255.0))
}

impl Paint {
    /// Puts eight samples at `index` into the frame where `mask` is true.
    #[inline(always)]
    pub(super) fn store(&self, frame: &mut Frame, index: usize, mask: Mask, t: F, rgb: F3) {
        if self.alpha >= 1.0 {
            let old = F::load(&frame.depth[index..]);
            mask.select(t, old).store(&mut frame.depth[index..]);
            mask.store_words(pack(rgb), &mut frame.colour[index..]);
            mask.store_words(Words::splat(self.object), &mut frame.object[index..]);
        } else {
            let old = unpack(&frame.colour[index..index + LANES]);
            let mixed = three!(|i| old[i] + (rgb[i] - old[i]) * self.alpha);
            mask.store_words(pack(mixed), &mut frame.colour[index..]);
        }
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
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    /// First sample in the frame.
    pub(super) index: usize,
    pub(super) visible: Mask,
    pub(super) t: F,
    /// In the geom's coordinates.
    pub(super) p: F3,
    /// Unit normals.
    pub(super) n: F3,
}

/// Chunks that are found before they are lit: enough to spread the cost of the call, few enough to stay in the nearest cache.
const BATCH: usize = 32;

/// Room for chunks that wait for light.
#[derive(Debug)]
pub(super) struct Batch(Box<[Chunk; BATCH]>);

impl Default for Batch {
    fn default() -> Batch {
        Batch(Box::new([Chunk::none(); BATCH]))
    }
}

vectorised! {
    /// Paints a surface by casting a ray through every sample of `footprint`.
    pub(super) fn cast[S: Surface](frame: &mut Frame, footprint: &Footprint, surface: &S, subject: &Subject<'_>, batch: &mut Batch) {
        let Subject { view, local, .. } = *subject;
        let batch = &mut *batch.0;
        let mirror = view.mirror.as_ref().map(|mirror| local.mirror(mirror));
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
                let mut visible = hit.mask & t.lt(old) & t.le(F::splat(view.far)) & Mask::first(end - column);
                if visible.any() {
                    let p = three!(|i| ray[i] * t + F::splat(local.eye[i]));
                    if let Some((normal, offset)) = mirror {
                        visible = visible & F::splat(-offset).lt(dot1(p, normal));
                        if !visible.any() {
                            column += LANES;
                            continue;
                        }
                    }
                    let n = surface.normal(p, hit.part);
                    batch[found] = Chunk { index, visible, t, p, n };
                    found += 1;
                    if found == BATCH {
                        light(frame, subject, batch);
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
    /// No sample at all.
    fn none() -> Chunk {
        Chunk {
            index: 0,
            visible: Mask::none(),
            t: F::zero(),
            p: [F::zero(); 3],
            n: [F::zero(); 3],
        }
    }
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
    for chunk in chunks {
        let Chunk {
            index,
            visible,
            t,
            p,
            n,
        } = *chunk;
        let mut rgb = subject.lighting.shade::<SHADOWS>(&subject.material, p, n);
        if let Some(decal) = &subject.decal {
            let place = (subject.view, subject.local);
            decal::tint(decal, place, frame, chunk, &mut rgb);
        }
        subject.paint.store(frame, index, visible, t, rgb);
    }
}

vectorised! {
    /// Writes the depth of a surface and, if `what` says so, whose it is.
    pub(super) fn cast_depth[S: Surface](frame: &mut Frame, footprint: &Footprint, surface: &S, place: (&View, &Local), what: Fill) {
        let (view, local) = place;
        for (row, &[start, end]) in (footprint.first_row..).zip(&footprint.spans) {
            let y = row as f32 + 0.5;
            let row_ray = three!(|i| local.ray[i] + y * local.ray_y[i]);
            for column in (start..end).step_by(LANES) {
                let x = F::ramp() + F::splat(column as f32 + 0.5);
                let ray = three!(|i| x * local.ray_x[i] + F::splat(row_ray[i]));
                let hit = surface.hit(local.eye, ray, view.near);
                let index = row * frame.stride + column;
                let old = F::load(&frame.depth[index..]);
                let nearer = hit.mask & hit.t.lt(old) & hit.t.le(F::splat(view.far)) & Mask::first(end - column);
                nearer.select(hit.t, old).store(&mut frame.depth[index..]);
                if let Fill::Object(object) | Fill::Surface(object) = what {
                    nearer.store_words(Words::splat(object), &mut frame.object[index..]);
                }
            }
        }
    }
}

vectorised! {
    /// Fills the front faces of a mesh. `vertices` is scratch space.
    pub(super) fn fill(frame: &mut Frame, mesh: &Mesh, place: (&View, &Local), what: Fill, vertices: &mut Vec<Projected>) {
        fill::mesh(frame, mesh, place.0, place.1, what, vertices);
    }
}

vectorised! {
    /// Lights the samples of `footprint` that [`fill`] gave to the subject.
    pub(super) fn light_filled(frame: &mut Frame, footprint: &Footprint, subject: &Subject<'_>, batch: &mut Batch) {
        let local = subject.local;
        let batch = &mut *batch.0;
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
                        light(frame, subject, batch);
                        found = 0;
                    }
                }
            }
        }
        light(frame, subject, &batch[..found]);
    }
}
