//! Rewards designed for a learner, on a table of states and actions: few states, bounded values, the same best behaviour, and
//! soon to be felt. After the thesis "Reward Design for Reinforcement Learning Agents" (R. Devidze, 2025).
//!
//! - [`designed`] (EXPRD): a linear programme for rewards that tell good from bad actions at short horizons too.
//! - [`adapted`] (ExpAdaRD): the same for a learner as it is now.
//! - [`Exploration`] (ExploRS): learned by the learner itself, with a bonus for what is rare.
//! - [`shaped`]: potential-based shaping (Ng et al. 1999), to compare with.

mod explore;
mod linear;
mod table;

pub use explore::{Exploration, ExplorationConfig};
pub use linear::{Design, DesignConfig, ToAndFro, adapted, designed};
pub use table::{Decisions, Values, shaped};

#[cfg(test)]
mod tests;
