//! One inverted residual block, computed in strips of rows so that the widened activation never leaves the cache.
//!
//! For each strip of output rows and each panel of widened channels, the 1x1 expansion fills the missing rows of a small ring,
//! and the depthwise filter reads them from there. The projection then turns the filtered strip into output rows. Where the whole picture
//! fits, there is one strip, and all panels share one ring, which stays in the first-level cache.

use super::aligned::Aligned;
use super::kernels::{Activation, DepthwisePanel, Kernels};
use super::packed::{
    PackedDepthwise, PackedMatrix, Panel, Pixels, Target, panel_stride, pixel_stride,
};
use crate::efficientnet::weights::{BlockShape, BlockWeights, same_padding};

/// Bytes of filtered activation up to which a block is computed in one strip.
const ONE_STRIP_BYTES: usize = 256 << 10;
/// Bytes that the ring and a strip may take together otherwise: both stay in a second-level cache of 512 KiB.
const STRIP_BYTES: usize = 192 << 10;

/// A picture of activations: channel-last, [`pixel_stride`] values a pixel, rows without gaps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub matrix: &'a PackedMatrix,
    /// First value of the picture.
    pub first: *const f32,
    /// Values from one pixel to the next one computed.
    pub pixel_stride: usize,
    /// Values from one row to the next one computed.
    pub row_stride: usize,
    /// Values from one kernel row to the next (stem only).
    pub segment_stride: usize,
}

/// What a block needs besides its input and output.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scratch {
    pub ring: usize,
    pub filtered: usize,
    pub zeros: usize,
}

impl Scratch {
    pub fn max(self, other: Self) -> Self {
        Self {
            ring: self.ring.max(other.ring),
            filtered: self.filtered.max(other.filtered),
            zeros: self.zeros.max(other.zeros),
        }
    }
}

/// Buffers shared by all blocks.
#[derive(Debug)]
pub(super) struct ScratchBuffers {
    ring: Aligned,
    filtered: Aligned,
    zeros: Aligned,
}

impl ScratchBuffers {
    pub fn new(scratch: Scratch) -> Self {
        Self {
            ring: Aligned::zeros(scratch.ring),
            filtered: Aligned::zeros(scratch.filtered),
            zeros: Aligned::zeros(scratch.zeros),
        }
    }
}

/// A block prepared for pictures of one size.
#[derive(Debug)]
pub(super) struct Block {
    shape: BlockShape,
    expand: Option<PackedMatrix>,
    depthwise: PackedDepthwise,
    project: PackedMatrix,
    input_side: usize,
    output_side: usize,
    pad: usize,
    padded_columns: usize,
    ring_rows: usize,
    strip_rows: usize,
    /// Values from one panel's ring to the next: 0 where all share one.
    ring_stride: usize,
    /// Place in the ring of each pixel, `[ring_rows * input_side]`.
    ring_offsets: Vec<u32>,
    /// Place of each pixel of a strip in the output.
    output_offsets: Vec<u32>,
    panel_width: usize,
    expanded_stride: usize,
    output_stride: usize,
}

impl Block {
    pub fn new(weights: &BlockWeights, input_side: usize, kernels: &Kernels) -> Self {
        let shape = weights.shape;
        let (output_side, pad) = same_padding(input_side, shape.kernel, shape.stride);
        let padded_columns =
            ((output_side - 1) * shape.stride + shape.kernel).max(pad + input_side);
        let panel_width = 2 * kernels.lanes;
        let expanded_stride = panel_stride(shape.expanded, kernels);
        let output_stride = pixel_stride(shape.output, kernels);
        let panels = shape.expanded.div_ceil(panel_width);

        let row_bytes = 4 * output_side * expanded_stride;
        let (strip_rows, ring_rows, ring_panels) = if output_side * row_bytes <= ONE_STRIP_BYTES {
            (output_side, input_side, 1)
        } else {
            let ring_rows =
                |strip: usize| ((strip - 1) * shape.stride + shape.kernel).min(input_side);
            let bytes = |strip: usize| {
                strip * row_bytes + 4 * ring_rows(strip) * padded_columns * panels * panel_width
            };
            let strip = (2..=output_side)
                .take_while(|&strip| bytes(strip) <= STRIP_BYTES)
                .last()
                .unwrap_or(1);
            (strip, ring_rows(strip), panels)
        };
        let ring_row = padded_columns * panel_width;
        let ring_offsets = (0..ring_rows * input_side)
            .map(|pixel| {
                (pixel / input_side * ring_row + (pad + pixel % input_side) * panel_width) as u32
            })
            .collect();
        let output_offsets = (0..strip_rows * output_side)
            .map(|pixel| (pixel * output_stride) as u32)
            .collect();
        Self {
            shape,
            expand: weights
                .expand
                .as_ref()
                .map(|expand| PackedMatrix::pointwise(expand, expanded_stride, kernels)),
            depthwise: PackedDepthwise::pack(&weights.depthwise, kernels),
            project: PackedMatrix::pointwise(&weights.project, output_stride, kernels),
            input_side,
            output_side,
            pad,
            padded_columns,
            ring_rows,
            strip_rows,
            ring_stride: if ring_panels == 1 {
                0
            } else {
                ring_rows * ring_row
            },
            ring_offsets,
            output_offsets,
            panel_width,
            expanded_stride,
            output_stride,
        }
    }

    /// True where the input is added to the output.
    pub fn adds_input(&self) -> bool {
        self.shape.residual()
    }

    pub fn output_side(&self) -> usize {
        self.output_side
    }

    /// Values of the output picture.
    pub fn output_len(&self) -> usize {
        self.output_side * self.output_side * self.output_stride
    }

    pub fn output_stride(&self) -> usize {
        self.output_stride
    }

    pub fn scratch(&self) -> Scratch {
        let ring_row = self.padded_columns * self.panel_width;
        Scratch {
            ring: self.ring_len(),
            filtered: self.strip_rows * self.output_side * self.expanded_stride,
            zeros: ring_row,
        }
    }

    fn ring_len(&self) -> usize {
        let panels = if self.ring_stride == 0 {
            1
        } else {
            self.shape.expanded.div_ceil(self.panel_width)
        };
        panels * self.ring_rows * self.padded_columns * self.panel_width
    }

    /// The expansion as the source of the ring.
    pub fn source<'a>(&'a self, input: &'a [f32], kernels: &Kernels) -> Option<Source<'a>> {
        let stride = pixel_stride(self.shape.input, kernels);
        self.expand.as_ref().map(|matrix| {
            assert!(input.len() >= self.input_side * self.input_side * stride);
            Source {
                matrix,
                first: input.as_ptr(),
                pixel_stride: stride,
                row_stride: self.input_side * stride,
                segment_stride: 0,
            }
        })
    }

    /// Computes the block. `residual` is the input picture where the block adds it.
    ///
    /// # Safety
    /// `source` must cover `input_side` rows of `input_side` pixels of its matrix's inputs.
    pub unsafe fn forward(
        &self,
        kernels: &Kernels,
        source: Source,
        residual: Option<&[f32]>,
        scratch: &mut ScratchBuffers,
        output: &mut [f32],
    ) {
        let row_pixels = self.output_side * self.output_stride;
        assert!(output.len() >= self.output_len());
        assert!(scratch.ring.len() >= self.ring_len());
        assert!(residual.is_none_or(|residual| residual.len() >= self.output_len()));
        self.clear_padding(&mut scratch.ring);
        let mut filled = 0;
        for first_row in (0..self.output_side).step_by(self.strip_rows) {
            let last_row = (first_row + self.strip_rows).min(self.output_side);
            let needed = ((last_row - 1) * self.shape.stride + self.shape.kernel - self.pad)
                .min(self.input_side);
            for (index, &panel) in source.matrix.panels().iter().enumerate() {
                let ring = scratch
                    .ring
                    .as_mut_ptr()
                    .wrapping_add(index * self.ring_stride);
                // SAFETY: the ring of a panel holds `ring_rows` padded rows, and `ring_offsets` stay inside; the filtered strip
                // holds `strip_rows` rows; the source is the caller's promise.
                unsafe {
                    self.fill(kernels, source, panel, filled..needed, ring);
                    kernels.depthwise(&DepthwisePanel {
                        ring,
                        ring_rows: self.ring_rows,
                        row_stride: self.padded_columns * self.panel_width,
                        zeros: scratch.zeros.as_ptr(),
                        input_rows: self.input_side,
                        pad_top: self.pad,
                        kernel: self.shape.kernel,
                        stride: self.shape.stride,
                        weight: self.depthwise.weight(index).as_ptr(),
                        bias: self.depthwise.bias(index).as_ptr(),
                        first_row,
                        last_row,
                        output_columns: self.output_side,
                        destination: scratch.filtered.as_mut_ptr().add(panel.channel),
                        pixel_stride: self.expanded_stride,
                    });
                }
            }
            filled = needed;
            let pixels = Pixels {
                first: scratch.filtered.as_ptr(),
                stride: self.expanded_stride,
                segment_stride: 0,
                count: (last_row - first_row) * self.output_side,
            };
            let target = Target {
                first: output[first_row * row_pixels..].as_mut_ptr(),
                residual: residual.map_or(std::ptr::null(), |residual| {
                    residual[first_row * row_pixels..].as_ptr()
                }),
                offsets: &self.output_offsets,
            };
            // SAFETY: the strip lies inside the output, whose length was checked.
            unsafe {
                self.project
                    .multiply_all(kernels, pixels, Activation::None, target)
            };
        }
    }

    /// Widens input rows `rows` into one panel's ring.
    unsafe fn fill(
        &self,
        kernels: &Kernels,
        source: Source,
        panel: Panel,
        rows: std::ops::Range<usize>,
        ring: *mut f32,
    ) {
        let gapless = source.row_stride == self.input_side * source.pixel_stride;
        let mut row = rows.start;
        while row < rows.end {
            let slot = row % self.ring_rows;
            // As many rows at once as lie one behind the other on both sides.
            let count = if gapless {
                (rows.end - row).min(self.ring_rows - slot)
            } else {
                1
            };
            let pixels = Pixels {
                first: source.first.wrapping_add(row * source.row_stride),
                stride: source.pixel_stride,
                segment_stride: source.segment_stride,
                count: count * self.input_side,
            };
            let target = Target {
                first: ring,
                residual: std::ptr::null(),
                offsets: &self.ring_offsets[slot * self.input_side..],
            };
            // SAFETY: passed on from `forward`.
            unsafe {
                source
                    .matrix
                    .multiply(kernels, panel, pixels, Activation::Relu6, target)
            };
            row += count;
        }
    }

    /// Zeroes the columns left and right of the picture, where another block may have left values.
    fn clear_padding(&self, ring: &mut [f32]) {
        let width = self.panel_width;
        for row in ring[..self.ring_len()].chunks_exact_mut(self.padded_columns * width) {
            row[..self.pad * width].fill(0.0);
            row[(self.pad + self.input_side) * width..].fill(0.0);
        }
    }
}
