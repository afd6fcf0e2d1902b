//! Frames to rewards: an encoder and a learned reward, together.

use image::RgbImage;
use rapport::perception::{Encoder, Features};
use rapport::reward::{Clip, Context, RewardModel, Signal};

/// Gives every frame of an episode its learned reward.
pub struct Labeller {
    encoder: Box<dyn Encoder>,
    model: Box<dyn RewardModel>,
    fps: f64,
}

impl Labeller {
    /// A labeller for pictures taken `fps` times a second.
    pub fn new(encoder: Box<dyn Encoder>, model: Box<dyn RewardModel>, fps: f64) -> Self {
        Self {
            encoder,
            model,
            fps,
        }
    }

    /// Encodes one frame, for loops that do it as they go.
    pub fn encode(&mut self, frames: &[RgbImage]) -> anyhow::Result<Features> {
        Ok(self.encoder.encode(frames)?)
    }

    /// Rewards of frames `[time]`, in units of one step: a sum over the episode does not depend on its length.
    pub fn label(&mut self, frames: &[RgbImage]) -> anyhow::Result<Signal> {
        let features = self.encoder.encode(frames)?;
        self.score(features)
    }

    /// The same for features that are already there.
    pub fn score(&self, features: Features) -> anyhow::Result<Signal> {
        Ok(self.model.score(
            &Clip::from_features(features, self.fps),
            &Context::default(),
        )?)
    }
}
