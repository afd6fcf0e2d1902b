//! The four bodies that a policy can have, and how its actions move them.

use std::f64::consts::PI;

use super::body::{Body, disc_inertia, polygon_inertia, rectangle_inertia};
use super::constraint::Constraint;
use super::shape::Shape;
use super::space::Space;
use super::vector::{Placement, Vec2, vec2};

/// Half the width that the robots are scaled by, m.
pub const ROBOT_RADIUS: f64 = 0.2;
const MASS: f64 = 1.0;
/// Fastest drive, m/s.
const MOST_SPEED: f64 = 4.0 * ROBOT_RADIUS;
/// Widest turn that one action asks for, rad.
const MOST_TURN: f64 = 1.5;
/// How far a finger opens, rad.
const FINGER_OPEN: f64 = PI / 8.0;
/// Parts of the robot do not collide with each other.
const GROUP: u32 = 1;

const FINGER_THICKNESS: f64 = 0.25 * ROBOT_RADIUS;
const FINGER_UPPER: f64 = 1.1 * ROBOT_RADIUS;
const FINGER_LOWER: f64 = 0.7 * ROBOT_RADIUS;

/// What the robot looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Embodiment {
    /// A disc with two fingers.
    Gripper,
    /// A stick of 0.3 m.
    Shortstick,
    /// A stick of 0.6 m.
    Mediumstick,
    /// A stick of 1.6 m.
    Longstick,
}

impl Embodiment {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Gripper,
        Self::Shortstick,
        Self::Mediumstick,
        Self::Longstick,
    ];

    /// In names of environments.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gripper => "gripper",
            Self::Shortstick => "shortstick",
            Self::Mediumstick => "mediumstick",
            Self::Longstick => "longstick",
        }
    }

    /// Length of an action: speed, turn and, with fingers, how far they close.
    pub fn action_len(self) -> usize {
        match self {
            Self::Gripper => 3,
            _ => 2,
        }
    }

    /// Width and depth of a stick, m.
    pub fn stick(self) -> Option<(f64, f64)> {
        let width = match self {
            Self::Gripper => return None,
            Self::Shortstick => 1.5,
            Self::Mediumstick => 3.0,
            Self::Longstick => 8.0,
        };
        Some((width * ROBOT_RADIUS, 0.5 * ROBOT_RADIUS))
    }
}

/// The corners of a finger's two bars: the upper one from its root upwards, the lower one bent inwards on top of it. `inset` is
/// taken off all around.
pub(super) fn finger_bars(side: f64, inset: f64) -> [[Vec2; 4]; 2] {
    let thickness = FINGER_THICKNESS - inset * 2.0;
    let upper = FINGER_UPPER - inset * 2.0;
    let lower = FINGER_LOWER - inset * 2.0;
    let bar = |length: f64| {
        let (w, h) = (thickness / 2.0, length / 2.0);
        [vec2(w, h), vec2(-w, h), vec2(-w, -h), vec2(w, -h)]
    };
    let up = vec2(0.0, upper / 2.0);
    let bend = Vec2::from_angle(side * PI / 8.0);
    let start = vec2(side * thickness / 2.0, upper / 2.0);
    let offset = vec2(-side * thickness / 2.0, lower / 2.0);
    let middle = start + offset.rotate(bend) + up;
    let inset = vec2(0.0, inset);
    [
        bar(upper).map(|corner| corner + up + inset),
        bar(lower).map(|corner| corner.rotate(bend) + middle + inset),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct Finger {
    body: usize,
    motor: usize,
    side: f64,
}

/// A robot in a space.
#[derive(Clone, Debug, PartialEq)]
pub struct Robot {
    embodiment: Embodiment,
    body: usize,
    shape: usize,
    control: usize,
    pupils: [usize; 2],
    fingers: Vec<Finger>,
    speed: f64,
    turn: f64,
    finger_angle: f64,
}

impl Robot {
    /// Puts a robot into a space at `position`, looking along its y axis turned by `angle`, rad.
    pub fn new(space: &mut Space, embodiment: Embodiment, position: Vec2, angle: f64) -> Self {
        let inertia = match embodiment.stick() {
            None => disc_inertia(MASS, ROBOT_RADIUS),
            Some((width, height)) => rectangle_inertia(MASS, width, height),
        };
        let body = space.add_body(Body::dynamic(MASS, inertia, position, angle));
        let pupils = [(); 2].map(|()| {
            // The pupils of its eyes swing with the robot. They weigh little, but they turn it.
            let mass = MASS / 10.0;
            let inertia = disc_inertia(mass, ROBOT_RADIUS);
            let pupil = space.add_body(Body::dynamic(mass, inertia, Vec2::ZERO, angle));
            space.add_constraint(Constraint::rotary_spring(body, pupil, 0.1, 3e-3));
            pupil
        });
        let mut fingers = Vec::new();
        if embodiment == Embodiment::Gripper {
            for side in [-1.0, 1.0] {
                fingers.push(add_finger(space, (body, position, angle), side));
            }
        }
        let control = space.add_body(Body::kinematic(position, angle));
        let hold = Constraint::pivot(control, body, Vec2::ZERO, Vec2::ZERO);
        space.add_constraint(hold.with_max_bias(0.0).with_max_force(5.0));
        let steer = Constraint::gear(control, body).with_error_bias(0.0);
        space.add_constraint(steer.with_max_bias(2.5).with_max_force(1.0));

        let shape = match embodiment.stick() {
            None => Shape::circle(body, ROBOT_RADIUS),
            Some((width, height)) => {
                let (w, h) = (width / 2.0, height / 2.0);
                Shape::hull(body, &[vec2(-w, h), vec2(w, h), vec2(w, -h), vec2(-w, -h)])
            }
        };
        let shape = space.add_shape(shape.with_group(GROUP).with_friction(0.5));
        for finger in &fingers {
            for bar in finger_bars(finger.side, 0.0) {
                let bar = Shape::hull(finger.body, &bar);
                space.add_shape(bar.with_group(GROUP).with_friction(5.0));
            }
        }
        Self {
            embodiment,
            body,
            shape,
            control,
            pupils,
            fingers,
            speed: 0.0,
            turn: 0.0,
            finger_angle: 0.0,
        }
    }

    /// What it looks like.
    pub fn embodiment(&self) -> Embodiment {
        self.embodiment
    }

    /// Its body in the space.
    pub fn body(&self) -> usize {
        self.body
    }

    /// The shape of its body in the space, without fingers.
    pub fn shape(&self) -> usize {
        self.shape
    }

    /// The bodies of its pupils in the space; their angle is where they look.
    pub fn pupils(&self) -> [usize; 2] {
        self.pupils
    }

    /// The bodies of its fingers in the space, left and right, with -1 and 1; none for a stick.
    pub fn fingers(&self) -> impl Iterator<Item = (usize, f64)> {
        self.fingers.iter().map(|finger| (finger.body, finger.side))
    }

    /// How far the fingers are open, 0 to 1; None for a stick.
    pub fn finger_width(&self, space: &Space) -> Option<f64> {
        let [left, right] = &self.fingers[..] else {
            return None;
        };
        let angle = space.body(left.body).angle - space.body(right.body).angle;
        Some((angle.to_degrees() / 45.0).clamp(0.0, 1.0))
    }

    /// Takes an action: speed along the robot's y axis, m/s, the turn it aims at, rad, and how far the fingers close, rad. Numbers
    /// beyond what the robot can do are cut off.
    pub fn act(&mut self, action: &[f64]) {
        self.speed = action[0].clamp(-MOST_SPEED, MOST_SPEED);
        self.turn = action[1].clamp(-MOST_TURN, MOST_TURN);
        if let Some(close) = action.get(2) {
            self.finger_angle = (FINGER_OPEN - close).clamp(0.0, FINGER_OPEN);
        }
    }

    /// Sets the goals of its joints, before every step of the space.
    pub fn update(&self, space: &mut Space) {
        let body = space.body(self.body);
        let (angle, rotation) = (body.angle, body.placement.rotation);
        let control = space.body_mut(self.control);
        control.set_angle(angle + self.turn);
        control.velocity = rotation.rotate(vec2(0.0, self.speed));
        for finger in &self.fingers {
            let error = space.body(finger.body).angle - angle + finger.side * self.finger_angle;
            let rate = (error * 10.0).clamp(-1.0, 1.0);
            let rate = if rate.abs() < 1e-4 { 0.0 } else { rate };
            space.constraint_mut(finger.motor).set_rate(rate);
        }
    }
}

fn add_finger(space: &mut Space, (body, position, angle): (usize, Vec2, f64), side: f64) -> Finger {
    let bars = finger_bars(side, 0.0);
    let mass = MASS / 8.0;
    let inertia = polygon_inertia(mass, bars.as_flattened());
    let (low, high) = if side < 0.0 {
        (-0.0, FINGER_OPEN)
    } else {
        (-FINGER_OPEN, 0.0)
    };
    let open = angle - side * FINGER_OPEN;
    let root = vec2(side * ROBOT_RADIUS * 0.45, ROBOT_RADIUS * 0.1);
    let at = position + root.rotate(Vec2::from_angle(angle));
    let finger = space.add_body(Body::dynamic(mass, inertia, at, open));
    let anchor = |place: Vec2, angle: f64| Placement::new(place, angle).local_point(at);
    let pivot = Constraint::pivot(body, finger, anchor(position, angle), anchor(at, open));
    space.add_constraint(pivot.with_error_bias(0.0));
    let limit = Constraint::rotary_limit(body, finger, low, high);
    space.add_constraint(limit.with_error_bias(0.0));
    let motor = space.add_constraint(Constraint::motor(body, finger).with_max_force(4.0));
    Finger {
        body: finger,
        motor,
        side,
    }
}
