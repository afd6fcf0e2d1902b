//! The two towers behind [`Encoder`] and [`TextEncoder`].

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;

use super::config::{Family, PairConfig};
use super::open_clip::to_hugging_face;
use super::picture::PictureTower;
use super::sentence::SentenceTower;
use super::tokens::Tokens;
use crate::device::DeviceChoice;
use crate::encoder::{Encoder, EncoderError, EncoderSpec};
use crate::features::Features;
use crate::fingerprint::Fingerprint;
use crate::hub;
use crate::preprocess::{Fit, Preprocess, Preprocessor};
use crate::state_dict::StateDict;
use crate::text::{TextEncoder, by_length};
use crate::transformer::values;
use crate::weights::hash_weights;

/// Pictures in one forward pass: bounds the memory of a long clip.
const BATCH: usize = 16;

/// How a frame becomes the square that the tower looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Squeeze {
    /// As the model was trained: CLIP cuts out the centre, SigLIP stretches.
    #[default]
    Usual,
    /// The whole frame is stretched, as VLM-RM's code does: nothing at the border is lost, the aspect ratio is.
    Squash,
    /// The short side is resized, the centre cut out.
    Crop,
}

/// Where a pair's files are, and how its pictures are squeezed: `dir:PATH`, `hf:OWNER/NAME`, either with `@squash` or `@crop`
/// behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    place: Place,
    squeeze: Squeeze,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Folder(PathBuf),
    Hub(String),
}

impl FromStr for Source {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let (rest, squeeze) = if let Some(rest) = name.strip_suffix("@squash") {
            (rest, Squeeze::Squash)
        } else if let Some(rest) = name.strip_suffix("@crop") {
            (rest, Squeeze::Crop)
        } else {
            (name, Squeeze::Usual)
        };
        let place = if let Some(folder) = rest.strip_prefix("dir:") {
            Place::Folder(folder.into())
        } else {
            let repository = rest.strip_prefix("hf:").ok_or(())?;
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
            let parts: Vec<&str> = repository.split('/').collect();
            let named = parts.len() == 2 && parts.iter().all(|p| !p.trim_matches('.').is_empty());
            if !named || !repository.chars().all(plain) {
                return Err(());
            }
            Place::Hub(repository.into())
        };
        match &place {
            Place::Folder(folder) if folder.as_os_str().is_empty() => Err(()),
            _ => Ok(Self { place, squeeze }),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Folder(folder) => write!(f, "dir:{}", folder.display())?,
            Place::Hub(repository) => write!(f, "hf:{repository}")?,
        }
        f.write_str(match self.squeeze {
            Squeeze::Usual => "",
            Squeeze::Squash => "@squash",
            Squeeze::Crop => "@crop",
        })
    }
}

impl Source {
    /// A file of the model, if it has one of this name.
    fn file(&self, name: &str) -> Result<Option<PathBuf>, EncoderError> {
        match &self.place {
            Place::Folder(folder) => Ok(Some(folder.join(name)).filter(|path| path.is_file())),
            Place::Hub(repository) => hub::file(repository, name),
        }
    }

    /// The first file of these that the model has.
    fn first(&self, names: &[&str]) -> Result<Option<PathBuf>, EncoderError> {
        for name in names {
            if let Some(path) = self.file(name)? {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    fn missing(&self, names: &str) -> EncoderError {
        EncoderError::Other(format!(
            "{self} has no {names}; name a folder or a repository with a CLIP or SigLIP model in it"
        ))
    }

    /// Configuration and weights.
    fn read(&self) -> Result<Pair, EncoderError> {
        let text = |path: &Path| {
            std::fs::read_to_string(path).map_err(|error| {
                EncoderError::Other(format!("cannot read {}: {error}", path.display()))
            })
        };
        let (config, open_clip) = if let Some(path) = self.file("config.json")? {
            (PairConfig::from_hugging_face(&text(&path)?)?, false)
        } else if let Some(path) = self.file("open_clip_config.json")? {
            (PairConfig::from_open_clip(&text(&path)?)?, true)
        } else {
            return Err(self.missing("config.json and no open_clip_config.json"));
        };
        let files = if open_clip {
            let names = ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"];
            let file = self.first(&names)?;
            vec![file.ok_or_else(|| self.missing(names[0]))?]
        } else if let Some(file) = self.file("model.safetensors")? {
            vec![file]
        } else if let Some(index) = self.file("model.safetensors.index.json")? {
            self.shards(&text(&index)?)?
        } else {
            let file = self.file("pytorch_model.bin")?;
            vec![file.ok_or_else(|| self.missing("model.safetensors"))?]
        };
        let mut tensors = HashMap::new();
        let mut fingerprint = Fingerprint::new("image-text towers");
        for file in files {
            fingerprint = fingerprint.field("weights", &hash_weights(&file)?.sha256);
            tensors.extend(StateDict::read(&file)?.into_tensors());
        }
        let dict = to_hugging_face(StateDict::new(tensors));
        let preprocess = Preprocess {
            size: config.picture.side as u32,
            fit: match (self.squeeze, config.family) {
                (Squeeze::Squash, _) | (Squeeze::Usual, Family::Siglip) => Fit::Stretch,
                (Squeeze::Crop, _) | (Squeeze::Usual, Family::Clip) => Fit::Centre,
            },
        };
        let fingerprint = fingerprint
            .field("configuration", &format!("{config:?}"))
            .field("preprocess", &preprocess.description())
            .finish();
        Ok(Pair {
            spec: EncoderSpec {
                name: self.to_string(),
                dim: config.common,
                fingerprint,
            },
            dict,
            config,
            preprocess,
        })
    }

    /// The files that an index of shards names.
    fn shards(&self, index: &str) -> Result<Vec<PathBuf>, EncoderError> {
        let json: serde_json::Value = serde_json::from_str(index).map_err(|error| {
            EncoderError::Other(format!("{self}: model.safetensors.index.json: {error}"))
        })?;
        let mut names: Vec<&str> = json["weight_map"]
            .as_object()
            .into_iter()
            .flat_map(|map| map.values().filter_map(|name| name.as_str()))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
            .into_iter()
            .map(|name| {
                let plain = Path::new(name).file_name().is_some_and(|n| n == name);
                let file = if plain { self.file(name)? } else { None };
                file.ok_or_else(|| self.missing(name))
            })
            .collect()
    }
}

/// Configuration and weights of both towers.
struct Pair {
    spec: EncoderSpec,
    dict: StateDict,
    config: PairConfig,
    preprocess: Preprocess,
}

/// Mean and standard deviation of the colours that the family was trained with, in `0..=1`.
fn colours(family: Family) -> ([f32; 3], [f32; 3]) {
    match family {
        Family::Clip => (
            [0.481_454_66, 0.457_827_5, 0.408_210_73],
            [0.268_629_54, 0.261_302_6, 0.275_777_1],
        ),
        Family::Siglip => ([0.5; 3], [0.5; 3]),
    }
}

/// The picture's tower. Rows are unit vectors.
pub struct PicturesOfPair {
    spec: EncoderSpec,
    tower: PictureTower,
    family: Family,
    preprocessor: Preprocessor,
    side: usize,
    device: Device,
}

impl PicturesOfPair {
    /// Reads the model.
    ///
    /// # Errors
    /// Files that are missing or of another model, each in a sentence; no connection to the hub; a device that is not there.
    pub fn open(source: &Source, device: DeviceChoice) -> Result<Self, EncoderError> {
        let device = device.burn_device()?;
        let pair = source.read()?;
        Ok(Self {
            tower: PictureTower::new(&pair.dict, &pair.config, &device)?,
            family: pair.config.family,
            preprocessor: Preprocessor::new(pair.preprocess),
            side: pair.config.picture.side,
            spec: pair.spec,
            device,
        })
    }
}

impl Encoder for PicturesOfPair {
    fn spec(&self) -> &EncoderSpec {
        &self.spec
    }

    fn encode(&mut self, frames: &[RgbImage]) -> Result<Features, EncoderError> {
        let (mean, spread) = colours(self.family);
        let mut rows = Vec::with_capacity(frames.len() * self.spec.dim);
        for part in frames.chunks(BATCH) {
            let mut pixels = Vec::with_capacity(part.len() * 3 * self.side * self.side);
            for frame in part {
                let square = self.preprocessor.square(frame)?;
                pixels.extend(
                    square
                        .iter()
                        .enumerate()
                        .map(|(i, &byte)| (f32::from(byte) / 255.0 - mean[i % 3]) / spread[i % 3]),
                );
            }
            let data = TensorData::new(pixels, [part.len(), self.side, self.side, 3]);
            let pictures = Tensor::<4>::from_data(data, &self.device).permute([0, 3, 1, 2]);
            rows.extend(values(self.tower.forward(pictures))?);
        }
        Ok(Features::new(self.spec.dim, rows))
    }
}

/// The sentence's tower. Rows are unit vectors.
pub struct SentencesOfPair {
    spec: EncoderSpec,
    tower: SentenceTower,
    tokens: Tokens,
}

impl SentencesOfPair {
    /// Reads the model.
    ///
    /// # Errors
    /// As [`PicturesOfPair::open`].
    pub fn open(source: &Source, device: DeviceChoice) -> Result<Self, EncoderError> {
        let device = device.burn_device()?;
        let pair = source.read()?;
        let tokenizer = source.file("tokenizer.json")?;
        Ok(Self {
            tokens: Tokens::new(&pair.config, tokenizer.as_deref())?,
            tower: SentenceTower::new(&pair.dict, &pair.config, &device)?,
            spec: pair.spec,
        })
    }
}

impl TextEncoder for SentencesOfPair {
    fn spec(&self) -> &EncoderSpec {
        &self.spec
    }

    fn encode_text(&mut self, sentences: &[&str]) -> Result<Features, EncoderError> {
        let ids = sentences
            .iter()
            .map(|sentence| self.tokens.ids(sentence))
            .collect::<Result<Vec<_>, _>>()?;
        by_length(&ids, self.spec.dim, |group| {
            values(self.tower.forward(group))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pairs_parse_back_and_wrong_ones_do_not() {
        for name in [
            "hf:openai/clip-vit-base-patch32",
            "hf:google/siglip-base-patch16-224@crop",
            "dir:/models/clip@squash",
            "dir:models",
        ] {
            assert_eq!(name.parse::<Source>().unwrap().to_string(), name);
        }
        for wrong in [
            "clip",
            "hf:clip",
            "hf:../../etc",
            "hf:a/b/c",
            "hf:a/b?c",
            "dir:",
            "hf:/x",
        ] {
            assert!(wrong.parse::<Source>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_folder_without_a_model_says_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let source: Source = format!("dir:{}", dir.path().display()).parse().unwrap();
        let message = |source: &Source| {
            let error = PicturesOfPair::open(source, DeviceChoice::Cpu)
                .err()
                .unwrap();
            error.to_string()
        };
        assert!(message(&source).contains("config.json"));
        std::fs::write(dir.path().join("config.json"), r#"{"model_type": "clip"}"#).unwrap();
        assert!(message(&source).contains("model.safetensors"));
        std::fs::write(dir.path().join("config.json"), r#"{"model_type": "bert"}"#).unwrap();
        assert!(message(&source).contains("`bert`"));
    }
}
