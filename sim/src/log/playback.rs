//! [`Playback`]: a logged run, looked at moment by moment.

use std::sync::Arc;

use image::RgbImage;

use super::{Layout, Log, LogError, Verdict};
use crate::env::EnvError;
use crate::render::{Backend, Quality};
use crate::simulation::Simulation;
use crate::world::WorldError;

/// A logged run in a simulation that never steps: states are put in, everything else follows from them. Each playback has
/// a simulation of its own, so several show one run on several threads.
#[derive(Debug)]
pub struct Playback {
    log: Arc<Log>,
    simulation: Simulation,
    row: usize,
}

impl Playback {
    /// A playback at the first state.
    ///
    /// Errors: when MuJoCo has no memory for it, or the first state makes no sense.
    pub fn new(log: Arc<Log>, backend: Backend, quality: Quality) -> Result<Self, LogError> {
        let simulation = Simulation::new(log.model.clone(), backend, quality).map_err(|error| {
            LogError::State {
                name: log.name.clone(),
                row: 0,
                error,
            }
        })?;
        let mut playback = Self {
            log,
            simulation,
            row: 0,
        };
        playback.show(0)?;
        Ok(playback)
    }

    /// The run.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The simulation as it is now.
    pub fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    /// Goes to state number `row`.
    ///
    /// Errors: [`LogError::State`] when there is no such state or it makes no sense.
    pub fn show(&mut self, row: usize) -> Result<(), LogError> {
        let log = &self.log;
        let state = |error| LogError::State {
            name: log.name.clone(),
            row,
            error,
        };
        if row >= log.states.len() {
            return Err(state(WorldError::Invalid(format!(
                "there are only {} states",
                log.states.len()
            ))));
        }
        let values = log.states.row(row);
        if let Some(i) = values.iter().position(|value| !value.is_finite()) {
            return Err(state(WorldError::Invalid(format!(
                "number {i} of the state is {}",
                values[i]
            ))));
        }
        let data = self.simulation.data_mut();
        // What the state does not hold is as in a new simulation, whatever was shown before.
        data.reset();
        data.set_state(values, log.parts)
            .map_err(|error| state(WorldError::Invalid(error.to_string())))?;
        data.forward();
        self.simulation.sound().map_err(state)?;
        self.row = row;
        Ok(())
    }

    /// The robot's numbers in this state, named as [`Layout::names`] says.
    pub fn robot_state(&self) -> Vec<f64> {
        Layout::values(&self.log.layout.robot, self.simulation.data())
    }

    /// The environment's numbers in this state.
    pub fn environment_state(&self) -> Vec<f64> {
        Layout::values(&self.log.layout.environment, self.simulation.data())
    }

    /// What the referee says about this state. None: there is no referee.
    pub fn verdict(&self) -> Option<Verdict> {
        let referee = self.log.referee.as_ref()?;
        Some(referee.judge(self.row, self.simulation.data()))
    }

    /// What the camera called `camera` sees in this state; the size of `out` is the size of the picture.
    ///
    /// Errors: [`EnvError::Render`].
    pub fn render(&mut self, camera: &str, out: &mut RgbImage) -> Result<(), EnvError> {
        let camera = crate::render::camera_index(&self.log.model, camera)?;
        self.simulation.render(camera, out)
    }
}
