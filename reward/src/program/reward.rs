//! [`ProgramReward`]: a reward program as a reward model.

use serde::{Deserialize, Serialize};

use super::evaluate::evaluate;
use super::source::Program;
use crate::model::{Clip, Context, RewardError, RewardModel, Signal};
use crate::store::{Parts, StoredReward, Tensors, table, to_toml};

/// A reward written down: the sum of the program's terms, each of which is also among [`Signal::terms`].
///
/// It reads the columns of a clip and needs its features only where the program names `features`.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramReward {
    program: Program,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    program: Program,
}

impl ProgramReward {
    pub(crate) const KIND: &str = "program";

    /// Fails on a program that could not have been written, see [`Program::validate`].
    pub fn new(program: Program) -> Result<Self, RewardError> {
        program.validate()?;
        Ok(Self { program })
    }

    /// The reward that a text says. The error says where the text is wrong.
    pub fn parse(text: &str) -> Result<Self, RewardError> {
        Ok(Self {
            program: text.parse()?,
        })
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        let Config { program } = parts.config()?;
        Ok(Box::new(Self { program }))
    }
}

impl RewardModel for ProgramReward {
    fn score(&self, clip: &Clip, _: &Context) -> Result<Signal, RewardError> {
        evaluate(&self.program, clip)
    }

    /// A step's value depends on it and, through `delta`, on steps before it.
    fn causal(&self) -> bool {
        true
    }
}

impl StoredReward for ProgramReward {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        to_toml(&Config {
            program: self.program.clone(),
        })
        .and_then(table)
    }

    fn tensors(&self) -> Result<Tensors, RewardError> {
        Ok(Tensors::new())
    }
}
