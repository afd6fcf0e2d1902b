//! The options that say where a policy practises.

use std::path::PathBuf;

use rapport::policy::PolicySpec;
use rapport::sim::EnvConfig;
use rapport::sim::render::{Backend, Quality};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};

use crate::practice::SimPractice;

/// The environment, if nobody says which.
const USUAL: &str = "so101-push";

/// An environment, and how it is simulated and seen.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub struct EnvironmentArgs {
    /// Environment: a task of the SO-101, a benchmark (`HalfCheetah-v5`), a published model (`panda`), `mjcf:FILE` or `urdf:FILE`.
    /// `rapport bench --list` shows them all. Unless said otherwise `so101-push`, or where there is a policy what it was trained on.
    #[arg(long)]
    #[serde(serialize_with = "resolved")]
    pub env: Option<String>,
    /// The task in a model of one's own: what is observed, where it starts, what is rewarded.
    #[arg(long = "task", value_name = "FILE.toml")]
    pub task_file: Option<PathBuf>,
    /// The simulation: what `rapport sim fit` wrote, or by hand; domain randomisation too.
    #[arg(long = "sim", value_name = "FILE.toml")]
    pub simulation: Option<PathBuf>,
    /// Camera; default: the environment's first.
    #[arg(long)]
    pub camera: Option<String>,
    /// cpu (the same bytes everywhere), gl, or auto.
    #[arg(long, default_value = "cpu", value_parser = from_name::<Backend>)]
    pub renderer: Backend,
    /// How well pictures are drawn: fast (for learning), smooth (soft edges), high (shadows too).
    #[arg(long, default_value = "fast", value_parser = from_name::<Quality>)]
    pub quality: Quality,
}

impl EnvironmentArgs {
    /// The environment called `env`, everything else as usual.
    pub fn named(env: &str) -> Self {
        Self {
            env: Some(env.into()),
            task_file: None,
            simulation: None,
            camera: None,
            renderer: Backend::Cpu,
            quality: Quality::Fast,
        }
    }

    /// Its name.
    pub fn env(&self) -> &str {
        self.env.as_deref().unwrap_or(USUAL)
    }

    /// The same, in what a policy was trained on unless another environment was asked for.
    pub fn of_policy(&self, spec: &PolicySpec) -> Self {
        let task = spec.action_space.get("task").and_then(|task| task.as_str());
        Self {
            env: self.env.clone().or(task.map(str::to_owned)),
            ..self.clone()
        }
    }

    /// How it is simulated and seen.
    pub fn config(&self) -> anyhow::Result<EnvConfig> {
        Ok(EnvConfig {
            task_file: self.task_file.clone(),
            renderer: self.renderer,
            quality: self.quality,
            ..super::sim::env_config(self.simulation.as_deref())?
        })
    }

    /// The environment, with pictures of `size`.
    pub fn practice(&self, size: (u32, u32)) -> anyhow::Result<SimPractice> {
        SimPractice::new(self.env(), &self.config()?, self.camera.as_deref(), size)
    }
}

/// A run's directory says where it practised even if nobody had to.
fn resolved<S: Serializer>(env: &Option<String>, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(env.as_deref().unwrap_or(USUAL))
}

/// A value from the name it has in files.
pub fn from_name<T: DeserializeOwned>(name: &str) -> Result<T, String> {
    serde_json::from_value(name.into()).map_err(|error| error.to_string())
}
