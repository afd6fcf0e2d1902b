//! [`StateDict`]: named tensors as a checkpoint file holds them.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use burn::store::pytorch_reader::{DType as PickleType, PytorchReader};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use crate::encoder::EncoderError;

/// One `f32` tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// `shape.iter().product()` values.
    pub values: Vec<f32>,
}

/// The tensors of real numbers of a checkpoint by name, in `f32`; tensors of other types (counters) are left out. Half precision is
/// widened where a safetensors file has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StateDict {
    tensors: HashMap<String, HostTensor>,
}

impl StateDict {
    /// Reads `.safetensors`, or any file that `torch.save` has written (`.pth`, `.pt`, `.bin`; the legacy pickle of PyTorch before 1.6 too).
    /// Pickled code is never run.
    ///
    /// # Errors
    /// [`EncoderError::Other`] naming the file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, EncoderError> {
        let read = if path.extension().is_some_and(|ext| ext == "safetensors") {
            Self::read_safetensors(path)
        } else {
            Self::read_pytorch(path)
        };
        read.map_err(|reason| {
            EncoderError::Other(format!("cannot read weights {}: {reason}", path.display()))
        })
    }

    fn read_safetensors(path: &Path) -> Result<Self, String> {
        Self::parse_safetensors(&fs::read(path).map_err(|error| error.to_string())?)
    }

    fn parse_safetensors(bytes: &[u8]) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let tensors = file
            .iter()
            .filter_map(|(name, view)| {
                let values = match view.dtype() {
                    Dtype::F32 => f32_from_little_endian(view.data()),
                    Dtype::F16 => widened(view.data(), |b| f16::from_le_bytes(b).to_f32()),
                    Dtype::BF16 => widened(view.data(), |b| bf16::from_le_bytes(b).to_f32()),
                    _ => return None,
                };
                let shape = view.shape().to_vec();
                Some((name.to_owned(), HostTensor { shape, values }))
            })
            .collect();
        Ok(Self { tensors })
    }

    fn read_pytorch(path: &Path) -> Result<Self, String> {
        let reader = PytorchReader::new(path).map_err(|error| error.to_string())?;
        let mut tensors = HashMap::with_capacity(reader.len());
        for (name, tensor) in reader.tensors() {
            if tensor.dtype() != PickleType::F32 {
                continue;
            }
            let bytes = tensor.read().map_err(|error| error.to_string())?;
            // The reader hands out native-endian bytes.
            let values = bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&b| f32::from_ne_bytes(b))
                .collect();
            tensors.insert(
                name.clone(),
                HostTensor {
                    shape: tensor.shape().to_vec(),
                    values,
                },
            );
        }
        Ok(Self { tensors })
    }

    /// The tensor called `name`, which must have this shape.
    ///
    /// # Errors
    /// [`EncoderError::Other`] when it is missing or has another shape.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<&HostTensor, EncoderError> {
        let tensor = self.tensors.get(name).ok_or_else(|| {
            EncoderError::Other(format!(
                "the weights hold no f32 tensor `{name}`; are they of this model?"
            ))
        })?;
        if tensor.shape != shape {
            return Err(EncoderError::Other(format!(
                "tensor `{name}` has shape {:?}, expected {shape:?}; are the weights of this model?",
                tensor.shape
            )));
        }
        Ok(tensor)
    }

    /// From tensors that are there already.
    pub fn new(tensors: HashMap<String, HostTensor>) -> Self {
        Self { tensors }
    }

    /// From the content of a safetensors file.
    ///
    /// # Errors
    /// [`EncoderError::Other`] when it is none.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, EncoderError> {
        Self::parse_safetensors(bytes)
            .map_err(|reason| EncoderError::Other(format!("cannot read weights: {reason}")))
    }

    /// The tensors by name.
    pub fn into_tensors(self) -> HashMap<String, HostTensor> {
        self.tensors
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// True when there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }
}

fn widened(bytes: &[u8], widen: impl Fn([u8; 2]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<2>().0.iter().map(|&b| widen(b)).collect()
}

/// Values from little-endian bytes, as safetensors stores them.
pub(crate) fn f32_from_little_endian(bytes: &[u8]) -> Vec<f32> {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&b| f32::from_le_bytes(b))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_checkpoint_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["noise.pth", "noise.safetensors"] {
            let path = dir.path().join(name);
            fs::write(&path, b"not a checkpoint at all").unwrap();
            let message = StateDict::read(&path).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }

    #[test]
    fn a_missing_tensor_and_a_wrong_shape_are_named() {
        let tensor = HostTensor {
            shape: vec![2],
            values: vec![1.0, 2.0],
        };
        let dict = StateDict {
            tensors: HashMap::from([("a".to_owned(), tensor)]),
        };
        assert!(
            dict.tensor("b", &[2])
                .unwrap_err()
                .to_string()
                .contains("`b`")
        );
        assert!(
            dict.tensor("a", &[3])
                .unwrap_err()
                .to_string()
                .contains("[2]")
        );
        assert_eq!(dict.tensor("a", &[2]).unwrap().values, [1.0, 2.0]);
    }
}
