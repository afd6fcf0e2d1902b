//! An embedding in which frames near in time are near: the time-contrastive part of R3M (Nair et al., arXiv 2203.12601) as a head
//! on frozen features.
//!
//! For three ordered frames of a clip and `S(a, b) = -‖a - b‖`, with frames of other clips as negatives `n`,
//!
//! ```text
//! loss = -½ log(ε + e^S(1,2) / (ε + e^S(0,2) + e^S(1,2) + Σ e^S(2,n2)))
//!        -½ log(ε + e^S(0,1) / (ε + e^S(0,1) + e^S(0,2) + Σ e^S(0,n0)))        ε = 1e-8
//! ```
//!
//! R3M adds a language loss, which needs captions and is left out. As a reward it is known to be weak; it is here to compare with.

use burn::tensor::Tensor;
use rand::seq::SliceRandom as _;
use rand::{Rng, RngExt as _};
use rapport_perception::{EncoderSpec, Features};
use serde::{Deserialize, Serialize};

use super::check_clips;
use super::embedding::{EmbeddedGoal, Embedding, EmbeddingConfig, GoalForm};
use crate::model::RewardError;

const EPSILON: f64 = 1e-8;

/// Training of an embedding by time contrast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContrastConfig {
    /// The head.
    pub embedding: EmbeddingConfig,
    /// Triples of frames in a batch. R3M: 32.
    pub batch: usize,
    /// Shuffled negatives of each triple. R3M: 3, of videos of other activities. Among demonstrations of one task they push apart
    /// what should lie together, so that none is the default.
    pub negatives: usize,
    /// Weight of the mean L1 norm and of the mean L2 norm of the embeddings. R3M: 1e-5.
    pub norm_weight: f64,
}

impl Default for ContrastConfig {
    fn default() -> Self {
        Self {
            embedding: EmbeddingConfig::default(),
            batch: 32,
            negatives: 0,
            norm_weight: 1e-5,
        }
    }
}

impl ContrastConfig {
    /// Refuses settings that nothing can be learned with.
    pub fn validate(&self) -> Result<(), RewardError> {
        self.embedding.validate()?;
        if self.batch == 0 || !(0.0..f64::INFINITY).contains(&self.norm_weight) {
            return Err(RewardError::Other(format!(
                "time contrast with a batch of {} and a norm weight of {}; the batch must be at least 1 and the weight not below 0",
                self.batch, self.norm_weight
            )));
        }
        Ok(())
    }
}

/// Embedded frames of the triples, each `[batch, dim]`, in their order in time.
pub struct Triples {
    /// Earliest.
    pub first: Tensor<2>,
    /// In between.
    pub middle: Tensor<2>,
    /// Latest.
    pub last: Tensor<2>,
}

impl Triples {
    /// Mean loss. `orders` holds, for every negative, which triple's first frame and which triple's last frame is compared with.
    pub fn loss(&self, orders: &[(Vec<usize>, Vec<usize>)]) -> Tensor<1> {
        let device = self.first.device();
        let pick = |x: &Tensor<2>, order: &[usize]| {
            let order: Vec<i64> = order.iter().map(|&i| i as i64).collect();
            x.clone()
                .select(0, Tensor::from_data(order.as_slice(), &device))
        };
        let far = similarity(&self.last, &self.first).exp();
        let late = similarity(&self.last, &self.middle).exp();
        let early = similarity(&self.middle, &self.first).exp();
        let mut late_sum = far.clone() + late.clone() + EPSILON;
        let mut early_sum = far + early.clone() + EPSILON;
        for (firsts, lasts) in orders {
            early_sum = early_sum + similarity(&self.first, &pick(&self.first, firsts)).exp();
            late_sum = late_sum + similarity(&self.last, &pick(&self.last, lasts)).exp();
        }
        let late = (late / late_sum + EPSILON).log();
        let early = (early / early_sum + EPSILON).log();
        (late + early).mean() * -0.5
    }
}

/// `-‖x - y‖` per row, `[rows]`. The root is kept off zero, where its slope is infinite.
fn similarity(x: &Tensor<2>, y: &Tensor<2>) -> Tensor<1> {
    let squares = (x.clone() - y.clone()).square().sum_dim(1);
    -(squares + 1e-12).sqrt().squeeze_dim(1)
}

/// Three frames of a clip of at least 3 frames, in order; all different, where the released code lets the last two be the same.
fn triple(len: usize, rng: &mut impl Rng) -> [usize; 3] {
    let mut times: Vec<usize> = rand::seq::index::sample(rng, len, 3).into_vec();
    times.sort_unstable();
    [times[0], times[1], times[2]]
}

/// Learns an embedding from demonstrations of at least 3 frames, and the reward for nearness to where they end. Also gives the
/// loss of every step.
pub fn train(
    encoder: &EncoderSpec,
    demonstrations: &[Features],
    config: &ContrastConfig,
    seed: u64,
) -> Result<(EmbeddedGoal, Vec<f64>), RewardError> {
    config.validate()?;
    check_clips(demonstrations.iter(), encoder, 1, 3)?;
    let (embedding, losses) = Embedding::train(
        demonstrations,
        &config.embedding,
        seed,
        |network, clips, rng, device| {
            let mut frames = [const { Vec::new() }; 3];
            for _ in 0..config.batch {
                let clip = &clips[rng.random_range(0..clips.len())];
                for (frames, t) in frames.iter_mut().zip(triple(clip.len(), rng)) {
                    frames.push(clip.rows(&[t], device));
                }
            }
            let all: Vec<Tensor<2>> = frames.into_iter().flatten().collect();
            let embedded = network.forward(Tensor::cat(all, 0));
            let norms = (embedded.clone().square().sum_dim(1) + 1e-12).sqrt().mean()
                + embedded.clone().abs().sum_dim(1).mean();
            let part = |i: usize| embedded.clone().narrow(0, i * config.batch, config.batch);
            let triples = Triples {
                first: part(0),
                middle: part(1),
                last: part(2),
            };
            let mut order = || {
                let mut order: Vec<usize> = (0..config.batch).collect();
                order.shuffle(rng);
                order
            };
            let orders: Vec<_> = (0..config.negatives).map(|_| (order(), order())).collect();
            Ok(triples.loss(&orders) + norms * config.norm_weight)
        },
    )?;
    let mut reward = EmbeddedGoal::new(
        encoder,
        embedding,
        config.embedding.clone(),
        "time-contrast",
        GoalForm::Distance,
        demonstrations,
    )?;
    reward.fit_scale(demonstrations)?;
    Ok((reward, losses))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::synthetic::{World, encoder};
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    /// R3M's `aligned` metric on a clip that was not seen: nearer in time is nearer in the space.
    #[test]
    fn nearer_in_time_becomes_nearer_in_the_space() {
        let world = World::new(13);
        let clips: Vec<Features> = (0..7).map(|i| world.success(30 + i, i as u64)).collect();
        let config = ContrastConfig {
            embedding: EmbeddingConfig {
                steps: 200,
                ..Default::default()
            },
            ..Default::default()
        };
        let (reward, _) = train(&encoder(), &clips[..6], &config, 2).unwrap();
        let embedded = reward.embedding().embed(&clips[6]).unwrap();
        let distance = |features: &Features, a: usize, b: usize| -> f64 {
            let pairs = features.row(a).iter().zip(features.row(b));
            pairs.map(|(x, y)| f64::from(x - y).powi(2)).sum()
        };
        let share = |features: &Features| {
            let mut rng = ChaCha8Rng::seed_from_u64(4);
            let aligned = (0..400).filter(|_| {
                let [a, b, c] = triple(features.len(), &mut rng);
                let far = distance(features, a, c);
                far > distance(features, b, c) && far > distance(features, a, b)
            });
            aligned.count() as f64 / 400.0
        };
        let (before, after) = (share(&clips[6]), share(&embedded));
        assert!(after > 0.95 && after > before + 0.1, "{before} {after}");
    }

    #[test]
    fn clips_too_short_for_a_triple_are_refused() {
        let short = World::new(1).success(2, 0);
        let error = train(&encoder(), &[short], &ContrastConfig::default(), 0).err();
        assert!(error.unwrap().to_string().contains("2 frames"));
    }
}
