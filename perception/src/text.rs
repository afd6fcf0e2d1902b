//! The [`TextEncoder`] trait: sentences to the features of pictures.

use crate::encoder::{EncoderError, EncoderSpec};
use crate::features::Features;

/// Turns sentences into features.
///
/// A text encoder that is half of an image-text pair has the [`EncoderSpec`] of the image half, fingerprint included: where the
/// specs are equal, a sentence and a picture may be compared.
pub trait TextEncoder: Send {
    /// What this encoder is.
    fn spec(&self) -> &EncoderSpec;

    /// One row per sentence, `[sentences.len(), spec().dim]`. What is too long for the model is cut off, as its authors do.
    fn encode_text(&mut self, sentences: &[&str]) -> Result<Features, EncoderError>;
}
