//! Matrix product for the small networks of control: `C = start + A B`, one thread, no allocation.
//!
//! Every element is one chain of fused multiply-adds over the inner dimension, in order, whatever the width of the
//! vectors. So AVX-512, AVX2 and NEON give the same bits, and a single row gives the same bits as a batch.
//! `B` is packed into panels two vectors wide; the inner tile holds 8 rows (4 on narrower machines) in registers.

use crate::vector::{self, Kernel, Vector};

/// A matrix seen through strides, so that a transpose costs nothing.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// `[rows, columns]`, row-major.
    pub(crate) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert!(values.len() >= rows * columns, "matrix is too short");
        Self {
            values,
            rows,
            columns,
            row_stride: columns,
            column_stride: 1,
        }
    }

    /// Rows for columns.
    pub(crate) fn transposed(self) -> Self {
        Self {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// What each sum starts from.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    /// Zero.
    Zero,
    /// A row that is added to every row, `[columns of C]`.
    Bias(&'a [f32]),
    /// What `C` holds: the product is added to it.
    Destination,
}

/// Room for packed panels, kept between calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch(Vec<f32>);

/// `C = start + A B`: `a` is `[m, k]`, `b` is `[k, n]`, `c` is `[m, n]` row-major.
pub(crate) fn matmul(a: View, b: View, start: Start, c: &mut [f32], scratch: &mut Scratch) {
    assert!(a.columns > 0, "nothing to sum over");
    assert_eq!(a.columns, b.rows, "inner dimensions differ");
    assert_eq!(c.len(), a.rows * b.columns, "destination has another size");
    if let Start::Bias(bias) = start {
        assert_eq!(bias.len(), b.columns, "bias has another width");
    }
    vector::run(Product {
        a,
        b,
        start,
        c,
        scratch,
    });
}

struct Product<'a> {
    a: View<'a>,
    b: View<'a>,
    start: Start<'a>,
    c: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl Kernel for Product<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        // Accumulators, two loads and a broadcast must fit the registers: 32 with AVX-512, 16 with AVX2.
        if V::LANES >= 16 {
            self.rows::<V, 8>();
        } else {
            self.rows::<V, 4>();
        }
    }
}

impl Product<'_> {
    #[inline(always)]
    fn rows<V: Vector, const ROWS: usize>(self) {
        let lanes = V::LANES;
        let mut first = 0;
        while first < self.b.columns {
            let width = (2 * lanes).min(self.b.columns - first);
            let padded = if width > lanes { 2 * lanes } else { lanes };
            let strip = Strip {
                a: self.a,
                panel: pack(self.b, first, width, padded, &mut self.scratch.0),
                first,
                width,
                start: self.start,
                stride: self.b.columns,
            };
            if width > lanes {
                strip.run::<V, ROWS, 2>(self.c);
            } else {
                strip.run::<V, ROWS, 1>(self.c);
            }
            first += width;
        }
    }
}

/// Columns `first..first + width` of `b` as `[k, padded]`, zeros on the right, aligned to a cache line.
#[inline(always)]
fn pack<'s>(
    b: View,
    first: usize,
    width: usize,
    padded: usize,
    scratch: &'s mut Vec<f32>,
) -> &'s [f32] {
    let size = b.rows * padded;
    if scratch.len() < size + 16 {
        scratch.resize(size + 16, 0.0);
    }
    let skip = scratch.as_ptr().align_offset(64).min(16);
    let panel = &mut scratch[skip..skip + size];
    if b.column_stride == 1 {
        for (row, target) in panel.chunks_exact_mut(padded).enumerate() {
            let source = &b.values[row * b.row_stride + first..][..width];
            target[..width].copy_from_slice(source);
            target[width..].fill(0.0);
        }
    } else {
        for column in 0..padded {
            let targets = panel[column..].iter_mut().step_by(padded);
            if column < width {
                let source = b.values[(first + column) * b.column_stride..]
                    .iter()
                    .step_by(b.row_stride);
                for (target, &value) in targets.zip(source) {
                    *target = value;
                }
            } else {
                targets.for_each(|target| *target = 0.0);
            }
        }
    }
    panel
}

/// One panel of `B`, `[k, VECTORS * LANES]`, against all of `A`.
struct Strip<'a> {
    a: View<'a>,
    panel: &'a [f32],
    first: usize,
    width: usize,
    start: Start<'a>,
    stride: usize,
}

impl Strip<'_> {
    #[inline(always)]
    fn run<V: Vector, const ROWS: usize, const VECTORS: usize>(&self, c: &mut [f32]) {
        let mut row = 0;
        while row + ROWS <= self.a.rows {
            self.tile::<V, ROWS, VECTORS>(row, c);
            row += ROWS;
        }
        while row < self.a.rows {
            self.tile::<V, 1, VECTORS>(row, c);
            row += 1;
        }
    }

    #[inline(always)]
    fn tile<V: Vector, const ROWS: usize, const VECTORS: usize>(&self, row: usize, c: &mut [f32]) {
        let at = |r: usize| (row + r) * self.stride + self.first;
        let mut sums = [[V::splat(0.0); VECTORS]; ROWS];
        match self.start {
            Start::Zero => {}
            Start::Bias(bias) => sums = [self.load(&bias[self.first..]); ROWS],
            Start::Destination => {
                for (r, sum) in sums.iter_mut().enumerate() {
                    *sum = self.load(&c[at(r)..]);
                }
            }
        }

        let a = self.a;
        let depth = a.columns;
        let origin = row * a.row_stride;
        assert!(self.panel.len() >= depth * VECTORS * V::LANES);
        assert!(
            origin + (ROWS - 1) * a.row_stride + (depth - 1) * a.column_stride < a.values.len()
        );
        for k in 0..depth {
            // SAFETY: the two assertions above bound the largest index into the panel and into `a`.
            unsafe {
                let b: [V; VECTORS] = std::array::from_fn(|v| {
                    let from = (k * VECTORS + v) * V::LANES;
                    V::load(self.panel.get_unchecked(from..from + V::LANES))
                });
                for (r, sum) in sums.iter_mut().enumerate() {
                    let from = origin + r * a.row_stride + k * a.column_stride;
                    let scalar = V::splat(*a.values.get_unchecked(from));
                    for (sum, b) in sum.iter_mut().zip(b) {
                        *sum = scalar.mul_add(b, *sum);
                    }
                }
            }
        }

        for (r, sum) in sums.into_iter().enumerate() {
            self.store(sum, &mut c[at(r)..]);
        }
    }

    /// The panel's columns of a row; zeros beyond the last column.
    #[inline(always)]
    fn load<V: Vector, const VECTORS: usize>(&self, source: &[f32]) -> [V; VECTORS] {
        let mut padded = [0.0; 64];
        let source = if self.width == VECTORS * V::LANES {
            source
        } else {
            padded[..self.width].copy_from_slice(&source[..self.width]);
            &padded
        };
        std::array::from_fn(|v| V::load(&source[v * V::LANES..]))
    }

    #[inline(always)]
    fn store<V: Vector, const VECTORS: usize>(&self, sums: [V; VECTORS], target: &mut [f32]) {
        if self.width == VECTORS * V::LANES {
            for (v, sum) in sums.into_iter().enumerate() {
                sum.store(&mut target[v * V::LANES..]);
            }
        } else {
            let mut padded = [0.0; 64];
            for (v, sum) in sums.into_iter().enumerate() {
                sum.store(&mut padded[v * V::LANES..]);
            }
            target[..self.width].copy_from_slice(&padded[..self.width]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(a: View, b: View, start: &dyn Fn(usize, usize) -> f32) -> Vec<f32> {
        let at = |m: View, i: usize, j: usize| m.values[i * m.row_stride + j * m.column_stride];
        (0..a.rows * b.columns)
            .map(|index| {
                let (i, j) = (index / b.columns, index % b.columns);
                (0..a.columns).fold(start(i, j), |sum, k| at(a, i, k).mul_add(at(b, k, j), sum))
            })
            .collect()
    }

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        (0..count as u32)
            .map(|i| {
                let hash = (i ^ seed).wrapping_mul(0x9E37_79B9).rotate_left(13);
                (hash.wrapping_mul(0x85EB_CA6B) >> 8) as f32 / 8_388_608.0 - 1.0
            })
            .collect()
    }

    proptest! {
        #[test]
        fn equals_one_chain_of_fused_multiply_adds_to_the_bit(
            m in 1usize..40, k in 1usize..40, n in 1usize..80, seed in any::<u32>(),
            turn_a in any::<bool>(), turn_b in any::<bool>(),
        ) {
            let (a, b, bias) = (numbers(m * k, seed), numbers(k * n, seed ^ 7), numbers(n, seed ^ 9));
            let view = |values, rows, columns, turn: bool| if turn {
                View::new(values, columns, rows).transposed()
            } else {
                View::new(values, rows, columns)
            };
            let (a, b) = (view(&a, m, k, turn_a), view(&b, k, n, turn_b));
            let mut scratch = Scratch::default();
            let mut c = vec![f32::NAN; m * n];
            matmul(a, b, Start::Zero, &mut c, &mut scratch);
            prop_assert_eq!(&c, &naive(a, b, &|_, _| 0.0));
            matmul(a, b, Start::Bias(&bias), &mut c, &mut scratch);
            prop_assert_eq!(&c, &naive(a, b, &|_, j| bias[j]));
            let before = c.clone();
            matmul(a, b, Start::Destination, &mut c, &mut scratch);
            prop_assert_eq!(&c, &naive(a, b, &|i, j| before[i * n + j]));
        }
    }
}
