//! [`Program`]: names given by `let`, and the named terms whose sum is the reward.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::expression::{Expression, MAX_NODES, is_writable_name, write_name};
use super::parse::{self, ProgramError};
use crate::model::RewardError;

/// A name for an expression, for those below it.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// The name; it hides a column of the same name.
    pub name: String,
    /// What it stands for.
    pub value: Expression,
}

/// A part of the reward.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Its name among [`crate::Signal::terms`].
    pub name: String,
    /// Its value, one number per step.
    pub value: Expression,
}

/// A reward program. In files it is its text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Program {
    /// Names, each of which may use those before it.
    pub definitions: Vec<Definition>,
    /// At least one.
    pub terms: Vec<Term>,
}

impl Program {
    /// A program of terms alone. Fails as [`Program::validate`] does.
    pub fn from_terms(terms: Vec<(String, Expression)>) -> Result<Self, RewardError> {
        let terms = terms.into_iter().map(|(name, value)| Term { name, value });
        let program = Self {
            definitions: Vec::new(),
            terms: terms.collect(),
        };
        program.validate()?;
        Ok(program)
    }

    /// All expressions, definitions first.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let definitions = self.definitions.iter().map(|d| &d.value);
        definitions.chain(self.terms.iter().map(|t| &t.value))
    }

    /// Number of nodes of all expressions.
    pub fn nodes(&self) -> usize {
        self.expressions().map(Expression::nodes).sum()
    }

    /// The columns of a clip that the program uses, each once, in order of appearance.
    pub fn columns(&self) -> Vec<&str> {
        let mut columns = Vec::new();
        for (i, expression) in self.expressions().enumerate() {
            let known = &self.definitions[..i.min(self.definitions.len())];
            for name in expression.names() {
                if !known.iter().any(|d| d.name == name) && !columns.contains(&name) {
                    columns.push(name);
                }
            }
        }
        columns
    }

    /// Says what is wrong with a program that was put together by hand or by chance, if anything: what the text of one could
    /// not say is refused.
    pub fn validate(&self) -> Result<(), RewardError> {
        let fail = |message: String| Err(RewardError::Other(message));
        let names = self.definitions.iter().map(|d| &d.name);
        if let Some(bad) = names
            .chain(self.terms.iter().map(|t| &t.name))
            .find(|n| !is_writable_name(n))
        {
            return fail(format!("`{}` cannot be a name", bad.escape_default()));
        }
        if self.nodes() > MAX_NODES {
            return fail(format!(
                "the program has more than {MAX_NODES} parts; make it smaller"
            ));
        }
        // What is left, nesting and numbers and doubled names, is what reading finds.
        match self.to_string().parse::<Self>() {
            Ok(read) if read == *self => Ok(()),
            Ok(_) => fail(
                "the program has a part that cannot be written, such as a number beyond 1e12"
                    .into(),
            ),
            Err(error) => fail(error.to_string()),
        }
    }
}

impl FromStr for Program {
    type Err = ProgramError;

    fn from_str(text: &str) -> Result<Self, ProgramError> {
        parse::program(text)
    }
}

impl FromStr for Expression {
    type Err = ProgramError;

    fn from_str(text: &str) -> Result<Self, ProgramError> {
        parse::expression(text)
    }
}

impl TryFrom<String> for Program {
    type Error = ProgramError;

    fn try_from(text: String) -> Result<Self, ProgramError> {
        text.parse()
    }
}

impl From<Program> for String {
    fn from(program: Program) -> Self {
        program.to_string()
    }
}

impl From<ProgramError> for RewardError {
    fn from(error: ProgramError) -> Self {
        Self::Other(format!("the reward program, {error}"))
    }
}

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for Definition { name, value } in &self.definitions {
            f.write_str("let ")?;
            write_name(f, name)?;
            writeln!(f, " = {value}")?;
        }
        for Term { name, value } in &self.terms {
            write_name(f, name)?;
            writeln!(f, " = {value}")?;
        }
        Ok(())
    }
}
