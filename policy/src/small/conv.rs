//! Convolutions of 3 by 3 over small pictures, each behind a rectifier, with their own way back.
//!
//! Channels last: a row of a patch is contiguous, and each picture's patches times the weights are one product that stays in the
//! cache. The batch goes in two halves, side by side where there are two threads; the sums over the halves are added last, so that
//! the bits do not depend on the threads.

use std::ops::Range;

use rand_chacha::ChaCha8Rng;

use super::both::both;
use super::kernels;
use super::matmul::{Finish, Scratch, Start, View, matmul};
use super::orthogonal::orthogonal;
use crate::policy::PolicyError;
use crate::state::{StateDict, StateReader};

const KERNEL: usize = 3;

#[derive(Clone, Debug)]
struct Layer {
    /// Height and width of the input and of the output.
    sides: [usize; 2],
    /// Channels of the input and of the output.
    channels: [usize; 2],
    stride: usize,
    weight: Range<usize>,
    bias: Range<usize>,
}

impl Layer {
    fn patch(&self) -> usize {
        KERNEL * KERNEL * self.channels[0]
    }

    fn places(&self) -> usize {
        self.sides[1] * self.sides[1]
    }

    fn input_len(&self) -> usize {
        self.sides[0] * self.sides[0] * self.channels[0]
    }

    fn output_len(&self) -> usize {
        self.places() * self.channels[1]
    }

    /// Calls `with` for each row of each patch: where it is in the patches and in the input.
    fn rows(&self, mut with: impl FnMut(Range<usize>, Range<usize>)) {
        let ([input, output], row) = (self.sides, KERNEL * self.channels[0]);
        let mut at = 0;
        for y in 0..output {
            for x in 0..output {
                for down in 0..KERNEL {
                    let place = (y * self.stride + down) * input + x * self.stride;
                    let from = place * self.channels[0];
                    with(at..at + row, from..from + row);
                    at += row;
                }
            }
        }
    }
}

/// `relu(conv(... relu(conv(x))))`; the first moves by 2, the others by 1, none pads. Weights are `[3 * 3 * inputs, outputs]`, rows in
/// the order row, column, channel.
#[derive(Clone, Debug)]
pub(crate) struct Convolutions {
    layers: Vec<Layer>,
    /// All parameters, layer after layer: weight, bias.
    pub(crate) parameters: Vec<f32>,
}

/// One half of a batch on its way.
#[derive(Clone, Debug, Default)]
struct Half {
    /// The input, then each layer's output, `[pictures, side, side, channels]`.
    activations: Vec<Vec<f32>>,
    patches: Vec<f32>,
    gradient: Vec<f32>,
    next_gradient: Vec<f32>,
    parameter_gradient: Vec<f32>,
    scratch: Scratch,
}

/// What a forward pass leaves for the backward pass.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConvTape {
    halves: [Half; 2],
    features: Vec<f32>,
}

impl ConvTape {
    /// The newest output, `[batch, features]`.
    pub(crate) fn output(&self) -> &[f32] {
        &self.features
    }
}

impl Convolutions {
    /// `depth` layers of `width` channels over pictures of `side` by `side` with `channels`; orthogonal weights times the square root
    /// of 2, biases of zero. Nothing where the pictures are too small.
    pub(crate) fn new(
        [side, channels]: [usize; 2],
        [depth, width]: [usize; 2],
        rng: &mut ChaCha8Rng,
    ) -> Option<Self> {
        let (mut layers, mut parameters) = (Vec::new(), Vec::new());
        let (mut side, mut channels) = (side, channels);
        for index in 0..depth {
            let stride = if index == 0 { 2 } else { 1 };
            let after = side.checked_sub(KERNEL)? / stride + 1;
            let inputs = KERNEL * KERNEL * channels;
            let start = parameters.len();
            parameters.extend(orthogonal(inputs, width, 2f32.sqrt(), rng));
            parameters.resize(parameters.len() + width, 0.0);
            layers.push(Layer {
                sides: [side, after],
                channels: [channels, width],
                stride,
                weight: start..start + inputs * width,
                bias: start + inputs * width..parameters.len(),
            });
            (side, channels) = (after, width);
        }
        Some(Self { layers, parameters })
    }

    /// Numbers of a picture's features.
    pub(crate) fn outputs(&self) -> usize {
        self.layers.last().map_or(0, Layer::output_len)
    }

    fn inputs(&self) -> usize {
        self.layers.first().map_or(0, Layer::input_len)
    }

    /// Multiply-adds of a picture, one way.
    fn multiply_adds(&self) -> usize {
        let layers = self.layers.iter();
        layers
            .map(|layer| layer.places() * layer.patch() * layer.channels[1])
            .sum()
    }

    /// `input` `[batch, side, side, channels]` to `tape.output()` `[batch, features]`.
    pub(crate) fn forward(&self, input: &[f32], tape: &mut ConvTape) {
        let batch = input.len() / self.inputs();
        let middle = batch.div_ceil(2);
        let (above, below) = input.split_at(middle * self.inputs());
        let [first, second] = &mut tape.halves;
        both(
            self.multiply_adds() * middle,
            || self.forward_half(above, first),
            || self.forward_half(below, second),
        );
        tape.features.clear();
        for half in &tape.halves {
            tape.features
                .extend(half.activations.last().into_iter().flatten());
        }
    }

    fn forward_half(&self, input: &[f32], half: &mut Half) {
        let pictures = input.len() / self.inputs();
        half.activations
            .resize_with(self.layers.len() + 1, Vec::new);
        half.activations[0].clear();
        half.activations[0].extend_from_slice(input);
        for (index, layer) in self.layers.iter().enumerate() {
            let (before, after) = half.activations.split_at_mut(index + 1);
            after[0].resize(pictures * layer.output_len(), 0.0);
            let weight = View::new(
                &self.parameters[layer.weight.clone()],
                layer.patch(),
                layer.channels[1],
            );
            let bias = &self.parameters[layer.bias.clone()];
            half.patches.resize(layer.places() * layer.patch(), 0.0);
            let pictures = before[index].chunks_exact(layer.input_len());
            for (picture, output) in pictures.zip(after[0].chunks_exact_mut(layer.output_len())) {
                layer.rows(|to, from| half.patches[to].copy_from_slice(&picture[from]));
                matmul(
                    View::new(&half.patches, layer.places(), layer.patch()),
                    weight,
                    (Start::Bias(bias), Finish::Relu),
                    output,
                    &mut half.scratch,
                );
            }
        }
    }

    /// Back from the gradient of the newest output `[batch, features]` to that of the parameters, which is written.
    pub(crate) fn backward(
        &self,
        tape: &mut ConvTape,
        output_gradient: &[f32],
        gradient: &mut Vec<f32>,
    ) {
        let batch = output_gradient.len() / self.outputs();
        let middle = batch.div_ceil(2);
        let (above, below) = output_gradient.split_at(middle * self.outputs());
        let [first, second] = &mut tape.halves;
        both(
            self.multiply_adds() * middle,
            || self.backward_half(above, first),
            || self.backward_half(below, second),
        );
        let [first, second] = &tape.halves;
        gradient.clear();
        let sums = first
            .parameter_gradient
            .iter()
            .zip(&second.parameter_gradient);
        gradient.extend(sums.map(|(a, b)| a + b));
    }

    fn backward_half(&self, output_gradient: &[f32], half: &mut Half) {
        half.parameter_gradient.clear();
        half.parameter_gradient.resize(self.parameters.len(), 0.0);
        half.gradient.clear();
        half.gradient.extend_from_slice(output_gradient);
        for (index, layer) in self.layers.iter().enumerate().rev() {
            // Through the rectifier.
            for (gradient, output) in half.gradient.iter_mut().zip(&half.activations[index + 1]) {
                if *output <= 0.0 {
                    *gradient = 0.0;
                }
            }
            let parameters = &mut half.parameter_gradient;
            kernels::add_column_sums(&mut parameters[layer.bias.clone()], &half.gradient);
            half.next_gradient.clear();
            half.next_gradient
                .resize(half.activations[index].len(), 0.0);
            let pictures = half.activations[index].chunks_exact(layer.input_len());
            let gradients = half.gradient.chunks_exact(layer.output_len());
            let below = half.next_gradient.chunks_exact_mut(layer.input_len());
            half.patches.resize(layer.places() * layer.patch(), 0.0);
            for ((picture, gradient), below) in pictures.zip(gradients).zip(below) {
                layer.rows(|to, from| half.patches[to].copy_from_slice(&picture[from]));
                let gradient = View::new(gradient, layer.places(), layer.channels[1]);
                matmul(
                    View::new(&half.patches, layer.places(), layer.patch()).transposed(),
                    gradient,
                    (Start::Destination, Finish::Keep),
                    &mut parameters[layer.weight.clone()],
                    &mut half.scratch,
                );
                if index == 0 {
                    continue;
                }
                let weight = &self.parameters[layer.weight.clone()];
                matmul(
                    gradient,
                    View::new(weight, layer.patch(), layer.channels[1]).transposed(),
                    (Start::Zero, Finish::Keep),
                    &mut half.patches,
                    &mut half.scratch,
                );
                layer.rows(|from, to| {
                    for (sum, part) in below[to].iter_mut().zip(&half.patches[from]) {
                        *sum += part;
                    }
                });
            }
            std::mem::swap(&mut half.gradient, &mut half.next_gradient);
        }
    }

    /// An error that names the first tensor of `gradient` that is not finite.
    pub(crate) fn check_gradient(&self, gradient: &[f32], update: u64) -> Result<(), PolicyError> {
        let bad = self.tensors().find_map(|(name, _, range)| {
            (!kernels::all_finite(&gradient[range])).then(|| format!("gradient of encoder.{name}"))
        });
        match bad {
            Some(tensor) => Err(PolicyError::NotFinite { tensor, update }),
            None => Ok(()),
        }
    }

    fn tensors(&self) -> impl Iterator<Item = (String, Vec<usize>, Range<usize>)> + '_ {
        self.layers.iter().enumerate().flat_map(|(index, layer)| {
            let [inputs, outputs] = layer.channels;
            [
                (
                    format!("layer{index}.weight"),
                    vec![KERNEL, KERNEL, inputs, outputs],
                    layer.weight.clone(),
                ),
                (
                    format!("layer{index}.bias"),
                    vec![outputs],
                    layer.bias.clone(),
                ),
            ]
        })
    }

    pub(crate) fn save(&self, name: &str, state: &mut StateDict) {
        for (tensor, shape, range) in self.tensors() {
            state.f32(&format!("{name}.{tensor}"), &shape, &self.parameters[range]);
        }
    }

    pub(crate) fn load(&mut self, name: &str, state: &StateReader) -> Result<(), PolicyError> {
        let tensors: Vec<_> = self.tensors().collect();
        for (tensor, _, range) in tensors {
            state.read_f32(&format!("{name}.{tensor}"), &mut self.parameters[range])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::module::conv2d;
    use burn::tensor::ops::ConvOptions;
    use burn::tensor::{Device, Tensor, TensorData, activation::relu};
    use rand::RngExt as _;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    #[test]
    fn forth_and_back_agree_with_burn() {
        let (side, channels, depth, width, batch) = (13, 6, 3, 5, 3);
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut net = Convolutions::new([side, channels], [depth, width], &mut rng).unwrap();
        for value in &mut net.parameters {
            *value += rng.random_range(-0.1..0.1);
        }
        let mut row =
            |n: usize| -> Vec<f32> { (0..n).map(|_| rng.random_range(-1.0..1.0)).collect() };
        let input = row(batch * side * side * channels);
        let weights = row(batch * net.outputs());
        let (mut tape, mut gradient) = (ConvTape::default(), Vec::new());
        net.forward(&input, &mut tape);
        net.backward(&mut tape, &weights, &mut gradient);

        let device = Device::flex().autodiff();
        let tensor4 = |values: &[f32], shape: [usize; 4]| -> Tensor<4> {
            Tensor::from_data(TensorData::new(values.to_vec(), shape), &device)
        };
        let mut y = tensor4(&input, [batch, side, side, channels]).permute([0, 3, 1, 2]);
        let mut parts = Vec::new();
        for (index, layer) in net.layers.iter().enumerate() {
            let [i, o] = layer.channels;
            let weight =
                tensor4(&net.parameters[layer.weight.clone()], [3, 3, i, o]).require_grad();
            let bias: Tensor<1> = Tensor::from_data(
                TensorData::new(net.parameters[layer.bias.clone()].to_vec(), [o]),
                &device,
            )
            .require_grad();
            let stride = if index == 0 { 2 } else { 1 };
            let options = ConvOptions::new([stride, stride], [0, 0], [1, 1], 1);
            let turned = weight.clone().permute([3, 2, 0, 1]);
            y = relu(conv2d(y, turned, Some(bias.clone()), options));
            parts.push((layer.clone(), weight, bias));
        }
        let last = net.layers.last().unwrap().sides[1];
        let features = y.permute([0, 2, 3, 1]);
        let read = |values: TensorData| values.try_to_vec::<f32>().unwrap();
        let close = |own: &[f32], burn: Vec<f32>| {
            assert_eq!(own.len(), burn.len());
            for (own, burn) in own.iter().zip(burn) {
                assert!(
                    (own - burn).abs() < 1e-5 * (1.0 + burn.abs()),
                    "{own} {burn}"
                );
            }
        };
        close(tape.output(), read(features.clone().inner().into_data()));
        let loss = (features * tensor4(&weights, [batch, last, last, width])).sum();
        let gradients = loss.backward();
        for (layer, weight, bias) in parts {
            close(
                &gradient[layer.weight],
                read(weight.grad(&gradients).unwrap().into_data()),
            );
            close(
                &gradient[layer.bias],
                read(bias.grad(&gradients).unwrap().into_data()),
            );
        }
    }

    #[test]
    fn a_picture_alone_gives_the_bits_that_it_gives_in_a_batch() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let net = Convolutions::new([9, 3], [2, 8], &mut rng).unwrap();
        let input: Vec<f32> = (0..3 * 9 * 9 * 3)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        let (mut batch, mut alone) = (ConvTape::default(), ConvTape::default());
        net.forward(&input, &mut batch);
        for (index, picture) in input.chunks_exact(9 * 9 * 3).enumerate() {
            net.forward(picture, &mut alone);
            let n = net.outputs();
            assert_eq!(alone.output(), &batch.output()[index * n..][..n]);
        }
        assert!(Convolutions::new([4, 3], [2, 8], &mut rng).is_none());
    }
}
