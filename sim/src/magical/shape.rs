//! What bodies collide with: circles, thick segments and rounded convex polygons.

use super::vector::{Bounds, Placement, Vec2, vec2};

/// Most corners of a polygon.
pub const MAX_CORNERS: usize = 8;

/// A corner of a polygon and the edge that ends in it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Plane {
    /// The corner.
    pub corner: Vec2,
    /// Outward normal of the edge that ends in the corner.
    pub normal: Vec2,
}

/// A convex polygon, counter-clockwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Polygon {
    count: usize,
    local: [Plane; MAX_CORNERS],
    world: [Plane; MAX_CORNERS],
}

impl Polygon {
    /// From corners in counter-clockwise order, 3 to [`MAX_CORNERS`].
    fn new(corners: &[Vec2]) -> Self {
        let count = corners.len();
        let mut local = [Plane::default(); MAX_CORNERS];
        for (i, plane) in local.iter_mut().take(count).enumerate() {
            let (before, corner) = (corners[(i + count - 1) % count], corners[i]);
            *plane = Plane {
                corner,
                normal: (corner - before).right_perp().normalize(),
            };
        }
        Self {
            count,
            local,
            world: local,
        }
    }

    /// Corners and edges in the world.
    pub fn planes(&self) -> &[Plane] {
        &self.world[..self.count]
    }

    /// Index of the corner that is farthest along `direction`.
    pub(super) fn support(&self, direction: Vec2) -> usize {
        let (mut best, mut index) = (f64::NEG_INFINITY, 0);
        for (i, plane) in self.planes().iter().enumerate() {
            let distance = plane.corner.dot(direction);
            if distance > best {
                (best, index) = (distance, i);
            }
        }
        index
    }
}

/// A straight line between two points.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    local: [Vec2; 2],
    local_normal: Vec2,
    /// Its ends in the world.
    pub ends: [Vec2; 2],
    /// Its normal in the world, to the right of the way from the first end to the second.
    pub normal: Vec2,
}

/// The form of a shape without its radius.
// Polygons are what most shapes are, and none of them is to be looked for elsewhere in memory.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// A point: a disc of the shape's radius. Centre on the body, centre in the world.
    Circle(Vec2, Vec2),
    /// A line.
    Segment(Segment),
    /// A polygon.
    Polygon(Polygon),
}

/// A shape on a body.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// The body it is on, by its place in the space.
    pub body: usize,
    /// Its form.
    pub form: Form,
    /// How far its surface is from its form, m.
    pub radius: f64,
    /// Coefficient of friction; that of a contact is the product of the two.
    pub friction: f64,
    /// Shapes of the same group above 0 do not collide.
    pub group: u32,
    /// Notices others and does not push them.
    pub sensor: bool,
    /// Box around it in the world.
    pub bounds: Bounds,
}

impl Shape {
    fn new(body: usize, form: Form, radius: f64) -> Self {
        Self {
            body,
            form,
            radius,
            friction: 0.0,
            group: 0,
            sensor: false,
            bounds: Bounds::default(),
        }
    }

    /// A disc about the body's centre.
    pub fn circle(body: usize, radius: f64) -> Self {
        Self::new(body, Form::Circle(Vec2::ZERO, Vec2::ZERO), radius)
    }

    /// A line of thickness `2 * radius` between two points.
    pub fn segment(body: usize, from: Vec2, to: Vec2, radius: f64) -> Self {
        let normal = (to - from).normalize().right_perp();
        let segment = Segment {
            local: [from, to],
            local_normal: normal,
            ends: [from, to],
            normal,
        };
        Self::new(body, Form::Segment(segment), radius)
    }

    /// A rectangle about the body's centre.
    pub fn rectangle(body: usize, width: f64, height: f64, radius: f64) -> Self {
        let (w, h) = (width / 2.0, height / 2.0);
        let corners = [vec2(w, -h), vec2(w, h), vec2(-w, h), vec2(-w, -h)];
        Self::new(body, Form::Polygon(Polygon::new(&corners)), radius)
    }

    /// The convex hull of 3 to [`MAX_CORNERS`] points that do not lie on one line.
    pub fn hull(body: usize, points: &[Vec2]) -> Self {
        let hull = convex_hull(points);
        Self::new(body, Form::Polygon(Polygon::new(&hull)), 0.0)
    }

    /// With this friction.
    pub fn with_friction(mut self, friction: f64) -> Self {
        self.friction = friction;
        self
    }

    /// In this group.
    pub fn with_group(mut self, group: u32) -> Self {
        self.group = group;
        self
    }

    /// As a sensor.
    pub fn into_sensor(mut self) -> Self {
        self.sensor = true;
        self
    }

    /// Moves it to where its body is.
    pub fn place(&mut self, placement: &Placement) {
        let radius = self.radius;
        let (mut low, mut high);
        match &mut self.form {
            Form::Circle(local, world) => {
                *world = placement.point(*local);
                (low, high) = (*world, *world);
            }
            Form::Segment(segment) => {
                let [a, b] = segment.local.map(|end| placement.point(end));
                segment.ends = [a, b];
                segment.normal = placement.direction(segment.local_normal);
                low = vec2(a.x.min(b.x), a.y.min(b.y));
                high = vec2(a.x.max(b.x), a.y.max(b.y));
            }
            Form::Polygon(polygon) => {
                low = vec2(f64::INFINITY, f64::INFINITY);
                high = -low;
                for i in 0..polygon.count {
                    let Plane { corner, normal } = polygon.local[i];
                    let corner = placement.point(corner);
                    let normal = placement.direction(normal);
                    polygon.world[i] = Plane { corner, normal };
                    low = vec2(low.x.min(corner.x), low.y.min(corner.y));
                    high = vec2(high.x.max(corner.x), high.y.max(corner.y));
                }
            }
        }
        self.bounds = Bounds {
            left: low.x - radius,
            bottom: low.y - radius,
            right: high.x + radius,
            top: high.y + radius,
        };
    }
}

/// Corners of the convex hull, counter-clockwise, from the leftmost on: quickhull with Chipmunk's choices, since the order of
/// corners decides ties.
fn convex_hull(points: &[Vec2]) -> Vec<Vec2> {
    let mut work = points.to_vec();
    let (mut start, mut end) = (0, 0);
    let (mut low, mut high) = (work[0], work[0]);
    for (i, &v) in work.iter().enumerate().skip(1) {
        if v.x < low.x || (v.x == low.x && v.y < low.y) {
            (low, start) = (v, i);
        } else if v.x > high.x || (v.x == high.x && v.y > high.y) {
            (high, end) = (v, i);
        }
    }
    work.swap(0, start);
    work.swap(1, if end == 0 { start } else { end });
    let (a, b) = (work[0], work[1]);
    let mut hull = vec![a];
    reduce(&mut work[2..], a, b, a, &mut hull);
    hull
}

/// The corners between `a` and `b` by way of `pivot`, without `a` and `b`.
fn reduce(points: &mut [Vec2], a: Vec2, pivot: Vec2, b: Vec2, hull: &mut Vec<Vec2>) {
    let left = partition(points, a, pivot);
    let (before, after) = points.split_at_mut(left);
    if let Some((&mut first, rest)) = before.split_first_mut() {
        reduce(rest, a, first, pivot, hull);
    }
    hull.push(pivot);
    let right = partition(after, pivot, b);
    if let Some((&mut first, rest)) = after[..right].split_first_mut() {
        reduce(rest, pivot, first, b, hull);
    }
}

/// Brings the points to the right of the way from `a` to `b` to the front, the farthest of them first; how many there are.
fn partition(points: &mut [Vec2], a: Vec2, b: Vec2) -> usize {
    let delta = b - a;
    let (mut farthest, mut pivot, mut head, mut tail) = (0.0, 0, 0, points.len());
    while head < tail {
        let value = (points[head] - a).cross(delta);
        if value > 0.0 {
            if value > farthest {
                (farthest, pivot) = (value, head);
            }
            head += 1;
        } else {
            tail -= 1;
            points.swap(head, tail);
        }
    }
    if pivot != 0 {
        points.swap(0, pivot);
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hull_is_counter_clockwise_and_leaves_inner_points_out() {
        let points = [
            vec2(-1.0, 1.0),
            vec2(0.1, 0.2),
            vec2(1.0, 1.0),
            vec2(1.0, -1.0),
            vec2(-1.0, -1.0),
        ];
        let hull = convex_hull(&points);
        assert_eq!(hull.len(), 4);
        for i in 0..4 {
            let (a, b, c) = (hull[i], hull[(i + 1) % 4], hull[(i + 2) % 4]);
            assert!((b - a).cross(c - b) > 0.0);
        }
    }

    #[test]
    fn bounds_hold_the_radius() {
        let mut shape = Shape::rectangle(0, 2.0, 1.0, 0.1);
        shape.place(&Placement::new(vec2(1.0, 0.0), 0.0));
        let expected = Bounds {
            left: -0.1,
            bottom: -0.6,
            right: 2.1,
            top: 0.6,
        };
        assert_eq!(shape.bounds, expected);
    }
}
