//! How good a reward is: agreement with the truth, with time, with preferences, and how sure the number is.
//!
//! [`examine`] asks every question at once and says whether a reward can be trusted.

mod calibration;
mod climb;
mod corruption;
mod dimensions;
mod economy;
mod epic;
#[cfg(test)]
mod goldens;
mod holes;
mod interval;
mod outcome;
mod pairs;
mod playback;
mod pressure;
mod probe;
mod rank;
mod sample;
mod segments;
mod suite;
mod verdict;

pub use calibration::{Calibration, calibration, chance_calibration, line};
pub use climb::{ClimbConfig, Found, Rung, climb};
pub use corruption::{CorruptionConfig, Located, locate};
pub use dimensions::motion;
pub use economy::{Sampling, sampling};
pub use epic::{Coverage, Transition, canonical, canonical_distance};
pub use holes::climb_features;
pub use interval::{Interval, bootstrap_mean, bootstrap_over, wilson};
pub use outcome::{Judged, judge, separation};
pub use pairs::{NEAR_TIE, PairsInOrder, pairs_in_order};
pub use playback::{EQUAL, Playback, Played, play};
pub use pressure::{Choice, Point, Turn, best_of_n, selection_kl, turn};
pub use probe::{Probe, ProbeConfig, Prober, frames_to_probe, utility};
pub use rank::{
    epic_distance, kendall, pair_accuracy, pearson, spearman, triplet_accuracy,
    value_order_correlation,
};
pub use sample::{Sample, score};
pub use segments::{boundary_error, cuts, labels_from_cuts, step_jaccard, steps_passed};
pub use suite::{Examination, ExamineConfig, LeftOut, examine};
pub use verdict::{Check, Verdict, Weight, overall, summary};
