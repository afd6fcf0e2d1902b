//! [`Films`]: clips as JPEG pictures behind each other, small enough to send and to keep.
//!
//! Pictures, not a video file: every browser shows them frame by frame, two clips stay in step, a loop has no seam, and no codec has to be
//! there.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Context as _;
use image::RgbImage;
use image::imageops::{FilterType, resize};
use rapport::dataset::Dataset;
use rapport::reward::ClipId;

/// Pictures a second that are shown at most.
const RATE: f64 = 15.0;
/// Pictures of a clip at most.
const LONGEST: usize = 90;
/// Longer side of a picture at most, in pixels.
const SIDE: u32 = 640;
const QUALITY: u8 = 85;
/// Films that are kept.
const KEPT: usize = 24;

/// Which of a clip's frames are shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Every so many frames of the dataset one picture.
    pub step: usize,
    /// Pictures a second.
    pub fps: f64,
}

impl Pace {
    /// For clips of at most `longest` frames, recorded at `fps` frames a second; shown as fast as they were recorded.
    pub fn new(fps: f64, longest: usize) -> Self {
        let by_rate = (fps / RATE).ceil().max(1.0) as usize;
        let step = by_rate.max(longest.div_ceil(LONGEST));
        Self {
            step,
            fps: fps / step as f64,
        }
    }

    /// Frames that are shown of a clip, its last one always among them.
    fn frames(self, clip: &ClipId) -> Vec<usize> {
        let length = clip.end - clip.start;
        let mut frames: Vec<usize> = (0..length).rev().step_by(self.step).collect();
        frames.reverse();
        frames
    }
}

type Slot = Arc<OnceLock<Result<Arc<[u8]>, String>>>;

/// Clips as films, made when they are first asked for. Several threads may ask; a film is made once.
pub struct Films {
    dataset: Arc<Dataset>,
    camera: String,
    pace: Pace,
    /// Those that are kept, and the order in which they were asked for.
    kept: Mutex<(HashMap<ClipId, Slot>, VecDeque<ClipId>)>,
}

impl Films {
    /// Films of a camera.
    pub fn new(dataset: Arc<Dataset>, camera: String, pace: Pace) -> Self {
        Self {
            dataset,
            camera,
            pace,
            kept: Mutex::default(),
        }
    }

    /// How fast films are shown.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// A clip's film: the number of pictures, the length of each in bytes, all as little-endian `u32`, then the pictures.
    pub fn film(&self, clip: &ClipId) -> anyhow::Result<Arc<[u8]>> {
        let slot = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let (films, order) = &mut *kept;
            order.retain(|c| c != clip);
            order.push_back(clip.clone());
            while order.len() > KEPT {
                if let Some(old) = order.pop_front() {
                    films.remove(&old);
                }
            }
            films.entry(clip.clone()).or_default().clone()
        };
        let made = slot.get_or_init(|| self.make(clip).map_err(|e| format!("{e:#}")));
        if made.is_err() {
            // It may be there the next time.
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.0.remove(clip);
        }
        made.clone().map_err(anyhow::Error::msg)
    }

    fn make(&self, clip: &ClipId) -> anyhow::Result<Arc<[u8]>> {
        let frames =
            self.dataset
                .frames_between(clip.episode, &self.camera, clip.start..clip.end)?;
        let pictures = self
            .pace
            .frames(clip)
            .into_iter()
            .map(|t| jpeg(&shrunk(&frames[t])))
            .collect::<anyhow::Result<Vec<_>>>()
            .with_context(|| format!("cannot show {clip}"))?;
        Ok(pack(&pictures).into())
    }
}

fn shrunk(image: &RgbImage) -> RgbImage {
    let longer = image.width().max(image.height());
    if longer <= SIDE {
        return image.clone();
    }
    let side = |pixels: u32| (pixels * SIDE / longer).max(1);
    resize(
        image,
        side(image.width()),
        side(image.height()),
        FilterType::Triangle,
    )
}

fn jpeg(image: &RgbImage) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    jpeg_encoder::Encoder::new(&mut bytes, QUALITY).encode(
        image.as_raw(),
        u16::try_from(image.width())?,
        u16::try_from(image.height())?,
        jpeg_encoder::ColorType::Rgb,
    )?;
    Ok(bytes)
}

fn pack(pictures: &[Vec<u8>]) -> Vec<u8> {
    let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = word(pictures.len()).to_vec();
    for picture in pictures {
        bytes.extend(word(picture.len()));
    }
    bytes.extend(pictures.iter().flatten());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(start: usize, end: usize) -> ClipId {
        ClipId {
            dataset: "d".into(),
            episode: 0,
            start,
            end,
        }
    }

    #[test]
    fn a_film_is_as_long_in_seconds_as_the_clip_and_ends_with_its_last_frame() {
        for (fps, length) in [(30.0, 90), (10.0, 40), (60.0, 1), (50.0, 10_000)] {
            let pace = Pace::new(fps, length);
            let frames = pace.frames(&clip(7, 7 + length));
            assert_eq!(frames.last(), Some(&(length - 1)));
            assert!(frames.len() <= LONGEST && pace.fps <= RATE);
            let (shown, real) = (frames.len() as f64 / pace.fps, length as f64 / fps);
            assert!((shown - real).abs() <= 1.0 / pace.fps, "{shown} {real}");
        }
    }

    #[test]
    fn pictures_are_packed_behind_their_lengths() {
        let bytes = pack(&[vec![7; 3], vec![9; 2]]);
        assert_eq!(bytes, [2, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 7, 7, 7, 9, 9]);
    }

    #[test]
    fn large_pictures_are_shrunk_and_keep_their_shape() {
        let image = RgbImage::new(1920, 1080);
        assert_eq!(shrunk(&image).dimensions(), (640, 360));
        assert_eq!(shrunk(&RgbImage::new(112, 64)).dimensions(), (112, 64));
        let bytes = jpeg(&RgbImage::new(16, 8)).unwrap();
        assert_eq!(bytes[..2], [0xff, 0xd8]);
    }
}
