//! Layers of the denoisers. Sequences are `[batch, time, channels]`; a convolution is shifted slices beside each other and one
//! product with a matrix `[kernel * channels in, channels out]`, several times faster in training than a convolution
//! operator with channels first.

use burn::tensor::activation::softmax;
use burn::tensor::{Tensor, module};

use super::weights::{Layout, Slot, Start, Weights};

/// `y = x W + b`.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    weight: Slot,
    bias: Slot,
}

impl Linear {
    /// Weights and biases uniform in `±1/sqrt(inputs)`.
    pub(crate) fn new(layout: &mut Layout, name: &str, inputs: usize, outputs: usize) -> Self {
        let start = Start::Uniform(1.0 / (inputs as f32).sqrt());
        Self::started(layout, name, [inputs, outputs], start, start)
    }

    /// Weights normal, biases 0: the start of the GPT family.
    pub(crate) fn normal(layout: &mut Layout, name: &str, inputs: usize, outputs: usize) -> Self {
        let (weight, bias) = (Start::Normal(0.02), Start::Constant(0.0));
        Self::started(layout, name, [inputs, outputs], weight, bias)
    }

    fn started(
        layout: &mut Layout,
        name: &str,
        shape: [usize; 2],
        weight: Start,
        bias: Start,
    ) -> Self {
        Self {
            weight: layout.add(format!("{name}.weight"), shape, weight),
            bias: layout.add(format!("{name}.bias"), [1, shape[1]], bias),
        }
    }

    /// `[.., inputs]` to `[.., outputs]`.
    pub(crate) fn forward<const D: usize>(&self, weights: &Weights, x: Tensor<D>) -> Tensor<D> {
        module::linear(x, weights.matrix(self.weight), Some(weights.row(self.bias)))
    }
}

/// Convolution over time that keeps the length: odd kernel, zeros outside.
#[derive(Clone, Debug)]
pub(crate) struct Convolution {
    kernel: usize,
    product: Linear,
}

impl Convolution {
    pub(crate) fn new(
        layout: &mut Layout,
        name: &str,
        [inputs, outputs]: [usize; 2],
        kernel: usize,
    ) -> Self {
        Self {
            kernel,
            product: Linear::new(layout, name, kernel * inputs, outputs),
        }
    }

    /// `[batch, time, inputs]` to `[batch, time, outputs]`.
    pub(crate) fn forward(&self, weights: &Weights, x: Tensor<3>) -> Tensor<3> {
        if self.kernel == 1 {
            return self.product.forward(weights, x);
        }
        let [batch, time, channels] = x.dims();
        let edge = Tensor::zeros([batch, self.kernel / 2, channels], &x.device());
        let padded = Tensor::cat(vec![edge.clone(), x, edge], 1);
        let shifted = (0..self.kernel)
            .map(|k| padded.clone().slice_dim(1, k..k + time))
            .collect();
        self.product.forward(weights, Tensor::cat(shifted, 2))
    }
}

/// Convolution of kernel 3, stride 2, one zero on each side: half as long.
#[derive(Clone, Debug)]
pub(crate) struct Halve(Linear);

impl Halve {
    pub(crate) fn new(layout: &mut Layout, name: &str, channels: usize) -> Self {
        Self(Linear::new(layout, name, 3 * channels, channels))
    }

    /// `[batch, time, channels]`, time even, to `[batch, time / 2, channels]`.
    pub(crate) fn forward(&self, weights: &Weights, x: Tensor<3>) -> Tensor<3> {
        let [batch, time, channels] = x.dims();
        let half = time / 2;
        // Rows (x[2i], x[2i + 1]); what is missing is x[2i - 1], the second half of the row before.
        let pairs = x.reshape([batch, half, 2 * channels]);
        let second = pairs
            .clone()
            .slice([0..batch, 0..half - 1, channels..2 * channels]);
        let edge = Tensor::zeros([batch, 1, channels], &pairs.device());
        let before = Tensor::cat(vec![edge, second], 1);
        self.0.forward(weights, Tensor::cat(vec![before, pairs], 2))
    }
}

/// Transposed convolution of kernel 4, stride 2, one cut from each side: twice as long.
///
/// `y[2i] = x[i - 1] W3 + x[i] W1`, `y[2i + 1] = x[i] W2 + x[i + 1] W0`: two products over pairs of neighbours.
#[derive(Clone, Debug)]
pub(crate) struct Double {
    /// `[W3; W1]`.
    even: Slot,
    /// `[W2; W0]`.
    odd: Slot,
    bias: Slot,
}

impl Double {
    pub(crate) fn new(layout: &mut Layout, name: &str, channels: usize) -> Self {
        let start = Start::Uniform(1.0 / (4.0 * channels as f32).sqrt());
        let shape = [2 * channels, channels];
        Self {
            even: layout.add(format!("{name}.even"), shape, start),
            odd: layout.add(format!("{name}.odd"), shape, start),
            bias: layout.add(format!("{name}.bias"), [1, channels], start),
        }
    }

    /// `[batch, time, channels]` to `[batch, 2 time, channels]`.
    pub(crate) fn forward(&self, weights: &Weights, x: Tensor<3>) -> Tensor<3> {
        let [batch, time, channels] = x.dims();
        let edge = Tensor::zeros([batch, 1, channels], &x.device());
        let padded = Tensor::cat(vec![edge.clone(), x, edge], 1);
        // Pairs (x[i - 1], x[i]) for i in 0..=time.
        let pairs = Tensor::cat(
            vec![
                padded.clone().slice_dim(1, 0..time + 1),
                padded.slice_dim(1, 1..time + 2),
            ],
            2,
        );
        let product = |slot, from: usize| {
            module::linear(
                pairs.clone().slice_dim(1, from..from + time),
                weights.matrix(slot),
                Some(weights.row(self.bias)),
            )
        };
        let (even, odd) = (product(self.even, 0), product(self.odd, 1));
        Tensor::cat(vec![even, odd], 2).reshape([batch, 2 * time, channels])
    }
}

/// Keeps a division by a standard deviation finite.
const EPSILON: f64 = 1e-5;

/// Group normalisation (Wu and He 2018) over time and the channels of a group.
#[derive(Clone, Debug)]
pub(crate) struct GroupNorm {
    groups: usize,
    scale: Slot,
    shift: Slot,
}

impl GroupNorm {
    pub(crate) fn new(layout: &mut Layout, name: &str, groups: usize, channels: usize) -> Self {
        Self {
            groups,
            scale: layout.add(format!("{name}.scale"), [1, channels], Start::Constant(1.0)),
            shift: layout.add(format!("{name}.shift"), [1, channels], Start::Constant(0.0)),
        }
    }

    /// Same shape, `[batch, time, channels]`.
    pub(crate) fn forward(&self, weights: &Weights, x: Tensor<3>) -> Tensor<3> {
        let [batch, time, channels] = x.dims();
        let width = channels / self.groups;
        let count = (time * width) as f64;
        // [batch, groups, 1]: the long sums run over whole rows, only short ones within them.
        let moment =
            |x: Tensor<3>| x.sum_dim(1).reshape([batch, self.groups, width]).sum_dim(2) / count;
        let mean = moment(x.clone());
        let square = moment(x.clone() * x.clone());
        let variance = (square - mean.clone() * mean.clone()).clamp_min(0.0);
        let inverse = (variance + EPSILON).sqrt().recip();
        let per_group = |slot| weights.matrix(slot).reshape([1, self.groups, width]);
        let scale = per_group(self.scale) * inverse;
        let shift = per_group(self.shift) - scale.clone() * mean;
        x * scale.reshape([batch, 1, channels]) + shift.reshape([batch, 1, channels])
    }
}

/// Layer normalisation over the last dimension.
#[derive(Clone, Debug)]
pub(crate) struct LayerNorm {
    scale: Slot,
    shift: Slot,
}

impl LayerNorm {
    pub(crate) fn new(layout: &mut Layout, name: &str, width: usize) -> Self {
        Self {
            scale: layout.add(format!("{name}.scale"), [1, width], Start::Constant(1.0)),
            shift: layout.add(format!("{name}.shift"), [1, width], Start::Constant(0.0)),
        }
    }

    pub(crate) fn forward(&self, weights: &Weights, x: Tensor<3>) -> Tensor<3> {
        let centred = x.clone() - x.mean_dim(2);
        let variance = (centred.clone() * centred.clone()).mean_dim(2);
        let normal = centred * (variance + EPSILON).sqrt().recip();
        normal * weights.matrix(self.scale).unsqueeze() + weights.matrix(self.shift).unsqueeze()
    }
}

/// `x tanh(ln(1 + e^x))` (Misra 2019) with one exponential: with `n = e^x (e^x + 2)` it is `x n / (n + 2)`.
pub(crate) fn mish<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    // Beyond 20 the fraction is 1 in single precision.
    let e = x.clone().clamp_max(20.0).exp();
    let n = e.clone() * (e + 2.0);
    x * (n.clone() / (n + 2.0))
}

/// Multi-head attention of one sequence to another (Vaswani et al. 2017).
#[derive(Clone, Debug)]
pub(crate) struct Attention {
    heads: usize,
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
}

impl Attention {
    pub(crate) fn new(layout: &mut Layout, name: &str, width: usize, heads: usize) -> Self {
        let mut part = |part: &str| Linear::normal(layout, &format!("{name}.{part}"), width, width);
        Self {
            heads,
            query: part("query"),
            key: part("key"),
            value: part("value"),
            out: part("out"),
        }
    }

    /// `[batch, time, width]` looks at `[batch, memory, width]`; `hidden` `[1, 1, time, memory]` is added to the scores, a large
    /// negative number where there is nothing to see.
    pub(crate) fn forward(
        &self,
        weights: &Weights,
        x: Tensor<3>,
        memory: Tensor<3>,
        hidden: Tensor<4>,
    ) -> Tensor<3> {
        let [batch, time, width] = x.dims();
        let head = width / self.heads;
        let split = |x: Tensor<3>| {
            let length = x.dims()[1];
            x.reshape([batch, length, self.heads, head]).swap_dims(1, 2)
        };
        let query = split(self.query.forward(weights, x));
        let key = split(self.key.forward(weights, memory.clone()));
        let value = split(self.value.forward(weights, memory));
        let scores = query.matmul(key.swap_dims(2, 3)) / (head as f64).sqrt();
        let seen = softmax(scores + hidden, 3).matmul(value);
        self.out
            .forward(weights, seen.swap_dims(1, 2).reshape([batch, time, width]))
    }
}
