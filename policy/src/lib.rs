//! Observation to action: imitation and online reinforcement learning.

pub mod policy;

pub use policy::{Learner, Metrics, Mode, Policy, PolicyError, Transition};
