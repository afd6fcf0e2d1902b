//! [`TransportMatch`]: reward from optimal transport to exemplar clips, as in RAPL and ROT.

use rapport_perception::{EncoderSpec, Features};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::model::{Clip, Context, RewardError, RewardModel, Signal, check_features};
use crate::store::{Parts, StoredReward, Tensor, Tensors, to_toml};
use crate::transport::{Plan, Points, TransportConfig};

/// What is made of the transport reward before scaling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shaping {
    /// `r_t` as it is.
    #[default]
    Linear,
    /// `-r_t²`: with a scale of 1000 or 10000, what RAPL's released code hands to PPO.
    NegativeSquare,
}

/// Settings of a [`TransportMatch`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransportMatchConfig {
    /// How clips are transported into each other.
    pub transport: TransportConfig,
    /// What is made of the reward before scaling.
    pub shaping: Shaping,
    /// The reward is multiplied by this. See [`TransportMatch::fit_scale`].
    pub scale: f64,
}

impl Default for TransportMatchConfig {
    fn default() -> Self {
        Self {
            transport: TransportConfig::default(),
            shaping: Shaping::default(),
            scale: 1.0,
        }
    }
}

/// Transports the clip into each of several exemplars, takes the exemplar with the largest sum of rewards, and gives every
/// step its share of that one plan, `r_t = -(P Cᵀ)_tt`.
///
/// One exemplar is chosen for the whole clip (never the best for each step), as RAPL and ROT do. A step's reward depends on
/// the whole clip, so that it is known only at the end of an episode.
#[derive(Clone, Debug)]
pub struct TransportMatch {
    config: TransportMatchConfig,
    encoder: EncoderSpec,
    exemplars: Vec<Points>,
}

impl TransportMatch {
    pub(crate) const KIND: &str = "transport-match";

    /// A reward for being like one of `exemplars`, each `[time, encoder.dim]`. Fails without exemplars, and when one is
    /// empty, of another width, or not finite.
    pub fn new(
        encoder: &EncoderSpec,
        exemplars: &[Features],
        config: TransportMatchConfig,
    ) -> Result<Self, RewardError> {
        config.transport.validate()?;
        if !config.scale.is_finite() {
            return Err(RewardError::Other(format!(
                "the scale of a transport reward is {}; give a finite number",
                config.scale
            )));
        }
        if exemplars.is_empty() {
            return Err(RewardError::Other(
                "a transport reward needs something to match; give at least one exemplar clip"
                    .into(),
            ));
        }
        for exemplar in exemplars {
            check_features(exemplar, encoder)?;
        }
        Ok(Self {
            config,
            encoder: encoder.clone(),
            exemplars: exemplars.iter().map(Points::from).collect(),
        })
    }

    /// The settings.
    pub fn settings(&self) -> &TransportMatchConfig {
        &self.config
    }

    /// The exemplars, each `[time, dim]`.
    pub fn exemplars(&self) -> &[Points] {
        &self.exemplars
    }

    /// The exemplar that a clip is nearest to, and the plan into it, for looking at.
    pub fn nearest(&self, features: &Features) -> Result<(usize, Plan), RewardError> {
        check_features(features, &self.encoder)?;
        let clip = Points::from(features);
        let solver = self.config.transport.solver()?;
        self.exemplars
            .par_iter()
            .enumerate()
            .map_with(solver, |solver, (i, exemplar)| {
                Ok((i, solver.solve(&clip, exemplar)?))
            })
            // Of equally near ones the first, whichever thread was faster.
            .try_reduce_with(|a, b| {
                let order = a.1.distance().total_cmp(&b.1.distance());
                Ok(if order.then(a.0.cmp(&b.0)).is_le() {
                    a
                } else {
                    b
                })
            })
            .unwrap_or_else(|| Err(RewardError::Other("there is no exemplar to match".into())))
    }

    /// Sets the scale so that this clip's return has the given size. ROT does so once, after its first episode, with 10. A
    /// clip that matches perfectly leaves the scale as it is.
    pub fn fit_scale(&mut self, features: &Features, size: f64) -> Result<(), RewardError> {
        let (_, plan) = self.nearest(features)?;
        let unscaled: f64 = self.shaped(&plan).iter().sum();
        if unscaled.abs() > f64::EPSILON {
            self.config.scale = size / unscaled.abs();
        }
        Ok(())
    }

    fn shaped(&self, plan: &Plan) -> Vec<f64> {
        let mut rewards = plan.rewards();
        if self.config.shaping == Shaping::NegativeSquare {
            rewards.iter_mut().for_each(|r| *r = -*r * *r);
        }
        rewards
    }

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        let config = parts.config()?;
        let exemplars = parts
            .numbered("exemplar")
            .map(Tensor::to_features)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Box::new(Self::new(&parts.encoder, &exemplars, config)?))
    }
}

impl RewardModel for TransportMatch {
    /// The term `exemplar` is the index of the chosen exemplar, `transport` the reward before shaping and scaling.
    fn score(&self, clip: &Clip, _: &Context) -> Result<Signal, RewardError> {
        let (exemplar, plan) = self.nearest(&clip.features)?;
        let mut per_step = self.shaped(&plan);
        per_step.iter_mut().for_each(|r| *r *= self.config.scale);
        let mut signal = Signal::new(per_step);
        let which = vec![exemplar as f64; clip.len()];
        signal.terms.insert("exemplar".into(), which);
        signal.terms.insert("transport".into(), plan.rewards());
        Ok(signal)
    }

    fn causal(&self) -> bool {
        false
    }
}

impl StoredReward for TransportMatch {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        to_toml(&self.config).and_then(crate::store::table)
    }

    fn tensors(&self) -> Result<Tensors, RewardError> {
        Ok(self
            .exemplars
            .iter()
            .enumerate()
            .map(|(i, points)| (format!("exemplar.{i}"), Tensor::from_points(points)))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::{Goal, GoalDistance, GoalDistanceConfig};
    use crate::transport::Cost;

    fn encoder(dim: usize) -> EncoderSpec {
        EncoderSpec {
            name: "test".into(),
            dim,
            fingerprint: "test".into(),
        }
    }

    fn clip(features: &Features) -> Clip {
        Clip {
            features: features.clone(),
            columns: Default::default(),
            fps: 10.0,
        }
    }

    #[test]
    fn with_clips_of_one_frame_it_is_the_cosine_distance_to_the_goal() {
        let goal = Features::new(3, vec![0.0, 3.0, 4.0]);
        let frame = clip(&Features::new(3, vec![1.0, 2.0, 2.0]));
        let by_transport =
            TransportMatch::new(&encoder(3), std::slice::from_ref(&goal), Default::default())
                .unwrap();
        let config = GoalDistanceConfig {
            goal: Goal::Mean,
            cost: Cost::Cosine,
            scale: 1.0,
        };
        let by_goal = GoalDistance::new(&encoder(3), &goal, config).unwrap();
        let context = Context::default();
        let (a, b) = (
            by_transport.score(&frame, &context).unwrap(),
            by_goal.score(&frame, &context).unwrap(),
        );
        assert!((a.per_step[0] - b.per_step[0]).abs() < 1e-12);
        assert!((a.per_step[0] - (14.0 / 15.0 - 1.0)).abs() < 1e-7);
    }

    #[test]
    fn one_exemplar_is_chosen_for_the_whole_clip_and_of_equal_ones_the_first() {
        let near = Features::new(2, vec![1.0, 0.1, 0.1, 1.0]);
        let far = Features::new(2, vec![-1.0, 0.0, 0.0, -1.0]);
        let exemplars = [far.clone(), near.clone(), near, far];
        let model = TransportMatch::new(&encoder(2), &exemplars, Default::default()).unwrap();
        let signal = model
            .score(
                &clip(&Features::new(2, vec![1.0, 0.0, 0.0, 1.0, 0.5, 0.5])),
                &Context::default(),
            )
            .unwrap();
        assert_eq!(signal.terms["exemplar"], [1.0; 3]);
        let sum: f64 = signal.per_step.iter().sum();
        let (_, plan) = model
            .nearest(&Features::new(2, vec![1.0, 0.0, 0.0, 1.0, 0.5, 0.5]))
            .unwrap();
        assert!((sum + plan.distance()).abs() < 1e-12);
    }

    #[test]
    fn after_one_episode_the_return_has_the_size_asked_for() {
        let exemplar = Features::new(2, vec![1.0, 0.0, 0.0, 1.0]);
        let episode = Features::new(2, vec![1.0, 0.5, -1.0, 0.3]);
        for shaping in [Shaping::Linear, Shaping::NegativeSquare] {
            let config = TransportMatchConfig {
                transport: TransportConfig::rot(),
                shaping,
                ..Default::default()
            };
            let mut model =
                TransportMatch::new(&encoder(2), std::slice::from_ref(&exemplar), config).unwrap();
            model.fit_scale(&episode, 10.0).unwrap();
            let signal = model.score(&clip(&episode), &Context::default()).unwrap();
            assert!((signal.per_step.iter().sum::<f64>().abs() - 10.0).abs() < 1e-9);
        }
    }
}
