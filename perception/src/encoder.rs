//! The [`Encoder`] trait: frames to features.

use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::features::Features;

/// What an encoder is: enough to check that features come from the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncoderSpec {
    /// Name on the command line (`efficientnet-lite0:block10@112`).
    pub name: String,
    /// Width of a feature row.
    pub dim: usize,
    /// SHA-256 over weights and preprocessing, in hexadecimal: two encoders with the same fingerprint give the same features.
    pub fingerprint: String,
}

/// Why frames could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    /// The weights are not on this machine.
    #[error("no weights at {path}; run `./x setup`, or name a file with --weights")]
    MissingWeights {
        /// Where they were looked for.
        path: String,
    },
    /// The weights are not the ones that were asked for.
    #[error("{path} has SHA-256 {found}, expected {expected}; delete it and run `./x setup`")]
    WrongHash {
        /// The file.
        path: String,
        /// Its hash.
        found: String,
        /// The pinned hash.
        expected: String,
    },
    /// There is no encoder of this name.
    #[error("unknown encoder `{name}`; known are {known}")]
    UnknownEncoder {
        /// What was asked for.
        name: String,
        /// Names that work, separated by commas.
        known: String,
    },
    /// The device is not there, or this program cannot use it.
    #[error("{0}")]
    Device(String),
    /// Anything else, in one sentence.
    #[error("{0}")]
    Other(String),
}

/// Turns images into features.
pub trait Encoder: Send {
    /// What this encoder is.
    fn spec(&self) -> &EncoderSpec;

    /// One row per frame: `[frames.len(), spec().dim]`. Frames may differ in size; each is preprocessed by the encoder.
    fn encode(&mut self, frames: &[RgbImage]) -> Result<Features, EncoderError>;
}
