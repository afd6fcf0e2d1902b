//! Joints and motors between two bodies.

use super::arbiter::two;
use super::body::Body;
use super::vector::Vec2;

/// What a joint holds, with the impulse that it has applied so far in this step and the last, N s or N m s.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// Two points stay together.
    Pivot {
        anchors: [Vec2; 2],
        arms: [Vec2; 2],
        /// Inverse of the two bodies' mobility, row by row.
        mass: [f64; 4],
        bias: Vec2,
        impulse: Vec2,
    },
    /// The angles stay equal.
    Gear {
        inertia: f64,
        bias: f64,
        impulse: f64,
    },
    /// The difference of the angles stays within limits, rad.
    RotaryLimit {
        low: f64,
        high: f64,
        inertia: f64,
        bias: f64,
        impulse: f64,
    },
    /// The difference of the spins is `-rate`, rad/s.
    Motor {
        rate: f64,
        inertia: f64,
        impulse: f64,
    },
    /// A spring between the angles: stiffness in N m/rad, damping in N m s/rad.
    RotarySpring {
        stiffness: f64,
        damping: f64,
        inertia: f64,
        share: f64,
        target: f64,
    },
}

/// A joint between two bodies.
#[derive(Clone, Debug, PartialEq)]
pub struct Constraint {
    bodies: (usize, usize),
    kind: Kind,
    /// Most force, N, or torque, N m.
    max_force: f64,
    /// Share of an error that is left after a second.
    error_bias: f64,
    /// Most speed at which an error is taken away, m/s or rad/s.
    max_bias: f64,
    /// Share of an error that is taken away in a step, and the length of the step that it is for, s.
    correction: (f64, f64),
}

fn cut(value: f64, limit: f64) -> f64 {
    value.max(-limit).min(limit)
}

impl Constraint {
    fn new(a: usize, b: usize, kind: Kind) -> Self {
        Self {
            bodies: (a, b),
            kind,
            max_force: f64::INFINITY,
            error_bias: f64::from(1.0_f32 - 0.1_f32).powf(60.0),
            max_bias: f64::INFINITY,
            correction: (0.0, 0.0),
        }
    }

    /// Holds the point `anchor_a` on body `a` to `anchor_b` on body `b`.
    pub fn pivot(a: usize, b: usize, anchor_a: Vec2, anchor_b: Vec2) -> Self {
        let kind = Kind::Pivot {
            anchors: [anchor_a, anchor_b],
            arms: [Vec2::ZERO; 2],
            mass: [0.0; 4],
            bias: Vec2::ZERO,
            impulse: Vec2::ZERO,
        };
        Self::new(a, b, kind)
    }

    /// Holds the angles of both bodies together.
    pub fn gear(a: usize, b: usize) -> Self {
        let kind = Kind::Gear {
            inertia: 0.0,
            bias: 0.0,
            impulse: 0.0,
        };
        Self::new(a, b, kind)
    }

    /// Keeps the angle of `b` less that of `a` within `(low, high)`, rad.
    pub fn rotary_limit(a: usize, b: usize, low: f64, high: f64) -> Self {
        let kind = Kind::RotaryLimit {
            low,
            high,
            inertia: 0.0,
            bias: 0.0,
            impulse: 0.0,
        };
        Self::new(a, b, kind)
    }

    /// Turns `b` against `a`, see [`Constraint::set_rate`].
    pub fn motor(a: usize, b: usize) -> Self {
        let kind = Kind::Motor {
            rate: 0.0,
            inertia: 0.0,
            impulse: 0.0,
        };
        Self::new(a, b, kind)
    }

    /// A spring that draws the angles of both together.
    pub fn rotary_spring(a: usize, b: usize, stiffness: f64, damping: f64) -> Self {
        let kind = Kind::RotarySpring {
            stiffness,
            damping,
            inertia: 0.0,
            share: 0.0,
            target: 0.0,
        };
        Self::new(a, b, kind)
    }

    /// With at most this force, N, or torque, N m.
    pub fn with_max_force(mut self, force: f64) -> Self {
        self.max_force = force;
        self
    }

    /// With at most this speed for errors, m/s or rad/s.
    pub fn with_max_bias(mut self, speed: f64) -> Self {
        self.max_bias = speed;
        self
    }

    /// With this share of an error left after a second.
    pub fn with_error_bias(mut self, share: f64) -> Self {
        self.error_bias = share;
        self
    }

    /// Sets a motor's rate, rad/s: the spin of the first body less that of the second. Nothing for other joints.
    pub fn set_rate(&mut self, new: f64) {
        if let Kind::Motor { rate, .. } = &mut self.kind {
            *rate = new;
        }
    }

    pub(super) fn prepare(&mut self, bodies: &mut [Body], dt: f64) {
        if self.correction.1 != dt {
            self.correction = (1.0 - self.error_bias.powf(dt), dt);
        }
        let correction = self.correction.0;
        let max_bias = self.max_bias;
        let [a, b] = two(bodies, self.bodies);
        let turning = a.inverse_inertia + b.inverse_inertia;
        match &mut self.kind {
            Kind::Pivot {
                anchors,
                arms,
                mass,
                bias,
                ..
            } => {
                *arms = [
                    a.placement.direction(anchors[0]),
                    b.placement.direction(anchors[1]),
                ];
                *mass = inverse_mobility(a, b, *arms);
                let delta = (b.position + arms[1]) - (a.position + arms[0]);
                *bias = (delta * (-correction / dt)).clamp_length(max_bias);
            }
            Kind::Gear { inertia, bias, .. } => {
                *inertia = 1.0 / turning;
                *bias = cut(-correction * (b.angle - a.angle) / dt, max_bias);
            }
            Kind::RotaryLimit {
                low,
                high,
                inertia,
                bias,
                impulse,
            } => {
                let angle = b.angle - a.angle;
                let beyond = if angle > *high {
                    *high - angle
                } else if angle < *low {
                    *low - angle
                } else {
                    0.0
                };
                *inertia = 1.0 / turning;
                *bias = cut(-correction * beyond / dt, max_bias);
                if *bias == 0.0 {
                    *impulse = 0.0;
                }
            }
            Kind::Motor { inertia, .. } => *inertia = 1.0 / turning,
            Kind::RotarySpring {
                stiffness,
                damping,
                inertia,
                share,
                target,
            } => {
                *inertia = 1.0 / turning;
                *share = 1.0 - (-*damping * dt * turning).exp();
                *target = 0.0;
                let push = (a.angle - b.angle) * *stiffness * dt;
                a.spin -= push * a.inverse_inertia;
                b.spin += push * b.inverse_inertia;
            }
        }
    }

    /// Begins from the impulse of the step before.
    pub(super) fn apply_cached(&self, bodies: &mut [Body], scale: f64) {
        let [a, b] = two(bodies, self.bodies);
        match &self.kind {
            Kind::Pivot { arms, impulse, .. } => {
                let push = *impulse * scale;
                a.push(-push, arms[0]);
                b.push(push, arms[1]);
            }
            Kind::Gear { impulse, .. }
            | Kind::RotaryLimit { impulse, .. }
            | Kind::Motor { impulse, .. } => turn(a, b, impulse * scale),
            Kind::RotarySpring { .. } => {}
        }
    }

    /// One iteration.
    pub(super) fn solve(&mut self, bodies: &mut [Body], dt: f64) {
        let [a, b] = two(bodies, self.bodies);
        let most = self.max_force * dt;
        match &mut self.kind {
            Kind::Pivot {
                arms,
                mass,
                bias,
                impulse,
                ..
            } => {
                let missing = *bias - (b.velocity_at(arms[1]) - a.velocity_at(arms[0]));
                let push = Vec2 {
                    x: missing.x * mass[0] + missing.y * mass[1],
                    y: missing.x * mass[2] + missing.y * mass[3],
                };
                let old = *impulse;
                *impulse = (old + push).clamp_length(most);
                let push = *impulse - old;
                a.push(-push, arms[0]);
                b.push(push, arms[1]);
            }
            Kind::Gear {
                inertia,
                bias,
                impulse,
            } => {
                let push = (*bias - (b.spin - a.spin)) * *inertia;
                let old = *impulse;
                *impulse = cut(old + push, most);
                turn(a, b, *impulse - old);
            }
            Kind::RotaryLimit {
                inertia,
                bias,
                impulse,
                ..
            } => {
                if *bias == 0.0 {
                    return;
                }
                let push = -(*bias + (b.spin - a.spin)) * *inertia;
                let old = *impulse;
                *impulse = if *bias < 0.0 {
                    (old + push).max(0.0).min(most)
                } else {
                    (old + push).max(-most).min(0.0)
                };
                turn(a, b, *impulse - old);
            }
            Kind::Motor {
                rate,
                inertia,
                impulse,
            } => {
                let push = -(b.spin - a.spin + *rate) * *inertia;
                let old = *impulse;
                *impulse = cut(old + push, most);
                turn(a, b, *impulse - old);
            }
            Kind::RotarySpring {
                inertia,
                share,
                target,
                ..
            } => {
                let spin = a.spin - b.spin;
                let loss = (*target - spin) * *share;
                *target = spin + loss;
                let push = loss * *inertia;
                a.spin += push * a.inverse_inertia;
                b.spin -= push * b.inverse_inertia;
            }
        }
    }
}

fn turn(a: &mut Body, b: &mut Body, impulse: f64) {
    a.spin -= impulse * a.inverse_inertia;
    b.spin += impulse * b.inverse_inertia;
}

/// The matrix from a change of velocity between the ends of the two arms to the impulse that makes it, row by row.
fn inverse_mobility(a: &Body, b: &Body, [r1, r2]: [Vec2; 2]) -> [f64; 4] {
    let mass = a.inverse_mass + b.inverse_mass;
    let (mut k11, mut k12, mut k22) = (mass, 0.0, mass);
    for (r, inertia) in [(r1, a.inverse_inertia), (r2, b.inverse_inertia)] {
        k11 += r.y * r.y * inertia;
        k12 += -r.x * r.y * inertia;
        k22 += r.x * r.x * inertia;
    }
    let scale = 1.0 / (k11 * k22 - k12 * k12);
    [k22 * scale, -k12 * scale, -k12 * scale, k11 * scale]
}
