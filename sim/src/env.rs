//! The [`Env`]: a task in a world, one policy step at a time.

use std::sync::Arc;
use std::time::Duration;

use image::RgbImage;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rapport_robot::action::{ActionError, ActionMapper};
use rapport_robot::guard::{Guard, GuardConfig, GuardError, GuardState, Workspace};
use rapport_robot::{Camera as _, CameraError, Clock as _, so101};
use serde::{Deserialize, Serialize};

use crate::arm::SimArm;
use crate::camera::SimCamera;
use crate::clock::{Pace, SimClock};
use crate::render::{Backend, Quality, RenderError};
use crate::scene::{Scene, SceneError};
use crate::tasks::{self, Task, UnknownTask};
use crate::world::{Reading, World, WorldError};

/// How a task is run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnvConfig {
    /// Actions per second.
    pub policy_hz: f64,
    /// Joint goals per second; between two actions the goals are interpolated.
    pub control_hz: f64,
    /// Simulated time between placing things and the first observation, s, in which the arm settles under its weight.
    pub settle_s: f64,
    /// Policy steps of an episode. None: what the task says.
    pub max_steps: Option<usize>,
    /// Width of the pictures, pixels.
    pub image_width: u32,
    /// Height of the pictures, pixels.
    pub image_height: u32,
    /// The limits of the arm.
    pub guard: GuardConfig,
    /// What draws the pictures.
    pub renderer: Backend,
    /// How well they are drawn.
    pub quality: Quality,
}

impl Default for EnvConfig {
    fn default() -> Self {
        Self {
            policy_hz: 10.0,
            control_hz: 50.0,
            settle_s: 0.3,
            max_steps: None,
            image_width: 112,
            image_height: 112,
            guard: guard_config(),
            renderer: Backend::default(),
            quality: Quality::default(),
        }
    }
}

/// The limits of a simulated arm. The defaults for a real one are those of manual operation: at the pace of these tasks they
/// would shape every step, joint by joint, and the tool would leave the line that the action asks for. These stay below
/// what the servos can do (4.7 rad/s, 3.35 N m on about 0.05 kg m2).
fn guard_config() -> GuardConfig {
    let mut config = GuardConfig::simulated();
    config.revolute.velocity = 3.0;
    config.revolute.acceleration = 40.0;
    config.workspace = Some(Workspace {
        speed: 0.4,
        ..Workspace::default()
    });
    config
}

/// Why an environment cannot be made or stepped.
#[derive(Debug, thiserror::Error)]
pub enum EnvError {
    /// The task does not exist.
    #[error(transparent)]
    Task(#[from] UnknownTask),
    /// The scene cannot be built.
    #[error(transparent)]
    Scene(#[from] SceneError),
    /// The simulation does not go on.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The action does not fit the task.
    #[error(transparent)]
    Action(#[from] ActionError),
    /// The guard does not let the arm move.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The guard has stopped following goals.
    #[error("the guard is in state {state:?}: {reason}")]
    Stopped {
        /// Its state.
        state: GuardState,
        /// Why, in words.
        reason: String,
    },
    /// There is no picture.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// A camera failed.
    #[error(transparent)]
    Camera(#[from] CameraError),
    /// A number of the configuration cannot be used.
    #[error("environment: {0}")]
    Config(String),
}

/// What a policy may know.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Joint positions, rad (gripper: fraction), `[6]`.
    pub joints: Vec<f64>,
    /// Position of the tool, base frame, m.
    pub tool: [f64; 3],
    /// The true state of the objects, `[n]`, see [`Task::features`].
    pub environment: Vec<f64>,
    scaled: Vec<f32>,
}

impl Observation {
    /// Joints, tool and environment in one vector, each component about `-1..=1`, `[9 + n]`. Names: [`Env::names`].
    pub fn to_vec(&self) -> Vec<f32> {
        self.scaled.clone()
    }

    /// The same without a copy.
    pub fn scaled(&self) -> &[f32] {
        &self.scaled
    }
}

/// What a policy step led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The state after it.
    pub observation: Observation,
    /// The task's ground-truth reward for that state.
    pub reward: f64,
    /// Whether the task is done in that state. What counts is the last step of an episode.
    pub success: bool,
    /// The episode ended in a state from which nothing can follow. These tasks have none: an episode that ends early on
    /// success would tell a learner by its length what the reward should tell it.
    pub terminated: bool,
    /// The episode ended because its time is over.
    pub truncated: bool,
}

/// Middle and half range of the tool's position, m.
const TOOL_MIDDLE: [f64; 3] = [0.22, 0.0, 0.08];
const TOOL_SCALE: [f64; 3] = [0.08, 0.15, 0.08];

/// A task in its own world.
pub struct Env {
    task: Arc<dyn Task>,
    config: EnvConfig,
    world: World,
    mapper: ActionMapper,
    guard: Guard,
    clock: SimClock,
    cameras: Vec<SimCamera>,
    goal: Vec<f64>,
    step: usize,
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Env")
            .field("task", &self.task.name())
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

impl Env {
    /// The task with this name in a new world. Call [`Env::reset`] before the first step.
    ///
    /// Errors: [`EnvError::Task`] lists the names there are; [`EnvError::Config`] for rates that do not divide.
    pub fn new(task: &str, config: EnvConfig) -> Result<Self, EnvError> {
        let task = tasks::by_name(task)?;
        let scene = Scene::new(task.scene())?;
        Self::with_scene(task, scene, config)
    }

    /// A task in a new world of a scene that is already compiled.
    ///
    /// Errors: as [`Env::new`].
    pub fn with_scene(
        task: Arc<dyn Task>,
        scene: Arc<Scene>,
        config: EnvConfig,
    ) -> Result<Self, EnvError> {
        let rate = |hz: f64| hz.is_finite() && (0.1..=1000.0).contains(&hz);
        if !rate(config.policy_hz) || !rate(config.control_hz) {
            return Err(EnvError::Config(
                "policy_hz and control_hz must be within 0.1..=1000".into(),
            ));
        }
        let ticks = config.control_hz / config.policy_hz;
        if ticks < 1.0 || (ticks - ticks.round()).abs() > 1e-9 {
            return Err(EnvError::Config(format!(
                "control_hz must be a multiple of policy_hz, they are {} and {}",
                config.control_hz, config.policy_hz
            )));
        }
        if !(0.0..=10.0).contains(&config.settle_s) {
            return Err(EnvError::Config("settle_s must be within 0..=10".into()));
        }
        let world = World::new(scene)?;
        let mapper = ActionMapper::new(task.action_space(), so101::spec(), so101::chain())?;
        let guard = Guard::with_chain(
            Box::new(SimArm::new(world.clone())),
            so101::chain(),
            config.guard.clone(),
        )?;
        let clock = SimClock::new(world.clone(), Pace::Free);
        Ok(Self {
            task,
            config,
            world,
            mapper,
            guard,
            clock,
            cameras: Vec::new(),
            goal: Vec::new(),
            step: 0,
        })
    }

    /// The task.
    pub fn task(&self) -> &Arc<dyn Task> {
        &self.task
    }

    /// The guard that owns the arm.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The world.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Length of an action.
    pub fn action_len(&self) -> usize {
        self.mapper.action_len()
    }

    /// Length of a scaled observation.
    pub fn observation_len(&self) -> usize {
        self.world.spec().dof() + 3 + self.task.features().len()
    }

    /// Names of the components of a scaled observation.
    pub fn names(&self) -> Vec<String> {
        let joints = self.world.spec().joints.iter().map(|j| j.name.clone());
        let tool = ["tool_x", "tool_y", "tool_z"].map(String::from);
        let features = self.task.features().iter().map(|f| f.name.to_string());
        joints.chain(tool).chain(features).collect()
    }

    /// Policy steps of an episode.
    pub fn max_steps(&self) -> usize {
        self.config.max_steps.unwrap_or(self.task.max_steps())
    }

    /// Starts an episode. The same seed gives the same episode.
    ///
    /// Errors: [`EnvError::World`].
    pub fn reset(&mut self, seed: u64) -> Result<Observation, EnvError> {
        self.start(seed, |task, world, rng| task.reset(world, rng))
    }

    /// Starts an episode with the arm and the object anywhere, each without regard to the other.
    ///
    /// Errors: [`EnvError::World`].
    pub fn reset_independently(&mut self, seed: u64) -> Result<Observation, EnvError> {
        self.start(seed, |task, world, rng| {
            task.reset_independently(world, rng)
        })
    }

    fn start(
        &mut self,
        seed: u64,
        place: impl FnOnce(&dyn Task, &World, &mut ChaCha8Rng) -> Result<(), WorldError>,
    ) -> Result<Observation, EnvError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        self.world.reset();
        place(&*self.task, &self.world, &mut rng)?;
        let now = self.clock.now();
        if self.guard.state() == GuardState::Fault {
            self.guard.acknowledge()?;
        }
        if self.guard.state() == GuardState::Limp {
            self.guard.enable(now)?;
        } else {
            self.guard.rearm(now)?;
        }
        self.goal = self.guard.command().to_vec();
        self.world
            .advance_until(now + Duration::from_secs_f64(self.config.settle_s))?;
        self.guard.measure(self.clock.now());
        self.mapper.reset();
        self.step = 0;
        Ok(self.observe(&self.world.reading()?))
    }

    /// Takes one action, components in `-1..=1`.
    ///
    /// Errors: [`EnvError::Action`] for an action that does not fit; [`EnvError::World`] when the simulation came apart, in
    /// which case the step must not be used and the environment be reset.
    pub fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        let goal = self.mapper.goal(action, &self.world.arm_state()?)?;
        let ticks = (self.config.control_hz / self.config.policy_hz).round() as u32;
        let period = Duration::from_secs_f64(1.0 / self.config.control_hz);
        let start = self.clock.now();
        for tick in 1..=ticks {
            let share = f64::from(tick) / f64::from(ticks);
            let between: Vec<f64> = self
                .goal
                .iter()
                .zip(&goal)
                .map(|(from, to)| from + share * (to - from))
                .collect();
            self.guard.send(self.clock.now(), Some(&between));
            self.clock.sleep_until(start + period * tick);
            self.guard.measure(self.clock.now());
        }
        // A world that has come apart says so here, before the guard's opinion of the arm.
        let reading = self.world.reading()?;
        if !self.guard.state().follows_goals() {
            return Err(EnvError::Stopped {
                state: self.guard.state(),
                reason: self
                    .guard
                    .reason()
                    .map_or_else(|| "no reason given".into(), ToString::to_string),
            });
        }
        self.goal = goal;
        self.step += 1;
        Ok(Step {
            observation: self.observe(&reading),
            reward: self.task.reward(&reading),
            success: self.task.success(&reading),
            terminated: false,
            truncated: self.step >= self.max_steps(),
        })
    }

    /// What a camera sees now, one of [`CAMERAS`](crate::scene::CAMERAS).
    ///
    /// Errors: [`EnvError::Render`] for a camera that does not exist or a renderer that is not there.
    pub fn render(&mut self, camera: &str) -> Result<RgbImage, EnvError> {
        let known = self.cameras.iter().position(|open| open.name() == camera);
        let index = match known {
            Some(index) => index,
            None => {
                self.cameras.push(self.open_camera(camera)?);
                self.cameras.len() - 1
            }
        };
        Ok(self.cameras[index].capture()?.image)
    }

    /// A camera of this world, with the size and quality of the configuration.
    ///
    /// Errors: [`EnvError::Render`].
    pub fn open_camera(&self, camera: &str) -> Result<SimCamera, EnvError> {
        Ok(SimCamera::new(
            self.world.clone(),
            camera,
            (self.config.image_width, self.config.image_height),
            self.config.renderer,
            self.config.quality,
        )?)
    }

    /// What can be measured now, in units.
    ///
    /// Errors: [`WorldError::Diverged`].
    pub fn reading(&self) -> Result<Reading, WorldError> {
        self.world.reading()
    }

    /// The observation that belongs to a reading.
    pub fn observe(&self, reading: &Reading) -> Observation {
        let joints = reading.arm.positions.clone();
        let tool: [f64; 3] = reading.tool().into();
        let environment = self.task.environment_state(reading);
        let mut scaled = Vec::with_capacity(self.observation_len());
        let mut push = |value: f64, middle: f64, scale: f64| {
            scaled.push(((value - middle) / scale) as f32);
        };
        for (q, joint) in joints.iter().zip(&self.world.spec().joints) {
            push(
                *q,
                0.5 * (joint.min + joint.max),
                0.5 * (joint.max - joint.min),
            );
        }
        for i in 0..3 {
            push(tool[i], TOOL_MIDDLE[i], TOOL_SCALE[i]);
        }
        for (value, feature) in environment.iter().zip(self.task.features()) {
            push(*value, feature.middle, feature.scale);
        }
        Observation {
            joints,
            tool,
            environment,
            scaled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::Push;

    fn env() -> Env {
        Env::new("so101-push", EnvConfig::default()).unwrap()
    }

    #[test]
    fn the_same_seed_and_actions_give_the_same_episode() {
        let (mut one, mut other) = (env(), env());
        other.reset(5).unwrap();
        other.step(&[1.0, 1.0]).unwrap();
        for seed in [7, 8] {
            assert_eq!(one.reset(seed).unwrap(), other.reset(seed).unwrap());
            for i in 0..one.max_steps() {
                let action = [(i as f32 * 0.7).sin(), (i as f32 * 0.3).cos()];
                assert_eq!(one.step(&action).unwrap(), other.step(&action).unwrap());
            }
        }
        assert_ne!(one.reset(1).unwrap(), one.reset(2).unwrap());
    }

    #[test]
    fn an_episode_is_truncated_after_its_last_step_and_only_then() {
        let mut env = env();
        let first = env.reset(0).unwrap();
        assert_eq!(first.to_vec().len(), env.observation_len());
        assert_eq!(env.names().len(), env.observation_len());
        for i in 1..=env.max_steps() {
            let step = env.step(&[0.0, 0.0]).unwrap();
            assert_eq!(step.truncated, i == env.max_steps());
            assert!(!step.terminated);
            assert!((-0.6..=Push::BONUS).contains(&step.reward));
        }
    }

    #[test]
    fn the_tool_moves_the_way_the_action_says() {
        let mut env = env();
        let before = env.reset(3).unwrap().tool;
        for _ in 0..4 {
            env.step(&[0.0, 0.5]).unwrap();
        }
        let after = env.step(&[0.0, 0.0]).unwrap().observation.tool;
        let travelled = after[1] - before[1];
        assert!((travelled - 0.06).abs() < 0.012, "{travelled}");
        assert!((after[0] - before[0]).abs() < 0.012);
    }

    #[test]
    fn observations_stay_about_unit_range() {
        let mut env = env();
        for seed in 0..20 {
            for observation in [
                env.reset(seed).unwrap(),
                env.reset_independently(seed).unwrap(),
            ] {
                for (name, value) in env.names().iter().zip(observation.scaled()) {
                    assert!(value.abs() < 2.2, "{name} {value}");
                }
            }
        }
    }

    #[test]
    fn a_simulation_that_came_apart_is_an_error_until_the_next_episode() {
        let mut env = env();
        env.reset(0).unwrap();
        env.world().shatter();
        for _ in 0..3 {
            assert!(matches!(
                env.step(&[0.1, 0.1]),
                Err(EnvError::World(WorldError::Diverged { .. }))
            ));
        }
        let again = env.reset(0).unwrap();
        assert_eq!(again, self::env().reset(0).unwrap());
        env.step(&[0.1, 0.1]).unwrap();
    }

    #[test]
    fn an_action_that_does_not_fit_is_refused() {
        let mut env = env();
        env.reset(0).unwrap();
        for action in [&[0.0][..], &[f32::NAN, 0.0], &[0.0, 0.0, 0.0]] {
            assert!(matches!(env.step(action), Err(EnvError::Action(_))));
        }
    }

    #[test]
    fn rates_that_do_not_divide_are_refused() {
        let config = EnvConfig {
            policy_hz: 15.0,
            ..EnvConfig::default()
        };
        assert!(matches!(
            Env::new("so101-push", config),
            Err(EnvError::Config(_))
        ));
    }
}
