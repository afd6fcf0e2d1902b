//! The two inner loops of the network, for the best instruction set of this processor.
//!
//! Channels are processed in panels of two vectors. [`MatrixPanel`] multiplies rows of pixels by one panel of a packed weight
//! matrix (a 1x1 convolution, or the stem seen as three strided segments); [`DepthwisePanel`] filters one panel of channels.

use super::simd::Simd;

/// What follows the sum of a matrix panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    None,
    Relu6,
}

/// `destination[offset(m) + j] = act(bias[j] + sum_k a[m][k] * weight[k][j] + residual[offset(m) + j])` for the `rows` pixels `m` and the
/// `vectors * LANES` channels `j` of one panel.
#[derive(Clone, Copy, Debug)]
pub(super) struct MatrixPanel {
    /// First value of the first pixel.
    pub a: *const f32,
    /// Values from one pixel to the next.
    pub a_stride: usize,
    /// A pixel's values lie in this many runs, ...
    pub segments: usize,
    /// ... of this many values each, ...
    pub segment_len: usize,
    /// ... this many values apart.
    pub segment_stride: usize,
    /// Pixels.
    pub rows: usize,
    /// `[segments * segment_len, vectors * LANES]`.
    pub weight: *const f32,
    /// `[vectors * LANES]`.
    pub bias: *const f32,
    /// 1 or 2.
    pub vectors: usize,
    pub activation: Activation,
    /// Where offset 0 is.
    pub destination: *mut f32,
    /// Added before the activation, at the same offsets; null for nothing.
    pub residual: *const f32,
    /// Offset of each pixel, `[rows]`.
    pub offsets: *const u32,
}

/// A depthwise convolution with ReLU6 over one panel of channels, row by row out of a ring of padded rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct DepthwisePanel {
    /// Slot 0 of the ring: `[ring_rows, padded columns, 2 * LANES]`.
    pub ring: *const f32,
    pub ring_rows: usize,
    /// Values from one ring row to the next.
    pub row_stride: usize,
    /// A row of zeros, for rows above and below the picture.
    pub zeros: *const f32,
    pub input_rows: usize,
    /// Zero rows above the picture.
    pub pad_top: usize,
    pub kernel: usize,
    pub stride: usize,
    /// `[kernel * kernel, 2 * LANES]`.
    pub weight: *const f32,
    /// `[2 * LANES]`.
    pub bias: *const f32,
    /// Output rows to compute: `first_row..last_row`.
    pub first_row: usize,
    pub last_row: usize,
    pub output_columns: usize,
    /// Where pixel (`first_row`, 0) of this panel goes.
    pub destination: *mut f32,
    /// Values from one output pixel to the next.
    pub pixel_stride: usize,
}

/// The kernels of one instruction set.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    name: &'static str,
    pub(super) lanes: usize,
    matrix: unsafe fn(&MatrixPanel),
    depthwise: unsafe fn(&DepthwisePanel),
}

impl Kernels {
    /// The fastest of [`Kernels::available`].
    pub fn detect() -> Self {
        Self::available()[0]
    }

    /// All that this processor can run, fastest first; the last one runs everywhere.
    pub fn available() -> Vec<Self> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                kernels.push(avx512::KERNELS);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                kernels.push(avx2::KERNELS);
            }
            kernels.push(sse2::KERNELS);
        }
        #[cfg(target_arch = "aarch64")]
        kernels.push(neon::KERNELS);
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        kernels.push(scalar::KERNELS);
        kernels
    }

    /// `avx512f`, `avx2`, `sse2`, `neon` or `scalar`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// # Safety
    /// Every pointer of `panel` must cover the extents it states.
    pub(super) unsafe fn matrix(&self, panel: &MatrixPanel) {
        // SAFETY: `available` hands out only kernels that the processor has; the rest is the caller's promise.
        unsafe { (self.matrix)(panel) }
    }

    /// # Safety
    /// Every pointer of `panel` must cover the extents it states.
    pub(super) unsafe fn depthwise(&self, panel: &DepthwisePanel) {
        // SAFETY: as in `matrix`.
        unsafe { (self.depthwise)(panel) }
    }
}

/// One module an instruction set. Each tile is a function of its own, which enables the instruction set and into which the generic code
/// is inlined: small functions compile fast and keep their sums in registers.
macro_rules! instruction_set {
    ($module:ident, $simd:ident, $name:literal, $(#[$feature:meta])?) => {
        mod $module {
            use super::super::simd::$simd as Set;
            use super::*;

            pub(super) const KERNELS: Kernels = Kernels {
                name: $name,
                lanes: Set::LANES,
                matrix,
                depthwise,
            };

            // SAFETY of every block below: `Kernels::available` lists this module only where the processor has the
            // instruction set; the rest is the caller's promise.

            unsafe fn matrix(panel: &MatrixPanel) {
                unsafe {
                    match panel.vectors {
                        1 => rows::<1>(panel),
                        _ => rows::<2>(panel),
                    }
                }
            }

            unsafe fn rows<const VECTORS: usize>(panel: &MatrixPanel) {
                // Tiles of nearly equal height: 49 rows at most 6 high are 4 x 6 + 5 x 5, not 8 x 6 + 1.
                let tiles = panel.rows.div_ceil(Set::TILE_ROWS);
                let mut first = 0;
                for tile in 0..tiles {
                    let height = panel.rows / tiles + usize::from(tile < panel.rows % tiles);
                    unsafe {
                        match height {
                            1 => matrix_of::<1, VECTORS>(panel, first),
                            2 => matrix_of::<2, VECTORS>(panel, first),
                            3 => matrix_of::<3, VECTORS>(panel, first),
                            4 => matrix_of::<4, VECTORS>(panel, first),
                            5 if Set::TILE_ROWS > 4 => matrix_of::<5, VECTORS>(panel, first),
                            6 if Set::TILE_ROWS > 4 => matrix_of::<6, VECTORS>(panel, first),
                            7 if Set::TILE_ROWS > 6 => matrix_of::<7, VECTORS>(panel, first),
                            8 if Set::TILE_ROWS > 6 => matrix_of::<8, VECTORS>(panel, first),
                            9 if Set::TILE_ROWS > 6 => matrix_of::<9, VECTORS>(panel, first),
                            10 if Set::TILE_ROWS > 6 => matrix_of::<10, VECTORS>(panel, first),
                            11 if Set::TILE_ROWS > 6 => matrix_of::<11, VECTORS>(panel, first),
                            12 if Set::TILE_ROWS > 6 => matrix_of::<12, VECTORS>(panel, first),
                            _ => unreachable!("a tile is at most TILE_ROWS high"),
                        }
                    }
                    first += height;
                }
            }

            $(#[$feature])?
            unsafe fn matrix_of<const ROWS: usize, const VECTORS: usize>(panel: &MatrixPanel, first: usize) {
                unsafe { matrix_tile::<Set, ROWS, VECTORS>(panel, first) }
            }

            unsafe fn depthwise(panel: &DepthwisePanel) {
                unsafe {
                    match (panel.kernel, panel.stride) {
                        (3, 1) => depthwise_rows::<Set, 3>(panel, row_of::<3, 1, 4>, row_of::<3, 1, 1>),
                        (3, 2) => depthwise_rows::<Set, 3>(panel, row_of::<3, 2, 4>, row_of::<3, 2, 1>),
                        (5, 1) => depthwise_rows::<Set, 5>(panel, row_of::<5, 1, 4>, row_of::<5, 1, 1>),
                        (5, 2) => depthwise_rows::<Set, 5>(panel, row_of::<5, 2, 4>, row_of::<5, 2, 1>),
                        _ => unreachable!("the network has kernels of 3 and 5 and strides of 1 and 2"),
                    }
                }
            }

            $(#[$feature])?
            unsafe fn row_of<const KERNEL: usize, const STRIDE: usize, const COLUMNS: usize>(
                panel: &DepthwisePanel,
                rows: &[*const f32; KERNEL],
                destination: *mut f32,
            ) {
                unsafe { depthwise_row::<Set, KERNEL, STRIDE, COLUMNS>(panel, rows, destination) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
instruction_set!(avx512, Avx512, "avx512f", #[target_feature(enable = "avx512f")]);
#[cfg(target_arch = "x86_64")]
instruction_set!(avx2, Avx2, "avx2", #[target_feature(enable = "avx2,fma")]);
#[cfg(target_arch = "x86_64")]
instruction_set!(sse2, Sse2, "sse2",);
#[cfg(target_arch = "aarch64")]
instruction_set!(neon, Neon, "neon",);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
instruction_set!(scalar, Scalar, "scalar",);

// Loops over constant ranges, not closures: a closure does not inherit the instruction set.
#[allow(clippy::needless_range_loop)]
#[inline(always)]
unsafe fn matrix_tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
    panel: &MatrixPanel,
    first: usize,
) {
    // SAFETY: every address is inside the extents that the caller promises.
    unsafe {
        let mut sums = [[S::splat(0.0); VECTORS]; ROWS];
        for j in 0..VECTORS {
            let bias = S::load(panel.bias.add(j * S::LANES));
            for row in 0..ROWS {
                sums[row][j] = bias;
            }
        }
        let tile = panel.a.add(first * panel.a_stride);
        let mut weight = panel.weight;
        for segment in 0..panel.segments {
            let a = tile.add(segment * panel.segment_stride);
            for k in 0..panel.segment_len {
                let mut columns = [S::splat(0.0); VECTORS];
                for j in 0..VECTORS {
                    columns[j] = S::load(weight.add(j * S::LANES));
                }
                for row in 0..ROWS {
                    let value = S::splat(*a.add(row * panel.a_stride + k));
                    for j in 0..VECTORS {
                        sums[row][j] = S::multiply_add(value, columns[j], sums[row][j]);
                    }
                }
                weight = weight.add(VECTORS * S::LANES);
            }
        }
        for row in 0..ROWS {
            let offset = *panel.offsets.add(first + row) as usize;
            for j in 0..VECTORS {
                let mut sum = sums[row][j];
                if !panel.residual.is_null() {
                    sum = S::add(sum, S::load(panel.residual.add(offset + j * S::LANES)));
                }
                if panel.activation == Activation::Relu6 {
                    sum = S::clamp_0_6(sum);
                }
                S::store(panel.destination.add(offset + j * S::LANES), sum);
            }
        }
    }
}

/// Output rows, one after the other: `wide` computes a row of at least four columns, `narrow` a row of fewer.
unsafe fn depthwise_rows<S: Simd, const KERNEL: usize>(
    panel: &DepthwisePanel,
    wide: unsafe fn(&DepthwisePanel, &[*const f32; KERNEL], *mut f32),
    narrow: unsafe fn(&DepthwisePanel, &[*const f32; KERNEL], *mut f32),
) {
    let compute = if panel.output_columns >= 4 {
        wide
    } else {
        narrow
    };
    let mut destination = panel.destination;
    for output_row in panel.first_row..panel.last_row {
        let mut rows = [panel.zeros; KERNEL];
        for (offset, row) in rows.iter_mut().enumerate() {
            let padded_row = output_row * panel.stride + offset;
            if (panel.pad_top..panel.pad_top + panel.input_rows).contains(&padded_row) {
                let slot = (padded_row - panel.pad_top) % panel.ring_rows;
                // SAFETY: the slot is inside the ring.
                *row = unsafe { panel.ring.add(slot * panel.row_stride) };
            }
        }
        // SAFETY: the rows hold the padded inputs of all output columns, and the destination has room for them.
        unsafe { compute(panel, &rows, destination) };
        destination = destination.wrapping_add(panel.output_columns * panel.pixel_stride);
    }
}

/// One output row in tiles of `COLUMNS`, of which there are at least that many; the last tile overlaps the one before and computes its columns again.
#[inline(always)]
unsafe fn depthwise_row<S: Simd, const KERNEL: usize, const STRIDE: usize, const COLUMNS: usize>(
    panel: &DepthwisePanel,
    rows: &[*const f32; KERNEL],
    destination: *mut f32,
) {
    let last = panel.output_columns - COLUMNS;
    let mut column = 0;
    loop {
        // SAFETY: `column + COLUMNS` is at most `output_columns`.
        unsafe { depthwise_tile::<S, KERNEL, STRIDE, COLUMNS>(panel, rows, column, destination) };
        if column == last {
            break;
        }
        column = (column + COLUMNS).min(last);
    }
}

#[allow(clippy::needless_range_loop)]
#[inline(always)]
unsafe fn depthwise_tile<
    S: Simd,
    const KERNEL: usize,
    const STRIDE: usize,
    const COLUMNS: usize,
>(
    panel: &DepthwisePanel,
    rows: &[*const f32; KERNEL],
    column: usize,
    destination: *mut f32,
) {
    const VECTORS: usize = 2;
    let width = VECTORS * S::LANES;
    // SAFETY: every address is inside the extents that the caller promises.
    unsafe {
        let mut sums = [[S::splat(0.0); VECTORS]; COLUMNS];
        for j in 0..VECTORS {
            let bias = S::load(panel.bias.add(j * S::LANES));
            for c in 0..COLUMNS {
                sums[c][j] = bias;
            }
        }
        for y in 0..KERNEL {
            let row = rows[y].add(column * STRIDE * width);
            for x in 0..KERNEL {
                for j in 0..VECTORS {
                    let weight = S::load(panel.weight.add((y * KERNEL + x) * width + j * S::LANES));
                    for c in 0..COLUMNS {
                        let value = S::load(row.add((c * STRIDE + x) * width + j * S::LANES));
                        sums[c][j] = S::multiply_add(value, weight, sums[c][j]);
                    }
                }
            }
        }
        for c in 0..COLUMNS {
            for j in 0..VECTORS {
                let to = destination.add((column + c) * panel.pixel_stride + j * S::LANES);
                S::store(to, S::clamp_0_6(sums[c][j]));
            }
        }
    }
}
