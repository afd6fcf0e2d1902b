//! A model and a task as an [`Environment`].

use std::sync::Arc;

use image::RgbImage;
use mujoco_rs::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::plan::Plan;
use super::task::ActionKind;
use crate::env::{EnvConfig, EnvError};
use crate::environment::{Description, EnvState, Environment, Outcome};
use crate::simulation::Simulation;
use crate::world::WorldError;

/// Nothing in a scene moves this fast, rad/s or m/s: a simulation that says so has come apart.
const IMPLAUSIBLE_SPEED: f64 = 1e5;

/// Someone's model, practised in.
pub(super) struct ModelEnv {
    plan: Arc<Plan>,
    simulation: Simulation,
    goal: [f64; 3],
    step: usize,
    latest: Vec<f64>,
    /// Until the next reset.
    diverged: Option<WorldError>,
}

struct Saved {
    state: Box<[f64]>,
    goal: [f64; 3],
    step: usize,
    latest: Vec<f64>,
}

impl ModelEnv {
    pub(super) fn new(plan: Arc<Plan>, config: &EnvConfig) -> Result<Self, EnvError> {
        let simulation = Simulation::new(plan.model.clone(), config.renderer, config.quality)?;
        let mut env = Self {
            latest: vec![0.0; plan.description.observation_len()],
            plan,
            simulation,
            goal: [0.0; 3],
            step: 0,
            diverged: None,
        };
        env.reset(0)?;
        Ok(env)
    }

    /// Steps the physics, and stops at once when it comes apart.
    fn advance(&mut self, count: usize) -> Result<(), WorldError> {
        for _ in 0..count {
            self.simulation.advance(1)?;
            self.plausible()?;
        }
        Ok(())
    }

    fn plausible(&self) -> Result<(), WorldError> {
        let data = self.simulation.data();
        let dropped = [MjtWarning::mjWARN_CONTACTFULL, MjtWarning::mjWARN_CNSTRFULL];
        let what = if data.qvel().iter().any(|v| v.abs() >= IMPLAUSIBLE_SPEED) {
            format!("something moves faster than {IMPLAUSIBLE_SPEED:e} m/s or rad/s")
        } else if dropped
            .iter()
            .any(|&kind| data.warning()[kind as usize].number > 0)
        {
            "contacts were left out for lack of memory; give the model <size memory=\"500M\"/>"
                .into()
        } else {
            return Ok(());
        };
        Err(WorldError::Diverged {
            at_s: data.time(),
            what,
        })
    }

    /// Makes poses, sensors and forces those of this moment, and observes.
    fn look(&mut self) -> Result<(), WorldError> {
        self.simulation.data_mut().forward();
        self.simulation.sound()?;
        self.plan
            .observe(self.simulation.data(), self.goal, &mut self.latest);
        Ok(())
    }

    fn act(&mut self, action: &[f64]) {
        let ctrl = self.simulation.data_mut().ctrl_mut();
        for (control, &value) in self.plan.controls.iter().zip(action) {
            let (low, high) = (control.low, control.high);
            let wanted = match self.plan.kind {
                ActionKind::Control => value,
                ActionKind::Normalised => low + 0.5 * (value.clamp(-1.0, 1.0) + 1.0) * (high - low),
                ActionKind::Delta => {
                    ctrl[control.index] + value.clamp(-1.0, 1.0) * self.plan.delta * (high - low)
                }
            };
            ctrl[control.index] = wanted.clamp(low, high);
        }
    }

    fn begin(&mut self, seed: u64) -> Result<(), WorldError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let data = self.simulation.data_mut();
        self.goal = self
            .plan
            .beginning
            .apply(data, &mut rng)
            .map_err(WorldError::Invalid)?;
        self.step = 0;
        let timestep = self.plan.model.opt().timestep;
        self.advance((self.plan.beginning.settle_s / timestep).round() as usize)?;
        self.look()
    }

    fn go(&mut self) -> Result<(), WorldError> {
        self.advance(self.plan.substeps)?;
        self.look()
    }
}

impl Environment for ModelEnv {
    fn description(&self) -> &Description {
        &self.plan.description
    }

    fn reset(&mut self, seed: u64) -> Result<(), EnvError> {
        self.diverged = self.begin(seed).err();
        self.diverged
            .clone()
            .map_or(Ok(()), |error| Err(error.into()))
    }

    fn observe(&self, out: &mut [f64]) {
        out.copy_from_slice(&self.latest);
    }

    fn step(&mut self, action: &[f64]) -> Result<Outcome, EnvError> {
        if let Some(error) = &self.diverged {
            return Err(error.clone().into());
        }
        let expected = self.plan.controls.len();
        if action.len() != expected {
            let message = format!(
                "the action has {} components, {expected} are needed",
                action.len()
            );
            return Err(EnvError::Config(message));
        }
        if !action.iter().all(|a| a.is_finite()) {
            return Err(EnvError::Config(
                "a component of the action is not finite".into(),
            ));
        }
        self.act(action);
        if let Err(error) = self.go() {
            self.diverged = Some(error.clone());
            return Err(error.into());
        }
        self.step += 1;
        let (reward, progress, success, terminated) =
            self.plan.judge(self.simulation.data(), self.goal);
        Ok(Outcome {
            reward,
            progress,
            success,
            terminated,
            truncated: self.step >= self.plan.description.max_steps,
        })
    }

    fn render(&mut self, camera: &str, out: &mut RgbImage) -> Result<(), EnvError> {
        let cameras = self.simulation.cameras();
        let known = &self.plan.description.cameras;
        let index = cameras
            .iter()
            .position(|name| name == camera && known.contains(name));
        let index = index.ok_or_else(|| crate::render::RenderError::NoCameraNamed {
            name: camera.into(),
            known: known.join(", "),
        })?;
        self.simulation.render(index, out)
    }

    fn save(&self) -> Result<EnvState, EnvError> {
        if let Some(error) = &self.diverged {
            return Err(error.clone().into());
        }
        let saved = Saved {
            state: self.simulation.save(),
            goal: self.goal,
            step: self.step,
            latest: self.latest.clone(),
        };
        Ok(EnvState::new(&self.plan.description.name, saved))
    }

    fn restore(&mut self, state: &EnvState) -> Result<(), EnvError> {
        let saved: &Saved = state.inner(&self.plan.description)?;
        self.simulation.restore(&saved.state)?;
        self.goal = saved.goal;
        self.step = saved.step;
        self.latest.clone_from(&saved.latest);
        self.diverged = None;
        Ok(())
    }
}
