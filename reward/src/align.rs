//! Representation alignment from preferences (RAPL, arXiv 2310.07932): a small linear head on frozen features, trained so
//! that transport distances between clips agree with what a person ranked.
//!
//! For a triplet best ≻ middle ≻ worst, with clips embedded by the head,
//!
//! ```text
//! p = σ((d(best, worst) - d(best, middle)) / temperature)        loss = -log p
//! ```
//!
//! In front of the head the features are centred and rotated onto their principal components, whose scales can be evened out
//! ([`AlignConfig::whiten`]): a camera sees mostly the arm move, and what people care about (where the object is) hides in
//! directions of little variance. Rotation, scaling and head fold into one matrix, so that an [`Alignment`] costs one product per frame.
//!
//! A clip of one frame is a clip: transport of 1 x 1 is the cosine distance.
//!
//! [`adapt`] trains the encoder's last blocks with the head.

mod adapt;
mod adapted;
mod aligned;
mod comparison;
mod config;
mod projection;
mod train;

pub use adapt::{AdaptConfig, AdaptReport, adapt};
pub use adapted::{Adaptation, Adapted};
pub use aligned::Aligned;
pub use comparison::{Comparison, Comparisons};
pub use config::{AlignConfig, Refit, Scaling, TransportObjective};
pub use train::{AlignReport, EpochReport};

use rapport_perception::Features;
use serde::{Deserialize, Serialize};

use crate::model::RewardError;
use crate::store::{Tensor, Tensors};
use crate::transport::{Points, dot};

/// A learned linear map from an encoder's features to an embedding in which near means liked alike.
///
/// `embed(x) = W (x - mean) + bias`, with `W` of `[dim, features]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Alignment {
    config: AlignConfig,
    mean: Vec<f64>,
    /// `[dim, features]`, row-major.
    weight: Vec<f64>,
    bias: Vec<f64>,
}

/// The part of an [`Alignment`] that goes into `reward.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlignmentHeader {
    pub config: AlignConfig,
}

impl Alignment {
    /// Learns from comparisons. `unlabelled` clips help to find the principal components and are never compared. The same
    /// seed gives the same result. Fails when there is no comparison, widths differ, or a value is not finite.
    pub fn train(
        comparisons: &Comparisons,
        unlabelled: &[Features],
        config: &AlignConfig,
        seed: u64,
    ) -> Result<(Self, AlignReport), RewardError> {
        train::train(comparisons, unlabelled, config, seed)
    }

    /// Width of the features that it takes.
    pub fn input_dim(&self) -> usize {
        self.mean.len()
    }

    /// Width of the embedding.
    pub fn dim(&self) -> usize {
        self.bias.len()
    }

    /// What it was trained with.
    pub fn config(&self) -> &AlignConfig {
        &self.config
    }

    /// Embeds every frame, `[time, input_dim]` to `[time, dim]`. Fails on another width.
    pub fn embed(&self, features: &Features) -> Result<Features, RewardError> {
        if features.is_empty() {
            return Ok(Features::default());
        }
        if features.dim() != self.input_dim() {
            return Err(RewardError::Other(format!(
                "features are {} wide, this alignment was learned on {}; encode with the encoder it was learned on",
                features.dim(),
                self.input_dim()
            )));
        }
        let mut values = Vec::with_capacity(features.len() * self.dim());
        let mut centred = vec![0.0; self.input_dim()];
        for row in features.rows() {
            for ((c, x), mean) in centred.iter_mut().zip(row).zip(&self.mean) {
                *c = f64::from(*x) - mean;
            }
            for (weights, bias) in self.weight.chunks_exact(self.input_dim()).zip(&self.bias) {
                values.push((bias + dot(weights, &centred)) as f32);
            }
        }
        Ok(Features::new(self.dim(), values))
    }

    /// Embeds every frame in double precision, for comparing.
    pub fn embed_points(&self, features: &Features) -> Result<Points, RewardError> {
        Ok(Points::from(&self.embed(features)?))
    }

    pub(crate) fn header(&self) -> AlignmentHeader {
        AlignmentHeader {
            config: self.config.clone(),
        }
    }

    pub(crate) fn tensors(&self) -> Tensors {
        let (rows, cols) = (self.dim(), self.input_dim());
        Tensors::from([
            ("bias".into(), Tensor::from_f64(&[rows], &self.bias)),
            ("mean".into(), Tensor::from_f64(&[cols], &self.mean)),
            (
                "weight".into(),
                Tensor::from_f64(&[rows, cols], &self.weight),
            ),
        ])
    }

    pub(crate) fn restore(header: AlignmentHeader, tensors: &Tensors) -> Result<Self, RewardError> {
        header.config.validate()?;
        let get = |name: &str| {
            tensors.get(name).ok_or_else(|| {
                RewardError::Other(format!(
                    "the alignment's `{name}` is missing; train it again"
                ))
            })
        };
        let (mean, weight, bias) = (get("mean")?, get("weight")?, get("bias")?);
        let (rows, cols) = (bias.values.len(), mean.values.len());
        if rows == 0 || cols == 0 || weight.shape != [rows, cols] {
            return Err(RewardError::Other(format!(
                "the alignment's weight is {:?} where {rows} x {cols} belongs; train it again",
                weight.shape
            )));
        }
        Ok(Self {
            config: header.config,
            mean: mean.to_f64(),
            weight: weight.to_f64(),
            bias: bias.to_f64(),
        })
    }
}

#[cfg(test)]
mod tests;
