//! Measured experiments: what the papers claim, tried here, by commands that anyone can repeat (`rapport bench claim`, `rapport bench
//! steps`, `rapport bench door`, `rapport bench sam`). They join simulator, encoder and rewards; only the last two have a learner.

pub mod claim;
pub mod door;
pub mod filming;
mod labels;
pub mod manner;
pub mod rivals;
pub mod sam;
mod side_by_side;
pub mod statistics;
pub mod steps;
