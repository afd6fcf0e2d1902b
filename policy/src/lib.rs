//! Observation to action: imitation and online reinforcement learning.

pub mod act;
pub mod bc;
pub mod checkpoint;
pub mod chunk_queue;
mod clipped_gaussian;
pub mod clipped_gaussian_policy;
mod critic;
pub mod dagger;
#[allow(dead_code, reason = "one policy uses what another does not")]
mod deep;
mod demonstrations;
pub mod diffusion;
pub mod drq;
mod fit;
mod gaussian;
pub mod gaussian_policy;
pub mod iql;
pub mod measure;
mod normaliser;
mod off_policy;
pub mod policy;
pub mod ppo;
pub mod replay;
mod rewarder;
pub mod sac;
pub mod search;
mod small;
mod state;
pub mod td3;
pub mod tuning;

pub use act::{Act, ActConfig, ActFit};
pub use bc::{Bc, BcConfig, BcLoss, MaskedView};
pub use checkpoint::{Manifest, PolicySpec, load_policy};
pub use chunk_queue::{ChunkQueue, ChunkQueueConfig};
pub use clipped_gaussian_policy::ClippedGaussianPolicy;
pub use dagger::{Dagger, DaggerConfig};
pub use deep::layers::Activation;
pub use deep::schedule::Schedule;
pub use deep::transformer::NormPlace;
pub use diffusion::{Diffusion, DiffusionConfig, DiffusionFit};
pub use drq::{Drq, DrqConfig, DrqPolicy};
pub use fit::Fit;
pub use gaussian_policy::GaussianPolicy;
pub use iql::{Iql, IqlConfig};
pub use normaliser::ObservationScaling;
pub use policy::{
    Learner, Metrics, Mode, Policy, PolicyError, Rewarder, Transition, UniformPolicy,
};
pub use ppo::{Ppo, PpoConfig};
pub use replay::priorities::PriorityConfig;
pub use replay::{EpisodeView, Replay, Step};
pub use sac::{LearnedImitation, Sac, SacConfig};
pub use small::adam::AdamConfig;
pub use small::mlp::HiddenNorm;
pub use td3::{DeterministicPolicy, Td3, Td3Config};
