//! EfficientNet-Lite0 as a Burn module: any device, differentiable, the reference for the CPU engine.

use burn::module::{Module, Param};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, Linear};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};

use super::weights::{BlockWeights, CLASSES, Convolution, FEATURES, Tap, Weights};

/// The network. Batch normalisation is folded into the convolutions, so training adjusts weights and biases and never running statistics.
#[derive(Module, Debug)]
pub struct Network {
    stem: Conv2d,
    blocks: Vec<InvertedResidual>,
    head: Conv2d,
    classifier: Linear,
}

/// 1x1 expansion, depthwise filter, 1x1 projection; the input is added where the shapes agree.
#[derive(Module, Debug)]
pub struct InvertedResidual {
    expand: Option<Conv2d>,
    depthwise: Conv2d,
    project: Conv2d,
    residual: bool,
}

impl Network {
    /// Places the weights on a device.
    pub fn new(weights: &Weights, device: &Device) -> Self {
        // Linear layers keep `[input, output]`.
        let weight = Tensor::<2>::from_data(
            TensorData::new(weights.classifier.weight.clone(), [CLASSES, FEATURES]),
            device,
        )
        .transpose();
        let bias = bias_tensor(&weights.classifier, device);
        Self {
            stem: convolution(&weights.stem, 2, 1, device),
            blocks: weights
                .blocks
                .iter()
                .map(|block| InvertedResidual::new(block, device))
                .collect(),
            head: convolution(&weights.head, 1, 1, device),
            classifier: Linear {
                weight: Param::from_tensor(weight),
                bias: Some(Param::from_tensor(bias)),
            },
        }
    }

    /// `[batch, 3, height, width]` in -1..=1 to the tap: `[batch, channels, rows, columns]`, with one row and column after pooling.
    pub fn forward(&self, input: Tensor<4>, tap: Tap) -> Tensor<4> {
        let mut x = relu6(self.stem.forward(input));
        for block in &self.blocks[..tap.blocks()] {
            x = block.forward(x);
        }
        match tap {
            Tap::Stem | Tap::Block(_) => x,
            Tap::Pooled => self.pooled(x),
            Tap::Logits => {
                let [batch, ..] = x.dims();
                let features = self.pooled(x).reshape([batch, FEATURES]);
                self.classifier
                    .forward(features)
                    .reshape([batch, CLASSES, 1, 1])
            }
        }
    }

    fn pooled(&self, x: Tensor<4>) -> Tensor<4> {
        relu6(self.head.forward(x)).mean_dim(3).mean_dim(2)
    }
}

impl InvertedResidual {
    fn new(weights: &BlockWeights, device: &Device) -> Self {
        let shape = weights.shape;
        Self {
            expand: weights
                .expand
                .as_ref()
                .map(|expand| convolution(expand, 1, 1, device)),
            depthwise: convolution(&weights.depthwise, shape.stride, shape.expanded, device),
            project: convolution(&weights.project, 1, 1, device),
            residual: shape.residual(),
        }
    }

    /// `[batch, input, rows, columns]` to `[batch, output, rows / stride, columns / stride]`, rounded up.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let widened = match &self.expand {
            Some(expand) => relu6(expand.forward(input.clone())),
            None => input.clone(),
        };
        let projected = self.project.forward(relu6(self.depthwise.forward(widened)));
        if self.residual {
            projected + input
        } else {
            projected
        }
    }
}

fn relu6(x: Tensor<4>) -> Tensor<4> {
    relu(x).clamp_max(6.0)
}

fn bias_tensor(weights: &Convolution, device: &Device) -> Tensor<1> {
    Tensor::from_data(
        TensorData::new(weights.bias.clone(), [weights.bias.len()]),
        device,
    )
}

pub(super) fn convolution(
    weights: &Convolution,
    stride: usize,
    groups: usize,
    device: &Device,
) -> Conv2d {
    let [output, input, kernel, _] = weights.shape;
    // "Same" in Burn puts the odd zero at the end, as TensorFlow does.
    let empty = Conv2dConfig::new([input * groups, output], [kernel, kernel])
        .with_stride([stride, stride])
        .with_groups(groups)
        .with_padding(PaddingConfig2d::Same)
        .with_initializer(Initializer::Zeros)
        .init(device);
    let weight = Tensor::from_data(
        TensorData::new(weights.weight.clone(), weights.shape),
        device,
    );
    Conv2d {
        weight: Param::from_tensor(weight),
        bias: Some(Param::from_tensor(bias_tensor(weights, device))),
        ..empty
    }
}
