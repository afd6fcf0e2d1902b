//! [`Classic`]: a problem of a few numbers that needs no physics engine, and a drawing of it.

use image::RgbImage;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::canvas::Canvas;
use super::check;
use crate::env::{EnvConfig, EnvError};
use crate::environment::{Actions, Description, EnvState, Environment, Maker, Outcome};
use crate::render::RenderError;

/// The name of the one view of a classic problem.
const VIEW: &str = "side";

/// What a classic problem is.
#[derive(Clone, Copy, Debug)]
pub struct ClassicSpec {
    /// Gymnasium's name.
    pub name: &'static str,
    /// The task in words.
    pub instruction: &'static str,
    /// Names of the state's components, in the order of Gymnasium's `state`.
    pub state: &'static [&'static str],
    /// Names of the observation's components.
    pub observation: &'static [&'static str],
    /// Steps of an episode.
    pub max_steps: usize,
    /// Steps a second of simulated time; of a picture's time where the problem has no time of its own.
    pub hz: f64,
    /// Width and height of Gymnasium's picture, in whose pixels [`Dynamics::draw`] draws.
    pub screen: (f64, f64),
}

/// The state of a classic problem and its laws.
pub trait Dynamics: Clone + Send + Sync + 'static {
    /// What it is.
    const SPEC: ClassicSpec;

    /// What an action is.
    fn actions() -> Actions;

    /// A state to start an episode from.
    fn start(rng: &mut ChaCha8Rng) -> Self;

    /// The state of these numbers, as many as [`ClassicSpec::state`] has.
    fn at(state: &[f64]) -> Self;

    /// Writes the observation.
    fn observe(&self, out: &mut [f64]);

    /// Takes a step; `truncated` is not its business. The action has been checked.
    fn step(&mut self, action: f64) -> Outcome;

    /// Draws the state: x to the right, y up, in pixels of [`ClassicSpec::screen`].
    fn draw(&self, canvas: &mut Canvas);
}

/// A classic problem as an [`Environment`].
#[derive(Debug)]
pub struct Classic<D> {
    state: D,
    description: Description,
    steps: usize,
    canvas: Canvas,
}

/// What [`EnvState`] holds.
struct Saved<D> {
    state: D,
    steps: usize,
}

impl<D: Dynamics> Classic<D> {
    /// The problem with all of its state zero. Of the configuration it takes `max_steps`.
    pub fn new(config: &EnvConfig) -> Self {
        let spec = D::SPEC;
        Self {
            state: D::at(&vec![0.0; spec.state.len()]),
            description: Description {
                name: spec.name.into(),
                instruction: spec.instruction.into(),
                observation: spec.observation.iter().map(ToString::to_string).collect(),
                action: D::actions(),
                max_steps: config.max_steps.unwrap_or(spec.max_steps),
                policy_hz: spec.hz,
                cameras: vec![VIEW.into()],
            },
            steps: 0,
            canvas: Canvas::default(),
        }
    }

    /// Starts an episode from this state, [`ClassicSpec::state`].
    ///
    /// Errors: [`EnvError::Config`] for the wrong number of values or one that is not finite.
    pub fn set_state(&mut self, state: &[f64]) -> Result<(), EnvError> {
        let names = D::SPEC.state;
        if state.len() != names.len() || state.iter().any(|value| !value.is_finite()) {
            return Err(EnvError::Config(format!(
                "the state of {} is {} finite numbers ({}), these are {state:?}",
                D::SPEC.name,
                names.len(),
                names.join(", ")
            )));
        }
        self.state = D::at(state);
        self.steps = 0;
        Ok(())
    }
}

impl<D: Dynamics> Environment for Classic<D> {
    fn description(&self) -> &Description {
        &self.description
    }

    fn reset(&mut self, seed: u64) -> Result<(), EnvError> {
        self.state = D::start(&mut ChaCha8Rng::seed_from_u64(seed));
        self.steps = 0;
        Ok(())
    }

    fn observe(&self, out: &mut [f64]) {
        assert_eq!(
            out.len(),
            D::SPEC.observation.len(),
            "length of the observation"
        );
        self.state.observe(out);
    }

    fn step(&mut self, action: &[f64]) -> Result<Outcome, EnvError> {
        check(action, &self.description.action)?;
        let outcome = self.state.step(action[0]);
        self.steps += 1;
        Ok(Outcome {
            truncated: self.steps >= self.description.max_steps,
            ..outcome
        })
    }

    fn render(&mut self, camera: &str, out: &mut RgbImage) -> Result<(), EnvError> {
        if camera != VIEW {
            return Err(EnvError::Render(RenderError::NoCameraNamed {
                name: camera.into(),
                known: VIEW.into(),
            }));
        }
        self.canvas.begin(out.dimensions(), D::SPEC.screen)?;
        self.state.draw(&mut self.canvas);
        self.canvas.finish(out);
        Ok(())
    }

    fn save(&self) -> Result<EnvState, EnvError> {
        let saved = Saved {
            state: self.state.clone(),
            steps: self.steps,
        };
        Ok(EnvState::new(&self.description.name, saved))
    }

    fn restore(&mut self, state: &EnvState) -> Result<(), EnvError> {
        let saved: &Saved<D> = state.inner(&self.description)?;
        self.state = saved.state.clone();
        self.steps = saved.steps;
        Ok(())
    }
}

pub(super) fn maker<D: Dynamics>(config: &EnvConfig) -> Result<Maker, EnvError> {
    let config = config.clone();
    Ok(Maker::from_fn(move || {
        Ok(Box::new(Classic::<D>::new(&config)))
    }))
}

/// A number in single precision.
pub(super) fn single(value: f64) -> f64 {
    f64::from(value as f32)
}
