//! The door that stands still: one start, one demonstration, and rollouts of its corrected actions.

use std::sync::Arc;

use image::RgbImage;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rapport::policy::search::Basis;
use rapport::sim::render::Backend;
use rapport::sim::scene::Scene;
use rapport::sim::tasks::{self, Door, Task};
use rapport::sim::{Env, EnvConfig, EnvError, Reading, Script, ScriptConfig};

use super::BenchConfig;
use crate::experiments::side_by_side::side_by_side;

/// Whether pictures are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// None.
    Blind,
    /// One before the first step and one after every so many.
    Every(usize),
}

/// One rollout.
pub struct Trial {
    /// How far the door is open after every step, rad, at most what is asked for, `[steps]`.
    pub openings: Vec<f64>,
    /// Whether it is open at the end.
    pub success: bool,
    /// What was seen.
    pub pictures: Vec<RgbImage>,
}

/// A door at one place and an arm that always starts in one posture.
pub struct Stage {
    task: Arc<dyn Task>,
    scene: Arc<Scene>,
    config: EnvConfig,
    demonstrations: usize,
    start: u64,
    steps: usize,
    dims: usize,
    /// What the operator did, `[steps, dims]`, zeros once the door was open.
    actions: Vec<f64>,
}

impl Stage {
    /// The first door from this seed on that the operator opens.
    pub fn new(config: &BenchConfig, seed: u64) -> anyhow::Result<Self> {
        let demonstrations = config.demonstrations;
        let config = EnvConfig {
            renderer: Backend::Cpu,
            image_width: config.side,
            image_height: config.side,
            ..EnvConfig::default()
        };
        let task = tasks::by_name("so101-door")?;
        let scene = Env::scene(&*task, &config)?;
        let mut env = Env::with_scene(task.clone(), scene.clone(), config.clone())?;
        let mut stage = Self {
            steps: env.max_steps(),
            dims: env.action_len(),
            task,
            scene,
            config,
            demonstrations,
            start: 0,
            actions: Vec::new(),
        };
        for attempt in 0..10 {
            stage.start = 10_000 + 100 * seed + attempt;
            let mut actions = Vec::new();
            if stage.demonstrate(&mut env, stage.start, |_, action| {
                actions.extend(action.iter().map(|&a| f64::from(a)));
                Ok(())
            })? {
                actions.resize(stage.steps * stage.dims, 0.0);
                stage.actions = actions;
                return Ok(stage);
            }
        }
        anyhow::bail!("the operator opened none of ten doors")
    }

    /// Policy steps of a rollout.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Width of an action.
    pub fn dims(&self) -> usize {
        self.dims
    }

    fn env(&self) -> anyhow::Result<Env> {
        let (task, scene) = (self.task.clone(), self.scene.clone());
        Ok(Env::with_scene(task, scene, self.config.clone())?)
    }

    /// Has the operator open a door; `see` is shown every moment and what is done in it. Whether it is open at the end.
    fn demonstrate(
        &self,
        env: &mut Env,
        seed: u64,
        mut see: impl FnMut(&mut Env, &[f32]) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        env.reset(seed)?;
        let mut script = Script::new(self.task.clone(), ScriptConfig::default(), seed);
        for _ in 0..self.steps {
            let action = script.action(&env.reading()?);
            see(env, &action)?;
            if script.is_done() {
                return Ok(true);
            }
            env.step(&action)?;
        }
        Ok(false)
    }

    /// Videos of the operator at other doors, every step of them.
    pub fn demonstrations(&self, seed: u64) -> anyhow::Result<Vec<Vec<RgbImage>>> {
        let seeds: Vec<u64> = (0..2 * self.demonstrations as u64)
            .map(|i| 20_000 + 100 * seed + i)
            .collect();
        let videos = side_by_side(
            &seeds,
            || (),
            || {
                let mut env = self.env()?;
                Ok(move |seed: &u64| {
                    let mut pictures = Vec::new();
                    let opened = self.demonstrate(&mut env, *seed, |env, _| {
                        pictures.push(env.render("front")?);
                        Ok(())
                    })?;
                    Ok(opened.then_some(pictures))
                })
            },
        )?;
        let videos: Vec<_> = videos
            .into_iter()
            .flatten()
            .take(self.demonstrations)
            .collect();
        anyhow::ensure!(
            videos.len() == self.demonstrations,
            "only {} of {} demonstrations opened the door",
            videos.len(),
            self.demonstrations
        );
        Ok(videos)
    }

    /// Tries every correction, `[dims, bumps]`, of the demonstrated actions.
    pub fn try_all(
        &self,
        basis: &Basis,
        corrections: &[Vec<f64>],
        sight: Sight,
    ) -> anyhow::Result<Vec<Trial>> {
        side_by_side(
            corrections,
            || (),
            || {
                let mut env = self.env()?;
                Ok(move |correction: &Vec<f64>| {
                    self.try_one(&mut env, &basis.trajectory(correction), sight)
                })
            },
        )
    }

    fn try_one(&self, env: &mut Env, correction: &[f64], sight: Sight) -> anyhow::Result<Trial> {
        env.reset(self.start)?;
        let mut trial = Trial {
            openings: Vec::with_capacity(self.steps),
            success: false,
            pictures: Vec::new(),
        };
        if sight != Sight::Blind {
            trial.pictures.push(env.render("front")?);
        }
        let both = self.actions.iter().zip(correction);
        let actions: Vec<f32> = both.map(|(a, c)| (a + c).clamp(-1.0, 1.0) as f32).collect();
        let mut stopped = false;
        for (t, action) in actions.chunks(self.dims).enumerate() {
            if !stopped {
                match env.step(action) {
                    Ok(_) => {}
                    // The guard has let go: the arm stays where it is.
                    Err(EnvError::Stopped { .. }) => stopped = true,
                    Err(error) => return Err(error.into()),
                }
            }
            let reading = env.reading()?;
            trial.openings.push(opening(&reading));
            trial.success = self.task.success(&reading);
            if matches!(sight, Sight::Every(stride) if (t + 1) % stride == 0) {
                trial.pictures.push(env.render("front")?);
            }
        }
        Ok(trial)
    }
}

fn opening(reading: &Reading) -> f64 {
    let door = reading.fixtures.first();
    door.map_or(0.0, |door| door.opening.clamp(0.0, Door::OPEN))
}

/// A standard normal number, by Box and Muller's method.
pub fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}
