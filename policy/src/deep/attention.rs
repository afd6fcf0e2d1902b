//! Multi-head attention (Vaswani et al. 2017, arXiv:1706.03762, section 3.2).

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use super::dropout::Dropout;
use super::layers::{glorot, project};

/// `softmax(Q K^T / sqrt(d)) V` in several heads: `Q = query W_q`, `K = key W_k`, `V = value W_v`, joined by `W_o`.
#[derive(Module, Debug)]
pub(crate) struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    #[module(skip)]
    heads: usize,
}

impl Attention {
    /// `dim` must be a multiple of `heads`.
    pub(crate) fn new(dim: usize, heads: usize, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        Self {
            query: glorot(dim, dim, 3 * dim, rng, device),
            key: glorot(dim, dim, 3 * dim, rng, device),
            value: glorot(dim, dim, 3 * dim, rng, device),
            output: glorot(dim, dim, dim, rng, device),
            heads,
        }
    }

    /// `query [batch, targets, dim]`, `key` and `value [batch, sources, dim]` to `[batch, targets, dim]`. `bias`, which
    /// broadcasts to `[batch, heads, targets, sources]`, is added before the softmax: 0 to see, [`HIDDEN`] not to.
    pub(crate) fn forward(
        &self,
        query: Tensor<3>,
        key: Tensor<3>,
        value: Tensor<3>,
        bias: Option<Tensor<4>>,
        dropout: &mut Dropout,
    ) -> Tensor<3> {
        let [batch, targets, dim] = query.dims();
        let width = dim / self.heads;
        let query = self.split(project(&self.query, query) * (1.0 / (width as f32).sqrt()));
        let key = self.split(project(&self.key, key));
        let value = self.split(project(&self.value, value));
        let mut scores = query.matmul(key.swap_dims(2, 3));
        if let Some(bias) = bias {
            scores = scores + bias;
        }
        let weights = dropout.apply(softmax(scores, 3));
        let joined = weights
            .matmul(value)
            .swap_dims(1, 2)
            .reshape([batch, targets, dim]);
        project(&self.output, joined)
    }

    /// `[batch, tokens, dim]` to `[batch, heads, tokens, dim / heads]`.
    fn split(&self, x: Tensor<3>) -> Tensor<4> {
        let [batch, tokens, dim] = x.dims();
        x.reshape([batch, tokens, self.heads, dim / self.heads])
            .swap_dims(1, 2)
    }
}

/// What is added to the score of a token that must not be seen. Finite, so that a row in which all are hidden stays a number.
pub(crate) const HIDDEN: f32 = -1e9;

/// The bias that hides all tokens after the own one, `[1, 1, tokens, tokens]`.
pub(crate) fn causal(tokens: usize, device: &Device) -> Tensor<4> {
    let bias = (0..tokens * tokens)
        .map(|i| if i % tokens > i / tokens { HIDDEN } else { 0.0 })
        .collect();
    super::tensor(bias, [1, 1, tokens, tokens], device)
}
