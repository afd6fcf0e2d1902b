//! The `Match` family: rewards that measure how near a clip is to a reference.

mod exemplars;
mod goal;
mod text;
mod transport;

pub use exemplars::{
    Contrast, ExemplarConfig, ExemplarMatch, ExemplarMetric, ExemplarSet, ExemplarUnit, vendi,
};
pub use goal::{Goal, GoalDistance, GoalDistanceConfig};
pub use text::{Line, PromptMean, TextMatch, TextMatchConfig};
pub use transport::{Shaping, TransportMatch, TransportMatchConfig};
