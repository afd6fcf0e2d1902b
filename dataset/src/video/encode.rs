//! [`VideoWriter`]: frames to mp4.

use std::path::{Path, PathBuf};

use ff::{Dictionary, Packet, Rational, Rescale as _, codec, format, frame, software::scaling};
use ffmpeg_next as ff;
use image::RgbImage;

use super::{VideoCodec, ffmpeg_error, ffmpeg_path, init};
use crate::durable;
use crate::error::{Error, Result};

/// Writes an mp4 frame by frame at a constant rate: frame `k` is shown at `k / fps` seconds.
///
/// Until [`finish`](Self::finish) the data are in `<path>.partial`, which is removed when the writer is dropped.
pub struct VideoWriter {
    path: PathBuf,
    partial: PathBuf,
    size: (u32, u32),
    fps: i32,
    frames: i64,
    stream_time_base: Rational,
    // Declared in this order so that the encoder is closed before the file.
    encoder: codec::encoder::Video,
    scaler: scaling::Context,
    output: Option<format::context::Output>,
}

// SAFETY: the parts are Send except for the scaler, whose FFmpeg context is a plain heap object without thread affinity
// that only this struct points to.
unsafe impl Send for VideoWriter {}

impl VideoWriter {
    /// Opens `<path>.partial` for frames of `width` × `height` pixels.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the size or rate cannot be encoded or this FFmpeg lacks the encoder; [`Error::Io`],
    /// [`Error::DiskFull`].
    pub fn create(
        path: impl AsRef<Path>,
        width: u32,
        height: u32,
        fps: u32,
        codec: VideoCodec,
    ) -> Result<Self> {
        init();
        codec.check_size(width, height)?;
        let rate = i32::try_from(fps)
            .ok()
            .filter(|f| (1..=1000).contains(f))
            .ok_or_else(|| {
                Error::Invalid(format!(
                    "a video of {fps} frames per second cannot be written; 1 to 1000 can"
                ))
            })?;
        let path = ffmpeg_path(path.as_ref())?;
        let partial = durable::partial(&path);
        let fail = |e| ffmpeg_error("write", &path, e);

        let name = match codec {
            VideoCodec::Av1 => "libsvtav1",
            VideoCodec::H264 => "libx264",
        };
        let found = codec::encoder::find_by_name(name).ok_or_else(|| {
            Error::Invalid(format!(
                "this machine's FFmpeg has no {name} encoder; install one that has, or choose another codec"
            ))
        })?;
        let mut output = format::output_as(&partial, "mp4").map_err(fail)?;
        let encoder = open_encoder(found, codec, width, height, rate).map_err(fail)?;
        {
            let mut stream = output.add_stream(found).map_err(fail)?;
            stream.set_parameters(&encoder);
            // The muxer multiplies this by powers of two, so that every frame falls on a whole tick.
            stream.set_time_base(Rational(1, rate));
            stream.set_avg_frame_rate(Rational(rate, 1));
        }
        output.write_header().map_err(fail)?;
        let stream_time_base = output
            .stream(0)
            .map_or(Rational(1, rate), |s| s.time_base());
        let scaler = scaling::Context::get(
            format::Pixel::RGB24,
            width,
            height,
            format::Pixel::YUV420P,
            width,
            height,
            scaling::Flags::BILINEAR,
        )
        .map_err(fail)?;
        Ok(Self {
            path,
            partial,
            size: (width, height),
            fps: rate,
            frames: 0,
            stream_time_base,
            encoder,
            scaler,
            output: Some(output),
        })
    }

    /// Appends a frame.
    ///
    /// # Errors
    /// [`Error::Invalid`] when its size is not that of the video; [`Error::DiskFull`], [`Error::Io`].
    pub fn push(&mut self, image: &RgbImage) -> Result<()> {
        if image.dimensions() != self.size {
            return Err(Error::Invalid(format!(
                "frame {} has {} × {} pixels, and the video {} has {} × {}",
                self.frames,
                image.width(),
                image.height(),
                self.path.display(),
                self.size.0,
                self.size.1
            )));
        }
        let mut rgb = frame::Video::new(format::Pixel::RGB24, self.size.0, self.size.1);
        let stride = rgb.stride(0);
        let row_bytes = self.size.0 as usize * 3;
        let rows = rgb.data_mut(0).chunks_exact_mut(stride);
        for (to, from) in rows.zip(image.chunks_exact(row_bytes)) {
            to[..row_bytes].copy_from_slice(from);
        }
        let mut yuv = frame::Video::empty();
        self.scaler
            .run(&rgb, &mut yuv)
            .and_then(|()| {
                yuv.set_pts(Some(self.frames));
                self.encoder.send_frame(&yuv)
            })
            .map_err(|e| ffmpeg_error("write", &self.path, e))?;
        self.frames += 1;
        self.drain()
    }

    /// Frames pushed so far.
    pub fn frames(&self) -> usize {
        self.frames as usize
    }

    /// Completes the file, waits until it is on the disk and gives it its name.
    ///
    /// # Errors
    /// [`Error::Invalid`] when no frame was pushed; [`Error::DiskFull`], [`Error::Io`].
    pub fn finish(mut self) -> Result<()> {
        if self.frames == 0 {
            return Err(Error::Invalid(format!(
                "{} would have no frame",
                self.path.display()
            )));
        }
        self.encoder
            .send_eof()
            .map_err(|e| ffmpeg_error("write", &self.path, e))?;
        self.drain()?;
        if let Some(mut output) = self.output.take() {
            // Also reports writes that failed earlier in FFmpeg's buffer.
            output
                .write_trailer()
                .map_err(|e| ffmpeg_error("write", &self.path, e))?;
        }
        durable::sync_file(&self.partial)?;
        durable::rename(&self.partial, &self.path)?;
        durable::sync_parent(&self.path)
    }

    fn drain(&mut self) -> Result<()> {
        let Some(output) = self.output.as_mut() else {
            return Ok(());
        };
        let frame_time = Rational(1, self.fps);
        loop {
            let mut packet = Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => {}
                Err(ff::Error::Eof) => return Ok(()),
                Err(ff::Error::Other { errno }) if errno == ff::error::EAGAIN => return Ok(()),
                Err(e) => return Err(ffmpeg_error("write", &self.path, e)),
            }
            packet.set_stream(0);
            packet.rescale_ts(frame_time, self.stream_time_base);
            packet.set_duration(1i64.rescale(frame_time, self.stream_time_base));
            packet
                .write_interleaved(output)
                .map_err(|e| ffmpeg_error("write", &self.path, e))?;
        }
    }
}

impl Drop for VideoWriter {
    fn drop(&mut self) {
        self.output = None;
        // Gone already after `finish`; a partial file that cannot be removed harms nobody.
        let _ = std::fs::remove_file(&self.partial);
    }
}

fn open_encoder(
    found: ff::Codec,
    codec: VideoCodec,
    width: u32,
    height: u32,
    fps: i32,
) -> std::result::Result<codec::encoder::Video, ff::Error> {
    let mut context = codec::context::Context::new_with_codec(found);
    context.set_threading(codec::threading::Config {
        kind: codec::threading::Type::Slice,
        count: 1,
        ..Default::default()
    });
    let mut video = context.encoder().video()?;
    video.set_width(width);
    video.set_height(height);
    video.set_format(format::Pixel::YUV420P);
    video.set_time_base(Rational(1, fps));
    video.set_frame_rate(Some(Rational(fps, 1)));
    video.set_gop(codec.gop());
    // B-frames would put a keyframe's decoding time before an earlier frame, and seeking then misses frames.
    video.set_max_b_frames(0);
    video.set_flags(codec::Flags::GLOBAL_HEADER);
    let mut options = Dictionary::new();
    options.set("preset", codec.preset());
    options.set("crf", &codec.crf().to_string());
    if codec == VideoCodec::Av1 {
        // SVT-AV1 before 2.0 makes open groups by default, of which only the first frame can be sought.
        options.set("flags", "+cgop");
        options.set("svtav1-params", "lp=1");
    }
    video.open_with(options)
}
