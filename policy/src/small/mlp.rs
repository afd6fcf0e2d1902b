//! A multilayer perceptron with its own way back.
//!
//! At the sizes of control (two hidden layers of 128, batches of 128) a general autodiff spends most of its time on graphs
//! and allocation: the same step of soft actor-critic through Burn takes about three times as long on one core. These loops
//! do the arithmetic on flat slices; the tests compare them with Burn's gradients.

use std::ops::Range;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::policy::PolicyError;
use crate::small::both::Threads;
use crate::small::kernels;
use crate::small::matmul::{Finish, Scratch, Start, View, matmul};
use crate::state::{StateDict, StateReader};

/// What stands between a hidden layer's product and its rectifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HiddenNorm {
    /// Nothing.
    #[default]
    None,
    /// Layer normalisation (Ba, Kiros and Hinton 2016) with learned scale and shift.
    Layer,
}

#[derive(Clone, Debug)]
struct Layer {
    inputs: usize,
    outputs: usize,
    weight: Range<usize>,
    bias: Range<usize>,
    /// Scale and shift of the normalisation.
    norm: Option<(Range<usize>, Range<usize>)>,
}

/// `y = W_L relu(norm(W_{L-1} ... relu(norm(W_0 x + b_0)))) + b_L`; each weight is `[inputs, outputs]`, row-major.
#[derive(Clone, Debug)]
pub(crate) struct Mlp {
    layers: Vec<Layer>,
    /// All parameters, layer after layer: weight, bias, scale, shift.
    pub(crate) parameters: Vec<f32>,
}

/// What a forward pass leaves for the backward pass; kept between calls, so that a step allocates nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape {
    batch: usize,
    /// `[batch, inputs]`, then each hidden layer's output `[batch, width]`, then the output `[batch, outputs]`.
    activations: Vec<Vec<f32>>,
    /// Normalised rows of each hidden layer and their inverse standard deviations.
    norms: Vec<(Vec<f32>, Vec<f32>)>,
    gradient: Vec<f32>,
    next_gradient: Vec<f32>,
    scratch: Scratch,
}

impl Tape {
    /// For passes whose products may use so many threads.
    pub(crate) fn new(threads: Threads) -> Self {
        Self {
            scratch: Scratch::new(threads),
            ..Self::default()
        }
    }

    /// The newest output, `[batch, outputs]`.
    pub(crate) fn output(&self) -> &[f32] {
        self.activations.last().map_or(&[], Vec::as_slice)
    }
}

/// Buffers of [`Mlp::infer`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    x: Vec<f32>,
    y: Vec<f32>,
    unit: Vec<f32>,
}

impl Mlp {
    /// Weights and biases uniform in `±1/sqrt(inputs)`.
    pub(crate) fn new(
        inputs: usize,
        hidden: &[usize],
        outputs: usize,
        norm: HiddenNorm,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let widths: Vec<usize> = [&[inputs], hidden, &[outputs]].concat();
        let (mut layers, mut end) = (Vec::new(), 0);
        let mut take = |size: usize| {
            end += size;
            end - size..end
        };
        for (index, pair) in widths.windows(2).enumerate() {
            let (inputs, outputs) = (pair[0], pair[1]);
            layers.push(Layer {
                inputs,
                outputs,
                weight: take(inputs * outputs),
                bias: take(outputs),
                norm: (norm == HiddenNorm::Layer && index < hidden.len())
                    .then(|| (take(outputs), take(outputs))),
            });
        }
        let mut parameters = vec![0.0; end];
        for layer in &layers {
            let bound = 1.0 / (layer.inputs.max(1) as f32).sqrt();
            for value in &mut parameters[layer.weight.start..layer.bias.end] {
                *value = rng.random_range(-bound..=bound);
            }
            if let Some((scale, _)) = &layer.norm {
                parameters[scale.clone()].fill(1.0);
            }
        }
        Self { layers, parameters }
    }

    /// Multiply-adds of a pass of so many rows, one way.
    pub(crate) fn multiply_adds(&self, rows: usize) -> usize {
        rows * self.parameters.len()
    }

    pub(crate) fn inputs(&self) -> usize {
        self.layers[0].inputs
    }

    pub(crate) fn outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].outputs
    }

    /// `input` `[batch, inputs]` to `tape.output()` `[batch, outputs]`.
    pub(crate) fn forward(&self, input: &[f32], tape: &mut Tape) {
        let batch = input.len() / self.inputs();
        tape.batch = batch;
        tape.activations
            .resize_with(self.layers.len() + 1, Vec::new);
        tape.norms.resize_with(self.layers.len(), Default::default);
        tape.activations[0].clear();
        tape.activations[0].extend_from_slice(input);
        for (index, layer) in self.layers.iter().enumerate() {
            let (before, after) = tape.activations.split_at_mut(index + 1);
            let output = &mut after[0];
            let hidden = index + 1 < self.layers.len();
            let finish = if hidden && layer.norm.is_none() {
                Finish::Relu
            } else {
                Finish::Keep
            };
            output.resize(batch * layer.outputs, 0.0);
            matmul(
                View::new(&before[index], batch, layer.inputs),
                View::new(
                    &self.parameters[layer.weight.clone()],
                    layer.inputs,
                    layer.outputs,
                ),
                (Start::Bias(&self.parameters[layer.bias.clone()]), finish),
                output,
                &mut tape.scratch,
            );
            if let Some((scale, shift)) = &layer.norm {
                let (units, inverse_stds) = &mut tape.norms[index];
                units.resize(output.len(), 0.0);
                inverse_stds.resize(batch, 0.0);
                let (scale, shift) = (
                    &self.parameters[scale.clone()],
                    &self.parameters[shift.clone()],
                );
                kernels::layer_norm(output, scale, shift, units, inverse_stds);
                kernels::relu(output);
            }
        }
    }

    /// Back from the gradient of the output `[batch, outputs]` of the newest forward pass. Adds to `parameter_gradient`
    /// (as [`Mlp::parameters`]) and writes `input_gradient` `[batch, inputs]`, each where it is wanted.
    pub(crate) fn backward(
        &self,
        tape: &mut Tape,
        output_gradient: &[f32],
        mut parameter_gradient: Option<&mut [f32]>,
        input_gradient: Option<&mut [f32]>,
    ) {
        let batch = tape.batch;
        tape.gradient.clear();
        tape.gradient.extend_from_slice(output_gradient);
        for (index, layer) in self.layers.iter().enumerate().rev() {
            if let Some((scale, shift)) = &layer.norm {
                let (units, inverse_stds) = &tape.norms[index];
                // Where nobody wants these two they still come out of the same loop, into the scratch of the next gradient.
                tape.next_gradient.resize(2 * layer.outputs, 0.0);
                let (mut ds, mut dt) =
                    tape.next_gradient[..2 * layer.outputs].split_at_mut(layer.outputs);
                if let Some(gradient) = parameter_gradient.as_deref_mut() {
                    (ds, dt) = gradient[scale.start..shift.end].split_at_mut(layer.outputs);
                }
                let scale = &self.parameters[scale.clone()];
                kernels::layer_norm_backward(
                    &mut tape.gradient,
                    scale,
                    units,
                    inverse_stds,
                    ds,
                    dt,
                );
            }
            let gradient = View::new(&tape.gradient, batch, layer.outputs);
            if let Some(parameters) = parameter_gradient.as_deref_mut() {
                matmul(
                    View::new(&tape.activations[index], batch, layer.inputs).transposed(),
                    gradient,
                    (Start::Destination, Finish::Keep),
                    &mut parameters[layer.weight.clone()],
                    &mut tape.scratch,
                );
                kernels::add_column_sums(&mut parameters[layer.bias.clone()], &tape.gradient);
            }
            if index == 0 && input_gradient.is_none() {
                break;
            }
            let gradient = View::new(&tape.gradient, batch, layer.outputs);
            tape.next_gradient.resize(batch * layer.inputs, 0.0);
            // Below is the rectifier of the layer before, whose output is this layer's input.
            let finish = if index == 0 {
                Finish::Keep
            } else {
                Finish::Gate(&tape.activations[index])
            };
            matmul(
                gradient,
                View::new(
                    &self.parameters[layer.weight.clone()],
                    layer.inputs,
                    layer.outputs,
                )
                .transposed(),
                (Start::Zero, finish),
                &mut tape.next_gradient,
                &mut tape.scratch,
            );
            std::mem::swap(&mut tape.gradient, &mut tape.next_gradient);
        }
        if let Some(input_gradient) = input_gradient {
            input_gradient.copy_from_slice(&tape.gradient);
        }
    }

    /// One row, `[inputs]` to `[outputs]`, for acting: the same bits as [`Mlp::forward`], without its packing.
    pub(crate) fn infer<'r>(&self, input: &[f32], row: &'r mut Row) -> &'r [f32] {
        row.x.clear();
        row.x.extend_from_slice(input);
        for (index, layer) in self.layers.iter().enumerate() {
            row.y.clear();
            row.y
                .extend_from_slice(&self.parameters[layer.bias.clone()]);
            let weight = &self.parameters[layer.weight.clone()];
            kernels::accumulate_row(&row.x, weight, &mut row.y);
            if let Some((scale, shift)) = &layer.norm {
                row.unit.resize(layer.outputs, 0.0);
                let (scale, shift) = (
                    &self.parameters[scale.clone()],
                    &self.parameters[shift.clone()],
                );
                kernels::layer_norm(&mut row.y, scale, shift, &mut row.unit, &mut [0.0]);
            }
            if index + 1 < self.layers.len() {
                kernels::relu(&mut row.y);
            }
            std::mem::swap(&mut row.x, &mut row.y);
        }
        &row.x
    }

    /// Name and shape of each tensor, with its place among the parameters.
    fn tensors(&self) -> impl Iterator<Item = (String, Vec<usize>, Range<usize>)> + '_ {
        self.layers.iter().enumerate().flat_map(|(index, layer)| {
            let mut tensors = vec![
                (
                    format!("layer{index}.weight"),
                    vec![layer.inputs, layer.outputs],
                    layer.weight.clone(),
                ),
                (
                    format!("layer{index}.bias"),
                    vec![layer.outputs],
                    layer.bias.clone(),
                ),
            ];
            if let Some((scale, shift)) = &layer.norm {
                tensors.push((
                    format!("layer{index}.norm.scale"),
                    vec![layer.outputs],
                    scale.clone(),
                ));
                tensors.push((
                    format!("layer{index}.norm.shift"),
                    vec![layer.outputs],
                    shift.clone(),
                ));
            }
            tensors
        })
    }

    /// An error that names the first tensor of `gradient` that is not finite.
    pub(crate) fn check_gradient(
        &self,
        name: &str,
        gradient: &[f32],
        update: u64,
    ) -> Result<(), PolicyError> {
        if kernels::all_finite(gradient) {
            return Ok(());
        }
        let tensor = self
            .tensors()
            .find(|(_, _, range)| !kernels::all_finite(&gradient[range.clone()]))
            .map_or_else(
                || name.into(),
                |(tensor, _, _)| format!("gradient of {name}.{tensor}"),
            );
        Err(PolicyError::NotFinite { tensor, update })
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
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    fn network(norm: HiddenNorm) -> (Mlp, Vec<f32>) {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mlp = Mlp::new(5, &[33, 17], 3, norm, &mut rng);
        let input = (0..6 * 5).map(|_| rng.random_range(-1.0..1.0)).collect();
        (mlp, input)
    }

    #[test]
    fn one_row_gives_the_bits_of_a_batch() {
        for norm in [HiddenNorm::None, HiddenNorm::Layer] {
            let (mlp, input) = network(norm);
            let (mut tape, mut row) = (Tape::default(), Row::default());
            mlp.forward(&input, &mut tape);
            for (input, output) in input.chunks_exact(5).zip(tape.output().chunks_exact(3)) {
                assert_eq!(mlp.infer(input, &mut row), output);
            }
        }
    }

    #[test]
    fn a_bad_gradient_is_named_by_its_tensor() {
        let (mlp, _) = network(HiddenNorm::Layer);
        let mut gradient = vec![0.0; mlp.parameters.len()];
        assert!(mlp.check_gradient("critic0", &gradient, 4).is_ok());
        let at = mlp.layers[1].bias.start;
        gradient[at] = f32::NAN;
        let error = mlp.check_gradient("critic0", &gradient, 4).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("gradient of critic0.layer1.bias is not finite at update 4")
        );
    }

    #[test]
    fn the_way_back_agrees_with_burn() {
        use burn::tensor::{Device, Tensor, TensorData, activation::relu};

        let device = Device::flex().autodiff();
        for norm in [HiddenNorm::None, HiddenNorm::Layer] {
            let (mut mlp, input) = network(norm);
            // Away from the initial scale 1 and shift 0, which would hide mistakes.
            for (i, value) in mlp.parameters.iter_mut().enumerate() {
                *value += 0.1 * (i as f32).sin();
            }
            let output_gradient: Vec<f32> = (0..18).map(|i| (i as f32 * 0.9).cos()).collect();
            let (mut tape, mut gradient) = (Tape::default(), vec![0.0; mlp.parameters.len()]);
            let mut input_gradient = vec![0.0; input.len()];
            mlp.forward(&input, &mut tape);
            mlp.backward(
                &mut tape,
                &output_gradient,
                Some(&mut gradient),
                Some(&mut input_gradient),
            );

            let tensor2 = |values: &[f32], shape: [usize; 2]| {
                Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), &device)
            };
            let x = tensor2(&input, [6, 5]).require_grad();
            let parts: Vec<(Range<usize>, Tensor<2>)> = mlp
                .tensors()
                .map(|(_, shape, range)| {
                    let shape = if shape.len() == 2 {
                        [shape[0], shape[1]]
                    } else {
                        [1, shape[0]]
                    };
                    (
                        range.clone(),
                        tensor2(&mlp.parameters[range], shape).require_grad(),
                    )
                })
                .collect();
            let mut parts_left = parts.iter().map(|(_, tensor)| tensor.clone());
            let mut y = x.clone();
            for layer in &mlp.layers {
                let mut next = || parts_left.next().unwrap();
                y = y.matmul(next()) + next();
                if layer.norm.is_some() {
                    let centred = y.clone() - y.mean_dim(1);
                    let variance = (centred.clone() * centred.clone()).mean_dim(1);
                    y = centred / (variance + 1e-5).sqrt() * next() + next();
                }
                if layer.outputs != 3 {
                    y = relu(y);
                }
            }
            let loss = (y.clone() * tensor2(&output_gradient, [6, 3])).sum();
            let gradients = loss.backward();
            let compare = |own: &[f32], burn: Option<Tensor<2>>, what: &str| {
                let burn: Vec<f32> = burn.unwrap().into_data().try_to_vec().unwrap();
                for (own, burn) in own.iter().zip(&burn) {
                    assert!(
                        (own - burn).abs() < 1e-5 * (1.0 + burn.abs()),
                        "{what}: {own} {burn}"
                    );
                }
            };
            compare(tape.output(), Some(y.inner()), "output");
            compare(&input_gradient, x.grad(&gradients), "input");
            for (range, tensor) in &parts {
                compare(
                    &gradient[range.clone()],
                    tensor.grad(&gradients),
                    &format!("{range:?}"),
                );
            }
        }
    }
}
