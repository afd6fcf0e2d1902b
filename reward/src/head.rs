//! Rewards that are a trained scorer: a small network on each frame, taught by comparisons of clips.
//!
//! ```text
//! P(A ≻ B) = σ((R(A) - R(B)) / temperature)        R(A) = Σ_t r(x_t, c)
//! ```
//!
//! There is one scorer and one loss ([`crate::PairObjective`]); methods differ in the vector `c` appended to each frame: nothing
//! (Bradley and Terry; PEBBLE, arXiv 2106.05091), the situation, the person, the clip that one is compared with
//! ([`Condition`]), or a person.

mod condition;
mod config;
mod model;
mod pairs;
mod scorer;
mod stored;
mod train;

pub use condition::{Condition, LookUp, Table};
pub use config::{Aggregate, HeadConfig, InputScaling, Inputs, Output, Resampling};
pub use model::{HeadReport, PreferenceHead, Verdict};
pub use pairs::{Pair, Pairs};
pub use train::{HeadEpoch, MemberReport};

#[cfg(test)]
mod tests;
