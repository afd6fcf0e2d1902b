//! How late a fixed-rate loop wakes: a histogram with a sixteenth of relative resolution and no allocation while it runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A tick that wakes later than this has missed its deadline.
pub const MISSED: Duration = Duration::from_millis(10);

/// Buckets of one octave, and exact buckets of one microsecond below it.
const SUB: usize = 16;

/// Enough octaves for a day of lateness.
const BUCKETS: usize = SUB * 34;

/// Lateness of every tick of a loop.
#[derive(Clone, Debug)]
pub struct Lateness {
    counts: Box<[u64]>,
    ticks: u64,
    missed: u64,
    skipped: u64,
    max: Duration,
}

/// The summary of a [`Lateness`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatenessReport {
    /// Ticks counted.
    pub ticks: u64,
    /// Half of the ticks were not later than this, microseconds.
    pub p50_us: f64,
    /// 99 of 100 ticks were not later than this, microseconds.
    pub p99_us: f64,
    /// The latest tick, microseconds.
    pub max_us: f64,
    /// Ticks later than [`MISSED`].
    pub missed: u64,
    /// Slots of the time grid that were left out after an overrun.
    pub skipped: u64,
}

impl Default for Lateness {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS].into(),
            ticks: 0,
            missed: 0,
            skipped: 0,
            max: Duration::ZERO,
        }
    }
}

impl Lateness {
    /// Counts one tick, and the slots left out before it.
    pub fn record(&mut self, late: Duration, skipped: u64) {
        self.counts[bucket(late)] += 1;
        self.ticks += 1;
        self.skipped += skipped;
        self.missed += u64::from(late > MISSED);
        self.max = self.max.max(late);
    }

    /// The lateness that a share `q` (`0..=1`) of the ticks did not exceed, at most a sixteenth too large; zero without ticks.
    pub fn quantile(&self, q: f64) -> Duration {
        let rank = ((q.clamp(0.0, 1.0) * self.ticks as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_end(index).min(self.max);
            }
        }
        Duration::ZERO
    }

    /// The summary.
    pub fn report(&self) -> LatenessReport {
        let us = |time: Duration| time.as_nanos() as f64 * 1e-3;
        LatenessReport {
            ticks: self.ticks,
            p50_us: us(self.quantile(0.5)),
            p99_us: us(self.quantile(0.99)),
            max_us: us(self.max),
            missed: self.missed,
            skipped: self.skipped,
        }
    }
}

fn bucket(late: Duration) -> usize {
    let us = late.as_micros().min(u128::from(u64::MAX)) as usize;
    if us < SUB {
        return us;
    }
    let octave = us.ilog2() as usize - SUB.ilog2() as usize;
    (SUB + octave * SUB + (us >> octave) % SUB).min(BUCKETS - 1)
}

fn upper_end(bucket: usize) -> Duration {
    if bucket < SUB {
        return Duration::from_micros(bucket as u64 + 1);
    }
    let octave = (bucket - SUB) / SUB;
    let sub = (bucket - SUB) % SUB;
    Duration::from_micros(((SUB + sub + 1) as u64) << octave)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn quantiles_are_right_to_a_sixteenth(mut late in prop::collection::vec(0..5_000_000_u64, 1..400), q in 0.0..=1.0_f64) {
            let mut histogram = Lateness::default();
            for us in &late {
                histogram.record(Duration::from_micros(*us), 0);
            }
            late.sort_unstable();
            let rank = ((q * late.len() as f64).ceil() as usize).max(1);
            let exact = late[rank - 1] as f64;
            let found = histogram.quantile(q).as_micros() as f64;
            prop_assert!(found >= exact && found <= exact * (1.0 + 1.0 / 16.0) + 1.0, "{found} {exact}");
        }
    }

    #[test]
    fn deadlines_missed_and_slots_skipped_are_counted() {
        let mut histogram = Lateness::default();
        assert_eq!(histogram.report(), LatenessReport::default());
        for ms in [0, 1, 10, 11, 100_000_000_000] {
            histogram.record(Duration::from_millis(ms), 2);
        }
        let report = histogram.report();
        assert_eq!((report.ticks, report.missed, report.skipped), (5, 2, 10));
        assert_eq!(report.max_us, 1e14);
    }
}
