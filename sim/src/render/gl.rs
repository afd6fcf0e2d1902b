//! MuJoCo's own OpenGL renderer on a screenless context.
//!
//! OpenGL contexts belong to threads, so each renderer has a thread of its own that holds the context; the abstract scene is
//! made on the caller's thread, travels there, and comes back with the pixels.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use image::RgbImage;
use mujoco_rs::mujoco_c::mjtDepthMap;
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::{MjModel, MjtObj};
use mujoco_rs::wrappers::mj_rendering::{MjrContext, MjrRectangle};
use mujoco_rs::wrappers::mj_visualization::{MjtRndFlag, MjvGLCamera, MjvGeom};

use super::egl::{self, EglContext};
use super::layers::Layers;
use super::shape::{is_plane_from_behind, is_solid};
use super::stage::Stage;
use super::{Quality, RenderError, Renderer, Shot, check_size};

/// A scene on its way to the drawing thread or back, with what was drawn, rows bottom to top.
struct Job {
    stage: Stage,
    want: Want,
    /// Colours, or the number of the geom in the scene plus one, lowest byte first.
    pixels: Vec<u8>,
    /// 1 at the near plane, 0 at the far one; empty unless it was wanted.
    depth: Vec<f32>,
}

/// What to draw.
#[derive(Clone, Copy, PartialEq)]
enum Want {
    Picture,
    Layers,
}

/// What the drawing thread found out when it opened its context.
struct Opened {
    renderer: String,
}

/// Renders with MuJoCo's `mjr_*` functions through EGL.
#[derive(Debug)]
pub struct GlRenderer {
    /// Absent only while the drawing thread has it, or after that thread died.
    job: Option<Job>,
    to_thread: Option<Sender<Job>>,
    from_thread: Receiver<Result<Job, String>>,
    thread: Option<JoinHandle<()>>,
    renderer: String,
    quality: Quality,
    width: u32,
    height: u32,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("bytes", &self.pixels.len())
            .finish_non_exhaustive()
    }
}

impl GlRenderer {
    /// A renderer for pictures of `width` x `height` pixels of worlds of `model`, on a GPU if EGL lists one. Set the environment
    /// variable `MUJOCO_EGL_DEVICE_ID` to choose among several.
    ///
    /// # Errors
    /// When a size is zero or more than the driver allows, or when there is no EGL or no OpenGL behind it.
    pub fn new(
        model: &MjModel,
        quality: Quality,
        width: u32,
        height: u32,
    ) -> Result<GlRenderer, RenderError> {
        check_size(width, height)?;
        check_textures(model)?;
        let (to_thread, jobs) = bounded::<Job>(1);
        let (results, from_thread) = bounded(1);
        let (opened_sender, opened) = bounded(1);
        // MuJoCo reads quality and picture size from the model while it makes its context, and only then.
        let mut settings = MjModel::clone(model);
        let visual = settings.vis_mut();
        visual.global.offwidth = width as i32;
        visual.global.offheight = height as i32;
        let samples = quality.samples_per_axis().pow(2) as i32;
        visual.quality.shadowsize = if quality.follows_light() { 4096 } else { 0 };
        // Round enough that pictures look like the rasteriser's, whose balls and tubes have no corners.
        (visual.quality.numslices, visual.quality.numstacks) = (28, 16);
        visual.quality.offsamples = if samples > 1 { samples } else { 0 };
        let thread = std::thread::Builder::new()
            .name("opengl".to_owned())
            .spawn(move || draw_jobs(settings, width, height, &opened_sender, &jobs, &results))
            .map_err(|error| RenderError::Gl(format!("its thread cannot be started ({error})")))?;
        let died = || RenderError::Gl("its thread died while opening a context".to_owned());
        let Opened { renderer } = opened
            .recv()
            .map_err(|_| died())?
            .map_err(RenderError::Gl)?;

        let mut stage = Stage::new(model);
        for flag in [MjtRndFlag::mjRND_SHADOW, MjtRndFlag::mjRND_REFLECTION] {
            stage.scene.flags_mut()[flag as usize] = quality.follows_light().into();
        }
        Ok(GlRenderer {
            job: Some(Job {
                stage,
                want: Want::Picture,
                pixels: Vec::new(),
                depth: Vec::new(),
            }),
            to_thread: Some(to_thread),
            from_thread,
            thread: Some(thread),
            renderer,
            quality,
            width,
            height,
        })
    }

    /// Whether the CPU does the drawing.
    pub fn is_software(&self) -> bool {
        egl::is_software(&self.renderer)
    }

    /// The scene at rest on this side.
    fn stage(&mut self) -> Result<&mut Stage, RenderError> {
        let job = self.job.as_mut().ok_or_else(gone)?;
        Ok(&mut job.stage)
    }

    /// Sends the scene to the drawing thread and waits for what it draws.
    fn draw(&mut self, want: Want) -> Result<&mut Job, RenderError> {
        let mut job = self.job.take().ok_or_else(gone)?;
        job.want = want;
        let sender = self.to_thread.as_ref().ok_or_else(gone)?;
        sender.send(job).map_err(|_| gone())?;
        let answer = self.from_thread.recv().map_err(|_| gone())?;
        Ok(self.job.insert(answer.map_err(RenderError::Gl)?))
    }
}

/// What MuJoCo's renderer would end the process for.
fn check_textures(model: &MjModel) -> Result<(), RenderError> {
    const MOST: usize = 1000;
    let (textures, materials) = (model.ntex() as usize, model.nmat() as usize);
    if textures > MOST || materials > MOST - 2 {
        return Err(RenderError::Gl(format!(
            "the model has {textures} textures and {materials} materials, MuJoCo's renderer has room for {MOST} and {}",
            MOST - 2
        )));
    }
    let channels = model.tex_nchannel();
    match channels.iter().position(|count| ![3, 4].contains(count)) {
        Some(number) => Err(RenderError::Gl(format!(
            "texture number {number} has {} colour channels, MuJoCo's renderer wants 3 or 4",
            channels[number]
        ))),
        None => Ok(()),
    }
}

fn gone() -> RenderError {
    RenderError::Gl("its drawing thread has ended after an earlier error".to_owned())
}

/// Metres along the optical axis of a number in the depth buffer of a camera.
fn metres(depth: f32, lens: &MjvGLCamera) -> f32 {
    let (near, far) = (f64::from(lens.frustum_near), f64::from(lens.frustum_far));
    let depth = f64::from(depth);
    let metres = if lens.orthographic != 0 {
        far - depth * (far - near)
    } else {
        near * far / (near + depth * (far - near))
    };
    metres as f32
}

impl Renderer for GlRenderer {
    fn render_many(
        &mut self,
        data: &mut MjData<Arc<MjModel>>,
        shots: &mut [Shot<'_>],
    ) -> Result<(), RenderError> {
        let cameras = shots.iter().map(|shot| shot.camera);
        self.stage()?.check(data.model(), cameras)?;
        let row = 3 * self.width as usize;
        for (number, Shot { camera, out }) in shots.iter_mut().enumerate() {
            let stage = self.stage()?;
            if number == 0 {
                stage.set(data, *camera);
            } else {
                stage.look(data, *camera);
            }
            if out.dimensions() != (self.width, self.height) {
                **out = RgbImage::new(self.width, self.height);
            }
            let job = self.draw(Want::Picture)?;
            let rows = job.pixels.chunks_exact(row).rev();
            for (to, from) in out.chunks_exact_mut(row).zip(rows) {
                to.copy_from_slice(from);
            }
        }
        Ok(())
    }

    fn render_layers(
        &mut self,
        data: &mut MjData<Arc<MjModel>>,
        camera: usize,
        out: &mut Layers,
    ) -> Result<(), RenderError> {
        let (width, height) = (self.width, self.height);
        let stage = self.stage()?;
        stage.check(data.model(), [camera])?;
        stage.set(data, camera);
        let lens = stage.camera();
        for geom in stage.geoms_mut() {
            // MuJoCo draws no geom without a number here.
            if !is_solid(geom) || is_plane_from_behind(geom, lens.pos) {
                geom.segid = -1;
            }
        }
        let job = self.draw(Want::Layers)?;
        out.clear(width, height);
        let geoms = job.stage.geoms();
        let row = width as usize;
        let rows = job
            .pixels
            .chunks_exact(3 * row)
            .zip(job.depth.chunks_exact(row));
        for (y, (numbers, depths)) in rows.rev().enumerate() {
            for (x, (number, &depth)) in numbers.chunks_exact(3).zip(depths).enumerate() {
                let number = u32::from_le_bytes([number[0], number[1], number[2], 0]);
                if let Some(segment) = number.checked_sub(1) {
                    let pixel = y * row + x;
                    out.depth[pixel] = metres(depth, &lens);
                    let is_it = |geom: &&MjvGeom| geom.segid == segment as i32;
                    out.geom[pixel] = match geoms.get(segment as usize).filter(is_it) {
                        Some(geom) if geom.objtype == MjtObj::mjOBJ_GEOM as i32 => geom.objid,
                        _ => -1,
                    };
                }
            }
        }
        out.find_bodies(data.model().geom_bodyid());
        Ok(())
    }

    fn describe(&self) -> String {
        format!("OpenGL on {} ({})", self.renderer, self.quality.in_words())
    }
}

impl Drop for GlRenderer {
    fn drop(&mut self) {
        // Closing the channel ends the thread, which destroys its context.
        self.to_thread = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the missing answer.
            let _ = thread.join();
        }
    }
}

/// Body of the drawing thread: opens a context, answers whether that worked, then draws until the channel closes.
fn draw_jobs(
    model: MjModel,
    width: u32,
    height: u32,
    opened: &Sender<Result<Opened, String>>,
    jobs: &Receiver<Job>,
    results: &Sender<Result<Job, String>>,
) {
    let egl = match EglContext::open() {
        Ok(egl) if egl.largest > 0 && width.max(height) > egl.largest => {
            let message = format!(
                "{} draws at most {} pixels along a side",
                egl.renderer, egl.largest
            );
            let _ = opened.send(Err(message));
            return;
        }
        Ok(egl) => egl,
        Err(why) => {
            // A failed send means that the caller is gone, and so is the need to answer.
            let _ = opened.send(Err(why));
            return;
        }
    };
    // SAFETY: the context is current on this thread and, being declared first, is dropped after MuJoCo's.
    let mut context = unsafe { MjrContext::new(&model) };
    drop(model);
    context.offscreen();
    // SAFETY: this sets how depths are read; nothing else depends on it.
    unsafe { context.ffi_mut() }.readDepthMap = mjtDepthMap::mjDEPTH_ZEROFAR as i32;
    if opened
        .send(Ok(Opened {
            renderer: egl.renderer.clone(),
        }))
        .is_err()
    {
        return;
    }
    let viewport = MjrRectangle::new(0, 0, width as i32, height as i32);
    let size = width as usize * height as usize;
    for mut job in jobs {
        let layers = job.want == Want::Layers;
        for flag in [MjtRndFlag::mjRND_SEGMENT, MjtRndFlag::mjRND_IDCOLOR] {
            job.stage.scene.flags_mut()[flag as usize] = layers.into();
        }
        job.pixels.resize(3 * size, 0);
        if layers {
            job.depth.resize(size, 0.0);
        }
        job.stage.scene.render(&viewport, &context);
        let depth = layers.then_some(&mut job.depth[..]);
        let read = context.read_pixels(Some(&mut job.pixels), depth, &viewport);
        let result = read.map(|()| job).map_err(|error| error.to_string());
        if results.send(result).is_err() {
            return;
        }
    }
}
