//! [`Combined`]: a reward made of rewards.

use serde::{Deserialize, Serialize};

use super::{Combination, Combiner};
use crate::model::{Clip, Context, RewardError, RewardModel, Signal};
use crate::store::{Parts, StoredReward, Tensors, nested, prefixed, restore, to_toml};
use crate::transform::{RewardTransform, Transform};

/// A reward that is part of another, with what is done to it first.
pub struct Member {
    /// Its name among the terms of the whole.
    pub name: String,
    /// The reward.
    pub model: Box<dyn StoredReward>,
    /// What is done to it, in order.
    pub transforms: Vec<Transform>,
}

/// Several rewards, each transformed, combined to one. With one member it is that reward transformed.
pub struct Combined {
    members: Vec<Member>,
    combination: Combination,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberHeader {
    name: String,
    transforms: Vec<Transform>,
}

impl Combined {
    pub(crate) const KIND: &str = "combined";

    /// Fails without members, when two have one name, and on settings that make no sense.
    pub fn new(members: Vec<Member>, combination: Combination) -> Result<Self, RewardError> {
        if members.is_empty() {
            return Err(RewardError::Other(
                "there is no reward to combine; name at least one".into(),
            ));
        }
        for (i, member) in members.iter().enumerate() {
            if members[..i].iter().any(|other| other.name == member.name) {
                return Err(RewardError::Other(format!(
                    "two rewards are called `{}`; give each its own name",
                    member.name
                )));
            }
            for transform in &member.transforms {
                transform.validate()?;
            }
        }
        Ok(Self {
            members,
            combination,
        })
    }

    /// The parts.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Lets a clip count in the statistics of the members' transforms.
    pub fn observe(&mut self, clip: &Clip, context: &Context) -> Result<(), RewardError> {
        for member in &mut self.members {
            let mut signal = member.model.score(clip, context)?;
            for transform in &mut member.transforms {
                transform.observe(&signal);
                signal = transform.apply(signal);
            }
        }
        Ok(())
    }

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        let combination = parts.table("combination")?;
        let headers: Vec<MemberHeader> = parts.table("members")?;
        let members = headers
            .into_iter()
            .enumerate()
            .map(|(i, header)| {
                let inner = parts.inner_named(&format!("member-{i}"), parts.encoder.clone())?;
                Ok(Member {
                    name: header.name,
                    model: restore(inner)?,
                    transforms: header.transforms,
                })
            })
            .collect::<Result<_, RewardError>>()?;
        Ok(Box::new(Self::new(members, combination)?))
    }
}

impl RewardModel for Combined {
    /// The terms are the members' rewards after their transforms, by name, and their own terms as `member/term`.
    fn score(&self, clip: &Clip, context: &Context) -> Result<Signal, RewardError> {
        let signals = self
            .members
            .iter()
            .map(|member| {
                let signal = member.model.score(clip, context)?;
                Ok(member
                    .transforms
                    .iter()
                    .fold(signal, |signal, t| t.apply(signal)))
            })
            .collect::<Result<Vec<_>, RewardError>>()?;
        let mut combined = self.combination.combine(&signals)?;
        for (member, signal) in self.members.iter().zip(signals) {
            for (term, values) in signal.terms {
                combined
                    .terms
                    .insert(format!("{}/{term}", member.name), values);
            }
            combined.terms.insert(member.name.clone(), signal.per_step);
        }
        Ok(combined)
    }

    fn causal(&self) -> bool {
        self.members.iter().all(|member| member.model.causal())
    }
}

impl StoredReward for Combined {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        let headers: Vec<MemberHeader> = self
            .members
            .iter()
            .map(|m| MemberHeader {
                name: m.name.clone(),
                transforms: m.transforms.clone(),
            })
            .collect();
        let mut table = toml::Table::new();
        table.insert("combination".into(), to_toml(&self.combination)?);
        table.insert("members".into(), to_toml(&headers)?);
        for (i, member) in self.members.iter().enumerate() {
            table.insert(format!("member-{i}"), nested(member.model.as_ref())?);
        }
        Ok(table)
    }

    fn tensors(&self) -> Result<Tensors, RewardError> {
        let mut all = Tensors::new();
        for (i, member) in self.members.iter().enumerate() {
            all.extend(prefixed(&format!("member-{i}"), member.model.tensors()?));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use rapport_perception::{EncoderSpec, Features};

    use super::*;
    use crate::matching::{GoalDistance, GoalDistanceConfig, TransportMatch, TransportMatchConfig};
    use crate::store::RewardDir;
    use crate::transform::{LogSigmoid, RunningNorm, Scale};

    #[test]
    fn a_combined_reward_comes_back_from_a_directory() {
        let encoder = EncoderSpec {
            name: "test".into(),
            dim: 2,
            fingerprint: "f".into(),
        };
        let frames = Features::new(2, vec![1.0, 0.0, 0.6, 0.8, 0.0, 1.0]);
        let goal = GoalDistance::new(&encoder, &frames, GoalDistanceConfig::default()).unwrap();
        let exemplars = [frames.clone()];
        let transport =
            TransportMatch::new(&encoder, &exemplars, TransportMatchConfig::default()).unwrap();
        let member = |name: &str, model: Box<dyn StoredReward>, transforms| Member {
            name: name.into(),
            model,
            transforms,
        };
        let members = vec![
            member(
                "goal",
                Box::new(goal.clone()),
                vec![
                    Transform::RunningNorm(RunningNorm::default()),
                    Transform::LogSigmoid(LogSigmoid { reference: 0.5 }),
                ],
            ),
            member(
                "transport",
                Box::new(transport),
                vec![Transform::Scale(Scale {
                    factor: 3.0,
                    offset: 0.0,
                })],
            ),
        ];
        let mut combined = Combined::new(members, Combination::default()).unwrap();
        assert!(!combined.causal());
        let clip = Clip::from_features(Features::new(2, vec![0.3, 0.1, -0.2, 0.9]), 10.0);
        combined.observe(&clip, &Context::default()).unwrap();
        let root = tempfile::tempdir().unwrap();
        let dir = RewardDir::new(root.path());
        dir.save(&combined, &encoder, 0).unwrap();
        let before = combined.score(&clip, &Context::default()).unwrap();
        let after = dir
            .load()
            .unwrap()
            .score(&encoder, &clip, &Context::default())
            .unwrap();
        for (a, b) in before.per_step.iter().zip(&after.per_step) {
            assert!((a - b).abs() < 1e-6);
        }
        assert!(
            before.terms.contains_key("goal") && before.terms.contains_key("transport/exemplar")
        );
        let sum: Vec<f64> = before.terms["goal"]
            .iter()
            .zip(&before.terms["transport"])
            .map(|(a, b)| a + b)
            .collect();
        assert_eq!(before.per_step, sum);
        let twice = ["goal", "goal"].map(|name| member(name, Box::new(goal.clone()), vec![]));
        assert!(Combined::new(twice.into(), Combination::default()).is_err());
    }

    #[test]
    fn transport_of_single_frames_is_the_cosine_goal_reward() {
        let encoder = EncoderSpec {
            name: "test".into(),
            dim: 3,
            fingerprint: "f".into(),
        };
        let goal = Features::new(3, vec![1.0, 2.0, -1.0]);
        let frame = Clip::from_features(Features::new(3, vec![0.5, 1.0, 2.0]), 10.0);
        let transport = TransportMatch::new(
            &encoder,
            std::slice::from_ref(&goal),
            TransportMatchConfig::default(),
        )
        .unwrap();
        let config = GoalDistanceConfig {
            cost: crate::transport::Cost::Cosine,
            ..GoalDistanceConfig::default()
        };
        let distance = GoalDistance::new(&encoder, &goal, config).unwrap();
        let [a, b] = [&transport as &dyn RewardModel, &distance]
            .map(|m| m.score(&frame, &Context::default()).unwrap().per_step[0]);
        assert!((a - b).abs() < 1e-12);
    }
}
