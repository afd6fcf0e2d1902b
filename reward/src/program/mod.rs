//! Rewards that are written down, not trained: programs, rules, bonuses for what is new, designed tables; and the search for
//! programs that a person likes.

mod evaluate;
pub mod expression;
pub mod novelty;
mod parse;
mod reward;
pub mod search;
mod source;

pub use evaluate::MAX_COST;
pub use expression::{Binary, Expression, Part, Unary};
pub use novelty::{Novelty, NoveltyConfig};
pub use parse::ProgramError;
pub use reward::ProgramReward;
pub use source::{Definition, Program, Term};

#[cfg(test)]
mod tests;
