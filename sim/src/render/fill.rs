//! Filling triangles: depth, and whose sample it is. Light comes after, once for each sample that stays visible.

use super::frame::Frame;
use super::lanes::{F, LANES, Mask, Words};
use super::mesh::{Mesh, Projected, Triangle, Vertex, cut};
use super::view::{Local, Vec3, View};

/// What filling writes besides depth.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fill {
    /// Nothing.
    Depth,
    /// The number in the object buffer.
    Object(u32),
    /// That, the normal, and the texture coordinates if the mesh has any.
    Surface(u32),
}

/// One corner of a triangle on the raster.
#[derive(Clone, Copy)]
struct Corner<'a> {
    raster: [f32; 2],
    /// One over the depth.
    inverse: f32,
    normal: &'a Vec3,
    uv: &'a [f32; 2],
}

const NO_UV: [f32; 2] = [0.0; 2];

/// Fills the front faces of a mesh. `projected` is scratch space.
#[inline(always)]
pub(super) fn mesh(
    frame: &mut Frame,
    mesh: &Mesh,
    view: &View,
    local: &Local,
    what: Fill,
    projected: &mut Vec<Projected>,
) {
    mesh.project(view, local, projected);
    let textured = !mesh.uvs.is_empty();
    for triangle in &mesh.triangles {
        let points = triangle.positions.map(|i| projected[i as usize]);
        let [a, b, c] = points;
        let in_front = a.depth >= view.near && b.depth >= view.near && c.depth >= view.near;
        if !in_front || view.mirror.is_some() {
            if points.iter().any(|p| p.depth >= view.near) {
                cut_and_fill(frame, mesh, triangle, view, local, what);
            }
            continue;
        }
        let area = twice_area([a.raster, b.raster, c.raster]);
        if area >= 0.0 {
            continue;
        }
        let corner = |i: usize| Corner {
            raster: points[i].raster,
            inverse: points[i].inverse,
            normal: &mesh.normals[triangle.normals[i] as usize],
            uv: if textured {
                &mesh.uvs[triangle.uvs[i] as usize]
            } else {
                &NO_UV
            },
        };
        fill(frame, [corner(0), corner(1), corner(2)], area, what);
    }
}

/// A triangle across the near plane, or in a mirror.
#[inline(never)]
fn cut_and_fill(
    frame: &mut Frame,
    mesh: &Mesh,
    triangle: &Triangle,
    view: &View,
    local: &Local,
    what: Fill,
) {
    let (rows, offset) = local.view_from_local(view);
    let mirror = view.mirror.as_ref().map(|mirror| local.mirror(mirror));
    let mut corners: [Vertex; 3] = std::array::from_fn(|i| {
        let p = mesh.position(triangle.positions[i]);
        Vertex {
            position: std::array::from_fn(|row| super::view::dot(rows[row], p) + offset[row]),
            above: mirror.map_or(0.0, |(normal, offset)| super::view::dot(normal, p) + offset),
            normal: mesh.normals[triangle.normals[i] as usize],
            uv: mesh
                .uvs
                .get(triangle.uvs[i] as usize)
                .copied()
                .unwrap_or_default(),
        }
    });
    if mirror.is_some() {
        corners.swap(1, 2);
    }
    for part in cut(corners, |v| v.position[2] - view.near)
        .into_iter()
        .flatten()
    {
        for part in cut(part, |v| v.above).into_iter().flatten() {
            let corner = |i: usize| Corner {
                raster: view.raster(part[i].position),
                inverse: 1.0 / part[i].position[2],
                normal: &part[i].normal,
                uv: &part[i].uv,
            };
            let corners = [corner(0), corner(1), corner(2)];
            let area = twice_area(corners.map(|c| c.raster));
            if area < 0.0 {
                fill(frame, corners, area, what);
            }
        }
    }
}

/// Twice the area of a triangle. The raster's y axis points down, so front faces have a negative one.
#[inline(always)]
fn twice_area([a, b, c]: [[f32; 2]; 3]) -> f32 {
    (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
}

/// The first and one past the last of `count` sample lines, which lie at half numbers, from the least to the largest of `x`.
#[inline(always)]
fn lines(x: [f32; 3], count: usize) -> (usize, usize) {
    let min = |a: f32, b: f32| if a < b { a } else { b };
    let max = |a: f32, b: f32| if a > b { a } else { b };
    let end = count as f32;
    let first = min(max(min(min(x[0], x[1]), x[2]) - 0.5, -0.5), end);
    let last = min(max(max(max(x[0], x[1]), x[2]) - 0.5, -1.0), end - 1.0);
    // SAFETY: the comparisons above, which also replace NaN, leave numbers from -1 to `count`, at most 2^15.
    let cut = |x: f32| unsafe { x.to_int_unchecked::<i32>() };
    let (first_cut, last_cut) = (cut(first), cut(last));
    let first = first_cut + i32::from(first_cut as f32 != first && first > 0.0);
    let last = last_cut - i32::from(last_cut as f32 != last && last < 0.0);
    (first as usize, (last + 1) as usize)
}

/// Fills a triangle that lies in front of the near plane.
#[inline(always)]
fn fill(frame: &mut Frame, corners: [Corner<'_>; 3], area: f32, what: Fill) {
    let [a, b, c] = corners.map(|corner| corner.raster);
    // Most triangles of a fine mesh lie between samples: they end here.
    let (y_first, y_end) = lines([a[1], b[1], c[1]], frame.height);
    if y_first >= y_end {
        return;
    }
    let (x_first, x_end) = lines([a[0], b[0], c[0]], frame.width);
    if x_first >= x_end || !area.is_finite() {
        return;
    }

    // Edge functions, positive inside. Coefficients of a shared edge are exact opposites in its two triangles: no gaps.
    let edge = |p: [f32; 2], q: [f32; 2]| [q[1] - p[1], p[0] - q[0], q[0] * p[1] - p[0] * q[1]];
    let edges = [edge(a, b), edge(b, c), edge(c, a)];
    // Inverse depth, and anything on the triangle times inverse depth, are linear on the raster.
    let scale = 1.0 / area;
    let linear = |value: [f32; 3]| {
        let (u, v) = (value[1] - value[0], value[2] - value[0]);
        let dx = (u * (c[1] - a[1]) - v * (b[1] - a[1])) * scale;
        let dy = (v * (b[0] - a[0]) - u * (c[0] - a[0])) * scale;
        [dx, dy, value[0]]
    };
    let inverse = corners.map(|corner| corner.inverse);
    let depth = linear(inverse);
    // Slopes of normal and texture coordinates, once a sample is found to be visible.
    let mut slopes: Option<[[f32; 3]; 5]> = None;
    let textured = !frame.uv[0].is_empty();

    // Measured from a corner, so that the steep slopes of slivers do not magnify rounding.
    let at = |f: [f32; 3], x: F, y: f32| (x - a[0]) * f[0] + (f[1] * (y - a[1]) + f[2]);
    let side = |e: [f32; 3], x: F, y: f32| x * e[0] + (e[1] * y + e[2]);
    for row in y_first..y_end {
        let y = row as f32 + 0.5;
        let (mut from, mut to) = (x_first, x_end);
        if x_end - x_first > LANES {
            // Where the edges cut this row; the exact test follows per sample.
            let (mut left, mut right) = (x_first as f32, x_end as f32);
            for [dx, dy, constant] in edges {
                let cut = -(dy * y + constant) / dx;
                if dx > 0.0 {
                    left = left.max(cut - 1.0);
                } else if dx < 0.0 {
                    right = right.min(cut + 1.0);
                }
            }
            (from, to) = (left as usize, (right.max(0.0) as usize).min(x_end));
        }
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
                    match what {
                        Fill::Depth => {}
                        Fill::Object(object) => {
                            visible.store_words(Words::splat(object), &mut frame.object[index..]);
                        }
                        Fill::Surface(object) => {
                            visible.store_words(Words::splat(object), &mut frame.object[index..]);
                            let slopes = *slopes.get_or_insert_with(|| {
                                let times = |f: [f32; 3]| {
                                    linear([
                                        f[0] * inverse[0],
                                        f[1] * inverse[1],
                                        f[2] * inverse[2],
                                    ])
                                };
                                let normal = |i: usize| times(corners.map(|c| c.normal[i]));
                                let uv = |i: usize| times(corners.map(|c| c.uv[i]));
                                [normal(0), normal(1), normal(2), uv(0), uv(1)]
                            });
                            for (buffer, slope) in frame.normal.iter_mut().zip(slopes) {
                                let old = F::load(&buffer[index..]);
                                visible
                                    .select(at(slope, x, y), old)
                                    .store(&mut buffer[index..]);
                            }
                            if textured {
                                for (buffer, slope) in frame.uv.iter_mut().zip(&slopes[3..]) {
                                    let old = F::load(&buffer[index..]);
                                    visible
                                        .select(at(*slope, x, y) * t, old)
                                        .store(&mut buffer[index..]);
                                }
                            }
                        }
                    }
                }
            }
            column += LANES;
        }
    }
}
