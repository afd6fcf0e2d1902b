//! Renderers that are opened when they are needed and kept.

use std::sync::Arc;

use image::RgbImage;
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::MjModel;

use super::{Backend, Layers, Quality, RenderError, Renderer, Shot, camera_index, open};
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
        self.of_size(out.dimensions())?.render(data, camera, out)
    }

    /// Several pictures of the same moment, all of the size of the first.
    ///
    /// # Errors
    /// As [`Renderer::render_many`] and [`open`].
    pub fn render_many(
        &mut self,
        data: &mut MjData<Arc<MjModel>>,
        shots: &mut [Shot<'_>],
    ) -> Result<(), RenderError> {
        match shots.first() {
            Some(shot) => {
                let size = shot.out.dimensions();
                self.of_size(size)?.render_many(data, shots)
            }
            None => Ok(()),
        }
    }

    /// How far away and which things are that camera number `camera` sees in `data`, in a picture of `(width, height)` pixels.
    ///
    /// # Errors
    /// As [`Renderer::render_layers`] and [`open`].
    pub fn render_layers(
        &mut self,
        data: &mut MjData<Arc<MjModel>>,
        camera: usize,
        size: (u32, u32),
        out: &mut Layers,
    ) -> Result<(), RenderError> {
        self.of_size(size)?.render_layers(data, camera, out)
    }

    /// The renderer for pictures of this size, opened if it is the first one.
    fn of_size(&mut self, size: (u32, u32)) -> Result<&mut dyn Renderer, RenderError> {
        let index = match self.open.iter().position(|(known, _)| *known == size) {
            Some(index) => index,
            None => {
                let renderer = open(self.backend, self.quality, &self.model, size.0, size.1)?;
                self.open.push((size, renderer));
                self.open.len() - 1
            }
        };
        Ok(&mut *self.open[index].1)
    }
}
