//! [`ExemplarMatch`]: the reward of single frames or clips for being like the exemplars.

use rapport_perception::{EncoderSpec, Features};

use super::{ExemplarConfig, ExemplarSet, ExemplarUnit};
use crate::model::{Clip, Context, RewardError, RewardModel, Signal, check_features};
use crate::store::{Parts, StoredReward, Tensor, Tensors};
use crate::transport::Points;

/// Reward of a clip's frames, or of a clip, by [`ExemplarSet::item_rewards`].
pub struct ExemplarMatch {
    encoder: EncoderSpec,
    set: ExemplarSet,
}

impl ExemplarMatch {
    pub(crate) const KIND: &str = "exemplars";

    /// For exemplar clips. Fails without any and on clips without frames, of another width or with values that are not
    /// finite.
    pub fn new(
        encoder: &EncoderSpec,
        exemplars: &[Features],
        config: &ExemplarConfig,
    ) -> Result<Self, RewardError> {
        let mut values = Vec::new();
        for clip in exemplars {
            check_features(clip, encoder)?;
            values.extend_from_slice(items(clip, config.unit).as_slice());
        }
        Self::of_items(encoder, &Points::new(encoder.dim, values), config)
    }

    fn of_items(
        encoder: &EncoderSpec,
        exemplars: &Points,
        config: &ExemplarConfig,
    ) -> Result<Self, RewardError> {
        Ok(Self {
            encoder: encoder.clone(),
            set: ExemplarSet::new(exemplars, config)?,
        })
    }

    /// The exemplars.
    pub fn set(&self) -> &ExemplarSet {
        &self.set
    }

    /// A clip's items: its frames, or their mean.
    pub fn items(&self, features: &Features) -> Result<Points, RewardError> {
        check_features(features, &self.encoder)?;
        Ok(items(features, self.set.config.unit))
    }

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        let config = parts.config()?;
        let exemplars = parts.tensor("exemplars")?.to_features()?;
        check_features(&exemplars, &parts.encoder)?;
        Ok(Box::new(Self::of_items(
            &parts.encoder,
            &Points::from(&exemplars),
            &config,
        )?))
    }
}

fn items(features: &Features, unit: ExemplarUnit) -> Points {
    let frames = Points::from(features);
    match unit {
        ExemplarUnit::Frame => frames,
        ExemplarUnit::Clip => {
            let mut mean = vec![0.0; frames.dim()];
            for t in 0..frames.len() {
                for (mean, x) in mean.iter_mut().zip(frames.row(t)) {
                    *mean += x / frames.len() as f64;
                }
            }
            Points::new(frames.dim(), mean)
        }
    }
}

impl RewardModel for ExemplarMatch {
    fn score(&self, clip: &Clip, _: &Context) -> Result<Signal, RewardError> {
        let mut rewards = self.set.item_rewards(&self.items(&clip.features)?)?;
        if self.set.config.unit == ExemplarUnit::Clip {
            let last = rewards[0];
            rewards = vec![0.0; clip.len()];
            rewards[clip.len() - 1] = last;
        }
        Ok(Signal::new(rewards))
    }

    fn causal(&self) -> bool {
        self.set.config.unit == ExemplarUnit::Frame
    }
}

impl StoredReward for ExemplarMatch {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        crate::store::to_toml(&self.set.config).and_then(crate::store::table)
    }

    fn tensors(&self) -> Result<Tensors, RewardError> {
        let exemplars = Tensor::from_points(&self.set.exemplars);
        Ok(Tensors::from([("exemplars".into(), exemplars)]))
    }
}
