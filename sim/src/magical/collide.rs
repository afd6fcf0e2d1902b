//! The contacts of two shapes: none, one or two points and a normal.

use super::gjk::{Closest, ClosestId};
use super::shape::{Form, Polygon, Segment, Shape};
use super::vector::Vec2;

/// Most contacts of a pair.
pub const MAX_CONTACTS: usize = 2;

/// A point in which two shapes touch, in the world, and a number that is the same in the next step for the same corners.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Touch {
    /// On the surface of the first.
    pub on_first: Vec2,
    /// On the surface of the second.
    pub on_second: Vec2,
    /// Which corners meet.
    pub hash: u64,
}

/// How two shapes touch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Collision {
    /// From the first to the second.
    pub normal: Vec2,
    touches: [Touch; MAX_CONTACTS],
    count: usize,
    /// Where to start the search in the next step.
    pub id: ClosestId,
}

impl Collision {
    /// The points.
    pub fn touches(&self) -> &[Touch] {
        &self.touches[..self.count]
    }

    fn push(&mut self, on_first: Vec2, on_second: Vec2, hash: u64) {
        self.touches[self.count] = Touch {
            on_first,
            on_second,
            hash,
        };
        self.count += 1;
    }
}

/// Chipmunk's number of a pair; only whether two of them are equal matters.
fn pair_hash(a: u64, b: u64) -> u64 {
    const FACTOR: u64 = 3_344_921_057;
    a.wrapping_mul(FACTOR) ^ b.wrapping_mul(FACTOR)
}

/// An edge that may touch: its ends with their numbers, and its radius.
struct Edge {
    a: (Vec2, u64),
    b: (Vec2, u64),
    radius: f64,
}

impl Edge {
    /// The edge of a polygon that faces `direction` best.
    fn of_polygon(polygon: &Polygon, shape: u64, radius: f64, direction: Vec2) -> Self {
        let planes = polygon.planes();
        let count = planes.len();
        let i1 = polygon.support(direction);
        let (i0, i2) = ((i1 + count - 1) % count, (i1 + 1) % count);
        let end = |i: usize| (planes[i].corner, pair_hash(shape, i as u64));
        let (from, to) = if direction.dot(planes[i1].normal) > direction.dot(planes[i2].normal) {
            (i0, i1)
        } else {
            (i1, i2)
        };
        Self {
            a: end(from),
            b: end(to),
            radius,
        }
    }

    /// The side of a segment that faces `direction`.
    fn of_segment(segment: &Segment, shape: u64, radius: f64, direction: Vec2) -> Self {
        let end = |i: usize| (segment.ends[i], pair_hash(shape, i as u64));
        let (from, to) = if segment.normal.dot(direction) > 0.0 {
            (0, 1)
        } else {
            (1, 0)
        };
        Self {
            a: end(from),
            b: end(to),
            radius,
        }
    }
}

/// Where two facing edges touch: the ends of each, brought onto the other.
fn clip(e1: &Edge, e2: &Edge, closest: &Closest, collision: &mut Collision) {
    if closest.distance > e1.radius + e2.radius {
        return;
    }
    let n = closest.normal;
    collision.normal = n;
    let (e1_a, e1_b) = (e1.a.0.cross(n), e1.b.0.cross(n));
    let (e2_a, e2_b) = (e2.a.0.cross(n), e2.b.0.cross(n));
    let e1_scale = 1.0 / (e1_b - e1_a + f64::MIN_POSITIVE);
    let e2_scale = 1.0 / (e2_b - e2_a + f64::MIN_POSITIVE);
    let within = |t: f64| t.clamp(0.0, 1.0);
    let mut touch = |t1: f64, t2: f64, hash: u64| {
        let p1 = n * e1.radius + e1.a.0.lerp(e1.b.0, within(t1));
        let p2 = n * -e2.radius + e2.a.0.lerp(e2.b.0, within(t2));
        if (p2 - p1).dot(n) <= 0.0 {
            collision.push(p1, p2, hash);
        }
    };
    touch(
        (e2_b - e1_a) * e1_scale,
        (e1_a - e2_a) * e2_scale,
        pair_hash(e1.a.1, e2.b.1),
    );
    touch(
        (e2_a - e1_a) * e1_scale,
        (e1_b - e2_a) * e2_scale,
        pair_hash(e1.b.1, e2.a.1),
    );
}

fn circle_circle(c1: (Vec2, f64), c2: (Vec2, f64), collision: &mut Collision) {
    let reach = c1.1 + c2.1;
    let delta = c2.0 - c1.0;
    let squared = delta.dot(delta);
    if squared < reach * reach {
        let distance = squared.sqrt();
        let n = if distance == 0.0 {
            super::vector::vec2(1.0, 0.0)
        } else {
            delta * (1.0 / distance)
        };
        collision.normal = n;
        collision.push(c1.0 + n * c1.1, c2.0 + n * -c2.1, 0);
    }
}

fn circle_segment(
    (centre, circle): (Vec2, f64),
    segment: &Segment,
    radius: f64,
    collision: &mut Collision,
) {
    let [a, b] = segment.ends;
    let along = b - a;
    let t = (along.dot(centre - a) / along.dot(along)).clamp(0.0, 1.0);
    let nearest = a + along * t;
    let reach = circle + radius;
    let delta = nearest - centre;
    let squared = delta.dot(delta);
    if squared < reach * reach {
        let distance = squared.sqrt();
        let n = if distance == 0.0 {
            segment.normal
        } else {
            delta * (1.0 / distance)
        };
        collision.normal = n;
        collision.push(centre + n * circle, nearest + n * -radius, 0);
    }
}

/// A shape with its number in the space.
pub(super) type Numbered<'a> = (usize, &'a Shape);

fn rank(shape: &Shape) -> u8 {
    match shape.form {
        Form::Circle(..) => 0,
        Form::Segment(_) => 1,
        Form::Polygon(_) => 2,
    }
}

/// Whether the pair is handled in the opposite order: circles come before segments, and these before polygons.
pub(super) fn is_reversed(first: &Shape, second: &Shape) -> bool {
    rank(first) > rank(second)
}

/// How two shapes touch. The pair must not be reversed.
pub(super) fn collide(first: Numbered<'_>, second: Numbered<'_>, id: ClosestId) -> Collision {
    let ((first_id, a), (second_id, b)) = (first, second);
    let (first_id, second_id) = (first_id as u64, second_id as u64);
    let mut collision = Collision {
        id,
        ..Collision::default()
    };
    match (&a.form, &b.form) {
        (Form::Circle(_, p), Form::Circle(_, q)) => {
            circle_circle((*p, a.radius), (*q, b.radius), &mut collision);
        }
        (Form::Circle(_, p), Form::Segment(segment)) => {
            circle_segment((*p, a.radius), segment, b.radius, &mut collision);
        }
        (Form::Circle(..), Form::Polygon(_)) => {
            let closest = Closest::between(a, b, id);
            collision.id = closest.id;
            if closest.distance <= a.radius + b.radius {
                let n = closest.normal;
                collision.normal = n;
                collision.push(closest.a + n * a.radius, closest.b + n * -b.radius, 0);
            }
        }
        (Form::Segment(p), Form::Segment(q)) => {
            let closest = Closest::between(a, b, id);
            collision.id = closest.id;
            let n = closest.normal;
            let e1 = Edge::of_segment(p, first_id, a.radius, n);
            let e2 = Edge::of_segment(q, second_id, b.radius, -n);
            clip(&e1, &e2, &closest, &mut collision);
        }
        (Form::Segment(p), Form::Polygon(q)) => {
            let closest = Closest::between(a, b, id);
            collision.id = closest.id;
            if closest.distance - a.radius - b.radius <= 0.0 {
                let n = closest.normal;
                let e1 = Edge::of_segment(p, first_id, a.radius, n);
                let e2 = Edge::of_polygon(q, second_id, b.radius, -n);
                clip(&e1, &e2, &closest, &mut collision);
            }
        }
        (Form::Polygon(p), Form::Polygon(q)) => {
            let closest = Closest::between(a, b, id);
            collision.id = closest.id;
            if closest.distance - a.radius - b.radius <= 0.0 {
                let n = closest.normal;
                let e1 = Edge::of_polygon(p, first_id, a.radius, n);
                let e2 = Edge::of_polygon(q, second_id, b.radius, -n);
                clip(&e1, &e2, &closest, &mut collision);
            }
        }
        // Reversed pairs: the caller turns them round.
        _ => {}
    }
    collision
}

#[cfg(test)]
mod tests {
    use super::super::vector::{Placement, vec2};
    use super::*;

    fn at(mut shape: Shape, x: f64, y: f64) -> Shape {
        shape.place(&Placement::new(vec2(x, y), 0.0));
        shape
    }

    #[test]
    fn a_box_on_a_box_touches_in_two_points() {
        let below = at(Shape::rectangle(0, 2.0, 1.0, 0.0), 0.0, 0.0);
        let above = at(Shape::rectangle(1, 1.0, 1.0, 0.0), 0.2, 0.99);
        let collision = collide((0, &below), (1, &above), 0);
        assert!(collision.normal.distance(vec2(0.0, 1.0)) < 1e-15);
        let mut xs: Vec<f64> = collision.touches().iter().map(|t| t.on_first.x).collect();
        xs.sort_by(f64::total_cmp);
        assert!(xs.len() == 2 && (xs[0] + 0.3).abs() < 1e-12 && (xs[1] - 0.7).abs() < 1e-12);
    }

    #[test]
    fn shapes_touch_within_their_radii_and_not_beyond() {
        let disc = |x: f64| at(Shape::circle(0, 0.2), x, 0.0);
        let wall = at(
            Shape::segment(1, vec2(0.0, -1.0), vec2(0.0, 1.0), 0.1),
            0.0,
            0.0,
        );
        let square = at(Shape::rectangle(2, 0.4, 0.4, 0.01), 0.0, 0.0);
        for (x, touches) in [(0.29, 1), (0.31, 0)] {
            let found = collide((0, &disc(x)), (1, &wall), 0);
            assert_eq!(found.touches().len(), touches);
        }
        for (x, touches) in [(0.40, 1), (0.42, 0)] {
            let found = collide((0, &disc(x)), (2, &square), 0);
            assert_eq!(found.touches().len(), touches);
        }
        for (x, touches) in [(0.39, 1), (0.41, 0)] {
            let found = collide((0, &disc(x)), (3, &disc(0.0)), 0);
            assert_eq!(found.touches().len(), touches);
        }
    }
}
