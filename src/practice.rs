//! [`Practice`]: where a policy acts, one step at a time, in a simulator or on an arm.

use std::collections::BTreeMap;

use image::RgbImage;
use rapport::sim::env::{Env, EnvConfig};
use rapport::sim::render::{self, Backend, Quality, Renderer};

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
    /// Names of the observation's components.
    fn observation_names(&self) -> Vec<String>;

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

/// A simulated task with a camera.
pub struct SimPractice {
    env: Env,
    renderer: Box<dyn Renderer>,
    camera: usize,
    size: (u32, u32),
    policy_hz: f64,
}

impl SimPractice {
    /// The task called `task`, seen by the camera `camera` in pictures of `size`.
    pub fn new(task: &str, camera: &str, size: (u32, u32)) -> anyhow::Result<Self> {
        Self::with_config(task, camera, size, EnvConfig::default())
    }

    /// The same in another simulation than the usual one.
    pub fn with_config(
        task: &str,
        camera: &str,
        size: (u32, u32),
        config: EnvConfig,
    ) -> anyhow::Result<Self> {
        let policy_hz = config.policy_hz;
        let env = Env::new(task, config)?;
        let scene = env.world().scene();
        // The CPU rasteriser gives the same bytes everywhere, and features with them.
        let renderer = render::open(Backend::Cpu, Quality::Fast, scene.model(), size.0, size.1)?;
        let camera = scene.camera_id(camera)?;
        Ok(Self {
            env,
            renderer,
            camera,
            size,
            policy_hz,
        })
    }

    /// Steps a second.
    pub fn policy_hz(&self) -> f64 {
        self.policy_hz
    }

    /// The environment.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// The environment, to set its state.
    pub fn env_mut(&mut self) -> &mut Env {
        &mut self.env
    }
}

impl Practice for SimPractice {
    fn observation_names(&self) -> Vec<String> {
        self.env.names()
    }

    fn reset(&mut self, seed: u64) -> anyhow::Result<Vec<f32>> {
        let o = self.env.reset(seed)?;
        Ok(observation_vector(&o.joints, &o.tool, &o.environment))
    }

    fn variation(&self) -> BTreeMap<String, f64> {
        self.env.variation().values()
    }

    fn step(&mut self, action: &[f32]) -> anyhow::Result<Outcome> {
        let step = self.env.step(action)?;
        let o = step.observation;
        Ok(Outcome {
            observation: observation_vector(&o.joints, &o.tool, &o.environment),
            truth: Some(Truth {
                reward: step.reward,
                success: step.success,
            }),
            terminated: step.terminated,
            truncated: step.truncated,
        })
    }

    fn picture(&mut self) -> anyhow::Result<RgbImage> {
        let mut image = RgbImage::new(self.size.0, self.size.1);
        let (renderer, camera) = (&mut self.renderer, self.camera);
        self.env
            .world()
            .with_data(|data| renderer.render(data, camera, &mut image))??;
        Ok(image)
    }
}
