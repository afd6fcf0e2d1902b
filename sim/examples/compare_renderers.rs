//! Draws scenes with both back ends and puts the pictures side by side: CPU, OpenGL, difference (times four).
//!
//! ```text
//! cargo run -p rapport-sim --example compare_renderers -- OUT [MJCF[:CAMERA]]...
//! ```
//!
//! Draws the SO-101 tasks and the Gymnasium models of the data directory, and any MJCF files named. For each picture it prints the
//! mean absolute difference per colour channel, of 255.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{GenericImage as _, Rgb, RgbImage};
use mujoco_rs::prelude::*;
use rapport_sim::assets::GYMNASIUM;
use rapport_sim::render::{Backend, Quality, camera_index};
use rapport_sim::{Scene, Simulation, tasks};

const SIZE: (u32, u32) = (320, 240);

/// A model with what it is called, and its cameras.
struct Subject {
    name: String,
    model: Arc<MjModel>,
    cameras: Vec<usize>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = PathBuf::from(
        arguments
            .next()
            .ok_or("usage: compare_renderers OUT [MJCF[:CAMERA]]...")?,
    );
    std::fs::create_dir_all(&out)?;
    let mut subjects = Vec::new();
    for task in ["so101-push", "so101-lift"] {
        let scene = Scene::new(tasks::by_name(task)?.scene())?;
        subjects.push(Subject::new(task, scene.model().clone(), None)?);
    }
    for (file, camera) in [
        (
            "humanoid.xml",
            "pos='3 -2 2' xyaxes='.55 .83 0 -.2 .13 .97'",
        ),
        (
            "reacher.xml",
            "pos='.3 -.5 .5' xyaxes='.86 .5 0 -.33 .57 .75' fovy='50'",
        ),
        ("half_cheetah.xml", "pos='0 -3 1' xyaxes='1 0 0 0 .2 1'"),
    ] {
        match GYMNASIUM.file(file) {
            Ok(path) => {
                // These models have no camera that stands still.
                let camera = format!("<worldbody><camera name='aside' {camera}/>");
                let xml = std::fs::read_to_string(path)?.replace("<worldbody>", &camera);
                let model = Arc::new(MjModel::from_xml_string(&xml)?);
                subjects.push(Subject::new(file, model, None)?);
            }
            Err(missing) => println!("{missing}"),
        }
    }
    for argument in arguments {
        let (path, camera) = match argument.split_once(':') {
            Some((path, camera)) => (path, Some(camera)),
            None => (&argument[..], None),
        };
        let name = Path::new(path)
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let model = Arc::new(MjModel::from_xml(path)?);
        subjects.push(Subject::new(&name, model, camera)?);
    }
    println!(
        "{:40} {:>8} {:>6} {:>6} {:>6}",
        "picture", "quality", "red", "green", "blue"
    );
    for subject in &subjects {
        for quality in Quality::ALL {
            subject.compare(quality, &out)?;
        }
    }
    Ok(())
}

impl Subject {
    fn new(name: &str, model: Arc<MjModel>, camera: Option<&str>) -> Result<Self, Box<dyn Error>> {
        let cameras = match camera {
            Some(camera) => vec![camera_index(&model, camera)?],
            None => (0..model.ncam() as usize).collect(),
        };
        Ok(Self {
            name: name.trim_end_matches(".xml").to_owned(),
            model,
            cameras,
        })
    }

    fn compare(&self, quality: Quality, out: &Path) -> Result<(), Box<dyn Error>> {
        let draw = |backend: Backend| -> Result<Vec<RgbImage>, Box<dyn Error>> {
            let mut simulation = Simulation::new(self.model.clone(), backend, quality)?;
            if self.model.nkey() > 0 && self.model.ffi().nv > 0 {
                simulation.data_mut().reset_keyframe(0)?;
            }
            simulation.advance(40)?;
            let mut pictures = vec![RgbImage::new(SIZE.0, SIZE.1); self.cameras.len()];
            for (&camera, picture) in self.cameras.iter().zip(&mut pictures) {
                simulation.render(camera, picture)?;
            }
            Ok(pictures)
        };
        let (cpu, gl) = (draw(Backend::Cpu)?, draw(Backend::Gl)?);
        for ((camera, cpu), gl) in self.cameras.iter().zip(&cpu).zip(&gl) {
            let name = format!("{}-{camera}", self.name);
            let [red, green, blue] = difference(cpu, gl);
            println!("{name:40} {quality:>8} {red:6.2} {green:6.2} {blue:6.2}");
            let mut beside = RgbImage::new(3 * SIZE.0, SIZE.1);
            beside.copy_from(cpu, 0, 0)?;
            beside.copy_from(gl, SIZE.0, 0)?;
            for (x, y, pixel) in cpu.enumerate_pixels() {
                let other = gl.get_pixel(x, y);
                let off = std::array::from_fn(|i| pixel[i].abs_diff(other[i]).saturating_mul(4));
                beside.put_pixel(2 * SIZE.0 + x, y, Rgb(off));
            }
            beside.save(out.join(format!("{name}-{quality}.png")))?;
        }
        Ok(())
    }
}

/// Mean absolute difference of each channel.
fn difference(a: &RgbImage, b: &RgbImage) -> [f64; 3] {
    let mut sum = [0.0; 3];
    for (a, b) in a.pixels().zip(b.pixels()) {
        for i in 0..3 {
            sum[i] += f64::from(a[i].abs_diff(b[i]));
        }
    }
    sum.map(|sum| sum / f64::from(a.width() * a.height()))
}
