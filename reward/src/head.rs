//! Rewards that are a trained scorer: a small network on each frame, taught by comparisons of clips.
//!
//! ```text
//! P(A ≻ B) = σ((R(A) - R(B)) / temperature)        R(A) = Σ_t r(x_t, c)
//! ```
//!
//! There is one scorer and one loss ([`crate::PairObjective`]); methods differ in the vector `c` appended to each frame: nothing
//! (Bradley and Terry; PEBBLE, arXiv 2106.05091), the situation, the person or the clip that one is compared with
//! ([`Condition`]), or a person's inferred latent ([`LatentUsers`]). [`IdealPoints`] scores by the distance to a person's mixture of
//! prototypes instead; [`FaultHeads`] and [`PairConsistency`] answer yes or no.

mod active;
mod alarm;
mod binary;
mod clean;
mod condition;
mod config;
mod consistency;
mod faults;
mod ideal;
mod latent;
mod model;
mod pairs;
mod scorer;
mod semi;
mod stored;
mod train;

pub use alarm::{Collapse, CollapseAlarm, CollapseConfig};
pub use binary::BinaryConfig;
pub use clean::{CleanConfig, DynamicTemperature, Strength, relabel, strengths};
pub use condition::{Condition, LookUp, Table};
pub use config::{Aggregate, HeadConfig, InputScaling, Inputs, Output, Resampling};
pub use consistency::{ConsistencyConfig, PairConsistency};
pub use faults::{FaultConfig, FaultHeads, MarkedClips};
pub use ideal::{IdealConfig, IdealDistance, IdealPoints, IdealReport, IdealSpace};
pub use latent::{LatentConfig, LatentEpoch, LatentReport, LatentUsers, Posterior, RewardScale};
pub use model::{HeadReport, PreferenceHead, Verdict};
pub use pairs::{Pair, Pairs};
pub use semi::SurfConfig;
pub use train::{HeadEpoch, MemberReport};

#[cfg(test)]
mod tests;
