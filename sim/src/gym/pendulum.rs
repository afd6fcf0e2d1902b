//! Pendulum-v1: swing a pendulum up with a motor that is too weak to lift it.

use std::f64::consts::{FRAC_PI_2, PI, TAU};

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::canvas::Canvas;
use super::classic::{ClassicSpec, Dynamics, single};
use crate::environment::{Actions, Outcome};

const GRAVITY: f64 = 10.0;
const TIMESTEP_S: f64 = 0.05;
const TOP_SPEED: f64 = 8.0;
/// The strongest torque, N m.
const TORQUE: f64 = 2.0;
/// How far from upright still is upright, rad.
const UPRIGHT: f64 = 0.1;

/// A pendulum of 1 kg and 1 m. The action is the torque, cut off at 2 N m; the reward is minus the squared angle from upright,
/// a tenth of the squared speed and a thousandth of the squared torque. The episode never ends by itself.
///
/// Progress is the angle from upright, negative, in rad; success is an angle within 0.1 rad.
#[derive(Clone, Debug, PartialEq)]
pub struct Pendulum {
    /// Angle from upright, rad, not wrapped.
    theta: f64,
    theta_dot: f64,
    /// The last torque, for the picture.
    torque: Option<f64>,
}

impl Dynamics for Pendulum {
    const SPEC: ClassicSpec = ClassicSpec {
        name: "Pendulum-v1",
        instruction: "swing the pendulum up and hold it upright",
        state: &["theta", "theta_dot"],
        observation: &["cos_theta", "sin_theta", "theta_dot"],
        max_steps: 200,
        hz: 1.0 / TIMESTEP_S,
        screen: (500.0, 500.0),
    };

    fn actions() -> Actions {
        Actions::Continuous(vec![(-TORQUE, TORQUE)])
    }

    fn start(rng: &mut ChaCha8Rng) -> Self {
        Self::at(&[rng.random_range(-PI..PI), rng.random_range(-1.0..1.0)])
    }

    fn at(state: &[f64]) -> Self {
        Self {
            theta: state[0],
            theta_dot: state[1],
            torque: None,
        }
    }

    fn observe(&self, out: &mut [f64]) {
        out.copy_from_slice(&[self.theta.cos(), self.theta.sin(), self.theta_dot].map(single));
    }

    fn step(&mut self, action: f64) -> Outcome {
        let torque = single(action).clamp(-TORQUE, TORQUE);
        let angle = wrapped(self.theta);
        // What has only the torque in it is single precision, as in Gymnasium.
        let effort = single(single(0.001) * single(torque * torque));
        let cost = angle * angle + 0.1 * (self.theta_dot * self.theta_dot) + effort;
        let acceleration = 3.0 * GRAVITY / 2.0 * self.theta.sin() + single(3.0 * torque);
        let speed = self.theta_dot + acceleration * TIMESTEP_S;
        self.theta_dot = speed.clamp(-TOP_SPEED, TOP_SPEED);
        self.theta += self.theta_dot * TIMESTEP_S;
        self.torque = Some(torque);
        let off = wrapped(self.theta).abs();
        Outcome {
            reward: -cost,
            progress: -off,
            success: off < UPRIGHT,
            terminated: false,
            truncated: false,
        }
    }

    fn draw(&self, canvas: &mut Canvas) {
        const RED: [u8; 3] = [204, 77, 77];
        let (middle, scale) = ((250.0, 250.0), 500.0 / 4.4);
        let (half, turn) = (0.1 * scale, self.theta + FRAC_PI_2);
        canvas.rectangle(middle, turn, (0.0, scale), (-half, half), RED);
        let end = (middle.0 + scale * turn.cos(), middle.1 + scale * turn.sin());
        canvas.disc(middle, half, RED);
        canvas.disc(end, half, RED);
        if let Some(torque) = self.torque.filter(|torque| torque.abs() > 0.01) {
            canvas.turning_arrow(middle, 0.25 * scale * torque.abs(), torque.signum());
        }
        canvas.disc(middle, 0.05 * scale, [0, 0, 0]);
    }
}

/// An angle within -pi and pi.
fn wrapped(angle: f64) -> f64 {
    (angle + PI).rem_euclid(TAU) - PI
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hanging_still_costs_the_square_of_pi() {
        let mut state = Pendulum::at(&[PI, 0.0]);
        let outcome = state.step(0.0);
        assert!((outcome.reward + PI * PI).abs() < 1e-12);
        assert!((outcome.progress + PI).abs() < 1e-12 && !outcome.success);
    }

    #[test]
    fn a_torque_beyond_the_motor_is_cut_off() {
        let (mut weak, mut strong) = (Pendulum::at(&[0.3, 0.1]), Pendulum::at(&[0.3, 0.1]));
        assert_eq!(weak.step(2.0), strong.step(200.0));
        assert_eq!(weak, strong);
    }

    #[test]
    fn standing_is_success() {
        assert!(Pendulum::at(&[TAU, 0.0]).step(0.0).success);
    }
}
