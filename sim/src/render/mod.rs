//! Camera pictures of a MuJoCo world.
//!
//! There are two back ends behind [`Renderer`]. The CPU rasteriser ([`CpuRenderer`]) needs no graphics library, scales with
//! threads and gives the same bytes whatever the width of the vectors it runs on. The OpenGL one ([`GlRenderer`]) is MuJoCo's
//! own renderer on a screenless EGL context; on a machine without a GPU it is slower than the rasteriser.

mod decal;
mod egl;
mod eyes;
mod fill;
mod footprint;
mod frame;
mod gl;
mod lanes;
mod layers;
mod lighting;
mod mesh;
mod paint;
mod painter;
mod quality;
mod raster;
mod shadow;
mod shape;
mod sky;
mod stage;
mod surface;
mod texture;
mod view;

use std::sync::Arc;

use image::RgbImage;
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::{MjModel, MjtObjBase};
use serde::{Deserialize, Serialize};

pub use eyes::Eyes;
pub use gl::GlRenderer;
pub use layers::Layers;
pub use quality::{Quality, UnknownQuality};
pub use raster::CpuRenderer;

/// One picture to be taken.
#[derive(Debug)]
pub struct Shot<'a> {
    /// Number of a fixed camera of the model.
    pub camera: usize,
    /// Where the picture goes (8-bit RGB, rows top to bottom). Replaced when it has another size than the renderer's.
    pub out: &'a mut RgbImage,
}

/// Something that takes pictures of a world through the cameras of its model.
///
/// A renderer belongs to one model and one picture size. It can move between threads. The poses in `data` must be current:
/// after `step` positions lag by one step until `forward` or `forward_kinematics` has run.
pub trait Renderer: Send {
    /// Takes several pictures of the same moment. What all cameras see is collected once.
    ///
    /// # Errors
    /// When a camera does not exist, the world has another model than the renderer, or the back end fails.
    fn render_many(
        &mut self,
        data: &mut MjData<Arc<MjModel>>,
        shots: &mut [Shot<'_>],
    ) -> Result<(), RenderError>;

    /// Measures how far away things are that camera number `camera` sees, and which geoms and bodies they are. The size is that
    /// of the pictures.
    ///
    /// # Errors
    /// As [`Renderer::render_many`].
    fn render_layers(
        &mut self,
        data: &mut MjData<Arc<MjModel>>,
        camera: usize,
        out: &mut Layers,
    ) -> Result<(), RenderError>;

    /// Takes the picture that the fixed camera number `camera` of the model sees and writes it to `out` (8-bit RGB, rows top
    /// to bottom), which is replaced when it has another size.
    ///
    /// # Errors
    /// As [`Renderer::render_many`].
    fn render(
        &mut self,
        data: &mut MjData<Arc<MjModel>>,
        camera: usize,
        out: &mut RgbImage,
    ) -> Result<(), RenderError> {
        self.render_many(data, &mut [Shot { camera, out }])
    }

    /// One line about the back end, for logs and `doctor`.
    fn describe(&self) -> String;
}

/// Which renderer to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// OpenGL where there is a GPU, else the CPU rasteriser.
    #[default]
    Auto,
    /// The CPU rasteriser.
    Cpu,
    /// OpenGL through EGL, also when that is software.
    Gl,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A picture needs pixels.
    #[error(
        "a picture of {width} x {height} pixels cannot be rendered: both must be from 1 to 16384"
    )]
    Size {
        /// Width asked for.
        width: u32,
        /// Height asked for.
        height: u32,
    },
    /// No such camera.
    #[error("the model has {count} cameras, so there is no camera number {camera}")]
    NoCamera {
        /// Number asked for.
        camera: usize,
        /// How many there are.
        count: usize,
    },
    /// No camera of that name.
    #[error("the model has no camera named {name}; it has: {known}")]
    NoCameraNamed {
        /// Name asked for.
        name: String,
        /// Names that exist, joined by commas.
        known: String,
    },
    /// A renderer serves one model.
    #[error(
        "the world to render has another model than the renderer was opened for: open a renderer for that model"
    )]
    OtherModel,
    /// OpenGL cannot be used.
    #[error(
        "cannot render with OpenGL: {0}; install libegl1 libgl1-mesa-dri, or use --renderer cpu"
    )]
    Gl(String),
    /// The CPU rasteriser does perspective only.
    #[error(
        "camera number {camera} is orthographic, which the CPU rasteriser cannot draw: use --renderer gl"
    )]
    Orthographic {
        /// The camera.
        camera: usize,
    },
}

/// Opens a renderer for pictures of `width` x `height` pixels of worlds of `model`.
///
/// # Errors
/// When a size is zero or too large, or when [`Backend::Gl`] is asked for and there is no EGL.
pub fn open(
    backend: Backend,
    quality: Quality,
    model: &Arc<MjModel>,
    width: u32,
    height: u32,
) -> Result<Box<dyn Renderer>, RenderError> {
    let cpu =
        || Ok(Box::new(CpuRenderer::new(model, quality, width, height)?) as Box<dyn Renderer>);
    match backend {
        Backend::Cpu => cpu(),
        Backend::Gl => Ok(Box::new(GlRenderer::new(model, quality, width, height)?)),
        Backend::Auto if egl::lists_gpu() => match GlRenderer::new(model, quality, width, height) {
            Ok(gl) if !gl.is_software() => Ok(Box::new(gl)),
            // A GPU that gives no context is no reason to have no pictures.
            Ok(_) | Err(RenderError::Gl(_)) => cpu(),
            Err(error) => Err(error),
        },
        Backend::Auto => cpu(),
    }
}

/// Number of the camera called `name`.
///
/// # Errors
/// When there is none; the message lists those that exist.
pub fn camera_index(model: &MjModel, name: &str) -> Result<usize, RenderError> {
    let names = |id: usize| model.id_to_name(MjtObjBase::mjOBJ_CAMERA, id);
    let count = model.ncam() as usize;
    (0..count)
        .find(|&id| names(id) == Some(name))
        .ok_or_else(|| RenderError::NoCameraNamed {
            name: name.to_owned(),
            known: (0..count).filter_map(names).collect::<Vec<_>>().join(", "),
        })
}

/// Largest picture side that is accepted.
const LARGEST: u32 = 16384;

fn check_size(width: u32, height: u32) -> Result<(), RenderError> {
    if width == 0 || height == 0 || width > LARGEST || height > LARGEST {
        return Err(RenderError::Size { width, height });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
