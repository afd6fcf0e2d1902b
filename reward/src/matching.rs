//! The `Match` family: rewards that measure how near a clip is to a reference.

mod goal;
mod transport;

pub use goal::{Goal, GoalDistance, GoalDistanceConfig};
pub use transport::{Shaping, TransportMatch, TransportMatchConfig};
