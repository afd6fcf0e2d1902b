//! Principal components as a safetensors file.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::{Pca, PcaError, PcaScale};
use crate::files::write_atomically;
use crate::state_dict::f32_from_little_endian;

impl Pca {
    /// Writes a safetensors file.
    ///
    /// # Errors
    /// [`PcaError::File`].
    pub fn save(&self, path: &Path) -> Result<(), PcaError> {
        let fail = |reason: String| PcaError::File {
            path: path.display().to_string(),
            reason,
        };
        let bytes = |values: &[f32]| -> Vec<u8> {
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        };
        let (dim, count) = (self.mean.len(), self.variances.len());
        let tensors = [
            ("mean", vec![dim], bytes(&self.mean)),
            ("components", vec![count, dim], bytes(&self.components)),
            ("variances", vec![count], bytes(&self.variances)),
            ("total_variance", vec![1], bytes(&[self.total_variance])),
        ];
        let views: Vec<(&str, TensorView)> = tensors
            .iter()
            .map(|(name, shape, data)| {
                Ok((*name, TensorView::new(Dtype::F32, shape.clone(), data)?))
            })
            .collect::<Result<_, safetensors::SafeTensorError>>()
            .map_err(|error| fail(error.to_string()))?;
        let scale = match self.scale {
            PcaScale::Variance => "variance",
            PcaScale::Unit => "unit",
        };
        let metadata = HashMap::from([("scale".to_owned(), scale.to_owned())]);
        let file = safetensors::serialize(views, Some(metadata))
            .map_err(|error| fail(error.to_string()))?;
        write_atomically(path, &file).map_err(|error| fail(error.to_string()))
    }

    /// Reads what [`Self::save`] wrote.
    ///
    /// # Errors
    /// [`PcaError::File`] when the file is missing or holds something else.
    pub fn load(path: &Path) -> Result<Self, PcaError> {
        Self::parse(path).map_err(|reason| PcaError::File {
            path: path.display().to_string(),
            reason,
        })
    }

    fn parse(path: &Path) -> Result<Self, String> {
        let bytes = fs::read(path).map_err(|error| error.to_string())?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| error.to_string())?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| error.to_string())?;
        let tensor = |name: &str| -> Result<Vec<f32>, String> {
            let view = file.tensor(name).map_err(|error| error.to_string())?;
            match view.dtype() {
                Dtype::F32 => Ok(f32_from_little_endian(view.data())),
                other => Err(format!("`{name}` is {other:?}, not f32")),
            }
        };
        let scale = header
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get("scale"));
        let scale = match scale.map(String::as_str) {
            Some("variance") => PcaScale::Variance,
            Some("unit") => PcaScale::Unit,
            other => return Err(format!("unknown scale {other:?}")),
        };
        let (mean, components) = (tensor("mean")?, tensor("components")?);
        let (variances, total_variance) = (tensor("variances")?, tensor("total_variance")?);
        match total_variance[..] {
            [total_variance]
                if !variances.is_empty() && components.len() == mean.len() * variances.len() =>
            {
                Ok(Self {
                    mean,
                    components,
                    variances,
                    total_variance,
                    scale,
                })
            }
            _ => Err("the shapes of its tensors do not fit together".into()),
        }
    }
}
