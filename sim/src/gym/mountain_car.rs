//! MountainCar-v0 and MountainCarContinuous-v0: swing a weak car up a hill (Moore 1990).

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::canvas::Canvas;
use super::classic::{ClassicSpec, Dynamics, single};
use crate::environment::{Actions, Outcome};

const LEFT_END: f64 = -1.2;
const RIGHT_END: f64 = 0.6;
const TOP_SPEED: f64 = 0.07;
const GRAVITY: f64 = 0.0025;

/// A car that can be pushed left (0), not at all (1) or right (2). The reward is -1 for every step; the episode ends at the
/// flag, 0.5, unless the car rolls back there.
///
/// Progress is the distance to the flag, negative; success is the end at the flag.
#[derive(Clone, Debug, PartialEq)]
pub struct MountainCar {
    position: f64,
    velocity: f64,
}

impl MountainCar {
    const FLAG: f64 = 0.5;
    const FORCE: f64 = 0.001;
}

impl Dynamics for MountainCar {
    const SPEC: ClassicSpec = ClassicSpec {
        name: "MountainCar-v0",
        instruction: "drive the car up the mountain to the flag",
        state: &["position", "velocity"],
        observation: &["position", "velocity"],
        max_steps: 200,
        hz: 30.0,
        screen: (600.0, 400.0),
    };

    fn actions() -> Actions {
        Actions::Choice(3)
    }

    fn start(rng: &mut ChaCha8Rng) -> Self {
        Self::at(&[rng.random_range(-0.6..-0.4), 0.0])
    }

    fn at(state: &[f64]) -> Self {
        Self {
            position: state[0],
            velocity: state[1],
        }
    }

    fn observe(&self, out: &mut [f64]) {
        out.copy_from_slice(&[self.position, self.velocity].map(single));
    }

    fn step(&mut self, action: f64) -> Outcome {
        let push = (action - 1.0) * Self::FORCE + (3.0 * self.position).cos() * -GRAVITY;
        self.velocity = (self.velocity + push).clamp(-TOP_SPEED, TOP_SPEED);
        self.position = (self.position + self.velocity).clamp(LEFT_END, RIGHT_END);
        if self.position == LEFT_END && self.velocity < 0.0 {
            self.velocity = 0.0;
        }
        let there = self.position >= Self::FLAG && self.velocity >= 0.0;
        Outcome {
            reward: -1.0,
            progress: (self.position - Self::FLAG).min(0.0),
            success: there,
            terminated: there,
            truncated: false,
        }
    }

    fn draw(&self, canvas: &mut Canvas) {
        draw(canvas, self.position, Self::FLAG);
    }
}

/// A car with an engine of -1 to 1. The reward is 100 at the flag, 0.45, where the episode ends, less a tenth of the square of
/// the action for every step.
///
/// Progress is the distance to the flag, negative; success is the end at the flag.
#[derive(Clone, Debug, PartialEq)]
pub struct MountainCarContinuous {
    position: f64,
    velocity: f64,
    /// Gymnasium's state has double precision at the start of an episode and single precision from the first step on, and
    /// so has its arithmetic.
    single: bool,
}

impl MountainCarContinuous {
    const FLAG: f64 = 0.45;
    const POWER: f64 = 0.0015;
}

impl Dynamics for MountainCarContinuous {
    const SPEC: ClassicSpec = ClassicSpec {
        name: "MountainCarContinuous-v0",
        instruction: "drive the car up the mountain to the flag",
        state: &["position", "velocity"],
        observation: &["position", "velocity"],
        max_steps: 999,
        hz: 30.0,
        screen: (600.0, 400.0),
    };

    fn actions() -> Actions {
        Actions::Continuous(vec![(-1.0, 1.0)])
    }

    fn start(rng: &mut ChaCha8Rng) -> Self {
        Self::at(&[rng.random_range(-0.6..-0.4), 0.0])
    }

    fn at(state: &[f64]) -> Self {
        Self {
            position: state[0],
            velocity: state[1],
            single: false,
        }
    }

    fn observe(&self, out: &mut [f64]) {
        out.copy_from_slice(&[self.position, self.velocity].map(single));
    }

    fn step(&mut self, action: f64) -> Outcome {
        let round = |value: f64| if self.single { single(value) } else { value };
        let action = single(action);
        let pull = GRAVITY * round(3.0 * self.position).cos();
        // The engine's part is single precision, unless the action had to be cut off, which makes it a double.
        let push = if action.abs() > 1.0 {
            action.signum() * Self::POWER - pull
        } else {
            single(single(action * single(Self::POWER)) - single(pull))
        };
        let top = round(TOP_SPEED);
        let mut velocity = round(self.velocity + round(push)).clamp(-top, top);
        let position = round(self.position + velocity).clamp(round(LEFT_END), round(RIGHT_END));
        if position == round(LEFT_END) && velocity < 0.0 {
            velocity = 0.0;
        }
        let there = position >= round(Self::FLAG) && velocity >= 0.0;
        (self.position, self.velocity) = (single(position), single(velocity));
        self.single = true;
        let bonus = if there { 100.0 } else { 0.0 };
        Outcome {
            reward: bonus - action * action * 0.1,
            progress: (self.position - Self::FLAG).min(0.0),
            success: there,
            terminated: there,
            truncated: false,
        }
    }

    fn draw(&self, canvas: &mut Canvas) {
        draw(canvas, self.position, Self::FLAG);
    }
}

fn draw(canvas: &mut Canvas, position: f64, flag: f64) {
    const CLEARANCE: f64 = 10.0;
    let scale = 600.0 / (RIGHT_END - LEFT_END);
    let on_screen = |x: f64| {
        let height = (3.0 * x).sin() * 0.45 + 0.55;
        ((x - LEFT_END) * scale, height * scale)
    };
    let hill: Vec<_> = (0..100)
        .map(|i| on_screen(LEFT_END + (RIGHT_END - LEFT_END) * f64::from(i) / 99.0))
        .collect();
    canvas.line(&hill, 1.0, [0, 0, 0]);
    let (x, y) = on_screen(flag);
    canvas.line(&[(x, y), (x, y + 50.0)], 1.0, [0, 0, 0]);
    canvas.polygon(
        &[(x, y + 50.0), (x, y + 40.0), (x + 25.0, y + 45.0)],
        [204, 204, 0],
    );
    let (x, y) = on_screen(position);
    // Gymnasium turns the car by the slope's number as if it were its angle.
    let turn = (3.0 * position).cos();
    let above = (x, y + CLEARANCE);
    canvas.rectangle(above, turn, (-20.0, 20.0), (0.0, 20.0), [0, 0, 0]);
    for side in [10.0, -10.0] {
        let wheel = (above.0 + side * turn.cos(), above.1 + side * turn.sin());
        canvas.disc(wheel, 8.0, [128, 128, 128]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_episode_ends_at_the_flag_with_speed_that_does_not_lead_back() {
        assert!(MountainCar::at(&[0.49, 0.03]).step(2.0).terminated);
        assert!(!MountainCar::at(&[0.45, 0.03]).step(2.0).terminated);
        assert!(!MountainCar::at(&[0.56, -0.02]).step(0.0).terminated);
        let end = MountainCarContinuous::at(&[0.44, 0.03]).step(1.0);
        assert!(end.terminated && end.success);
        assert_eq!(end.reward, 100.0 - 0.1);
    }

    #[test]
    fn the_wall_on_the_left_stops_the_car() {
        let mut car = MountainCar::at(&[-1.19, -0.07]);
        car.step(0.0);
        assert_eq!(car, MountainCar::at(&[LEFT_END, 0.0]));
        let mut car = MountainCarContinuous::at(&[-1.19, -0.07]);
        car.step(-1.0);
        assert_eq!((car.position, car.velocity), (single(LEFT_END), 0.0));
        assert_eq!(car.step(-1.0).reward, -0.1);
    }
}
