//! Measured experiments: what the papers claim, tried here, by commands that anyone can repeat (`rapport bench claim`, `rapport bench
//! steps`). They join simulator, encoder and rewards, and know no learner: what is measured is the reward itself.

pub mod claim;
pub mod filming;
mod labels;
pub mod manner;
pub mod rivals;
mod side_by_side;
mod statistics;
pub mod steps;
