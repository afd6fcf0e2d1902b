//! The world of bodies, shapes and joints, and its step.

use super::arbiter::Arbiters;
use super::body::{Body, Motion};
use super::collide::{collide, is_reversed};
use super::constraint::Constraint;
use super::shape::Shape;
use super::tree::Tree;
use super::vector::Vec2;

/// Overlap that is left alone, m.
const SLOP: f64 = 0.01;
/// Iterations of the solver.
const ITERATIONS: usize = 10;

/// A world of bodies, shapes and joints. Two equal spaces go on bit for bit the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Space {
    bodies: Vec<Body>,
    shapes: Vec<Shape>,
    constraints: Vec<Constraint>,
    tree: Tree,
    arbiters: Arbiters,
    /// Length of a step, s.
    dt: f64,
    /// Share of an overlap that is taken away in a step.
    correction: f64,
    stepped: bool,
}

/// The body that never moves, at the origin of every space.
pub const GROUND: usize = 0;

impl Space {
    /// An empty world with steps of `dt` seconds.
    pub fn new(dt: f64) -> Self {
        let left_after_a_second = f64::from(1.0_f32 - 0.1_f32).powf(60.0);
        Self {
            bodies: vec![Body::fixed(Vec2::ZERO)],
            shapes: Vec::new(),
            constraints: Vec::new(),
            tree: Tree::new(),
            arbiters: Arbiters::default(),
            dt,
            correction: 1.0 - left_after_a_second.powf(dt),
            stepped: false,
        }
    }

    /// Adds a body; its place in the space.
    pub fn add_body(&mut self, body: Body) -> usize {
        self.bodies.push(body);
        self.bodies.len() - 1
    }

    /// Adds a shape on a body of the space; its place in the space.
    pub fn add_shape(&mut self, mut shape: Shape) -> usize {
        let body = &self.bodies[shape.body];
        shape.place(&body.placement);
        let number = self.shapes.len() as u32;
        if body.motion == Motion::Static {
            self.tree.insert_fixed(number, &shape.bounds);
        } else {
            self.tree
                .insert_moving(number, &shape.bounds, body.velocity);
        }
        self.shapes.push(shape);
        number as usize
    }

    /// Adds a joint between two bodies of the space; its place in the space.
    pub fn add_constraint(&mut self, constraint: Constraint) -> usize {
        self.constraints.push(constraint);
        self.constraints.len() - 1
    }

    /// A body.
    pub fn body(&self, i: usize) -> &Body {
        &self.bodies[i]
    }

    /// A body, to be changed.
    pub fn body_mut(&mut self, i: usize) -> &mut Body {
        &mut self.bodies[i]
    }

    /// A shape.
    pub fn shape(&self, i: usize) -> &Shape {
        &self.shapes[i]
    }

    /// A joint, to be changed.
    pub fn constraint_mut(&mut self, i: usize) -> &mut Constraint {
        &mut self.constraints[i]
    }

    /// Whether two shapes touch in this step.
    pub fn are_touching(&self, a: usize, b: usize) -> bool {
        self.arbiters.are_touching(a, b)
    }

    /// Whether all numbers of all bodies are finite.
    pub fn is_finite(&self) -> bool {
        self.bodies.iter().all(Body::is_finite)
    }

    /// Lets one step pass: positions first, with the velocities of the step before, then contacts, then velocities.
    pub fn step(&mut self) {
        let dt = self.dt;
        self.arbiters.begin();
        for body in &mut self.bodies {
            if body.motion != Motion::Static {
                body.integrate(dt);
            }
        }
        self.find_contacts();

        self.arbiters
            .prepare(&self.bodies, dt, SLOP, self.correction);
        for constraint in &mut self.constraints {
            constraint.prepare(&mut self.bodies, dt);
        }
        // There is neither gravity nor damping, so velocities stay as they are here.
        let scale = if self.stepped { 1.0 } else { 0.0 };
        self.stepped = true;
        self.arbiters.apply_cached(&mut self.bodies, scale);
        for constraint in &self.constraints {
            constraint.apply_cached(&mut self.bodies, scale);
        }
        for _ in 0..ITERATIONS {
            self.arbiters.solve(&mut self.bodies);
            for constraint in &mut self.constraints {
                constraint.solve(&mut self.bodies, dt);
            }
        }
    }

    fn find_contacts(&mut self) {
        let Self {
            bodies,
            shapes,
            tree,
            arbiters,
            ..
        } = self;
        for shape in shapes.iter_mut() {
            let body = &bodies[shape.body];
            if body.motion != Motion::Static {
                shape.place(&body.placement);
            }
        }
        let place = |i: u32| {
            let shape = &shapes[i as usize];
            (shape.bounds, bodies[shape.body].velocity)
        };
        tree.update(place, |i, j, id| {
            let (i, j) = (i as usize, j as usize);
            let (a, b) = (&shapes[i], &shapes[j]);
            if !a.bounds.intersects(&b.bounds)
                || a.body == b.body
                || (a.group != 0 && a.group == b.group)
                || a.sensor
                || b.sensor
            {
                return id;
            }
            let (i, j) = if is_reversed(a, b) { (j, i) } else { (i, j) };
            let found = collide((i, &shapes[i]), (j, &shapes[j]), id);
            if !found.touches().is_empty() {
                arbiters.meet((i, j), shapes, bodies, &found);
            }
            found.id
        });
    }
}
