//! Temporal cycle consistency: from a frame to its soft neighbour in another clip and back, the time found must be the time
//! left. Clips of one task then lie on top of each other, and the distance to where they end is progress (XIRL, Zakka et al.,
//! arXiv 2106.03911; loss of Dwibedi et al., arXiv 1904.07846).
//!
//! For every ordered pair of clips `(U, V)`, with embeddings of width `D` and times `t` as shares of the clip's length,
//!
//! ```text
//! w_ij = softmax_j(-‖u_i - v_j‖² / (D τ))      ũ_i  = Σ_j w_ij v_j
//! β_ik = softmax_k(-‖ũ_i - u_k‖² / (D τ))      loss = mean_i (Σ_k β_ik t_k - t_i)²
//! ```
//!
//! The paper trains a whole ResNet-18 on augmented frames; here a head is trained on frozen features.

use burn::tensor::activation::softmax;
use burn::tensor::{Tensor, TensorData};
use rand::seq::index::sample;
use rand::{Rng, RngExt as _};
use rapport_perception::{EncoderSpec, Features};
use serde::{Deserialize, Serialize};

use super::check_clips;
use super::embedding::{EmbeddedGoal, Embedding, EmbeddingConfig, GoalForm};
use crate::eval::kendall;
use crate::model::RewardError;

/// Training of an embedding by cycle consistency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CycleConfig {
    /// The head.
    pub embedding: EmbeddingConfig,
    /// Clips in a batch. XIRL: 4.
    pub clips: usize,
    /// Frames of each, one at random from each of as many equal stretches. XIRL: 40, evenly spaced.
    pub frames: usize,
    /// τ. XIRL: 0.1, and 1 for X-Magical.
    pub temperature: f64,
}

impl Default for CycleConfig {
    fn default() -> Self {
        Self {
            embedding: EmbeddingConfig::default(),
            clips: 4,
            frames: 20,
            temperature: 0.1,
        }
    }
}

impl CycleConfig {
    /// Refuses settings that nothing can be learned with.
    pub fn validate(&self) -> Result<(), RewardError> {
        self.embedding.validate()?;
        if self.clips < 2 || self.frames < 2 {
            return Err(RewardError::Other(format!(
                "a batch of {} clips of {} frames has no cycle; give at least 2 of 2",
                self.clips, self.frames
            )));
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return Err(RewardError::Other(format!(
                "the temperature of cycle consistency is {}; give a number above 0",
                self.temperature
            )));
        }
        Ok(())
    }
}

/// The loss over all ordered pairs of a batch. A clip is its embedded frames, `[frames, dim]`, and their times in the clip
/// as shares of its length, `[frames]`. At least two clips; a bug of the caller otherwise.
pub fn cycle_loss(clips: &[(Tensor<2>, Vec<f64>)], temperature: f64) -> Tensor<1> {
    let mut errors = Vec::new();
    for (i, (u, times)) in clips.iter().enumerate() {
        let [frames, dim] = u.dims();
        let times: Vec<f32> = times.iter().map(|&t| t as f32).collect();
        let times = Tensor::<2>::from_data(TensorData::new(times, [frames, 1]), &u.device());
        let sharpness = 1.0 / (dim as f64 * temperature);
        for (j, (v, _)) in clips.iter().enumerate() {
            if i == j {
                continue;
            }
            let there = softmax(squared_distances(u, v) * -sharpness, 1);
            let neighbours = there.matmul(v.clone());
            let back = softmax(squared_distances(&neighbours, u) * -sharpness, 1);
            errors.push((back.matmul(times.clone()) - times.clone()).square());
        }
    }
    Tensor::cat(errors, 0).mean()
}

/// `[n, m]` of rows `[n, dim]` and `[m, dim]`. Differences are squared one by one, which stays exact for near rows where
/// `u² + v² - 2uv` would cancel.
fn squared_distances(u: &Tensor<2>, v: &Tensor<2>) -> Tensor<2> {
    let (u, v) = (
        u.clone().unsqueeze_dim::<3>(1),
        v.clone().unsqueeze_dim::<3>(0),
    );
    (u - v).square().sum_dim(2).squeeze_dim(2)
}

/// One frame at random from each of `count` equal stretches of `len` frames, ascending; all frames of a clip that has no more.
fn stratified(len: usize, count: usize, rng: &mut impl Rng) -> Vec<usize> {
    if len <= count {
        return (0..len).collect();
    }
    (0..count)
        .map(|i| rng.random_range(i * len / count..(i + 1) * len / count))
        .collect()
}

/// Learns an embedding from at least two demonstrations of one task, and the reward for nearness to where they end, scaled so
/// that it begins near -1. Also gives the loss of every step. Fails on clips of one frame.
pub fn train(
    encoder: &EncoderSpec,
    demonstrations: &[Features],
    config: &CycleConfig,
    seed: u64,
) -> Result<(EmbeddedGoal, Vec<f64>), RewardError> {
    config.validate()?;
    check_clips(demonstrations.iter(), encoder, 2, 2)?;
    let (embedding, losses) = Embedding::train(
        demonstrations,
        &config.embedding,
        seed,
        |network, clips, rng, device| {
            let picked = sample(rng, clips.len(), config.clips.min(clips.len()));
            let batch: Vec<_> = picked
                .iter()
                .map(|i| {
                    let times = stratified(clips[i].len(), config.frames, rng);
                    let embedded = network.forward(clips[i].rows(&times, device));
                    let shares = times.iter().map(|&t| t as f64 / clips[i].len() as f64);
                    (embedded, shares.collect())
                })
                .collect();
            Ok(cycle_loss(&batch, config.temperature))
        },
    )?;
    let mut reward = EmbeddedGoal::new(
        encoder,
        embedding,
        config.embedding.clone(),
        "cycle-consistency",
        GoalForm::Distance,
        demonstrations,
    )?;
    reward.fit_scale(demonstrations)?;
    Ok((reward, losses))
}

/// How well two embedded clips, `[time, dim]`, are aligned: Kendall's τ between the frames of one and the times of their nearest
/// neighbours in the other, as XIRL's evaluator has it. None when it is not defined (fewer than two frames, all neighbours the
/// same one).
pub fn alignment(from: &Features, to: &Features) -> Option<f64> {
    if from.dim() != to.dim() || to.is_empty() {
        return None;
    }
    let distance = |x: &[f32], y: &[f32]| -> f64 {
        x.iter()
            .zip(y)
            .map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2))
            .sum()
    };
    let nearest: Vec<f64> = from
        .rows()
        .map(|x| {
            let distances = to.rows().map(|y| distance(x, y)).enumerate();
            let best = distances.min_by(|(_, a), (_, b)| a.total_cmp(b));
            best.map_or(0.0, |(t, _)| t as f64)
        })
        .collect();
    let times: Vec<f64> = (0..from.len()).map(|t| t as f64).collect();
    kendall(&times, &nearest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::value_order_correlation;
    use crate::model::{Clip, Context, RewardModel as _};
    use crate::network::{rows, training_device, values};
    use crate::progress::synthetic::{World, encoder};
    use burn::tensor::Device;
    use proptest::prelude::*;

    fn clip(values: &[f32], dim: usize, times: &[f64], len: f64) -> (Tensor<2>, Vec<f64>) {
        let shares = times.iter().map(|t| t / len).collect();
        (rows(values, dim, &Device::flex()), shares)
    }

    fn value(loss: Tensor<1>) -> f64 {
        f64::from(values(loss).unwrap()[0])
    }

    fn golden() -> [(Tensor<2>, Vec<f64>); 2] {
        [
            clip(&[0.0, 0.0, 1.0, 0.2, 2.0, -0.1], 2, &[0.0, 4.0, 8.0], 9.0),
            clip(&[0.1, 0.1, 0.9, 0.0, 2.2, 0.3], 2, &[0.0, 3.0, 6.0], 7.0),
        ]
    }

    #[test]
    fn the_loss_is_the_reference_value() {
        let soft = value(cycle_loss(&golden(), 1.0));
        assert!((soft - 0.0678911461).abs() < 1e-7, "{soft}");
        let sharp = value(cycle_loss(&golden(), 0.1));
        assert!((sharp - 0.0000638745).abs() < 1e-9, "{sharp}");
    }

    #[test]
    fn clips_that_are_the_same_and_well_apart_cost_nothing() {
        let same = [
            clip(&[0.0, 10.0, 20.0], 1, &[0.0, 1.0, 2.0], 3.0),
            clip(&[0.0, 10.0, 20.0], 1, &[0.0, 1.0, 2.0], 3.0),
        ];
        assert!(value(cycle_loss(&same, 1e-2)) < 1e-12);
    }

    proptest! {
        #[test]
        fn the_order_of_the_clips_in_a_batch_does_not_matter(
            frames in prop::collection::vec(-2.0f32..2.0, 24), rotate in 1usize..4,
        ) {
            let mut batch: Vec<_> = frames.chunks(6)
                .map(|c| clip(c, 2, &[0.0, 2.0, 5.0], 6.0)).collect();
            let before = value(cycle_loss(&batch, 0.5));
            batch.rotate_left(rotate);
            let after = value(cycle_loss(&batch, 0.5));
            prop_assert!((before - after).abs() < 1e-6, "{before} {after}");
        }
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let device = training_device();
        let start = [0.0f32, 0.3, 1.0, 0.2, 1.6, -0.1];
        let loss = |x: Tensor<2>| {
            let other = rows(&[0.1, 0.1, 0.9, 0.0, 1.9, 0.3], 2, &x.device());
            cycle_loss(
                &[(x, vec![0.0, 0.4, 0.8]), (other, vec![0.0, 0.5, 0.9])],
                0.5,
            )
        };
        let x = rows(&start, 2, &device).require_grad();
        let gradients = loss(x.clone()).backward();
        let found = values(x.grad(&gradients).unwrap()).unwrap();
        for i in 0..start.len() {
            let at = |step: f32| {
                let mut moved = start;
                moved[i] += step;
                value(loss(rows(&moved, 2, &Device::flex())))
            };
            let expected = (at(1e-2) - at(-1e-2)) / 2e-2;
            assert!(
                (f64::from(found[i]) - expected).abs() < 1e-4 + 1e-2 * expected.abs(),
                "{i}: {} {expected}",
                found[i]
            );
        }
    }

    /// The check of XIRL's evaluator: neighbours in other demonstrations come in order.
    #[test]
    fn demonstrations_line_up_and_the_reward_rises_on_one_not_seen() {
        let world = World::new(11);
        let clips: Vec<Features> = (0..8)
            .map(|i| world.success(24 + 4 * i, i as u64))
            .collect();
        let config = CycleConfig {
            clips: 3,
            frames: 15,
            embedding: EmbeddingConfig {
                steps: 200,
                ..Default::default()
            },
            ..Default::default()
        };
        let (reward, losses) = train(&encoder(), &clips[..6], &config, 3).unwrap();
        let mean = |l: &[f64]| l.iter().sum::<f64>() / l.len() as f64;
        assert!(mean(&losses[180..]) < 0.5 * mean(&losses[..20]));
        let embed = |i: usize| reward.embedding().embed(&clips[i]).unwrap();
        let before = alignment(&clips[6], &clips[7]).unwrap();
        let after = alignment(&embed(6), &embed(7)).unwrap();
        assert!(after > 0.85 && after > before, "{before} {after}");
        let score = |clip: &Features| {
            let clip = Clip::from_features(clip.clone(), 10.0);
            reward.score(&clip, &Context::default()).unwrap().per_step
        };
        let signal = score(&clips[7]);
        let voc = value_order_correlation(&signal).unwrap();
        assert!(voc > 0.9, "{voc}");
        let starts: Vec<f64> = clips[..6].iter().map(|c| score(c)[0]).collect();
        assert!((mean(&starts) + 1.0).abs() < 1e-6, "{starts:?}");
    }

    #[test]
    fn what_cannot_be_learned_from_is_refused() {
        let world = World::new(1);
        let config = CycleConfig::default();
        let message = |clips: &[Features]| {
            train(&encoder(), clips, &config, 0)
                .err()
                .unwrap()
                .to_string()
        };
        assert!(message(&[world.success(9, 0)]).contains("1 clips"));
        let short = [world.success(9, 0), world.success(1, 0)];
        assert!(message(&short).contains("clip 1 has 1 frames"));
        let broken = Features::new(encoder().dim, vec![f32::NAN; 2 * encoder().dim]);
        assert!(message(&[world.success(9, 0), broken]).contains("not finite"));
        let still = Features::new(encoder().dim, vec![0.5; 8 * encoder().dim]);
        let quick = CycleConfig {
            embedding: EmbeddingConfig {
                steps: 3,
                ..Default::default()
            },
            ..config
        };
        let (reward, _) = train(&encoder(), &[still.clone(), still.clone()], &quick, 0).unwrap();
        let clip = Clip::from_features(still, 10.0);
        let signal = reward.score(&clip, &Context::default()).unwrap();
        assert!(signal.per_step.iter().all(|r| r.abs() < 1e-6));
    }
}
