//! The `Match` family: rewards that measure how near a clip is to a reference.

mod goal;
mod text;
mod transport;

pub use goal::{Goal, GoalDistance, GoalDistanceConfig};
pub use text::{Line, PromptMean, TextMatch, TextMatchConfig};
pub use transport::{Shaping, TransportMatch, TransportMatchConfig};
