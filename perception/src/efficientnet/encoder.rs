//! [`EfficientNetEncoder`]: preprocessing, an engine and a tap behind the [`Encoder`] trait.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use rayon::prelude::*;

use super::cpu::{CpuNetwork, Kernels, Workspace};
use super::network::Network;
use super::weights::{Tap, Weights};
use crate::encoder::{Encoder, EncoderError, EncoderSpec};
use crate::features::Features;
use crate::fingerprint::Fingerprint;
use crate::preprocess::{Preprocess, Preprocessor};
use crate::state_dict::StateDict;
use crate::weights::{EFFICIENTNET_LITE0, VerifiedFile, hash_weights};

/// Frames in one forward pass of the Burn engine: bounds the memory of a long clip.
const BURN_BATCH: usize = 32;

/// EfficientNet-Lite0 up to a tap.
///
/// A feature row is the tap channel-last: `row * columns * channels + column * channels + channel`, so that the values of one
/// place lie together (112 px, block 10: 7 x 7 places of 112 channels, 5488 values).
pub struct EfficientNetEncoder {
    spec: EncoderSpec,
    preprocess: Preprocess,
    tap: Tap,
    engine: Engine,
}

enum Engine {
    Cpu {
        network: Box<CpuNetwork>,
        /// Idle workers; a frame takes one and puts it back, so no buffer is allocated per frame.
        idle: Mutex<Vec<Worker>>,
    },
    Burn {
        network: Box<Network>,
        device: Device,
        preprocessor: Box<Preprocessor>,
    },
}

struct Worker {
    preprocessor: Preprocessor,
    workspace: Workspace,
}

impl EfficientNetEncoder {
    /// The weights of this model: the pinned file in the data directory, or any compatible file that the user names.
    ///
    /// # Errors
    /// As [`crate::weights::PinnedFile::locate`] and [`StateDict::read`].
    pub fn load_weights(named: Option<&Path>) -> Result<(Weights, VerifiedFile), EncoderError> {
        let file = match named {
            Some(path) => hash_weights(path)?,
            None => EFFICIENTNET_LITE0.locate()?,
        };
        let weights = Weights::from_state_dict(&StateDict::read(&file.path)?)?;
        Ok((weights, file))
    }

    /// On processor cores, with the kernels given (normally [`Kernels::detect`]).
    pub fn on_cpu(
        weights: &Weights,
        file: &VerifiedFile,
        tap: Tap,
        preprocess: Preprocess,
        kernels: Kernels,
    ) -> Self {
        let engine = Engine::Cpu {
            network: Box::new(CpuNetwork::new(
                weights,
                preprocess.size as usize,
                tap,
                kernels,
            )),
            idle: Mutex::default(),
        };
        Self::with_engine(engine, file, tap, preprocess)
    }

    /// On any Burn device.
    pub fn on_burn(
        weights: &Weights,
        file: &VerifiedFile,
        tap: Tap,
        preprocess: Preprocess,
        device: &Device,
    ) -> Self {
        let engine = Engine::Burn {
            network: Box::new(Network::new(weights, device)),
            device: device.clone(),
            preprocessor: Box::new(Preprocessor::new(preprocess)),
        };
        Self::with_engine(engine, file, tap, preprocess)
    }

    fn with_engine(engine: Engine, file: &VerifiedFile, tap: Tap, preprocess: Preprocess) -> Self {
        let (rows, columns, channels) = tap.shape(preprocess.size as usize);
        let fingerprint = Fingerprint::new("efficientnet-lite0")
            .field("weights", &file.sha256)
            .field("tap", &tap.to_string())
            .field("layout", "row,column,channel")
            .field("preprocess", &preprocess.description())
            .finish();
        Self {
            spec: EncoderSpec {
                name: format!("efficientnet-lite0:{tap}@{preprocess}"),
                dim: rows * columns * channels,
                fingerprint,
            },
            preprocess,
            tap,
            engine,
        }
    }
}

impl Encoder for EfficientNetEncoder {
    fn spec(&self) -> &EncoderSpec {
        &self.spec
    }

    fn encode(&mut self, frames: &[RgbImage]) -> Result<Features, EncoderError> {
        let dim = self.spec.dim;
        let mut values = vec![0.0; frames.len() * dim];
        match &mut self.engine {
            Engine::Cpu { network, idle } => {
                let encode = |(frame, row): (&RgbImage, &mut [f32])| {
                    let taken = lock(idle).pop();
                    let mut worker = taken.unwrap_or_else(|| Worker {
                        preprocessor: Preprocessor::new(self.preprocess),
                        workspace: network.workspace(),
                    });
                    let square = worker.preprocessor.square(frame)?;
                    network.forward(square, &mut worker.workspace, row);
                    lock(idle).push(worker);
                    Ok(())
                };
                // One frame is not worth waking another thread.
                if let ([frame], row) = (frames, &mut *values) {
                    encode((frame, row))?;
                } else {
                    frames
                        .par_iter()
                        .zip(values.par_chunks_exact_mut(dim))
                        .try_for_each(encode)?;
                }
            }
            Engine::Burn {
                network,
                device,
                preprocessor,
            } => {
                for (frames, rows) in frames
                    .chunks(BURN_BATCH)
                    .zip(values.chunks_mut(BURN_BATCH * dim))
                {
                    let input = batch(frames, preprocessor, self.preprocess.size as usize, device)?;
                    // Channel-last, as the CPU engine gives.
                    let output = network
                        .forward(input, self.tap)
                        .permute([0, 2, 3, 1])
                        .into_data();
                    let output = output.as_slice::<f32>().map_err(|error| {
                        EncoderError::Other(format!(
                            "the device gave features of another type: {error}"
                        ))
                    })?;
                    rows.copy_from_slice(output);
                }
            }
        }
        Ok(Features::new(dim, values))
    }
}

fn lock(idle: &Mutex<Vec<Worker>>) -> std::sync::MutexGuard<'_, Vec<Worker>> {
    // A worker is only in the list while nobody uses it, so a panic elsewhere cannot have left it half written.
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Frames as `[batch, 3, size, size]` in -1..=1.
fn batch(
    frames: &[RgbImage],
    preprocessor: &mut Preprocessor,
    size: usize,
    device: &Device,
) -> Result<Tensor<4>, EncoderError> {
    let mut values = Vec::with_capacity(frames.len() * size * size * 3);
    for frame in frames {
        let square = preprocessor.square(frame)?;
        values.extend(square.iter().map(|&byte| Preprocess::normalize(byte)));
    }
    let data = TensorData::new(values, [frames.len(), size, size, 3]);
    Ok(Tensor::<4>::from_data(data, device).permute([0, 3, 1, 2]))
}
