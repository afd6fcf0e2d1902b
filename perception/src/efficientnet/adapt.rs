//! Adapting the end of the network: low-rank or dense changes to the 1x1 convolutions of its last blocks.
//!
//! ```text
//! low rank:  W' = W + (alpha / rank) B A        A [rank, input], B [output, rank], B = 0 at the start (LoRA, arXiv 2106.09685)
//! dense:     W' = W + D,  b' = b + d            D [output, input], both 0 at the start
//! ```
//!
//! What lies below the adapted blocks never changes, so its activations are computed once, by the fast engine, and kept: they are
//! the features of an ordinary encoder with an earlier tap ([`Tail::below`]). Depthwise filters, a twentieth of a block's weights, stay
//! as they are. The base weights are only read; [`Adapters::merge`] gives a changed copy, which runs at the speed of the original.

use burn::module::{Module, Param};
use burn::nn::conv::Conv2d;
use burn::tensor::activation::relu6;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, RngExt as _};
use serde::{Deserialize, Serialize};

use super::network::convolution;
use super::weights::{BlockWeights, Convolution, Tap, Weights, block_shapes};
use crate::encoder::EncoderError;

/// What may change in an adapted convolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdapterKind {
    /// A product of two thin matrices (LoRA).
    #[default]
    LowRank,
    /// Every weight and bias: full fine-tuning of the adapted blocks' 1x1 convolutions.
    Dense,
}

/// How the end of the network is adapted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdapterConfig {
    /// What may change.
    pub kind: AdapterKind,
    /// Rank of a low-rank change.
    pub rank: usize,
    /// A low-rank change is scaled by `alpha / rank`.
    pub alpha: f64,
    /// Blocks before the tap that are adapted.
    pub blocks: usize,
}

impl Default for AdapterConfig {
    fn default() -> Self {
        Self {
            kind: AdapterKind::LowRank,
            rank: 8,
            alpha: 16.0,
            blocks: 2,
        }
    }
}

impl AdapterConfig {
    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), EncoderError> {
        let sentence = if self.rank == 0 {
            "adapter.rank is 0; give at least 1"
        } else if self.blocks == 0 {
            "adapter.blocks is 0; give at least 1"
        } else if !(self.alpha.is_finite() && self.alpha > 0.0) {
            "adapter.alpha must be a positive number"
        } else {
            return Ok(());
        };
        Err(EncoderError::Other(sentence.into()))
    }
}

/// The last blocks before a tap, with their base weights, as plain numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Tail {
    /// Index of the first block.
    first: usize,
    /// Rows and columns of the activation that goes in.
    side: usize,
    blocks: Vec<BlockWeights>,
}

impl Tail {
    /// The last `count` blocks before `tap` for pictures of `size` x `size` pixels.
    ///
    /// # Errors
    /// When the tap is not a block, or not that many blocks lie before it.
    pub fn of(
        weights: &Weights,
        tap: Tap,
        size: usize,
        count: usize,
    ) -> Result<Self, EncoderError> {
        let first = first_block(tap, count)?;
        let Tap::Block(last) = tap else {
            unreachable!("`first_block` refuses other taps")
        };
        Ok(Self {
            first,
            side: Tap::Block(first - 1).shape(size).0,
            blocks: weights.blocks[first..=last].to_vec(),
        })
    }

    /// The tap whose activations go in.
    ///
    /// # Errors
    /// As [`Tail::of`].
    pub fn below(tap: Tap, count: usize) -> Result<Tap, EncoderError> {
        Ok(Tap::Block(first_block(tap, count)? - 1))
    }

    /// Width of a feature row that goes in.
    pub fn input_dim(&self) -> usize {
        self.side * self.side * self.blocks[0].shape.input
    }

    /// Width of a feature row that comes out.
    pub fn output_dim(&self) -> usize {
        let last = &self.blocks[self.blocks.len() - 1].shape;
        let side = self
            .blocks
            .iter()
            .fold(self.side, |side, block| side.div_ceil(block.shape.stride));
        side * side * last.output
    }

    /// The convolutions by name (`9.expand`, `9.depthwise`, `9.project`, ...), for a file.
    pub fn convolutions(&self) -> Vec<(String, &Convolution)> {
        let mut all = Vec::new();
        for (i, block) in self.blocks.iter().enumerate() {
            let name = |part: &str| format!("{}.{part}", self.first + i);
            all.extend(block.expand.iter().map(|c| (name("expand"), c)));
            all.push((name("depthwise"), &block.depthwise));
            all.push((name("project"), &block.project));
        }
        all
    }

    /// Put together again from [`Tail::convolutions`]. `input_dim` is the width of a row that goes in.
    ///
    /// # Errors
    /// Naming the first convolution that is missing or has the wrong shape.
    pub fn from_convolutions(
        tap: Tap,
        count: usize,
        input_dim: usize,
        mut find: impl FnMut(&str) -> Option<Convolution>,
    ) -> Result<Self, EncoderError> {
        let first = first_block(tap, count)?;
        let shapes = block_shapes();
        let mut get = |block: usize, part: &str, shape: [usize; 4]| {
            let name = format!("{block}.{part}");
            match find(&name) {
                Some(c)
                    if c.shape == shape
                        && c.weight.len() == shape.iter().product::<usize>()
                        && c.bias.len() == shape[0] =>
                {
                    Ok(c)
                }
                Some(c) => Err(EncoderError::Other(format!(
                    "the convolution {name} has shape {:?} where {shape:?} belongs",
                    c.shape
                ))),
                None => Err(EncoderError::Other(format!(
                    "the convolution {name} is missing"
                ))),
            }
        };
        let mut blocks = Vec::new();
        for (i, shape) in shapes.into_iter().enumerate().skip(first).take(count) {
            blocks.push(BlockWeights {
                shape,
                expand: shape
                    .expands()
                    .then(|| get(i, "expand", [shape.expanded, shape.input, 1, 1]))
                    .transpose()?,
                depthwise: get(
                    i,
                    "depthwise",
                    [shape.expanded, 1, shape.kernel, shape.kernel],
                )?,
                project: get(i, "project", [shape.output, shape.expanded, 1, 1])?,
            });
        }
        let side = (input_dim / shapes[first].input).isqrt();
        if side == 0 || side * side * shapes[first].input != input_dim {
            return Err(EncoderError::Other(format!(
                "{input_dim} features are not a square of {} channels",
                shapes[first].input
            )));
        }
        Ok(Self {
            first,
            side,
            blocks,
        })
    }

    /// Places the base weights on a device, where they never change.
    pub fn on(&self, device: &Device) -> FrozenTail {
        FrozenTail {
            side: self.side,
            channels: self.blocks[0].shape.input,
            blocks: self
                .blocks
                .iter()
                .map(|block| FrozenBlock {
                    expand: block.expand.as_ref().map(|c| Pointwise::new(c, device)),
                    depthwise: convolution(
                        &block.depthwise,
                        block.shape.stride,
                        block.shape.expanded,
                        device,
                    )
                    .no_grad(),
                    project: Pointwise::new(&block.project, device),
                    residual: block.shape.residual(),
                })
                .collect(),
        }
    }
}

fn first_block(tap: Tap, count: usize) -> Result<usize, EncoderError> {
    match tap {
        Tap::Block(last) if count > 0 && count <= last => Ok(last + 1 - count),
        Tap::Block(last) => Err(EncoderError::Other(format!(
            "{count} blocks cannot be adapted before block {last}; give 1 to {last}"
        ))),
        _ => Err(EncoderError::Other(format!(
            "the tap {tap} cannot be adapted; use a block, such as block10"
        ))),
    }
}

/// A [`Tail`] on a device.
#[derive(Debug)]
pub struct FrozenTail {
    side: usize,
    channels: usize,
    blocks: Vec<FrozenBlock>,
}

#[derive(Debug)]
struct FrozenBlock {
    expand: Option<Pointwise>,
    depthwise: Conv2d,
    project: Pointwise,
    residual: bool,
}

/// A 1x1 convolution as a matrix product.
#[derive(Debug)]
struct Pointwise {
    /// `[1, output, input]`.
    weight: Tensor<3>,
    /// `[1, output, 1]`.
    bias: Tensor<3>,
}

impl Pointwise {
    fn new(c: &Convolution, device: &Device) -> Self {
        let [output, input, ..] = c.shape;
        let weight = TensorData::new(c.weight.clone(), [1, output, input]);
        let bias = TensorData::new(c.bias.clone(), [1, output, 1]);
        Self {
            weight: Tensor::from_data(weight, device),
            bias: Tensor::from_data(bias, device),
        }
    }

    /// `[batch, input, places]` to `[batch, output, places]`.
    fn forward(&self, x: Tensor<3>, adapter: &Adapter) -> Tensor<3> {
        match adapter {
            Adapter::LowRank(low) => {
                let base = self.weight.clone().matmul(x.clone()) + self.bias.clone();
                let thin = low.down.val().unsqueeze::<3>().matmul(x);
                base + low.up.val().unsqueeze::<3>().matmul(thin) * low.scale
            }
            Adapter::Dense(dense) => {
                let weight = self.weight.clone() + dense.weight.val().unsqueeze::<3>();
                let bias = dense.bias.val().unsqueeze_dims::<3>(&[0, -1]);
                weight.matmul(x) + self.bias.clone() + bias
            }
        }
    }
}

impl FrozenTail {
    /// Feature rows of the tap below, `[batch, input_dim]` channel-last, to those of the tap, `[batch, output_dim]` channel-last.
    pub fn forward(&self, adapters: &Adapters, rows: Tensor<2>) -> Tensor<2> {
        let [batch, _] = rows.dims();
        let mut side = self.side;
        let mut x = rows
            .reshape([batch, side * side, self.channels])
            .swap_dims(1, 2);
        for (block, adapter) in self.blocks.iter().zip(&adapters.blocks) {
            let input = x.clone();
            if let (Some(expand), Some(adapter)) = (&block.expand, &adapter.expand) {
                x = relu6(expand.forward(x, adapter));
            }
            let [_, channels, _] = x.dims();
            let picture = block
                .depthwise
                .forward(x.reshape([batch, channels, side, side]));
            side = picture.dims()[2];
            let filtered = relu6(picture.reshape([batch, channels, side * side]));
            x = block.project.forward(filtered, &adapter.project);
            if block.residual {
                x = x + input;
            }
        }
        let [_, channels, places] = x.dims();
        x.swap_dims(1, 2).reshape([batch, places * channels])
    }
}

/// The changes to a [`Tail`]: everything that is trained.
#[derive(Module, Debug)]
pub struct Adapters {
    blocks: Vec<BlockAdapters>,
}

/// The changes to one block.
#[derive(Module, Debug)]
pub struct BlockAdapters {
    expand: Option<Adapter>,
    project: Adapter,
}

/// The change to one 1x1 convolution.
#[derive(Module, Debug)]
pub enum Adapter {
    /// `(alpha / rank) B A`.
    LowRank(LowRank),
    /// Any.
    Dense(Dense),
}

/// A low-rank change.
#[derive(Module, Debug)]
pub struct LowRank {
    /// A, `[rank, input]`.
    down: Param<Tensor<2>>,
    /// B, `[output, rank]`.
    up: Param<Tensor<2>>,
    /// `alpha / rank`.
    #[module(skip)]
    scale: f64,
}

/// A change without restriction.
#[derive(Module, Debug)]
pub struct Dense {
    /// `[output, input]`.
    weight: Param<Tensor<2>>,
    /// `[output]`.
    bias: Param<Tensor<1>>,
}

impl Adapters {
    /// Adapters that change nothing yet: A uniform in `±1/sqrt(input)`, all else zero.
    pub fn new(tail: &Tail, config: &AdapterConfig, rng: &mut impl Rng, device: &Device) -> Self {
        let mut adapter = |c: &Convolution| {
            let [output, input, ..] = c.shape;
            let zeros = |shape: [usize; 2]| Param::from_tensor(Tensor::<2>::zeros(shape, device));
            match config.kind {
                AdapterKind::LowRank => {
                    let bound = 1.0 / (input as f32).sqrt();
                    let down: Vec<f32> = (0..config.rank * input)
                        .map(|_| rng.random_range(-bound..=bound))
                        .collect();
                    let down = TensorData::new(down, [config.rank, input]);
                    Adapter::LowRank(LowRank {
                        down: Param::from_tensor(Tensor::from_data(down, device)),
                        up: zeros([output, config.rank]),
                        scale: config.alpha / config.rank as f64,
                    })
                }
                AdapterKind::Dense => Adapter::Dense(Dense {
                    weight: zeros([output, input]),
                    bias: Param::from_tensor(Tensor::<1>::zeros([output], device)),
                }),
            }
        };
        let blocks = tail
            .blocks
            .iter()
            .map(|block| BlockAdapters {
                expand: block.expand.as_ref().map(&mut adapter),
                project: adapter(&block.project),
            })
            .collect();
        Self { blocks }
    }

    /// The tail with the changes in its weights.
    ///
    /// # Errors
    /// [`EncoderError::Other`] when a tensor cannot be read from its device.
    pub fn merge(&self, tail: &Tail) -> Result<Tail, EncoderError> {
        let mut merged = tail.clone();
        for (block, adapters) in merged.blocks.iter_mut().zip(&self.blocks) {
            if let (Some(expand), Some(adapter)) = (&mut block.expand, &adapters.expand) {
                adapter.change(expand)?;
            }
            adapters.project.change(&mut block.project)?;
        }
        Ok(merged)
    }
}

impl Tail {
    /// The whole network with these blocks in the place of its own: what [`super::EfficientNetEncoder::on_cpu`] takes.
    pub fn put_into(&self, weights: &Weights) -> Weights {
        let mut weights = weights.clone();
        let blocks = &mut weights.blocks[self.first..self.first + self.blocks.len()];
        blocks.clone_from_slice(&self.blocks);
        weights
    }
}

impl Adapter {
    fn change(&self, c: &mut Convolution) -> Result<(), EncoderError> {
        let add = |to: &mut [f32], change: &[f32]| {
            for (w, d) in to.iter_mut().zip(change) {
                *w += d;
            }
        };
        match self {
            Self::LowRank(low) => {
                let product = low.up.val().matmul(low.down.val()) * low.scale;
                add(&mut c.weight, &values(product)?);
            }
            Self::Dense(dense) => {
                add(&mut c.weight, &values(dense.weight.val())?);
                add(&mut c.bias, &values(dense.bias.val())?);
            }
        }
        Ok(())
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, EncoderError> {
    tensor
        .into_data()
        .try_to_vec()
        .map_err(|error| EncoderError::Other(format!("a tensor could not be read: {error}")))
}

/// Weights and biases of the network up to a tap, the stem included: what the share of trained parameters is a share of.
pub fn parameters(weights: &Weights, tap: Tap) -> usize {
    let count = |c: &Convolution| c.weight.len() + c.bias.len();
    let blocks: usize = weights.blocks[..tap.blocks()]
        .iter()
        .map(|b| b.expand.as_ref().map_or(0, count) + count(&b.depthwise) + count(&b.project))
        .sum();
    count(&weights.stem) + blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::ModuleMapper;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    /// A network with random weights: no file is needed for these tests.
    fn weights(rng: &mut ChaCha8Rng) -> Weights {
        let mut convolution = |shape: [usize; 4]| {
            let fan_in = (shape[1] * shape[2] * shape[3]) as f32;
            let bound = (3.0 / fan_in).sqrt();
            let len = shape.iter().product();
            Convolution {
                weight: (0..len).map(|_| rng.random_range(-bound..=bound)).collect(),
                bias: (0..shape[0]).map(|_| rng.random_range(0.0..=0.2)).collect(),
                shape,
            }
        };
        let blocks = block_shapes()
            .into_iter()
            .map(|shape| BlockWeights {
                shape,
                expand: shape
                    .expands()
                    .then(|| convolution([shape.expanded, shape.input, 1, 1])),
                depthwise: convolution([shape.expanded, 1, shape.kernel, shape.kernel]),
                project: convolution([shape.output, shape.expanded, 1, 1]),
            })
            .collect();
        Weights {
            stem: convolution([32, 3, 3, 3]),
            blocks,
            head: convolution([1280, 320, 1, 1]),
            classifier: convolution([1000, 1280, 1, 1]),
        }
    }

    /// Random values in the place of every parameter.
    struct Shake(ChaCha8Rng);

    impl ModuleMapper for Shake {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (shape, device) = (param.dims(), param.device());
            let len = shape.iter().product();
            let values: Vec<f32> = (0..len)
                .map(|_| self.0.random_range(-0.05..=0.05))
                .collect();
            Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &device))
        }
    }

    fn run(tail: &Tail, adapters: &Adapters, rows: &[f32]) -> Vec<f32> {
        let device = Device::flex();
        let count = rows.len() / tail.input_dim();
        let rows = TensorData::new(rows.to_vec(), [count, tail.input_dim()]);
        let rows = Tensor::from_data(rows, &device);
        values(tail.on(&device).forward(adapters, rows)).unwrap()
    }

    #[test]
    fn adapters_change_nothing_at_first_and_afterwards_what_their_formula_says() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let weights = weights(&mut rng);
        // Blocks 8 to 11: another width first, residuals, and a stride at the end.
        for (tap, blocks) in [(Tap::Block(11), 4), (Tap::Block(10), 2)] {
            for kind in [AdapterKind::LowRank, AdapterKind::Dense] {
                let tail = Tail::of(&weights, tap, 32, blocks).unwrap();
                let before = tail.clone();
                let config = AdapterConfig {
                    kind,
                    blocks,
                    ..AdapterConfig::default()
                };
                let fresh = Adapters::new(&tail, &config, &mut rng, &Device::flex());
                let rows: Vec<f32> = (0..2 * tail.input_dim())
                    .map(|_| rng.random_range(-1.0..=1.0))
                    .collect();
                // Bit for bit: the low-rank path adds an exact zero.
                assert_eq!(fresh.merge(&tail).unwrap(), tail);
                let plain = run(&tail, &fresh, &rows);
                assert_eq!(plain.len(), 2 * tail.output_dim());

                let changed = fresh.clone().map(&mut Shake(ChaCha8Rng::seed_from_u64(2)));
                let adapted = run(&tail, &changed, &rows);
                let merged = run(&changed.merge(&tail).unwrap(), &fresh, &rows);
                let largest = adapted.iter().fold(0.0f32, |a, b| a.max(b.abs()));
                let apart = |a: &[f32], b: &[f32]| {
                    a.iter()
                        .zip(b)
                        .map(|(a, b)| (a - b).abs())
                        .fold(0.0, f32::max)
                };
                assert!(apart(&adapted, &merged) < 1e-4 * largest);
                assert!(apart(&adapted, &plain) > 1e-2 * largest);
                assert_eq!(tail, before);
            }
        }
    }

    #[test]
    fn the_fast_engine_and_the_tail_give_the_same_features() {
        use crate::efficientnet::cpu::{CpuNetwork, Kernels};
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let weights = weights(&mut rng);
        let (tap, size) = (Tap::Block(10), 32);
        let tail = Tail::of(&weights, tap, size, 2).unwrap();
        let fresh = Adapters::new(&tail, &AdapterConfig::default(), &mut rng, &Device::flex());
        let changed = fresh.map(&mut Shake(ChaCha8Rng::seed_from_u64(4)));
        let picture: Vec<u8> = (0..size * size * 3).map(|_| rng.random()).collect();
        let engine = |weights: &Weights, tap: Tap| {
            let network = CpuNetwork::new(weights, size, tap, Kernels::detect());
            let mut output = vec![0.0; network.output_len()];
            network.forward(&picture, &mut network.workspace(), &mut output);
            output
        };
        let below = engine(&weights, Tail::below(tap, 2).unwrap());
        assert_eq!(below.len(), tail.input_dim());
        let whole = changed.merge(&tail).unwrap().put_into(&weights);
        let expected = engine(&whole, tap);
        let found = run(&tail, &changed, &below);
        let largest = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        for (f, e) in found.iter().zip(&expected) {
            assert!((f - e).abs() < 1e-3 * largest, "{f} {e}");
        }
    }

    #[test]
    fn low_rank_adapters_are_few() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let weights = weights(&mut rng);
        let tap = Tap::Block(10);
        let tail = Tail::of(&weights, tap, 112, 2).unwrap();
        let adapters = Adapters::new(&tail, &AdapterConfig::default(), &mut rng, &Device::flex());
        let share = adapters.num_params() as f64 / parameters(&weights, tap) as f64;
        assert!(share < 0.05, "{share}");
        assert_eq!(
            (tail.input_dim(), tail.output_dim()),
            (7 * 7 * 112, 7 * 7 * 112)
        );
    }

    #[test]
    fn a_tail_survives_being_taken_apart_and_wrong_parts_are_named() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let weights = weights(&mut rng);
        let tap = Tap::Block(8);
        let tail = Tail::of(&weights, tap, 64, 3).unwrap();
        let parts: Vec<(String, Convolution)> = tail
            .convolutions()
            .into_iter()
            .map(|(name, c)| (name, c.clone()))
            .collect();
        let find = |name: &str| {
            parts
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, c)| c.clone())
        };
        let again = Tail::from_convolutions(tap, 3, tail.input_dim(), find).unwrap();
        assert_eq!(again, tail);
        let error = Tail::from_convolutions(tap, 3, tail.input_dim(), |name| {
            find(name).filter(|_| name != "7.project")
        });
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("7.project is missing")
        );
        assert!(Tail::from_convolutions(tap, 3, 17, find).is_err());
        for (tap, count) in [(Tap::Pooled, 2), (Tap::Block(1), 2), (Tap::Block(3), 0)] {
            assert!(Tail::of(&weights, tap, 64, count).is_err());
        }
    }
}
