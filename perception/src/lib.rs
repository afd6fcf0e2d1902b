//! Pixels to features: encoders, weights, preprocessing, feature cache.
//!
//! ```no_run
//! use rapport_perception::{DeviceChoice, open};
//!
//! # fn main() -> Result<(), rapport_perception::EncoderError> {
//! # let frames: Vec<image::RgbImage> = Vec::new();
//! let mut encoder = open("efficientnet-lite0:block10@112", DeviceChoice::Cpu)?;
//! let features = encoder.encode(&frames)?; // [frames.len(), 5488]
//! # Ok(())
//! # }
//! ```

pub mod cache;
pub mod device;
pub mod efficientnet;
pub mod encoder;
pub mod features;
mod files;
mod fingerprint;
mod hub;
pub mod image_text;
pub mod open;
pub mod pca;
pub mod pixels;
pub mod preprocess;
pub mod sentence;
pub mod state_dict;
pub mod text;
pub mod towers;
pub mod transformer;
pub mod weights;

pub use cache::{CachedEncoder, FeatureCache, FeatureCacheConfig};
pub use device::DeviceChoice;
pub use encoder::{Encoder, EncoderError, EncoderSpec};
pub use features::Features;
pub use open::{
    Adaptable, OpenOptions, adaptable, known_names, known_text_names, open, open_text,
    open_text_with, open_with,
};
pub use pca::{Pca, PcaConfig, PcaScale};
pub use text::TextEncoder;
pub use weights::data_dir;
