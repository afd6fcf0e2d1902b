//! Pictures of the simulator with sentences that are true of them: what the image-text model is trained and measured on.
//!
//! A [`View`] is a state of one of the SO-101's scenes, some of its colours changed, and the [`Fact`]s that hold in it, by rule, from
//! where things truly are. Some colours, phrasings and tasks are [held out](Split): training never sees them.

mod facts;
mod views;
mod words;

pub use facts::{Fact, Relation};
pub use views::{Place, Scenery, TASKS, UNSEEN_TASKS, View};
pub use words::Split;
