//! Frames to rewards: an encoder and a learned reward, together.

use std::collections::BTreeMap;

use image::RgbImage;
use rapport::perception::{Encoder, Features};
use rapport::reward::{Clip, Context, RewardModel, Signal};

use crate::schema::{ACTION, STATE};

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

    /// Rewards of frames `[time]`, in units of one step: a sum over the episode does not depend on its length. `columns` are for
    /// rewards that read numbers; see [`columns`].
    pub fn label(
        &mut self,
        frames: &[RgbImage],
        columns: BTreeMap<String, Features>,
    ) -> anyhow::Result<Signal> {
        let clip = Clip {
            columns,
            ..Clip::from_features(self.encoder.encode(frames)?, self.fps)
        };
        Ok(self.model.score(&clip, &Context::default())?)
    }

    /// Rewards of features that are already there.
    pub fn score(&self, features: Features) -> anyhow::Result<Signal> {
        let clip = Clip::from_features(features, self.fps);
        Ok(self.model.score(&clip, &Context::default())?)
    }
}

/// The numbers of an episode as reward programs name them: `observation.state`, what was observed after each action, and `action`.
/// These are the policy's observations and actions, SI units and `-1..=1`, as in `rapport reward search --env`.
pub fn columns<'a>(
    steps: impl Iterator<Item = (&'a [f32], &'a [f32])>,
) -> BTreeMap<String, Features> {
    let (mut states, mut actions, mut widths) = (Vec::new(), Vec::new(), (0, 0));
    for (state, action) in steps {
        widths = (state.len(), action.len());
        states.extend_from_slice(state);
        actions.extend_from_slice(action);
    }
    [(STATE, widths.0, states), (ACTION, widths.1, actions)]
        .into_iter()
        .filter(|(_, width, _)| *width > 0)
        .map(|(name, width, values)| (name.to_owned(), Features::new(width, values)))
        .collect()
}
