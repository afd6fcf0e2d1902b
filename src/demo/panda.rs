//! Five real tele-operated demonstrations of a Panda: steps discovered, reward curves drawn.

use std::path::Path;

use image::RgbImage;
use rapport::dataset::video;
use rapport::perception::{DeviceChoice, Encoder, Features};
use rapport::reward::eval::value_order_correlation;
use rapport::reward::steps::{SegmentationConfig, segment};
use rapport::reward::transport::Points;
use serde::Serialize;

use crate::ui::Ui;

/// The clips, inside the binary: the demo runs from anywhere. See `examples/panda-demos` for source and licence.
const CLIPS: [(&str, &[u8]); 5] = [
    (
        "lift",
        include_bytes!("../../examples/panda-demos/lift_panda_demo_1.mp4"),
    ),
    (
        "stack",
        include_bytes!("../../examples/panda-demos/stack_panda_demo_1.mp4"),
    ),
    (
        "door",
        include_bytes!("../../examples/panda-demos/door_panda_demo_1.mp4"),
    ),
    (
        "pick-place",
        include_bytes!("../../examples/panda-demos/pick-place_panda_demo_1.mp4"),
    ),
    (
        "nut-assembly",
        include_bytes!("../../examples/panda-demos/nut-assembly_panda_demo_1.mp4"),
    ),
];

/// What was found in one clip.
#[derive(Debug, Serialize)]
pub struct PandaClip {
    /// Task.
    pub name: String,
    /// Frames.
    pub frames: usize,
    /// Spearman with time of `-|feature - feature of the last frame|`, pooled ImageNet features.
    pub spearman_features: f64,
    /// The same with the mean absolute difference of pixels.
    pub spearman_pixels: f64,
    /// First frames of the discovered steps but the first.
    pub cuts: Vec<usize>,
    /// The two rewards over time.
    #[serde(skip)]
    pub curves: (Vec<f64>, Vec<f64>),
}

/// Looks at every clip; writes the clips to `dir`.
pub fn look(dir: &Path, ui: Ui) -> anyhow::Result<Vec<PandaClip>> {
    std::fs::create_dir_all(dir)?;
    let mut encoder =
        rapport::perception::open("efficientnet-lite0:pooled@224", DeviceChoice::Cpu)?;
    let bar = ui.bar(CLIPS.len() as u64, "Panda demonstrations");
    let mut found = Vec::new();
    for (name, bytes) in CLIPS {
        let path = dir.join(format!("{name}.mp4"));
        crate::run_dir::write_atomically(&path, bytes)?;
        let (frames, _) = video::read_frames(&path)?;
        found.push(examine(name, &frames, &mut *encoder)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(found)
}

fn examine(
    name: &str,
    frames: &[RgbImage],
    encoder: &mut dyn Encoder,
) -> anyhow::Result<PandaClip> {
    let features = encoder.encode(frames)?;
    let by_features = distances_to_last(&features);
    let by_pixels = pixel_distances_to_last(frames);
    let cuts = segment(
        &Points::from(&features),
        &SegmentationConfig {
            steps: 3,
            ..SegmentationConfig::default()
        },
    )?
    .cuts;
    let correlation = |values: &[f64]| {
        value_order_correlation(values)
            .ok_or_else(|| anyhow::anyhow!("{name}: the clip does not move"))
    };
    Ok(PandaClip {
        name: name.into(),
        frames: frames.len(),
        spearman_features: correlation(&by_features)?,
        spearman_pixels: correlation(&by_pixels)?,
        cuts,
        curves: (by_features, by_pixels),
    })
}

fn distances_to_last(features: &Features) -> Vec<f64> {
    let goal = features.row(features.len() - 1);
    features
        .rows()
        .map(|row| {
            -row.iter()
                .zip(goal)
                .map(|(a, b)| f64::from(a - b).powi(2))
                .sum::<f64>()
                .sqrt()
        })
        .collect()
}

fn pixel_distances_to_last(frames: &[RgbImage]) -> Vec<f64> {
    let Some(goal) = frames.last() else {
        return Vec::new();
    };
    let difference = |frame: &RgbImage| {
        frame
            .as_raw()
            .iter()
            .zip(goal.as_raw())
            .map(|(&a, &b)| f64::from(a.abs_diff(b)))
            .sum::<f64>()
    };
    frames
        .iter()
        .map(|frame| -difference(frame) / goal.as_raw().len() as f64)
        .collect()
}
