//! [`Simulation`]: a compiled model with its state and cameras and nothing else. What the benchmarks and people's own models
//! are made of; the SO-101's [`World`](crate::World) adds servos, objects and handles.

use std::sync::Arc;

use image::RgbImage;
use mujoco_rs::prelude::*;

use crate::env::EnvError;
use crate::randomise::{self, Variation};
use crate::render::{Backend, Eyes, Layers, Quality, Shot};
use crate::world::WorldError;

/// Everything that decides how a simulation goes on.
const FULL_STATE: u32 = MjtState::mjSTATE_INTEGRATION as u32;

/// A model and its state.
pub struct Simulation {
    model: Arc<MjModel>,
    data: MjData<Arc<MjModel>>,
    eyes: Eyes,
    /// A copy of the state with poses of its own, so that looking changes nothing. None before the first look.
    seen: Option<MjData<Arc<MjModel>>>,
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulation")
            .field("time", &self.data.time())
            .finish_non_exhaustive()
    }
}

impl Simulation {
    /// A simulation of `model` in its first state.
    ///
    /// Errors: [`WorldError::Invalid`] when MuJoCo has no memory for it.
    pub fn new(
        model: Arc<MjModel>,
        backend: Backend,
        quality: Quality,
    ) -> Result<Self, WorldError> {
        let data = MjData::try_new(model.clone())
            .map_err(|error| WorldError::Invalid(error.to_string()))?;
        Ok(Self {
            eyes: Eyes::new(model.clone(), backend, quality),
            model,
            data,
            seen: None,
        })
    }

    /// The model, without variations.
    pub fn model(&self) -> &Arc<MjModel> {
        &self.model
    }

    /// The state.
    pub fn data(&self) -> &MjData<Arc<MjModel>> {
        &self.data
    }

    /// The state, to be changed.
    pub fn data_mut(&mut self) -> &mut MjData<Arc<MjModel>> {
        &mut self.data
    }

    /// Makes this simulation differ from its model as `variation` says; a variation before it is undone. Starts, delays and
    /// noise are the environment's to apply. A saved state does not hold the variation: whoever saves keeps it too.
    pub fn vary(&mut self, variation: &Variation) {
        randomise::adopt(&mut self.data, &self.model, variation);
    }

    /// Steps the physics `count` times.
    ///
    /// Errors: [`WorldError::Diverged`] when a number stopped being finite or MuJoCo says that the state is bad.
    pub fn advance(&mut self, count: usize) -> Result<(), WorldError> {
        for _ in 0..count {
            self.data.step();
        }
        self.sound()
    }

    /// Whether the state makes sense.
    ///
    /// Errors: [`WorldError::Diverged`].
    pub fn sound(&self) -> Result<(), WorldError> {
        let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
        let what = if !finite(self.data.qpos()) {
            "a position is not finite"
        } else if !finite(self.data.qvel()) {
            "a velocity is not finite"
        } else if !finite(self.data.qacc()) {
            "an acceleration is not finite"
        } else if self.gave_up() {
            "MuJoCo found numbers too large to go on with"
        } else {
            return Ok(());
        };
        Err(WorldError::Diverged {
            at_s: self.data.time(),
            what: what.into(),
        })
    }

    /// Whether MuJoCo met a bad state since the last reset. Unless the model forbids it, it then starts over by itself, with
    /// numbers that look sound.
    fn gave_up(&self) -> bool {
        let warnings = self.data.warning();
        [
            MjtWarning::mjWARN_BADQPOS,
            MjtWarning::mjWARN_BADQVEL,
            MjtWarning::mjWARN_BADQACC,
        ]
        .iter()
        .any(|&kind| warnings[kind as usize].number > 0)
    }

    /// Everything that decides how it goes on.
    pub fn save(&self) -> Box<[f64]> {
        self.data.state(FULL_STATE)
    }

    /// Goes back to a saved state. Derived quantities (poses, sensors) belong to it only after the next
    /// [`advance`](Self::advance) or MuJoCo's `forward`.
    ///
    /// Errors: [`WorldError::Invalid`] for a state of another model.
    pub fn restore(&mut self, state: &[f64]) -> Result<(), WorldError> {
        self.data.reset();
        self.data
            .set_state(state, FULL_STATE)
            .map_err(|error| WorldError::Invalid(error.to_string()))
    }

    /// Names of the model's cameras.
    pub fn cameras(&self) -> Vec<String> {
        (0..self.model.ncam() as usize)
            .map(|id| {
                self.model
                    .id_to_name(MjtObjBase::mjOBJ_CAMERA, id)
                    .map_or_else(|| format!("camera{id}"), String::from)
            })
            .collect()
    }

    /// What camera number `camera` sees now; the size of `out` is the size of the picture. Looking changes nothing, not even
    /// the quantities that MuJoCo derived in its last step.
    ///
    /// Errors: [`EnvError::Render`]; [`WorldError::Invalid`] when MuJoCo has no memory for a copy of the state.
    pub fn render(&mut self, camera: usize, out: &mut RgbImage) -> Result<(), EnvError> {
        self.render_many(&mut [Shot { camera, out }])
    }

    /// What several cameras see now; the size of the first picture is the size of all.
    ///
    /// Errors: as [`Simulation::render`].
    pub fn render_many(&mut self, shots: &mut [Shot<'_>]) -> Result<(), EnvError> {
        let seen = seen(&mut self.seen, &self.data)?;
        Ok(self.eyes.render_many(seen, shots)?)
    }

    /// How far away and which things are that camera number `camera` sees now, in a picture of `(width, height)` pixels.
    ///
    /// Errors: as [`Simulation::render`].
    pub fn render_layers(
        &mut self,
        camera: usize,
        size: (u32, u32),
        out: &mut Layers,
    ) -> Result<(), EnvError> {
        let seen = seen(&mut self.seen, &self.data)?;
        Ok(self.eyes.render_layers(seen, camera, size, out)?)
    }
}

/// The copy of `data` with geoms, cameras and lights where the joint positions have them; made at the first look.
///
/// Errors: [`WorldError::Invalid`] when MuJoCo has no memory for it.
fn seen<'a>(
    copy: &'a mut Option<MjData<Arc<MjModel>>>,
    data: &MjData<Arc<MjModel>>,
) -> Result<&'a mut MjData<Arc<MjModel>>, WorldError> {
    let invalid = |error: MjDataError| WorldError::Invalid(error.to_string());
    let mut seen = match copy.take() {
        Some(seen) => seen,
        None => MjData::try_new(data.model_clone()).map_err(invalid)?,
    };
    // The model may have been replaced by one with other looks.
    if !std::ptr::eq(seen.model(), data.model()) {
        seen.try_swap_model(data.model_clone()).map_err(invalid)?;
    }
    seen.copy_state_from_data(data, FULL_STATE)
        .map_err(invalid)?;
    seen.kinematics();
    seen.com_pos();
    seen.camlight();
    seen.tendon_comp();
    Ok(copy.insert(seen))
}
