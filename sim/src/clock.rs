//! Simulated time: as fast as the machine can, or beside the wall clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rapport_robot::Clock;

use crate::world::{World, WorldError};

/// How simulated time runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// As fast as it can be computed.
    #[default]
    Free,
    /// One simulated second per second, where the machine keeps up.
    WallClock,
}

/// The clock of a [`World`]: sleeping steps the physics. When the world comes apart, time stands still and the next reading
/// of the arm says why.
#[derive(Debug)]
pub struct SimClock {
    world: World,
    /// For [`Pace::WallClock`]: a moment on the wall and the simulated time it belongs to.
    wall: Option<(Instant, Duration)>,
}

impl SimClock {
    /// The clock of `world`. It is what moves the world; a world should have one.
    pub fn new(world: World, pace: Pace) -> Self {
        let wall = (pace == Pace::WallClock).then(|| (Instant::now(), world.now()));
        Self { world, wall }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Duration {
        self.world.now()
    }

    fn sleep_until(&mut self, deadline: Duration) {
        // The error stays in the world, and whoever reads the arm gets it.
        let advanced = self.world.advance_until(deadline);
        if advanced.is_ok()
            && let Some((start, simulated)) = self.wall
        {
            let due = start + deadline.saturating_sub(simulated);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
}

/// A thread that keeps a world beside the wall clock until it is dropped, for programs that look at the world from outside:
/// the servo-bus twin, a viewer.
#[derive(Debug)]
pub struct RealTime {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), WorldError>>>,
}

impl RealTime {
    /// Starts stepping `world`, `period` at a time.
    ///
    /// Errors: the system gives no thread.
    pub fn start(world: World, period: Duration) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let thread = std::thread::Builder::new()
            .name("world".into())
            .spawn(move || {
                let mut clock = SimClock::new(world.clone(), Pace::WallClock);
                let mut deadline = clock.now();
                while !stopping.load(Ordering::Relaxed) {
                    deadline += period.max(world.timestep());
                    clock.sleep_until(deadline);
                    world.arm_state()?;
                }
                Ok(())
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Stops and says whether the world came through.
    ///
    /// Errors: [`WorldError::Diverged`].
    pub fn stop(mut self) -> Result<(), WorldError> {
        self.join()
    }

    fn join(&mut self) -> Result<(), WorldError> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(WorldError::Invalid("the stepping thread panicked".into())),
            None => Ok(()),
        }
    }
}

impl Drop for RealTime {
    fn drop(&mut self) {
        // Nobody is left to tell; who wants to know calls `stop`.
        let _ = self.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::{Scene, SceneConfig};

    fn world() -> World {
        World::new(Scene::new(SceneConfig::default()).unwrap()).unwrap()
    }

    #[test]
    fn sleeping_steps_the_physics_up_to_the_deadline() {
        let world = world();
        let mut clock = SimClock::new(world.clone(), Pace::Free);
        let started = Instant::now();
        clock.sleep_until(Duration::from_secs(3));
        assert_eq!(clock.now(), Duration::from_secs(3));
        assert_eq!(world.steps(), 600);
        assert!(started.elapsed() < Duration::from_secs(2));
        clock.sleep_until(Duration::from_secs(1));
        assert_eq!(clock.now(), Duration::from_secs(3));
        clock.sleep_until(Duration::from_millis(3001));
        assert_eq!(clock.now(), Duration::from_millis(3005));
    }

    #[test]
    fn a_paced_clock_keeps_to_the_wall() {
        let mut clock = SimClock::new(world(), Pace::WallClock);
        let started = Instant::now();
        clock.sleep_until(Duration::from_millis(60));
        assert!(started.elapsed() >= Duration::from_millis(60));
    }

    #[test]
    fn a_world_on_its_own_thread_follows_the_wall_until_stopped() {
        let world = world();
        let running = RealTime::start(world.clone(), Duration::from_millis(5)).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        running.stop().unwrap();
        let stopped = world.now();
        assert!(stopped >= Duration::from_millis(20), "{stopped:?}");
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(world.now(), stopped);
    }
}
