//! [`best_of_n`]: draws a number of outcomes and keeps the one that scores best.

use super::beam::{Chosen, Denoise, draw};
use crate::policy::PolicyError;

/// Denoises `count` latents to the end and keeps the one whose chunk scores highest. `score` gives one number for each of
/// `[n, chunk]`, more is better.
///
/// # Errors
/// When `count` is 0, and whatever the policy or the score says.
pub fn best_of_n<D: Denoise>(
    denoise: &mut D,
    count: usize,
    mut score: impl FnMut(&[f32]) -> Result<Vec<f64>, PolicyError>,
) -> Result<Chosen, PolicyError> {
    let width = denoise.width();
    let mut latents = draw(denoise, count);
    for step in 0..denoise.steps() {
        let noise = draw(denoise, count);
        latents = denoise.advance(&latents, step, &noise)?;
    }
    Chosen::of(&latents, &score(&latents)?, width, count * denoise.steps())
}
