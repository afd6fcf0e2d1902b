//! Adam where the parameters live, for a graphics adapter: what crosses over in a gradient step is the batch and one row of norms.
//!
//! The arithmetic is that of [`Adam`], whose memory it borrows and gives back, so a fit can move between devices and be saved.

use burn::tensor::{Device, Tensor};

use super::{tensor, values};
use crate::policy::PolicyError;
use crate::small::adam::{Adam, Step};

/// Adam's memory beside the parameters, a tensor each.
#[derive(Clone, Debug)]
pub(crate) struct Resident {
    mean: Vec<Tensor<1>>,
    square: Vec<Tensor<1>>,
}

impl Resident {
    /// The memory of `adam`, cut into tensors of these lengths.
    pub(crate) fn of(adam: &Adam, lengths: &[usize], device: &Device) -> Self {
        let (mean, square) = adam.memory();
        let cut = |whole: &[f32]| place(whole, lengths, device);
        Self {
            mean: cut(mean),
            square: cut(square),
        }
    }

    /// Gives the memory back.
    pub(crate) fn give_back(&self, adam: &mut Adam) -> Result<(), PolicyError> {
        let (mean, square) = (fetch(&self.mean)?, fetch(&self.square)?);
        adam.remember(mean, square);
        Ok(())
    }

    /// One step of parameter number `at`.
    pub(crate) fn descend(
        &mut self,
        at: usize,
        parameter: Tensor<1>,
        gradient: Tensor<1>,
        step: &Step,
    ) -> Tensor<1> {
        let (mean, square) = (&mut self.mean[at], &mut self.square[at]);
        *mean = mean.clone() * step.beta1 + gradient.clone() * step.rest1;
        *square = square.clone() * step.beta2 + gradient.square() * step.rest2;
        let spread = square.clone().sqrt() * step.correction + step.epsilon;
        parameter * step.keep - mean.clone() / spread * step.rate
    }
}

/// What a look at the gradients tells, in one transfer.
pub(crate) struct Look {
    /// The loss.
    pub(crate) loss: f64,
    /// Euclidean norm over all gradients.
    pub(crate) norm: f64,
}

impl Look {
    /// Fails on a loss or a gradient that is not finite, which is named by `name`.
    pub(crate) fn at(
        loss: Tensor<1>,
        gradients: &[Tensor<1>],
        update: u64,
        name: impl Fn(usize) -> String,
    ) -> Result<Self, PolicyError> {
        let squares = gradients.iter().map(|g| g.clone().square().sum());
        let row = values(Tensor::cat(
            std::iter::once(loss).chain(squares).collect(),
            0,
        ))?;
        if let Some(at) = row.iter().position(|value| !value.is_finite()) {
            return Err(PolicyError::NotFinite {
                tensor: match at {
                    0 => "the training loss".into(),
                    at => format!("the gradient of {}", name(at - 1)),
                },
                update,
            });
        }
        Ok(Self {
            loss: f64::from(row[0]),
            norm: row[1..].iter().map(|&s| f64::from(s)).sum::<f64>().sqrt(),
        })
    }

    /// What gradients are multiplied by so that they are no longer than `limit`, 0 for none.
    pub(crate) fn shortening(&self, limit: f64) -> Option<f64> {
        (limit > 0.0 && self.norm > limit).then(|| limit / self.norm)
    }
}

/// A flat vector as tensors of these lengths.
pub(crate) fn place(whole: &[f32], lengths: &[usize], device: &Device) -> Vec<Tensor<1>> {
    let mut start = 0;
    let mut next = |&length: &usize| {
        let part = whole[start..start + length].to_vec();
        start += length;
        tensor(part, [length], device)
    };
    lengths.iter().map(&mut next).collect()
}

/// Tensors as one flat vector.
pub(crate) fn fetch(parts: &[Tensor<1>]) -> Result<Vec<f32>, PolicyError> {
    let mut whole = Vec::with_capacity(parts.iter().map(|part| part.dims()[0]).sum());
    for part in parts {
        whole.extend(values(part.clone())?);
    }
    Ok(whole)
}
