//! Ray kernels: where eight neighbouring rays meet a primitive, in the primitive's own coordinates.
//!
//! Curved primitives are cast, not triangulated: at camera-image sizes one exact intersection per sample costs less
//! than setting up the triangles that would approximate it, outlines are exact, and clipping at the near plane is a comparison.

use super::lanes::{F, F3, LANES, Mask, dot, three, unit};
use super::view::Vec3;

/// Where the rays enter a surface.
pub(super) struct Hit {
    /// Lanes whose ray enters the surface at or beyond the near plane.
    pub(super) mask: Mask,
    /// Ray parameter, which is the depth.
    pub(super) t: F,
    /// Which part was met; its meaning belongs to the surface.
    pub(super) part: F,
}

/// A convex surface around the origin of its own coordinates. Rays that start inside do not meet it (back faces are culled).
pub(super) trait Surface {
    /// Half sizes of the box that holds the surface.
    fn half_size(&self) -> Vec3;

    /// Where rays from `eye` in `direction` enter the surface, at `near` or farther.
    fn hit(&self, eye: Vec3, direction: F3, near: f32) -> Hit;

    /// Unit normal at the entry point `p`.
    fn normal(&self, p: F3, part: F) -> F3;
}

/// Semi-axes of an ellipsoid; a sphere has three equal ones.
pub(super) struct Ellipsoid(pub(super) Vec3);

/// Radius and half length of a cylinder along z.
pub(super) struct Cylinder(pub(super) f32, pub(super) f32);

/// Radius and half length of the straight part of a capsule along z.
pub(super) struct Capsule(pub(super) f32, pub(super) f32);

/// Half sizes of a box.
pub(super) struct Cuboid(pub(super) Vec3);

/// A rectangle in z = 0 facing +z.
pub(super) struct Plane {
    /// Half sizes; zero means without end.
    pub(super) half: [f32; 2],
    /// Which sides are seen.
    pub(super) sides: Sides,
}

/// Sides of a plane.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Sides {
    Front,
    Both,
}

/// Entry into the unit sphere around `centre - eye`, from the point of closest approach, which keeps its
/// precision when the sphere is small and far away (Haines et al., "Precision Improvements for Ray/Sphere Intersection", 2019).
#[inline(always)]
fn enter_unit_sphere(o: F3, d: F3) -> (Mask, F) {
    let dd = dot(d, d);
    let closest = -dot(o, d) / dd;
    let q = [
        o[0] + closest * d[0],
        o[1] + closest * d[1],
        o[2] + closest * d[2],
    ];
    let h2 = (F::splat(1.0) - dot(q, q)) / dd;
    (F::splat(0.0).lt(h2), closest - h2.max(F::splat(0.0)).sqrt())
}

/// Entry into the endless cylinder of radius `r` along z.
#[inline(always)]
fn enter_tube(eye: Vec3, d: F3, r: f32) -> (Mask, F) {
    let dd = (d[0] * d[0] + d[1] * d[1]).max(F::splat(1e-12));
    let closest = -(d[0] * eye[0] + d[1] * eye[1]) / dd;
    let (qx, qy) = (closest * d[0] + eye[0], closest * d[1] + eye[1]);
    let h2 = (F::splat(r * r) - (qx * qx + qy * qy)) / dd;
    (F::splat(0.0).lt(h2), closest - h2.max(F::splat(0.0)).sqrt())
}

impl Surface for Ellipsoid {
    fn half_size(&self) -> Vec3 {
        self.0
    }

    #[inline(always)]
    fn hit(&self, eye: Vec3, d: F3, near: f32) -> Hit {
        let inverse = self.0.map(|r| 1.0 / r);
        let o = three!(|i| F::splat(eye[i] * inverse[i]));
        let d = [d[0] * inverse[0], d[1] * inverse[1], d[2] * inverse[2]];
        let (mask, t) = enter_unit_sphere(o, d);
        Hit {
            mask: mask & F::splat(near).le(t),
            t,
            part: F::splat(0.0),
        }
    }

    #[inline(always)]
    fn normal(&self, p: F3, _part: F) -> F3 {
        let k = self.0.map(|r| 1.0 / (r * r));
        unit([p[0] * k[0], p[1] * k[1], p[2] * k[2]])
    }
}

impl Surface for Cylinder {
    fn half_size(&self) -> Vec3 {
        [self.0, self.0, self.1]
    }

    /// Part 1 is a cap, part 0 the side.
    #[inline(always)]
    fn hit(&self, eye: Vec3, d: F3, near: f32) -> Hit {
        let Cylinder(r, h) = *self;
        let (inside, side) = enter_tube(eye, d, r);
        let z = side * d[2] + eye[2];
        let side_hit = inside & z.abs().le(F::splat(h)) & F::splat(near).le(side);
        // At most one cap faces the eye, and only when the eye is beyond it.
        let cap = (F::splat(h.copysign(eye[2])) - F::splat(eye[2])) / d[2];
        let (x, y) = (cap * d[0] + eye[0], cap * d[1] + eye[1]);
        let beyond = Mask::first(if eye[2].abs() > h { LANES } else { 0 });
        let cap_hit = beyond & (x * x + y * y).le(F::splat(r * r)) & F::splat(near).le(cap);
        Hit {
            mask: side_hit | cap_hit,
            t: cap_hit.select(cap, side),
            part: cap_hit.select(F::splat(1.0), F::splat(0.0)),
        }
    }

    #[inline(always)]
    fn normal(&self, p: F3, part: F) -> F3 {
        let side = F::splat(1.0) - part;
        let inverse = 1.0 / self.0;
        [
            p[0] * inverse * side,
            p[1] * inverse * side,
            p[2].sign_of(part),
        ]
    }
}

impl Surface for Capsule {
    fn half_size(&self) -> Vec3 {
        [self.0, self.0, self.0 + self.1]
    }

    #[inline(always)]
    fn hit(&self, eye: Vec3, d: F3, near: f32) -> Hit {
        let Capsule(r, h) = *self;
        let (inside, side) = enter_tube(eye, d, r);
        let z = side * d[2] + eye[2];
        let on_side = z.abs().le(F::splat(h));
        // A ray that enters the tube beyond the straight part can only meet the ball at that end.
        let inverse = 1.0 / r;
        let centre = z.sign_of(F::splat(h));
        let o = [
            F::splat(eye[0] * inverse),
            F::splat(eye[1] * inverse),
            (F::splat(eye[2]) - centre) * inverse,
        ];
        let (ball, end) = enter_unit_sphere(o, [d[0] * inverse, d[1] * inverse, d[2] * inverse]);
        let t = on_side.select(side, end);
        Hit {
            mask: inside & (on_side | ball) & F::splat(near).le(t),
            t,
            part: F::splat(0.0),
        }
    }

    #[inline(always)]
    fn normal(&self, p: F3, _part: F) -> F3 {
        let Capsule(r, h) = *self;
        let z = p[2] - p[2].max(F::splat(-h)).min(F::splat(h));
        let inverse = 1.0 / r;
        [p[0] * inverse, p[1] * inverse, z * inverse]
    }
}

impl Surface for Cuboid {
    fn half_size(&self) -> Vec3 {
        self.0
    }

    /// The part is the axis of the face.
    #[inline(always)]
    fn hit(&self, eye: Vec3, d: F3, near: f32) -> Hit {
        let mut enter = F::splat(f32::NEG_INFINITY);
        let mut leave = F::splat(f32::INFINITY);
        let mut part = F::splat(0.0);
        for i in 0..3 {
            let inverse = F::splat(1.0) / d[i];
            let (a, b) = (
                inverse * (-self.0[i] - eye[i]),
                inverse * (self.0[i] - eye[i]),
            );
            let first = a.min(b);
            part = enter.lt(first).select(F::splat(i as f32), part);
            enter = first.max(enter);
            leave = a.max(b).min(leave);
        }
        Hit {
            mask: enter.lt(leave) & F::splat(near).le(enter),
            t: enter,
            part,
        }
    }

    #[inline(always)]
    fn normal(&self, p: F3, part: F) -> F3 {
        three!(|i| {
            part.eq(F::splat(i as f32))
                .select(p[i].sign_of(F::splat(1.0)), F::splat(0.0))
        })
    }
}

impl Surface for Plane {
    fn half_size(&self) -> Vec3 {
        let end = |x: f32| if x > 0.0 { x } else { f32::INFINITY };
        [end(self.half[0]), end(self.half[1]), 0.0]
    }

    #[inline(always)]
    fn hit(&self, eye: Vec3, d: F3, near: f32) -> Hit {
        let half = self.half_size();
        let t = F::splat(-eye[2]) / d[2];
        let (x, y) = (t * d[0] + eye[0], t * d[1] + eye[1]);
        let seen = eye[2] > 0.0 || self.sides == Sides::Both;
        let above = Mask::first(if seen { LANES } else { 0 });
        Hit {
            mask: above
                & F::splat(near).le(t)
                & x.abs().le(F::splat(half[0]))
                & y.abs().le(F::splat(half[1])),
            t,
            part: F::splat(0.0),
        }
    }

    #[inline(always)]
    fn normal(&self, _p: F3, _part: F) -> F3 {
        [F::splat(0.0), F::splat(0.0), F::splat(1.0)]
    }
}
