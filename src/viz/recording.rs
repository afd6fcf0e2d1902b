//! One run as a `.rrd` file, written by a thread of its own.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use image::RgbImage;
use rapport::robot::kinematics::Chain;
use rerun::{RecordingStream, RecordingStreamBuilder};

use super::arm::ArmView;
use super::blueprint::blueprint;

/// Something to show, at a moment of the run.
pub enum Message {
    /// Everything after this belongs to this moment, seconds.
    Time(f64),
    /// Joint positions, rad; the arm follows.
    Joints(Vec<f64>),
    /// A number under a path such as `reward/learned` or `loop/lateness`.
    Scalar(String, f64),
    /// A camera image.
    Image(String, RgbImage),
    /// A box in the world: path, centre (m), half sizes (m), colour.
    Block(String, [f64; 3], [f64; 3], [u8; 3]),
}

/// An open recording. Dropping it writes the end of the file.
pub struct Recording {
    sender: Option<Sender<Message>>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
    path: PathBuf,
    dropped: u64,
}

/// Room for about ten seconds of a loop with two cameras.
const CAPACITY: usize = 4096;

impl Recording {
    /// Starts a file for one run. `joint_names` label the joint plot, `cameras` get a view each.
    pub fn create(
        path: &Path,
        name: &str,
        chain: Chain,
        joint_names: Vec<String>,
        cameras: &[String],
    ) -> anyhow::Result<Self> {
        let stream = RecordingStreamBuilder::new("rapport")
            .recording_id(name)
            .with_blueprint(blueprint(cameras))
            .save(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let (sender, receiver) = bounded(CAPACITY);
        let thread = std::thread::Builder::new()
            .name("viewer".into())
            .spawn(move || write(&stream, chain, &joint_names, &receiver))?;
        Ok(Self {
            sender: Some(sender),
            thread: Some(thread),
            path: path.to_owned(),
            dropped: 0,
        })
    }

    /// Hands a message over without ever waiting; a full queue drops it and counts.
    pub fn offer(&mut self, message: Message) {
        if let Some(sender) = &self.sender
            && let Err(TrySendError::Full(_)) = sender.try_send(message)
        {
            self.dropped += 1;
        }
    }

    /// Hands a message over, waiting for room: for loops that have no deadline.
    pub fn send(&mut self, message: Message) {
        if let Some(sender) = &self.sender {
            // The receiver is gone only when its thread failed; `finish` reports that.
            let _ = sender.send(message);
        }
    }

    /// Writes what is left and closes the file; returns how many messages were dropped.
    pub fn finish(mut self) -> anyhow::Result<u64> {
        self.close()
            .with_context(|| format!("writing {}", self.path.display()))?;
        Ok(self.dropped)
    }

    fn close(&mut self) -> anyhow::Result<()> {
        self.sender = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => anyhow::bail!("the viewer thread panicked"),
            None => Ok(()),
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!("{}: {error:#}", self.path.display());
        }
    }
}

fn write(
    stream: &RecordingStream,
    chain: Chain,
    joint_names: &[String],
    receiver: &Receiver<Message>,
) -> anyhow::Result<()> {
    stream.log_static("world", &rerun::ViewCoordinates::RIGHT_HAND_Z_UP())?;
    stream.log_static(
        "world/table",
        &rerun::Boxes3D::from_centers_and_half_sizes([(0.2, 0.0, -0.006)], [(0.28, 0.3, 0.005)])
            .with_colors([rerun::Color::from_rgb(150, 130, 105)])
            .with_fill_mode(rerun::FillMode::Solid),
    )?;
    let arm = ArmView::new(stream, chain)?;
    for message in receiver {
        match message {
            Message::Time(seconds) => stream.set_duration_secs("time", seconds),
            Message::Joints(joints) => {
                arm.pose(stream, &joints)?;
                for (name, &q) in joint_names.iter().zip(&joints) {
                    stream.log(format!("joints/{name}"), &rerun::Scalars::single(q))?;
                }
            }
            Message::Scalar(path, value) => stream.log(path, &rerun::Scalars::single(value))?,
            Message::Image(name, image) => stream.log(format!("camera/{name}"), &jpeg(&image)?)?,
            Message::Block(path, center, half, color) => stream.log(
                path,
                &rerun::Boxes3D::from_centers_and_half_sizes(
                    [center.map(|v| v as f32)],
                    [half.map(|v| v as f32)],
                )
                .with_colors([rerun::Color::from_rgb(color[0], color[1], color[2])])
                .with_fill_mode(rerun::FillMode::Solid),
            )?,
        }
    }
    stream.flush_with_timeout(Duration::from_secs(10))?;
    Ok(())
}

fn jpeg(image: &RgbImage) -> anyhow::Result<rerun::EncodedImage> {
    let mut bytes = Vec::new();
    jpeg_encoder::Encoder::new(&mut bytes, 85).encode(
        image.as_raw(),
        u16::try_from(image.width())?,
        u16::try_from(image.height())?,
        jpeg_encoder::ColorType::Rgb,
    )?;
    Ok(rerun::EncodedImage::new(bytes).with_media_type("image/jpeg"))
}
