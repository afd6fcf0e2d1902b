//! The networks behind [`super::LatentUsers`]: the scorer, and the encoder of answers with its prior.

use burn::module::{Module, Param};
use burn::tensor::activation::softplus;
use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;

use super::config::LatentConfig;
use crate::head::pairs::Pair;
use crate::network::{Network, rows};

#[derive(Module, Debug)]
pub(super) struct LatentNetwork {
    /// `[frame, latent]` to a reward.
    pub scorer: Network,
    /// An answer to means and precisions, `[2 latent]`.
    encoder: Network,
    /// The prior's means and logarithms of precisions, `[latent]` each.
    prior_mean: Param<Tensor<1>>,
    prior_precision: Param<Tensor<1>>,
}

/// Means and precisions of posteriors, `[sets, latent]` each.
pub(super) type Beliefs = (Tensor<2>, Tensor<2>);

impl LatentNetwork {
    pub fn new(config: &LatentConfig, width: usize, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let latent = config.latent;
        // A latent of no numbers still needs a tensor to stand for it.
        let zeros = || {
            Tensor::from_data(
                TensorData::new(vec![0.0f32; latent.max(1)], [latent.max(1)]),
                device,
            )
        };
        Self {
            scorer: Network::new(&config.scorer, width + latent, 1, rng, device),
            encoder: Network::new(
                &config.encoder,
                2 * width + 1,
                2 * latent.max(1),
                rng,
                device,
            ),
            prior_mean: Param::from_tensor(zeros()),
            prior_precision: Param::from_tensor(zeros()),
        }
    }

    pub fn prior(&self, sets: usize) -> Beliefs {
        let mean = self.prior_mean.val().unsqueeze::<2>();
        let precision = self.prior_precision.val().unsqueeze::<2>().exp();
        (mean.repeat_dim(0, sets), precision.repeat_dim(0, sets))
    }

    /// Each answer is an expert with a mean and a precision; the posterior is their product with the prior. `pool`,
    /// `[sets, answers]`, says whose answer is whose.
    pub fn encode(&self, answers: Tensor<2>, pool: Tensor<2>) -> Beliefs {
        let sets = pool.dims()[0];
        let (mean, precision) = self.prior(sets);
        let found = self.encoder.forward(answers);
        let latent = found.dims()[1] / 2;
        let own = softplus(found.clone().narrow(1, latent, latent), 1.0);
        let weighed = found.narrow(1, 0, latent) * own.clone();
        let total = precision.clone() + pool.clone().matmul(own);
        let mean = (precision * mean + pool.matmul(weighed)) / total.clone();
        (mean, total)
    }

    /// Mean over sets of the divergence from the prior.
    pub fn divergence(&self, (mean, precision): &Beliefs) -> Tensor<1> {
        let sets = mean.dims()[0];
        let (prior_mean, prior_precision) = self.prior(sets);
        let ratio = prior_precision.clone() / precision.clone();
        let off = (mean.clone() - prior_mean).square() * prior_precision;
        ((ratio.clone() + off - ratio.log() - 1.0) * 0.5).sum() / sets as f64
    }
}

/// Rows of answers, `[answers, 2 width + 1]`: the mean frame of the better clip, that of the other, and how decided the answer
/// was; and whose they are, `[sets, answers]`.
pub(super) fn encoder_batch(
    pairs: &[Pair],
    sets: &[Vec<usize>],
    means: &[Vec<f32>],
    width: usize,
    device: &Device,
) -> (Tensor<2>, Tensor<2>) {
    let count = sets.iter().map(Vec::len).sum::<usize>();
    let mut encoded = Vec::with_capacity(count * (2 * width + 1));
    let mut pool = vec![0.0f32; sets.len() * count];
    let mut at = 0;
    for (set, items) in sets.iter().enumerate() {
        for &i in items {
            let pair = &pairs[i];
            let (better, other) = if pair.target.label >= 0.5 {
                (pair.first, pair.second)
            } else {
                (pair.second, pair.first)
            };
            encoded.extend_from_slice(&means[better]);
            encoded.extend_from_slice(&means[other]);
            encoded.push((2.0 * pair.target.label - 1.0).abs() as f32);
            pool[set * count + at] = 1.0;
            at += 1;
        }
    }
    let pool = Tensor::from_data(TensorData::new(pool, [sets.len(), count]), device);
    (rows(&encoded, 2 * width + 1, device), pool)
}
