//! The closest points of two convex shapes: GJK on their Minkowski difference, and the expanding polytope where they overlap.
//!
//! The search starts from the corners that were closest in the step before, which is part of what makes a simulation
//! repeatable: their numbers, `id`, belong to its state.

use super::shape::{Form, Shape};
use super::vector::Vec2;

const MAX_GJK_ITERATIONS: usize = 30;
const MAX_EPA_ITERATIONS: usize = 30;

/// Corners of the pair that were closest, one byte each; 0: not known.
pub type ClosestId = u32;

/// A point of the Minkowski difference.
#[derive(Clone, Copy, Default)]
struct Difference {
    a: Vec2,
    b: Vec2,
    /// `b - a`.
    ab: Vec2,
    id: ClosestId,
}

impl Difference {
    fn new((a, i): (Vec2, usize), (b, j): (Vec2, usize)) -> Self {
        Self {
            a,
            b,
            ab: b - a,
            id: ((i as u32) & 0xFF) << 8 | ((j as u32) & 0xFF),
        }
    }
}

/// The farthest point of a form along `direction`, and its number.
fn support(shape: &Shape, direction: Vec2) -> (Vec2, usize) {
    match &shape.form {
        Form::Circle(_, centre) => (*centre, 0),
        Form::Segment(segment) => {
            let [a, b] = segment.ends;
            if a.dot(direction) > b.dot(direction) {
                (a, 0)
            } else {
                (b, 1)
            }
        }
        Form::Polygon(polygon) => {
            let i = polygon.support(direction);
            (polygon.planes()[i].corner, i)
        }
    }
}

/// The point of a form with this number.
fn corner(shape: &Shape, i: usize) -> (Vec2, usize) {
    match &shape.form {
        Form::Circle(_, centre) => (*centre, 0),
        Form::Segment(segment) => (segment.ends[usize::from(i != 0)], i),
        Form::Polygon(polygon) => {
            let i = if i < polygon.planes().len() { i } else { 0 };
            (polygon.planes()[i].corner, i)
        }
    }
}

/// The closest points of two forms.
pub(super) struct Closest {
    /// On the first.
    pub a: Vec2,
    /// On the second.
    pub b: Vec2,
    /// Axis of least separation, from the first to the second.
    pub normal: Vec2,
    /// Distance along it, below 0 for an overlap.
    pub distance: f64,
    /// Where to start in the next step.
    pub id: ClosestId,
}

/// Where on the line from `a` to `b` the origin is nearest, -1 at `a` and 1 at `b`.
fn closest_t(a: Vec2, b: Vec2) -> f64 {
    let delta = b - a;
    let squared = delta.dot(delta);
    if squared == 0.0 {
        return 0.0;
    }
    -(delta.dot(a + b) / squared).clamp(-1.0, 1.0)
}

fn lerp_t(a: Vec2, b: Vec2, t: f64) -> Vec2 {
    let half = 0.5 * t;
    a * (0.5 - half) + b * (0.5 + half)
}

/// Squared distance of the origin from the line between `a` and `b`.
fn distance_squared(a: Vec2, b: Vec2) -> f64 {
    let point = lerp_t(a, b, closest_t(a, b));
    point.dot(point)
}

/// Whether `c` is to the left of the way from `a` to `b`.
fn is_left(a: Vec2, b: Vec2, c: Vec2) -> bool {
    (b.y - a.y) * (a.x + b.x - 2.0 * c.x) > (b.x - a.x) * (a.y + b.y - 2.0 * c.y)
}

impl Closest {
    /// From the edge of the difference that is nearest to the origin.
    fn new(v0: &Difference, v1: &Difference) -> Self {
        let t = closest_t(v0.ab, v1.ab);
        let point = lerp_t(v0.ab, v1.ab, t);
        let (a, b) = (lerp_t(v0.a, v1.a, t), lerp_t(v0.b, v1.b, t));
        let id = (v0.id & 0xFFFF) << 16 | (v1.id & 0xFFFF);
        let normal = (v1.ab - v0.ab).right_perp().normalize();
        let distance = normal.dot(point);
        if distance <= 0.0 || (-1.0 < t && t < 1.0) {
            return Self {
                a,
                b,
                normal,
                distance,
                id,
            };
        }
        // Corner against corner: the axis is not one of the difference's edges.
        let distance = point.length();
        Self {
            a,
            b,
            normal: point * (1.0 / (distance + f64::MIN_POSITIVE)),
            distance,
            id,
        }
    }

    /// Of two shapes, from `id` on.
    pub(super) fn between(first: &Shape, second: &Shape, id: ClosestId) -> Self {
        let farthest = |direction: Vec2| {
            Difference::new(support(first, -direction), support(second, direction))
        };
        let number = |shift: u32| (id >> shift & 0xFF) as usize;
        let (mut v0, mut v1) = if id == 0 {
            let axis = (first.bounds.centre() - second.bounds.centre()).perp();
            (farthest(axis), farthest(-axis))
        } else {
            (
                Difference::new(corner(first, number(24)), corner(second, number(16))),
                Difference::new(corner(first, number(8)), corner(second, number(0))),
            )
        };
        for _ in 0..MAX_GJK_ITERATIONS {
            if is_left(v1.ab, v0.ab, Vec2::ZERO) {
                std::mem::swap(&mut v0, &mut v1);
            }
            let t = closest_t(v0.ab, v1.ab);
            let normal = if -1.0 < t && t < 1.0 {
                (v1.ab - v0.ab).perp()
            } else {
                -lerp_t(v0.ab, v1.ab, t)
            };
            let p = farthest(normal);
            if is_left(p.ab, v0.ab, Vec2::ZERO) && is_left(v1.ab, p.ab, Vec2::ZERO) {
                return expand(&farthest, [v0, p, v1]);
            }
            if p.ab.dot(normal) <= v0.ab.dot(normal).max(v1.ab.dot(normal)) {
                break;
            }
            if distance_squared(v0.ab, p.ab) < distance_squared(p.ab, v1.ab) {
                v1 = p;
            } else {
                v0 = p;
            }
        }
        Self::new(&v0, &v1)
    }
}

/// The edge of the difference that is nearest to the origin inside of it: a triangle about the origin grows corner by corner.
fn expand(farthest: &impl Fn(Vec2) -> Difference, triangle: [Difference; 3]) -> Closest {
    const ROOM: usize = MAX_EPA_ITERATIONS + 4;
    let mut hull = [Difference::default(); ROOM];
    hull[..3].copy_from_slice(&triangle);
    let mut count = 3;
    let mut iteration = 1;
    loop {
        let (mut nearest, mut least) = (0, f64::INFINITY);
        let mut i = count - 1;
        for j in 0..count {
            let distance = distance_squared(hull[i].ab, hull[j].ab);
            if distance < least {
                (least, nearest) = (distance, i);
            }
            i = j;
        }
        let (v0, v1) = (hull[nearest], hull[(nearest + 1) % count]);
        let p = farthest((v1.ab - v0.ab).perp());
        let known = p.id == v0.id || p.id == v1.id;
        if known || !is_left(v0.ab, v1.ab, p.ab) || iteration >= MAX_EPA_ITERATIONS {
            return Closest::new(&v0, &v1);
        }
        let mut next = [Difference::default(); ROOM];
        next[0] = p;
        let mut kept = 1;
        for i in 0..count {
            let index = (nearest + 1 + i) % count;
            let before = next[kept - 1].ab;
            let after = if i + 1 < count {
                hull[(index + 1) % count].ab
            } else {
                p.ab
            };
            if is_left(before, after, hull[index].ab) {
                next[kept] = hull[index];
                kept += 1;
            }
        }
        hull = next;
        count = kept;
        iteration += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::vector::{Placement, vec2};
    use super::*;

    fn square(x: f64, y: f64, angle: f64) -> Shape {
        let mut shape = Shape::rectangle(0, 1.0, 1.0, 0.0);
        shape.place(&Placement::new(vec2(x, y), angle));
        shape
    }

    #[test]
    fn two_squares_apart_are_as_far_as_their_sides() {
        let closest = Closest::between(&square(0.0, 0.0, 0.0), &square(1.5, 0.2, 0.0), 0);
        assert!((closest.distance - 0.5).abs() < 1e-15);
        assert!(closest.normal.distance(vec2(1.0, 0.0)) < 1e-15);
    }

    #[test]
    fn two_squares_that_overlap_have_the_least_depth_as_distance() {
        for (x, y, depth) in [(0.9, 0.05, 0.1), (0.02, -0.8, 0.2), (0.6, 0.5, 0.4)] {
            let closest = Closest::between(&square(0.0, 0.0, 0.0), &square(x, y, 0.0), 0);
            assert!((closest.distance + depth).abs() < 1e-12, "{x} {y}");
        }
    }

    #[test]
    fn a_warm_start_finds_the_same_points() {
        let (a, b) = (square(0.0, 0.0, 0.1), square(1.1, 0.9, 0.7));
        let cold = Closest::between(&a, &b, 0);
        let warm = Closest::between(&a, &b, cold.id);
        assert!((cold.distance - warm.distance).abs() < 1e-15);
        assert!(cold.normal.distance(warm.normal) < 1e-15);
    }

    #[test]
    fn corner_to_corner_is_the_straight_way() {
        let closest = Closest::between(&square(0.0, 0.0, 0.0), &square(1.3, 1.4, 0.0), 0);
        assert!((closest.distance - 0.5).abs() < 1e-12);
        assert!(closest.normal.distance(vec2(0.6, 0.8)) < 1e-12);
    }
}
