//! Features and preferences to reward: models, transforms, combination, evaluation.

pub mod model;

pub use model::{Clip, Context, RewardError, RewardModel, Signal};
