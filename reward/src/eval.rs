//! How good a reward is: agreement with the truth, with time, with preferences, and how sure the number is.

mod interval;
mod rank;
mod segments;

pub use interval::{Interval, bootstrap_mean, wilson};
pub use rank::{
    epic_distance, kendall, pair_accuracy, pearson, spearman, triplet_accuracy,
    value_order_correlation,
};
pub use segments::{boundary_error, labels_from_cuts, step_jaccard};
