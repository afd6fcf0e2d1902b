//! Gymnasium's classic benchmarks, with the observations, rewards, ends of episodes and ranges of actions of Gymnasium
//! 1.4.0, and the humanoid of the VLM-RM paper.
//!
//! From the same state and with the same actions every number is Gymnasium's: the peer test `tests/peers/gym.rs` holds 100
//! steps of each beside the original. As there, actions are numbers of single precision, and the classic problems observe in
//! single precision what they compute in double precision. Start states have Gymnasium's distributions but come from this
//! project's own seeded generator. [`Outcome::progress`] and [`Outcome::success`], which Gymnasium does not have, are said
//! at each problem. An action that is not finite or no choice is refused.
//!
//! The models of the [`MujocoEnv`] come from the package [`GYMNASIUM`](crate::assets::GYMNASIUM); the [`Classic`] problems
//! need nothing.

mod canvas;
mod cart_pole;
mod classic;
mod half_cheetah;
mod humanoid;
mod mountain_car;
mod mujoco;
mod pendulum;
mod reacher;
#[cfg(test)]
mod tests;
mod vlm_rm;

use rapport_robot::ActionError;

pub use canvas::Canvas;
pub use cart_pole::CartPole;
pub use classic::{Classic, ClassicSpec, Dynamics};
pub use half_cheetah::HalfCheetah;
pub use humanoid::Humanoid;
pub use mountain_car::{MountainCar, MountainCarContinuous};
pub use mujoco::{Data, Forces, MujocoEnv, MujocoSpec, Rules};
pub use pendulum::Pendulum;
pub use reacher::Reacher;
pub use vlm_rm::VlmRmHumanoid;

use crate::env::{EnvConfig, EnvError};
#[cfg(doc)]
use crate::environment::Outcome;
use crate::environment::{Actions, Maker};

/// The names of the environments here, Gymnasium's where it has one.
pub const NAMES: [&str; 8] = [
    CartPole::SPEC.name,
    MountainCar::SPEC.name,
    MountainCarContinuous::SPEC.name,
    Pendulum::SPEC.name,
    Reacher::SPEC.name,
    HalfCheetah::SPEC.name,
    Humanoid::SPEC.name,
    VlmRmHumanoid::SPEC.name,
];

/// A maker of the environments called `name`, if it is one of [`NAMES`]. Of the configuration it takes `max_steps`,
/// `renderer` and `quality`.
///
/// Errors: [`EnvError::Asset`] where the models are not there.
pub fn maker(name: &str, config: &EnvConfig) -> Option<Result<Maker, EnvError>> {
    let maker = match name {
        n if n == CartPole::SPEC.name => classic::maker::<CartPole>,
        n if n == MountainCar::SPEC.name => classic::maker::<MountainCar>,
        n if n == MountainCarContinuous::SPEC.name => classic::maker::<MountainCarContinuous>,
        n if n == Pendulum::SPEC.name => classic::maker::<Pendulum>,
        n if n == Reacher::SPEC.name => mujoco::maker::<Reacher>,
        n if n == HalfCheetah::SPEC.name => mujoco::maker::<HalfCheetah>,
        n if n == Humanoid::SPEC.name => mujoco::maker::<Humanoid>,
        n if n == VlmRmHumanoid::SPEC.name => mujoco::maker::<VlmRmHumanoid>,
        _ => return None,
    };
    Some(maker(config))
}

/// Whether an action fits: its length, finite in single precision, and one of the choices.
fn check(action: &[f64], actions: &Actions) -> Result<(), ActionError> {
    let expected = match actions {
        Actions::Continuous(ranges) => ranges.len(),
        Actions::Choice(_) => 1,
    };
    if action.len() != expected {
        return Err(ActionError::Length {
            expected,
            found: action.len(),
        });
    }
    if let Some(index) = action.iter().position(|&a| !(a as f32).is_finite()) {
        return Err(ActionError::NotFinite { index });
    }
    match actions {
        Actions::Choice(count) if !(0..*count).any(|choice| choice as f64 == action[0]) => {
            Err(ActionError::Config(format!(
                "the choices are the whole numbers from 0 to {}, {} is none of them",
                count - 1,
                action[0]
            )))
        }
        _ => Ok(()),
    }
}

/// Names with an index, `prefix_0` and so on.
fn numbered(prefix: &str, range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(move |i| format!("{prefix}_{i}"))
}
