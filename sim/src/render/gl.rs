//! MuJoCo's own OpenGL renderer on a screenless context.
//!
//! OpenGL contexts belong to threads, so each renderer has a thread of its own that holds the context; the abstract scene is
//! made on the caller's thread, travels there, and comes back with the pixels.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use image::RgbImage;
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::MjModel;
use mujoco_rs::wrappers::mj_rendering::{MjrContext, MjrRectangle};
use mujoco_rs::wrappers::mj_visualization::{
    MjtRndFlag, MjvCamera, MjvOption, MjvPerturb, MjvScene,
};

use super::egl::{self, EglContext};
use super::{Quality, RenderError, Renderer, check, check_size};

/// A scene on its way to the drawing thread or back, with the picture, rows bottom to top.
struct Job {
    scene: MjvScene,
    pixels: Vec<u8>,
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
    option: MjvOption,
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
        model: &Arc<MjModel>,
        quality: Quality,
        width: u32,
        height: u32,
    ) -> Result<GlRenderer, RenderError> {
        check_size(width, height)?;
        let (to_thread, jobs) = bounded::<Job>(1);
        let (results, from_thread) = bounded(1);
        let (opened_sender, opened) = bounded(1);
        // MuJoCo reads quality and picture size from the model while it makes its context, and only then.
        let mut settings = MjModel::clone(model);
        let visual = settings.vis_mut();
        visual.global.offwidth = width as i32;
        visual.global.offheight = height as i32;
        let (shadow, samples, slices, stacks) = match quality {
            Quality::Fast => (0, 0, 8, 8),
            Quality::High => (1024, 4, 28, 16),
        };
        visual.quality.shadowsize = shadow;
        visual.quality.offsamples = samples;
        visual.quality.numslices = slices;
        visual.quality.numstacks = stacks;
        let thread = std::thread::Builder::new()
            .name("opengl".to_owned())
            .spawn(move || draw_jobs(settings, width, height, &opened_sender, &jobs, &results))
            .map_err(|error| RenderError::Gl(format!("its thread cannot be started ({error})")))?;
        let died = || RenderError::Gl("its thread died while opening a context".to_owned());
        let Opened { renderer } = opened
            .recv()
            .map_err(|_| died())?
            .map_err(RenderError::Gl)?;

        let mut scene = MjvScene::new(model, super::scene_capacity(model));
        if quality == Quality::Fast {
            let flags = scene.flags_mut();
            for flag in [MjtRndFlag::mjRND_SHADOW, MjtRndFlag::mjRND_REFLECTION] {
                flags[flag as usize] = false.into();
            }
        }
        let pixels = vec![0; 3 * width as usize * height as usize];
        Ok(GlRenderer {
            job: Some(Job { scene, pixels }),
            to_thread: Some(to_thread),
            from_thread,
            thread: Some(thread),
            option: MjvOption::default(),
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
}

impl Renderer for GlRenderer {
    fn render(
        &mut self,
        data: &mut MjData<Arc<MjModel>>,
        camera: usize,
        out: &mut RgbImage,
    ) -> Result<(), RenderError> {
        let gone =
            || RenderError::Gl("its drawing thread has ended after an earlier error".to_owned());
        let job = self.job.as_mut().ok_or_else(gone)?;
        check(&job.scene, data.model(), camera)?;
        let mut fixed = MjvCamera::new_fixed(camera);
        job.scene
            .update(data, &self.option, &MjvPerturb::default(), &mut fixed);
        let sender = self.to_thread.as_ref().ok_or_else(gone)?;
        let job = self.job.take().ok_or_else(gone)?;
        sender.send(job).map_err(|_| gone())?;
        let job = self
            .from_thread
            .recv()
            .map_err(|_| gone())?
            .map_err(RenderError::Gl)?;

        if out.dimensions() != (self.width, self.height) {
            *out = RgbImage::new(self.width, self.height);
        }
        let row = 3 * self.width as usize;
        for (to, from) in out
            .chunks_exact_mut(row)
            .zip(job.pixels.chunks_exact(row).rev())
        {
            to.copy_from_slice(from);
        }
        self.job = Some(job);
        Ok(())
    }

    fn describe(&self) -> String {
        let quality = match self.quality {
            Quality::Fast => "fast, no shadows, no smoothing",
            Quality::High => "high, shadows, 4 samples per pixel",
        };
        format!("OpenGL on {} ({quality})", self.renderer)
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
    if opened
        .send(Ok(Opened {
            renderer: egl.renderer.clone(),
        }))
        .is_err()
    {
        return;
    }
    let viewport = MjrRectangle::new(0, 0, width as i32, height as i32);
    for Job {
        mut scene,
        mut pixels,
    } in jobs
    {
        scene.render(&viewport, &context);
        let read = context.read_pixels(Some(&mut pixels), None, &viewport);
        let result = read
            .map(|()| Job { scene, pixels })
            .map_err(|error| error.to_string());
        if results.send(result).is_err() {
            return;
        }
    }
}
