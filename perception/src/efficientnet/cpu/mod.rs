//! EfficientNet-Lite0 on processor cores.
//!
//! Channel-last activations, folded normalisation, 1x1 convolutions as matrix products on weights packed once, depthwise
//! filters on a ring of rows that stays in the cache, ReLU6 and residual fused into the stores, no allocation per frame, and nothing
//! computed behind the tap.

mod aligned;
mod block;
mod kernels;
mod packed;
mod simd;

pub use kernels::Kernels;

use aligned::Aligned;
use block::{Block, Scratch, ScratchBuffers, Source};
use kernels::Activation;
use packed::{PackedMatrix, Pixels, Target, pixel_stride};

use super::weights::{CLASSES, FEATURES, STEM_CHANNELS, Tap, Weights, same_padding};
use crate::preprocess::Preprocess;

/// The network up to a tap, prepared for square pictures of one size.
#[derive(Debug)]
pub struct CpuNetwork {
    kernels: Kernels,
    size: usize,
    tap: Tap,
    stem: PackedMatrix,
    stem_side: usize,
    stem_pad: usize,
    /// Values of a row of the padded picture.
    picture_row: usize,
    blocks: Vec<Block>,
    head: Option<PackedMatrix>,
    classifier: Option<PackedMatrix>,
    normalized: [f32; 256],
    /// Multiples of a pixel's stride, for results without gaps: stem, head, classifier.
    offsets: Vec<u32>,
}

/// The buffers of one frame in flight; one for each thread.
#[derive(Debug)]
pub struct Workspace {
    picture: Aligned,
    current: Aligned,
    next: Aligned,
    scratch: ScratchBuffers,
    head: Aligned,
    pooled: Aligned,
    logits: Aligned,
}

impl CpuNetwork {
    /// Packs the weights for pictures of `size` x `size` pixels (at least 1) and the given instruction set.
    pub fn new(weights: &Weights, size: usize, tap: Tap, kernels: Kernels) -> Self {
        let (stem_side, stem_pad) = same_padding(size, 3, 2);
        let mut side = stem_side;
        let blocks: Vec<Block> = weights.blocks[..tap.blocks()]
            .iter()
            .map(|weights| {
                let block = Block::new(weights, side, &kernels);
                side = block.output_side();
                block
            })
            .collect();
        let (with_head, with_classifier) =
            (matches!(tap, Tap::Pooled | Tap::Logits), tap == Tap::Logits);
        let offsets = if with_head {
            (0..side * side)
                .map(|pixel| (pixel * FEATURES) as u32)
                .collect()
        } else {
            (0..stem_side)
                .map(|pixel| (pixel * pixel_stride(STEM_CHANNELS, &kernels)) as u32)
                .collect()
        };
        Self {
            kernels,
            size,
            tap,
            stem: PackedMatrix::stem(&weights.stem, &kernels),
            stem_side,
            stem_pad,
            picture_row: ((stem_side - 1) * 2 + 3).max(stem_pad + size) * 3,
            blocks,
            head: with_head.then(|| PackedMatrix::pointwise(&weights.head, FEATURES, &kernels)),
            classifier: with_classifier.then(|| {
                PackedMatrix::pointwise(
                    &weights.classifier,
                    pixel_stride(CLASSES, &kernels),
                    &kernels,
                )
            }),
            normalized: std::array::from_fn(|byte| Preprocess::normalize(byte as u8)),
            offsets,
        }
    }

    /// Side of the pictures.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Values that [`Self::forward`] writes: rows x columns x channels of the tap.
    pub fn output_len(&self) -> usize {
        let (rows, columns, channels) = self.tap.shape(self.size);
        rows * columns * channels
    }

    /// Buffers for one thread.
    pub fn workspace(&self) -> Workspace {
        let stem_len = if self.blocks.is_empty() {
            self.stem_side.pow(2) * pixel_stride(STEM_CHANNELS, &self.kernels)
        } else {
            0
        };
        let longest = self
            .blocks
            .iter()
            .map(Block::output_len)
            .max()
            .unwrap_or(0)
            .max(stem_len);
        let scratch = self
            .blocks
            .iter()
            .fold(Scratch::default(), |most, block| most.max(block.scratch()));
        let head_pixels = self.head.as_ref().map_or(0, |_| self.offsets.len());
        Workspace {
            picture: Aligned::zeros(self.picture_row * (self.picture_row / 3)),
            current: Aligned::zeros(longest),
            next: Aligned::zeros(longest),
            scratch: ScratchBuffers::new(scratch),
            head: Aligned::zeros(head_pixels * FEATURES),
            pooled: Aligned::zeros(if head_pixels > 0 { FEATURES } else { 0 }),
            logits: Aligned::zeros(if self.classifier.is_some() {
                pixel_stride(CLASSES, &self.kernels)
            } else {
                0
            }),
        }
    }

    /// Runs one picture, RGB bytes row by row (`size * size * 3`), and writes the tap as `[rows, columns, channels]`.
    ///
    /// # Panics
    /// When `rgb`, `output` or the workspace is not of this network's size: a bug of the caller.
    pub fn forward(&self, rgb: &[u8], workspace: &mut Workspace, output: &mut [f32]) {
        assert_eq!(rgb.len(), self.size * self.size * 3);
        assert_eq!(output.len(), self.output_len());
        assert_eq!(
            workspace.picture.len(),
            self.picture_row * (self.picture_row / 3)
        );
        self.normalize(rgb, &mut workspace.picture);
        let stem = Source {
            matrix: &self.stem,
            first: workspace.picture.as_ptr(),
            pixel_stride: 2 * 3,
            row_stride: 2 * self.picture_row,
            segment_stride: self.picture_row,
        };
        if self.blocks.is_empty() {
            self.stem_only(stem, &mut workspace.current);
        }
        for block in &self.blocks {
            let source = block
                .source(&workspace.current, &self.kernels)
                .unwrap_or(stem);
            let residual = block.adds_input().then_some(&*workspace.current);
            // SAFETY: the padded picture covers the stem's rows, and `source` checked the length of the activation.
            unsafe {
                block.forward(
                    &self.kernels,
                    source,
                    residual,
                    &mut workspace.scratch,
                    &mut workspace.next,
                );
            }
            std::mem::swap(&mut workspace.current, &mut workspace.next);
        }
        match self.tap {
            Tap::Stem | Tap::Block(_) => self.copy_channels(&workspace.current, output),
            Tap::Pooled => {
                self.pool(workspace);
                output.copy_from_slice(&workspace.pooled);
            }
            Tap::Logits => {
                self.pool(workspace);
                self.classify(workspace);
                output.copy_from_slice(&workspace.logits[..CLASSES]);
            }
        }
    }

    /// Bytes to -1..=1, inside a frame of zeros.
    fn normalize(&self, rgb: &[u8], picture: &mut [f32]) {
        let row_len = self.size * 3;
        for (row, bytes) in rgb.chunks_exact(row_len).enumerate() {
            let start = (self.stem_pad + row) * self.picture_row + self.stem_pad * 3;
            for (value, &byte) in picture[start..start + row_len].iter_mut().zip(bytes) {
                *value = self.normalized[usize::from(byte)];
            }
        }
    }

    fn stem_only(&self, stem: Source, output: &mut [f32]) {
        let row_len = self.stem_side * pixel_stride(STEM_CHANNELS, &self.kernels);
        assert!(output.len() >= self.stem_side * row_len);
        for (row, output) in output
            .chunks_exact_mut(row_len)
            .take(self.stem_side)
            .enumerate()
        {
            let pixels = Pixels {
                first: stem.first.wrapping_add(row * stem.row_stride),
                stride: stem.pixel_stride,
                segment_stride: stem.segment_stride,
                count: self.stem_side,
            };
            let target = Target {
                first: output.as_mut_ptr(),
                residual: std::ptr::null(),
                offsets: &self.offsets,
            };
            // SAFETY: the padded picture covers the row, and the output row was cut to its length.
            unsafe {
                self.stem
                    .multiply_all(&self.kernels, pixels, Activation::Relu6, target)
            };
        }
    }

    /// Head convolution and the mean over the picture.
    fn pool(&self, workspace: &mut Workspace) {
        let (Some(head), Some(last)) = (&self.head, self.blocks.last()) else {
            return;
        };
        let pixels = Pixels {
            first: workspace.current.as_ptr(),
            stride: last.output_stride(),
            segment_stride: 0,
            count: self.offsets.len(),
        };
        let target = Target {
            first: workspace.head.as_mut_ptr(),
            residual: std::ptr::null(),
            offsets: &self.offsets,
        };
        // SAFETY: the last activation and the head's buffer hold `offsets.len()` pixels.
        unsafe { head.multiply_all(&self.kernels, pixels, Activation::Relu6, target) };
        workspace.pooled.fill(0.0);
        for pixel in workspace.head.chunks_exact(FEATURES) {
            for (sum, value) in workspace.pooled.iter_mut().zip(pixel) {
                *sum += value;
            }
        }
        let share = 1.0 / self.offsets.len() as f32;
        workspace.pooled.iter_mut().for_each(|sum| *sum *= share);
    }

    fn classify(&self, workspace: &mut Workspace) {
        let Some(classifier) = &self.classifier else {
            return;
        };
        let pixels = Pixels {
            first: workspace.pooled.as_ptr(),
            stride: FEATURES,
            segment_stride: 0,
            count: 1,
        };
        let target = Target {
            first: workspace.logits.as_mut_ptr(),
            residual: std::ptr::null(),
            offsets: &[0],
        };
        // SAFETY: one pixel of pooled features in, one padded row of scores out.
        unsafe { classifier.multiply_all(&self.kernels, pixels, Activation::None, target) };
    }

    /// Leaves out the channels that only fill up a vector.
    fn copy_channels(&self, activation: &[f32], output: &mut [f32]) {
        let (_, _, channels) = self.tap.shape(self.size);
        let stride = pixel_stride(channels, &self.kernels);
        for (pixel, output) in activation
            .chunks_exact(stride)
            .zip(output.chunks_exact_mut(channels))
        {
            output.copy_from_slice(&pixel[..channels]);
        }
    }
}
