//! Scripted operators: they know where everything is and solve the tasks, each time a little differently.

mod avoid;
mod carry;
mod door;
mod drawer;
mod group;
mod hook;
mod lift;
mod pour;
mod push;
mod reach;
mod sort;
mod stack;
mod steer;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_robot::action::{ActionError, ActionMapper};
use rapport_robot::{ArmState, TeleopError, TeleopEvent, Teleoperator, so101};
use serde::{Deserialize, Serialize};

use crate::tasks::Task;
use crate::world::{Reading, World};

pub use avoid::AvoidOperator;
pub use door::DoorOperator;
pub use drawer::DrawerOperator;
pub use group::GroupOperator;
pub use lift::LiftOperator;
pub use pour::PourOperator;
pub use push::PushOperator;
pub use reach::ReachOperator;
pub use sort::SortOperator;
pub use stack::StackOperator;

/// Somebody who can do one task.
pub trait Operator: Send {
    /// Begins an episode: chooses how this one is done.
    fn start(&mut self, rng: &mut ChaCha8Rng);

    /// What to do now, in the task's action space; numbers beyond ±1 are cut off.
    fn act(&mut self, reading: &Reading) -> Vec<f64>;
}

/// How unsteady the scripted hand is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScriptConfig {
    /// Standard deviation of the wandering that is added to every component of the action.
    pub noise: f64,
    /// Share of the wandering that is kept from one step to the next.
    pub persistence: f64,
}

impl Default for ScriptConfig {
    fn default() -> Self {
        Self {
            noise: 0.08,
            persistence: 0.7,
        }
    }
}

/// An operator with an unsteady hand: actions in `-1..=1` from readings.
pub struct Script {
    task: Arc<dyn Task>,
    config: ScriptConfig,
    operator: Box<dyn Operator>,
    rng: ChaCha8Rng,
    wander: Vec<f64>,
    done_for: usize,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script")
            .field("task", &self.task.name())
            .finish_non_exhaustive()
    }
}

/// Steps a task must stay done before the operator lets go.
const PATIENCE: usize = 5;

impl Script {
    /// The operator of a task, at the start of an episode. The same seed gives the same demonstration of the same start.
    pub fn new(task: Arc<dyn Task>, config: ScriptConfig, seed: u64) -> Self {
        let operator = task.operator();
        let mut script = Self {
            task,
            config,
            operator,
            rng: ChaCha8Rng::seed_from_u64(0),
            wander: Vec::new(),
            done_for: 0,
        };
        script.reset(seed);
        script
    }

    /// Begins another episode.
    pub fn reset(&mut self, seed: u64) {
        self.rng = ChaCha8Rng::seed_from_u64(seed);
        self.wander.clear();
        self.done_for = 0;
        self.operator.start(&mut self.rng);
    }

    /// The action for this moment, each component in `-1..=1`. Call it once per policy step.
    pub fn action(&mut self, reading: &Reading) -> Vec<f32> {
        self.done_for = if self.task.success(reading) {
            self.done_for + 1
        } else {
            0
        };
        let intended = self.operator.act(reading);
        self.wander.resize(intended.len(), 0.0);
        let keep = self.config.persistence.clamp(0.0, 1.0);
        // The wandering has this standard deviation once it has forgotten its start.
        let fresh = self.config.noise * (1.0 - keep * keep).sqrt();
        intended
            .iter()
            .zip(&mut self.wander)
            .map(|(intended, wander)| {
                *wander = keep * *wander + fresh * normal(&mut self.rng);
                (intended + *wander).clamp(-1.0, 1.0) as f32
            })
            .collect()
    }

    /// Whether the task has been done for a moment.
    pub fn is_done(&self) -> bool {
        self.done_for >= PATIENCE
    }
}

/// A standard normal number, by Box and Muller's method.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

/// A [`Script`] in the place of a person: it looks at the world and gives joint goals.
#[derive(Debug)]
pub struct ScriptedTeleop {
    name: String,
    world: World,
    script: Script,
    mapper: ActionMapper,
    period: Duration,
    seed: u64,
    episode: u64,
    step: Option<Stride>,
    action: Vec<f32>,
}

/// One policy step on its way.
#[derive(Debug)]
struct Stride {
    begun: Duration,
    last_call: Duration,
    from: Vec<f64>,
    to: Vec<f64>,
}

impl ScriptedTeleop {
    /// An operator for `task` in `world`, who decides `policy_hz` times a second; between that the goals are interpolated.
    /// Episode `n` uses seed `seed + n`.
    ///
    /// Errors: [`ActionError::Config`] where the task's action space does not fit the arm.
    pub fn new(
        task: Arc<dyn Task>,
        world: World,
        config: ScriptConfig,
        policy_hz: f64,
        seed: u64,
    ) -> Result<Self, ActionError> {
        if !(policy_hz.is_finite() && policy_hz > 0.0) {
            return Err(ActionError::Config("policy_hz must be above 0".into()));
        }
        let mapper = ActionMapper::new(task.action_space(), so101::spec(), so101::chain())?;
        Ok(Self {
            name: format!("script:{}", task.name()),
            world,
            script: Script::new(task, config, seed),
            mapper,
            period: Duration::from_secs_f64(1.0 / policy_hz),
            seed,
            episode: 0,
            step: None,
            action: Vec::new(),
        })
    }

    /// The action behind the newest goal, in the task's action space, each component in `-1..=1`; empty before the first.
    pub fn action(&self) -> &[f32] {
        &self.action
    }

    fn error(&self, cause: impl std::fmt::Display) -> TeleopError {
        TeleopError {
            name: self.name.clone(),
            cause: cause.to_string(),
        }
    }
}

impl Teleoperator for ScriptedTeleop {
    fn name(&self) -> &str {
        &self.name
    }

    fn next_goal(
        &mut self,
        follower: &ArmState,
    ) -> Result<(Vec<f64>, Option<TeleopEvent>), TeleopError> {
        let now = follower.stamp;
        let due = self
            .step
            .as_ref()
            .is_none_or(|stride| now >= stride.begun + self.period);
        if due {
            let reading = self.world.reading().map_err(|error| self.error(error))?;
            self.action = self.script.action(&reading);
            let to = self
                .mapper
                .goal(&self.action, follower)
                .map_err(|error| self.error(error))?;
            let before = self.step.take();
            // Called once per policy step, or for the first time: the way to the goal is one call long.
            let last_call = before.as_ref().map_or(now, |stride| stride.last_call);
            self.step = Some(Stride {
                begun: now,
                last_call,
                from: before.map_or_else(|| to.clone(), |stride| stride.to),
                to,
            });
        }
        let Some(stride) = &mut self.step else {
            return Err(self.error("no goal"));
        };
        let ahead = now + now.saturating_sub(stride.last_call);
        stride.last_call = now;
        let share = (ahead.saturating_sub(stride.begun).as_secs_f64() / self.period.as_secs_f64())
            .clamp(0.0, 1.0);
        let goal = stride
            .from
            .iter()
            .zip(&stride.to)
            .map(|(from, to)| from + share * (to - from))
            .collect();
        let event = self.script.is_done().then_some(TeleopEvent::Done);
        Ok((goal, event))
    }

    fn action(&self) -> Option<&[f32]> {
        Some(&self.action)
    }

    fn reset(&mut self) {
        self.script.reset(self.seed.wrapping_add(self.episode));
        self.episode += 1;
        self.mapper.reset();
        self.step = None;
        self.action.clear();
    }
}
