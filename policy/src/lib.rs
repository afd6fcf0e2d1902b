//! Observation to action: imitation and online reinforcement learning.

pub mod bc;
pub mod checkpoint;
mod critic;
pub mod dagger;
mod gaussian;
pub mod gaussian_policy;
pub mod iql;
mod normaliser;
pub mod policy;
pub mod replay;
pub mod sac;
pub mod search;
mod small;
mod state;

pub use bc::{Bc, BcConfig, BcLoss};
pub use checkpoint::{Checkpoints, Manifest, PolicySpec, load_policy};
pub use dagger::{Dagger, DaggerConfig};
pub use gaussian_policy::GaussianPolicy;
pub use iql::{Iql, IqlConfig, IqlPolicy};
pub use normaliser::ObservationScaling;
pub use policy::{Learner, Metrics, Mode, Policy, PolicyError, Transition};
pub use replay::{EpisodeView, Replay, Step};
pub use sac::{Sac, SacConfig};
pub use small::adam::AdamConfig;
pub use small::mlp::HiddenNorm;
