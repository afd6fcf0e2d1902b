//! CartPole-v1: keep a pole upright on a cart that can be pushed left or right (Barto, Sutton and Anderson 1983).

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::canvas::Canvas;
use super::classic::{ClassicSpec, Dynamics, single};
use crate::environment::{Actions, Outcome};

const GRAVITY: f64 = 9.8;
const POLE_MASS: f64 = 0.1;
const TOTAL_MASS: f64 = POLE_MASS + 1.0;
/// Half the pole's length, m.
const HALF_LENGTH: f64 = 0.5;
const POLE_MOMENT: f64 = POLE_MASS * HALF_LENGTH;
/// What a push is, N.
const FORCE: f64 = 10.0;
const TIMESTEP_S: f64 = 0.02;
/// Half the track, m.
const TRACK: f64 = 2.4;
/// How far the pole may lean, rad.
const LEAN: f64 = 12.0 * 2.0 * std::f64::consts::PI / 360.0;

/// A pole on a cart. Action 0 pushes left, 1 right; the reward is 1 for every step, the one that ends the episode
/// included. The episode ends when the pole leans more than 12 degrees or the cart leaves the track.
///
/// Progress is the angle of the pole from upright, negative, in rad; success is a pole that still stands.
#[derive(Clone, Debug, PartialEq)]
pub struct CartPole {
    x: f64,
    x_dot: f64,
    theta: f64,
    theta_dot: f64,
    /// The episode has ended already.
    over: bool,
}

impl Dynamics for CartPole {
    const SPEC: ClassicSpec = ClassicSpec {
        name: "CartPole-v1",
        instruction: "keep the pole upright on top of the cart",
        state: &["x", "x_dot", "theta", "theta_dot"],
        observation: &[
            "cart_position",
            "cart_velocity",
            "pole_angle",
            "pole_velocity",
        ],
        max_steps: 500,
        hz: 1.0 / TIMESTEP_S,
        screen: (600.0, 400.0),
    };

    fn actions() -> Actions {
        Actions::Choice(2)
    }

    fn start(rng: &mut ChaCha8Rng) -> Self {
        Self::at(&[(); 4].map(|()| rng.random_range(-0.05..0.05)))
    }

    fn at(state: &[f64]) -> Self {
        Self {
            x: state[0],
            x_dot: state[1],
            theta: state[2],
            theta_dot: state[3],
            over: false,
        }
    }

    fn observe(&self, out: &mut [f64]) {
        out.copy_from_slice(&[self.x, self.x_dot, self.theta, self.theta_dot].map(single));
    }

    fn step(&mut self, action: f64) -> Outcome {
        let force = if action == 1.0 { FORCE } else { -FORCE };
        let (sin, cos) = (self.theta.sin(), self.theta.cos());
        let push = (force + POLE_MOMENT * (self.theta_dot * self.theta_dot) * sin) / TOTAL_MASS;
        let theta_acc = (GRAVITY * sin - cos * push)
            / (HALF_LENGTH * (4.0 / 3.0 - POLE_MASS * (cos * cos) / TOTAL_MASS));
        let x_acc = push - POLE_MOMENT * theta_acc * cos / TOTAL_MASS;
        // Explicit Euler: positions move with the velocities of before.
        self.x += TIMESTEP_S * self.x_dot;
        self.x_dot += TIMESTEP_S * x_acc;
        self.theta += TIMESTEP_S * self.theta_dot;
        self.theta_dot += TIMESTEP_S * theta_acc;
        let terminated = self.x.abs() > TRACK || self.theta.abs() > LEAN;
        let reward = if terminated && self.over { 0.0 } else { 1.0 };
        self.over |= terminated;
        Outcome {
            reward,
            progress: -self.theta.abs(),
            success: !terminated,
            terminated,
            truncated: false,
        }
    }

    fn draw(&self, canvas: &mut Canvas) {
        let scale = 600.0 / (2.0 * TRACK);
        let (x, y, axle) = (self.x * scale + 300.0, 100.0, 107.5);
        canvas.line(&[(0.0, y), (600.0, y)], 1.0, [0, 0, 0]);
        canvas.rectangle((x, y), 0.0, (-25.0, 25.0), (-15.0, 15.0), [0, 0, 0]);
        let length = 2.0 * HALF_LENGTH * scale;
        let brown = [202, 152, 101];
        canvas.rectangle(
            (x, axle),
            -self.theta,
            (-5.0, 5.0),
            (-5.0, length - 5.0),
            brown,
        );
        canvas.disc((x, axle), 5.0, [129, 132, 203]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_episode_ends_where_the_pole_leans_too_far_or_the_track_ends() {
        let step = |state: [f64; 4]| CartPole::at(&state).step(1.0);
        assert!(!step([0.0, 0.0, LEAN - 1e-3, 0.0]).terminated);
        assert!(step([0.0, 0.0, LEAN - 1e-3, 0.1]).terminated);
        assert!(step([0.0, 0.0, 1e-3 - LEAN, -0.1]).terminated);
        assert!(!step([TRACK - 1e-3, 0.0, 0.0, 0.0]).terminated);
        assert!(step([TRACK - 1e-3, 0.1, 0.0, 0.0]).terminated);
        assert!(step([1e-3 - TRACK, -0.1, 0.0, 0.0]).terminated);
    }

    #[test]
    fn the_step_that_ends_the_episode_is_rewarded_and_later_ones_are_not() {
        let mut state = CartPole::at(&[0.0, 0.0, LEAN, 1.0]);
        let rewards = [(); 3].map(|()| state.step(1.0).reward);
        assert_eq!(rewards, [1.0, 0.0, 0.0]);
    }
}
