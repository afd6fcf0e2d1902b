//! [`GoalDistance`]: reward from the distance to goal frames, as in XIRL (arXiv 2106.03911).

use rapport_perception::{EncoderSpec, Features};
use serde::{Deserialize, Serialize};

use crate::model::{Clip, Context, RewardError, RewardModel, Signal, check_features};
use crate::store::{Parts, StoredReward, Tensor, Tensors, to_toml};
use crate::transport::{Cost, CostMatrix, Points};

/// What stands for several goal frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// Their mean, as XIRL does.
    #[default]
    Mean,
    /// Whichever is nearest to the frame in question.
    Nearest,
}

/// Settings of a [`GoalDistance`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GoalDistanceConfig {
    /// What stands for several goal frames.
    pub goal: Goal,
    /// How far a frame is from the goal.
    pub cost: Cost,
    /// The distance is multiplied by this (XIRL's κ). See [`GoalDistance::fit_scale`].
    pub scale: f64,
}

impl Default for GoalDistanceConfig {
    fn default() -> Self {
        Self {
            goal: Goal::Mean,
            cost: Cost::Euclidean,
            scale: 1.0,
        }
    }
}

/// `r_t = -κ d(x_t, goal)`.
#[derive(Clone, Debug)]
pub struct GoalDistance {
    config: GoalDistanceConfig,
    encoder: EncoderSpec,
    goals: Points,
    /// What frames are compared with: the goals, or their mean.
    targets: Points,
}

impl GoalDistance {
    pub(crate) const KIND: &str = "goal-distance";

    /// A reward for looking like `goals`, `[frames, encoder.dim]`. Fails without goal frames, on another width, and on values
    /// that are not finite.
    pub fn new(
        encoder: &EncoderSpec,
        goals: &Features,
        config: GoalDistanceConfig,
    ) -> Result<Self, RewardError> {
        check_features(goals, encoder)?;
        if !config.scale.is_finite() {
            return Err(RewardError::Other(format!(
                "the scale of a goal reward is {}; give a finite number",
                config.scale
            )));
        }
        let goals = Points::from(goals);
        let targets = match config.goal {
            Goal::Nearest => goals.clone(),
            Goal::Mean => {
                let mut mean = vec![0.0; goals.dim()];
                for t in 0..goals.len() {
                    for (m, v) in mean.iter_mut().zip(goals.row(t)) {
                        *m += v / goals.len() as f64;
                    }
                }
                Points::new(goals.dim(), mean)
            }
        };
        Ok(Self {
            config,
            encoder: encoder.clone(),
            goals,
            targets,
        })
    }

    /// The settings.
    pub fn settings(&self) -> &GoalDistanceConfig {
        &self.config
    }

    /// Distance of every frame to the goal, unscaled, `[time]`.
    pub fn distances(&self, features: &Features) -> Result<Vec<f64>, RewardError> {
        check_features(features, &self.encoder)?;
        let cost = CostMatrix::between(&Points::from(features), &self.targets, self.config.cost)?;
        Ok((0..cost.rows())
            .map(|t| cost.row(t).iter().copied().fold(f64::INFINITY, f64::min))
            .collect())
    }

    /// Sets the scale to 1 over the mean distance of frames at which an episode begins, so that rewards start near -1.
    pub fn fit_scale(&mut self, starts: &Features) -> Result<(), RewardError> {
        let distances = self.distances(starts)?;
        let mean = distances.iter().sum::<f64>() / distances.len() as f64;
        if mean > f64::EPSILON {
            self.config.scale = 1.0 / mean;
        }
        Ok(())
    }

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        let config = parts.config()?;
        let goals = parts.tensor("goals")?.to_features()?;
        Ok(Box::new(Self::new(&parts.encoder, &goals, config)?))
    }
}

impl RewardModel for GoalDistance {
    fn score(&self, clip: &Clip, _: &Context) -> Result<Signal, RewardError> {
        let distances = self.distances(&clip.features)?;
        Ok(Signal::new(
            distances.iter().map(|d| -self.config.scale * d).collect(),
        ))
    }

    fn causal(&self) -> bool {
        true
    }
}

impl StoredReward for GoalDistance {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        to_toml(&self.config).and_then(crate::store::table)
    }

    fn tensors(&self) -> Result<Tensors, RewardError> {
        Ok(Tensors::from([(
            "goals".into(),
            Tensor::from_points(&self.goals),
        )]))
    }
}
