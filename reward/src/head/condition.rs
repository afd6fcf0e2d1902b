//! [`Condition`]: what is appended to every frame before it is scored. It is all that tells one conditioned reward from another.

use serde::{Deserialize, Serialize};

use super::pairs::{Pair, Pairs};
use crate::model::{Clip, Context, RewardError};

/// By what a [`Table`] is looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LookUp {
    /// The situation in words ([`Context::situation`], where that is not given [`Context::task`]).
    #[default]
    Situation,
    /// The person ([`Context::user`]).
    User,
}

impl LookUp {
    fn of_pair(self, pair: &Pair) -> Option<&str> {
        match self {
            Self::Situation => pair.situation.as_deref(),
            Self::User => Some(&pair.user),
        }
    }

    fn of_context(self, context: &Context) -> Option<&str> {
        match self {
            Self::Situation => context.situation.as_deref().or(context.task.as_deref()),
            Self::User => context.user.as_deref(),
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Situation => "situation",
            Self::User => "user",
        }
    }
}

/// A vector for each of some names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// By what it is looked up.
    pub by: LookUp,
    /// The names.
    pub names: Vec<String>,
    /// Probability of each when none is named, `[names]`, summing to 1.
    pub prior: Vec<f64>,
    /// One vector for each, all of one width: one-hot, or a sentence encoder's embedding.
    #[serde(skip)]
    pub vectors: Vec<Vec<f32>>,
}

impl Table {
    /// One-hot vectors for every situation or user that some pairs name, as likely as they are frequent.
    pub fn one_hot(by: LookUp, pairs: &Pairs) -> Self {
        let names = match by {
            LookUp::Situation => pairs.situations(),
            LookUp::User => pairs.users(),
        };
        let vectors = (0..names.len())
            .map(|i| {
                let mut vector = vec![0.0; names.len()];
                vector[i] = 1.0;
                vector
            })
            .collect();
        Self::with_vectors(by, names, vectors, pairs)
    }

    /// Vectors of the caller's making, an embedding of each name, as likely as the names are frequent among some pairs.
    pub fn with_vectors(
        by: LookUp,
        names: Vec<String>,
        vectors: Vec<Vec<f32>>,
        pairs: &Pairs,
    ) -> Self {
        let mut prior: Vec<f64> = names
            .iter()
            .map(|name| {
                pairs
                    .items
                    .iter()
                    .filter(|p| by.of_pair(p) == Some(name))
                    .map(|p| p.target.weight)
                    .sum()
            })
            .collect();
        let total: f64 = prior.iter().sum();
        let count = names.len().max(1) as f64;
        prior
            .iter_mut()
            .for_each(|p| *p = if total > 0.0 { *p / total } else { 1.0 / count });
        Self {
            by,
            names,
            prior,
            vectors,
        }
    }

    pub(super) fn validate(&self) -> Result<(), RewardError> {
        let width = self.vectors.first().map_or(0, Vec::len);
        let finite = self.vectors.iter().flatten().all(|v| v.is_finite());
        let shaped = self.vectors.len() == self.names.len()
            && self.prior.len() == self.names.len()
            && self.vectors.iter().all(|v| v.len() == width);
        if self.names.is_empty() || width == 0 {
            let what = self.by.what();
            return Err(RewardError::Other(format!(
                "no pair names a {what}; give answers that do, or learn without"
            )));
        }
        if !shaped || !finite {
            return Err(RewardError::Other(
                "every situation or user needs one vector of finite numbers, all of one width"
                    .into(),
            ));
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Result<usize, RewardError> {
        self.names.iter().position(|n| n == name).ok_or_else(|| {
            RewardError::Other(format!(
                "the reward does not know the {} `{name}`; it knows {}",
                self.by.what(),
                self.names.join(", ")
            ))
        })
    }
}

/// What is appended to every frame.
#[derive(Clone, Debug, Default)]
pub enum Condition {
    /// Nothing: one reward for all.
    #[default]
    None,
    /// A vector looked up by situation or user. Source: arXiv 2407.14916: first say what the situation is, then judge in it.
    Table(Table),
    /// The mean frame of the clip that one is compared with. Two clips are each scored beside the other, so that the verdict
    /// is antisymmetric and a clip against itself is undecided whatever the weights are. When scoring, these clips are what is
    /// compared with. Source: RewardDance, arXiv 2509.08826 (there the probability of a language model's "yes").
    Reference(Vec<Clip>),
}

impl Condition {
    /// What stays of it once the clips have been made rows of.
    pub(super) fn kind(&self) -> Appended {
        match self {
            Self::None => Appended::None,
            Self::Table(table) => Appended::Table(table.clone()),
            Self::Reference(_) => Appended::Reference,
        }
    }

    pub(super) fn validate(&self) -> Result<(), RewardError> {
        match self {
            Self::None => Ok(()),
            Self::Table(table) => table.validate(),
            Self::Reference(clips) if clips.is_empty() => Err(RewardError::Other(
                "a comparative reward needs a clip to compare with; give at least one".into(),
            )),
            Self::Reference(_) => Ok(()),
        }
    }
}

/// What a head appends to every frame.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub(super) enum Appended {
    /// Nothing.
    #[default]
    None,
    /// A vector out of a table.
    Table(Table),
    /// The mean frame of the clip that one is compared with.
    Reference,
}

impl Appended {
    /// The row of the table that a pair belongs to.
    pub fn of_pair(&self, pair: &Pair) -> Result<usize, RewardError> {
        match self {
            Self::Table(table) => match table.by.of_pair(pair) {
                Some(name) => table.find(name),
                None => Err(RewardError::Other(format!(
                    "answer {} names no {}; give it, or learn without",
                    pair.answer,
                    table.by.what()
                ))),
            },
            _ => Ok(0),
        }
    }

    /// The rows of the table that a context may mean, with their probabilities.
    pub fn of_context(&self, context: &Context) -> Result<Vec<(usize, f64)>, RewardError> {
        match self {
            Self::Table(table) => match table.by.of_context(context) {
                Some(name) => Ok(vec![(table.find(name)?, 1.0)]),
                None => Ok(table.prior.iter().copied().enumerate().collect()),
            },
            _ => Ok(vec![(0, 1.0)]),
        }
    }
}
