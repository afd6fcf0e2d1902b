//! [`Tokens`]: sentences to the numbers that CLIP and SigLIP read.

use std::path::Path;

use instant_clip_tokenizer::{Token, Tokenizer as ClipTokenizer};
use tokenizers::{NormalizedString, Tokenizer};

use super::config::{Family, PairConfig};
use crate::encoder::EncoderError;
use crate::sentence::read_tokenizer;

/// A tokenizer of one of the families.
pub struct Tokens {
    rules: Rules,
    family: Family,
    longest: usize,
    vocabulary: usize,
}

enum Rules {
    /// CLIP's byte pairs, whose vocabulary comes with the program.
    Clip(Box<ClipTokenizer>),
    /// A `tokenizer.json`.
    File(Box<Tokenizer>),
}

/// What SigLIP fills a sentence up with: its end mark.
const SIGLIP_END: u32 = 1;

/// What Python's `string.punctuation` holds; SigLIP's authors strike it out.
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

impl Tokens {
    /// By the rules in `file`; without one, by CLIP's own, which are the same for every CLIP with a vocabulary of 49,408.
    ///
    /// # Errors
    /// [`EncoderError::Other`] for a file that is no tokenizer, and without one where CLIP's rules do not fit.
    pub fn new(config: &PairConfig, file: Option<&Path>) -> Result<Self, EncoderError> {
        let rules = match file {
            Some(file) => Rules::File(Box::new(read_tokenizer(file)?)),
            None if config.family == Family::Clip && config.sentence.vocabulary == 49_408 => {
                Rules::Clip(Box::new(ClipTokenizer::new()))
            }
            None => {
                return Err(EncoderError::Other(
                    "there is no tokenizer.json beside the weights, and the built-in rules are CLIP's; add the file of the same model".into(),
                ));
            }
        };
        Ok(Self {
            rules,
            family: config.family,
            longest: config.sentence.positions,
            vocabulary: config.sentence.vocabulary,
        })
    }

    /// The numbers of a sentence. CLIP: start mark, tokens, end mark, at most as many as there are positions. SigLIP: tokens
    /// and end mark, filled up with end marks to exactly as many.
    ///
    /// # Errors
    /// [`EncoderError::Other`] for a sentence that the rules cannot read, or a number beyond the vocabulary.
    pub fn ids(&self, sentence: &str) -> Result<Vec<u32>, EncoderError> {
        let mut ids = match &self.rules {
            Rules::Clip(rules) => {
                let mut normal = NormalizedString::from(sentence);
                normal.nfc();
                let mut tokens = vec![rules.start_of_text()];
                rules.encode(normal.get(), &mut tokens);
                tokens.push(rules.end_of_text());
                tokens
                    .into_iter()
                    .map(|token: Token| u32::from(token.to_u16()))
                    .collect()
            }
            Rules::File(rules) => {
                let text = match self.family {
                    Family::Clip => sentence.to_owned(),
                    Family::Siglip => canonical(sentence),
                };
                let encoding = rules.encode_fast(text, true).map_err(|error| {
                    EncoderError::Other(format!("cannot read the sentence {sentence:?}: {error}"))
                })?;
                encoding.get_ids().to_vec()
            }
        };
        if self.family == Family::Siglip && ids.last() != Some(&SIGLIP_END) {
            ids.push(SIGLIP_END);
        }
        if let Some(&end) = ids.last().filter(|_| ids.len() > self.longest) {
            ids.truncate(self.longest - 1);
            ids.push(end);
        }
        if self.family == Family::Siglip {
            ids.resize(self.longest, SIGLIP_END);
        }
        match ids.iter().find(|&&id| id as usize >= self.vocabulary) {
            Some(id) => Err(EncoderError::Other(format!(
                "the tokenizer gives number {id} where the model knows {}; they are not of one model",
                self.vocabulary
            ))),
            None => Ok(ids),
        }
    }
}

/// Lower case, without punctuation, single spaces.
fn canonical(text: &str) -> String {
    let bare: String = text
        .to_lowercase()
        .chars()
        .filter(|c| !PUNCTUATION.contains(*c))
        .collect();
    bare.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip() -> Tokens {
        let config = PairConfig::from_hugging_face(r#"{"model_type": "clip"}"#).unwrap();
        Tokens::new(&config, None).unwrap()
    }

    #[test]
    fn a_sentence_has_openais_numbers() {
        assert_eq!(
            clip().ids("a photo of a cat").unwrap(),
            [49406, 320, 1125, 539, 320, 2368, 49407]
        );
        assert_eq!(clip().ids("").unwrap(), [49406, 49407]);
    }

    #[test]
    fn a_long_sentence_is_cut_and_keeps_its_end_mark() {
        let ids = clip().ids(&"cat ".repeat(200)).unwrap();
        assert_eq!((ids.len(), ids[76], ids[75]), (77, 49407, 2368));
    }

    #[test]
    fn siglips_text_is_bare_and_in_lower_case() {
        assert_eq!(
            canonical("  A cat's  photo, (indoors)! "),
            "a cats photo indoors"
        );
    }

    #[test]
    fn siglip_without_its_file_says_which_one_is_missing() {
        let config = PairConfig::from_hugging_face(r#"{"model_type": "siglip"}"#).unwrap();
        let message = Tokens::new(&config, None).err().unwrap().to_string();
        assert!(message.contains("tokenizer.json"), "{message}");
    }
}
