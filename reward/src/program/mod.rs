//! Rewards that are written down, not trained: programs, rules, bonuses for what is new, designed tables; and the search for
//! programs that a person likes.

pub mod captions;
pub mod design;
mod evaluate;
pub mod expression;
mod gate;
pub mod novelty;
mod parse;
pub mod parts;
mod reward;
mod rules;
pub mod search;
mod source;

pub use captions::{CaptionReward, CaptionsConfig};
pub use evaluate::MAX_COST;
pub use expression::{Binary, Expression, Part, Unary};
pub use gate::{ProbeGate, ProbeGateConfig};
pub use novelty::{Novelty, NoveltyConfig};
pub use parse::ProgramError;
pub use reward::ProgramReward;
pub use rules::{Criterion, Excess, Rule, Rules, RulesConfig, Tightening, TighteningConfig};
pub use source::{Definition, Program, Term};

#[cfg(test)]
mod tests;
