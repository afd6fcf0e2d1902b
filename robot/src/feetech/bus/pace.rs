//! [`Pace`]: how long a reply is worth waiting for.

use std::time::Duration;

/// How quickly the line answers, beyond the time on the wire.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The slowest of the last answers, slowly forgotten.
    slowest: Duration,
    /// How many answers that is.
    answers: u32,
}

impl Pace {
    /// So many answers must have come before they are relied upon.
    const ENOUGH: u32 = 30;
    /// Nothing useful is slower.
    const SLOW: Duration = Duration::from_secs(1);

    pub(super) fn answered(&mut self, took: Duration) {
        self.slowest = took.max(self.slowest.mul_f64(0.99)).min(Self::SLOW);
        self.answers = self.answers.saturating_add(1);
    }

    /// The line may have become slower: wait longer for the next ones.
    pub(super) fn timed_out(&mut self) {
        self.slowest = (self.slowest.mul_f64(1.5) + Duration::from_micros(500)).min(Self::SLOW);
    }

    /// How long to wait, `longest` at most.
    pub(super) fn patience(&self, longest: Duration) -> Duration {
        match self.answers {
            0..Self::ENOUGH => longest,
            _ => longest.min(4 * self.slowest + Duration::from_millis(3)),
        }
    }
}
