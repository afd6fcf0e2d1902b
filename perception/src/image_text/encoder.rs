//! Both halves of the image-text model behind [`Encoder`] and [`TextEncoder`].

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use sha2::{Digest as _, Sha256};

use super::heads::{Heads, HeadsSize};
use crate::device::DeviceChoice;
use crate::encoder::{Encoder, EncoderError, EncoderSpec};
use crate::features::Features;
use crate::fingerprint::Fingerprint;
use crate::sentence::MiniLm;
use crate::state_dict::StateDict;
use crate::text::TextEncoder;
use crate::transformer::values;
use crate::weights::{MINI_LM_WEIGHTS, hex};

/// The name on the command line.
pub const NAME: &str = "image-text:lite0-minilm";

/// The frozen network under the picture's half.
pub const PICTURE_ENCODER: &str = "efficientnet-lite0:block10@112";

/// The trained heads.
const WEIGHTS: &[u8] = include_bytes!("../../weights/image-text-lite0-minilm.safetensors");

/// Pictures in one pass through the heads.
const BATCH: usize = 256;

/// The picture's half.
pub struct ImageTextEncoder {
    spec: EncoderSpec,
    under: Box<dyn Encoder>,
    heads: Heads,
    device: Device,
}

/// The sentence's half.
pub struct TextHalf {
    spec: EncoderSpec,
    under: MiniLm,
    heads: Heads,
    device: Device,
}

/// The heads in a file or, without one, those in the program; and their hash.
fn heads(file: Option<&Path>) -> Result<(Heads, String, Device), EncoderError> {
    let own;
    let bytes = match file {
        None => WEIGHTS,
        Some(path) => {
            own = std::fs::read(path).map_err(|error| {
                EncoderError::Other(format!("cannot read weights {}: {error}", path.display()))
            })?;
            &own
        }
    };
    // They are small: a graphics adapter would spend its time on the way there.
    let device = DeviceChoice::Cpu.burn_device()?;
    let dict = StateDict::from_safetensors(bytes)?;
    let heads = Heads::from_state_dict(&dict, &HeadsSize::DEFAULT, &device)?;
    Ok((heads, hex(&Sha256::digest(bytes)), device))
}

fn spec(heads_hash: &str, pictures: &EncoderSpec) -> EncoderSpec {
    EncoderSpec {
        name: NAME.into(),
        dim: HeadsSize::DEFAULT.common,
        fingerprint: Fingerprint::new(NAME)
            .field("heads", heads_hash)
            .field("pictures", &pictures.fingerprint)
            .field("sentences", MINI_LM_WEIGHTS.sha256)
            .finish(),
    }
}

impl ImageTextEncoder {
    /// With the heads of a file, or the program's own.
    ///
    /// # Errors
    /// Missing or wrong weights; a device that is not there.
    pub fn open(device: DeviceChoice, weights: Option<&Path>) -> Result<Self, EncoderError> {
        let under = crate::open::open(PICTURE_ENCODER, device)?;
        let (heads, hash, device) = heads(weights)?;
        Ok(Self {
            spec: spec(&hash, under.spec()),
            under,
            heads,
            device,
        })
    }

    /// Features of [`PICTURE_ENCODER`] that are already there, `[rows, dim of that encoder]`, put into the common space.
    ///
    /// # Errors
    /// [`EncoderError::Other`] for features of another width.
    pub fn embed_taps(&self, taps: &Features) -> Result<Features, EncoderError> {
        let expected = self.under.spec().dim;
        if !taps.is_empty() && taps.dim() != expected {
            return Err(EncoderError::Other(format!(
                "features are {} wide, those of {PICTURE_ENCODER} are {expected}",
                taps.dim()
            )));
        }
        through(taps, self.spec.dim, &self.device, |x| self.heads.image(x))
    }
}

impl TextHalf {
    /// With the heads of a file, or the program's own.
    ///
    /// # Errors
    /// As [`ImageTextEncoder::open`].
    pub fn open(device: DeviceChoice, weights: Option<&Path>) -> Result<Self, EncoderError> {
        // The other half's frozen network is opened too: its fingerprint is part of the pair's.
        let pictures = crate::open::open(PICTURE_ENCODER, device)?;
        let under = MiniLm::open(device)?;
        let (heads, hash, device) = heads(weights)?;
        Ok(Self {
            spec: spec(&hash, pictures.spec()),
            under,
            heads,
            device,
        })
    }
}

/// Rows through one of the heads.
fn through(
    rows: &Features,
    dim: usize,
    device: &Device,
    head: impl Fn(Tensor<2>) -> Tensor<2>,
) -> Result<Features, EncoderError> {
    if rows.is_empty() {
        return Ok(Features::default());
    }
    let mut found = Vec::with_capacity(rows.len() * dim);
    for part in rows.as_slice().chunks(BATCH * rows.dim()) {
        let data = TensorData::new(part.to_vec(), [part.len() / rows.dim(), rows.dim()]);
        found.extend(values(head(Tensor::from_data(data, device)))?);
    }
    Ok(Features::new(dim, found))
}

impl Encoder for ImageTextEncoder {
    fn spec(&self) -> &EncoderSpec {
        &self.spec
    }

    fn encode(&mut self, frames: &[RgbImage]) -> Result<Features, EncoderError> {
        let taps = self.under.encode(frames)?;
        self.embed_taps(&taps)
    }
}

impl TextEncoder for TextHalf {
    fn spec(&self) -> &EncoderSpec {
        &self.spec
    }

    fn encode_text(&mut self, sentences: &[&str]) -> Result<Features, EncoderError> {
        let meanings = self.under.encode_text(sentences)?;
        through(&meanings, self.spec.dim, &self.device, |x| {
            self.heads.text(x)
        })
    }
}
