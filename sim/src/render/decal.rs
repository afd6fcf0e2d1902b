//! How textures lie on geoms.
//!
//! Each builtin shape of MuJoCo has texture coordinates of its own; a material says how often the image repeats, over the whole
//! shape or, if it is uniform, per metre of its half sizes.

use mujoco_rs::wrappers::mj_visualization::MjvGeom;

use super::frame::Frame;
use super::lanes::{F, F3, three, vectorised};
use super::paint::Chunk;
use super::shape::Shape;
use super::texture::{Cube, Image, Texture, Textures};
use super::view::{Local, Vec3, View};

/// A texture on a geom.
pub(super) enum Decal<'a> {
    /// A flat image, wrapped.
    Flat {
        texture: &'a Texture,
        wrap: Wrap,
        /// Images per unit of the wrap's coordinates.
        repeat: [f32; 2],
    },
    /// A cube around the middle of the geom. Coordinates are multiplied by `scale`; the length of a capsule beyond `straight`
    /// counts as part of the balls at its ends.
    Cube {
        cube: &'a Cube,
        scale: Vec3,
        ends: Option<Ends>,
    },
}

/// How the ends of a capsule meet a cube texture.
pub(super) struct Ends {
    /// Half length of the straight part, m.
    straight: f32,
    radius: f32,
}

/// From points on a shape to texture coordinates.
pub(super) enum Wrap {
    /// `u = x scale + shift`, likewise `v` from `y`, before repetition.
    Sheet { scale: [f32; 2], shift: [f32; 2] },
    /// The whole image on each face of a box with these half sizes.
    Faces(Vec3),
    /// Longitude and latitude on an ellipsoid with these semi-axes.
    Globe(Vec3),
    /// Angle and height on the side of a cylinder of this radius and half length, the whole image on its caps.
    Can(f32, f32),
    /// Angle and height on each of the three parts of a capsule of this radius and half length.
    Pill(f32, f32),
    /// The texture coordinates of a mesh, which has so many per metre.
    Given { per_metre: f32 },
}

impl<'a> Decal<'a> {
    /// The texture of a geom, if it has one.
    pub(super) fn of(
        geom: &MjvGeom,
        shape: &Shape<'_>,
        textures: &'a Textures,
    ) -> Option<Decal<'a>> {
        if geom.matid < 0 {
            return None;
        }
        let image = textures.get(geom.texid)?;
        let uniform = geom.texuniform != 0;
        match image {
            Image::Flat(texture) => {
                let repeat = std::array::from_fn(|i| {
                    let size = geom.size[i];
                    geom.texrepeat[i] * if uniform && size > 0.0 { size } else { 1.0 }
                });
                let wrap = match shape {
                    Shape::Plane(_) => {
                        // The image starts in a corner of the plane; on one without end it is two metres long and
                        // starts half an image from the origin.
                        let end = |i: usize| geom.size[i] > 0.0;
                        let scale: [f32; 2] =
                            std::array::from_fn(|i| if end(i) { 0.5 / geom.size[i] } else { 0.5 });
                        let shift =
                            std::array::from_fn(|i| if end(i) { 0.5 } else { -0.5 / repeat[i] });
                        Wrap::Sheet {
                            scale: [scale[0], -scale[1]],
                            shift,
                        }
                    }
                    Shape::Cuboid(shape) => Wrap::Faces(shape.0),
                    Shape::Ellipsoid(shape) => Wrap::Globe(shape.0),
                    Shape::Cylinder(shape) => Wrap::Can(shape.0, shape.1),
                    Shape::Capsule(shape) => Wrap::Pill(shape.0, shape.1),
                    Shape::Mesh(mesh) if !mesh.uvs.is_empty() => Wrap::Given {
                        per_metre: mesh.uv_density,
                    },
                    Shape::Mesh(_) => {
                        let half = |i: usize| 0.5 / geom.size[i].max(1e-15);
                        Wrap::Sheet {
                            scale: [half(0), -half(1)],
                            shift: repeat.map(|r: f32| -0.5 / r),
                        }
                    }
                };
                Some(Decal::Flat {
                    texture,
                    wrap,
                    repeat,
                })
            }
            // As in MuJoCo's renderer, which has no use for texture coordinates here.
            Image::Cube(_) if matches!(shape, Shape::Mesh(mesh) if !mesh.uvs.is_empty()) => None,
            Image::Cube(cube) => {
                // MuJoCo's builtin shapes have size one before they are scaled; planes and meshes are as large as they are.
                let built_in = !matches!(shape, Shape::Plane(_) | Shape::Mesh(_));
                let scale = three!(|i| match (built_in, uniform) {
                    (true, true) | (false, false) => 1.0,
                    (true, false) => 1.0 / geom.size[i].max(1e-15),
                    (false, true) => geom.size[i],
                });
                let ends = match shape {
                    Shape::Capsule(shape) => Some(Ends {
                        straight: shape.1,
                        radius: shape.0,
                    }),
                    _ => None,
                };
                Some(Decal::Cube { cube, scale, ends })
            }
        }
    }
}

/// Angle of `(x, y)` from the x axis as a fraction of a turn, 0 to 1, within 2e-5.
#[inline(always)]
fn turn(x: F, y: F) -> F {
    quarter(x.abs(), y.abs(), x, y)
}

#[inline(always)]
fn quarter(ax: F, ay: F, x: F, y: F) -> F {
    let zero = F::splat(0.0);
    let steep = ax.lt(ay);
    let ratio = ax.min(ay) / ax.max(ay).max(F::splat(1e-20));
    // Arcus tangent on 0..1 (minimax polynomial), over 2 pi.
    let s = ratio * ratio;
    let polynomial =
        ((s * -0.046_496_475 + F::splat(0.159_314_22)) * s - F::splat(0.327_622_76)) * s;
    let angle = (polynomial * ratio + ratio) * (0.5 / std::f32::consts::PI);
    let angle = steep.select(F::splat(0.25) - angle, angle);
    let angle = x.lt(zero).select(F::splat(0.5) - angle, angle);
    y.lt(zero).select(F::splat(1.0) - angle, angle)
}

/// Latitude of a point on the unit sphere, -0.25 to 0.25 of a turn.
#[inline(always)]
fn latitude([x, y, z]: F3) -> F {
    let level = (x * x + y * y).sqrt();
    let up = quarter(level, z.abs(), level, z.abs());
    z.lt(F::splat(0.0)).select(-up, up)
}

impl Wrap {
    /// Texture coordinates of the points `p` with unit normals `n`, and how far they change per metre.
    #[inline(always)]
    fn coordinates(&self, p: F3, n: F3, given: [F; 2]) -> ([F; 2], f32) {
        let half = F::splat(0.5);
        let one = F::splat(1.0);
        let zero = F::splat(0.0);
        match *self {
            Wrap::Sheet { scale, shift } => (
                [
                    p[0] * scale[0] + F::splat(shift[0]),
                    p[1] * scale[1] + F::splat(shift[1]),
                ],
                scale[0].abs().max(scale[1].abs()),
            ),
            Wrap::Faces(size) => {
                let unit = three!(|i| p[i] * (0.5 / size[i]));
                let on_x = half.lt(n[0].abs());
                let on_z = half.lt(n[2].abs());
                let u = on_x.select(unit[1], unit[0]) + half;
                let v = half - on_z.select(unit[1], unit[2]);
                let smallest = size[0].min(size[1]).min(size[2]);
                ([u, v], 0.5 / smallest)
            }
            Wrap::Globe(size) => {
                let unit = three!(|i| p[i] * (1.0 / size[i]));
                let v = half - latitude(unit) * 2.0;
                let smallest = size[0].min(size[1]).min(size[2]);
                ([turn(unit[0], unit[1]), v], 0.32 / smallest)
            }
            Wrap::Can(radius, length) => {
                let on_cap = half.lt(n[2].abs());
                let disc = [p[0] * (0.5 / radius) + half, p[1] * (0.5 / radius) + half];
                let side = [turn(p[0], p[1]), half - p[2] * (0.5 / length)];
                (
                    [
                        on_cap.select(disc[0], side[0]),
                        on_cap.select(disc[1], side[1]),
                    ],
                    (0.16 / radius).max(0.5 / length),
                )
            }
            Wrap::Pill(radius, length) => {
                let beyond = (p[2].abs() - F::splat(length)) * (1.0 / radius);
                let up = latitude([p[0] * (1.0 / radius), p[1] * (1.0 / radius), beyond]) * 4.0;
                let cap = p[2].lt(zero).select(up, one - up);
                let side = half - p[2] * (0.5 / length.max(1e-12));
                let v = zero.lt(beyond).select(cap, side);
                (
                    [turn(p[0], p[1]), v],
                    (0.64 / radius).max(0.5 / length.max(1e-12)),
                )
            }
            Wrap::Given { per_metre } => (given, per_metre),
        }
    }
}

vectorised! {
    /// Multiplies the colours of a chunk with those of the texture.
    pub(super) fn tint(decal: &Decal<'_>, place: (&View, &Local), frame: &Frame, chunk: &Chunk, rgb: &mut F3) {
        let Chunk { index, p, n, .. } = *chunk;
        let footprint = place.0.samples * footprint(place.1, chunk);
        let texel = match decal {
            Decal::Flat { texture, wrap, repeat } => {
                let given = if let Wrap::Given { .. } = wrap {
                    [F::load(&frame.uv[0][index..]), F::load(&frame.uv[1][index..])]
                } else {
                    [F::zero(); 2]
                };
                let ([u, v], per_metre) = wrap.coordinates(p, n, given);
                let part = footprint * per_metre * repeat[0].abs().max(repeat[1].abs());
                texture.sample(u * repeat[0], v * repeat[1], part)
            }
            Decal::Cube { cube, scale, ends } => {
                let mut q = three!(|i| p[i] * scale[i]);
                if let Some(Ends { straight, radius }) = *ends {
                    let beyond = (p[2].abs() - F::splat(straight)).max(F::zero());
                    // On the ball the height counts in radii, on the straight part in half lengths.
                    let extra = beyond * (straight / radius - 1.0);
                    q[2] = (p[2] + p[2].sign_of(F::splat(1.0)) * extra) * scale[2];
                }
                let lane = chunk.visible.first_lane();
                let reach = three!(|i| q[i].array()[lane].abs());
                let reach = reach[0].max(reach[1]).max(reach[2]).max(1e-20);
                let widest = scale[0].max(scale[1]).max(scale[2]);
                cube.sample(q, footprint * widest / reach)
            }
        };
        *rgb = three!(|i| rgb[i] * texel[i]);
    }
}

/// Largest extent on the surface of the sample of the first visible lane, m.
#[inline(always)]
fn footprint(local: &Local, chunk: &Chunk) -> f32 {
    let lane = chunk.visible.first_lane();
    let t = chunk.t.array()[lane];
    let n = three!(|i| chunk.n[i].array()[lane]);
    // p = eye + t d with n . p fixed, differentiated along one raster axis with d' = step.
    let d = three!(|i| (chunk.p[i].array()[lane] - local.eye[i]) / t);
    let across = super::view::dot(d, n);
    let stretch = |step: Vec3| {
        let k = super::view::dot(step, n) / across;
        let along = three!(|i| step[i] - d[i] * k);
        super::view::dot(along, along)
    };
    t * stretch(local.ray_x).max(stretch(local.ray_y)).sqrt()
}
