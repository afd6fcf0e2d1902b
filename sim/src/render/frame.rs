//! The buffers that a picture is painted into.

use image::RgbImage;

use super::lanes::LANES;
use super::mesh::Mesh;
use super::view::{Mirror, View, dot};

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
    /// Texture coordinates of the mesh being painted; empty if no mesh has any.
    pub(super) uv: [Vec<f32>; 2],
}

impl Frame {
    /// Buffers of a picture of a model with these meshes.
    pub(super) fn picture(width: usize, height: usize, meshes: &[Mesh]) -> Frame {
        let mut frame = Frame::layers(width, height);
        let samples = frame.depth.len();
        frame.colour = vec![0; samples];
        if !meshes.is_empty() {
            frame.normal = std::array::from_fn(|_| vec![0.0; samples]);
        }
        if meshes.iter().any(|mesh| !mesh.uvs.is_empty()) {
            frame.uv = std::array::from_fn(|_| vec![0.0; samples]);
        }
        frame
    }

    /// Depth and object, without colour.
    pub(super) fn layers(width: usize, height: usize) -> Frame {
        let mut frame = Frame::depth_only(width, height);
        frame.object = vec![0; frame.depth.len()];
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

    /// Adds what a mirror shows to the samples where geom `object` is in the mirror's plane.
    pub(super) fn add_reflection(
        &mut self,
        reflection: &Frame,
        object: u32,
        view: &View,
        mirror: &Mirror,
    ) {
        let height = mirror.distance(view.eye);
        for y in 0..self.height {
            for x in 0..self.width {
                let index = y * self.stride + x;
                if self.object[index] != object {
                    continue;
                }
                let ray = view.ray(x as f32 + 0.5, y as f32 + 0.5);
                let above = height + self.depth[index] * dot(mirror.normal, ray);
                if above.abs() <= 1e-3 * height {
                    let (a, b) = (self.colour[index], reflection.colour[index]);
                    let sum =
                        |shift: u32| ((a >> shift & 0xff) + (b >> shift & 0xff)).min(255) << shift;
                    self.colour[index] = sum(0) | sum(8) | sum(16);
                }
            }
        }
    }

    /// Writes the picture to `out`, averaging `factor` x `factor` samples for each pixel.
    pub(super) fn resolve(&self, factor: usize, out: &mut RgbImage) {
        let width = self.width / factor;
        for (y, row) in out.chunks_exact_mut(3 * width).enumerate() {
            if factor == 1 {
                pack(&self.colour[y * self.stride..][..width], row);
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

/// Drops the empty byte of each 0xBBGGRR.
fn pack(colours: &[u32], bytes: &mut [u8]) {
    let (mut from, mut to) = (colours.chunks_exact(4), bytes.chunks_exact_mut(12));
    for (four, twelve) in from.by_ref().zip(to.by_ref()) {
        let [a, b, c, d] = [four[0], four[1], four[2], four[3]];
        let words = [a | b << 24, b >> 8 | c << 16, c >> 16 | d << 8];
        for (to, word) in twelve.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
    }
    let rest = to.into_remainder().chunks_exact_mut(3);
    for (pixel, colour) in rest.zip(from.remainder()) {
        pixel.copy_from_slice(&colour.to_le_bytes()[..3]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_keeps_the_three_colours_of_every_sample_whatever_the_width() {
        for width in 1..10u8 {
            let colours: Vec<u32> = (0..width)
                .map(|i| u32::from_le_bytes([3 * i, 3 * i + 1, 3 * i + 2, 0]))
                .collect();
            let mut bytes = vec![0; 3 * usize::from(width)];
            pack(&colours, &mut bytes);
            let expected: Vec<u8> = (0..3 * width).collect();
            assert_eq!(bytes, expected);
        }
    }
}
