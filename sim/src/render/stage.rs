//! What there is to see in a state: MuJoCo's abstract scene, made once and looked at by any number of cameras.

use mujoco_rs::mujoco_c;
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::MjModel;
use mujoco_rs::wrappers::mj_visualization::{
    MjvCamera, MjvGLCamera, MjvGeom, MjvOption, MjvPerturb, MjvScene,
};
use std::sync::Arc;

use super::RenderError;

/// The scene of one model.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) scene: MjvScene,
    option: MjvOption,
}

impl Stage {
    /// An empty scene.
    pub(super) fn new(model: &MjModel) -> Stage {
        let ffi = model.ffi();
        // Room for every geom and site of the model and some decoration (tendons, contacts).
        let room = (ffi.ngeom + ffi.nsite) as usize + 64 * ffi.ntendon as usize + 1000;
        Stage {
            scene: MjvScene::new(model, room),
            option: MjvOption::default(),
        }
    }

    /// Whether these cameras can look at `model`.
    ///
    /// # Errors
    /// [`RenderError::OtherModel`], [`RenderError::NoCamera`].
    pub(super) fn check(
        &self,
        model: &MjModel,
        cameras: impl IntoIterator<Item = usize>,
    ) -> Result<(), RenderError> {
        if !self.scene.is_compatible_with_model(model) {
            return Err(RenderError::OtherModel);
        }
        let count = model.ncam() as usize;
        match cameras.into_iter().find(|&camera| camera >= count) {
            Some(camera) => Err(RenderError::NoCamera { camera, count }),
            None => Ok(()),
        }
    }

    /// Places everything as `data` has it, and looks through a camera that [`Stage::check`] accepts.
    pub(super) fn set(&mut self, data: &mut MjData<Arc<MjModel>>, camera: usize) {
        let mut camera = MjvCamera::new_fixed(camera);
        self.scene
            .update(data, &self.option, &MjvPerturb::default(), &mut camera);
    }

    /// Looks through another camera that [`Stage::check`] accepts. Only the head light moves with it.
    pub(super) fn look(&mut self, data: &MjData<Arc<MjModel>>, camera: usize) {
        let mut camera = MjvCamera::new_fixed(camera);
        let (model, data) = (data.model().ffi(), data.ffi());
        // SAFETY: the scene was made for this model and the camera exists, which the caller has checked; both functions read
        // the model and the data and write the scene only.
        unsafe {
            let scene = self.scene.ffi_mut();
            mujoco_c::mjv_updateCamera(model, data, &mut camera, scene);
            mujoco_c::mjv_makeLights(model, data, scene);
        }
    }

    /// The camera, for one eye.
    pub(super) fn camera(&self) -> MjvGLCamera {
        let [left, right] = self.scene.camera();
        MjvGLCamera::average_camera(left, right)
    }

    /// What can be seen.
    pub(super) fn geoms(&self) -> &[MjvGeom] {
        self.scene.geoms()
    }

    /// What can be seen, to be changed until the next [`Stage::set`].
    pub(super) fn geoms_mut(&mut self) -> &mut [MjvGeom] {
        // SAFETY: MuJoCo's renderer checks what it reads of a geom; callers change colours and numbers only.
        unsafe { self.scene.geoms_mut() }
    }
}
