//! EfficientNet-Lite0: a mobile convolutional network without squeeze-and-excitation, with ReLU6 throughout.
//!
//! Source: Tan and Le, "EfficientNet", ICML 2019, and the Lite variants of the TensorFlow `tpu` repository (width and depth
//! factors of B0, fixed stem and head, no attention). One table of facts ([`weights`]), two engines: [`cpu`] for speed on
//! processor cores, [`network`] as a Burn module for graphics adapters and for training. Both give the same features.

pub mod adapt;
pub mod cpu;
mod encoder;
pub mod network;
pub mod weights;

pub use adapt::{AdapterConfig, AdapterKind, Adapters, Tail};
pub use encoder::EfficientNetEncoder;
pub use weights::{Tap, Weights};
