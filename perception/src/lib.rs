//! Pixels to features: encoders, weights, preprocessing, feature cache.

pub mod encoder;
pub mod features;

pub use encoder::{Encoder, EncoderError, EncoderSpec};
pub use features::Features;
