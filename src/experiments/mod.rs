//! Measured experiments: what the papers claim, tried here, by commands that anyone can repeat (`rapport bench claim`, `rapport bench
//! steps`, `rapport bench door`). They join simulator, encoder and rewards; only the door has a learner, PI2.

pub mod claim;
pub mod door;
pub mod filming;
mod labels;
pub mod manner;
pub mod rivals;
mod side_by_side;
mod statistics;
pub mod steps;
