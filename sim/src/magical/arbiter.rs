//! The memory of a contact: impulses carried from step to step, and the sequential-impulse solver for its points.

use super::body::Body;
use super::collide::{Collision, MAX_CONTACTS};
use super::shape::Shape;
use super::vector::{Vec2, vec2};

/// Steps after which two shapes that no longer touch are forgotten.
const PERSISTENCE: u64 = 3;

/// How fresh a contact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It began with this step.
    First,
    /// It was there in the step before.
    Normal,
    /// The shapes are apart.
    Cached,
}

/// One point of a contact.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Point {
    /// From the first body's centre.
    r1: Vec2,
    /// From the second body's centre.
    r2: Vec2,
    normal_mass: f64,
    tangent_mass: f64,
    /// Impulses so far, N s: along the normal, along the tangent, and of the bias.
    normal: f64,
    tangent: f64,
    biased: f64,
    /// Velocity at which the overlap is taken apart, m/s.
    bias: f64,
    hash: u64,
}

/// Two shapes that touch or touched.
#[derive(Clone, Debug, PartialEq)]
pub struct Arbiter {
    shapes: (usize, usize),
    bodies: (usize, usize),
    normal: Vec2,
    friction: f64,
    points: [Point; MAX_CONTACTS],
    count: usize,
    state: State,
    stamp: u64,
}

impl Arbiter {
    fn new(shapes: (usize, usize)) -> Self {
        Self {
            shapes,
            bodies: (0, 0),
            normal: Vec2::ZERO,
            friction: 0.0,
            points: [Point::default(); MAX_CONTACTS],
            count: 0,
            state: State::First,
            stamp: 0,
        }
    }

    /// Takes over a step's collision and keeps the impulses of points that were there before.
    fn refresh(
        &mut self,
        shapes: (usize, usize),
        all: &[Shape],
        bodies: &[Body],
        found: &Collision,
    ) {
        let (a, b) = (&all[shapes.0], &all[shapes.1]);
        self.shapes = shapes;
        self.bodies = (a.body, b.body);
        let (at_a, at_b) = (bodies[a.body].position, bodies[b.body].position);
        let old = (self.points, self.count);
        self.count = found.touches().len();
        for (point, touch) in self.points.iter_mut().zip(found.touches()) {
            *point = Point {
                r1: touch.on_first - at_a,
                r2: touch.on_second - at_b,
                hash: touch.hash,
                ..Point::default()
            };
            for known in &old.0[..old.1] {
                if known.hash == touch.hash {
                    (point.normal, point.tangent) = (known.normal, known.tangent);
                }
            }
        }
        self.normal = found.normal;
        self.friction = a.friction * b.friction;
        if self.state == State::Cached {
            self.state = State::First;
        }
    }

    fn prepare(&mut self, bodies: &[Body], dt: f64, slop: f64, bias: f64) {
        let (a, b) = (&bodies[self.bodies.0], &bodies[self.bodies.1]);
        let n = self.normal;
        let between = b.position - a.position;
        for point in &mut self.points[..self.count] {
            let mass = |n: Vec2| 1.0 / (a.mobility(point.r1, n) + b.mobility(point.r2, n));
            (point.normal_mass, point.tangent_mass) = (mass(n), mass(n.perp()));
            let distance = (point.r2 - point.r1 + between).dot(n);
            point.bias = -bias * (distance + slop).min(0.0) / dt;
            point.biased = 0.0;
        }
    }

    fn apply_cached(&self, bodies: &mut [Body], scale: f64) {
        if self.state == State::First {
            return;
        }
        let [a, b] = two(bodies, self.bodies);
        for point in &self.points[..self.count] {
            let impulse = self.normal.rotate(vec2(point.normal, point.tangent)) * scale;
            a.push(-impulse, point.r1);
            b.push(impulse, point.r2);
        }
    }

    fn solve(&mut self, bodies: &mut [Body]) {
        let [a, b] = two(bodies, self.bodies);
        let n = self.normal;
        for point in &mut self.points[..self.count] {
            let Point { r1, r2, .. } = *point;
            let bias_velocity = b.bias_velocity_at(r2) - a.bias_velocity_at(r1);
            let velocity = b.velocity_at(r2) - a.velocity_at(r1);

            let biased = point.biased;
            let push = (point.bias - bias_velocity.dot(n)) * point.normal_mass;
            point.biased = (biased + push).max(0.0);

            let normal = point.normal;
            point.normal = (normal + -velocity.dot(n) * point.normal_mass).max(0.0);

            let most = self.friction * point.normal;
            let tangent = point.tangent;
            let drag = -velocity.dot(n.perp()) * point.tangent_mass;
            point.tangent = (tangent + drag).max(-most).min(most);

            let push = n * (point.biased - biased);
            a.push_bias(-push, r1);
            b.push_bias(push, r2);
            let push = n.rotate(vec2(point.normal - normal, point.tangent - tangent));
            a.push(-push, r1);
            b.push(push, r2);
        }
    }
}

/// Two bodies to be changed at once.
pub(super) fn two(bodies: &mut [Body], (a, b): (usize, usize)) -> [&mut Body; 2] {
    // Shapes and joints of one body with itself are never made.
    bodies
        .get_disjoint_mut([a, b])
        .expect("two different bodies of the space")
}

/// All contacts of a space.
#[derive(Clone, Debug, PartialEq)]
pub struct Arbiters {
    known: Vec<Arbiter>,
    /// Those that touch in this step, by their place in `known`, in the order in which they were found.
    touching: Vec<u32>,
    stamp: u64,
}

impl Default for Arbiters {
    fn default() -> Self {
        // Room, so that none has to be made while things move.
        Self {
            known: Vec::with_capacity(32),
            touching: Vec::with_capacity(32),
            stamp: 0,
        }
    }
}

impl Arbiters {
    /// Begins a step.
    pub(super) fn begin(&mut self) {
        self.stamp += 1;
        for &i in &self.touching {
            self.known[i as usize].state = State::Normal;
        }
        self.touching.clear();
    }

    /// Notes that two shapes touch.
    pub(super) fn meet(
        &mut self,
        shapes: (usize, usize),
        all: &[Shape],
        bodies: &[Body],
        found: &Collision,
    ) {
        let (a, b) = shapes;
        let known = self
            .known
            .iter()
            .position(|arbiter| arbiter.shapes == (a, b) || arbiter.shapes == (b, a));
        let i = known.unwrap_or_else(|| {
            self.known.push(Arbiter::new(shapes));
            self.known.len() - 1
        });
        self.known[i].refresh(shapes, all, bodies, found);
        self.known[i].stamp = self.stamp;
        self.touching.push(i as u32);
    }

    /// Forgets what has been apart for long, and prepares the rest.
    pub(super) fn prepare(&mut self, bodies: &[Body], dt: f64, slop: f64, bias: f64) {
        let mut i = 0;
        while i < self.known.len() {
            let apart = self.stamp - self.known[i].stamp;
            if apart >= 1 {
                self.known[i].state = State::Cached;
            }
            if apart >= PERSISTENCE {
                let last = (self.known.len() - 1) as u32;
                self.known.swap_remove(i);
                for touching in &mut self.touching {
                    if *touching == last {
                        *touching = i as u32;
                    }
                }
            } else {
                i += 1;
            }
        }
        for &i in &self.touching {
            self.known[i as usize].prepare(bodies, dt, slop, bias);
        }
    }

    /// Begins from the impulses of the step before.
    pub(super) fn apply_cached(&self, bodies: &mut [Body], scale: f64) {
        for &i in &self.touching {
            self.known[i as usize].apply_cached(bodies, scale);
        }
    }

    /// One iteration over all contacts.
    pub(super) fn solve(&mut self, bodies: &mut [Body]) {
        for &i in &self.touching {
            self.known[i as usize].solve(bodies);
        }
    }

    /// Whether two shapes touch in this step.
    pub fn are_touching(&self, a: usize, b: usize) -> bool {
        self.touching.iter().any(|&i| {
            let shapes = self.known[i as usize].shapes;
            shapes == (a, b) || shapes == (b, a)
        })
    }
}
