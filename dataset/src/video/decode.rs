//! [`VideoReader`]: frames of a video in order, or the exact frame at a time.

use std::path::{Path, PathBuf};

use ff::{Packet, Rational, codec, format, frame, software::scaling};
use ffmpeg_next as ff;
use image::RgbImage;

use super::{TOLERANCE, ffmpeg_error, ffmpeg_path, init};
use crate::error::{Error, Result};

/// A decoded frame.
#[derive(Clone, Debug)]
pub struct TimedFrame {
    /// When it is shown, seconds from the start of the file.
    pub seconds: f64,
    /// The picture.
    pub image: RgbImage,
}

/// Decodes the first video stream of a file.
pub struct VideoReader {
    path: PathBuf,
    stream: usize,
    time_base: Rational,
    fps: f64,
    size: (u32, u32),
    // Declared before `input`, so that the decoder is closed first.
    decoder: codec::decoder::Video,
    scaler: Option<scaling::Context>,
    input: format::context::Input,
    /// Time of the last frame given out or passed over, in ticks; none after opening or seeking.
    last: Option<i64>,
    ended: bool,
}

// SAFETY: the parts are Send except for the scaler, whose FFmpeg context is a plain heap object without thread affinity
// that only this struct points to.
unsafe impl Send for VideoReader {}

impl VideoReader {
    /// Opens a video file.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Corrupt`] when it is not a video that can be decoded.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        init();
        let path = path.as_ref();
        let input = open_input(path)?;
        let fail = |e| ffmpeg_error("read", path, e);
        let (stream, time_base, fps, parameters) = {
            let stream = input
                .streams()
                .best(ff::media::Type::Video)
                .ok_or_else(|| {
                    Error::corrupt(
                        path,
                        "it is not a complete video file (it has no video stream)",
                    )
                })?;
            let rate = match stream.avg_frame_rate() {
                Rational(n, d) if n > 0 && d > 0 => Rational(n, d),
                _ => stream.rate(),
            };
            if rate.numerator() <= 0 || rate.denominator() <= 0 {
                return Err(Error::corrupt(path, "it states no frame rate"));
            }
            let base = stream.time_base();
            (stream.index(), base, f64::from(rate), stream.parameters())
        };
        let mut context = codec::context::Context::from_parameters(parameters).map_err(fail)?;
        context.set_threading(codec::threading::Config {
            kind: codec::threading::Type::Slice,
            count: 1,
            ..Default::default()
        });
        let mut decoder = context.decoder();
        decoder.set_packet_time_base(time_base);
        let decoder = decoder.video().map_err(fail)?;
        Ok(Self {
            path: path.to_owned(),
            stream,
            time_base,
            fps,
            size: (decoder.width(), decoder.height()),
            decoder,
            scaler: None,
            input,
            last: None,
            ended: false,
        })
    }

    /// Average frames per second.
    pub fn fps(&self) -> f64 {
        self.fps
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        self.size
    }

    /// The next frame in order; none at the end.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it cannot be decoded without damage.
    pub fn next_frame(&mut self) -> Result<Option<TimedFrame>> {
        let Some((pts, frame)) = self.next_raw()? else {
            return Ok(None);
        };
        self.check(pts, &frame)?;
        Ok(Some(TimedFrame {
            seconds: self.seconds(pts),
            image: self.rgb(&frame)?,
        }))
    }

    /// The frame shown at `seconds`, which must be within [`TOLERANCE`] of a frame's own time. Asking in ascending order
    /// decodes every frame once.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when there is no such frame or it cannot be decoded.
    pub fn frame_at(&mut self, seconds: f64) -> Result<RgbImage> {
        let ticks = |s: f64| s / f64::from(self.time_base);
        let want = ticks(seconds).round() as i64;
        let period = (ticks(1.0 / self.fps).round() as i64).max(1);
        let ahead = self.last.map(|last| want - last);
        if self.ended || !ahead.is_some_and(|a| a > 0 && a <= 4 * period) {
            self.seek(want)?;
        }
        let mut step_back = 0;
        loop {
            let found = match self.next_raw() {
                Ok(found) => found,
                // Frames before the wanted one may be undecodable right after a seek into an open group.
                Err(_) if self.last.is_none() && step_back > 0 && step_back < 64 => continue,
                Err(e) => return Err(e),
            };
            let pts = found.as_ref().map(|(pts, _)| *pts);
            if pts.is_some_and(|p| p + period / 2 < want) {
                continue;
            }
            // The mp4 index is in decoding order: with B-frames a seek can land behind the wanted frame.
            if pts.is_none_or(|p| p - want > period / 2) && step_back < 64 && want > 0 {
                step_back = (step_back * 2).max(2);
                self.seek((want - step_back * period).clamp(0, want - 1))?;
                continue;
            }
            return match found {
                Some((pts, frame)) if (self.seconds(pts) - seconds).abs() <= TOLERANCE => {
                    self.check(pts, &frame)?;
                    self.rgb(&frame)
                }
                Some((pts, _)) => Err(self.no_frame(
                    seconds,
                    &format!("the nearest is at {:.6} s", self.seconds(pts)),
                )),
                None => Err(self.no_frame(seconds, "it ends before")),
            };
        }
    }

    /// Frame number `index`, counted from 0 at a constant rate.
    ///
    /// # Errors
    /// As [`frame_at`](Self::frame_at).
    pub fn frame(&mut self, index: usize) -> Result<RgbImage> {
        self.frame_at(index as f64 / self.fps)
    }

    fn seconds(&self, pts: i64) -> f64 {
        pts as f64 * f64::from(self.time_base)
    }

    fn no_frame(&self, seconds: f64, detail: &str) -> Error {
        Error::corrupt(
            &self.path,
            format!("it has no frame at {seconds:.6} s; {detail}"),
        )
    }

    fn seek(&mut self, ticks: i64) -> Result<()> {
        // SAFETY: the context is open and the stream index comes from it.
        let code = unsafe {
            ff::ffi::av_seek_frame(
                self.input.as_mut_ptr(),
                self.stream as i32,
                ticks,
                ff::ffi::AVSEEK_FLAG_BACKWARD,
            )
        };
        if code < 0 {
            return Err(ffmpeg_error("read", &self.path, ff::Error::from(code)));
        }
        self.decoder.flush();
        self.ended = false;
        self.last = None;
        Ok(())
    }

    /// The next decoded frame with its time in ticks.
    fn next_raw(&mut self) -> Result<Option<(i64, frame::Video)>> {
        loop {
            let mut frame = frame::Video::empty();
            match self.decoder.receive_frame(&mut frame) {
                Ok(()) => {
                    let pts = frame
                        .pts()
                        .ok_or_else(|| Error::corrupt(&self.path, "a frame has no time"))?;
                    self.last = Some(pts);
                    return Ok(Some((pts, frame)));
                }
                Err(ff::Error::Eof) => return Ok(None),
                Err(ff::Error::Other { errno }) if errno == ff::error::EAGAIN => {}
                Err(e) => return Err(self.undecodable(e)),
            }
            if self.ended {
                return Ok(None);
            }
            let mut packet = Packet::empty();
            match packet.read(&mut self.input) {
                Ok(()) if packet.stream() != self.stream => {}
                Ok(()) if packet.is_corrupt() => {
                    return Err(self.undecodable(ff::Error::InvalidData));
                }
                Ok(()) => self
                    .decoder
                    .send_packet(&packet)
                    .map_err(|e| self.undecodable(e))?,
                Err(ff::Error::Eof) => {
                    self.ended = true;
                    self.decoder.send_eof().map_err(|e| self.undecodable(e))?;
                }
                Err(e) => return Err(self.undecodable(e)),
            }
        }
    }

    fn undecodable(&self, error: ff::Error) -> Error {
        let after = self.last.map_or("at its start".to_owned(), |last| {
            format!("after {:.3} s", self.seconds(last))
        });
        match ffmpeg_error("read", &self.path, error) {
            Error::Corrupt { path, reason } => Error::Corrupt {
                path,
                reason: format!("the video cannot be decoded {after} ({reason})"),
            },
            other => other,
        }
    }

    /// Refuses a picture that the decoder had to make up in part.
    fn check(&self, pts: i64, frame: &frame::Video) -> Result<()> {
        if frame.is_corrupt() || frame.has_decode_errors() {
            return Err(Error::corrupt(
                &self.path,
                format!("the frame at {:.3} s is damaged", self.seconds(pts)),
            ));
        }
        Ok(())
    }

    fn rgb(&mut self, frame: &frame::Video) -> Result<RgbImage> {
        let fail = |e| ffmpeg_error("read", &self.path, e);
        let (format, width, height) = (frame.format(), frame.width(), frame.height());
        let fits = self.scaler.as_ref().is_some_and(|s| {
            let i = s.input();
            (i.format, i.width, i.height) == (format, width, height)
        });
        if !fits {
            self.scaler = Some(
                scaling::Context::get(
                    format,
                    width,
                    height,
                    format::Pixel::RGB24,
                    width,
                    height,
                    scaling::Flags::BILINEAR,
                )
                .map_err(fail)?,
            );
        }
        let mut rgb = frame::Video::empty();
        if let Some(scaler) = &mut self.scaler {
            scaler.run(frame, &mut rgb).map_err(fail)?;
        }
        let row_bytes = width as usize * 3;
        let mut pixels = Vec::with_capacity(row_bytes * height as usize);
        for row in rgb
            .data(0)
            .chunks_exact(rgb.stride(0))
            .take(height as usize)
        {
            pixels.extend_from_slice(&row[..row_bytes]);
        }
        RgbImage::from_raw(width, height, pixels)
            .ok_or_else(|| Error::corrupt(&self.path, "a frame has no pixels"))
    }
}

/// Opens a file for demuxing.
pub(super) fn open_input(path: &Path) -> Result<format::context::Input> {
    let absolute = ffmpeg_path(path)?;
    // FFmpeg's own message for a missing file or a directory is less clear.
    match std::fs::metadata(&absolute) {
        Err(e) => return Err(Error::io("read", path, e)),
        Ok(m) if !m.is_file() => return Err(Error::corrupt(path, "it is not a file")),
        Ok(_) => {}
    }
    format::input(&absolute).map_err(|e| match ffmpeg_error("read", path, e) {
        Error::Corrupt { path, reason } => Error::Corrupt {
            path,
            reason: format!("it is not a complete video file ({reason})"),
        },
        other => other,
    })
}
