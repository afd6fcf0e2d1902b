//! Features and preferences to reward: models, transforms, combination, evaluation.

pub mod eval;
pub mod model;
pub mod transport;

pub use model::{Clip, Context, RewardError, RewardModel, Signal};
