//! Domain randomisation: every episode in a slightly different world, so that a policy does not learn the one that happens
//! to be simulated.
//!
//! [`Randomisation`] says what varies and how far, [`Variation`] is what one episode drew, by name. The same seed draws the
//! same, and each kind of change draws from a stream of its own: switching one on leaves the others as they were. What is
//! drawn goes into a private copy of the model, which the renderers read too; where nothing varies the model stays shared.

mod apply;
mod config;
mod variation;

#[cfg(test)]
mod tests;

pub(crate) use apply::{adopt, derive, set_gain};
pub use config::{Randomisation, Range};
pub use variation::{Kind, Variation};
