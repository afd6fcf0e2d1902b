//! Sentences to vectors of meaning: all-MiniLM-L6-v2.
//!
//! A sentence encoder knows nothing of pictures; it is what the text half of [`image_text`](crate::image_text) stands on, and it tells
//! which of two tasks a sentence is about.

mod bert;
mod encoder;

pub use bert::{Bert, BertSize};
pub(crate) use encoder::read_tokenizer;
pub use encoder::{MiniLm, NAME};
