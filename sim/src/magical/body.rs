//! Rigid bodies in the plane and how impulses move them.

use super::vector::{Placement, Vec2};

/// How a body moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// By impulses.
    Dynamic,
    /// At a velocity that a program sets; nothing pushes it.
    Kinematic,
    /// Not at all.
    Static,
}

/// A rigid body. Its centre of mass is its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// How it moves.
    pub motion: Motion,
    /// Centre of mass, m.
    pub position: Vec2,
    /// Rad, counter-clockwise; not wrapped.
    pub angle: f64,
    /// m/s.
    pub velocity: Vec2,
    /// rad/s.
    pub spin: f64,
    /// Velocity of this step alone that takes overlaps apart, m/s.
    pub bias_velocity: Vec2,
    /// Spin of this step alone that takes overlaps apart, rad/s.
    pub bias_spin: f64,
    /// 1/kg; 0 for what cannot be pushed.
    pub inverse_mass: f64,
    /// 1/(kg m2); 0 for what cannot be turned.
    pub inverse_inertia: f64,
    /// Position and angle as a transform.
    pub placement: Placement,
}

impl Body {
    fn new(motion: Motion, position: Vec2, angle: f64, inverse: (f64, f64)) -> Self {
        Self {
            motion,
            position,
            angle,
            velocity: Vec2::ZERO,
            spin: 0.0,
            bias_velocity: Vec2::ZERO,
            bias_spin: 0.0,
            inverse_mass: inverse.0,
            inverse_inertia: inverse.1,
            placement: Placement::new(position, angle),
        }
    }

    /// A body of `mass`, kg, and `inertia`, kg m2, both above 0.
    pub fn dynamic(mass: f64, inertia: f64, position: Vec2, angle: f64) -> Self {
        let inverse = (1.0 / mass, 1.0 / inertia);
        Self::new(Motion::Dynamic, position, angle, inverse)
    }

    /// A body that a program moves.
    pub fn kinematic(position: Vec2, angle: f64) -> Self {
        Self::new(Motion::Kinematic, position, angle, (0.0, 0.0))
    }

    /// A body that never moves.
    pub fn fixed(position: Vec2) -> Self {
        Self::new(Motion::Static, position, 0.0, (0.0, 0.0))
    }

    /// Turns it to `angle`, rad.
    pub fn set_angle(&mut self, angle: f64) {
        self.angle = angle;
        self.placement = Placement::new(self.position, angle);
    }

    /// Moves it for `dt` seconds and forgets the bias velocities.
    pub(super) fn integrate(&mut self, dt: f64) {
        self.position = self.position + (self.velocity + self.bias_velocity) * dt;
        self.angle += (self.spin + self.bias_spin) * dt;
        self.placement = Placement::new(self.position, self.angle);
        self.bias_velocity = Vec2::ZERO;
        self.bias_spin = 0.0;
    }

    /// Velocity of the point at `arm` from the centre.
    pub(super) fn velocity_at(&self, arm: Vec2) -> Vec2 {
        self.velocity + arm.perp() * self.spin
    }

    /// Bias velocity of the point at `arm` from the centre.
    pub(super) fn bias_velocity_at(&self, arm: Vec2) -> Vec2 {
        self.bias_velocity + arm.perp() * self.bias_spin
    }

    /// Pushes with `impulse`, N s, at `arm` from the centre.
    pub(super) fn push(&mut self, impulse: Vec2, arm: Vec2) {
        if self.motion != Motion::Dynamic {
            return;
        }
        self.velocity = self.velocity + impulse * self.inverse_mass;
        self.spin += self.inverse_inertia * arm.cross(impulse);
    }

    /// As [`Body::push`], on the bias velocities.
    pub(super) fn push_bias(&mut self, impulse: Vec2, arm: Vec2) {
        if self.motion != Motion::Dynamic {
            return;
        }
        self.bias_velocity = self.bias_velocity + impulse * self.inverse_mass;
        self.bias_spin += self.inverse_inertia * arm.cross(impulse);
    }

    /// How much an impulse along `normal` at `arm` changes the velocity along it, 1/kg.
    pub(super) fn mobility(&self, arm: Vec2, normal: Vec2) -> f64 {
        let lever = arm.cross(normal);
        self.inverse_mass + self.inverse_inertia * lever * lever
    }

    /// Whether all its numbers are finite.
    pub fn is_finite(&self) -> bool {
        [
            self.position.x,
            self.position.y,
            self.angle,
            self.velocity.x,
            self.velocity.y,
            self.spin,
        ]
        .iter()
        .all(|value| value.is_finite())
    }
}

/// Moment of inertia of a disc about its centre, kg m2.
pub fn disc_inertia(mass: f64, radius: f64) -> f64 {
    mass * (0.5 * (0.0 + radius * radius))
}

/// Moment of inertia of a rectangle about its centre, kg m2.
pub fn rectangle_inertia(mass: f64, width: f64, height: f64) -> f64 {
    mass * (width * width + height * height) / 12.0
}

/// Moment of inertia about the origin of the polygon with these corners, kg m2.
pub fn polygon_inertia(mass: f64, corners: &[Vec2]) -> f64 {
    let (mut moment, mut area) = (0.0, 0.0);
    for (i, &v1) in corners.iter().enumerate() {
        let v2 = corners[(i + 1) % corners.len()];
        let cross = v2.cross(v1);
        moment += cross * (v1.dot(v1) + v1.dot(v2) + v2.dot(v2));
        area += cross;
    }
    mass * moment / (6.0 * area)
}

#[cfg(test)]
mod tests {
    use super::super::vector::vec2;
    use super::*;

    #[test]
    fn a_rectangle_is_a_polygon() {
        let corners = [
            vec2(0.5, -0.2),
            vec2(0.5, 0.2),
            vec2(-0.5, 0.2),
            vec2(-0.5, -0.2),
        ];
        let polygon = polygon_inertia(2.0, &corners);
        assert!((polygon - rectangle_inertia(2.0, 1.0, 0.4)).abs() < 1e-15);
    }

    #[test]
    fn a_push_off_the_centre_turns_and_one_on_a_fixed_body_does_nothing() {
        let mut body = Body::dynamic(2.0, 0.5, Vec2::ZERO, 0.0);
        body.push(vec2(0.0, 1.0), vec2(1.0, 0.0));
        assert_eq!((body.velocity, body.spin), (vec2(0.0, 0.5), 2.0));
        let mut wall = Body::fixed(Vec2::ZERO);
        wall.push(vec2(0.0, 1.0), vec2(1.0, 0.0));
        assert_eq!(wall, Body::fixed(Vec2::ZERO));
    }
}
