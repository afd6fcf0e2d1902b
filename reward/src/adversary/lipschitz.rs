//! A small fully connected network as a plain product: its input gradients as forward operations, and its layers divided by their
//! largest singular values.
//!
//! Automatic differentiation here has no second order. The gradient of a small network by its input is a product of its weights
//! and of the slopes of its activations, so that it can be written forwards and a price on it is of first order in the
//! weights.

use burn::tensor::activation::{leaky_relu, relu};
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, RngExt as _};

use crate::model::RewardError;
use crate::network::{Activation, Network, values};
use crate::store::{self, Tensors};

/// Layers `y = x W + b` with an activation between them, which may depend on the weights of a [`Network`] in training.
pub(super) struct Layers {
    layers: Vec<(Tensor<2>, Option<Tensor<1>>)>,
    activation: Activation,
}

impl Layers {
    pub fn of(network: &Network, activation: Activation) -> Self {
        let layers = network.layers().iter().map(|layer| {
            let bias = layer.bias.as_ref().map(|bias| bias.val());
            (layer.weight.val(), bias)
        });
        Self {
            layers: layers.collect(),
            activation,
        }
    }

    /// `[batch, inputs]` to `[batch, outputs]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.run(x, |_| ())
    }

    /// Output, `[batch, 1]`, and its gradient by the input, `[batch, inputs]`, where there is one output. Both can be
    /// differentiated by the weights.
    pub fn with_gradient(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let mut slopes = Vec::with_capacity(self.layers.len());
        let y = self.run(x, |before| slopes.push(self.slope(before)));
        let mut gradient = y.ones_like();
        for (i, (weight, _)) in self.layers.iter().enumerate().rev() {
            gradient = gradient.matmul(weight.clone().transpose());
            if i > 0 {
                gradient = gradient * slopes[i - 1].clone();
            }
        }
        (y, gradient)
    }

    /// Frobenius norm of the derivative of all outputs by the input at every row, `[batch]`.
    pub fn jacobian_norms(&self, x: Tensor<2>) -> Tensor<1> {
        let [batch, _] = x.dims();
        let mut slopes = Vec::with_capacity(self.layers.len());
        self.run(x, |before| slopes.push(self.slope(before)));
        let mut jacobian: Option<Tensor<3>> = None;
        for (i, (weight, _)) in self.layers.iter().enumerate() {
            let weight = weight.clone().unsqueeze_dim::<3>(0).repeat_dim(0, batch);
            let mut next = match jacobian {
                None => weight,
                Some(jacobian) => jacobian.matmul(weight),
            };
            if let Some(slope) = slopes.get(i) {
                next = next * slope.clone().unsqueeze_dim(1);
            }
            jacobian = Some(next);
        }
        let norm = |j: Tensor<3>| j.square().sum_dim(2).sum_dim(1).reshape([batch]).sqrt();
        jacobian.map_or_else(|| Tensor::zeros([batch], &Device::flex()), norm)
    }

    /// By the names that a [`Network`] has for them, for [`crate::network::load`].
    pub fn tensors(&self) -> Result<Tensors, RewardError> {
        let mut tensors = Tensors::new();
        for (i, (weight, bias)) in self.layers.iter().enumerate() {
            tensors.insert(format!("layers.{i}.weight"), stored(weight)?);
            if let Some(bias) = bias {
                tensors.insert(format!("layers.{i}.bias"), stored(bias)?);
            }
        }
        Ok(tensors)
    }

    /// Runs the layers, showing what goes into every activation.
    fn run(&self, mut x: Tensor<2>, mut show: impl FnMut(&Tensor<2>)) -> Tensor<2> {
        for (i, (weight, bias)) in self.layers.iter().enumerate() {
            x = x.matmul(weight.clone());
            if let Some(bias) = bias {
                x = x + bias.clone().unsqueeze();
            }
            if i + 1 < self.layers.len() {
                show(&x);
                x = match self.activation {
                    Activation::Relu => relu(x),
                    Activation::LeakyRelu => leaky_relu(x, 0.01),
                    Activation::Tanh => x.tanh(),
                };
            }
        }
        x
    }

    /// Slope of the activation. For rectifiers it is constant on either side of zero.
    fn slope(&self, x: &Tensor<2>) -> Tensor<2> {
        let above = |x: &Tensor<2>| x.clone().detach().greater_elem(0.0).float();
        match self.activation {
            Activation::Relu => above(x),
            Activation::LeakyRelu => above(x) * 0.99 + 0.01,
            Activation::Tanh => -x.clone().tanh().square() + 1.0,
        }
    }
}

fn stored<const D: usize>(tensor: &Tensor<D>) -> Result<store::Tensor, RewardError> {
    Ok(store::Tensor {
        shape: tensor.dims().to_vec(),
        values: values(tensor.clone())?,
    })
}

/// Euclidean norm of every row, `[batch]`; kept off zero, where the root's slope is infinite.
pub(super) fn norms(gradient: Tensor<2>) -> Tensor<1> {
    (gradient.square().sum_dim(1) + 1e-12).sqrt().squeeze_dim(1)
}

/// Power iteration's estimate of the singular vector that goes with the largest singular value of every layer.
#[derive(Clone, Debug)]
pub(super) struct PowerIteration {
    left: Vec<Vec<f32>>,
}

impl PowerIteration {
    pub fn new(network: &Network, rng: &mut impl Rng) -> Self {
        let left = network.layers().iter().map(|layer| {
            let [inputs, _] = layer.weight.dims();
            (0..inputs).map(|_| rng.random_range(-1.0..1.0)).collect()
        });
        Self {
            left: left.collect(),
        }
    }

    /// The left singular vector of every layer so far.
    pub fn vectors(&self) -> &[Vec<f32>] {
        &self.left
    }

    /// Goes on from other vectors, as long as before.
    pub fn set_vectors(&mut self, vectors: Vec<Vec<f32>>) {
        self.left = vectors;
    }

    /// Every layer's weight divided by its largest singular value, after `steps` of the iteration. The singular vectors count
    /// as constants when the result is differentiated, as is usual.
    pub fn normalise(&mut self, layers: Layers, steps: usize) -> Result<Layers, RewardError> {
        let mut normalised = Vec::with_capacity(layers.layers.len());
        for (left, (weight, bias)) in self.left.iter_mut().zip(layers.layers) {
            let fixed = weight.clone().detach();
            let mut u = column(left, &weight.device());
            let mut v = unit(fixed.clone().transpose().matmul(u.clone()));
            for _ in 0..steps {
                u = unit(fixed.clone().matmul(v));
                v = unit(fixed.clone().transpose().matmul(u.clone()));
            }
            *left = values(u.clone())?;
            let largest = u.transpose().matmul(weight.clone()).matmul(v);
            normalised.push((weight / largest.clamp_min(1e-12), bias));
        }
        Ok(Layers {
            layers: normalised,
            activation: layers.activation,
        })
    }
}

fn column(values: &[f32], device: &Device) -> Tensor<2> {
    let data = TensorData::new(values.to_vec(), [values.len(), 1]);
    Tensor::from_data(data, device)
}

fn unit(x: Tensor<2>) -> Tensor<2> {
    let norm = (x.clone().square().sum() + 1e-24).sqrt().unsqueeze();
    x / norm
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{NetworkConfig, rows, training_device};
    use nalgebra::DMatrix;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    const ACTIVATIONS: [Activation; 3] =
        [Activation::Relu, Activation::LeakyRelu, Activation::Tanh];

    fn network(outputs: usize, activation: Activation, device: &Device) -> Network {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let config = NetworkConfig {
            hidden: vec![9, 7],
            activation,
        };
        Network::new(&config, 4, outputs, &mut rng, device)
    }

    #[test]
    fn input_gradients_are_those_of_finite_differences() {
        let device = Device::flex();
        let start = [0.3f32, -0.7, 1.1, 0.4];
        for activation in ACTIVATIONS {
            let layers = Layers::of(&network(1, activation, &device), activation);
            let (y, gradient) = layers.with_gradient(rows(&start, 4, &device));
            let found = values(gradient).unwrap();
            assert_eq!(
                values(y.clone()).unwrap(),
                values(layers.forward(rows(&start, 4, &device))).unwrap()
            );
            let mut squares = 0.0;
            for i in 0..4 {
                let at = |step: f32| {
                    let mut moved = start;
                    moved[i] += step;
                    f64::from(values(layers.forward(rows(&moved, 4, &device))).unwrap()[0])
                };
                let expected = (at(1e-2) - at(-1e-2)) / 2e-2;
                squares += expected * expected;
                assert!(
                    (f64::from(found[i]) - expected).abs() < 2e-3,
                    "{activation:?} {i}: {} {expected}",
                    found[i]
                );
            }
            let jacobian = values(layers.jacobian_norms(rows(&start, 4, &device))).unwrap();
            assert!(
                (f64::from(jacobian[0]) - squares.sqrt()).abs() < 5e-3,
                "{jacobian:?}"
            );
        }
    }

    /// The price on the gradient, differentiated by the weights, is what moving a weight does to it.
    #[test]
    fn the_penalty_can_be_differentiated_by_the_weights() {
        let device = training_device();
        let start = [0.3f32, -0.7, 1.1, 0.4];
        for activation in ACTIVATIONS {
            let network = network(1, activation, &device);
            let price = |network: &Network, device: &Device| {
                let layers = Layers::of(network, activation);
                let (_, gradient) = layers.with_gradient(rows(&start, 4, device));
                norms(gradient).sum()
            };
            let weight = network.layers()[0].weight.val();
            let gradients = price(&network, &device).backward();
            let found = values(weight.grad(&gradients).unwrap()).unwrap();
            let stored = crate::network::tensors(&network).unwrap();
            for i in [0, 5, 20] {
                let at = |step: f32| {
                    let mut moved = stored.clone();
                    moved.get_mut("layers.0.weight").unwrap().values[i] += step;
                    let plain = self::network(1, activation, &Device::flex());
                    let network = crate::network::load(plain, &moved).unwrap();
                    f64::from(values(price(&network, &Device::flex())).unwrap()[0])
                };
                let expected = (at(1e-2) - at(-1e-2)) / 2e-2;
                assert!(
                    (f64::from(found[i]) - expected).abs() < 5e-3,
                    "{activation:?} {i}: {} {expected}",
                    found[i]
                );
            }
        }
    }

    #[test]
    fn normalised_layers_have_a_largest_singular_value_of_one() {
        let device = Device::flex();
        let network = network(3, Activation::LeakyRelu, &device);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut power = PowerIteration::new(&network, &mut rng);
        let layers = Layers::of(&network, Activation::LeakyRelu);
        let tensors = power.normalise(layers, 60).unwrap().tensors().unwrap();
        for i in 0..3 {
            let weight = &tensors[&format!("layers.{i}.weight")];
            let matrix =
                DMatrix::from_row_slice(weight.shape[0], weight.shape[1], &weight.to_f64());
            let largest = matrix.singular_values()[0];
            assert!((largest - 1.0).abs() < 1e-3, "{i}: {largest}");
        }
    }
}
