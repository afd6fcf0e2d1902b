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

/// Sentences in one forward pass: bounds the memory of a long list.
const BATCH: usize = 32;

/// Embeds tokenised sentences in groups of one length, so that none needs padding, and puts the rows back in order.
pub(crate) fn by_length(
    sentences: &[Vec<u32>],
    dim: usize,
    mut embed: impl FnMut(&[&[u32]]) -> Result<Vec<f32>, EncoderError>,
) -> Result<Features, EncoderError> {
    if sentences.is_empty() {
        return Ok(Features::default());
    }
    let mut order: Vec<usize> = (0..sentences.len()).collect();
    order.sort_by_key(|&i| sentences[i].len());
    let mut rows = vec![0.0; sentences.len() * dim];
    for group in order.chunk_by(|&a, &b| sentences[a].len() == sentences[b].len()) {
        for part in group.chunks(BATCH) {
            let ids: Vec<&[u32]> = part.iter().map(|&i| &*sentences[i]).collect();
            let values = embed(&ids)?;
            for (&i, row) in part.iter().zip(values.chunks_exact(dim)) {
                rows[i * dim..(i + 1) * dim].copy_from_slice(row);
            }
        }
    }
    Ok(Features::new(dim, rows))
}
