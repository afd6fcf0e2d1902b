//! [`Combiner`]: several rewards made into one, and [`Combined`], the reward model that does it.

use serde::{Deserialize, Serialize};

use crate::model::{Clip, Context, RewardError, RewardModel, Signal};
use crate::store::{Parts, StoredReward, Tensors, nested, prefixed, restore, to_toml};
use crate::transform::{RewardTransform, Transform};

/// Makes several rewards into one. Standard deviations are taken to be independent; a reward without any counts as certain.
pub trait Combiner: Send + Sync {
    /// Combines signals of one length. Fails on none, on different lengths, and when their number does not suit.
    fn combine(&self, signals: &[Signal]) -> Result<Signal, RewardError>;
}

/// The length that all signals have.
fn common_length(signals: &[Signal]) -> Result<usize, RewardError> {
    let Some(first) = signals.first() else {
        return Err(RewardError::Other(
            "there is no reward to combine; name at least one".into(),
        ));
    };
    let steps = first.per_step.len();
    match signals.iter().find(|s| s.per_step.len() != steps) {
        Some(other) => Err(RewardError::Other(format!(
            "rewards over {steps} and {} steps cannot be combined; score the same clip",
            other.per_step.len()
        ))),
        None => Ok(steps),
    }
}

/// Variance of a step's reward.
fn variance(signal: &Signal, t: usize) -> f64 {
    signal.uncertainty.as_ref().map_or(0.0, |u| u[t] * u[t])
}

fn assemble(signals: &[Signal], per_step: Vec<f64>, variances: Vec<f64>) -> Signal {
    let known = signals.iter().any(|s| s.uncertainty.is_some());
    Signal {
        uncertainty: known.then(|| variances.into_iter().map(f64::sqrt).collect()),
        ..Signal::new(per_step)
    }
}

/// `Σ_i w_i r_i`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sum {
    /// A weight for each reward; none at all means 1 for each.
    pub weights: Vec<f64>,
}

impl Combiner for Sum {
    fn combine(&self, signals: &[Signal]) -> Result<Signal, RewardError> {
        let steps = common_length(signals)?;
        if !self.weights.is_empty() && self.weights.len() != signals.len() {
            return Err(RewardError::Other(format!(
                "{} weights do not suit {} rewards; give one for each",
                self.weights.len(),
                signals.len()
            )));
        }
        let weight = |i: usize| self.weights.get(i).copied().unwrap_or(1.0);
        let sum = |f: &dyn Fn(usize, &Signal) -> f64| {
            signals
                .iter()
                .enumerate()
                .map(|(i, s)| f(i, s))
                .sum::<f64>()
        };
        let per_step = (0..steps)
            .map(|t| sum(&|i, s| weight(i) * s.per_step[t]))
            .collect();
        let variances = (0..steps)
            .map(|t| sum(&|i, s| weight(i).powi(2) * variance(s, t)))
            .collect();
        Ok(assemble(signals, per_step, variances))
    }
}

/// `Π_i r_i`: all must be good. Meant for rewards that are not negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {}

impl Combiner for Product {
    fn combine(&self, signals: &[Signal]) -> Result<Signal, RewardError> {
        let steps = common_length(signals)?;
        let product = |t: usize, without: Option<usize>| -> f64 {
            let factors = signals
                .iter()
                .enumerate()
                .filter(|(i, _)| Some(*i) != without);
            factors.map(|(_, s)| s.per_step[t]).product()
        };
        let per_step = (0..steps).map(|t| product(t, None)).collect();
        let variances = (0..steps)
            .map(|t| {
                let part = |(i, s)| product(t, Some(i)).powi(2) * variance(s, t);
                signals.iter().enumerate().map(part).sum()
            })
            .collect();
        Ok(assemble(signals, per_step, variances))
    }
}

/// The sum of all rewards but the first, at steps at which the first (a safety check, say) reaches the threshold; elsewhere a
/// fixed reward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gate {
    /// Least value of the first reward that opens the gate.
    pub threshold: f64,
    /// Reward where the gate is closed.
    pub closed: f64,
}

impl Combiner for Gate {
    fn combine(&self, signals: &[Signal]) -> Result<Signal, RewardError> {
        common_length(signals)?;
        let (gate, rest) = signals.split_at(1);
        if rest.is_empty() {
            return Err(RewardError::Other(
                "a gate needs a reward behind it; name at least two".into(),
            ));
        }
        let mut sum = Sum::default().combine(rest)?;
        for (t, value) in gate[0].per_step.iter().enumerate() {
            // A gate whose value is not a number stays closed.
            if !value.ge(&self.threshold) {
                sum.per_step[t] = self.closed;
                if let Some(deviations) = &mut sum.uncertainty {
                    deviations[t] = 0.0;
                }
            }
        }
        Ok(sum)
    }
}

/// Any of the combiners, as it stands in a settings file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Combination {
    /// [`Sum`].
    Sum(Sum),
    /// [`Product`].
    Product(Product),
    /// [`Gate`].
    Gate(Gate),
}

impl Default for Combination {
    fn default() -> Self {
        Self::Sum(Sum::default())
    }
}

impl Combiner for Combination {
    fn combine(&self, signals: &[Signal]) -> Result<Signal, RewardError> {
        match self {
            Self::Sum(c) => c.combine(signals),
            Self::Product(c) => c.combine(signals),
            Self::Gate(c) => c.combine(signals),
        }
    }
}

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

    fn tensors(&self) -> Tensors {
        let members = self.members.iter().enumerate();
        members
            .flat_map(|(i, m)| prefixed(&format!("member-{i}"), m.model.tensors()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use rapport_perception::{EncoderSpec, Features};

    use super::*;
    use crate::matching::{GoalDistance, GoalDistanceConfig, TransportMatch, TransportMatchConfig};
    use crate::store::RewardDir;
    use crate::transform::{LogSigmoid, RunningNorm, Scale};

    fn signal(per_step: &[f64], deviation: Option<f64>) -> Signal {
        Signal {
            uncertainty: deviation.map(|d| vec![d; per_step.len()]),
            ..Signal::new(per_step.to_vec())
        }
    }

    #[test]
    fn sums_products_and_gates() {
        let a = signal(&[1.0, 2.0], Some(0.3));
        let b = signal(&[3.0, -1.0], None);
        let both = [a.clone(), b.clone()];
        let sum = Sum {
            weights: vec![2.0, -1.0],
        }
        .combine(&both)
        .unwrap();
        assert_eq!(sum.per_step, [-1.0, 5.0]);
        assert_eq!(sum.uncertainty, Some(vec![0.6, 0.6]));
        let product = Product {}.combine(&both).unwrap();
        assert_eq!(product.per_step, [3.0, -2.0]);
        let deviations = product.uncertainty.unwrap();
        assert!((deviations[0] - 0.9).abs() < 1e-12 && (deviations[1] - 0.3).abs() < 1e-12);
        let gate = Gate {
            threshold: 0.0,
            closed: -9.0,
        };
        assert_eq!(
            gate.combine(&[b.clone(), a.clone()]).unwrap().per_step,
            [1.0, -9.0]
        );
        let broken = signal(&[f64::NAN, 1.0], None);
        assert_eq!(
            gate.combine(&[broken, a.clone()]).unwrap().per_step,
            [-9.0, 2.0]
        );
        assert_eq!(
            Sum::default()
                .combine(std::slice::from_ref(&b))
                .unwrap()
                .uncertainty,
            None
        );
        for bad in [vec![], vec![a.clone(), signal(&[1.0], None)]] {
            assert!(Sum::default().combine(&bad).is_err());
        }
        assert!(gate.combine(std::slice::from_ref(&a)).is_err());
        assert!(Sum { weights: vec![1.0] }.combine(&both).is_err());
    }

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
