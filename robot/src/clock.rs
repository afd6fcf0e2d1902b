//! Time, so that one loop runs on the wall clock and in a simulator that is faster than it.

use std::time::Duration;

/// A monotonic clock with deadlines.
pub trait Clock: Send {
    /// Time since the clock's start.
    fn now(&self) -> Duration;

    /// Returns at `deadline` or at once when it has passed. A simulated clock advances its world instead of waiting.
    fn sleep_until(&mut self, deadline: Duration);
}

/// The system's monotonic clock. Copies have the same start, so stamps of the arm, the cameras and the loop compare.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Duration,
}

impl Default for SystemClock {
    /// Starts now.
    fn default() -> Self {
        Self { start: monotonic() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        monotonic().saturating_sub(self.start)
    }

    /// Sleeps to an absolute time, so that being interrupted or descheduled before the call does not add up.
    fn sleep_until(&mut self, deadline: Duration) {
        sleep_until_monotonic(self.start.saturating_add(deadline));
    }
}

#[cfg(target_os = "linux")]
fn monotonic() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // The monotonic clock counts from boot, so it is not negative.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(target_os = "linux")]
fn sleep_until_monotonic(deadline: Duration) {
    use rustix::thread::{ClockId, clock_nanosleep_absolute};
    let request = rustix::time::Timespec {
        tv_sec: i64::try_from(deadline.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: deadline.subsec_nanos().into(),
    };
    while monotonic() < deadline {
        // A signal ends the sleep early; the deadline stays where it is.
        if let Err(error) = clock_nanosleep_absolute(ClockId::Monotonic, &request)
            && error != rustix::io::Errno::INTR
        {
            std::thread::sleep(deadline.saturating_sub(monotonic()));
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn monotonic() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed()
}

#[cfg(not(target_os = "linux"))]
fn sleep_until_monotonic(deadline: Duration) {
    loop {
        let left = deadline.saturating_sub(monotonic());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_never_wakes_early_and_not_at_all_late_for_the_past() {
        let mut clock = SystemClock::default();
        for k in 1..=20 {
            let deadline = Duration::from_millis(k);
            clock.sleep_until(deadline);
            assert!(clock.now() >= deadline);
        }
        let before = clock.now();
        clock.sleep_until(Duration::ZERO);
        assert!(clock.now() - before < Duration::from_millis(100));
    }

    #[test]
    fn copies_of_the_system_clock_agree() {
        let clock = SystemClock::default();
        let copy = clock;
        let (a, b, c) = (clock.now(), copy.now(), clock.now());
        assert!(a <= b && b <= c);
    }
}
