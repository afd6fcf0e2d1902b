//! A task of the SO-101 as an [`Environment`].

use std::sync::Arc;

use image::RgbImage;
use rapport_robot::action::ActionMapper;
use rapport_robot::guard::GuardMemory;

use super::{Env, EnvConfig, EnvError};
use crate::environment::{Actions, Description, EnvState, Environment, Outcome};
use crate::randomise::Variation;
use crate::scene::CAMERAS;
use crate::tasks::Task;
use crate::world::{Snapshot, World};

/// Joints (rad; gripper: fraction), tool (m) and the objects' true state (the task's units), named.
pub(super) fn describe(
    task: &dyn Task,
    world: &World,
    mapper: &ActionMapper,
    config: &EnvConfig,
) -> Description {
    let joints = world.spec().joints.iter().map(|joint| joint.name.clone());
    let tool = ["tool_x", "tool_y", "tool_z"].map(String::from);
    let features = task.features().iter().map(ToString::to_string);
    Description {
        name: task.name().into(),
        instruction: task.instruction().into(),
        observation: joints.chain(tool).chain(features).collect(),
        action: Actions::Continuous(vec![(-1.0, 1.0); mapper.action_len()]),
        max_steps: config.max_steps.unwrap_or(task.max_steps()),
        policy_hz: config.policy_hz,
        cameras: CAMERAS.map(String::from).to_vec(),
    }
}

/// What [`EnvState`] holds for an [`Env`].
struct Saved {
    world: Snapshot,
    physics_steps: u64,
    guard: GuardMemory,
    mapper: ActionMapper,
    goal: Vec<f64>,
    step: usize,
    latest: Vec<f64>,
}

impl Environment for Env {
    fn description(&self) -> &Description {
        &self.description
    }

    fn reset(&mut self, seed: u64) -> Result<(), EnvError> {
        Env::reset(self, seed).map(|_| ())
    }

    fn observe(&self, out: &mut [f64]) {
        out.copy_from_slice(&self.latest);
    }

    fn step(&mut self, action: &[f64]) -> Result<Outcome, EnvError> {
        let action: Vec<f32> = action.iter().map(|&a| a as f32).collect();
        let step = Env::step(self, &action)?;
        Ok(Outcome {
            reward: step.reward,
            progress: step.progress,
            success: step.success,
            terminated: step.terminated,
            truncated: step.truncated,
        })
    }

    fn render(&mut self, camera: &str, out: &mut RgbImage) -> Result<(), EnvError> {
        self.eyes.render(&self.world, camera, out)
    }

    fn save(&self) -> Result<EnvState, EnvError> {
        let saved = Saved {
            world: self.world.snapshot(),
            physics_steps: self.world.steps(),
            guard: self.guard.memory(),
            mapper: self.mapper.clone(),
            goal: self.goal.clone(),
            step: self.step,
            latest: self.latest.clone(),
        };
        Ok(EnvState::new(&self.description.name, saved))
    }

    fn restore(&mut self, state: &EnvState) -> Result<(), EnvError> {
        let saved: &Saved = state.inner(&self.description)?;
        self.world.rewind(&saved.world, saved.physics_steps)?;
        self.guard.rewind(&saved.guard)?;
        self.mapper.clone_from(&saved.mapper);
        self.goal.clone_from(&saved.goal);
        self.step = saved.step;
        self.latest.clone_from(&saved.latest);
        Ok(())
    }

    fn variation(&self) -> Option<Arc<Variation>> {
        Some(Env::variation(self))
    }
}
