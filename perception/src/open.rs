//! Encoders by name.
//!
//! A name is `MODEL:TAP@SIZE`, `pixels@SIZE`, or that of an image-text pair: `image-text:lite0-minilm`, `hf:OWNER/NAME` or `dir:PATH`, the
//! last two with `@squash` or `@crop` behind it where frames are to be squeezed in another way than usual. `SIZE` is the side of the square input in pixels; the whole frame is resized to it, or, with
//! `crop` behind it (`@224crop`), the centre is cut out as ImageNet classifiers do; with `centre`, as CLIP does.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::device::DeviceChoice;
use crate::efficientnet::cpu::Kernels;
use crate::efficientnet::{EfficientNetEncoder, Tail, Tap};
use crate::encoder::{Encoder, EncoderError};
use crate::image_text::{self, ImageTextEncoder, TextHalf};
use crate::pixels::PixelsEncoder;
use crate::preprocess::{Fit, Preprocess};
use crate::sentence::{self, MiniLm};
use crate::text::TextEncoder;
use crate::towers::{PicturesOfPair, SentencesOfPair, Source};

/// Sizes that make sense: below, the deepest taps see a single place; above, one frame needs gigabytes.
const SIZES: std::ops::RangeInclusive<u32> = 8..=2048;

/// Names worth offering, for `--help` and error messages. Taps `stem`, `block0` to `block15`, `pooled` and `logits` and any size from
/// 8 to 2048 work too.
pub fn known_names() -> &'static [&'static str] {
    &[
        "efficientnet-lite0:block10@112",
        "efficientnet-lite0:block4@112",
        "efficientnet-lite0:pooled@224",
        "efficientnet-lite0:logits@224crop",
        "pixels@32",
        image_text::NAME,
        "hf:openai/clip-vit-base-patch32",
        "hf:google/siglip-base-patch16-224",
    ]
}

/// How to open an encoder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenOptions {
    /// Where it computes.
    pub device: DeviceChoice,
    /// Weights to use instead of the pinned ones in the data directory: `.pth`, `.pt` or `.safetensors` of the same architecture;
    /// the heads, for the image-text model.
    pub weights: Option<PathBuf>,
}

/// Opens the encoder of this name with the pinned weights.
///
/// # Errors
/// [`EncoderError::UnknownEncoder`] listing the known names; missing or wrong weights; a device that is not there.
pub fn open(name: &str, device: DeviceChoice) -> Result<Box<dyn Encoder>, EncoderError> {
    open_with(
        name,
        &OpenOptions {
            device,
            weights: None,
        },
    )
}

/// Opens the encoder of this name.
///
/// # Errors
/// As [`open`]. Weights that the user names are hashed, not compared with a pin.
pub fn open_with(name: &str, options: &OpenOptions) -> Result<Box<dyn Encoder>, EncoderError> {
    if let Ok(source) = name.parse::<Source>() {
        return Ok(Box::new(PicturesOfPair::open(&source, options.device)?));
    }
    match name.parse()? {
        EncoderName::Pixels(preprocess) => Ok(Box::new(PixelsEncoder::new(preprocess))),
        EncoderName::ImageText => Ok(Box::new(ImageTextEncoder::open(
            options.device,
            options.weights.as_deref(),
        )?)),
        EncoderName::EfficientNetLite0(tap, preprocess) => {
            // The device first: it fails without reading weights.
            let burn_device = match options.device {
                DeviceChoice::Cpu => None,
                DeviceChoice::Wgpu => Some(options.device.burn_device()?),
            };
            let (weights, file) = EfficientNetEncoder::load_weights(options.weights.as_deref())?;
            Ok(Box::new(match burn_device {
                None => {
                    EfficientNetEncoder::on_cpu(&weights, &file, tap, preprocess, Kernels::detect())
                }
                Some(device) => {
                    EfficientNetEncoder::on_burn(&weights, &file, tap, preprocess, &device)
                }
            }))
        }
    }
}

/// Names of text encoders worth offering.
pub fn known_text_names() -> &'static [&'static str] {
    &[
        image_text::NAME,
        "hf:openai/clip-vit-base-patch32",
        "hf:google/siglip-base-patch16-224",
        sentence::NAME,
    ]
}

/// Opens the text encoder of this name with the pinned weights: the text half of an image-text pair, or one of sentences alone.
///
/// # Errors
/// As [`open`].
pub fn open_text(name: &str, device: DeviceChoice) -> Result<Box<dyn TextEncoder>, EncoderError> {
    let weights = None;
    open_text_with(name, &OpenOptions { device, weights })
}

/// Opens the text encoder of this name.
///
/// # Errors
/// As [`open_with`].
pub fn open_text_with(
    name: &str,
    options: &OpenOptions,
) -> Result<Box<dyn TextEncoder>, EncoderError> {
    if let Ok(source) = name.parse::<Source>() {
        return Ok(Box::new(SentencesOfPair::open(&source, options.device)?));
    }
    match name {
        image_text::NAME => Ok(Box::new(TextHalf::open(
            options.device,
            options.weights.as_deref(),
        )?)),
        sentence::NAME => Ok(Box::new(MiniLm::open(options.device)?)),
        _ => Err(EncoderError::UnknownEncoder {
            name: format!("{name}, which should read sentences"),
            known: known_text_names().join(", "),
        }),
    }
}

/// An encoder whose last blocks are to be adapted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adaptable {
    /// Name of the encoder whose features the adapted blocks take.
    pub below: String,
    /// The tap of the whole.
    pub tap: Tap,
    /// Side of its pictures.
    pub size: usize,
}

/// Takes the last `blocks` blocks off an encoder: what lies below never changes and can be encoded once.
///
/// # Errors
/// [`EncoderError::UnknownEncoder`]; [`EncoderError::Other`] for an encoder that cannot be adapted.
pub fn adaptable(name: &str, blocks: usize) -> Result<Adaptable, EncoderError> {
    match name.parse()? {
        EncoderName::EfficientNetLite0(tap, preprocess) => Ok(Adaptable {
            below: format!(
                "efficientnet-lite0:{}@{preprocess}",
                Tail::below(tap, blocks)?
            ),
            tap,
            size: preprocess.size as usize,
        }),
        EncoderName::Pixels(_) | EncoderName::ImageText => Err(EncoderError::Other(format!(
            "{name} has nothing to adapt; use an efficientnet-lite0 encoder"
        ))),
    }
}

/// A parsed name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EncoderName {
    EfficientNetLite0(Tap, Preprocess),
    Pixels(Preprocess),
    ImageText,
}

impl FromStr for EncoderName {
    type Err = EncoderError;

    fn from_str(name: &str) -> Result<Self, EncoderError> {
        let unknown = || EncoderError::UnknownEncoder {
            name: name.into(),
            known: known_names().join(", "),
        };
        if name == image_text::NAME {
            return Ok(Self::ImageText);
        }
        let (model, preprocess) = name.split_once('@').ok_or_else(unknown)?;
        let preprocess: Preprocess = preprocess.parse().map_err(|()| unknown())?;
        if model == "pixels" {
            return Ok(Self::Pixels(preprocess));
        }
        let tap = model
            .strip_prefix("efficientnet-lite0:")
            .ok_or_else(unknown)?;
        Ok(Self::EfficientNetLite0(
            tap.parse().map_err(|()| unknown())?,
            preprocess,
        ))
    }
}

impl fmt::Display for Preprocess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fit = match self.fit {
            Fit::Stretch => "",
            Fit::Crop => "crop",
            Fit::Centre => "centre",
        };
        write!(f, "{}{fit}", self.size)
    }
}

impl FromStr for Preprocess {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (size, fit) = if let Some(size) = text.strip_suffix("crop") {
            (size, Fit::Crop)
        } else if let Some(size) = text.strip_suffix("centre") {
            (size, Fit::Centre)
        } else {
            (text, Fit::Stretch)
        };
        let preprocess = Self {
            size: size.parse().map_err(|_| ())?,
            fit,
        };
        // One spelling a size: no `@0112`.
        (SIZES.contains(&preprocess.size) && preprocess.to_string() == text)
            .then_some(preprocess)
            .ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_parses() {
        for name in known_names() {
            assert!(
                name.parse::<EncoderName>().is_ok() || name.parse::<Source>().is_ok(),
                "{name}"
            );
        }
    }

    #[test]
    fn what_lies_below_adapted_blocks_is_an_encoder_itself() {
        let found = adaptable("efficientnet-lite0:block10@112", 2).unwrap();
        assert_eq!(found.below, "efficientnet-lite0:block8@112");
        assert_eq!((found.tap, found.size), (Tap::Block(10), 112));
        assert!(found.below.parse::<EncoderName>().is_ok());
        for wrong in ["pixels@32", "efficientnet-lite0:pooled@224", "clip"] {
            assert!(adaptable(wrong, 2).is_err());
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        for wrong in [
            "clip",
            "efficientnet-lite0:block10",
            "efficientnet-lite0:block16@112",
            "pixels@0",
            "pixels@032",
            "pixels@9999",
        ] {
            let message = open(wrong, DeviceChoice::Cpu).err().unwrap().to_string();
            assert!(
                message.contains(wrong) && message.contains("pixels@32"),
                "{message}"
            );
        }
    }

    #[test]
    fn pixels_need_no_weights_and_keep_the_order_of_the_picture() {
        let mut encoder = open("pixels@32", DeviceChoice::Cpu).unwrap();
        let frame = image::RgbImage::from_fn(32, 32, |x, y| image::Rgb([x as u8, y as u8, 255]));
        let features = encoder.encode(&[frame.clone(), frame]).unwrap();
        assert_eq!((features.len(), features.dim()), (2, 32 * 32 * 3));
        let expected: Vec<f32> = [5, 3, 255].map(Preprocess::normalize).to_vec();
        assert_eq!(features.row(1)[(3 * 32 + 5) * 3..][..3], expected);
    }

    #[test]
    fn a_named_weights_file_that_is_missing_is_reported() {
        let options = OpenOptions {
            weights: Some("no/such/file.pth".into()),
            ..OpenOptions::default()
        };
        let error = open_with("efficientnet-lite0:pooled@224", &options)
            .err()
            .unwrap();
        assert!(
            matches!(error, EncoderError::MissingWeights { .. }),
            "{error}"
        );
    }
}
