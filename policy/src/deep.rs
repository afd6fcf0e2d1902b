//! Larger networks, on Burn: what policies with attention, convolutions or many layers are built from.
//!
//! Every starting weight and every dropped unit comes from the caller's seeded generator, never from Burn's process-wide one.
//! Networks are trained on [`training_device`] and used through `module.valid()`: a forward pass on a training device that no
//! backward pass follows keeps its graph.

use burn::tensor::{Device, Tensor, TensorData};

use crate::policy::PolicyError;

pub(crate) mod attention;
pub(crate) mod average;
pub(crate) mod dropout;
pub(crate) mod layers;
pub(crate) mod optimiser;
pub(crate) mod parameters;
pub(crate) mod position;
pub(crate) mod resident;
pub(crate) mod schedule;
pub(crate) mod transformer;

/// A processor device whose tensors remember how they came about.
pub(crate) fn training_device() -> Device {
    Device::flex().autodiff()
}

/// A processor device for acting.
pub(crate) fn acting_device() -> Device {
    Device::flex()
}

/// Values as a tensor; there must be as many as the shape says.
pub(crate) fn tensor<const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The values of a tensor, row-major.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, PolicyError> {
    tensor
        .into_data()
        .try_into_vec()
        .map_err(|e| PolicyError::Other(format!("a tensor could not be read: {e}")))
}
