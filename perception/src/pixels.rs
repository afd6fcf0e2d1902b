//! [`PixelsEncoder`]: the picture itself as features, the baseline that every encoder has to beat.

use image::RgbImage;

use crate::encoder::{Encoder, EncoderError, EncoderSpec};
use crate::features::Features;
use crate::fingerprint::Fingerprint;
use crate::preprocess::{Preprocess, Preprocessor};

/// The resized picture, `[row, column, colour]`, in -1..=1.
pub struct PixelsEncoder {
    spec: EncoderSpec,
    preprocessor: Preprocessor,
}

impl PixelsEncoder {
    /// With the size and fit given.
    pub fn new(preprocess: Preprocess) -> Self {
        let side = preprocess.size as usize;
        Self {
            spec: EncoderSpec {
                name: format!("pixels@{preprocess}"),
                dim: side * side * 3,
                fingerprint: Fingerprint::new("pixels")
                    .field("layout", "row,column,channel")
                    .field("preprocess", &preprocess.description())
                    .finish(),
            },
            preprocessor: Preprocessor::new(preprocess),
        }
    }
}

impl Encoder for PixelsEncoder {
    fn spec(&self) -> &EncoderSpec {
        &self.spec
    }

    fn encode(&mut self, frames: &[RgbImage]) -> Result<Features, EncoderError> {
        let mut values = Vec::with_capacity(frames.len() * self.spec.dim);
        for frame in frames {
            let square = self.preprocessor.square(frame)?;
            values.extend(square.iter().map(|&byte| Preprocess::normalize(byte)));
        }
        Ok(Features::new(self.spec.dim, values))
    }
}
