//! [`MujocoEnv`]: a MuJoCo model with the rules of one of Gymnasium's MuJoCo environments.

use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
use mujoco_rs::error::MjEditError;
use mujoco_rs::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::check;
use crate::assets::Package;
use crate::env::{EnvConfig, EnvError};
use crate::environment::{Actions, Description, EnvState, Environment, Maker, Outcome};
use crate::quiet::quiet_mujoco;
use crate::render::RenderError;
use crate::scene::SceneError;
use crate::simulation::Simulation;

/// The state of a simulation and all that MuJoCo derived from it.
pub type Data = MjData<Arc<MjModel>>;

/// What an environment is.
#[derive(Clone, Copy, Debug)]
pub struct MujocoSpec {
    /// Gymnasium's name.
    pub name: &'static str,
    /// The task in words.
    pub instruction: &'static str,
    /// Physics steps of a step.
    pub frame_skip: usize,
    /// Steps of an episode.
    pub max_steps: usize,
    /// The usual camera.
    pub camera: &'static str,
    /// Whether the observation or the reward has forces on bodies.
    pub forces: Forces,
}

/// Whether forces on bodies, which MuJoCo does not compute by itself, are worked out after a step. Nothing else depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forces {
    /// They are.
    Computed,
    /// Nobody would look at them.
    Unused,
}

/// The rules of an environment.
pub trait Rules: Send + 'static {
    /// What it is.
    const SPEC: MujocoSpec;

    /// Compiles the model.
    ///
    /// Errors: [`EnvError::Asset`] where its file is not there; [`EnvError::Scene`] where MuJoCo does not take it.
    fn model() -> Result<MjModel, EnvError>;

    /// Names of the observation's components.
    fn names(model: &MjModel) -> Vec<String>;

    /// Puts the start of an episode into positions and velocities, which are the model's first ones and zero.
    fn start(positions: &mut [f64], velocities: &mut [f64], rng: &mut ChaCha8Rng);

    /// Writes the observation.
    fn observe(data: &Data, out: &mut [f64]);

    /// Where the body is along the way that is rewarded, m.
    fn place(data: &Data) -> f64;

    /// What a step led to that went forward by `speed`, m/s; `truncated` is not its business. The action is in the controls.
    fn judge(data: &Data, speed: f64) -> Outcome;
}

/// A MuJoCo model with rules, as an [`Environment`].
pub struct MujocoEnv<R> {
    simulation: Simulation,
    description: Description,
    /// Numbers of the cameras of the description.
    cameras: Vec<usize>,
    positions: Vec<f64>,
    velocities: Vec<f64>,
    step_s: f64,
    place: f64,
    steps: usize,
    rules: std::marker::PhantomData<fn() -> R>,
}

impl<R: Rules> std::fmt::Debug for MujocoEnv<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MujocoEnv")
            .field("name", &R::SPEC.name)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

/// What [`EnvState`] holds. Observations and rewards have quantities that MuJoCo derived in the middle of the last physics step,
/// which cannot be derived from the state after it.
struct Saved {
    state: Box<[f64]>,
    derived: Vec<f64>,
    place: f64,
    steps: usize,
}

impl<R: Rules> MujocoEnv<R> {
    /// The environment in the model's first state. Of the configuration it takes `max_steps`, `renderer` and `quality`.
    ///
    /// Errors: as [`Rules::model`].
    pub fn new(config: &EnvConfig) -> Result<Self, EnvError> {
        Self::with_model(Arc::new(R::model()?), config)
    }

    /// As [`MujocoEnv::new`], with a model of [`Rules::model`] that is compiled already.
    ///
    /// Errors: [`EnvError::World`] when MuJoCo has no memory for it.
    pub fn with_model(model: Arc<MjModel>, config: &EnvConfig) -> Result<Self, EnvError> {
        let spec = R::SPEC;
        let simulation = Simulation::new(model.clone(), config.renderer, config.quality)?;
        let mut cameras: Vec<_> = simulation.cameras().into_iter().enumerate().collect();
        cameras.sort_by_key(|(_, name)| name != spec.camera);
        let (cameras, names) = cameras.into_iter().unzip();
        let step_s = model.opt().timestep * spec.frame_skip as f64;
        let ranges = model.actuator_ctrlrange().iter();
        let positions = model.qpos0().to_vec();
        let mut env = Self {
            description: Description {
                name: spec.name.into(),
                instruction: spec.instruction.into(),
                observation: R::names(&model),
                action: Actions::Continuous(ranges.map(|&[low, high]| (low, high)).collect()),
                max_steps: config.max_steps.unwrap_or(spec.max_steps),
                policy_hz: 1.0 / step_s,
                cameras: names,
            },
            velocities: vec![0.0; simulation.data().qvel().len()],
            simulation,
            cameras,
            positions,
            step_s,
            place: 0.0,
            steps: 0,
            rules: std::marker::PhantomData,
        };
        env.begin();
        Ok(env)
    }

    /// The simulation.
    pub fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    /// Starts an episode from these positions, `[nq]`, and velocities, `[nv]`, SI units in MuJoCo's order.
    ///
    /// Errors: [`EnvError::Config`] for the wrong number of them or one that is not finite.
    pub fn set_state(&mut self, positions: &[f64], velocities: &[f64]) -> Result<(), EnvError> {
        let (nq, nv) = (self.positions.len(), self.velocities.len());
        let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
        if positions.len() != nq
            || velocities.len() != nv
            || !finite(positions)
            || !finite(velocities)
        {
            return Err(EnvError::Config(format!(
                "the state of {} is {nq} positions and {nv} velocities, all finite; these are {} and {}",
                R::SPEC.name,
                positions.len(),
                velocities.len()
            )));
        }
        self.positions.copy_from_slice(positions);
        self.velocities.copy_from_slice(velocities);
        self.begin();
        Ok(())
    }

    /// Starts an episode from `positions` and `velocities`.
    fn begin(&mut self) {
        let data = self.simulation.data_mut();
        data.reset();
        data.qpos_mut().copy_from_slice(&self.positions);
        data.qvel_mut().copy_from_slice(&self.velocities);
        data.forward();
        self.place = R::place(data);
        self.steps = 0;
    }
}

impl<R: Rules> Environment for MujocoEnv<R> {
    fn description(&self) -> &Description {
        &self.description
    }

    fn reset(&mut self, seed: u64) -> Result<(), EnvError> {
        self.positions
            .copy_from_slice(self.simulation.model().qpos0());
        self.velocities.fill(0.0);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        R::start(&mut self.positions, &mut self.velocities, &mut rng);
        self.begin();
        Ok(())
    }

    fn observe(&self, out: &mut [f64]) {
        assert_eq!(
            out.len(),
            self.description.observation.len(),
            "length of the observation"
        );
        R::observe(self.simulation.data(), out);
    }

    fn step(&mut self, action: &[f64]) -> Result<Outcome, EnvError> {
        check(action, &self.description.action)?;
        let controls = self.simulation.data_mut().ctrl_mut();
        for (control, &action) in controls.iter_mut().zip(action) {
            *control = f64::from(action as f32);
        }
        self.simulation.advance(R::SPEC.frame_skip)?;
        if R::SPEC.forces == Forces::Computed {
            self.simulation.data_mut().rne_post_constraint();
        }
        let data = self.simulation.data();
        let before = std::mem::replace(&mut self.place, R::place(data));
        self.steps += 1;
        Ok(Outcome {
            truncated: self.steps >= self.description.max_steps,
            ..R::judge(data, (self.place - before) / self.step_s)
        })
    }

    fn render(&mut self, camera: &str, out: &mut RgbImage) -> Result<(), EnvError> {
        let names = &self.description.cameras;
        let Some(index) = names.iter().position(|name| name == camera) else {
            return Err(EnvError::Render(RenderError::NoCameraNamed {
                name: camera.into(),
                known: names.join(", "),
            }));
        };
        self.simulation.render(self.cameras[index], out)
    }

    fn save(&self) -> Result<EnvState, EnvError> {
        self.simulation.sound()?;
        let data = self.simulation.data();
        let saved = Saved {
            state: self.simulation.save(),
            derived: derived(data).concat(),
            place: self.place,
            steps: self.steps,
        };
        Ok(EnvState::new(&self.description.name, saved))
    }

    fn restore(&mut self, state: &EnvState) -> Result<(), EnvError> {
        let saved: &Saved = state.inner(&self.description)?;
        self.simulation.restore(&saved.state)?;
        let mut rest = &saved.derived[..];
        restore_derived(self.simulation.data_mut(), |slice| {
            let (these, others) = rest.split_at(slice.len());
            slice.copy_from_slice(these);
            rest = others;
        });
        self.place = saved.place;
        self.steps = saved.steps;
        Ok(())
    }
}

/// What observations and rewards read beside the state.
fn derived(data: &Data) -> [&[f64]; 6] {
    [
        data.xpos().as_flattened(),
        data.xipos().as_flattened(),
        data.cinert().as_flattened(),
        data.cvel().as_flattened(),
        data.cfrc_ext().as_flattened(),
        data.qfrc_actuator(),
    ]
}

/// Lets `write` fill each part of [`derived`], in its order.
fn restore_derived(data: &mut Data, mut write: impl FnMut(&mut [f64])) {
    write(data.xpos_mut().as_flattened_mut());
    write(data.xipos_mut().as_flattened_mut());
    write(data.cinert_mut().as_flattened_mut());
    write(data.cvel_mut().as_flattened_mut());
    write(data.cfrc_ext_mut().as_flattened_mut());
    write(data.qfrc_actuator_mut());
}

pub(super) fn maker<R: Rules>(config: &EnvConfig) -> Result<Maker, EnvError> {
    let (model, config) = (Arc::new(R::model()?), config.clone());
    Ok(Maker::from_fn(move || {
        let env = MujocoEnv::<R>::with_model(model.clone(), &config)?;
        Ok(Box::new(env))
    }))
}

/// Reads the text of `file` of `package`, and compiles what `text` makes of it after `change`.
pub(super) fn compile(
    package: &Package,
    file: &str,
    text: impl FnOnce(String) -> String,
    change: impl FnOnce(&mut MjSpec) -> Result<(), MjEditError>,
) -> Result<MjModel, EnvError> {
    quiet_mujoco();
    let path = package.file(file)?;
    let read = std::fs::read_to_string(&path).map_err(|error| refused(&path, &error))?;
    MjSpec::from_xml_string(&text(read))
        .and_then(|mut spec| {
            change(&mut spec)?;
            spec.compile()
        })
        .map_err(|error| refused(&path, &error))
}

fn refused(path: &Path, error: &dyn std::fmt::Display) -> EnvError {
    EnvError::Scene(SceneError::Model(format!("{}: {error}", path.display())))
}

/// Adds a camera at `eye` that looks along `direction` with its right side along `right`, both of length 1 and at right angles.
pub(super) fn add_camera(
    spec: &mut MjSpec,
    name: &str,
    eye: [f64; 3],
    right: [f64; 3],
    direction: [f64; 3],
) -> Result<(), MjEditError> {
    let up = [
        right[1] * direction[2] - right[2] * direction[1],
        right[2] * direction[0] - right[0] * direction[2],
        right[0] * direction[1] - right[1] * direction[0],
    ];
    let camera = spec.world_body_mut().add_camera();
    *camera.pos_mut() = eye;
    camera
        .alt_mut()
        .set_xy_axis(&[right[0], right[1], right[2], up[0], up[1], up[2]]);
    camera.set_name(name)
}
