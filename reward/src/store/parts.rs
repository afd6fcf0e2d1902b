//! How a reward model is taken apart for storing and put together again.

use rapport_perception::EncoderSpec;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::tensor::{Tensor, Tensors};
use crate::adversary::{FrozenAdversary, TokenReward};
use crate::align::{Adapted, Aligned};
use crate::combine::Combined;
use crate::head::{FaultHeads, IdealPoints, LatentUsers, PairConsistency, PreferenceHead};
use crate::matching::{ExemplarMatch, GoalDistance, TextMatch, TransportMatch};
use crate::model::{RewardError, RewardModel};
use crate::program::{Novelty, ProgramReward, Rules};
use crate::progress::{CausalProgress, EmbeddedGoal, SuccessClassifier};
use crate::steps::PerceptualSteps;

/// A reward model that can be kept. A new kind also needs a line in the table of kinds in this file.
pub trait StoredReward: RewardModel {
    /// Its name in `reward.toml`.
    fn kind(&self) -> &'static str;

    /// Its settings.
    fn config(&self) -> Result<toml::Table, RewardError>;

    /// Its numbers.
    ///
    /// # Errors
    /// When a network's parameters cannot be read back; nothing is stored then.
    fn tensors(&self) -> Result<Tensors, RewardError>;
}

/// What a reward model is put together from.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The kind of model.
    pub kind: String,
    /// Its settings.
    pub config: toml::Table,
    /// Its numbers.
    pub tensors: Tensors,
    /// What it gets features from.
    pub encoder: EncoderSpec,
}

type Restore = fn(Parts) -> Result<Box<dyn StoredReward>, RewardError>;

const KINDS: &[(&str, Restore)] = &[
    (Adapted::KIND, Adapted::restore),
    (Aligned::KIND, Aligned::restore),
    (CausalProgress::KIND, CausalProgress::restore),
    (Combined::KIND, Combined::restore),
    (EmbeddedGoal::KIND, EmbeddedGoal::restore),
    (ExemplarMatch::KIND, ExemplarMatch::restore),
    (FaultHeads::KIND, FaultHeads::restore),
    (FrozenAdversary::KIND, FrozenAdversary::restore),
    (GoalDistance::KIND, GoalDistance::restore),
    (IdealPoints::KIND, IdealPoints::restore),
    (LatentUsers::KIND, LatentUsers::restore),
    (Novelty::KIND, Novelty::restore),
    (PairConsistency::KIND, PairConsistency::restore),
    (PerceptualSteps::KIND, PerceptualSteps::restore),
    (PreferenceHead::KIND, PreferenceHead::restore),
    (ProgramReward::KIND, ProgramReward::restore),
    (Rules::KIND, Rules::restore),
    (SuccessClassifier::KIND, SuccessClassifier::restore),
    (TextMatch::KIND, TextMatch::restore),
    (TokenReward::KIND, TokenReward::restore),
    (TransportMatch::KIND, TransportMatch::restore),
];

/// Puts a model together.
pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
    match KINDS.iter().find(|(kind, _)| *kind == parts.kind) {
        Some((_, restore)) => restore(parts),
        None => {
            let known: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
            Err(RewardError::Other(format!(
                "there is no reward of kind `{}`; this version knows {}",
                parts.kind,
                known.join(", ")
            )))
        }
    }
}

impl Parts {
    /// All settings as one struct.
    pub(crate) fn config<T: DeserializeOwned>(&self) -> Result<T, RewardError> {
        self.config
            .clone()
            .try_into()
            .map_err(|e| RewardError::Other(format!("the settings of `{}`: {e}", self.kind)))
    }

    /// The settings under a name.
    pub(crate) fn table<T: DeserializeOwned>(&self, name: &str) -> Result<T, RewardError> {
        self.config
            .get(name)
            .cloned()
            .ok_or_else(|| RewardError::Other(format!("`{}` lacks its `{name}`", self.kind)))?
            .try_into()
            .map_err(|e| RewardError::Other(format!("`{name}` of `{}`: {e}", self.kind)))
    }

    /// One tensor.
    pub(crate) fn tensor(&self, name: &str) -> Result<&Tensor, RewardError> {
        self.tensors.get(name).ok_or_else(|| {
            RewardError::Other(format!("the tensor `{name}` of `{}` is missing", self.kind))
        })
    }

    /// The tensors `name.0`, `name.1`, and so on.
    pub(crate) fn numbered<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Tensor> {
        (0..).map_while(move |i| self.tensors.get(&format!("{name}.{i}")))
    }

    /// The tensors under a name, without it.
    pub(crate) fn tensors_under(&self, name: &str) -> Tensors {
        let start = format!("{name}.");
        self.tensors
            .iter()
            .filter_map(|(key, t)| Some((key.strip_prefix(&start)?.to_owned(), t.clone())))
            .collect()
    }

    /// The parts of the model inside this one, written by [`nested`].
    pub(crate) fn inner(&self, encoder: EncoderSpec) -> Result<Parts, RewardError> {
        self.inner_named("inner", encoder)
    }

    /// The parts of a model inside this one.
    pub(crate) fn inner_named(
        &self,
        name: &str,
        encoder: EncoderSpec,
    ) -> Result<Parts, RewardError> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nested {
            kind: String,
            config: toml::Table,
        }
        let Nested { kind, config } = self.table(name)?;
        Ok(Parts {
            kind,
            config,
            tensors: self.tensors_under(name),
            encoder,
        })
    }
}

/// A model inside another, for the settings of the outer one. Its tensors go under the same name.
pub(crate) fn nested(model: &dyn StoredReward) -> Result<toml::Value, RewardError> {
    let mut table = toml::Table::new();
    table.insert("kind".into(), model.kind().into());
    table.insert("config".into(), model.config()?.into());
    Ok(table.into())
}

/// Settings as TOML.
pub(crate) fn to_toml(config: &impl Serialize) -> Result<toml::Value, RewardError> {
    toml::Value::try_from(config).map_err(|e| RewardError::Other(format!("settings: {e}")))
}

/// The table that settings must be.
pub(crate) fn table(value: toml::Value) -> Result<toml::Table, RewardError> {
    match value {
        toml::Value::Table(table) => Ok(table),
        other => Err(RewardError::Other(format!(
            "settings are a {} where a table belongs",
            other.type_str()
        ))),
    }
}
