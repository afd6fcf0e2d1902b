//! What every imitation learner does with demonstrations first: whole episodes held out, the scale of the actions.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::checkpoint::PolicySpec;
use crate::policy::{PolicyError, Transition};
use crate::replay::check_episode;

/// Added to a variance of actions: an action that never changes is not divided by zero.
const VARIANCE_FLOOR: f64 = 1e-6;

/// Refuses demonstrations that do not fit the policy or hold numbers that are none.
pub(crate) fn check(episodes: &[Vec<Transition>], spec: &PolicySpec) -> Result<(), PolicyError> {
    if episodes.is_empty() {
        return Err(PolicyError::Other(
            "there is no demonstration to clone".into(),
        ));
    }
    episodes
        .iter()
        .try_for_each(|episode| check_episode(episode, spec.observation_dim, spec.action_dim, 0))
}

/// Numbers of whole episodes to learn from, and of those held out: steps of one episode are too alike to be on both sides. With
/// one episode nothing is held out.
pub(crate) fn hold_out(
    episodes: usize,
    share: f64,
    rng: &mut ChaCha8Rng,
) -> (Vec<usize>, Vec<usize>) {
    let mut order: Vec<usize> = (0..episodes).collect();
    shuffle(&mut order, rng);
    let held_out = if episodes < 2 || share == 0.0 {
        0
    } else {
        ((share * episodes as f64).round() as usize).clamp(1, episodes - 1)
    };
    let training = order.split_off(held_out);
    (training, order)
}

/// Fisher and Yates.
pub(crate) fn shuffle(order: &mut [usize], rng: &mut ChaCha8Rng) {
    for last in (1..order.len()).rev() {
        order.swap(last, rng.random_range(0..=last as u64) as usize);
    }
}

/// Mean and standard deviation of each action, `[action_dim]`.
pub(crate) fn action_scales(episodes: &[&[Transition]], action_dim: usize) -> (Vec<f32>, Vec<f32>) {
    let steps = || episodes.iter().copied().flatten();
    let count = steps().count() as f64;
    (0..action_dim)
        .map(|i| {
            let mean = steps().map(|step| f64::from(step.action[i])).sum::<f64>() / count;
            let variance = steps()
                .map(|step| (f64::from(step.action[i]) - mean).powi(2))
                .sum::<f64>()
                / count;
            (mean as f32, (variance + VARIANCE_FLOOR).sqrt() as f32)
        })
        .unzip()
}
