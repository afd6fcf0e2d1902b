//! [`Beam`]: diffusion latent beam search (Oshima et al. 2025, arXiv:2501.19252), here over action chunks.
//!
//! A few latents are denoised side by side. At each step every one of them draws several candidates for the next; a short
//! deterministic denoising looks ahead to the chunk that a candidate would become, that chunk is scored, and the best candidates go
//! on. What a search finds is only as good as its score: the more it tries, the better it finds the places where the score is
//! wrong (see the test `search_for_long_finds_what_is_wrong_with_a_score`), so calibrate the score on held-out outcomes, prefer a
//! pessimistic ensemble, and keep the budget small.

use serde::{Deserialize, Serialize};

use crate::diffusion::{Diffusion, Sampler, StepBack};
use crate::policy::PolicyError;

/// What can be denoised step by step, for one condition.
pub trait Denoise {
    /// Numbers in a latent and in a chunk.
    fn width(&self) -> usize;

    /// Denoising steps.
    fn steps(&self) -> usize;

    /// Standard normal numbers.
    fn draw_noise(&mut self, count: usize) -> Vec<f32>;

    /// Mean and standard deviation of the next latents from `[n, width]`, `step` of [`Denoise::steps`]: `n` calls of the network.
    fn next(&mut self, latents: &[f32], step: usize) -> Result<(Vec<f32>, f32), PolicyError>;

    /// The chunks that latents standing before `step` come to without noise, in at most `budget` calls of the network each.
    fn look_ahead(
        &mut self,
        latents: &[f32],
        step: usize,
        budget: usize,
    ) -> Result<Vec<f32>, PolicyError>;

    /// One step with the noise given, `[n, width]`.
    fn advance(
        &mut self,
        latents: &[f32],
        step: usize,
        noise: &[f32],
    ) -> Result<Vec<f32>, PolicyError> {
        let (mut next, std) = self.next(latents, step)?;
        for (value, noise) in next.iter_mut().zip(noise) {
            *value += std * noise;
        }
        Ok(next)
    }
}

/// A [`Diffusion`] policy before one condition.
pub struct Denoising<'p> {
    policy: &'p mut Diffusion,
    condition: Vec<f32>,
    path: Vec<StepBack>,
}

impl<'p> Denoising<'p> {
    /// Denoises in `steps` steps, drawing by DDIM with `eta`; beam search needs some noise to draw candidates from.
    ///
    /// # Errors
    /// When the steps do not fit the policy's schedule.
    pub fn new(
        policy: &'p mut Diffusion,
        condition: Vec<f32>,
        steps: usize,
        eta: f64,
    ) -> Result<Self, PolicyError> {
        let path = policy.schedule().path(Sampler::Ddim { eta }, steps)?;
        Ok(Self {
            policy,
            condition,
            path,
        })
    }
}

impl Denoise for Denoising<'_> {
    fn width(&self) -> usize {
        self.policy.chunk_dim()
    }

    fn steps(&self) -> usize {
        self.path.len()
    }

    fn draw_noise(&mut self, count: usize) -> Vec<f32> {
        self.policy.draw_noise(count)
    }

    fn next(&mut self, latents: &[f32], step: usize) -> Result<(Vec<f32>, f32), PolicyError> {
        let step = &self.path[step];
        let next = self.policy.step_back(latents, step, &self.condition, &[])?;
        Ok((next, step.std as f32))
    }

    fn look_ahead(
        &mut self,
        latents: &[f32],
        step: usize,
        budget: usize,
    ) -> Result<Vec<f32>, PolicyError> {
        let mut latents = latents.to_vec();
        for step in self.policy.schedule().shortcut(&self.path, step, budget) {
            latents = self
                .policy
                .step_back(&latents, &step, &self.condition, &[])?;
        }
        Ok(latents)
    }
}

pub(super) fn draw<D: Denoise>(denoise: &mut D, count: usize) -> Vec<f32> {
    let width = denoise.width();
    denoise.draw_noise(count * width)
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The chunk, `[width]`.
    pub chunk: Vec<f32>,
    /// Its score.
    pub score: f64,
    /// Latents that went through the network on the way.
    pub network_calls: usize,
}

impl Chosen {
    pub(super) fn of(
        chunks: &[f32],
        scores: &[f64],
        width: usize,
        network_calls: usize,
    ) -> Result<Self, PolicyError> {
        let order = ranking(scores, chunks.len() / width.max(1))?;
        let Some(&best) = order.first() else {
            return Err(PolicyError::Other(
                "a search needs at least one candidate".into(),
            ));
        };
        Ok(Self {
            chunk: chunks[best * width..][..width].to_vec(),
            score: scores[best],
            network_calls,
        })
    }
}

/// Places of the scores, best first.
fn ranking(scores: &[f64], count: usize) -> Result<Vec<usize>, PolicyError> {
    if scores.len() != count || scores.iter().any(|score| score.is_nan()) {
        return Err(PolicyError::Other(format!(
            "the score gave {} numbers for {count} chunks, or one that is not a number",
            scores.len()
        )));
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    Ok(order)
}

/// Beam search over the latents of a denoising.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Beam {
    /// Latents that go on after each step.
    pub beams: usize,
    /// Candidates that each of them draws.
    pub candidates: usize,
    /// Most deterministic steps from a candidate to the chunk that is scored.
    pub lookahead: usize,
}

impl Default for Beam {
    fn default() -> Self {
        Self {
            beams: 4,
            candidates: 2,
            lookahead: 6,
        }
    }
}

impl Beam {
    /// Says what is wrong with these settings, if anything.
    pub fn validate(&self) -> Result<(), PolicyError> {
        if self.beams == 0 || self.candidates == 0 || self.lookahead == 0 {
            return Err(PolicyError::Other(
                "beam: beams, candidates and lookahead must be above 0".into(),
            ));
        }
        Ok(())
    }

    /// Latents that go through the network in a search of `steps` steps.
    pub fn network_calls(&self, steps: usize) -> usize {
        let ahead = |step: usize| (steps - 1 - step).min(self.lookahead);
        (0..steps)
            .map(|step| self.beams * (1 + self.candidates * ahead(step)))
            .sum()
    }

    /// The best chunk found. `score` gives one number for each of `[n, chunk]`, more is better.
    ///
    /// # Errors
    /// When settings are wrong, and whatever the policy or the score says.
    pub fn search<D: Denoise>(
        &self,
        denoise: &mut D,
        mut score: impl FnMut(&[f32]) -> Result<Vec<f64>, PolicyError>,
    ) -> Result<Chosen, PolicyError> {
        self.validate()?;
        let (width, steps) = (denoise.width(), denoise.steps());
        let mut beams = draw(denoise, self.beams);
        let mut scores = Vec::new();
        for step in 0..steps {
            let (means, std) = denoise.next(&beams, step)?;
            // Without noise all candidates of a beam are one.
            let candidates = if std > 0.0 { self.candidates } else { 1 };
            let mut drawn = Vec::with_capacity(means.len() * candidates);
            for mean in means.chunks_exact(width) {
                let noise = draw(denoise, candidates);
                for noise in noise.chunks_exact(width) {
                    drawn.extend(
                        mean.iter()
                            .zip(noise)
                            .map(|(mean, noise)| mean + std * noise),
                    );
                }
            }
            let ahead = denoise.look_ahead(&drawn, step + 1, self.lookahead)?;
            let found = score(&ahead)?;
            let order = ranking(&found, drawn.len() / width)?;
            beams.clear();
            scores.clear();
            for &at in order.iter().take(self.beams) {
                beams.extend_from_slice(&drawn[at * width..][..width]);
                scores.push(found[at]);
            }
        }
        Chosen::of(&beams, &scores, width, self.network_calls(steps))
    }
}

#[cfg(test)]
mod tests;
