//! [`Practice`]: where a policy acts, one step at a time, in a simulator or on an arm.

use std::any::Any;
use std::collections::BTreeMap;

use image::RgbImage;
use rapport::sim::env::{Env, EnvConfig, EnvError};
use rapport::sim::{Actions, Description, Environment, environment};

use crate::cli::Usage;

/// What the referee of a simulated task knows and no camera shows.
#[derive(Clone, Copy, Debug)]
pub struct Truth {
    /// Ground-truth reward of the step.
    pub reward: f64,
    /// Whether the task is done now.
    pub success: bool,
}

/// What one action led to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Joints (rad), tool (m) and objects (m), `[observation_dim]`.
    pub observation: Vec<f32>,
    /// The referee's word, where there is one.
    pub truth: Option<Truth>,
    /// Nothing can follow.
    pub terminated: bool,
    /// Time is over.
    pub truncated: bool,
}

/// A place to practise.
pub trait Practice {
    /// Starts an episode; the same seed gives the same one where that is possible.
    fn reset(&mut self, seed: u64) -> anyhow::Result<Vec<f32>>;

    /// What this episode has that others have not, by name; empty where nothing varies.
    fn variation(&self) -> BTreeMap<String, f64> {
        BTreeMap::new()
    }

    /// Takes one action, components in `-1..=1`.
    fn step(&mut self, action: &[f32]) -> anyhow::Result<Outcome>;

    /// What the camera sees now.
    fn picture(&mut self) -> anyhow::Result<RgbImage>;
}

/// Joints, tool and objects as one vector in SI units; policies scale it themselves.
pub fn observation_vector(joints: &[f64], tool: &[f64; 3], environment: &[f64]) -> Vec<f32> {
    joints
        .iter()
        .chain(tool)
        .chain(environment)
        .map(|&v| v as f32)
        .collect()
}

/// Why an environment was not made: a name that does not exist is a mistake in what was asked.
pub fn not_made(error: EnvError) -> anyhow::Error {
    match error {
        EnvError::Task(unknown) => Usage(unknown.to_string()).into(),
        other => other.into(),
    }
}

/// A simulated environment, with a camera where it has one.
pub struct SimPractice {
    env: Box<dyn Environment>,
    /// Middle and half width of each component of an action.
    actions: Vec<(f64, f64)>,
    camera: Option<String>,
    size: (u32, u32),
}

impl SimPractice {
    /// The environment called `name`, seen by the camera `camera` (none: its first) in pictures of `size`.
    pub fn new(
        name: &str,
        config: &EnvConfig,
        camera: Option<&str>,
        size: (u32, u32),
    ) -> anyhow::Result<Self> {
        let env = environment::make(name, config).map_err(not_made)?;
        let Actions::Continuous(ranges) = &env.description().action else {
            return Err(Usage(format!(
                "{name} has a choice of actions; the learners here need numbers"
            ))
            .into());
        };
        let actions = ranges
            .iter()
            .map(|(low, high)| (0.5 * (low + high), 0.5 * (high - low)))
            .collect();
        let camera = match camera {
            Some(camera) => Some(camera.to_owned()),
            None => env.description().cameras.first().cloned(),
        };
        Ok(Self {
            env,
            actions,
            camera,
            size,
        })
    }

    /// Steps a second.
    pub fn policy_hz(&self) -> f64 {
        self.env.description().policy_hz
    }

    /// Components of an action.
    pub fn action_dim(&self) -> usize {
        self.actions.len()
    }

    /// What it is.
    pub fn description(&self) -> &Description {
        self.env.description()
    }

    /// The SO-101's environment.
    pub fn arm(&mut self) -> anyhow::Result<&mut Env> {
        let name = self.env.description().name.clone();
        let env: &mut dyn Any = &mut *self.env;
        env.downcast_mut()
            .ok_or_else(|| Usage(format!("{name} is no task of the SO-101")).into())
    }

    fn observation(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.env.description().observation_len()];
        self.env.observe(&mut values);
        values.into_iter().map(|v| v as f32).collect()
    }
}

impl Practice for SimPractice {
    fn reset(&mut self, seed: u64) -> anyhow::Result<Vec<f32>> {
        self.env.reset(seed)?;
        Ok(self.observation())
    }

    fn variation(&self) -> BTreeMap<String, f64> {
        self.env
            .variation()
            .map(|variation| variation.values())
            .unwrap_or_default()
    }

    fn step(&mut self, action: &[f32]) -> anyhow::Result<Outcome> {
        anyhow::ensure!(
            action.len() == self.actions.len(),
            "the policy's actions have {} components, {} takes {}",
            action.len(),
            self.env.description().name,
            self.actions.len()
        );
        let action: Vec<f64> = action
            .iter()
            .zip(&self.actions)
            .map(|(a, (middle, half))| middle + half * f64::from(*a))
            .collect();
        let step = self.env.step(&action)?;
        Ok(Outcome {
            observation: self.observation(),
            truth: Some(Truth {
                reward: step.reward,
                success: step.success,
            }),
            terminated: step.terminated,
            truncated: step.truncated,
        })
    }

    fn picture(&mut self) -> anyhow::Result<RgbImage> {
        let Some(camera) = &self.camera else {
            anyhow::bail!("{} has no camera", self.env.description().name);
        };
        let mut image = RgbImage::new(self.size.0, self.size.1);
        self.env.render(camera, &mut image)?;
        Ok(image)
    }
}
