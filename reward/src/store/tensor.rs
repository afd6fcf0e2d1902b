//! [`Tensor`]: the numbers of a reward, in single precision.

use std::collections::BTreeMap;

use rapport_perception::Features;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::model::RewardError;
use crate::transport::Points;

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// An array of single-precision numbers, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Extents.
    pub shape: Vec<usize>,
    /// As many values as the product of the extents.
    pub values: Vec<f32>,
}

impl Tensor {
    /// From double precision.
    pub fn from_f64(shape: &[usize], values: &[f64]) -> Self {
        Self {
            shape: shape.to_vec(),
            values: values.iter().map(|&v| v as f32).collect(),
        }
    }

    /// `[time, dim]`.
    pub fn from_points(points: &Points) -> Self {
        Self::from_f64(&[points.len(), points.dim()], points.as_slice())
    }

    /// To double precision.
    pub fn to_f64(&self) -> Vec<f64> {
        self.values.iter().map(|&v| f64::from(v)).collect()
    }

    /// A matrix of at least one column as features, `[time, dim]`.
    pub fn to_features(&self) -> Result<Features, RewardError> {
        match self.shape[..] {
            [_, dim] if dim > 0 => Ok(Features::new(dim, self.values.clone())),
            _ => Err(RewardError::Other(format!(
                "a tensor of shape {:?} stands where a matrix belongs; learn the reward again",
                self.shape
            ))),
        }
    }
}

/// The tensors with `name.` in front of their names.
pub(crate) fn prefixed(name: &str, tensors: Tensors) -> Tensors {
    tensors
        .into_iter()
        .map(|(key, tensor)| (format!("{name}.{key}"), tensor))
        .collect()
}

pub(super) fn write(tensors: &Tensors) -> Result<Vec<u8>, RewardError> {
    let bytes: BTreeMap<&String, Vec<u8>> = tensors
        .iter()
        .map(|(name, t)| {
            (
                name,
                t.values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            )
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, t)| {
            TensorView::new(Dtype::F32, t.shape.clone(), &bytes[name])
                .map(|view| (name.as_str(), view))
                .map_err(|e| RewardError::Other(format!("tensor `{name}`: {e}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    safetensors::serialize(views, None).map_err(|e| RewardError::Other(e.to_string()))
}

pub(super) fn read(bytes: &[u8]) -> Result<Tensors, RewardError> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| RewardError::Other(e.to_string()))?;
    file.tensors()
        .into_iter()
        .map(|(name, view)| {
            if view.dtype() != Dtype::F32 {
                return Err(RewardError::Other(format!(
                    "tensor `{name}` is {:?} where F32 belongs",
                    view.dtype()
                )));
            }
            let (words, _) = view.data().as_chunks::<4>();
            let tensor = Tensor {
                shape: view.shape().to_vec(),
                values: words.iter().map(|w| f32::from_le_bytes(*w)).collect(),
            };
            Ok((name, tensor))
        })
        .collect()
}
