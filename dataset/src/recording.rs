//! [`EpisodeWriter`]: an episode while it is being recorded.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use image::RgbImage;

use crate::config::{DatasetConfig, Feature};
use crate::data::Columns;
use crate::durable;
use crate::error::{Error, Result};
use crate::stats::PixelHistogram;
use crate::video::VideoWriter;

/// Frames of one camera that may wait for the encoder. Then [`EpisodeWriter::push`] waits: nothing is ever dropped.
const QUEUE: usize = 16;

/// An episode that is being recorded. Video is compressed on a thread per camera while frames come in.
///
/// Nothing of it is part of the dataset until [`DatasetWriter::save`](crate::DatasetWriter::save); dropping it discards it.
pub struct EpisodeWriter {
    pub(crate) config: Arc<DatasetConfig>,
    pub(crate) task: String,
    pub(crate) columns: Columns,
    pub(crate) len: usize,
    cameras: Vec<CameraStream>,
    dir: Staging,
    /// Set when a frame reached some cameras and not others.
    broken: bool,
}

/// Directory of files that are not yet part of the dataset; removed when dropped.
pub(crate) struct Staging(pub PathBuf);

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is removed when the dataset is opened for writing again.
        let _ = std::fs::remove_dir_all(&self.0);
        if let Some(parent) = self.0.parent() {
            // Succeeds only when no other episode is being recorded.
            let _ = std::fs::remove_dir(parent);
        }
    }
}

/// A finished episode: everything on the disk, nothing part of the dataset.
pub(crate) struct Recorded {
    pub task: String,
    pub columns: Columns,
    pub len: usize,
    /// Per camera, in the order of the configuration: its video file and pixel histogram.
    pub videos: Vec<(PathBuf, PixelHistogram)>,
    /// Keeps the files until they have been moved away.
    pub _dir: Staging,
}

impl EpisodeWriter {
    pub(crate) fn begin(config: Arc<DatasetConfig>, task: &str, dir: PathBuf) -> Result<Self> {
        if task.trim().is_empty() {
            return Err(Error::Invalid(
                "an episode needs a task; say in words what is to be done".into(),
            ));
        }
        durable::create_dir(&dir)?;
        let dir = Staging(dir);
        let cameras = config
            .cameras
            .iter()
            .enumerate()
            .map(|(i, camera)| {
                let path = dir.0.join(format!("camera-{i}.mp4"));
                let (width, height) = (camera.width, camera.height);
                let writer = VideoWriter::create(&path, width, height, config.fps, config.codec)?;
                CameraStream::start(path, writer)
            })
            .collect::<Result<_>>()?;
        let columns = config
            .features
            .iter()
            .map(|f| (f.name.clone(), Vec::new()))
            .collect();
        Ok(Self {
            config,
            task: task.to_owned(),
            columns,
            len: 0,
            cameras,
            dir,
            broken: false,
        })
    }

    /// Frames pushed so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True before the first frame.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The task, in words.
    pub fn task(&self) -> &str {
        &self.task
    }

    /// Appends a frame: a value `[dim]` for every feature and an image for every camera, by name and in any order. Waits
    /// while an encoder is behind.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for NaN or infinity; [`Error::Invalid`] when a feature or camera is missing, unknown, given
    /// twice or of the wrong size, or a value does not fit the feature's type. The episode is then as it was before.
    /// [`Error::DiskFull`] or [`Error::Io`] when the video cannot be written; the episode can then only be discarded.
    pub fn push(&mut self, values: &[(&str, &[f32])], images: &[(&str, &RgbImage)]) -> Result<()> {
        if self.broken {
            return Err(self.unusable());
        }
        let rows = self.checked_values(values)?;
        let images = self.checked_images(images)?;
        for (stream, image) in self.cameras.iter_mut().zip(images) {
            if let Err(e) = stream.push(image.clone()) {
                self.broken = true;
                return Err(e);
            }
        }
        for (feature, row) in self.config.features.iter().zip(rows) {
            if let Some(column) = self.columns.get_mut(&feature.name) {
                column.extend(row.iter().map(|v| f64::from(*v)));
            }
        }
        self.len += 1;
        Ok(())
    }

    /// Throws the episode away.
    pub fn discard(self) {}

    fn unusable(&self) -> Error {
        Error::Invalid(format!(
            "the episode \"{}\" broke off at frame {} when its video could not be written; discard it and record it again",
            self.task, self.len
        ))
    }

    fn checked_values<'v>(&self, values: &[(&str, &'v [f32])]) -> Result<Vec<&'v [f32]>> {
        let features = &self.config.features;
        let names = features.iter().map(|f| f.name.as_str());
        let rows = in_order("feature", self.len, names, values)?;
        for (feature, row) in features.iter().zip(&rows) {
            self.check_row(feature, row)?;
        }
        Ok(rows)
    }

    fn check_row(&self, feature: &Feature, row: &[f32]) -> Result<()> {
        if row.len() != feature.dim {
            return Err(Error::Invalid(format!(
                "feature {} of frame {} has {} components instead of {}",
                feature.name,
                self.len,
                row.len(),
                feature.dim
            )));
        }
        for (component, &value) in row.iter().enumerate() {
            if !value.is_finite() {
                return Err(Error::NonFinite {
                    feature: feature.name.clone(),
                    component,
                    frame: self.len,
                    value,
                });
            }
            if !feature.dtype.holds(value) {
                return Err(Error::Invalid(format!(
                    "feature {}, component {component}, of frame {} is {value}, which is no {}",
                    feature.name,
                    self.len,
                    feature.dtype.name()
                )));
            }
        }
        Ok(())
    }

    fn checked_images<'v>(&self, images: &[(&str, &'v RgbImage)]) -> Result<Vec<&'v RgbImage>> {
        let cameras = &self.config.cameras;
        let names = cameras.iter().map(|c| c.name.as_str());
        let images = in_order("camera", self.len, names, images)?;
        for (camera, image) in cameras.iter().zip(&images) {
            if image.dimensions() != (camera.width, camera.height) {
                return Err(Error::Invalid(format!(
                    "the image of camera {} of frame {} has {} × {} pixels instead of {} × {}",
                    camera.name,
                    self.len,
                    image.width(),
                    image.height(),
                    camera.width,
                    camera.height
                )));
            }
        }
        Ok(images)
    }

    /// Waits for the encoders; the files are then complete and on the disk.
    pub(crate) fn finish(mut self) -> Result<Recorded> {
        if self.broken {
            return Err(self.unusable());
        }
        if self.len == 0 {
            return Err(Error::Invalid(format!(
                "the episode \"{}\" has no frames and cannot be saved",
                self.task
            )));
        }
        // All are told to finish before any is waited for.
        self.cameras.iter_mut().for_each(CameraStream::end);
        let mut videos = Vec::new();
        for stream in std::mem::take(&mut self.cameras) {
            let path = stream.path.clone();
            let pixels = stream.join()?;
            if pixels.frames != self.len as u64 {
                return Err(Error::corrupt(
                    &path,
                    format!(
                        "it has {} frames, and {} were recorded",
                        pixels.frames, self.len
                    ),
                ));
            }
            videos.push((path, pixels));
        }
        Ok(Recorded {
            task: self.task,
            columns: self.columns,
            len: self.len,
            videos,
            _dir: self.dir,
        })
    }
}

/// Brings what the caller gave by name into the order of `names`.
fn in_order<'n, T: Copy>(
    what: &str,
    frame: usize,
    names: impl Iterator<Item = &'n str> + Clone,
    given: &[(&str, T)],
) -> Result<Vec<T>> {
    let wrong = |name: &str, how: &str| {
        Err(Error::Invalid(format!(
            "{what} {name} of frame {frame} {how}; every frame needs exactly: {}",
            names.clone().collect::<Vec<_>>().join(", ")
        )))
    };
    for (i, (name, _)) in given.iter().enumerate() {
        if !names.clone().any(|n| n == *name) {
            return wrong(name, "is not part of the dataset");
        }
        if given[..i].iter().any(|(n, _)| n == name) {
            return wrong(name, "is given twice");
        }
    }
    let mut ordered = Vec::with_capacity(given.len());
    for name in names.clone() {
        match given.iter().find(|(n, _)| *n == name) {
            Some((_, value)) => ordered.push(*value),
            None => return wrong(name, "is missing"),
        }
    }
    Ok(ordered)
}

enum Message {
    Frame(RgbImage),
    End,
}

/// The encoder thread of a camera.
struct CameraStream {
    path: PathBuf,
    sender: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<Result<PixelHistogram>>>,
}

impl CameraStream {
    fn start(path: PathBuf, mut video: VideoWriter) -> Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let encode = move || {
            let mut pixels = PixelHistogram::default();
            loop {
                match receiver.recv() {
                    Ok(Message::Frame(image)) => {
                        pixels.add(&image);
                        video.push(&image)?;
                    }
                    Ok(Message::End) => {
                        video.finish()?;
                        return Ok(pixels);
                    }
                    // The episode was discarded.
                    Err(_) => return Ok(PixelHistogram::default()),
                }
            }
        };
        let thread = thread::Builder::new()
            .name("video encoder".into())
            .spawn(encode)
            .map_err(|e| Error::io("start an encoder for", &path, e))?;
        Ok(Self {
            path,
            sender: Some(sender),
            thread: Some(thread),
        })
    }

    fn push(&mut self, image: RgbImage) -> Result<()> {
        let sent = self
            .sender
            .as_ref()
            .is_some_and(|s| s.send(Message::Frame(image)).is_ok());
        if sent { Ok(()) } else { Err(self.failure()) }
    }

    fn end(&mut self) {
        if let Some(sender) = self.sender.take() {
            // A thread that failed is not there to hear it; `join` then gives its error.
            let _ = sender.send(Message::End);
        }
    }

    fn join(mut self) -> Result<PixelHistogram> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Err(self.stopped()),
        }
    }

    /// Why the thread has ended early.
    fn failure(&mut self) -> Error {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(e))) => e,
            _ => self.stopped(),
        }
    }

    fn stopped(&self) -> Error {
        Error::Invalid(format!(
            "the encoder of {} stopped; discard the episode and record it again",
            self.path.display()
        ))
    }
}

impl Drop for CameraStream {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // The staging directory is removed next, so the thread must have let go of its file.
            let _ = thread.join();
        }
    }
}
