//! Pictures per second of both back ends, and of Python's `mujoco.Renderer` on the same model in the same run.
//!
//! ```text
//! cargo run -p rapport-sim --example render_speed -- [--seconds S] [--peer PYTHON] [MJCF[:CAMERA]]...
//! ```
//!
//! Draws the SO-101 push task, and any MJCF files named. A picture is everything from the state of the world to bytes in red,
//! green and blue. With `--peer` (a Python that has `mujoco`; `./x test` makes one in `peers/bin/python` of the data
//! directory) it runs `tests/peers/render_speed.py` after its own measurements and prints the ratios.
#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use image::RgbImage;
use mujoco_rs::prelude::*;
use rapport_sim::render::{self, Backend, Quality, camera_index};
use rapport_sim::{Scene, tasks};

/// Sides of the square pictures, pixels.
const SIZES: [u32; 3] = [64, 128, 224];

/// A model on disk and in memory, with the camera to look through.
struct Subject {
    name: String,
    file: std::path::PathBuf,
    camera: String,
    model: Arc<MjModel>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut seconds, mut peer, mut files) = (1.0, None, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match &argument[..] {
            "--seconds" => {
                seconds = arguments
                    .next()
                    .ok_or("--seconds needs a number")?
                    .parse()?
            }
            "--peer" => peer = Some(arguments.next().ok_or("--peer needs a Python")?),
            _ => files.push(argument),
        }
    }
    let scratch = tempfile::tempdir()?;
    let mut subjects = vec![so101(scratch.path())?];
    for file in &files {
        let (file, camera) = file.split_once(':').unwrap_or((file, ""));
        let model = Arc::new(MjModel::from_xml(file)?);
        let first = model
            .id_to_name(MjtObjBase::mjOBJ_CAMERA, 0)
            .unwrap_or_default();
        subjects.push(Subject {
            name: Path::new(file)
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into(),
            file: file.into(),
            camera: if camera.is_empty() { first } else { camera }.to_owned(),
            model,
        });
    }
    for subject in &subjects {
        let mut ours = HashMap::new();
        for backend in [Backend::Cpu, Backend::Gl] {
            for quality in Quality::ALL {
                for size in SIZES {
                    let measure = |threads| {
                        pictures_per_second(subject, backend, quality, size, threads, seconds)
                    };
                    let (one, two) = match (measure(1), measure(2)) {
                        (Ok(one), Ok(two)) => (one, two),
                        (Err(error), _) | (_, Err(error)) => {
                            println!("{backend:?}: {error}");
                            continue;
                        }
                    };
                    println!(
                        "{:12} {backend:?} {quality:6} {size:3}: {:7.0} pictures/s ({:.0} per second of processor time), \
                         {:7.0} with 2 threads ({:.2} x)",
                        subject.name,
                        one.wall,
                        one.processor,
                        two.wall,
                        two.wall / one.wall
                    );
                    ours.insert((format!("{backend:?}"), quality, size), one);
                }
            }
        }
        if let Some(python) = &peer {
            beside_peer(subject, python, seconds, &ours)?;
        }
    }
    Ok(())
}

fn so101(folder: &Path) -> Result<Subject, Box<dyn Error>> {
    let scene = Scene::new(tasks::by_name("so101-push")?.scene())?;
    let file = folder.join("so101-push.xml");
    std::fs::write(&file, scene.mjcf())?;
    Ok(Subject {
        name: "so101-push".into(),
        file,
        camera: "front".into(),
        model: scene.model().clone(),
    })
}

/// Pictures per second by the clock on the wall, and by the time that processors spent: on a busy machine the second one means
/// more.
#[derive(Clone, Copy)]
struct Rate {
    wall: f64,
    processor: f64,
}

/// Processor time of this process, s.
fn processor_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}

/// Each thread has a world and a renderer of its own; all start together.
fn pictures_per_second(
    subject: &Subject,
    backend: Backend,
    quality: Quality,
    size: u32,
    threads: usize,
    seconds: f64,
) -> Result<Rate, render::RenderError> {
    let camera = camera_index(&subject.model, &subject.camera)?;
    let start = Barrier::new(threads);
    let time = Duration::from_secs_f64(seconds);
    let run = || {
        let opened = render::open(backend, quality, &subject.model, size, size);
        let mut data = MjData::new(subject.model.clone());
        data.forward();
        start.wait();
        let mut renderer = opened?;
        let mut picture = RgbImage::new(size, size);
        renderer.render(&mut data, camera, &mut picture)?;
        let (mut count, begun, spent) = (0u32, Instant::now(), processor_time());
        while begun.elapsed() < time {
            renderer.render(&mut data, camera, &mut picture)?;
            count += 1;
        }
        let (wall, spent) = (begun.elapsed().as_secs_f64(), processor_time() - spent);
        Ok((f64::from(count), wall, spent))
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let mut rate = Rate {
            wall: 0.0,
            processor: 0.0,
        };
        for thread in all {
            let (count, wall, spent) = thread.join().expect("the thread does not panic")?;
            rate.wall += count / wall;
            rate.processor += count / spent;
        }
        Ok(rate)
    })
}

/// Runs the peer's script and prints what it measured beside ours.
fn beside_peer(
    subject: &Subject,
    python: &str,
    seconds: f64,
    ours: &HashMap<(String, Quality, u32), Rate>,
) -> Result<(), Box<dyn Error>> {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/peers/render_speed.py"
    );
    let output = Command::new(python)
        .arg(script)
        .arg(&subject.file)
        .args([&subject.camera, &seconds.to_string()])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    // Each line: settings, size, pictures per second by the wall and by the processor.
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [settings, size, wall, processor] = words[..] else {
            continue;
        };
        let size = size.parse::<u32>()?;
        let peer = Rate {
            wall: wall.parse()?,
            processor: processor.parse()?,
        };
        println!(
            "{:12} python mujoco.Renderer, {settings:7} {size:3}: {:7.1} pictures/s ({:.1} per second of processor time)",
            subject.name, peer.wall, peer.processor
        );
        for quality in [Quality::Fast, Quality::High] {
            if let Some(our) = ours.get(&("Cpu".into(), quality, size)) {
                println!(
                    "{:12}   our rasteriser, {quality}: {:.1} x ({:.1} x)",
                    subject.name,
                    our.wall / peer.wall,
                    our.processor / peer.processor
                );
            }
        }
    }
    Ok(())
}
