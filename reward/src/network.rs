//! [`Network`]: the small fully connected scorer behind the trained rewards, and [`Descent`], which trains any Burn module.
//!
//! Starting weights come from the caller's seeded generator, never from Burn's process-wide one, so that the same seed gives
//! the same weights whatever runs beside it.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::nn::Linear;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::{leaky_relu, relu, tanh};
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, RngExt as _};
use serde::{Deserialize, Serialize};

use crate::model::RewardError;
use crate::store;

/// What stands between two layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `max(0, x)`.
    #[default]
    Relu,
    /// `x` above zero, `0.01 x` below.
    LeakyRelu,
    /// `tanh x`.
    Tanh,
}

/// Shape of a [`Network`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// Widths of the hidden layers; none makes it linear.
    pub hidden: Vec<usize>,
    /// What stands between two layers.
    pub activation: Activation,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            hidden: vec![64, 64],
            activation: Activation::Relu,
        }
    }
}

/// Linear layers, `y = x W + b`, with an activation between them.
#[derive(Module, Debug)]
pub struct Network {
    layers: Vec<Linear>,
    #[module(skip)]
    activation: Activation,
}

impl Network {
    /// Weights and biases uniform in `±1/sqrt(inputs)`, as PyTorch starts a linear layer.
    pub fn new(
        config: &NetworkConfig,
        inputs: usize,
        outputs: usize,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        let mut widths = vec![inputs];
        widths.extend(&config.hidden);
        widths.push(outputs);
        let layers = widths
            .windows(2)
            .map(|pair| linear(pair[0], pair[1], rng, device))
            .collect();
        Self {
            layers,
            activation: config.activation,
        }
    }

    /// `[batch, inputs]` to `[batch, outputs]`.
    pub fn forward(&self, mut x: Tensor<2>) -> Tensor<2> {
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x);
            if i + 1 < self.layers.len() {
                x = self.activate(x);
            }
        }
        x
    }

    /// The layers, first to last.
    pub fn layers(&self) -> &[Linear] {
        &self.layers
    }

    /// What stands between two of them.
    pub fn activate(&self, x: Tensor<2>) -> Tensor<2> {
        match self.activation {
            Activation::Relu => relu(x),
            Activation::LeakyRelu => leaky_relu(x, 0.01),
            Activation::Tanh => tanh(x),
        }
    }
}

/// A linear layer with weights and biases uniform in `±1/sqrt(inputs)`.
pub fn linear(inputs: usize, outputs: usize, rng: &mut impl Rng, device: &Device) -> Linear {
    let bound = 1.0 / (inputs.max(1) as f32).sqrt();
    let mut uniform = |count: usize| -> Vec<f32> {
        (0..count)
            .map(|_| rng.random_range(-bound..=bound))
            .collect()
    };
    let weight = TensorData::new(uniform(inputs * outputs), [inputs, outputs]);
    let bias = TensorData::new(uniform(outputs), [outputs]);
    Linear {
        weight: Param::from_tensor(Tensor::from_data(weight, device)),
        bias: Some(Param::from_tensor(Tensor::from_data(bias, device))),
    }
}

/// A plain processor device whose tensors remember how they came about, for training. Score on `module.valid()` instead: a
/// forward pass here that no backward pass follows keeps its graph.
pub fn training_device() -> Device {
    Device::flex().autodiff()
}

/// Rows of features as a tensor, `[rows, dim]`. `values` holds a whole number of rows.
pub fn rows(values: &[f32], dim: usize, device: &Device) -> Tensor<2> {
    let data = TensorData::new(values.to_vec(), [values.len() / dim.max(1), dim]);
    Tensor::from_data(data, device)
}

/// The values of a tensor, row-major.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, RewardError> {
    tensor
        .into_data()
        .try_to_vec()
        .map_err(|e| RewardError::Other(format!("a tensor could not be read: {e}")))
}

/// Adam with decoupled weight decay, on any module.
pub struct Descent {
    optimiser: ModuleOptimizer,
    /// Step size; may be changed between steps.
    pub rate: f64,
    steps: usize,
}

impl Descent {
    /// Adam's usual moments (0.9, 0.999, 1e-8).
    pub fn new(rate: f64, weight_decay: f64) -> Self {
        let optimiser = AdamWConfig::new()
            .with_epsilon(1e-8)
            .with_weight_decay(weight_decay as f32)
            .init();
        Self {
            optimiser,
            rate,
            steps: 0,
        }
    }

    /// Steps taken.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Adam's memory, for a module whose parameters are [`numbered`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, RewardError> {
        let bytes = self.optimiser.into_bytes();
        Ok(bytes.map_err(unreadable)?.to_vec())
    }

    /// Goes on where [`Descent::to_bytes`] was called.
    pub fn from_bytes(
        rate: f64,
        weight_decay: f64,
        bytes: &[u8],
        steps: usize,
    ) -> Result<Self, RewardError> {
        let new = Self::new(rate, weight_decay);
        let bytes = burn::tensor::Bytes::from_bytes_vec(bytes.to_vec());
        Ok(Self {
            optimiser: new.optimiser.from_bytes(bytes).map_err(unreadable)?,
            rate,
            steps,
        })
    }

    /// One step down the gradient of `loss`, a single number. Gives the module after it and the loss before it. Fails when the
    /// loss is not finite.
    pub fn step<M: Module>(&mut self, module: M, loss: Tensor<1>) -> Result<(M, f64), RewardError> {
        let value = f64::from(values(loss.clone().detach())?[0]);
        if !value.is_finite() {
            return Err(RewardError::NotFinite {
                what: "the training loss".into(),
                step: self.steps,
            });
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &module);
        self.steps += 1;
        Ok((self.optimiser.step(self.rate, module, gradients), value))
    }
}

fn unreadable(error: impl std::fmt::Display) -> RewardError {
    RewardError::Other(format!("the optimiser's memory could not be read: {error}"))
}

/// The module with its parameters numbered from 1 in its own order instead of at random: an optimiser's memory is kept by these numbers.
pub fn numbered<M: Module>(module: M) -> M {
    module.map(&mut Numberer { next: 1 })
}

/// The parameters of a module by their path (`layers.0.weight`), for a reward's file.
pub fn tensors(module: &impl Module) -> Result<store::Tensors, RewardError> {
    let mut collector = Collector::default();
    module.visit(&mut collector);
    match collector.failure {
        Some(failure) => Err(failure),
        None => Ok(collector.found),
    }
}

/// Puts stored parameters into a module of the same shape. Fails on a missing tensor and on another shape, naming it.
pub fn load<M: Module>(module: M, tensors: &store::Tensors) -> Result<M, RewardError> {
    let mut loader = Loader {
        path: Vec::new(),
        tensors,
        failure: None,
    };
    let module = module.map(&mut loader);
    match loader.failure {
        Some(failure) => Err(failure),
        None => Ok(module),
    }
}

#[derive(Default)]
struct Collector {
    path: Vec<String>,
    found: store::Tensors,
    failure: Option<RewardError>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let shape = tensor.dims().to_vec();
        match values(tensor) {
            Ok(values) => {
                let tensor = store::Tensor { shape, values };
                self.found.insert(self.path.join("."), tensor);
            }
            Err(failure) => self.failure = Some(failure),
        }
    }
}

struct Numberer {
    next: u64,
}

impl ModuleMapper for Numberer {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (_, value, mapper) = param.consume();
        let id = ParamId::from(self.next);
        self.next += 1;
        Param::from_mapped_value(id, value, mapper)
    }
}

struct Loader<'a> {
    path: Vec<String>,
    tensors: &'a store::Tensors,
    failure: Option<RewardError>,
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.join(".");
        let (shape, device) = (param.dims(), param.device());
        match self.tensors.get(&name) {
            Some(stored) if stored.shape == shape => {
                let data = TensorData::new(stored.values.clone(), shape);
                Param::from_tensor(Tensor::from_data(data, &device))
            }
            Some(stored) => {
                self.failure = Some(RewardError::Other(format!(
                    "the tensor `{name}` has shape {:?} where {shape:?} belongs; learn the reward again",
                    stored.shape
                )));
                param
            }
            None => {
                self.failure = Some(RewardError::Other(format!(
                    "the tensor `{name}` is missing; learn the reward again"
                )));
                param
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    fn network(seed: u64) -> Network {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let config = NetworkConfig {
            hidden: vec![8],
            activation: Activation::Tanh,
        };
        Network::new(&config, 2, 1, &mut rng, &training_device())
    }

    /// The exclusive or, which no linear scorer can tell.
    fn exclusive_or(network: &Network) -> Tensor<1> {
        let x = rows(&[0., 0., 0., 1., 1., 0., 1., 1.], 2, &training_device());
        let y = rows(&[0., 1., 1., 0.], 1, &training_device());
        let off = network.forward(x) - y;
        (off.clone() * off).mean()
    }

    #[test]
    fn descent_learns_what_no_line_can_separate_and_the_seed_decides_the_result() {
        let train = || {
            let (mut network, mut descent) = (network(3), Descent::new(0.05, 0.0));
            for _ in 0..400 {
                let loss = exclusive_or(&network);
                network = descent.step(network, loss).unwrap().0;
            }
            network
        };
        let trained = train();
        assert!(values(exclusive_or(&trained)).unwrap()[0] < 1e-3);
        assert_eq!(tensors(&trained).unwrap(), tensors(&train()).unwrap());
    }

    #[test]
    fn parameters_survive_storing_and_wrong_ones_are_named() {
        let stored = tensors(&network(1)).unwrap();
        assert_eq!(
            stored.keys().collect::<Vec<_>>(),
            [
                "layers.0.bias",
                "layers.0.weight",
                "layers.1.bias",
                "layers.1.weight"
            ]
        );
        let restored = load(network(2), &stored).unwrap();
        assert_eq!(tensors(&restored).unwrap(), stored);

        let mut short = stored.clone();
        short.remove("layers.1.bias");
        let error = load(network(2), &short).unwrap_err().to_string();
        assert!(error.contains("`layers.1.bias` is missing"), "{error}");
        let mut bent = stored;
        bent.get_mut("layers.0.weight").unwrap().shape = vec![8, 2];
        let error = load(network(2), &bent).unwrap_err().to_string();
        assert!(
            error.contains("`layers.0.weight` has shape [8, 2]"),
            "{error}"
        );
    }

    #[test]
    fn a_loss_that_is_not_a_number_stops_training() {
        let network = network(1);
        let loss = exclusive_or(&network) * f32::NAN;
        assert!(Descent::new(0.1, 0.0).step(network, loss).is_err());
    }
}
