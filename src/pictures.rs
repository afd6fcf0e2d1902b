//! Policies that see: an observation is the arm's own numbers and the features of a picture.

use std::collections::BTreeMap;

use anyhow::Context as _;
use image::RgbImage;
use rapport::perception::efficientnet::Tap;
use rapport::perception::{DeviceChoice, Encoder};
use rapport::policy::PolicySpec;
use serde::{Deserialize, Serialize};

use crate::practice::{Outcome, Practice};

/// Where a policy's description says how it sees.
const KEY: &str = "pictures";

/// What a policy is told of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// The features of every place, place by place.
    #[default]
    Grid,
    /// Where each feature is: the mean place under the softmax of its values over the picture, across and down, from -1 to 1
    /// (spatial softmax; Levine et al. 2016, arXiv:1504.00702). Features without places stay as they are.
    Keypoints,
}

/// How a policy sees; kept with the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureSpec {
    /// The encoder of pictures.
    pub encoder: String,
    /// Size of the pictures it was trained on, so that practice draws them alike.
    pub size: (u32, u32),
    /// Leading numbers of an observation that the policy knows besides: the arm's own. Where the objects are it must see.
    pub own: usize,
    /// What it is told of a picture.
    #[serde(default)]
    pub reading: Reading,
}

impl PictureSpec {
    /// How a policy sees, if it does.
    pub fn of(spec: &PolicySpec) -> anyhow::Result<Option<Self>> {
        match spec.action_space.get(KEY) {
            None => Ok(None),
            Some(value) => Ok(Some(
                serde_json::from_value(value.clone()).context("how the policy sees")?,
            )),
        }
    }

    /// The same policy, seeing: observations are `own` numbers and `dim` of the picture.
    pub fn describe(&self, spec: &PolicySpec, dim: usize) -> anyhow::Result<PolicySpec> {
        let mut seeing = PolicySpec {
            observation_dim: self.own + self.read(&vec![0.0; dim]).len(),
            observation_names: Vec::new(),
            ..spec.clone()
        };
        seeing.action_space[KEY] = serde_json::to_value(self)?;
        Ok(seeing)
    }

    /// What the policy is told of a picture with these features.
    pub fn read(&self, features: &[f32]) -> Vec<f32> {
        let (places, channels) = self.grid(features.len());
        match self.reading {
            Reading::Keypoints if places > 1 => keypoints(features, channels),
            _ => features.to_vec(),
        }
    }

    /// The picture's features as a grid: how many tokens, and numbers of a token. A network's inner layers give a vector for each
    /// place in the picture, everything else one for the whole picture.
    pub fn grid(&self, dim: usize) -> (usize, usize) {
        let tap = self
            .encoder
            .split_once(':')
            .and_then(|(_, tap)| tap.split('@').next())
            .and_then(|tap| tap.parse::<Tap>().ok());
        let channels = tap.map_or(dim, |tap| tap.shape(224).2);
        if dim.is_multiple_of(channels) {
            (dim / channels, channels)
        } else {
            (1, dim)
        }
    }
}

/// Mean place of each channel of a square grid `[places, channels]`, under the softmax of its values: `[channels, 2]`.
fn keypoints(grid: &[f32], channels: usize) -> Vec<f32> {
    let places = grid.len() / channels;
    let side = places.isqrt();
    let place = |at: usize| -1.0 + 2.0 * at as f32 / (side.max(2) - 1) as f32;
    let mut found = Vec::with_capacity(2 * channels);
    for channel in 0..channels {
        let values = grid.iter().skip(channel).step_by(channels);
        let most = values.clone().copied().fold(f32::NEG_INFINITY, f32::max);
        let (mut total, mut across, mut down) = (0.0, 0.0, 0.0);
        for (at, value) in values.enumerate() {
            let weight = (value - most).exp();
            total += weight;
            across += weight * place(at % side);
            down += weight * place(at / side);
        }
        found.extend([across / total, down / total]);
    }
    found
}

/// A policy's eye.
pub struct Eye {
    spec: PictureSpec,
    encoder: Box<dyn Encoder>,
}

impl Eye {
    /// The eye of a policy that sees.
    pub fn of(spec: &PolicySpec, device: DeviceChoice) -> anyhow::Result<Option<Self>> {
        let Some(spec) = PictureSpec::of(spec)? else {
            return Ok(None);
        };
        let encoder = rapport::perception::open(&spec.encoder, device)?;
        Ok(Some(Self { spec, encoder }))
    }

    /// How it sees.
    pub fn spec(&self) -> &PictureSpec {
        &self.spec
    }

    /// What the policy gets to know of a whole observation and a picture.
    pub fn observe(&mut self, whole: &[f32], picture: RgbImage) -> anyhow::Result<Vec<f32>> {
        let own = whole
            .get(..self.spec.own)
            .context("the observation is shorter than what the policy knows of the arm")?;
        let mut seen = own.to_vec();
        let features = self.encoder.encode(&[picture])?;
        seen.extend(self.spec.read(features.as_slice()));
        Ok(seen)
    }
}

/// Practice through an eye.
pub struct SeenPractice<'a> {
    /// What is seen.
    pub practice: &'a mut dyn Practice,
    /// What sees.
    pub eye: Eye,
}

impl Practice for SeenPractice<'_> {
    fn reset(&mut self, seed: u64) -> anyhow::Result<Vec<f32>> {
        let whole = self.practice.reset(seed)?;
        self.eye.observe(&whole, self.practice.picture()?)
    }

    fn variation(&self) -> BTreeMap<String, f64> {
        self.practice.variation()
    }

    fn step(&mut self, action: &[f32]) -> anyhow::Result<Outcome> {
        let outcome = self.practice.step(action)?;
        let picture = self.practice.picture()?;
        Ok(Outcome {
            observation: self.eye.observe(&outcome.observation, picture)?,
            ..outcome
        })
    }

    fn picture(&mut self) -> anyhow::Result<RgbImage> {
        self.practice.picture()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_policy_sees_is_kept_with_it_and_the_grid_follows_the_encoder() {
        let pictures = PictureSpec {
            encoder: "efficientnet-lite0:block10@112".into(),
            size: (224, 224),
            own: 9,
            reading: Reading::Grid,
        };
        let mut blind = PolicySpec::new(14, 6);
        blind.action_space = serde_json::json!({ "task": "so101-push" });
        assert_eq!(PictureSpec::of(&blind).unwrap(), None);
        let seeing = pictures.describe(&blind, 5488).unwrap();
        assert_eq!(seeing.observation_dim, 9 + 5488);
        assert_eq!(seeing.action_space["task"], "so101-push");
        assert_eq!(PictureSpec::of(&seeing).unwrap().as_ref(), Some(&pictures));
        assert_eq!(pictures.grid(5488), (49, 112));
        let pixels = PictureSpec {
            encoder: "pixels@32".into(),
            ..pictures
        };
        assert_eq!(pixels.grid(3072), (1, 3072));
    }
    #[test]
    fn a_keypoint_is_where_its_feature_is() {
        // Three by three places, two channels: one in the upper right corner, one everywhere alike.
        let mut grid = vec![0.0; 18];
        grid[2 * 2] = 50.0;
        let found = keypoints(&grid, 2);
        let expected = [1.0, -1.0, 0.0, 0.0];
        assert!(
            found
                .iter()
                .zip(expected)
                .all(|(f, e)| (f - e).abs() < 1e-6)
        );
    }
}
