//! Rapport: robot reward learning.
//!
//! Demonstration videos, sentences and choices become rewards; rewards become policies; policies move arms.
//! `docs/architecture.md` is the map of the house; each room is a crate, re-exported here under its own name.

pub use rapport_dataset as dataset;
pub use rapport_perception as perception;
pub use rapport_policy as policy;
pub use rapport_reward as reward;
pub use rapport_robot as robot;
pub use rapport_sim as sim;

pub mod planning;
