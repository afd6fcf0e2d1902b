//! The [`Environment`] trait: anything a policy can practise in, whatever physics is behind it.

use std::any::Any;
use std::sync::Arc;

use image::RgbImage;

use crate::env::{Env, EnvConfig, EnvError};
use crate::randomise::Variation;
use crate::tasks::{self, UnknownTask};
use crate::{gym, magical, models};

/// What an environment is: enough to build a policy for it and to plot it.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Name on the command line.
    pub name: String,
    /// The task in words, as a person would put it.
    pub instruction: String,
    /// Names of the observation's components, `[observation_dim]`.
    pub observation: Vec<String>,
    /// What an action is.
    pub action: Actions,
    /// Steps of an episode, after which it is truncated.
    pub max_steps: usize,
    /// Steps a second of simulated time.
    pub policy_hz: f64,
    /// Names of the cameras; the first is the usual one. Empty: nothing can be seen.
    pub cameras: Vec<String>,
}

impl Description {
    /// Length of an observation.
    pub fn observation_len(&self) -> usize {
        self.observation.len()
    }

    /// Length of an action: the number of components, 1 for a choice.
    pub fn action_len(&self) -> usize {
        match &self.action {
            Actions::Continuous(ranges) => ranges.len(),
            Actions::Choice(_) => 1,
        }
    }
}

/// What an action is.
#[derive(Clone, Debug, PartialEq)]
pub enum Actions {
    /// One number per component, within `(low, high)`; numbers outside are the environment's to cut off or to refuse.
    Continuous(Vec<(f64, f64)>),
    /// One of `0..n`, given as one number.
    Choice(usize),
}

/// What a step led to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Ground-truth reward of the step.
    pub reward: f64,
    /// How far the task is from done, 0 where it is done and negative before; the reward where the task has no such measure.
    pub progress: f64,
    /// Whether the task is done now. What counts is the end of the episode.
    pub success: bool,
    /// The episode ended in a state from which nothing can follow.
    pub terminated: bool,
    /// The episode ended because its time is over.
    pub truncated: bool,
}

/// Everything that decides how an environment goes on: two environments of the same name and configuration in the same
/// state go on bit for bit the same. A copy is cheap.
#[derive(Clone)]
pub struct EnvState {
    name: String,
    inner: Arc<dyn Any + Send + Sync>,
}

impl std::fmt::Debug for EnvState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnvState")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl EnvState {
    /// The state `inner` of the environment called `name`.
    pub fn new(name: &str, inner: impl Any + Send + Sync) -> Self {
        Self {
            name: name.into(),
            inner: Arc::new(inner),
        }
    }

    /// What was saved, for the environment of this description.
    ///
    /// # Errors
    /// [`EnvError::Config`] for a state of another environment.
    pub fn inner<T: Any>(&self, description: &Description) -> Result<&T, EnvError> {
        (self.name == description.name)
            .then(|| self.inner.downcast_ref())
            .flatten()
            .ok_or_else(|| {
                EnvError::Config(format!(
                    "the saved state is of {}, this is {}",
                    self.name, description.name
                ))
            })
    }
}

/// Anything a policy can practise in.
///
/// The same seed gives the same episode, bit for bit, on any number of threads. Whoever needs the arm of an SO-101 task or
/// the world of an X-Magical one asks for it: `(env as &dyn Any).downcast_ref::<Env>()`.
pub trait Environment: Any + Send {
    /// What it is.
    fn description(&self) -> &Description;

    /// Starts an episode.
    ///
    /// # Errors
    /// When the world cannot be set up.
    fn reset(&mut self, seed: u64) -> Result<(), EnvError>;

    /// Writes the present observation, SI units, to `out`, `[observation_dim]`.
    ///
    /// # Panics
    /// When `out` has another length than the description says: that is a bug of the caller.
    fn observe(&self, out: &mut [f64]);

    /// Takes one action, `[action_dim]`.
    ///
    /// # Errors
    /// [`EnvError::World`] when the simulation came apart: the step must not be used, and the environment be reset; others for
    /// an action that does not fit.
    fn step(&mut self, action: &[f64]) -> Result<Outcome, EnvError>;

    /// Writes what a camera sees now to `out`, whose size is the size of the picture.
    ///
    /// # Errors
    /// [`EnvError::Render`] for a camera that does not exist or a renderer that is not there.
    fn render(&mut self, camera: &str, out: &mut RgbImage) -> Result<(), EnvError>;

    /// Saves the state.
    ///
    /// # Errors
    /// [`EnvError::World`] for a simulation that came apart.
    fn save(&self) -> Result<EnvState, EnvError>;

    /// Goes back to a saved state.
    ///
    /// # Errors
    /// [`EnvError::Config`] for a state of another environment.
    fn restore(&mut self, state: &EnvState) -> Result<(), EnvError>;

    /// What this episode has that others have not; `None` where nothing can vary.
    fn variation(&self) -> Option<Arc<Variation>> {
        None
    }
}

/// Makes any number of environments of one name; the model is compiled once and shared.
pub struct Maker {
    make: Box<Make>,
}

/// One more environment.
type Make = dyn Fn() -> Result<Box<dyn Environment>, EnvError> + Send + Sync;

impl std::fmt::Debug for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maker").finish_non_exhaustive()
    }
}

impl Maker {
    /// For the environment called `name`: a task of the SO-101 (`so101-push`), a benchmark (`Humanoid-v5`), a published model
    /// (`panda`), or any model (`mjcf:FILE`, `urdf:FILE`) with the task in `config.task_file`.
    ///
    /// Errors: [`EnvError::Task`] lists the names there are; others where an asset is missing or a model does not compile.
    pub fn new(name: &str, config: &EnvConfig) -> Result<Self, EnvError> {
        if let Some(maker) = gym::maker(name, config) {
            return maker;
        }
        if let Some(maker) = magical::maker(name, config) {
            return Ok(maker);
        }
        if let Some(maker) = models::maker(name, config)? {
            return Ok(maker);
        }
        let config = config.clone();
        let task = tasks::by_name(name).map_err(|unknown| UnknownTask {
            known: names(),
            ..unknown
        })?;
        let scene = Env::scene(&*task, &config)?;
        Ok(Self::from_fn(move || {
            let env = Env::with_scene(task.clone(), scene.clone(), config.clone())?;
            Ok(Box::new(env))
        }))
    }

    /// From a function that makes one.
    pub fn from_fn(
        make: impl Fn() -> Result<Box<dyn Environment>, EnvError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            make: Box::new(make),
        }
    }

    /// One more environment.
    ///
    /// Errors: when the system has no memory for it, or the configuration does not fit.
    pub fn make(&self) -> Result<Box<dyn Environment>, EnvError> {
        (self.make)()
    }
}

/// The environment with this name, see [`Maker::new`].
///
/// Errors: as [`Maker::new`].
pub fn make(name: &str, config: &EnvConfig) -> Result<Box<dyn Environment>, EnvError> {
    Maker::new(name, config)?.make()
}

/// The names that [`make`] knows.
pub fn names() -> Vec<&'static str> {
    let tasks = tasks::all().into_iter().map(|task| task.name());
    tasks
        .chain(gym::NAMES)
        .chain(magical::names())
        .chain(models::NAMES)
        .collect()
}
