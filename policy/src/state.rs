//! Named tensors to and from safetensors bytes, every mismatch a sentence.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::policy::PolicyError;

/// Tensors on their way to a file.
#[derive(Default)]
pub(crate) struct StateDict {
    tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
    infinite: Option<String>,
}

impl StateDict {
    /// Adds a tensor of `f32`. Remembers the first one that holds a value that is not finite.
    pub(crate) fn f32(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        if !crate::small::kernels::all_finite(values) {
            self.infinite.get_or_insert(name.into());
        }
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.add(name, Dtype::F32, shape, bytes);
    }

    /// Adds a vector of `f64`.
    pub(crate) fn f64(&mut self, name: &str, values: &[f64]) {
        if !values.iter().all(|v| v.is_finite()) {
            self.infinite.get_or_insert(name.into());
        }
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.add(name, Dtype::F64, &[values.len()], bytes);
    }

    /// Adds a vector of `u64`.
    pub(crate) fn u64(&mut self, name: &str, values: &[u64]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.add(name, Dtype::U64, &[values.len()], bytes);
    }

    /// Adds a vector of bytes.
    pub(crate) fn u8(&mut self, name: &str, values: &[u8]) {
        self.add(name, Dtype::U8, &[values.len()], values.to_vec());
    }

    /// Adds the exact state of a random number generator.
    pub(crate) fn rng(&mut self, name: &str, rng: &ChaCha8Rng) {
        let position = rng.get_word_pos();
        let mut words: Vec<u64> = rng
            .get_seed()
            .chunks_exact(8)
            .map(|b| u64::from_le_bytes(b.try_into().expect("chunks of eight")))
            .collect();
        words.extend([rng.get_stream(), position as u64, (position >> 64) as u64]);
        self.u64(name, &words);
    }

    fn add(&mut self, name: &str, dtype: Dtype, shape: &[usize], bytes: Vec<u8>) {
        self.tensors
            .insert(name.into(), (dtype, shape.to_vec(), bytes));
    }

    /// The bytes of a safetensors file. Refuses values that are not finite, so that a bad state never replaces a good one.
    pub(crate) fn to_bytes(&self, update: u64) -> Result<Vec<u8>, PolicyError> {
        if let Some(tensor) = &self.infinite {
            return Err(PolicyError::NotFinite {
                tensor: tensor.clone(),
                update,
            });
        }
        let mut views = Vec::with_capacity(self.tensors.len());
        for (name, (dtype, shape, bytes)) in &self.tensors {
            let view = TensorView::new(*dtype, shape.clone(), bytes)
                .map_err(|error| PolicyError::Other(format!("tensor {name}: {error}")))?;
            views.push((name.as_str(), view));
        }
        safetensors::serialize(views, None)
            .map_err(|error| PolicyError::Other(format!("cannot write tensors: {error}")))
    }
}

/// Tensors read from a file.
pub(crate) struct StateReader<'a> {
    path: PathBuf,
    tensors: SafeTensors<'a>,
}

impl<'a> StateReader<'a> {
    pub(crate) fn new(path: &Path, bytes: &'a [u8]) -> Result<Self, PolicyError> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| PolicyError::File {
            path: path.display().to_string(),
            cause: format!("not a readable safetensors file ({error}); use another checkpoint"),
        })?;
        Ok(Self {
            path: path.into(),
            tensors,
        })
    }

    pub(crate) fn fault(&self, cause: String) -> PolicyError {
        PolicyError::File {
            path: self.path.display().to_string(),
            cause,
        }
    }

    fn tensor(&self, name: &str, dtype: Dtype) -> Result<TensorView<'a>, PolicyError> {
        let tensor = self.tensors.tensor(name).map_err(|_| {
            self.fault(format!(
                "has no tensor {name}; it was written by another version or kind of policy"
            ))
        })?;
        if tensor.dtype() != dtype {
            return Err(self.fault(format!(
                "tensor {name} is {:?}, expected {dtype:?}; use another checkpoint",
                tensor.dtype()
            )));
        }
        Ok(tensor)
    }

    /// Fills a slice whose length the caller knows.
    pub(crate) fn read_f32(&self, name: &str, target: &mut [f32]) -> Result<(), PolicyError> {
        let values = self.f32(name)?;
        if values.len() != target.len() {
            return Err(self.fault(format!(
                "tensor {name} has {} values, the configuration asks for {}; policy.toml does not belong to this file",
                values.len(),
                target.len()
            )));
        }
        target.copy_from_slice(&values);
        Ok(())
    }

    /// All values of a tensor, each finite.
    pub(crate) fn f32(&self, name: &str) -> Result<Vec<f32>, PolicyError> {
        let values: Vec<f32> = self
            .tensor(name, Dtype::F32)?
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().expect("chunks of four")))
            .collect();
        if !crate::small::kernels::all_finite(&values) {
            return Err(self.fault(format!(
                "tensor {name} holds values that are not finite; use another checkpoint"
            )));
        }
        Ok(values)
    }

    /// All values of a tensor.
    pub(crate) fn f64(&self, name: &str) -> Result<Vec<f64>, PolicyError> {
        let values: Vec<f64> = self
            .tensor(name, Dtype::F64)?
            .data()
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().expect("chunks of eight")))
            .collect();
        if !values.iter().all(|v| v.is_finite()) {
            return Err(self.fault(format!(
                "tensor {name} holds values that are not finite; use another checkpoint"
            )));
        }
        Ok(values)
    }

    /// All values of a tensor.
    pub(crate) fn u64s(&self, name: &str) -> Result<Vec<u64>, PolicyError> {
        Ok(self
            .tensor(name, Dtype::U64)?
            .data()
            .chunks_exact(8)
            .map(|b| u64::from_le_bytes(b.try_into().expect("chunks of eight")))
            .collect())
    }

    /// Exactly `N` values.
    pub(crate) fn u64<const N: usize>(&self, name: &str) -> Result<[u64; N], PolicyError> {
        let values = self.u64s(name)?;
        let found = values.len();
        values
            .try_into()
            .map_err(|_| self.fault(format!("tensor {name} has {found} values, expected {N}")))
    }

    /// All bytes of a tensor.
    pub(crate) fn u8s(&self, name: &str) -> Result<Vec<u8>, PolicyError> {
        Ok(self.tensor(name, Dtype::U8)?.data().to_vec())
    }

    /// A random number generator that goes on exactly where the saved one stopped.
    pub(crate) fn rng(&self, name: &str) -> Result<ChaCha8Rng, PolicyError> {
        let words: [u64; 7] = self.u64(name)?;
        let mut seed = [0; 32];
        for (bytes, word) in seed.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let mut rng = ChaCha8Rng::from_seed(seed);
        rng.set_stream(words[4]);
        rng.set_word_pos(u128::from(words[5]) | u128::from(words[6]) << 64);
        Ok(rng)
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::Rng as _;

    use super::*;

    #[test]
    fn a_random_generator_goes_on_where_it_stopped() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        rng.set_stream(5);
        for _ in 0..17 {
            rng.next_u32();
        }
        let mut state = StateDict::default();
        state.rng("rng", &rng);
        let bytes = state.to_bytes(0).unwrap();
        let reader = StateReader::new(Path::new("x"), &bytes).unwrap();
        let mut again = reader.rng("rng").unwrap();
        assert_eq!(
            (0..50).map(|_| rng.next_u32()).collect::<Vec<_>>(),
            (0..50).map(|_| again.next_u32()).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_state_with_nan_is_not_written() {
        let mut state = StateDict::default();
        state.f32("actor.layer0.weight", &[2], &[1.0, f32::NAN]);
        let error = state.to_bytes(9).unwrap_err().to_string();
        assert!(
            error.contains("actor.layer0.weight") && error.contains('9'),
            "{error}"
        );
    }

    #[test]
    fn missing_and_misshapen_tensors_are_named() {
        let mut state = StateDict::default();
        state.f32("a", &[2], &[1.0, 2.0]);
        let bytes = state.to_bytes(0).unwrap();
        let reader = StateReader::new(Path::new("some/file"), &bytes).unwrap();
        let missing = reader.f32("b").unwrap_err().to_string();
        assert!(
            missing.contains("some/file") && missing.contains("no tensor b"),
            "{missing}"
        );
        let short = reader.read_f32("a", &mut [0.0; 3]).unwrap_err().to_string();
        assert!(short.contains("tensor a has 2 values"), "{short}");
        assert!(reader.u64s("a").is_err());
    }
}
