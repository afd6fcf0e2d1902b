//! Weights in the order in which the kernels read them.

use super::aligned::Aligned;
use super::kernels::{Activation, Kernels, MatrixPanel};
use crate::efficientnet::weights::Convolution;

/// Channels rounded up to whole vectors: the distance between pixels of an activation.
pub(super) fn pixel_stride(channels: usize, kernels: &Kernels) -> usize {
    channels.next_multiple_of(kernels.lanes)
}

/// Channels rounded up to whole panels: the distance between pixels between expansion and projection.
pub(super) fn panel_stride(channels: usize, kernels: &Kernels) -> usize {
    channels.next_multiple_of(2 * kernels.lanes)
}

/// Where one panel of output channels lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panel {
    /// First output channel, and place in the bias.
    pub channel: usize,
    /// 1 or 2 vectors.
    pub vectors: usize,
    weight: usize,
}

/// A matrix `[inputs, outputs]` with bias, cut into panels of two vectors of outputs; missing outputs are zeros.
#[derive(Clone, Debug)]
pub(super) struct PackedMatrix {
    weight: Aligned,
    bias: Aligned,
    panels: Vec<Panel>,
    segments: usize,
    segment_len: usize,
}

/// Pixels as rows of a matrix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pixels {
    pub first: *const f32,
    /// Values from one pixel to the next.
    pub stride: usize,
    /// Values from one segment to the next (rows of the picture under the stem's kernel).
    pub segment_stride: usize,
    pub count: usize,
}

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    /// Place of offset 0, for the first channel of the panel.
    pub first: *mut f32,
    /// What is added, at the same offsets; null for nothing.
    pub residual: *const f32,
    /// One offset a pixel.
    pub offsets: &'a [u32],
}

impl PackedMatrix {
    /// A 1x1 convolution whose outputs are rounded up to `padded` channels.
    pub fn pointwise(convolution: &Convolution, padded: usize, kernels: &Kernels) -> Self {
        let [_, inputs, ..] = convolution.shape;
        Self::pack(convolution, padded, kernels, 1, inputs, |output, input| {
            output * inputs + input
        })
    }

    /// The 3x3 stem: three segments, one a row of the kernel, each three pixels of three colours.
    pub fn stem(convolution: &Convolution, kernels: &Kernels) -> Self {
        let [outputs, colours, side, _] = convolution.shape;
        let padded = panel_stride(outputs, kernels);
        let source = |output: usize, input: usize| {
            let (row, column, colour) = (
                input / (side * colours),
                input / colours % side,
                input % colours,
            );
            ((output * colours + colour) * side + row) * side + column
        };
        Self::pack(convolution, padded, kernels, side, side * colours, source)
    }

    fn pack(
        convolution: &Convolution,
        padded: usize,
        kernels: &Kernels,
        segments: usize,
        segment_len: usize,
        source: impl Fn(usize, usize) -> usize,
    ) -> Self {
        let (inputs, outputs) = (segments * segment_len, convolution.bias.len());
        let width = 2 * kernels.lanes;
        let mut weight = Aligned::zeros(inputs * padded);
        let mut panels = Vec::new();
        let mut at = 0;
        for channel in (0..padded).step_by(width) {
            let columns = width.min(padded - channel);
            for input in 0..inputs {
                for column in 0..columns.min(outputs.saturating_sub(channel)) {
                    weight[at + input * columns + column] =
                        convolution.weight[source(channel + column, input)];
                }
            }
            panels.push(Panel {
                channel,
                vectors: columns / kernels.lanes,
                weight: at,
            });
            at += inputs * columns;
        }
        let mut bias = Aligned::zeros(padded);
        bias[..outputs].copy_from_slice(&convolution.bias);
        Self {
            weight,
            bias,
            panels,
            segments,
            segment_len,
        }
    }

    /// The panels, first channel first.
    pub fn panels(&self) -> &[Panel] {
        &self.panels
    }

    /// One panel of the product.
    ///
    /// # Safety
    /// `pixels` must cover `count` pixels of this matrix's inputs, and `target.first` (and `residual`) the panel's vectors at every
    /// one of the first `count` offsets.
    pub unsafe fn multiply(
        &self,
        kernels: &Kernels,
        panel: Panel,
        pixels: Pixels,
        activation: Activation,
        target: Target,
    ) {
        assert!(pixels.count <= target.offsets.len());
        // SAFETY: the weights and bias of a panel lie inside their buffers by construction; the rest is the caller's promise.
        unsafe {
            kernels.matrix(&MatrixPanel {
                a: pixels.first,
                a_stride: pixels.stride,
                segments: self.segments,
                segment_len: self.segment_len,
                segment_stride: pixels.segment_stride,
                rows: pixels.count,
                weight: self.weight.as_ptr().add(panel.weight),
                bias: self.bias.as_ptr().add(panel.channel),
                vectors: panel.vectors,
                activation,
                destination: target.first,
                residual: target.residual,
                offsets: target.offsets.as_ptr(),
            });
        }
    }

    /// All panels of the product, over whole activations: pixel `m` of the result starts at `target.offsets[m]`.
    ///
    /// # Safety
    /// As [`Self::multiply`], for all panels.
    pub unsafe fn multiply_all(
        &self,
        kernels: &Kernels,
        pixels: Pixels,
        activation: Activation,
        target: Target,
    ) {
        for &panel in &self.panels {
            let shifted = Target {
                first: target.first.wrapping_add(panel.channel),
                residual: if target.residual.is_null() {
                    target.residual
                } else {
                    target.residual.wrapping_add(panel.channel)
                },
                offsets: target.offsets,
            };
            // SAFETY: passed on.
            unsafe { self.multiply(kernels, panel, pixels, activation, shifted) };
        }
    }
}

/// Depthwise filters, `[panel, kernel * kernel, 2 * LANES]`, and biases, `[panel, 2 * LANES]`.
#[derive(Clone, Debug)]
pub(super) struct PackedDepthwise {
    weight: Aligned,
    bias: Aligned,
    taps: usize,
    width: usize,
}

impl PackedDepthwise {
    pub fn pack(convolution: &Convolution, kernels: &Kernels) -> Self {
        let [channels, _, side, _] = convolution.shape;
        let (taps, width) = (side * side, 2 * kernels.lanes);
        let panels = channels.div_ceil(width);
        let mut weight = Aligned::zeros(panels * taps * width);
        let mut bias = Aligned::zeros(panels * width);
        for channel in 0..channels {
            let (panel, lane) = (channel / width, channel % width);
            for tap in 0..taps {
                weight[(panel * taps + tap) * width + lane] =
                    convolution.weight[channel * taps + tap];
            }
            bias[channel] = convolution.bias[channel];
        }
        Self {
            weight,
            bias,
            taps,
            width,
        }
    }

    pub fn weight(&self, panel: usize) -> &[f32] {
        &self.weight[panel * self.taps * self.width..][..self.taps * self.width]
    }

    pub fn bias(&self, panel: usize) -> &[f32] {
        &self.bias[panel * self.width..][..self.width]
    }
}
