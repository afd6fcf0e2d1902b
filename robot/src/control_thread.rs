//! A [`Control`] on a thread of its own: it owns the arm and the deadline clock, and nobody can make it wait.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde::{Deserialize, Serialize};

use crate::control::{Control, ControlReport, Tick};
use crate::guard::{GuardError, GuardState};
use crate::realtime::{Scheduling, request_fifo};

/// How the thread is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlThreadConfig {
    /// `SCHED_FIFO` priority to ask for, 1 to 99. None: an ordinary thread.
    pub fifo_priority: Option<i32>,
    /// Ticks that wait for the receiver before new ones are dropped.
    pub queue: usize,
}

impl Default for ControlThreadConfig {
    fn default() -> Self {
        Self {
            fifo_priority: Some(50),
            queue: 64,
        }
    }
}

/// Why the thread did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The system gives no thread.
    #[error("cannot start the control thread: {0}")]
    Spawn(#[from] std::io::Error),
    /// The thread is gone; the stop order has run.
    #[error("the control thread has ended")]
    Ended,
    /// The thread panicked; the stop order has run.
    #[error("the control thread panicked: {0}")]
    Panicked(String),
    /// Nothing came in time.
    #[error("the control thread said nothing for {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The guard refused.
    #[error(transparent)]
    Guard(#[from] GuardError),
}

/// What can be asked of the thread besides goals.
#[derive(Clone, Copy, Debug)]
enum Request {
    Enable,
    Rearm,
    Hold,
    Acknowledge,
}

type Reply = Result<(), GuardError>;

/// The longest a request may take: arming reads the arm three times, the stop order retries.
const REPLY: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Shared {
    dropped_ticks: AtomicU64,
    dropped_goals: AtomicU64,
    report: Mutex<ControlReport>,
}

/// The other end of a running loop. Dropping it stops the arm.
#[derive(Debug)]
pub struct ControlHandle {
    goals: Sender<Vec<f64>>,
    requests: Sender<(Request, Sender<Reply>)>,
    ticks: Receiver<Tick>,
    stop: Arc<AtomicBool>,
    emergency: Arc<AtomicBool>,
    shared: Arc<Shared>,
    scheduling: Scheduling,
    period: Duration,
    thread: Option<JoinHandle<(Control, Reply)>>,
}

impl Control {
    /// Runs the loop on a thread of its own until it is stopped or its handle is dropped. Then, and when the thread panics, the
    /// stop order runs.
    ///
    /// Errors: [`ControlError::Spawn`]; the loop is dropped then, which runs the stop order as well.
    pub fn spawn(self, config: ControlThreadConfig) -> Result<ControlHandle, ControlError> {
        let (goals, goals_in) = bounded(8);
        let (requests, requests_in) = bounded(4);
        let (ticks_out, ticks) = bounded(config.queue.max(1));
        let (scheduling_out, scheduling) = bounded(1);
        let stop = Arc::new(AtomicBool::new(false));
        let emergency = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared::default());
        let period = self.period();
        let worker = Worker {
            control: self,
            goals: goals_in,
            requests: requests_in,
            ticks: ticks_out,
            stop: stop.clone(),
            emergency: emergency.clone(),
            shared: shared.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || {
                let granted = match config.fifo_priority {
                    Some(priority) => request_fifo(priority),
                    None => Scheduling::Ordinary {
                        why: "nothing else was asked for".into(),
                    },
                };
                // The receiver waits for this one message.
                let _ = scheduling_out.send(granted);
                worker.run()
            })?;
        let scheduling = scheduling.recv().map_err(|_| ControlError::Ended)?;
        Ok(ControlHandle {
            goals,
            requests,
            ticks,
            stop,
            emergency,
            shared,
            scheduling,
            period,
            thread: Some(thread),
        })
    }
}

struct Worker {
    control: Control,
    goals: Receiver<Vec<f64>>,
    requests: Receiver<(Request, Sender<Reply>)>,
    ticks: Sender<Tick>,
    stop: Arc<AtomicBool>,
    emergency: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

impl Worker {
    fn run(mut self) -> (Control, Reply) {
        while !self.stop.load(Ordering::Acquire) {
            if self.emergency.swap(false, Ordering::AcqRel) {
                // Should a switch stay on, the guard's state says so in every tick.
                let _ = self.control.emergency_stop();
            }
            while let Ok((request, reply)) = self.requests.try_recv() {
                let answer = match request {
                    Request::Enable => self.control.enable(),
                    Request::Rearm => self.control.rearm(),
                    Request::Acknowledge => self.control.acknowledge(),
                    Request::Hold => {
                        self.control.hold();
                        Ok(())
                    }
                };
                // Whoever asked may have stopped waiting.
                let _ = reply.try_send(answer);
            }
            let goal = self.goals.try_iter().last();
            let tick = self.control.tick(goal.as_deref());
            if let Ok(mut report) = self.shared.report.try_lock() {
                *report = self.control.report();
            }
            if self.ticks.try_send(tick).is_err() {
                self.shared.dropped_ticks.fetch_add(1, Ordering::Relaxed);
            }
        }
        if self.emergency.load(Ordering::Acquire) {
            let _ = self.control.emergency_stop();
        }
        let stopped = self.control.stop();
        (self.control, stopped)
    }
}

impl ControlHandle {
    /// Hands a goal over (rad, gripper: fraction, `[dof]`); of several in one period the last counts. Never waits: a full queue
    /// drops the goal and counts it.
    ///
    /// Errors: [`ControlError::Ended`].
    pub fn send_goal(&self, goal: Vec<f64>) -> Result<(), ControlError> {
        match self.goals.try_send(goal) {
            Ok(()) => Ok(()),
            Err(crossbeam_channel::TrySendError::Full(_)) => {
                self.shared.dropped_goals.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(crossbeam_channel::TrySendError::Disconnected(_)) => Err(ControlError::Ended),
        }
    }

    /// Waits for the next tick that is not there yet, three periods at most and at least a second; ticks that waited are
    /// thrown away.
    ///
    /// Errors: [`ControlError::Timeout`], [`ControlError::Ended`].
    pub fn next_tick(&self) -> Result<Tick, ControlError> {
        while self.ticks.try_recv().is_ok() {}
        let patience = (self.period * 3).max(Duration::from_secs(1));
        self.ticks
            .recv_timeout(patience)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => ControlError::Timeout(patience),
                RecvTimeoutError::Disconnected => ControlError::Ended,
            })
    }

    /// Ticks in order, for a recorder that wants all of them.
    pub fn ticks(&self) -> &Receiver<Tick> {
        &self.ticks
    }

    /// Time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// How the system schedules the thread.
    pub fn scheduling(&self) -> &Scheduling {
        &self.scheduling
    }

    /// [`crate::Guard::enable`] on the thread.
    pub fn enable(&self) -> Result<(), ControlError> {
        self.ask(Request::Enable)
    }

    /// [`crate::Guard::rearm`] on the thread.
    pub fn rearm(&self) -> Result<(), ControlError> {
        self.ask(Request::Rearm)
    }

    /// [`crate::Guard::hold`] on the thread.
    pub fn hold(&self) -> Result<(), ControlError> {
        self.ask(Request::Hold)
    }

    /// [`crate::Guard::acknowledge`] on the thread.
    pub fn acknowledge(&self) -> Result<(), ControlError> {
        self.ask(Request::Acknowledge)
    }

    /// Torque off within a period, and a latched fault. Never waits, and works while everybody else is stuck.
    pub fn emergency_stop(&self) {
        self.emergency.store(true, Ordering::Release);
    }

    /// Setting this to true is [`ControlHandle::emergency_stop`]; for a signal handler or a pedal.
    pub fn emergency_flag(&self) -> Arc<AtomicBool> {
        self.emergency.clone()
    }

    /// Setting this to true stops the loop as [`ControlHandle::stop`] does, without waiting for it; for a signal handler.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }

    /// What the loop did so far.
    pub fn report(&self) -> ControlReport {
        let report = match self.shared.report.lock() {
            Ok(report) => *report,
            Err(poisoned) => *poisoned.into_inner(),
        };
        self.complete(report)
    }

    /// Brakes, runs the stop order, ends the thread and gives the loop back with its report.
    ///
    /// Errors: [`ControlError::Guard`] where a torque switch stayed on; [`ControlError::Panicked`].
    pub fn stop(mut self) -> Result<(Control, ControlReport), ControlError> {
        self.stop.store(true, Ordering::Release);
        let thread = self.thread.take().ok_or(ControlError::Ended)?;
        let (control, stopped) = thread
            .join()
            .map_err(|panic| ControlError::Panicked(message(&*panic)))?;
        stopped?;
        let report = self.complete(control.report());
        Ok((control, report))
    }

    fn complete(&self, report: ControlReport) -> ControlReport {
        ControlReport {
            dropped_ticks: self.shared.dropped_ticks.load(Ordering::Relaxed),
            dropped_goals: self.shared.dropped_goals.load(Ordering::Relaxed),
            ..report
        }
    }

    fn ask(&self, request: Request) -> Result<(), ControlError> {
        let (reply, answer) = bounded(1);
        self.requests
            .send_timeout((request, reply), REPLY)
            .map_err(|_| ControlError::Ended)?;
        match answer.recv_timeout(REPLY) {
            Ok(answer) => Ok(answer?),
            Err(RecvTimeoutError::Timeout) => Err(ControlError::Timeout(REPLY)),
            Err(RecvTimeoutError::Disconnected) => Err(ControlError::Ended),
        }
    }
}

impl Drop for ControlHandle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic of the loop has run the stop order already, and there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).into(),
        (_, Some(text)) => text.clone(),
        _ => "no message".into(),
    }
}

impl Tick {
    /// Whether the guard follows goals.
    pub fn follows_goals(&self) -> bool {
        self.guard.follows_goals()
    }

    /// Whether the guard has latched a fault.
    pub fn is_faulty(&self) -> bool {
        self.guard == GuardState::Fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::guard::{Guard, GuardConfig, Reason};
    use crate::so101;
    use crate::testing::Bench;

    const PERIOD: Duration = Duration::from_millis(5);

    /// A bench whose time is the wall's.
    fn start(bench: &Bench) -> ControlHandle {
        let guard = Guard::with_chain(bench.arm(), so101::chain(), GuardConfig::so101()).unwrap();
        let clock = bench.beside(SystemClock::default());
        let control = Control::new(guard, clock, PERIOD).unwrap();
        control.spawn(ControlThreadConfig::default()).unwrap()
    }

    #[test]
    fn goals_sent_to_the_thread_move_the_arm_and_stopping_turns_it_off() {
        let bench = Bench::new();
        let handle = start(&bench);
        handle.enable().unwrap();
        let goal: Vec<f64> = bench.world().positions.iter().map(|q| q + 0.02).collect();
        for _ in 0..120 {
            handle.send_goal(goal.clone()).unwrap();
            let tick = handle.next_tick().unwrap();
            assert!(tick.follows_goals(), "{:?}", tick.reason);
        }
        assert!((bench.world().positions[0] - goal[0]).abs() < 5e-3);
        let (control, report) = handle.stop().unwrap();
        assert_eq!(control.guard().state(), GuardState::Limp);
        assert!(bench.world().torque.iter().all(|on| !on));
        assert!(report.lateness.ticks >= 120);
        assert!(report.lateness.p50_us <= report.lateness.max_us);
    }

    #[test]
    fn nobody_reading_the_ticks_does_not_stop_the_loop() {
        let bench = Bench::new();
        let handle = start(&bench);
        handle.enable().unwrap();
        while handle.report().dropped_ticks < 20 {
            std::thread::sleep(PERIOD);
        }
        let (_, report) = handle.stop().unwrap();
        assert!(report.lateness.ticks > 64 + 20);
    }

    #[test]
    fn the_emergency_flag_turns_torque_off_and_latches() {
        let bench = Bench::new();
        let handle = start(&bench);
        handle.enable().unwrap();
        assert!(bench.world().torque.iter().all(|on| *on));
        handle.emergency_flag().store(true, Ordering::Release);
        let tick = loop {
            let tick = handle.next_tick().unwrap();
            if tick.is_faulty() {
                break tick;
            }
        };
        assert_eq!(tick.reason, Some(Reason::EmergencyStop));
        assert!(bench.world().torque.iter().all(|on| !on));
        assert!(matches!(handle.enable(), Err(ControlError::Guard(_))));
        handle.acknowledge().unwrap();
        handle.enable().unwrap();
    }

    #[test]
    fn dropping_the_handle_turns_torque_off() {
        let bench = Bench::new();
        let handle = start(&bench);
        handle.enable().unwrap();
        drop(handle);
        assert!(bench.world().torque.iter().all(|on| !on));
    }

    #[test]
    fn a_panic_in_the_thread_turns_torque_off() {
        let bench = Bench::new();
        let handle = start(&bench);
        handle.enable().unwrap();
        bench.world().panics = true;
        while handle.next_tick().is_ok() {}
        assert!(matches!(
            handle.send_goal(vec![0.0; 6]),
            Err(ControlError::Ended)
        ));
        let Err(ControlError::Panicked(text)) = handle.stop() else {
            panic!("the panic was lost")
        };
        assert!(text.contains("bench"), "{text}");
        assert!(bench.world().torque.iter().all(|on| !on));
    }
}
