//! [`Brief`]: what a proposer is told before it writes its first program.

use std::collections::BTreeMap;

use rapport_perception::Features;
use serde::{Deserialize, Serialize};

use super::super::expression::{Binary, Expression, Part, Unary};
use super::super::reward::ProgramReward;
use super::super::source::Program;
use crate::model::{Clip, Context, RewardError, RewardModel as _};

/// A column that programs may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name in clips.
    pub name: String,
    /// What each of its numbers is, `[dim]`; empty names where nobody knows.
    pub parts: Vec<String>,
}

/// A number per step that is worth rewarding or punishing, as a building block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// Its name, which terms that use it get.
    pub name: String,
    /// How it is worked out; its value has width 1.
    pub value: Expression,
}

/// The task and what can be seen of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brief {
    /// The task in words.
    pub task: String,
    /// What programs may use.
    pub columns: Vec<Column>,
    /// Building blocks for a proposer that does not read.
    pub features: Vec<Feature>,
}

/// Most building blocks made of one column's numbers.
const MOST_PARTS: usize = 24;

impl Brief {
    /// A brief with the building blocks that suggest themselves: each number and its size, the size of each row and of its
    /// first and second change.
    pub fn new(task: impl Into<String>, columns: Vec<Column>) -> Self {
        let mut features = Vec::new();
        for column in &columns {
            let whole = || Expression::name(&column.name);
            let label = |what: &str| format!("{what} of {}", column.name);
            let mut add = |name: String, value: Expression| features.push(Feature { name, value });
            let delta = |x| Expression::unary(Unary::Delta, x);
            add(label("size"), Expression::unary(Unary::Norm, whole()));
            add(
                label("change"),
                Expression::unary(Unary::Norm, delta(whole())),
            );
            add(
                label("jerk"),
                Expression::unary(Unary::Norm, delta(delta(whole()))),
            );
            for (i, part) in column.parts.iter().enumerate().take(MOST_PARTS) {
                let value = Expression::Name {
                    name: column.name.clone(),
                    part: Part::At(i),
                };
                let name = if part.is_empty() {
                    format!("{}[{i}]", column.name)
                } else {
                    part.clone()
                };
                add(name.clone(), value.clone());
                add(
                    format!("size of {name}"),
                    Expression::unary(Unary::Abs, value),
                );
            }
        }
        // Names of parts may repeat, and may hold what names cannot.
        let mut taken = BTreeMap::new();
        for feature in &mut features {
            let mut name: String = feature
                .name
                .chars()
                .map(|c| if c == '`' || c.is_control() { '_' } else { c })
                .take(60)
                .collect();
            let times = taken.entry(name.clone()).or_insert(0);
            *times += 1;
            if *times > 1 {
                name = format!("{name} ({times})");
            }
            feature.name = name;
        }
        Self {
            task: task.into(),
            columns,
            features,
        }
    }

    /// Adds distances between stretches of a column, given by name and where each starts and ends.
    pub fn with_distance(mut self, name: &str, a: Expression, b: Expression) -> Self {
        self.features.push(Feature {
            name: name.into(),
            value: Expression::binary(Binary::Distance, a, b),
        });
        self
    }

    /// Refuses a program that cannot be worked out on clips of these columns.
    pub fn check(&self, program: &Program) -> Result<(), RewardError> {
        let columns = self.columns.iter().map(|column| {
            let dim = column.parts.len().max(1);
            (column.name.clone(), Features::new(dim, vec![0.0; 2 * dim]))
        });
        let clip = Clip {
            columns: columns.collect(),
            ..Clip::default()
        };
        let reward = ProgramReward::new(program.clone())?;
        reward.score(&clip, &Context::default()).map(|_| ())
    }
}
