//! [`scan`]: what a video file holds, from its packets, without decoding.

use std::path::Path;

use ff::{Packet, Rational};
use ffmpeg_next as ff;

use super::decode::open_input;
use super::{ffmpeg_error, init};
use crate::error::{Error, Result};

/// Frames of a video file as its index and packets show them.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// Decoder name (`av1`, `h264`).
    pub codec: String,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Average frames per second.
    pub fps: f64,
    /// Time of each frame in seconds, ascending.
    pub times: Vec<f64>,
    /// Whether decoding can start at each frame, in the same order.
    pub keyframes: Vec<bool>,
}

/// Reads all packets of the first video stream.
///
/// # Errors
/// [`Error::NotFound`], or [`Error::Corrupt`] when the file is not a complete video file.
pub fn scan(path: impl AsRef<Path>) -> Result<Scan> {
    init();
    let path = path.as_ref();
    let mut input = open_input(path)?;
    let (index, base, mut scan) = {
        let stream = input
            .streams()
            .best(ff::media::Type::Video)
            .ok_or_else(|| {
                Error::corrupt(
                    path,
                    "it is not a complete video file (it has no video stream)",
                )
            })?;
        let Rational(n, d) = stream.avg_frame_rate();
        let parameters = stream.parameters();
        // SAFETY: the parameters belong to the open stream.
        let size = unsafe {
            let raw = parameters.as_ptr();
            ((*raw).width.max(0) as u32, (*raw).height.max(0) as u32)
        };
        let scan = Scan {
            codec: parameters.id().name().to_owned(),
            size,
            fps: if d > 0 {
                f64::from(n) / f64::from(d)
            } else {
                0.0
            },
            times: Vec::new(),
            keyframes: Vec::new(),
        };
        (stream.index(), f64::from(stream.time_base()), scan)
    };
    let mut frames = Vec::new();
    loop {
        let mut packet = Packet::empty();
        match packet.read(&mut input) {
            Ok(()) if packet.stream() != index => {}
            Ok(()) if packet.is_corrupt() => {
                return Err(Error::corrupt(
                    path,
                    format!("it breaks off in frame {}", frames.len()),
                ));
            }
            Ok(()) => {
                let pts = packet.pts().ok_or_else(|| {
                    Error::corrupt(path, format!("frame {} has no time", frames.len()))
                })?;
                frames.push((pts, packet.is_key()));
            }
            Err(ff::Error::Eof) => break,
            Err(e) => return Err(ffmpeg_error("read", path, e)),
        }
    }
    frames.sort_by_key(|(pts, _)| *pts);
    scan.times = frames.iter().map(|(pts, _)| *pts as f64 * base).collect();
    scan.keyframes = frames.iter().map(|(_, key)| *key).collect();
    Ok(scan)
}
