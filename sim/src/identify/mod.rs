//! System identification: which friction, damping, gains, rotor inertia and delay make the simulated arm move as a recorded one
//! did.
//!
//! [`fit`] replays the goals of recorded [`Motion`]s open loop, segment by segment from the measured start, and minimises the
//! difference of the joint positions. First all joints share their numbers, from several starts; then each joint may differ,
//! held to the shared numbers by a prior that only matters where the motions say nothing. The [`Fit`] says how sure each number
//! is, what the motions cannot tell apart, and how well motions are predicted that the fit has not seen.
//!
//! | file | idea |
//! |---|---|
//! | [`motion`] | recorded motions, what is wrong with them, and their segments |
//! | [`parameters`] | the numbers that are fitted, as a vector |
//! | [`replay`] | the goals of a segment, in simulation |
//! | [`solve`] | least squares by Levenberg and Marquardt's method |
//! | [`confidence`] | intervals, and what cannot be told apart |
//! | [`fitting`] | the stages of a fit |
//! | [`report`] | what came out |

pub mod confidence;
pub mod fitting;
pub mod motion;
pub mod parameters;
pub mod replay;
pub mod report;
pub mod solve;

#[cfg(test)]
mod tests;

pub use fitting::{FitConfig, Progress, fit};
pub use motion::{IdentifyError, Motion};
pub use report::{Estimate, Fit, JointError};
