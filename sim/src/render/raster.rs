//! Camera pictures on the CPU: no graphics library, no shared state, one renderer per thread.

use std::sync::Arc;

use image::RgbImage;
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::{MjModel, MjtObj};

use super::frame::Frame;
use super::layers::Layers;
use super::painter::{Assets, Highlights, Mirrors, Style, Tools};
use super::stage::Stage;
use super::view::View;
use super::{Quality, RenderError, Renderer, Shot};

/// Renderer for planes, spheres, ellipsoids, capsules, cylinders, boxes and meshes, with MuJoCo's lights, textures, skybox, haze
/// and, in [`Quality::High`], shadows and mirrors. Geoms of other kinds (height fields, flexes, skins, arrows, lines) are left
/// out.
#[derive(Debug)]
pub struct CpuRenderer {
    stage: Stage,
    quality: Quality,
    width: u32,
    height: u32,
    frame: Frame,
    /// Depth and objects with one sample per pixel. Made when it is needed.
    layers: Option<Frame>,
    assets: Assets,
    tools: Tools,
}

impl CpuRenderer {
    /// A renderer for pictures of `width` x `height` pixels of worlds of `model`.
    ///
    /// # Errors
    /// When a size is zero or too large.
    pub fn new(
        model: &MjModel,
        quality: Quality,
        width: u32,
        height: u32,
    ) -> Result<CpuRenderer, RenderError> {
        super::check_size(width, height)?;
        let factor = quality.samples_per_axis();
        let assets = Assets::of(model);
        Ok(CpuRenderer {
            stage: Stage::new(model),
            quality,
            width,
            height,
            frame: Frame::picture(
                width as usize * factor,
                height as usize * factor,
                &assets.meshes,
            ),
            layers: None,
            assets,
            tools: Tools::default(),
        })
    }

    /// Perspective of the camera that was looked through last, number `camera`, over `frame`.
    fn view(&self, camera: usize, width: usize, height: usize) -> Result<View, RenderError> {
        let lens = self.stage.camera();
        if lens.orthographic != 0 {
            return Err(RenderError::Orthographic { camera });
        }
        Ok(View::new(&lens, width, height))
    }
}

/// How pictures of a quality are painted.
fn style(quality: Quality) -> Style {
    Style {
        mirrors: if quality.follows_light() {
            Mirrors::Reflect
        } else {
            Mirrors::StayBlank
        },
        highlights: match quality {
            Quality::Fast => Highlights::FromAfar,
            Quality::Smooth | Quality::High => Highlights::FromTheEye,
        },
    }
}

impl Renderer for CpuRenderer {
    fn render_many(
        &mut self,
        data: &mut MjData<Arc<MjModel>>,
        shots: &mut [Shot<'_>],
    ) -> Result<(), RenderError> {
        let cameras = shots.iter().map(|shot| shot.camera);
        self.stage.check(data.model(), cameras)?;
        for (number, Shot { camera, out }) in shots.iter_mut().enumerate() {
            if number == 0 {
                self.stage.set(data, *camera);
                if self.quality.follows_light() {
                    self.tools.cast_shadows(&self.stage.scene, &self.assets);
                }
            } else {
                self.stage.look(data, *camera);
            }
            let mut view = self.view(*camera, self.frame.width, self.frame.height)?;
            view.samples = self.quality.samples_per_axis() as f32;
            let (frame, scene) = (&mut self.frame, &self.stage.scene);
            self.tools
                .paint(frame, scene, &view, &self.assets, style(self.quality));
            if out.dimensions() != (self.width, self.height) {
                **out = RgbImage::new(self.width, self.height);
            }
            self.frame.resolve(self.quality.samples_per_axis(), out);
        }
        Ok(())
    }

    fn render_layers(
        &mut self,
        data: &mut MjData<Arc<MjModel>>,
        camera: usize,
        out: &mut Layers,
    ) -> Result<(), RenderError> {
        self.stage.check(data.model(), [camera])?;
        self.stage.set(data, camera);
        let (width, height) = (self.width as usize, self.height as usize);
        let view = self.view(camera, width, height)?;
        let frame = self
            .layers
            .get_or_insert_with(|| Frame::layers(width, height));
        let geoms = self.stage.geoms();
        self.tools.measure(frame, geoms, &view, &self.assets);

        out.clear(self.width, self.height);
        let rows = frame
            .depth
            .chunks_exact(frame.stride)
            .zip(frame.object.chunks_exact(frame.stride));
        for (y, (depth, object)) in rows.enumerate() {
            let pixels = y * width..(y + 1) * width;
            out.depth[pixels.clone()].copy_from_slice(&depth[..width]);
            for (geom, &object) in out.geom[pixels].iter_mut().zip(object) {
                *geom = match geoms.get((object as usize).wrapping_sub(1)) {
                    Some(geom) if geom.objtype == MjtObj::mjOBJ_GEOM as i32 => geom.objid,
                    _ => -1,
                };
            }
        }
        out.find_bodies(data.model().geom_bodyid());
        Ok(())
    }

    fn describe(&self) -> String {
        format!("CPU rasteriser ({})", self.quality.in_words())
    }
}
