//! An arm in memory for the tests: six joints that follow their goals with a lag, on a clock that only moves when asked to.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::arm::{Arm, ArmError, ArmSpec, ArmState, CheckedGoal};
use crate::clock::{Clock, SystemClock};
use crate::so101;

/// Lag of a joint behind its goal, s.
const LAG: f64 = 0.05;

/// The arm and its world.
#[derive(Clone, Debug)]
pub struct World {
    pub time: Duration,
    pub positions: Vec<f64>,
    pub goal: Vec<f64>,
    pub torque: Vec<bool>,
    pub temperature: f64,
    pub voltage: f64,
    /// A joint that something holds where it is.
    pub blocked: Option<usize>,
    /// A joint whose torque switch does not open.
    pub welded: Option<usize>,
    /// The next measurements fail.
    pub failing_reads: u32,
    pub unplugged: bool,
    /// The next measurement panics.
    pub panics: bool,
    /// Every goal that reached the servos, with its time.
    pub commands: Vec<(Duration, Vec<f64>)>,
    pub disables: u32,
}

impl World {
    fn advance(&mut self, seconds: f64) {
        let share = 1.0 - (-seconds / LAG).exp();
        for i in 0..self.positions.len() {
            if self.torque[i] && self.blocked != Some(i) {
                self.positions[i] += share * (self.goal[i] - self.positions[i]);
            }
        }
        self.time += Duration::from_secs_f64(seconds);
    }
}

/// A handle on the world; also its [`Arm`] and its [`Clock`].
#[derive(Clone, Debug)]
pub struct Bench {
    world: Arc<Mutex<World>>,
    spec: ArmSpec,
}

impl Bench {
    /// At a pose with the tool in front of the base, over the table.
    pub fn new() -> Self {
        Self::at(&[0.1, -0.6, 0.7, 1.0, 0.2, 0.5])
    }

    pub fn at(positions: &[f64]) -> Self {
        let world = World {
            time: Duration::ZERO,
            positions: positions.to_vec(),
            goal: vec![0.0; positions.len()],
            torque: vec![false; positions.len()],
            temperature: 30.0,
            voltage: 7.0,
            blocked: None,
            welded: None,
            failing_reads: 0,
            unplugged: false,
            panics: false,
            commands: Vec::new(),
            disables: 0,
        };
        Self {
            world: Arc::new(Mutex::new(world)),
            spec: so101::spec(),
        }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn arm(&self) -> Box<dyn Arm> {
        Box::new(self.clone())
    }

    /// A clock that moves this world beside another clock.
    pub fn beside(&self, clock: SystemClock) -> Box<dyn Clock> {
        Box::new(Beside {
            bench: self.clone(),
            clock,
        })
    }

    pub fn advance(&self, seconds: f64) -> Duration {
        let mut world = self.world();
        world.advance(seconds);
        world.time
    }
}

impl Arm for Bench {
    fn spec(&self) -> &ArmSpec {
        &self.spec
    }

    fn read(&mut self) -> Result<ArmState, ArmError> {
        let mut world = self.world();
        if std::mem::take(&mut world.panics) {
            panic!("the bench was told to");
        }
        if world.unplugged {
            return Err(ArmError::Gone("the bench".into()));
        }
        if world.failing_reads > 0 {
            world.failing_reads -= 1;
            return Err(ArmError::Silent {
                joints: vec!["elbow_flex".into()],
                deadline_ms: 4,
            });
        }
        Ok(ArmState {
            stamp: world.time,
            positions: world.positions.clone(),
            temperatures: vec![world.temperature; world.positions.len()],
            voltages: vec![world.voltage; world.positions.len()],
            ..ArmState::default()
        })
    }

    fn command(&mut self, goal: &CheckedGoal) -> Result<(), ArmError> {
        let mut world = self.world();
        if world.unplugged {
            return Err(ArmError::Gone("the bench".into()));
        }
        world.goal = goal.positions().to_vec();
        // As on the real servos, a goal turns torque on.
        world.torque.fill(true);
        let entry = (world.time, world.goal.clone());
        world.commands.push(entry);
        Ok(())
    }

    fn enable(&mut self) -> Result<(), ArmError> {
        let mut world = self.world();
        world.goal = world.positions.clone();
        world.torque.fill(true);
        Ok(())
    }

    fn disable(&mut self) -> Result<(), ArmError> {
        let mut world = self.world();
        world.disables += 1;
        if world.unplugged {
            return Err(ArmError::Gone("the bench".into()));
        }
        let welded = world.welded;
        for (i, torque) in world.torque.iter_mut().enumerate() {
            *torque = *torque && welded == Some(i);
        }
        Ok(())
    }

    fn torque_enabled(&mut self) -> Result<Vec<bool>, ArmError> {
        let world = self.world();
        if world.unplugged {
            return Err(ArmError::Gone("the bench".into()));
        }
        Ok(world.torque.clone())
    }
}

impl Clock for Bench {
    fn now(&self) -> Duration {
        self.world().time
    }

    fn sleep_until(&mut self, deadline: Duration) {
        let mut world = self.world();
        let left = deadline.saturating_sub(world.time);
        world.advance(left.as_secs_f64());
        world.time = world.time.max(deadline);
    }
}

struct Beside {
    bench: Bench,
    clock: SystemClock,
}

impl Clock for Beside {
    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn sleep_until(&mut self, deadline: Duration) {
        self.clock.sleep_until(deadline);
        let now = self.clock.now();
        self.bench.sleep_until(now);
    }
}
