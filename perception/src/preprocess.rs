//! Frames of any size to the square input of an encoder.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::encoder::EncoderError;

/// How a rectangular frame becomes a square.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// The whole frame, resized to the square; the aspect ratio is not kept. Nothing at the border is lost, and a frame that
    /// already has the size is passed on unchanged: the choice for robot cameras.
    #[default]
    Stretch,
    /// The short side is resized to 8/7 of the size, then the centre is cut out: how ImageNet classifiers are evaluated (256 then 224).
    Crop,
    /// The short side is resized to the size, then the centre is cut out: how CLIP sees.
    Centre,
}

/// Bicubic resize to a square, then `(x / 255 - 0.5) / 0.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Side of the square, in pixels.
    pub size: u32,
    /// How the frame becomes a square.
    #[serde(default)]
    pub fit: Fit,
}

impl Preprocess {
    /// One byte of a pixel as the network sees it, in -1..=1.
    pub fn normalize(byte: u8) -> f32 {
        (f32::from(byte) / 255.0 - 0.5) / 0.5
    }

    /// Everything that decides the values, for fingerprints.
    pub(crate) fn description(&self) -> String {
        let fit = match self.fit {
            Fit::Stretch => "stretch",
            Fit::Crop => "crop 7/8",
            Fit::Centre => "crop",
        };
        format!(
            "rgb8; catmull-rom; {fit}; {} px; (x/255-0.5)/0.5",
            self.size
        )
    }
}

/// A [`Preprocess`] with its buffers: after the first frame of a size, nothing is allocated.
#[derive(Debug)]
pub struct Preprocessor {
    preprocess: Preprocess,
    resizer: Resizer,
    options: ResizeOptions,
    narrowed: Vec<u8>,
    resized: Vec<u8>,
    square: Vec<u8>,
}

impl Preprocessor {
    /// For frames of any size.
    pub fn new(preprocess: Preprocess) -> Self {
        // Catmull-Rom is the cubic kernel with a = -0.5, the one that Pillow calls bicubic; being a convolution it widens
        // its support when it shrinks an image, as Pillow does.
        let options =
            ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
        Self {
            preprocess,
            resizer: Resizer::new(),
            options,
            narrowed: Vec::new(),
            resized: Vec::new(),
            square: Vec::new(),
        }
    }

    /// The square input: RGB bytes, row by row, `size * size * 3`.
    ///
    /// # Errors
    /// [`EncoderError::Other`] for a frame without pixels.
    pub fn square<'a>(&'a mut self, frame: &'a RgbImage) -> Result<&'a [u8], EncoderError> {
        let (width, height) = frame.dimensions();
        if width == 0 || height == 0 {
            return Err(EncoderError::Other(format!(
                "a frame of {width}x{height} pixels holds nothing to encode"
            )));
        }
        let size = self.preprocess.size;
        match self.preprocess.fit {
            Fit::Stretch if (width, height) == (size, size) => Ok(frame.as_raw()),
            Fit::Stretch => {
                self.resize(frame, size, size)?;
                Ok(&self.resized)
            }
            Fit::Crop => {
                let short = f64::from(size * 8 / 7);
                let scale = short / f64::from(width.min(height));
                // Half to even, as Python rounds.
                let scaled = |side: u32| (f64::from(side) * scale).round_ties_even() as u32;
                let (wide, high) = (scaled(width), scaled(height));
                self.resize(frame, wide, high)?;
                self.cut_centre(wide as usize, high as usize);
                Ok(&self.square)
            }
            Fit::Centre => {
                // The long side is rounded down, as CLIP's own preprocessing does.
                let short = u64::from(width.min(height));
                let scaled = |side: u32| (u64::from(size) * u64::from(side) / short) as u32;
                let (wide, high) = (scaled(width), scaled(height));
                self.resize(frame, wide, high)?;
                self.cut_centre(wide as usize, high as usize);
                Ok(&self.square)
            }
        }
    }

    fn resize(&mut self, frame: &RgbImage, width: u32, height: u32) -> Result<(), EncoderError> {
        let failed = |error: &dyn std::fmt::Display| {
            EncoderError::Other(format!(
                "cannot resize a frame to {width}x{height}: {error}"
            ))
        };
        let rows = frame.height();
        self.narrowed.resize(3 * width as usize * rows as usize, 0);
        self.resized.resize(3 * width as usize * height as usize, 0);
        // Rows before columns, as Pillow does: each pass rounds and clips to bytes, so the order shows.
        let mut pass = |from: &[u8], from_width: u32, to: &mut [u8], to_height: u32| {
            let from = TypedImageRef::<U8x3>::from_buffer(from_width, rows, from)
                .map_err(|error| failed(&error))?;
            let mut to = TypedImage::<U8x3>::from_buffer(width, to_height, to)
                .map_err(|error| failed(&error))?;
            self.resizer
                .resize_typed(&from, &mut to, &self.options)
                .map_err(|error| failed(&error))
        };
        pass(frame.as_raw(), frame.width(), &mut self.narrowed, rows)?;
        pass(&self.narrowed, width, &mut self.resized, height)
    }

    fn cut_centre(&mut self, width: usize, height: usize) {
        let size = self.preprocess.size as usize;
        // Half to even, as Python rounds the offset of a centre crop.
        let offset = |side: usize| ((side - size) as f64 / 2.0).round_ties_even() as usize;
        let (left, top) = (offset(width), offset(height));
        let pixels = &self.resized;
        self.square.clear();
        for row in top..top + size {
            let start = (row * width + left) * 3;
            self.square
                .extend_from_slice(&pixels[start..start + size * 3]);
        }
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    fn gradient(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 77])
        })
    }

    #[test]
    fn normalization_maps_black_to_minus_one_and_white_to_one() {
        assert_eq!(Preprocess::normalize(0), -1.0);
        assert_eq!(Preprocess::normalize(255), 1.0);
    }

    #[test]
    fn a_stretched_frame_of_the_right_size_is_unchanged() {
        let frame = gradient(112, 112);
        let mut preprocessor = Preprocessor::new(Preprocess {
            size: 112,
            fit: Fit::Stretch,
        });
        assert_eq!(preprocessor.square(&frame).unwrap(), frame.as_raw());
    }

    #[test]
    fn stretching_keeps_the_corners_and_cropping_loses_them() {
        let frame = gradient(320, 240);
        let red_of_last_column = |fit| {
            let mut preprocessor = Preprocessor::new(Preprocess { size: 64, fit });
            preprocessor.square(&frame).unwrap()[63 * 3]
        };
        assert!(red_of_last_column(Fit::Stretch) > 250);
        assert!(red_of_last_column(Fit::Crop) < 220);
    }

    #[test]
    fn frames_of_any_shape_come_out_square() {
        for fit in [Fit::Stretch, Fit::Crop, Fit::Centre] {
            let mut preprocessor = Preprocessor::new(Preprocess { size: 48, fit });
            for (width, height) in [(1, 1), (7, 300), (300, 7), (48, 48), (54, 54), (640, 480)] {
                let frame = gradient(width, height);
                assert_eq!(preprocessor.square(&frame).unwrap().len(), 48 * 48 * 3);
            }
        }
    }

    #[test]
    fn an_empty_frame_is_refused() {
        let mut preprocessor = Preprocessor::new(Preprocess {
            size: 32,
            fit: Fit::Crop,
        });
        assert!(preprocessor.square(&RgbImage::new(0, 5)).is_err());
    }
}
