//! [`MiniLm`]: tokenizer, network and pooling behind [`TextEncoder`].

use std::path::Path;

use tokenizers::Tokenizer;

use super::bert::{Bert, BertSize};
use crate::device::DeviceChoice;
use crate::encoder::{EncoderError, EncoderSpec};
use crate::features::Features;
use crate::fingerprint::Fingerprint;
use crate::state_dict::StateDict;
use crate::text::{TextEncoder, by_length};
use crate::transformer::values;
use crate::weights::{MINI_LM_TOKENIZER, MINI_LM_WEIGHTS, VerifiedFile};

/// The name on the command line.
pub const NAME: &str = "minilm";

/// Tokens that a sentence is cut off at, the start and end marks included: what the model was trained for.
const LONGEST: usize = 128;

/// all-MiniLM-L6-v2 (Apache-2.0): sentences to unit vectors of 384 numbers, near each other when the sentences mean the same.
pub struct MiniLm {
    spec: EncoderSpec,
    network: Bert,
    tokenizer: Tokenizer,
}

impl MiniLm {
    /// With the pinned weights of the data directory.
    ///
    /// # Errors
    /// Missing or wrong weights; a device that is not there.
    pub fn open(device: DeviceChoice) -> Result<Self, EncoderError> {
        let device = device.burn_device()?;
        let (weights, tokenizer) = (MINI_LM_WEIGHTS.locate()?, MINI_LM_TOKENIZER.locate()?);
        let network = Bert::new(
            &StateDict::read(&weights.path)?,
            &BertSize::MINI_LM,
            &device,
        )?;
        Ok(Self {
            spec: Self::spec_of(&weights, &tokenizer),
            network,
            tokenizer: read_tokenizer(&tokenizer.path)?,
        })
    }

    fn spec_of(weights: &VerifiedFile, tokenizer: &VerifiedFile) -> EncoderSpec {
        EncoderSpec {
            name: NAME.into(),
            dim: BertSize::MINI_LM.blocks.width,
            fingerprint: Fingerprint::new(NAME)
                .field("weights", &weights.sha256)
                .field("tokenizer", &tokenizer.sha256)
                .field("pooling", "mean of tokens, unit length")
                .finish(),
        }
    }
}

/// A `tokenizer.json`, without the padding and the cut that it may ask for.
pub(crate) fn read_tokenizer(path: &Path) -> Result<Tokenizer, EncoderError> {
    let unusable = |error: tokenizers::Error| {
        EncoderError::Other(format!(
            "cannot use the tokenizer {}: {error}",
            path.display()
        ))
    };
    let mut tokenizer = Tokenizer::from_file(path).map_err(unusable)?;
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(unusable)?;
    Ok(tokenizer)
}

impl TextEncoder for MiniLm {
    fn spec(&self) -> &EncoderSpec {
        &self.spec
    }

    fn encode_text(&mut self, sentences: &[&str]) -> Result<Features, EncoderError> {
        let ids = sentences
            .iter()
            .map(|sentence| {
                let encoding = self
                    .tokenizer
                    .encode_fast(*sentence, true)
                    .map_err(|error| {
                        EncoderError::Other(format!(
                            "cannot read the sentence {sentence:?}: {error}"
                        ))
                    })?;
                let mut ids = encoding.get_ids().to_vec();
                if let Some(&end) = ids.last().filter(|_| ids.len() > LONGEST) {
                    ids.truncate(LONGEST - 1);
                    ids.push(end);
                }
                Ok(ids)
            })
            .collect::<Result<Vec<_>, EncoderError>>()?;
        by_length(&ids, self.spec.dim, |group| {
            values(self.network.meanings(group))
        })
    }
}
