//! Tuning of a policy by what people prefer, without practice. The loss is always `rapport_reward::PairObjective`'s; what is
//! compared are the policy's own log-probabilities of what it did.

mod chain;
mod d3po;
mod prdp;

#[cfg(test)]
pub(crate) mod tests;

pub use chain::Chain;
pub use d3po::{D3po, D3poConfig, LabelledPair};
pub use prdp::{Prdp, PrdpConfig};
