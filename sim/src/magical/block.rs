//! The square blocks that are pushed about, and the zone that they are pushed into.

use std::f64::consts::PI;

use super::body::{Body, polygon_inertia};
use super::constraint::Constraint;
use super::robot::ROBOT_RADIUS;
use super::shape::Shape;
use super::space::{GROUND, Space};
use super::vector::{Bounds, Vec2, vec2};

const MASS: f64 = 0.01;
const FRICTION: f64 = 0.5;

/// Side of a block, m.
pub fn side() -> f64 {
    PI.sqrt() * (ROBOT_RADIUS * 0.6)
}

/// The zone at the top: left, top, height and width, m.
const ZONE: [f64; 4] = [-1.2, 1.16, 0.4, 2.4];

/// Size of the zone, m.
pub const ZONE_SIZE: (f64, f64) = (ZONE[3], ZONE[2]);

/// Centre of the zone.
pub fn zone_centre() -> Vec2 {
    let [left, top, height, width] = ZONE;
    vec2(left + width / 2.0, top - height / 2.0)
}

/// Where a block is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    /// Its centre, m.
    pub at: Vec2,
    /// Rad.
    pub angle: f64,
    /// Whether all of it is in the zone.
    pub in_zone: bool,
}

/// A block in a space, by its body and shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Placed {
    pub body: usize,
    pub shape: usize,
}

/// Puts a block into a space. The ground holds it with a little force in place and angle: that is its friction when it slides.
pub(super) fn add(space: &mut Space, at: Vec2) -> Placed {
    let side = side();
    let half = side / 2.0;
    let corners = [
        vec2(half, -half),
        vec2(half, half),
        vec2(-half, half),
        vec2(-half, -half),
    ];
    let inertia = MASS * polygon_inertia(1.0, &corners);
    let body = space.add_body(Body::dynamic(MASS, inertia, at, 0.0));
    let shape = Shape::rectangle(body, side, side, 0.01 * side);
    let shape = space.add_shape(shape.with_friction(FRICTION));
    let slide = Constraint::pivot(GROUND, body, Vec2::ZERO, Vec2::ZERO);
    space.add_constraint(slide.with_max_bias(0.0).with_max_force(1.5));
    let spin = Constraint::gear(GROUND, body).with_max_bias(0.0);
    space.add_constraint(spin.with_max_force(0.1));
    Placed { body, shape }
}

/// Puts the walls, 1.1 m from the centre, and the zone into a space; the zone's bounds.
pub(super) fn add_arena(space: &mut Space, half: f64) -> Bounds {
    const THICKNESS: f64 = 1.0;
    let out = half + THICKNESS;
    let corners = [
        vec2(-half - THICKNESS, out),
        vec2(out, out),
        vec2(out, -half - THICKNESS),
        vec2(-half - THICKNESS, -half - THICKNESS),
    ];
    for i in 0..4 {
        let wall = Shape::segment(GROUND, corners[i], corners[(i + 1) % 4], THICKNESS);
        space.add_shape(wall.with_friction(0.8));
    }
    let body = space.add_body(Body::fixed(zone_centre()));
    let zone = Shape::rectangle(body, ZONE_SIZE.0, ZONE_SIZE.1, 0.0).into_sensor();
    let zone = space.add_shape(zone);
    space.shape(zone).bounds
}
