//! The `Adversary` family: heads that learn to tell demonstrations from what the policy does now, and pay for being taken for a
//! demonstration.
//!
//! | what | module | source |
//! |---|---|---|
//! | [`Adversary`], [`FrozenAdversary`]: a discriminator kept Lipschitz, as off-policy imitation needs | `discriminator`, `lipschitz`, `reward` | SAM, arXiv 2006.16785 |
//! | [`Preconditioner`]: less pay where small changes of an action change much | `precondition` | ibid. |
//! | [`TokenAdversary`], [`TokenReward`]: a hinge head on frozen class and patch tokens | `tokens` | Adv-GRPO |
//!
//! Rewards that a replay buffer keeps grow stale as the head learns: see [`Relabel`].

mod config;
mod discriminator;
mod lipschitz;
mod precondition;
mod reward;
mod saving;
mod tokens;

pub use config::{Absorbing, AdversaryConfig, Lipschitz, RewardForm};
pub use discriminator::{Adversary, UpdateReport};
pub use precondition::{PreconditionConfig, Preconditioner};
pub use reward::{FrozenAdversary, Relabel, Steps};
pub use tokens::{TokenAdversary, TokenConfig, TokenReward};
