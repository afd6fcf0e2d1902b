//! `rapport encode`: pictures of a video or a dataset to features in one safetensors file.

use std::path::PathBuf;

use anyhow::Context as _;
use rapport::dataset::{Dataset, video};
use rapport::perception::cache::{FeatureCache, FeatureCacheConfig};
use rapport::perception::{DeviceChoice, Features};
use serde::Serialize;

use super::Usage;
use crate::interrupt;
use crate::run_dir::write_atomically;
use crate::ui::Ui;

/// Turn a video or a dataset's pictures into features.
///
/// The file holds one tensor per episode, `[time, dim]`, named `episode_000000` and so on (`video` for a single file), and
/// the encoder's name and fingerprint as metadata.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An mp4 file or a LeRobot dataset.
    input: PathBuf,
    /// What turns a picture into numbers; `rapport encode --help` of an unknown name lists the known ones.
    #[arg(long, default_value = "efficientnet-lite0:pooled@224")]
    encoder: String,
    /// Where to compute.
    #[arg(long, default_value = "cpu", value_name = "cpu|wgpu")]
    device: DeviceChoice,
    /// Camera of the dataset; needed when it has several.
    #[arg(long)]
    camera: Option<String>,
    /// The file to write.
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
}

#[derive(Serialize)]
struct Encoded {
    frames: usize,
    dim: usize,
    episodes: usize,
    encoder: String,
    fingerprint: String,
    seconds: f64,
    out: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    let begin = std::time::Instant::now();
    if !args.input.exists() {
        return Err(Usage(format!(
            "{} does not exist; give an mp4 file or a dataset",
            args.input.display()
        ))
        .into());
    }
    let mut encoder = rapport::perception::open(&args.encoder, args.device)?;
    let mut clips: Vec<(String, Features)> = Vec::new();
    if args.input.is_dir() {
        let dataset = Dataset::open(&args.input)?;
        let camera = crate::clips::camera_of(&dataset, args.camera.as_deref())?;
        let cache = FeatureCache::new(FeatureCacheConfig::default());
        let bar = ui.bar(dataset.len() as u64, "encoding episodes");
        for episode in 0..dataset.len() {
            let frames = dataset.frames(episode, &camera)?;
            clips.push((
                format!("episode_{episode:06}"),
                cache.encode(&mut *encoder, &frames)?.0,
            ));
            bar.inc(1);
            anyhow::ensure!(
                !interrupt::requested(),
                "stopped; nothing was written (the features so far are in the cache)"
            );
        }
        bar.finish_and_clear();
    } else {
        let (frames, _) = video::read_frames(&args.input)?;
        let bar = ui.bar(frames.len() as u64, "encoding frames");
        let mut values = Vec::new();
        for batch in frames.chunks(16) {
            values.extend_from_slice(encoder.encode(batch)?.as_slice());
            bar.inc(batch.len() as u64);
            anyhow::ensure!(!interrupt::requested(), "stopped; nothing was written");
        }
        bar.finish_and_clear();
        clips.push(("video".into(), Features::new(encoder.spec().dim, values)));
    }
    let spec = encoder.spec();
    let bytes = safetensors::serialize(
        clips.iter().map(|(name, features)| {
            (
                name.as_str(),
                Rows {
                    features,
                    shape: [features.len(), features.dim()],
                },
            )
        }),
        Some(
            [
                ("encoder".to_owned(), spec.name.clone()),
                ("fingerprint".to_owned(), spec.fingerprint.clone()),
            ]
            .into(),
        ),
    )
    .context("packing the features")?;
    write_atomically(&args.out, &bytes)?;
    let summary = Encoded {
        frames: clips.iter().map(|(_, f)| f.len()).sum(),
        dim: spec.dim,
        episodes: clips.len(),
        encoder: spec.name.clone(),
        fingerprint: spec.fingerprint.clone(),
        seconds: begin.elapsed().as_secs_f64(),
        out: args.out.clone(),
    };
    ui.result(&summary, || {
        format!(
            "{} frames x {} features of {} in {:.1} s -> {}",
            summary.frames,
            summary.dim,
            summary.encoder,
            summary.seconds,
            summary.out.display()
        )
    })
}

struct Rows<'a> {
    features: &'a Features,
    shape: [usize; 2],
}

impl safetensors::View for Rows<'_> {
    fn dtype(&self) -> safetensors::Dtype {
        safetensors::Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        self.features
            .as_slice()
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect::<Vec<u8>>()
            .into()
    }

    fn data_len(&self) -> usize {
        self.features.as_slice().len() * 4
    }
}
