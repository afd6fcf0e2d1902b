//! Time, so that one loop runs on the wall clock and in a simulator that is faster than it.

use std::time::{Duration, Instant};

/// A monotonic clock with deadlines.
pub trait Clock: Send {
    /// Time since the clock's start.
    fn now(&self) -> Duration;

    /// Returns at `deadline` or at once when it has passed. A simulated clock advances its world instead of waiting.
    fn sleep_until(&mut self, deadline: Duration);
}

/// The system's monotonic clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep_until(&mut self, deadline: Duration) {
        let left = deadline.saturating_sub(self.now());
        if !left.is_zero() {
            std::thread::sleep(left);
        }
    }
}
