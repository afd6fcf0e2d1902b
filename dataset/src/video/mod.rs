//! mp4 video through FFmpeg: exact frames, exact times.

mod decode;
mod encode;
mod scan;

use std::path::{Path, PathBuf};
use std::sync::Once;

use ffmpeg_next as ff;
use image::RgbImage;
use serde::{Deserialize, Serialize};

pub use decode::{TimedFrame, VideoReader};
pub use encode::VideoWriter;
pub use scan::{Scan, scan};

use crate::error::{Error, Result};

/// Largest distance between a frame's time and the time asked for, in seconds; LeRobot's own tolerance.
pub const TOLERANCE: f64 = 1e-4;

/// How video is compressed. Both are 8-bit 4:2:0 with a keyframe every second frame, so that any frame is at most two
/// frames of decoding away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// SVT-AV1 preset 12, constant rate factor 30: LeRobot's default, small files. Frames must be at least 64 × 64.
    #[default]
    Av1,
    /// x264 veryfast, constant rate factor 23: a third of the processor time, three times the size.
    H264,
}

impl VideoCodec {
    /// Name in `info.json` (`video.codec`).
    pub fn name(self) -> &'static str {
        match self {
            Self::Av1 => "av1",
            Self::H264 => "h264",
        }
    }

    /// The codec of that name in `info.json`.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Av1, Self::H264]
            .into_iter()
            .find(|c| c.name() == name)
    }

    /// Frames between keyframes.
    pub(crate) fn gop(self) -> u32 {
        2
    }

    /// Constant rate factor.
    pub(crate) fn crf(self) -> u32 {
        match self {
            Self::Av1 => 30,
            Self::H264 => 23,
        }
    }

    /// Speed preset.
    pub(crate) fn preset(self) -> &'static str {
        match self {
            Self::Av1 => "12",
            Self::H264 => "veryfast",
        }
    }

    /// Smallest width and height that the encoder takes.
    pub(crate) fn smallest(self) -> u32 {
        match self {
            Self::Av1 => 64,
            Self::H264 => 16,
        }
    }

    /// Checks that frames of this size can be encoded.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a side is odd or too small.
    pub fn check_size(self, width: u32, height: u32) -> Result<()> {
        let least = self.smallest();
        if width.is_multiple_of(2)
            && height.is_multiple_of(2)
            && width.min(height) >= least
            && width.max(height) <= 8192
        {
            Ok(())
        } else {
            Err(Error::Invalid(format!(
                "frames of {width} × {height} pixels cannot be encoded as {}; both sides must be even and between {least} and 8192",
                self.name()
            )))
        }
    }
}

/// Prepares FFmpeg and keeps it and its encoders from writing to the terminal. Every function here calls it; a program
/// with several threads calls it first thing in `main`, because it sets an environment variable (`SVT_LOG`).
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Cannot fail: it only fills the table of error messages.
        let _ = ff::init();
        ff::log::set_level(ff::log::Level::Quiet);
        if std::env::var_os("SVT_LOG").is_none() {
            // SAFETY: Rust code goes through the lock of the standard library. C code that reads the environment at the
            // same moment could see it half changed, hence the advice to call this first in `main`.
            unsafe { std::env::set_var("SVT_LOG", "1") };
        }
    });
}

/// All frames of a video file, in order, and its frames per second.
///
/// # Errors
/// [`Error::NotFound`], or [`Error::Corrupt`] when a frame cannot be decoded.
pub fn read_frames(path: impl AsRef<Path>) -> Result<(Vec<RgbImage>, f64)> {
    let mut reader = VideoReader::open(path)?;
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        frames.push(frame.image);
    }
    Ok((frames, reader.fps()))
}

/// Writes `frames`, all of one size, as an mp4 of `fps` frames per second. The file appears complete or not at all.
///
/// # Errors
/// [`Error::Invalid`] without frames or with frames of different or unusable sizes; [`Error::DiskFull`], [`Error::Io`].
pub fn write(
    path: impl AsRef<Path>,
    frames: &[RgbImage],
    fps: u32,
    codec: VideoCodec,
) -> Result<()> {
    let path = path.as_ref();
    let first = frames
        .first()
        .ok_or_else(|| Error::Invalid(format!("{} would have no frame", path.display())))?;
    let mut writer = VideoWriter::create(path, first.width(), first.height(), fps, codec)?;
    for frame in frames {
        writer.push(frame)?;
    }
    writer.finish()
}

/// An absolute path that FFmpeg can open: it takes only UTF-8, and would read `a:b.mp4` as a protocol.
fn ffmpeg_path(path: &Path) -> Result<PathBuf> {
    let absolute =
        std::path::absolute(path).map_err(|e| Error::io("find the directory of", path, e))?;
    match absolute.to_str() {
        Some(text) if !text.contains('\0') => Ok(absolute),
        _ => Err(Error::Invalid(format!(
            "the name {} is not valid UTF-8, which video files need; rename it",
            path.display()
        ))),
    }
}

/// The sentence for a failed FFmpeg call on `path`.
fn ffmpeg_error(doing: &'static str, path: &Path, error: ff::Error) -> Error {
    match error {
        // A damaged file makes FFmpeg answer with all kinds of error numbers, "out of memory" among them.
        ff::Error::Other { errno } if doing != "read" || SYSTEM.contains(&errno) => {
            Error::io(doing, path, std::io::Error::from_raw_os_error(errno))
        }
        other => Error::corrupt(path, format!("FFmpeg says: {}", describe(other))),
    }
}

/// Error numbers that speak of the machine and not of the file.
const SYSTEM: [i32; 6] = [
    ff::error::EIO,
    ff::error::EACCES,
    ff::error::EPERM,
    ff::error::ENOENT,
    ff::error::EMFILE,
    ff::error::ENFILE,
];

fn describe(error: ff::Error) -> String {
    match error {
        ff::Error::InvalidData => "invalid data found".into(),
        ff::Error::Eof => "unexpected end of file".into(),
        ff::Error::EncoderNotFound => "this FFmpeg has no such encoder".into(),
        ff::Error::DecoderNotFound => "this FFmpeg has no decoder for it".into(),
        other => other.to_string(),
    }
}
