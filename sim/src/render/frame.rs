//! The buffers that a picture is painted into.

use image::RgbImage;

use super::lanes::LANES;

/// Colour, depth and object of every sample. Rows are padded so that a group of lanes may start anywhere in a row.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) stride: usize,
    /// 0xBBGGRR.
    pub(super) colour: Vec<u32>,
    /// Distance along the optical axis, metres; infinite where there is nothing.
    pub(super) depth: Vec<f32>,
    /// Number of the geom in the scene plus one; 0 where there is nothing.
    pub(super) object: Vec<u32>,
    /// Normals, of any length, of the mesh being painted; empty if there are no meshes.
    pub(super) normal: [Vec<f32>; 3],
}

impl Frame {
    /// Buffers of a picture.
    pub(super) fn picture(width: usize, height: usize, meshes: bool) -> Frame {
        let mut frame = Frame::depth_only(width, height);
        let samples = frame.depth.len();
        frame.colour = vec![0; samples];
        frame.object = vec![0; samples];
        if meshes {
            frame.normal = std::array::from_fn(|_| vec![0.0; samples]);
        }
        frame
    }

    /// A depth buffer alone.
    pub(super) fn depth_only(width: usize, height: usize) -> Frame {
        let stride = width + LANES;
        let depth = vec![f32::INFINITY; stride * height];
        Frame {
            width,
            height,
            stride,
            depth,
            ..Frame::default()
        }
    }

    pub(super) fn clear(&mut self) {
        self.colour.fill(0);
        self.depth.fill(f32::INFINITY);
        self.object.fill(0);
    }

    /// Writes the picture to `out`, averaging `factor` x `factor` samples for each pixel.
    pub(super) fn resolve(&self, factor: usize, out: &mut RgbImage) {
        let width = self.width / factor;
        for (y, row) in out.chunks_exact_mut(3 * width).enumerate() {
            if factor == 1 {
                let from = &self.colour[y * self.stride..][..width];
                for (pixel, &colour) in row.chunks_exact_mut(3).zip(from) {
                    pixel.copy_from_slice(&colour.to_le_bytes()[..3]);
                }
                continue;
            }
            let count = (factor * factor) as u32;
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                // Red and blue share a word: up to 256 samples cannot overflow from one into the other.
                let (mut red_blue, mut green) = (0, 0);
                for sy in 0..factor {
                    let from = (y * factor + sy) * self.stride + x * factor;
                    for &colour in &self.colour[from..from + factor] {
                        red_blue += colour & 0xff_00ff;
                        green += colour >> 8 & 0xff;
                    }
                }
                let half = count / 2;
                pixel[0] = (((red_blue & 0xffff) + half) / count) as u8;
                pixel[1] = ((green + half) / count) as u8;
                pixel[2] = (((red_blue >> 16) + half) / count) as u8;
            }
        }
    }
}
