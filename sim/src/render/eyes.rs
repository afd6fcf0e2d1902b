//! Renderers that are opened when they are needed and kept.

use std::sync::Arc;

use image::RgbImage;
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::MjModel;

use super::{Backend, Quality, RenderError, Renderer, camera_index, open};
use crate::env::EnvError;
use crate::world::World;

/// The renderers of one model, one for each size of picture that was asked for.
pub struct Eyes {
    model: Arc<MjModel>,
    backend: Backend,
    quality: Quality,
    open: Vec<((u32, u32), Box<dyn Renderer>)>,
}

impl Eyes {
    /// For pictures of worlds of `model`. No renderer is open yet.
    pub fn new(model: Arc<MjModel>, backend: Backend, quality: Quality) -> Self {
        Self {
            model,
            backend,
            quality,
            open: Vec::new(),
        }
    }

    /// What the camera called `camera` of `world` sees now; the size of `out` is the size of the picture.
    ///
    /// # Errors
    /// [`EnvError::Render`] for a camera that does not exist or a renderer that is not there; [`EnvError::World`] for a
    /// world that came apart.
    pub fn render(
        &mut self,
        world: &World,
        camera: &str,
        out: &mut RgbImage,
    ) -> Result<(), EnvError> {
        let camera = camera_index(world.scene().model(), camera)?;
        world.with_data(|data| self.render_data(data, camera, out))??;
        Ok(())
    }

    /// What camera number `camera` sees in `data`, whose poses must be current.
    ///
    /// # Errors
    /// As [`Renderer::render`] and [`open`].
    pub fn render_data(
        &mut self,
        data: &mut MjData<Arc<MjModel>>,
        camera: usize,
        out: &mut RgbImage,
    ) -> Result<(), RenderError> {
        let size = out.dimensions();
        let index = match self.open.iter().position(|(known, _)| *known == size) {
            Some(index) => index,
            None => {
                let renderer = open(self.backend, self.quality, &self.model, size.0, size.1)?;
                self.open.push((size, renderer));
                self.open.len() - 1
            }
        };
        self.open[index].1.render(data, camera, out)
    }
}
