//! [`Layout`]: what the flat vector of a denoiser's parameters holds, and its way to Burn and back.
//!
//! Every parameter is a matrix `[rows, columns]`; biases and scales have one row. The flat vector is the truth: the optimiser
//! and the running average work on it, and the same seed gives the same bits whatever runs beside it.

use std::ops::Range;

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::gaussian;
use crate::policy::PolicyError;
use crate::small::kernels;

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Start {
    /// Uniform in plus or minus this.
    Uniform(f32),
    /// Normal with this standard deviation.
    Normal(f32),
    /// This everywhere.
    Constant(f32),
}

/// Where a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(usize);

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    shape: [usize; 2],
    start: Start,
    range: Range<usize>,
}

/// Names, shapes and places of parameters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    entries: Vec<Entry>,
}

impl Layout {
    pub(crate) fn add(&mut self, name: String, shape: [usize; 2], start: Start) -> Slot {
        let from = self.len();
        self.entries.push(Entry {
            name,
            shape,
            start,
            range: from..from + shape[0] * shape[1],
        });
        Slot(self.entries.len() - 1)
    }

    /// Numbers in all parameters together.
    pub(crate) fn len(&self) -> usize {
        self.entries.last().map_or(0, |entry| entry.range.end)
    }

    /// Name, shape and place of each parameter.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, [usize; 2], Range<usize>)> {
        self.entries
            .iter()
            .map(|entry| (entry.name.as_str(), entry.shape, entry.range.clone()))
    }

    /// Starting values, in order, from the caller's generator.
    pub(crate) fn draw(&self, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut values = vec![0.0; self.len()];
        for entry in &self.entries {
            let values = &mut values[entry.range.clone()];
            match entry.start {
                Start::Uniform(bound) => values
                    .iter_mut()
                    .for_each(|value| *value = rng.random_range(-bound..=bound)),
                Start::Normal(std) => {
                    gaussian::fill_normal(values, rng);
                    kernels::scale(values, std);
                }
                Start::Constant(constant) => values.fill(constant),
            }
        }
        values
    }

    /// Parameters for acting: no graph.
    pub(crate) fn place(&self, parameters: &[f32]) -> Weights {
        self.upload(parameters, &Device::flex())
    }

    /// Parameters for one step of training.
    pub(crate) fn track(&self, parameters: &[f32]) -> Weights {
        let mut weights = self.upload(parameters, &Device::flex().autodiff());
        for tensor in &mut weights.0 {
            *tensor = tensor.clone().require_grad();
        }
        weights
    }

    fn upload(&self, parameters: &[f32], device: &Device) -> Weights {
        let tensors = self.entries.iter().map(|entry| {
            let values = parameters[entry.range.clone()].to_vec();
            Tensor::from_data(TensorData::new(values, entry.shape), device)
        });
        Weights(tensors.collect())
    }

    /// How many numbers each parameter has.
    pub(crate) fn lengths(&self) -> Vec<usize> {
        self.entries.iter().map(|entry| entry.range.len()).collect()
    }

    /// Parameters that are on a device already, for one step of training there.
    pub(crate) fn track_there(&self, parameters: &[Tensor<1>]) -> Weights {
        let shapes = self.entries.iter().map(|entry| entry.shape);
        let tensors = parameters
            .iter()
            .zip(shapes)
            .map(|(flat, shape)| Tensor::from_inner(flat.clone().reshape(shape)).require_grad());
        Weights(tensors.collect())
    }

    /// Gradients by the parameters, flat, where they are; zeros where a parameter took no part.
    pub(crate) fn gather_there(weights: &Weights, mut gradients: Gradients) -> Vec<Tensor<1>> {
        let flat = |tensor: &Tensor<2>| {
            let count = tensor.dims().iter().product::<usize>();
            match tensor.grad_remove(&mut gradients) {
                Some(gradient) => gradient.reshape([count]),
                None => Tensor::zeros([count], &tensor.device().inner()),
            }
        };
        weights.0.iter().map(flat).collect()
    }

    /// Name of parameter number `at`.
    pub(crate) fn name(&self, at: usize) -> &str {
        &self.entries[at].name
    }

    /// Gradients by the parameters, flat, into `target`; zeros where a parameter took no part. Refuses what is not finite.
    pub(crate) fn gather(
        &self,
        weights: &Weights,
        mut gradients: Gradients,
        target: &mut [f32],
        update: u64,
    ) -> Result<(), PolicyError> {
        for (entry, tensor) in self.entries.iter().zip(&weights.0) {
            let target = &mut target[entry.range.clone()];
            match tensor.grad_remove(&mut gradients) {
                Some(gradient) => target.copy_from_slice(&values(gradient)?),
                None => target.fill(0.0),
            }
            if !kernels::all_finite(target) {
                return Err(PolicyError::NotFinite {
                    tensor: format!("gradient of {}", entry.name),
                    update,
                });
            }
        }
        Ok(())
    }
}

/// Parameters on a device.
#[derive(Clone, Debug)]
pub(crate) struct Weights(Vec<Tensor<2>>);

impl Weights {
    /// The matrix in a slot.
    pub(crate) fn matrix(&self, slot: Slot) -> Tensor<2> {
        self.0[slot.0].clone()
    }

    /// The one row in a slot, as a vector.
    pub(crate) fn row(&self, slot: Slot) -> Tensor<1> {
        let [rows, columns] = self.0[slot.0].dims();
        self.0[slot.0].clone().reshape([rows * columns])
    }

    /// Where the parameters are.
    pub(crate) fn device(&self) -> Device {
        self.0[0].device()
    }
}

/// The values of a tensor, row-major.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, PolicyError> {
    tensor
        .into_data()
        .try_to_vec()
        .map_err(|error| PolicyError::Other(format!("a tensor could not be read: {error}")))
}

/// Values as a tensor.
pub(crate) fn tensor<const D: usize>(
    values: &[f32],
    shape: [usize; D],
    device: &Device,
) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}
