//! The [`Env`]: a task in a world, one policy step at a time.

mod config;
mod environment;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use image::RgbImage;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rapport_robot::action::ActionMapper;
use rapport_robot::guard::{Guard, GuardState};
use rapport_robot::{Clock as _, so101};

pub use config::{EnvConfig, EnvError, guard_config};

use crate::arm::SimArm;
use crate::camera::SimCamera;
use crate::clock::{Pace, SimClock};
use crate::environment::Description;
use crate::randomise::Variation;
use crate::render::Eyes;
use crate::scene::Scene;
use crate::tasks::{self, Task};
use crate::world::{Reading, World, WorldError};

/// What a policy may know.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Joint positions, rad (gripper: fraction), `[6]`.
    pub joints: Vec<f64>,
    /// Position of the tool, base frame, m.
    pub tool: [f64; 3],
    /// The true state of the objects, `[n]`, see [`Task::features`].
    pub environment: Vec<f64>,
}

impl Observation {
    /// Joints, tool and environment in one vector, `[9 + n]`. Names: [`Env::names`].
    pub fn to_vec(&self) -> Vec<f64> {
        [&self.joints, &self.tool[..], &self.environment].concat()
    }
}

/// What a policy step led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The state after it.
    pub observation: Observation,
    /// The task's ground-truth reward for that state.
    pub reward: f64,
    /// How far the task is from done in that state, as a negative distance in m, see [`Task::progress`].
    pub progress: f64,
    /// Whether the task is done in that state. What counts is the last step of an episode.
    pub success: bool,
    /// The episode ended in a state from which nothing can follow. These tasks have none: an episode that ends early on
    /// success would tell a learner by its length what the reward should tell it.
    pub terminated: bool,
    /// The episode ended because its time is over.
    pub truncated: bool,
}

/// A task in its own world.
pub struct Env {
    task: Arc<dyn Task>,
    description: Description,
    config: EnvConfig,
    world: World,
    mapper: ActionMapper,
    guard: Guard,
    clock: SimClock,
    eyes: Eyes,
    goal: Vec<f64>,
    step: usize,
    /// The newest observation as one vector.
    latest: Vec<f64>,
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
        let scene = Self::scene(&*task, &config)?;
        Self::with_scene(task, scene, config)
    }

    /// The task's scene with the arm of the configuration.
    ///
    /// Errors: [`EnvError::Scene`].
    pub fn scene(task: &dyn Task, config: &EnvConfig) -> Result<Arc<Scene>, EnvError> {
        let mut scene = task.scene();
        scene.arm.clone_from(&config.arm);
        Ok(Scene::new(scene)?)
    }

    /// A task in a new world of a scene that is already compiled, with the arm of the configuration ([`Env::scene`]).
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
        if scene.config().arm != config.arm {
            return Err(EnvError::Config(
                "the scene was compiled with another arm than the configuration's; make it with Env::scene".into(),
            ));
        }
        if let Some(problem) = config.randomisation.problem() {
            return Err(EnvError::Config(format!("randomisation: {problem}")));
        }
        let world = World::new(scene)?;
        let mapper = ActionMapper::new(task.action_space(), so101::spec(), so101::chain())?;
        let guard = Guard::with_chain(
            Box::new(SimArm::new(world.clone())),
            so101::chain(),
            config.guard.clone(),
        )?;
        let clock = SimClock::new(world.clone(), Pace::Free);
        let eyes = Eyes::new(
            world.scene().model().clone(),
            config.renderer,
            config.quality,
        );
        let description = environment::describe(&*task, &world, &mapper, &config);
        Ok(Self {
            task,
            description,
            config,
            world,
            mapper,
            guard,
            clock,
            eyes,
            goal: Vec::new(),
            step: 0,
            latest: Vec::new(),
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

    /// What this episode has that the scene has not, by name.
    pub fn variation(&self) -> Arc<Variation> {
        self.world.variation()
    }

    /// Length of an action.
    pub fn action_len(&self) -> usize {
        self.mapper.action_len()
    }

    /// Length of an observation.
    pub fn observation_len(&self) -> usize {
        self.description.observation_len()
    }

    /// Names of the components of an observation.
    pub fn names(&self) -> Vec<String> {
        self.description.observation.clone()
    }

    /// Policy steps of an episode.
    pub fn max_steps(&self) -> usize {
        self.description.max_steps
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
        let randomisation = &self.config.randomisation;
        if !randomisation.is_none() {
            let model = self.world.scene().model();
            let variation = Variation::sample(randomisation, model, seed);
            self.world.vary(&Arc::new(variation));
        }
        self.world.reset();
        place(&*self.task, &self.world, &mut rng)?;
        if !randomisation.is_none() {
            self.world.shift_start();
        }
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
        Ok(self.look(&self.world.reading()?))
    }

    /// Observes, with the noise of the episode, and keeps what was observed.
    fn look(&mut self, reading: &Reading) -> Observation {
        let mut observation = self.observe(reading);
        if !self.config.randomisation.is_none() {
            self.blur(&mut observation);
        }
        self.latest = observation.to_vec();
        observation
    }

    /// Adds the episode's noise. The tool is off by as much as the joints put it.
    fn blur(&self, observation: &mut Observation) {
        let chain = so101::chain();
        let tool = |joints: &[f64]| {
            let joints = &joints[..chain.links.len()];
            chain.base_from_tool(joints).translation.vector
        };
        let exact = tool(&observation.joints);
        self.world.variation().blur(
            self.step,
            &mut observation.joints,
            &mut observation.environment,
        );
        let off = tool(&observation.joints) - exact;
        for (position, off) in observation.tool.iter_mut().zip(off.iter()) {
            *position += off;
        }
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
            observation: self.look(&reading),
            reward: self.task.reward(&reading),
            progress: self.task.progress(&reading),
            success: self.task.success(&reading),
            terminated: false,
            truncated: self.step >= self.max_steps(),
        })
    }

    /// What a camera sees now, one of [`CAMERAS`](crate::scene::CAMERAS), in a picture of the configured size.
    ///
    /// Errors: [`EnvError::Render`] for a camera that does not exist or a renderer that is not there.
    pub fn render(&mut self, camera: &str) -> Result<RgbImage, EnvError> {
        let mut image = RgbImage::new(self.config.image_width, self.config.image_height);
        self.eyes.render(&self.world, camera, &mut image)?;
        Ok(image)
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
        Observation {
            joints: reading.arm.positions.clone(),
            tool: reading.tool().into(),
            environment: self.task.environment_state(reading),
        }
    }
}
