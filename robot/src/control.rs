//! The fixed-rate loop around a [`Guard`]: inline on any [`Clock`], or on a thread of its own ([`Control::spawn`]).

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arm::ArmState;
use crate::clock::Clock;
use crate::guard::{Guard, GuardError, GuardReport, GuardState, Reason};
use crate::lateness::{Lateness, LatenessReport};

/// How long a moving arm may take to brake before the stop order, s.
const BRAKING: Duration = Duration::from_millis(500);

/// A release begins with this much of the torque that the arm needs.
const SPARE: f64 = 1.2;

/// Overruns are counted over this time.
const WINDOW: Duration = Duration::from_secs(2);

/// One turn of the loop.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// When it ended, on the loop's clock.
    pub time: Duration,
    /// The newest measurement. Empty where nothing was ever measured.
    pub state: ArmState,
    /// How long ago that measurement came; zero where it came with this tick.
    pub age: Duration,
    /// The command that was sent at its beginning, rad (gripper: fraction), `[dof]`.
    pub sent: Option<Vec<f64>>,
    /// How long after the deadline it woke.
    pub lateness: Duration,
    /// Slots of the time grid left out because the one before took too long.
    pub skipped: u64,
    /// What the guard lets happen.
    pub guard: GuardState,
    /// Why it holds or has latched a fault.
    pub reason: Option<Reason>,
}

/// What a loop did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ControlReport {
    /// How late it woke.
    pub lateness: LatenessReport,
    /// What the guard did.
    pub guard: GuardReport,
    /// Ticks that nobody took out of the queue in time (loops on a thread).
    pub dropped_ticks: u64,
    /// Goals that found the queue full (loops on a thread).
    pub dropped_goals: u64,
}

/// A guard, a clock and a period.
pub struct Control {
    guard: Guard,
    clock: Box<dyn Clock>,
    period: Duration,
    deadline: Option<Duration>,
    lateness: Lateness,
    /// Slots missed before each of the last ticks.
    misses: VecDeque<u64>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("guard", &self.guard)
            .field("period", &self.period)
            .finish_non_exhaustive()
    }
}

impl Control {
    /// A loop with this period, 10 ms for an arm on a serial bus.
    ///
    /// Errors: [`GuardError::Config`] where the period is 0 or longer than the guard's watchdog allows.
    pub fn new(guard: Guard, clock: Box<dyn Clock>, period: Duration) -> Result<Self, GuardError> {
        let longest = guard.config().watchdog.stale_goal_s;
        if period.is_zero() || period.as_secs_f64() >= longest {
            return Err(GuardError::Config(format!(
                "the control period must be above 0 and below watchdog.stale_goal_s, {longest} s"
            )));
        }
        Ok(Self {
            guard,
            clock,
            period,
            deadline: None,
            lateness: Lateness::default(),
            misses: VecDeque::new(),
        })
    }

    /// The guard.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Time on the loop's clock.
    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    /// [`Guard::enable`] now.
    pub fn enable(&mut self) -> Result<(), GuardError> {
        self.guard.enable(self.clock.now())
    }

    /// [`Guard::rearm`] now.
    pub fn rearm(&mut self) -> Result<(), GuardError> {
        self.guard.rearm(self.clock.now())
    }

    /// [`Guard::hold`].
    pub fn hold(&mut self) {
        self.guard.hold();
    }

    /// [`Guard::acknowledge`].
    pub fn acknowledge(&mut self) -> Result<(), GuardError> {
        self.guard.acknowledge()
    }

    /// [`Guard::emergency_stop`].
    pub fn emergency_stop(&mut self) -> Result<(), GuardError> {
        self.guard.emergency_stop()
    }

    /// Brakes, for half a second at most, takes the torque back over [`GuardConfig::release_s`](crate::GuardConfig), then runs the stop order.
    ///
    /// Errors: [`GuardError::TorqueRemains`].
    pub fn stop(&mut self) -> Result<(), GuardError> {
        self.guard.hold();
        let end = self.clock.now() + BRAKING;
        while self.guard.state() == GuardState::Hold
            && !self.guard.resting()
            && self.clock.now() < end
        {
            self.tick(None);
        }
        self.release();
        self.guard.stop()
    }

    /// Takes the torque back, from a little more than the arm needs to nothing, so that it sinks instead of falling. An arm that does not take it
    /// falls; that is no reason to leave its torque on.
    fn release(&mut self) {
        let (start, time) = (self.clock.now(), self.guard.config().release_s);
        let loads = self.guard.measured().map_or(&[][..], |state| &state.loads);
        let needed = loads
            .iter()
            .fold(0.0_f64, |most, load| most.max(load.abs()));
        let from = (SPARE * needed).clamp(0.1, 1.0);
        while self.guard.state() == GuardState::Hold {
            let left = 1.0 - (self.clock.now() - start).as_secs_f64() / time;
            if left.is_nan() || left <= 0.0 || self.guard.soften(from * left).is_err() {
                return;
            }
            self.tick(None);
        }
    }

    /// Holds when too many of the slots of the last two seconds were missed. A long absence at once is the guard's own business.
    fn count_misses(&mut self, skipped: u64) {
        let gone = self.period.as_secs_f64() * skipped as f64;
        if gone >= self.guard.config().watchdog.lost_goal_s {
            self.misses.clear();
            return;
        }
        let window = (WINDOW.as_nanos() / self.period.as_nanos()).max(1) as usize;
        self.misses.push_back(skipped);
        while self.misses.len() > window {
            self.misses.pop_front();
        }
        let missed: u64 = self.misses.iter().sum();
        let of = missed + self.misses.len() as u64;
        let share = missed as f64 / window as f64;
        if share > self.guard.config().watchdog.overruns {
            self.guard.hold_after_overruns(missed, of);
        }
    }

    /// Sends a goal (rad, gripper: fraction, `[dof]`), waits for the next slot of the time grid, measures. Without a goal
    /// the last one counts until the guard's watchdog drops it. After an overrun the loop goes on at the next slot; it does not
    /// catch up.
    pub fn tick(&mut self, goal: Option<&[f64]>) -> Tick {
        let now = self.clock.now();
        let sent = self.guard.send(now, goal).map(<[f64]>::to_vec);
        let last = self.deadline.unwrap_or(now);
        let late = now.saturating_sub(last).as_nanos() / self.period.as_nanos();
        let skipped = u64::try_from(late).unwrap_or(u64::MAX);
        let slots = u32::try_from(skipped).unwrap_or(u32::MAX).saturating_add(1);
        let deadline = last.saturating_add(self.period.saturating_mul(slots));
        self.deadline = Some(deadline);
        self.clock.sleep_until(deadline);
        let time = self.clock.now();
        let lateness = time.saturating_sub(deadline);
        self.lateness.record(lateness, skipped);
        self.count_misses(skipped);
        self.guard.measure(time);
        Tick {
            time,
            state: self.guard.measured().cloned().unwrap_or_default(),
            age: time.saturating_sub(self.guard.measured_at().unwrap_or_default()),
            sent,
            lateness,
            skipped,
            guard: self.guard.state(),
            reason: self.guard.reason().cloned(),
        }
    }

    /// What the loop did so far.
    pub fn report(&self) -> ControlReport {
        ControlReport {
            lateness: self.lateness.report(),
            guard: self.guard.report(),
            ..ControlReport::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::GuardConfig;
    use crate::so101;
    use crate::testing::Bench;

    fn control(bench: &Bench) -> Control {
        let guard = Guard::with_chain(bench.arm(), so101::chain(), GuardConfig::so101()).unwrap();
        let clock = Box::new(bench.clone());
        Control::new(guard, clock, Duration::from_millis(10)).unwrap()
    }

    #[test]
    fn ticks_come_on_the_grid_and_the_arm_goes_where_it_is_told() {
        let bench = Bench::new();
        let mut control = control(&bench);
        control.enable().unwrap();
        let goal: Vec<f64> = bench.world().positions.iter().map(|q| q + 0.1).collect();
        for k in 1..=300_u64 {
            let tick = control.tick(Some(&goal));
            assert_eq!(tick.time, Duration::from_millis(10 * k));
            assert_eq!((tick.lateness, tick.skipped), (Duration::ZERO, 0));
            assert_eq!(tick.state.stamp, tick.time);
        }
        assert!((bench.world().positions[0] - goal[0]).abs() < 1e-3);
    }

    #[test]
    fn an_overrun_goes_on_at_the_next_slot_and_never_in_a_burst() {
        let bench = Bench::new();
        let mut control = control(&bench);
        control.enable().unwrap();
        control.tick(None);
        bench.advance(0.047);
        let tick = control.tick(None);
        assert_eq!(tick.time, Duration::from_millis(60));
        assert_eq!(tick.skipped, 4);
        assert_eq!(control.tick(None).time, Duration::from_millis(70));
        assert_eq!(control.report().lateness.skipped, 4);
    }

    #[test]
    fn stopping_brakes_within_the_acceleration_limit_before_torque_goes_off() {
        let bench = Bench::new();
        let mut control = control(&bench);
        control.enable().unwrap();
        let mut goal = bench.world().positions.clone();
        goal[4] += 1.5;
        while control.guard().state() != GuardState::Running || control.guard().resting() {
            control.tick(Some(&goal));
            goal[4] = control.guard().command()[4] + 0.2;
            assert!(control.now() < Duration::from_secs(10));
        }
        for _ in 0..10 {
            control.tick(Some(&goal));
        }
        control.stop().unwrap();
        let world = bench.world();
        let speeds: Vec<f64> = world
            .commands
            .windows(2)
            .map(|pair| (pair[1].1[4] - pair[0].1[4]) / 0.01)
            .collect();
        assert!(
            speeds
                .windows(2)
                .all(|pair| (pair[1] - pair[0]).abs() <= 0.0801)
        );
        assert_eq!(*speeds.last().unwrap(), 0.0);
        assert!(world.torque.iter().all(|on| !on));
    }

    #[test]
    fn a_period_the_watchdog_cannot_watch_is_refused() {
        for period in [Duration::ZERO, Duration::from_millis(150)] {
            let bench = Bench::new();
            let guard = Guard::new(bench.arm(), GuardConfig::default()).unwrap();
            assert!(Control::new(guard, Box::new(bench), period).is_err());
        }
    }
}
