//! Records a small dataset of a dot that follows a circle, reads it back and verifies it.
//!
//! `cargo run -p rapport-dataset --example record -- DIRECTORY [av1|h264]`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use image::{Rgb, RgbImage};
use rapport_dataset::{
    CameraFeature, Dataset, DatasetConfig, DatasetWriter, Dtype, Feature, VideoCodec, verify,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    rapport_dataset::video::init();
    let mut arguments = std::env::args().skip(1);
    let dir = arguments
        .next()
        .ok_or("give the directory for the dataset")?;
    let codec = arguments.next().unwrap_or_else(|| "av1".into());
    let config = DatasetConfig {
        fps: 30,
        robot_type: "dot".into(),
        features: vec![
            Feature::named("action", ["x.pos", "y.pos"]),
            Feature::named("observation.state", ["x.pos", "y.pos"]),
            Feature::new("next.reward", 1),
            Feature::new("next.done", 1).stored_as(Dtype::Bool),
        ],
        cameras: vec![
            CameraFeature::new("front", 320, 240),
            CameraFeature::new("side", 96, 64),
        ],
        codec: VideoCodec::from_name(&codec).ok_or("the codec is av1 or h264")?,
    };

    let mut writer = DatasetWriter::create(&dir, config)?;
    for (task, turns, frames) in [
        ("follow the circle", 1.0_f32, 60),
        ("follow the circle twice", 2.0, 45),
        ("follow the circle", -1.0, 30),
    ] {
        let mut episode = writer.begin(task)?;
        for t in 0..frames {
            let at = |t: usize| {
                let angle = turns * std::f32::consts::TAU * t as f32 / frames as f32;
                [0.5 + 0.3 * angle.cos(), 0.5 + 0.3 * angle.sin()]
            };
            let done = t + 1 == frames;
            episode.push(
                &[
                    ("action", &at(t + 1)),
                    ("observation.state", &at(t)),
                    ("next.reward", &[f32::from(done)]),
                    ("next.done", &[f32::from(done)]),
                ],
                &[
                    ("front", &dot(320, 240, at(t))),
                    ("side", &dot(96, 64, at(t))),
                ],
            )?;
        }
        println!("saved episode {}", writer.save(episode)?);
    }
    drop(writer);

    let dataset = Dataset::open(&dir)?;
    for index in 0..dataset.len() {
        let episode = dataset.episode(index)?;
        println!(
            "episode {index}: {} frames, \"{}\"",
            episode.len(),
            episode.task
        );
    }
    let report = verify(&dir);
    println!("{} files, {} findings", report.files, report.findings.len());
    Ok(())
}

/// A picture of the dot at `[x, y]` in 0..1.
fn dot(width: u32, height: u32, [x, y]: [f32; 2]) -> RgbImage {
    let radius = 0.08 * height as f32;
    RgbImage::from_fn(width, height, |i, j| {
        let (dx, dy) = (i as f32 - x * width as f32, j as f32 - y * height as f32);
        if dx.hypot(dy) < radius {
            Rgb([230, 80, 40])
        } else {
            Rgb([
                60,
                (i * 120 / width) as u8 + 60,
                (j * 120 / height) as u8 + 60,
            ])
        }
    })
}
