//! The transformer that BERT, CLIP and SigLIP are made of, as Burn modules filled from a checkpoint of PyTorch.

use burn::module::{Module, Param};
use burn::nn::{Embedding, LayerNorm, LayerNormConfig, Linear};
use burn::tensor::activation::{gelu, gelu_approximate, sigmoid};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor, TensorData};

use crate::encoder::EncoderError;
use crate::state_dict::StateDict;

/// What stands between the two layers of a block's perceptron.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x Φ(x)`, Φ the normal distribution.
    Gelu,
    /// The same with Φ through a tanh.
    GeluTanh,
    /// `x σ(1.702 x)`.
    QuickGelu,
}

impl Activation {
    /// By the name in a Hugging Face configuration (`hidden_act`).
    ///
    /// # Errors
    /// [`EncoderError::Other`] listing the known names.
    pub fn by_name(name: &str) -> Result<Self, EncoderError> {
        match name {
            "gelu" => Ok(Self::Gelu),
            "gelu_pytorch_tanh" | "gelu_new" | "gelu_fast" => Ok(Self::GeluTanh),
            "quick_gelu" => Ok(Self::QuickGelu),
            other => Err(EncoderError::Other(format!(
                "the configuration asks for the activation `{other}`; known are gelu, gelu_pytorch_tanh and quick_gelu"
            ))),
        }
    }

    /// Applied to every value.
    pub fn forward(self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Gelu => gelu(x),
            Self::GeluTanh => gelu_approximate(x),
            Self::QuickGelu => x.clone() * sigmoid(x * 1.702),
        }
    }
}

/// Where the norms stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Before attention and perceptron, inside the residual branch: `x + f(norm(x))`.
    Pre,
    /// After each sum: `norm(x + f(x))`.
    Post,
}

/// What a position may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Every position.
    All,
    /// Itself and those before it.
    Past,
}

/// Size of a stack of blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// Width of the residual stream.
    pub width: usize,
    /// Width inside the perceptron.
    pub inner: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads; they divide the width.
    pub heads: usize,
    /// What stands between the perceptron's layers.
    pub activation: Activation,
    /// Added to the variance in every norm.
    pub epsilon: f64,
}

impl Size {
    /// Fails on a size that no network has.
    ///
    /// # Errors
    /// [`EncoderError::Other`] naming the number.
    pub fn check(&self, what: &str) -> Result<(), EncoderError> {
        let positive = [self.width, self.inner, self.layers, self.heads]
            .iter()
            .all(|&n| n > 0);
        if !positive || !self.width.is_multiple_of(self.heads) {
            return Err(EncoderError::Other(format!(
                "the {what} tower is {} wide with {} heads, {} layers and {} inside; the heads must divide the width, and nothing may be 0",
                self.width, self.heads, self.layers, self.inner
            )));
        }
        Ok(())
    }
}

/// Names of a block's parts in a checkpoint, behind the block's own prefix.
#[derive(Clone, Copy, Debug)]
pub struct BlockNames {
    /// Query, key, value and output of the attention.
    pub attention: [&'static str; 4],
    /// The norm that belongs to the attention.
    pub attention_norm: &'static str,
    /// Both layers of the perceptron.
    pub perceptron: [&'static str; 2],
    /// The norm that belongs to the perceptron.
    pub perceptron_norm: &'static str,
}

/// One block: attention and a perceptron, each with a norm and a residual sum.
#[derive(Module, Debug)]
pub struct Block {
    attention: Attention,
    attention_norm: LayerNorm,
    inner: Linear,
    outer: Linear,
    perceptron_norm: LayerNorm,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    order: Order,
}

impl Block {
    /// `[batch, time, width]` to the same.
    pub fn forward(&self, x: Tensor<3>, sight: Sight) -> Tensor<3> {
        let perceptron = |x: Tensor<3>| {
            self.outer
                .forward(self.activation.forward(self.inner.forward(x)))
        };
        match self.order {
            Order::Pre => {
                let x = x.clone()
                    + self
                        .attention
                        .forward(self.attention_norm.forward(x), sight);
                x.clone() + perceptron(self.perceptron_norm.forward(x))
            }
            Order::Post => {
                let x = self
                    .attention_norm
                    .forward(x.clone() + self.attention.forward(x, sight));
                self.perceptron_norm.forward(x.clone() + perceptron(x))
            }
        }
    }
}

/// Scaled dot-product attention of several heads: `softmax(Q Kᵀ / √d) V`.
#[derive(Module, Debug)]
pub struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: usize,
}

impl Attention {
    /// Every position of `x`, `[batch, time, width]`, looks at those of `x`.
    pub fn forward(&self, x: Tensor<3>, sight: Sight) -> Tensor<3> {
        self.look(x.clone(), x, sight)
    }

    /// Every position of `from`, `[batch, queries, width]`, looks at those of `at`, `[batch, time, width]`.
    pub fn look(&self, from: Tensor<3>, at: Tensor<3>, sight: Sight) -> Tensor<3> {
        let [batch, queries, width] = from.dims();
        let apart = |x: Tensor<3>| {
            let [batch, time, width] = x.dims();
            x.reshape([batch, time, self.heads, width / self.heads])
                .swap_dims(1, 2)
        };
        let options = AttentionModuleOptions {
            is_causal: sight == Sight::Past,
            ..AttentionModuleOptions::default()
        };
        let seen = attention(
            apart(self.query.forward(from)),
            apart(self.key.forward(at.clone())),
            apart(self.value.forward(at)),
            None,
            None,
            options,
        );
        self.output
            .forward(seen.swap_dims(1, 2).reshape([batch, queries, width]))
    }
}

/// A checkpoint from which modules are filled; a missing or mis-shaped tensor is an error that names it.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoint<'a> {
    /// The tensors.
    pub dict: &'a StateDict,
    /// Where the modules go.
    pub device: &'a Device,
}

impl Checkpoint<'_> {
    /// A tensor of any shape.
    pub fn tensor<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Tensor<D>, EncoderError> {
        let values = self.dict.tensor(name, &shape)?.values.clone();
        Ok(Tensor::from_data(
            TensorData::new(values, shape),
            self.device,
        ))
    }

    /// A parameter of any shape.
    pub fn parameter<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Param<Tensor<D>>, EncoderError> {
        Ok(Param::from_tensor(self.tensor(name, shape)?))
    }

    /// `NAME.weight`, `[outputs, inputs]`, and `NAME.bias`, `[outputs]`.
    pub fn linear(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Linear, EncoderError> {
        let bias = self.parameter(&format!("{name}.bias"), [outputs])?;
        Ok(Linear {
            bias: Some(bias),
            ..self.linear_without_bias(name, inputs, outputs)?
        })
    }

    /// `NAME.weight`, `[outputs, inputs]`.
    pub fn linear_without_bias(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Linear, EncoderError> {
        // Burn keeps `[inputs, outputs]`.
        let weight = self
            .tensor(&format!("{name}.weight"), [outputs, inputs])?
            .transpose();
        Ok(Linear {
            weight: Param::from_tensor(weight),
            bias: None,
        })
    }

    /// `NAME.weight` and `NAME.bias`, `[width]`.
    pub fn norm(&self, name: &str, width: usize, epsilon: f64) -> Result<LayerNorm, EncoderError> {
        let mut norm = LayerNormConfig::new(width)
            .with_epsilon(epsilon)
            .init(self.device);
        norm.gamma = self.parameter(&format!("{name}.weight"), [width])?;
        norm.beta = Some(self.parameter(&format!("{name}.bias"), [width])?);
        Ok(norm)
    }

    /// `NAME.weight`, `[rows, width]`.
    pub fn embedding(
        &self,
        name: &str,
        rows: usize,
        width: usize,
    ) -> Result<Embedding, EncoderError> {
        Ok(Embedding {
            weight: self.parameter(&format!("{name}.weight"), [rows, width])?,
        })
    }

    /// Attention with the four named layers behind `prefix`.
    pub fn attention(
        &self,
        prefix: &str,
        names: [&str; 4],
        width: usize,
        heads: usize,
    ) -> Result<Attention, EncoderError> {
        let layer = |name: &str| self.linear(&format!("{prefix}{name}"), width, width);
        Ok(Attention {
            query: layer(names[0])?,
            key: layer(names[1])?,
            value: layer(names[2])?,
            output: layer(names[3])?,
            heads,
        })
    }

    /// The blocks `PREFIX0.`, `PREFIX1.`, and so on.
    pub fn blocks(
        &self,
        prefix: &str,
        names: &BlockNames,
        size: &Size,
        order: Order,
    ) -> Result<Vec<Block>, EncoderError> {
        let width = size.width;
        (0..size.layers)
            .map(|layer| {
                let own = format!("{prefix}{layer}.");
                let name = |part: &str| format!("{own}{part}");
                let [inner, outer] = names.perceptron;
                Ok(Block {
                    attention: self.attention(&own, names.attention, width, size.heads)?,
                    attention_norm: self.norm(&name(names.attention_norm), width, size.epsilon)?,
                    inner: self.linear(&name(inner), width, size.inner)?,
                    outer: self.linear(&name(outer), size.inner, width)?,
                    perceptron_norm: self.norm(
                        &name(names.perceptron_norm),
                        width,
                        size.epsilon,
                    )?,
                    activation: size.activation,
                    order,
                })
            })
            .collect()
    }
}

/// Every row made a unit vector; a row of zeros stays one.
pub fn unit_rows(x: Tensor<2>) -> Tensor<2> {
    let norm = (x.clone() * x.clone()).sum_dim(1).sqrt().clamp_min(1e-12);
    x / norm
}

/// The values of a tensor, row-major.
///
/// # Errors
/// [`EncoderError::Other`] when the device gives another type.
pub fn values(x: Tensor<2>) -> Result<Vec<f32>, EncoderError> {
    x.into_data().try_to_vec().map_err(|error| {
        EncoderError::Other(format!("the device gave features of another type: {error}"))
    })
}
