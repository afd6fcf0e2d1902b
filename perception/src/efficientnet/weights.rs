//! The layers of EfficientNet-Lite0 and their weights, with batch normalisation folded in.

use std::fmt;
use std::str::FromStr;

use crate::encoder::EncoderError;
use crate::state_dict::StateDict;

/// Epsilon of every batch normalisation.
const BATCH_NORM_EPSILON: f64 = 1e-3;
/// Channels after the stem.
pub const STEM_CHANNELS: usize = 32;
/// Width of the pooled features.
pub const FEATURES: usize = 1280;
/// Number of ImageNet classes.
pub const CLASSES: usize = 1000;
/// Number of inverted residual blocks.
pub const BLOCKS: usize = 16;

/// Stages as (repeats, kernel, stride of the first block, expansion, channels out).
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
];

/// The shape of one inverted residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockShape {
    /// Channels in.
    pub input: usize,
    /// Channels after the expansion; equal to `input` where there is none.
    pub expanded: usize,
    /// Channels out.
    pub output: usize,
    /// Side of the depthwise kernel.
    pub kernel: usize,
    /// Stride of the depthwise convolution.
    pub stride: usize,
}

impl BlockShape {
    /// True where a 1x1 convolution widens the input first.
    pub fn expands(&self) -> bool {
        self.expanded != self.input
    }

    /// True where the input is added to the output.
    pub fn residual(&self) -> bool {
        self.stride == 1 && self.input == self.output
    }
}

/// The sixteen blocks, first to last.
pub fn block_shapes() -> [BlockShape; BLOCKS] {
    let mut input = STEM_CHANNELS;
    let mut shapes = STAGES
        .iter()
        .flat_map(|&(repeats, kernel, stride, expansion, output)| {
            (0..repeats).map(move |repeat| {
                (
                    kernel,
                    if repeat == 0 { stride } else { 1 },
                    expansion,
                    output,
                )
            })
        });
    std::array::from_fn(|_| {
        let (kernel, stride, expansion, output) =
            shapes.next().expect("the stages repeat to sixteen blocks");
        let shape = BlockShape {
            input,
            expanded: input * expansion,
            output,
            kernel,
            stride,
        };
        input = output;
        shape
    })
}

/// Side after a convolution with "same" padding, and the zeros before the first pixel; TensorFlow puts the odd one at the end.
pub fn same_padding(side: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let output = side.div_ceil(stride);
    let total = ((output - 1) * stride + kernel).saturating_sub(side);
    (output, total / 2)
}

/// Where features are taken from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tap {
    /// After the stem.
    Stem,
    /// After block 0..=15.
    Block(usize),
    /// After the head and the mean over the picture: 1280 values.
    Pooled,
    /// ImageNet class scores before the softmax: 1000 values.
    Logits,
}

impl Tap {
    /// How many blocks must run.
    pub fn blocks(self) -> usize {
        match self {
            Self::Stem => 0,
            Self::Block(index) => index + 1,
            Self::Pooled | Self::Logits => BLOCKS,
        }
    }

    /// Shape of the features of a square input, as (rows, columns, channels); rows and columns are 1 after pooling.
    pub fn shape(self, size: usize) -> (usize, usize, usize) {
        let shapes = &block_shapes()[..self.blocks()];
        let side = shapes
            .iter()
            .fold(size.div_ceil(2), |side, block| side.div_ceil(block.stride));
        match self {
            Self::Stem => (side, side, STEM_CHANNELS),
            Self::Block(index) => (side, side, shapes[index].output),
            Self::Pooled => (1, 1, FEATURES),
            Self::Logits => (1, 1, CLASSES),
        }
    }
}

impl fmt::Display for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stem => f.write_str("stem"),
            Self::Block(index) => write!(f, "block{index}"),
            Self::Pooled => f.write_str("pooled"),
            Self::Logits => f.write_str("logits"),
        }
    }
}

impl FromStr for Tap {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "stem" => Ok(Self::Stem),
            "pooled" => Ok(Self::Pooled),
            "logits" => Ok(Self::Logits),
            _ => {
                let index: usize = text
                    .strip_prefix("block")
                    .ok_or(())?
                    .parse()
                    .map_err(|_| ())?;
                // One spelling a tap, so that one encoder has one name: no `block07`, no `block+7`.
                (index < BLOCKS && text == format!("block{index}"))
                    .then_some(Self::Block(index))
                    .ok_or(())
            }
        }
    }
}

/// A convolution with the following batch normalisation folded in.
#[derive(Clone, Debug, PartialEq)]
pub struct Convolution {
    /// `[output, input / groups, kernel, kernel]`, row-major.
    pub weight: Vec<f32>,
    /// `[output]`.
    pub bias: Vec<f32>,
    /// Extents of the weight.
    pub shape: [usize; 4],
}

/// The weights of one block.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockWeights {
    /// Channels, kernel and stride.
    pub shape: BlockShape,
    /// 1x1, absent in block 0.
    pub expand: Option<Convolution>,
    /// One filter a channel.
    pub depthwise: Convolution,
    /// 1x1, without activation.
    pub project: Convolution,
}

/// All weights of EfficientNet-Lite0.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// 3x3, stride 2, RGB to 32.
    pub stem: Convolution,
    /// Sixteen blocks.
    pub blocks: Vec<BlockWeights>,
    /// 1x1, 320 to 1280.
    pub head: Convolution,
    /// Class scores as a 1x1 convolution, 1280 to 1000.
    pub classifier: Convolution,
}

impl Weights {
    /// Takes the tensors by the names of the PyTorch port (`_conv_stem.weight`, `_blocks.3._bn1.running_var`, ...).
    ///
    /// # Errors
    /// [`EncoderError::Other`] naming the first tensor that is missing or has the wrong shape.
    pub fn from_state_dict(dict: &StateDict) -> Result<Self, EncoderError> {
        let blocks = block_shapes()
            .into_iter()
            .enumerate()
            .map(|(index, shape)| {
                let name = |part: &str| format!("_blocks.{index}.{part}");
                let BlockShape {
                    input,
                    expanded,
                    output,
                    kernel,
                    ..
                } = shape;
                let expand = shape
                    .expands()
                    .then(|| {
                        folded(
                            dict,
                            &name("_expand_conv"),
                            &name("_bn0"),
                            [expanded, input, 1, 1],
                        )
                    })
                    .transpose()?;
                Ok(BlockWeights {
                    shape,
                    expand,
                    depthwise: folded(
                        dict,
                        &name("_depthwise_conv"),
                        &name("_bn1"),
                        [expanded, 1, kernel, kernel],
                    )?,
                    project: folded(
                        dict,
                        &name("_project_conv"),
                        &name("_bn2"),
                        [output, expanded, 1, 1],
                    )?,
                })
            });
        Ok(Self {
            blocks: blocks.collect::<Result<_, EncoderError>>()?,
            stem: folded(dict, "_conv_stem", "_bn0", [STEM_CHANNELS, 3, 3, 3])?,
            head: folded(dict, "_conv_head", "_bn1", [FEATURES, 320, 1, 1])?,
            classifier: Convolution {
                weight: dict
                    .tensor("_fc.weight", &[CLASSES, FEATURES])?
                    .values
                    .clone(),
                bias: dict.tensor("_fc.bias", &[CLASSES])?.values.clone(),
                shape: [CLASSES, FEATURES, 1, 1],
            },
        })
    }
}

/// A convolution without bias and its batch normalisation as one convolution:
/// `w' = w * gamma / sqrt(var + eps)`, `b' = beta - mean * gamma / sqrt(var + eps)`.
fn folded(
    dict: &StateDict,
    convolution: &str,
    norm: &str,
    shape: [usize; 4],
) -> Result<Convolution, EncoderError> {
    let weight = &dict
        .tensor(&format!("{convolution}.weight"), &shape)?
        .values;
    let statistic = |part: &str| {
        Ok::<_, EncoderError>(&dict.tensor(&format!("{norm}.{part}"), &[shape[0]])?.values)
    };
    let (gamma, beta) = (statistic("weight")?, statistic("bias")?);
    let (mean, variance) = (statistic("running_mean")?, statistic("running_var")?);
    let scale: Vec<f64> = gamma
        .iter()
        .zip(variance)
        .map(|(&gamma, &variance)| {
            f64::from(gamma) / (f64::from(variance) + BATCH_NORM_EPSILON).sqrt()
        })
        .collect();
    let per_output = shape[1..].iter().product::<usize>();
    let weight = weight
        .chunks_exact(per_output)
        .zip(&scale)
        .flat_map(|(filter, &scale)| filter.iter().map(move |&w| (f64::from(w) * scale) as f32))
        .collect();
    let bias = (0..shape[0])
        .map(|i| (f64::from(beta[i]) - f64::from(mean[i]) * scale[i]) as f32)
        .collect();
    Ok(Convolution {
        weight,
        bias,
        shape,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_unroll_to_the_published_blocks() {
        let shapes = block_shapes();
        let first = BlockShape {
            input: 32,
            expanded: 32,
            output: 16,
            kernel: 3,
            stride: 1,
        };
        let tenth = BlockShape {
            input: 112,
            expanded: 672,
            output: 112,
            kernel: 5,
            stride: 1,
        };
        let last = BlockShape {
            input: 192,
            expanded: 1152,
            output: 320,
            kernel: 3,
            stride: 1,
        };
        assert_eq!((shapes[0], shapes[10], shapes[15]), (first, tenth, last));
        assert!(!shapes[0].expands() && shapes[10].residual() && !shapes[15].residual());
        assert_eq!(shapes.iter().filter(|shape| shape.residual()).count(), 9);
    }

    #[test]
    fn taps_have_the_published_sizes() {
        assert_eq!(Tap::Block(10).shape(112), (7, 7, 112));
        assert_eq!(Tap::Block(10).shape(224), (14, 14, 112));
        assert_eq!(Tap::Block(4).shape(112), (14, 14, 40));
        assert_eq!(Tap::Stem.shape(224), (112, 112, 32));
        assert_eq!(Tap::Pooled.shape(224), (1, 1, 1280));
        assert_eq!(Tap::Logits.shape(224), (1, 1, 1000));
    }

    #[test]
    fn every_tap_has_one_name() {
        for tap in [
            Tap::Stem,
            Tap::Block(0),
            Tap::Block(15),
            Tap::Pooled,
            Tap::Logits,
        ] {
            assert_eq!(tap.to_string().parse(), Ok(tap));
        }
        for wrong in ["block16", "block07", "block+7", "block", "pool", ""] {
            assert_eq!(wrong.parse::<Tap>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn same_padding_puts_the_odd_zero_at_the_end() {
        assert_eq!(same_padding(224, 3, 2), (112, 0));
        assert_eq!(same_padding(112, 3, 1), (112, 1));
        assert_eq!(same_padding(56, 5, 2), (28, 1));
        assert_eq!(same_padding(7, 3, 2), (4, 1));
    }
}
