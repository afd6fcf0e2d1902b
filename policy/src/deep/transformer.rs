//! Encoder and decoder layers of a transformer, normalised after each block (Vaswani et al. 2017) or before it (Xiong et al.
//! 2020, arXiv:2002.04745). Positions are added to queries and keys in each layer, not to values (Carion et al. 2020,
//! arXiv:2005.12872, appendix A.4); give `None` where the caller has added them to the tokens.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::attention::Attention;
use super::dropout::Dropout;
use super::layers::{Activation, glorot, layer_norm, project};

/// Where a block is normalised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormPlace {
    /// `norm(x + block(x))`.
    #[default]
    After,
    /// `x + block(norm(x))`.
    Before,
}

/// Sizes of a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerShape {
    /// Width of a token, a multiple of `heads`.
    pub(crate) dim: usize,
    pub(crate) heads: usize,
    /// Width between the two feed-forward layers.
    pub(crate) feed_forward: usize,
    pub(crate) activation: Activation,
    pub(crate) norm: NormPlace,
}

/// A block with its norm around it: `block` gets the normalised input where the norm comes first.
fn residual(
    norm: &LayerNorm,
    place: NormPlace,
    x: Tensor<3>,
    block: impl FnOnce(Tensor<3>) -> Tensor<3>,
) -> Tensor<3> {
    match place {
        NormPlace::After => norm.forward(x.clone() + block(x)),
        NormPlace::Before => x.clone() + block(norm.forward(x)),
    }
}

fn with_position(x: Tensor<3>, position: Option<&Tensor<3>>) -> Tensor<3> {
    match position {
        Some(position) => x + position.clone(),
        None => x,
    }
}

#[derive(Module, Debug)]
struct FeedForward {
    first: Linear,
    second: Linear,
    #[module(skip)]
    activation: Activation,
}

impl FeedForward {
    fn new(shape: &LayerShape, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let (dim, width) = (shape.dim, shape.feed_forward);
        Self {
            first: glorot(dim, width, width, rng, device),
            second: glorot(width, dim, dim, rng, device),
            activation: shape.activation,
        }
    }

    fn forward(&self, x: Tensor<3>, dropout: &mut Dropout) -> Tensor<3> {
        let hidden = self.activation.apply(project(&self.first, x));
        project(&self.second, dropout.apply(hidden))
    }
}

/// Self-attention and a feed-forward block.
#[derive(Module, Debug)]
pub(crate) struct EncoderLayer {
    attention: Attention,
    feed_forward: FeedForward,
    norm1: LayerNorm,
    norm2: LayerNorm,
    #[module(skip)]
    place: NormPlace,
}

impl EncoderLayer {
    pub(crate) fn new(shape: &LayerShape, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        Self {
            attention: Attention::new(shape.dim, shape.heads, rng, device),
            feed_forward: FeedForward::new(shape, rng, device),
            norm1: layer_norm(shape.dim, device),
            norm2: layer_norm(shape.dim, device),
            place: shape.norm,
        }
    }

    /// `[batch, tokens, dim]` to the same; `position` broadcasts to it; `bias` as for [`Attention::forward`].
    pub(crate) fn forward(
        &self,
        x: Tensor<3>,
        position: Option<&Tensor<3>>,
        bias: Option<&Tensor<4>>,
        dropout: &mut Dropout,
    ) -> Tensor<3> {
        let x = residual(&self.norm1, self.place, x, |x| {
            let seeking = with_position(x.clone(), position);
            let y = self
                .attention
                .forward(seeking.clone(), seeking, x, bias.cloned(), dropout);
            dropout.apply(y)
        });
        residual(&self.norm2, self.place, x, |x| {
            let y = self.feed_forward.forward(x, dropout);
            dropout.apply(y)
        })
    }
}

/// Self-attention, attention to a memory, and a feed-forward block.
#[derive(Module, Debug)]
pub(crate) struct DecoderLayer {
    attention: Attention,
    cross: Attention,
    feed_forward: FeedForward,
    norm1: LayerNorm,
    norm2: LayerNorm,
    norm3: LayerNorm,
    #[module(skip)]
    place: NormPlace,
}

/// What a decoder looks at: tokens `[batch, sources, dim]` and their positions.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) tokens: Tensor<3>,
    pub(crate) position: Option<Tensor<3>>,
}

impl DecoderLayer {
    pub(crate) fn new(shape: &LayerShape, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        Self {
            attention: Attention::new(shape.dim, shape.heads, rng, device),
            cross: Attention::new(shape.dim, shape.heads, rng, device),
            feed_forward: FeedForward::new(shape, rng, device),
            norm1: layer_norm(shape.dim, device),
            norm2: layer_norm(shape.dim, device),
            norm3: layer_norm(shape.dim, device),
            place: shape.norm,
        }
    }

    /// `[batch, targets, dim]` to the same; `bias` is of the self-attention.
    pub(crate) fn forward(
        &self,
        x: Tensor<3>,
        position: Option<&Tensor<3>>,
        memory: &Memory,
        bias: Option<&Tensor<4>>,
        dropout: &mut Dropout,
    ) -> Tensor<3> {
        let x = residual(&self.norm1, self.place, x, |x| {
            let seeking = with_position(x.clone(), position);
            let y = self
                .attention
                .forward(seeking.clone(), seeking, x, bias.cloned(), dropout);
            dropout.apply(y)
        });
        let x = residual(&self.norm2, self.place, x, |x| {
            let query = with_position(x, position);
            let key = with_position(memory.tokens.clone(), memory.position.as_ref());
            let y = self
                .cross
                .forward(query, key, memory.tokens.clone(), None, dropout);
            dropout.apply(y)
        });
        residual(&self.norm3, self.place, x, |x| {
            let y = self.feed_forward.forward(x, dropout);
            dropout.apply(y)
        })
    }
}
