//! CLIP (arXiv 2103.00020) and SigLIP (arXiv 2303.15343): towers for pictures and for sentences with one common space.
//!
//! Weights are the user's: a folder in the layout of Hugging Face (`config.json`, `model.safetensors`, and for SigLIP
//! `tokenizer.json`) or of OpenCLIP (`open_clip_config.json`, `open_clip_model.safetensors`), or a repository on the Hugging Face hub.
//! The towers with a ResNet (RN50) are not here.

mod config;
mod encoder;
mod open_clip;
mod picture;
mod sentence;
mod tokens;

pub use config::{Family, PairConfig, PictureSize, SentenceSize};
pub use encoder::{PicturesOfPair, SentencesOfPair, Source, Squeeze};
pub use open_clip::to_hugging_face;
pub use picture::PictureTower;
pub use sentence::SentenceTower;
pub use tokens::Tokens;
