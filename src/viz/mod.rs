//! Rerun logging, beside the data's way and never inside it.
//!
//! Loops hand [`Message`]s to a [`Recording`]; a thread of its own owns the Rerun stream, so a slow disk never slows control.

mod arm;
mod blueprint;
pub mod curves;
mod recording;
mod things;
mod training;

pub use recording::{Message, Recording};
pub use things::things;
pub use training::TrainingCurves;
