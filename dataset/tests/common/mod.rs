//! Episodes whose every frame says which it is.

#![allow(
    dead_code,
    reason = "each test binary uses a different part of this module"
)]

use std::collections::BTreeMap;

use image::{Rgb, RgbImage};
use rapport_dataset::{CameraFeature, Column, DatasetConfig, Dtype, Episode, Feature, VideoCodec};

/// A frame with `number` painted as 16 blocks, dark for 0 and bright for 1, that survive compression.
pub fn numbered(width: u32, height: u32, number: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let block = (y * 4 / height) * 4 + x * 4 / width;
        let level = if number >> block & 1 == 1 { 220 } else { 30 };
        Rgb([level, level, 255 - level])
    })
}

/// The number painted into a frame.
pub fn number_of(image: &RgbImage) -> u32 {
    let (width, height) = image.dimensions();
    (0..16)
        .map(|block| {
            let x = (block % 4) * width / 4 + width / 8;
            let y = (block / 4) * height / 4 + height / 8;
            u32::from(image.get_pixel(x, y)[0] > 125) << block
        })
        .sum()
}

/// Two features, one of them a truth value, and the given cameras.
pub fn config(codec: VideoCodec, cameras: &[(&str, u32, u32)]) -> DatasetConfig {
    DatasetConfig {
        fps: 30,
        robot_type: "so_follower".into(),
        features: vec![
            Feature::named("action", ["shoulder_pan.pos", "gripper.pos"]),
            Feature::new("observation.state", 3),
            Feature::new("next.reward", 1),
            Feature::new("next.done", 1).stored_as(Dtype::Bool),
            Feature::new("phase", 1).stored_as(Dtype::Int64),
        ],
        cameras: cameras
            .iter()
            .map(|(name, w, h)| CameraFeature::new(*name, *w, *h))
            .collect(),
        codec,
    }
}

/// An episode for [`config`]; frame `t` of camera `c` is painted with `first + 7 c + t`.
pub fn episode(config: &DatasetConfig, task: &str, len: usize, first: u32) -> Episode {
    let columns = config.features.iter().map(|f| {
        let value = |t: usize, k: usize| match f.dtype {
            Dtype::Bool => f32::from(t + 1 == len),
            Dtype::Int64 => (t / 3) as f32,
            Dtype::Float32 => ((first as usize + t) as f32 * 0.1 + k as f32).sin(),
        };
        let column = Column {
            names: f.names.clone(),
            dim: f.dim,
            values: (0..len * f.dim)
                .map(|i| value(i / f.dim, i % f.dim))
                .collect(),
        };
        (f.name.clone(), column)
    });
    let cameras = config.cameras.iter().enumerate().map(|(c, camera)| {
        let number = |t: usize| (first + 7 * c as u32 + t as u32) % 65_536;
        let frames = (0..len).map(|t| numbered(camera.width, camera.height, number(t)));
        (camera.name.clone(), frames.collect())
    });
    Episode {
        task: task.into(),
        fps: config.fps,
        columns: columns.collect(),
        cameras: cameras.collect::<BTreeMap<_, _>>(),
    }
}

/// Asserts that `got` is `want`: numbers exactly, images by the numbers painted into them.
pub fn assert_same(got: &Episode, want: &Episode) {
    assert_eq!(got.task, want.task);
    assert_eq!(got.fps, want.fps);
    assert_eq!(got.columns, want.columns);
    let numbers = |e: &Episode| -> BTreeMap<String, Vec<u32>> {
        let cameras = e.cameras.iter();
        cameras
            .map(|(n, frames)| (n.clone(), frames.iter().map(number_of).collect()))
            .collect()
    };
    assert_eq!(numbers(got), numbers(want));
}

/// Copies a directory tree.
pub fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// All files below a directory, relative to it, sorted.
pub fn files_below(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}
