//! The question of a search: which of these is best, and which is worst?

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use crate::annotator::Annotator;
use crate::model::RewardError;

/// What the policies of a round did, to be looked at together.
#[derive(Clone, Debug)]
pub struct Lineup<R> {
    /// Which round, counted from 0.
    pub round: usize,
    /// One for each program.
    pub rollouts: Vec<R>,
}

/// The answer: indices into the line-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extremes {
    /// Liked most.
    pub best: usize,
    /// Liked least.
    pub worst: usize,
}

/// An oracle for line-ups of `R`: the best has the largest score, the worst the smallest; of equals the first. A score that is
/// not a number is the smallest of all.
pub struct ScoredBy<R, F> {
    score: F,
    scored: PhantomData<fn(&R)>,
}

impl<R, F: FnMut(&R) -> f64> ScoredBy<R, F> {
    /// An oracle with this score.
    pub fn new(score: F) -> Self {
        Self {
            score,
            scored: PhantomData,
        }
    }

    fn extremes(&mut self, rollouts: &[R]) -> Option<Extremes> {
        let scores: Vec<f64> = rollouts
            .iter()
            .map(|r| (self.score)(r))
            .map(|s| if s.is_nan() { f64::NEG_INFINITY } else { s })
            .collect();
        let first = |better: fn(f64, f64) -> bool| {
            (0..scores.len()).reduce(|a, b| if better(scores[b], scores[a]) { b } else { a })
        };
        let (best, worst) = (first(|b, a| b > a)?, first(|b, a| b < a)?);
        // All equal: somebody has to be last.
        let worst = if best == worst {
            scores.len() - 1
        } else {
            worst
        };
        Some(Extremes { best, worst })
    }
}

impl<R, F: FnMut(&R) -> f64 + Send> Annotator for ScoredBy<R, F> {
    type Query = Lineup<R>;
    type Answer = Extremes;

    fn name(&self) -> &str {
        "oracle"
    }

    fn label(&mut self, queries: &[Lineup<R>]) -> Result<Vec<Option<Extremes>>, RewardError> {
        Ok(queries.iter().map(|q| self.extremes(&q.rollouts)).collect())
    }
}
