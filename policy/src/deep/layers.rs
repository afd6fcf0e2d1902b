//! Linear layers and layer normalisation with seeded starting weights.

use burn::module::Param;
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::activation::{gelu, relu};
use burn::tensor::{Device, Tensor};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::tensor;

/// What stands between the two layers of a feed-forward block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(0, x)`.
    #[default]
    Relu,
    /// `x Phi(x)` with the normal distribution function `Phi`.
    Gelu,
}

impl Activation {
    pub(crate) fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Relu => relu(x),
            Self::Gelu => gelu(x),
        }
    }
}

fn uniform(count: usize, bound: f32, rng: &mut ChaCha8Rng) -> Vec<f32> {
    (0..count)
        .map(|_| rng.random_range(-bound..=bound))
        .collect()
}

/// `y = x W + b`, `W [inputs, outputs]`; weights and biases uniform in `±1/sqrt(inputs)`, as PyTorch starts a linear layer.
pub(crate) fn linear(
    inputs: usize,
    outputs: usize,
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> Linear {
    let bound = 1.0 / (inputs.max(1) as f32).sqrt();
    let weight = uniform(inputs * outputs, bound, rng);
    let bias = uniform(outputs, bound, rng);
    from_values(inputs, outputs, weight, bias, device)
}

/// As [`linear`], with weights uniform in `±sqrt(6 / (inputs + fan_out))` (Glorot and Bengio 2010) and biases of zero.
/// `fan_out` differs from `outputs` for a layer that is one part of several with the same inputs.
pub(crate) fn glorot(
    inputs: usize,
    outputs: usize,
    fan_out: usize,
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> Linear {
    let bound = (6.0 / (inputs + fan_out).max(1) as f32).sqrt();
    let weight = uniform(inputs * outputs, bound, rng);
    from_values(inputs, outputs, weight, vec![0.0; outputs], device)
}

fn from_values(
    inputs: usize,
    outputs: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
    device: &Device,
) -> Linear {
    Linear {
        weight: Param::from_tensor(tensor(weight, [inputs, outputs], device)),
        bias: Some(Param::from_tensor(tensor(bias, [outputs], device))),
    }
}

/// A learned table `[rows, dim]` of standard normal numbers times `scale`.
pub(crate) fn table(
    rows: usize,
    dim: usize,
    scale: f32,
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> Param<Tensor<2>> {
    let mut values = vec![0.0; rows * dim];
    crate::gaussian::fill_normal(&mut values, rng);
    values.iter_mut().for_each(|v| *v *= scale);
    Param::from_tensor(tensor(values, [rows, dim], device))
}

/// Layer normalisation over the last axis: factor 1, offset 0, epsilon 1e-5.
pub(crate) fn layer_norm(dim: usize, device: &Device) -> LayerNorm {
    LayerNormConfig::new(dim).init(device)
}

/// A linear layer on `[batch, tokens, inputs]` as one product of matrices. (The weight's gradient of a batched product would be
/// one matrix per element of the batch, summed afterwards.)
pub(crate) fn project(layer: &Linear, x: Tensor<3>) -> Tensor<3> {
    let [batch, tokens, inputs] = x.dims();
    let y = layer.forward(x.reshape([batch * tokens, inputs]));
    let outputs = y.dims()[1];
    y.reshape([batch, tokens, outputs])
}
