//! Plane vectors, bounding boxes and rigid placements, with Chipmunk's order of operations.

use std::ops::{Add, Mul, Neg, Sub};

/// A vector in the plane, m.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Vec2 {
    /// To the right.
    pub x: f64,
    /// Up.
    pub y: f64,
}

/// The vector `(x, y)`.
pub const fn vec2(x: f64, y: f64) -> Vec2 {
    Vec2 { x, y }
}

impl Add for Vec2 {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        vec2(self.x + other.x, self.y + other.y)
    }
}

impl Sub for Vec2 {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        vec2(self.x - other.x, self.y - other.y)
    }
}

impl Neg for Vec2 {
    type Output = Self;
    fn neg(self) -> Self {
        vec2(-self.x, -self.y)
    }
}

impl Mul<f64> for Vec2 {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        vec2(self.x * factor, self.y * factor)
    }
}

impl Vec2 {
    /// The origin.
    pub const ZERO: Self = vec2(0.0, 0.0);

    /// The unit vector at `angle` from the x axis, rad.
    pub fn from_angle(angle: f64) -> Self {
        vec2(angle.cos(), angle.sin())
    }

    /// Scalar product.
    pub fn dot(self, other: Self) -> f64 {
        self.x * other.x + self.y * other.y
    }

    /// The z component of the cross product.
    pub fn cross(self, other: Self) -> f64 {
        self.x * other.y - self.y * other.x
    }

    /// Turned by a quarter to the left.
    pub fn perp(self) -> Self {
        vec2(-self.y, self.x)
    }

    /// Turned by a quarter to the right.
    pub fn right_perp(self) -> Self {
        vec2(self.y, -self.x)
    }

    /// The product of complex numbers: turned by the angle of the unit vector `by`.
    pub fn rotate(self, by: Self) -> Self {
        vec2(self.x * by.x - self.y * by.y, self.x * by.y + self.y * by.x)
    }

    /// Length.
    pub fn length(self) -> f64 {
        self.dot(self).sqrt()
    }

    /// Of length 1, or 0 where the vector is 0.
    pub fn normalize(self) -> Self {
        self * (1.0 / (self.length() + f64::MIN_POSITIVE))
    }

    /// Cut to `length`.
    pub fn clamp_length(self, length: f64) -> Self {
        if self.dot(self) > length * length {
            self.normalize() * length
        } else {
            self
        }
    }

    /// On the way to `other`, from 0 to 1.
    pub fn lerp(self, other: Self, t: f64) -> Self {
        self * (1.0 - t) + other * t
    }

    /// Distance to another point.
    pub fn distance(self, other: Self) -> f64 {
        (self - other).length()
    }
}

/// An axis-aligned box, m.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// Least x.
    pub left: f64,
    /// Least y.
    pub bottom: f64,
    /// Greatest x.
    pub right: f64,
    /// Greatest y.
    pub top: f64,
}

impl Bounds {
    /// Whether the two have a point in common.
    pub fn intersects(&self, other: &Self) -> bool {
        self.left <= other.right
            && other.left <= self.right
            && self.bottom <= other.top
            && other.bottom <= self.top
    }

    /// Whether all of `other` is inside, edges included.
    pub fn contains(&self, other: &Self) -> bool {
        self.left <= other.left
            && self.right >= other.right
            && self.bottom <= other.bottom
            && self.top >= other.top
    }

    /// The least box that holds both.
    pub fn merge(&self, other: &Self) -> Self {
        Self {
            left: self.left.min(other.left),
            bottom: self.bottom.min(other.bottom),
            right: self.right.max(other.right),
            top: self.top.max(other.top),
        }
    }

    /// Area, m2.
    pub fn area(&self) -> f64 {
        (self.right - self.left) * (self.top - self.bottom)
    }

    /// Centre.
    pub fn centre(&self) -> Vec2 {
        vec2(self.left, self.bottom).lerp(vec2(self.right, self.top), 0.5)
    }
}

/// A place and a direction in the plane: `world = rotation * local + place`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// Direction of the local x axis, a unit vector.
    pub rotation: Vec2,
    /// Where the local origin is.
    pub place: Vec2,
}

impl Placement {
    /// At `place`, turned by `angle`, rad.
    pub fn new(place: Vec2, angle: f64) -> Self {
        Self {
            rotation: Vec2::from_angle(angle),
            place,
        }
    }

    /// A local direction in the world.
    pub fn direction(&self, local: Vec2) -> Vec2 {
        let r = self.rotation;
        vec2(
            r.x * local.x + -r.y * local.y,
            r.y * local.x + r.x * local.y,
        )
    }

    /// A local point in the world.
    pub fn point(&self, local: Vec2) -> Vec2 {
        let r = self.rotation;
        vec2(
            r.x * local.x + -r.y * local.y + self.place.x,
            r.y * local.x + r.x * local.y + self.place.y,
        )
    }

    /// A point of the world in local coordinates.
    pub fn local_point(&self, world: Vec2) -> Vec2 {
        let (r, t) = (self.rotation, self.place);
        let inverse_x = -r.y * t.y - t.x * r.x;
        let inverse_y = t.x * r.y - r.x * t.y;
        vec2(
            r.x * world.x + r.y * world.y + inverse_x,
            -r.y * world.x + r.x * world.y + inverse_y,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_points_go_to_the_world_and_back() {
        let placement = Placement::new(vec2(0.3, -0.7), 0.9);
        let point = vec2(-0.2, 0.5);
        let back = placement.local_point(placement.point(point));
        assert!(back.distance(point) < 1e-15);
        let turned = point.rotate(Vec2::from_angle(0.9));
        assert!(placement.direction(point).distance(turned) < 1e-15);
    }

    #[test]
    fn a_length_is_cut_and_never_stretched() {
        assert_eq!(vec2(3.0, 4.0).clamp_length(10.0), vec2(3.0, 4.0));
        assert!((vec2(3.0, 4.0).clamp_length(1.0).length() - 1.0).abs() < 1e-15);
        assert_eq!(Vec2::ZERO.normalize(), Vec2::ZERO);
    }
}
