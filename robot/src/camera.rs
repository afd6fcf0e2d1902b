//! The [`Camera`] trait: one colour image at a time, each with the moment it was taken.

use std::time::Duration;

use image::RgbImage;

/// One image.
#[derive(Clone, Debug)]
pub struct Frame {
    /// 8-bit RGB, rows top to bottom.
    pub image: RgbImage,
    /// When it was captured, on the clock of the run.
    pub stamp: Duration,
    /// Running number given by the source; a repeated number is a frozen camera.
    pub sequence: u64,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// The camera could not be opened.
    #[error("cannot open camera {name}: {cause}")]
    Open {
        /// Camera name.
        name: String,
        /// What the system said.
        cause: String,
    },
    /// The camera failed while it ran.
    #[error("camera {name} failed: {cause}")]
    Failed {
        /// Camera name.
        name: String,
        /// What it said.
        cause: String,
    },
    /// No new frame came in time.
    #[error("camera {name} gave no frame for {ms} ms")]
    Stalled {
        /// Camera name.
        name: String,
        /// Time waited.
        ms: u64,
    },
}

/// A source of images.
pub trait Camera: Send {
    /// Name in datasets and logs (`front`).
    fn name(&self) -> &str;

    /// `(width, height)` in pixels.
    fn size(&self) -> (u32, u32);

    /// The newest frame.
    fn capture(&mut self) -> Result<Frame, CameraError>;
}
