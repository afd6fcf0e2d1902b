//! The [`OpencvCamera`]: live capture through OpenCV's `VideoCapture`, behind the feature `opencv`.

use std::path::PathBuf;

use image::RgbImage;
use opencv::core::{CV_8UC3, Mat};
use opencv::prelude::{MatTraitConst as _, MatTraitConstManual as _};
use opencv::prelude::{VideoCaptureTrait as _, VideoCaptureTraitConst as _};
use opencv::videoio::{
    CAP_ANY, CAP_PROP_BUFFERSIZE, CAP_PROP_FOURCC, CAP_PROP_FPS, CAP_PROP_FRAME_HEIGHT,
    CAP_PROP_FRAME_WIDTH, VideoCapture, VideoWriter,
};
use serde::{Deserialize, Serialize};

use crate::camera::{Camera, CameraError, Frame};
use crate::clock::{Clock as _, SystemClock};

/// Which camera.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OpencvSource {
    /// The system's number for it. Numbers change when cameras are plugged in; prefer a path.
    Index(i32),
    /// A device (`/dev/v4l/by-path/...`), a file or an address that OpenCV opens.
    Path(PathBuf),
}

/// Turn of the picture, clockwise, degrees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rotation {
    /// As it comes.
    #[default]
    #[serde(rename = "0")]
    None,
    /// A quarter turn.
    #[serde(rename = "90")]
    Quarter,
    /// Upside down.
    #[serde(rename = "180")]
    Half,
    /// Three quarter turns.
    #[serde(rename = "270")]
    ThreeQuarters,
}

/// How a camera is opened. The names are LeRobot's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpencvConfig {
    /// Which camera.
    pub index_or_path: OpencvSource,
    /// Width before the rotation, pixels. None: the camera's own.
    #[serde(default)]
    pub width: Option<u32>,
    /// Height before the rotation, pixels.
    #[serde(default)]
    pub height: Option<u32>,
    /// Pictures per second.
    #[serde(default)]
    pub fps: Option<f64>,
    /// Pixel format as four characters; `MJPG` is what most cameras need for more than 640 x 480 at 30.
    #[serde(default)]
    pub fourcc: Option<String>,
    /// Turn of the picture.
    #[serde(default)]
    pub rotation: Rotation,
}

/// A live camera. [`Camera::capture`] waits for the next picture; put it in a [`crate::CameraStream`] to have the newest at once.
pub struct OpencvCamera {
    name: String,
    capture: VideoCapture,
    picture: Mat,
    size: (u32, u32),
    rotation: Rotation,
    clock: SystemClock,
    sequence: u64,
}

impl std::fmt::Debug for OpencvCamera {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpencvCamera")
            .field("name", &self.name)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl OpencvCamera {
    /// Opens a camera and takes one picture. Frames are stamped on `clock` when they have come.
    ///
    /// Errors: [`CameraError::Open`] where it does not open, gives no picture, or one of another size than asked for.
    pub fn open(
        name: &str,
        config: &OpencvConfig,
        clock: SystemClock,
    ) -> Result<Self, CameraError> {
        let failed = |cause: String| CameraError::Open {
            name: name.into(),
            cause,
        };
        let said = |error: opencv::Error| failed(error.message);
        let mut capture = match &config.index_or_path {
            OpencvSource::Index(index) => VideoCapture::new(*index, CAP_ANY),
            OpencvSource::Path(path) => VideoCapture::from_file(path, CAP_ANY),
        }
        .map_err(said)?;
        if !capture.is_opened().map_err(said)? {
            return Err(failed(format!(
                "{:?} does not open; check that it is plugged in and not in use",
                config.index_or_path
            )));
        }
        // The pixel format comes first: it decides which sizes and rates there are.
        if let Some(code) = &config.fourcc {
            let characters: Vec<char> = code.chars().collect();
            let [a, b, c, d] = characters[..] else {
                return Err(failed(format!("fourcc {code:?} has not four characters")));
            };
            let code = VideoWriter::fourcc(a, b, c, d).map_err(said)?;
            capture
                .set(CAP_PROP_FOURCC, f64::from(code))
                .map_err(said)?;
        }
        // One buffer: an old picture is worth nothing. Where the driver refuses, the stream drains it anyway.
        let wishes = [
            (CAP_PROP_FRAME_WIDTH, config.width.map(f64::from)),
            (CAP_PROP_FRAME_HEIGHT, config.height.map(f64::from)),
            (CAP_PROP_FPS, config.fps),
            (CAP_PROP_BUFFERSIZE, Some(1.0)),
        ];
        for (property, value) in wishes {
            if let Some(value) = value {
                capture.set(property, value).map_err(said)?;
            }
        }
        let mut camera = Self {
            name: name.into(),
            capture,
            picture: Mat::default(),
            size: (0, 0),
            rotation: config.rotation,
            clock,
            sequence: 0,
        };
        let first = camera.grab().map_err(failed)?;
        let (width, height) = first.dimensions();
        if config.width.is_some_and(|w| w != width) || config.height.is_some_and(|h| h != height) {
            return Err(failed(format!(
                "it gives {width} x {height}, not {:?} x {:?}; ask for a size it has",
                config.width, config.height
            )));
        }
        camera.size = camera.turn(first).dimensions();
        Ok(camera)
    }

    fn grab(&mut self) -> Result<RgbImage, String> {
        let said = |error: opencv::Error| error.message;
        if !self.capture.read(&mut self.picture).map_err(said)? || self.picture.empty() {
            return Err("it gave no picture".into());
        }
        if self.picture.typ() != CV_8UC3 {
            return Err(format!(
                "its pictures are of type {}, not 8-bit colour",
                self.picture.typ()
            ));
        }
        let (width, height) = (self.picture.cols() as u32, self.picture.rows() as u32);
        let mut pixels = self.picture.data_bytes().map_err(said)?.to_vec();
        // OpenCV gives blue first.
        for pixel in pixels.chunks_exact_mut(3) {
            pixel.swap(0, 2);
        }
        RgbImage::from_raw(width, height, pixels).ok_or_else(|| "its picture is cut off".into())
    }

    fn turn(&self, image: RgbImage) -> RgbImage {
        match self.rotation {
            Rotation::None => image,
            Rotation::Quarter => image::imageops::rotate90(&image),
            Rotation::Half => image::imageops::rotate180(&image),
            Rotation::ThreeQuarters => image::imageops::rotate270(&image),
        }
    }
}

impl Camera for OpencvCamera {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> (u32, u32) {
        self.size
    }

    fn capture(&mut self) -> Result<Frame, CameraError> {
        let failed = |name: &str, cause| CameraError::Failed {
            name: name.into(),
            cause,
        };
        let image = self.grab().map_err(|cause| failed(&self.name, cause))?;
        let stamp = self.clock.now();
        let image = self.turn(image);
        if image.dimensions() != self.size {
            let cause = format!("its picture changed to {:?}", image.dimensions());
            return Err(failed(&self.name, cause));
        }
        self.sequence += 1;
        Ok(Frame {
            image,
            stamp,
            sequence: self.sequence,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(path: PathBuf) -> OpencvConfig {
        OpencvConfig {
            index_or_path: OpencvSource::Path(path),
            width: None,
            height: None,
            fps: None,
            fourcc: None,
            rotation: Rotation::default(),
        }
    }

    #[test]
    fn a_camera_that_is_not_there_says_so() {
        let config = config("/dev/video_that_is_not_there".into());
        let error = OpencvCamera::open("front", &config, SystemClock::default()).unwrap_err();
        assert!(error.to_string().contains("front"), "{error}");
    }

    #[test]
    fn pictures_come_red_first_and_turned() {
        let folder = tempfile::tempdir().unwrap();
        // OpenCV reads a numbered series of pictures as a film.
        for k in 0..3 {
            let picture = RgbImage::from_fn(8, 4, |x, _| {
                image::Rgb(if x < 4 { [250, 0, 0] } else { [0, 0, 250] })
            });
            picture
                .save(folder.path().join(format!("picture_{k:03}.png")))
                .unwrap();
        }
        let mut config = config(folder.path().join("picture_%03d.png"));
        config.rotation = Rotation::Quarter;
        let mut camera = OpencvCamera::open("front", &config, SystemClock::default()).unwrap();
        assert_eq!(camera.size(), (4, 8));
        let frame = camera.capture().unwrap();
        assert_eq!(frame.image.get_pixel(0, 0).0, [250, 0, 0]);
        assert_eq!(frame.image.get_pixel(0, 7).0, [0, 0, 250]);
        assert_eq!(camera.capture().unwrap().sequence, 2);
        assert!(matches!(camera.capture(), Err(CameraError::Failed { .. })));
    }

    #[test]
    fn the_configuration_speaks_lerobot() {
        let text = "index_or_path = \"/dev/video0\"\nwidth = 640\nheight = 480\nfps = 30.0\nfourcc = \"MJPG\"\nrotation = \"90\"";
        let config: OpencvConfig = toml::from_str(text).unwrap();
        assert_eq!(config.rotation, Rotation::Quarter);
        let by_number: OpencvConfig = toml::from_str("index_or_path = 2").unwrap();
        assert_eq!(by_number.index_or_path, OpencvSource::Index(2));
        assert!(toml::from_str::<OpencvConfig>("index_or_path = 2\nbrightness = 1").is_err());
    }
}
