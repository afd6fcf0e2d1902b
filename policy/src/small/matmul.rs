//! Matrix product for the small networks of control: `C = start + A B`, on one thread or two, no allocation.
//!
//! Every element is one chain of fused multiply-adds over the inner dimension, in order, whatever the width of the
//! vectors. So AVX-512, AVX2 and NEON give the same bits, and a single row gives the same bits as a batch.
//! `B` is packed into panels two vectors wide; the inner tile holds 8 rows of sums (5 on narrower machines) in registers.

use crate::small::both::{Threads, both, pays};
use crate::small::vector::{self, Kernel, Vector};

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

    /// The rows before `middle` and those from it on.
    fn split_rows(self, middle: usize) -> [Self; 2] {
        let part = |first: usize, rows: usize| Self {
            values: &self.values[(first * self.row_stride).min(self.values.len())..],
            rows,
            ..self
        };
        [part(0, middle), part(middle, self.rows - middle)]
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

/// What happens to each finished sum.
#[derive(Clone, Copy)]
pub(crate) enum Finish<'a> {
    /// Nothing.
    Keep,
    /// Zero where negative.
    Relu,
    /// Zero where this matrix, of the destination's shape, is not above zero: the way back through a rectifier whose output
    /// this is.
    Gate(&'a [f32]),
}

/// Room for packed panels, one for each thread, kept between calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    panels: [Vec<f32>; 2],
    threads: Threads,
}

impl Scratch {
    /// For products on so many threads.
    pub(crate) fn new(threads: Threads) -> Self {
        Self {
            threads,
            ..Self::default()
        }
    }
}

/// `C = finish(start + A B)`: `a` is `[m, k]`, `b` is `[k, n]`, `c` is `[m, n]` row-major.
pub(crate) fn matmul(
    a: View,
    b: View,
    (start, finish): (Start, Finish),
    c: &mut [f32],
    scratch: &mut Scratch,
) {
    let [panel, second_panel] = &mut scratch.panels;
    let half = a.rows * a.columns * b.columns / 2;
    if scratch.threads == Threads::One || !pays(half) {
        return vector::run(Product::new(a, b, (start, finish), c, panel));
    }
    // Whole tiles above, the rest below.
    let middle = (a.rows / 2).next_multiple_of(8).min(a.rows);
    let [above, below] = a.split_rows(middle);
    let (finish_above, finish_below) = match finish {
        Finish::Gate(gate) => {
            let (above, below) = gate.split_at(middle * b.columns);
            (Finish::Gate(above), Finish::Gate(below))
        }
        same => (same, same),
    };
    let (c_above, c_below) = c.split_at_mut(middle * b.columns);
    both(
        half,
        || {
            vector::run(Product::new(
                above,
                b,
                (start, finish_above),
                c_above,
                panel,
            ))
        },
        || {
            let how = (start, finish_below);
            vector::run(Product::new(below, b, how, c_below, second_panel));
        },
    );
}

struct Product<'a> {
    a: View<'a>,
    b: View<'a>,
    start: Start<'a>,
    finish: Finish<'a>,
    c: &'a mut [f32],
    panel: &'a mut Vec<f32>,
}

impl<'a> Product<'a> {
    fn new(
        a: View<'a>,
        b: View<'a>,
        (start, finish): (Start<'a>, Finish<'a>),
        c: &'a mut [f32],
        panel: &'a mut Vec<f32>,
    ) -> Self {
        assert!(a.columns > 0, "nothing to sum over");
        assert_eq!(a.columns, b.rows, "inner dimensions differ");
        assert_eq!(c.len(), a.rows * b.columns, "destination has another size");
        if let Start::Bias(bias) = start {
            assert_eq!(bias.len(), b.columns, "bias has another width");
        }
        if let Finish::Gate(gate) = finish {
            assert_eq!(gate.len(), c.len(), "gate has another size");
        }
        Self {
            a,
            b,
            start,
            finish,
            c,
            panel,
        }
    }
}

impl Kernel for Product<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        // Accumulators, two loads and a broadcast must fit the registers, 32 with AVX-512 and 16 with AVX2, with some to spare
        // for the compiler; and there must be eight or more sums, or the latency of an addition shows.
        if V::LANES >= 16 {
            self.rows::<V, 8, 16>();
        } else {
            self.rows::<V, 5, 10>();
        }
    }
}

impl Product<'_> {
    #[inline(always)]
    fn rows<V: Vector, const ROWS: usize, const NARROW_ROWS: usize>(self) {
        let lanes = V::LANES;
        let mut first = 0;
        while first < self.b.columns {
            let width = (2 * lanes).min(self.b.columns - first);
            let padded = if width > lanes { 2 * lanes } else { lanes };
            let strip = Strip {
                a: self.a,
                panel: pack::<V>(self.b, first, width, padded, self.panel),
                first,
                width,
                start: self.start,
                finish: self.finish,
                stride: self.b.columns,
            };
            if width > lanes {
                strip.run::<V, ROWS, 2>(self.c);
            } else {
                strip.run::<V, NARROW_ROWS, 1>(self.c);
            }
            first += width;
        }
    }
}

/// Columns `first..first + width` of `b` as `[k, padded]`, zeros on the right, aligned to a cache line.
#[inline(always)]
fn pack<'s, V: Vector>(
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
            if width == padded {
                for at in (0..padded).step_by(V::LANES) {
                    // SAFETY: both slices are `padded` long, a multiple of `LANES`.
                    unsafe { V::load(source.as_ptr().add(at)).store(target.as_mut_ptr().add(at)) };
                }
            } else {
                target[..width].copy_from_slice(source);
                target[width..].fill(0.0);
            }
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
    finish: Finish<'a>,
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
        while row + 4 <= self.a.rows {
            self.tile::<V, 4, VECTORS>(row, c);
            row += 4;
        }
        if row + 2 <= self.a.rows {
            self.tile::<V, 2, VECTORS>(row, c);
            row += 2;
        }
        if row < self.a.rows {
            self.tile::<V, 1, VECTORS>(row, c);
        }
    }

    #[inline(always)]
    fn tile<V: Vector, const ROWS: usize, const VECTORS: usize>(&self, row: usize, c: &mut [f32]) {
        let c = &mut c[row * self.stride..(row + ROWS) * self.stride];
        let mut sums = [[V::splat(0.0); VECTORS]; ROWS];
        match self.start {
            Start::Zero => {}
            Start::Bias(bias) => sums = [self.load(&bias[self.first..]); ROWS],
            Start::Destination => {
                for (sum, c) in sums.iter_mut().zip(c.chunks_exact(self.stride)) {
                    *sum = self.load(&c[self.first..]);
                }
            }
        }

        let View {
            values,
            row_stride,
            column_stride,
            columns: depth,
            ..
        } = self.a;
        let origin = row * row_stride;
        assert!(self.panel.len() >= depth * VECTORS * V::LANES);
        assert!(origin + (ROWS - 1) * row_stride + (depth - 1) * column_stride < values.len());
        // SAFETY: the two assertions bound the last index into `values` and into the panel; the last steps, past those, are
        // wrapping and never read.
        unsafe {
            let rows: [*const f32; ROWS] =
                std::array::from_fn(|r| values.as_ptr().add(origin + r * row_stride));
            let mut at = 0usize;
            let mut b = self.panel.as_ptr();
            for _ in 0..depth {
                let factors: [V; VECTORS] = std::array::from_fn(|v| V::load(b.add(v * V::LANES)));
                for (sum, row) in sums.iter_mut().zip(&rows) {
                    let scalar = V::splat(*row.add(at));
                    for (sum, factor) in sum.iter_mut().zip(factors) {
                        *sum = scalar.mul_add(factor, *sum);
                    }
                }
                at = at.wrapping_add(column_stride);
                b = b.wrapping_add(VECTORS * V::LANES);
            }
        }

        match self.finish {
            Finish::Keep => {}
            Finish::Relu => sums = sums.map(|sum| sum.map(V::relu)),
            Finish::Gate(gate) => {
                let gate = gate[row * self.stride..].chunks_exact(self.stride);
                for (sum, gate) in sums.iter_mut().zip(gate) {
                    let gate = self.load::<V, VECTORS>(&gate[self.first..]);
                    *sum = std::array::from_fn(|v| sum[v].gated(gate[v]));
                }
            }
        }
        for (sum, c) in sums.into_iter().zip(c.chunks_exact_mut(self.stride)) {
            self.store(sum, &mut c[self.first..]);
        }
    }

    /// The panel's columns of a row; zeros beyond the last column.
    #[inline(always)]
    fn load<V: Vector, const VECTORS: usize>(&self, source: &[f32]) -> [V; VECTORS] {
        let source = &source[..self.width];
        if source.len() == VECTORS * V::LANES {
            // SAFETY: the slice has `VECTORS * LANES` floats.
            std::array::from_fn(|v| unsafe { V::load(source.as_ptr().add(v * V::LANES)) })
        } else {
            let mut padded = [0.0; 32];
            padded[..source.len()].copy_from_slice(source);
            // SAFETY: two vectors of at most 16 floats fit.
            std::array::from_fn(|v| unsafe { V::load(padded.as_ptr().add(v * V::LANES)) })
        }
    }

    #[inline(always)]
    fn store<V: Vector, const VECTORS: usize>(&self, sums: [V; VECTORS], target: &mut [f32]) {
        let target = &mut target[..self.width];
        if target.len() == VECTORS * V::LANES {
            for (v, sum) in sums.into_iter().enumerate() {
                // SAFETY: the slice has `VECTORS * LANES` floats.
                unsafe { sum.store(target.as_mut_ptr().add(v * V::LANES)) };
            }
        } else {
            let mut padded = [0.0; 32];
            for (v, sum) in sums.into_iter().enumerate() {
                // SAFETY: two vectors of at most 16 floats fit.
                unsafe { sum.store(padded.as_mut_ptr().add(v * V::LANES)) };
            }
            target.copy_from_slice(&padded[..target.len()]);
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
            let (before, gate) = (numbers(m * n, seed ^ 11), numbers(m * n, seed ^ 13));
            let view = |values, rows, columns, turn: bool| if turn {
                View::new(values, columns, rows).transposed()
            } else {
                View::new(values, rows, columns)
            };
            let (a, b) = (view(&a, m, k, turn_a), view(&b, k, n, turn_b));
            let check = |how: (Start, Finish), start: &dyn Fn(usize, usize) -> f32, finish: &dyn Fn(usize, f32) -> f32| {
                let mut expected = naive(a, b, start);
                expected.iter_mut().enumerate().for_each(|(i, x)| *x = finish(i, *x));
                for run in RUNS {
                    let mut c = before.clone();
                    run(Product::new(a, b, how, &mut c, &mut Vec::new()));
                    assert_eq!(c, expected);
                }
            };
            check((Start::Zero, Finish::Keep), &|_, _| 0.0, &|_, x| x);
            check((Start::Bias(&bias), Finish::Relu), &|_, j| bias[j], &|_, x| if x < 0.0 { 0.0 } else { x });
            check((Start::Destination, Finish::Keep), &|i, j| before[i * n + j], &|_, x| x);
            check((Start::Zero, Finish::Gate(&gate)), &|_, _| 0.0, &|i, x| if gate[i] > 0.0 { x } else { 0.0 });
        }
    }

    #[test]
    fn two_threads_give_the_bits_of_one() {
        // The last shape has more rows above the middle than whole tiles below.
        for (m, k, n) in [(256, 256, 256), (255, 130, 131), (12, 640, 640)] {
            let (a, b, bias) = (numbers(m * k, 1), numbers(k * n, 2), numbers(n, 3));
            let gate = numbers(m * n, 4);
            let turned = View::new(&a, k, m).transposed();
            for a in [View::new(&a, m, k), turned] {
                for how in [
                    (Start::Bias(&bias[..]), Finish::Relu),
                    (Start::Destination, Finish::Gate(&gate)),
                ] {
                    let [one, two] = [Threads::One, Threads::Two].map(|threads| {
                        let mut c = gate.clone();
                        let b = View::new(&b, k, n);
                        matmul(a, b, how, &mut c, &mut Scratch::new(threads));
                        c
                    });
                    assert_eq!(one, two);
                }
            }
        }
    }

    const RUNS: [fn(Product); 3] = [
        |product| vector::run(product),
        |product| vector::run_portable(product),
        #[cfg(target_arch = "x86_64")]
        |product| vector::run_avx2(product),
        #[cfg(not(target_arch = "x86_64"))]
        |product| vector::run_portable(product),
    ];

    #[test]
    fn a_sum_that_is_no_number_is_not_rectified_away() {
        let (a, b) = ([f32::NAN, 1.0], [1.0; 40]);
        for run in RUNS {
            let mut c = vec![0.0; 20];
            let how = (Start::Zero, Finish::Relu);
            run(Product::new(
                View::new(&a, 1, 2),
                View::new(&b, 2, 20),
                how,
                &mut c,
                &mut Vec::new(),
            ));
            assert!(c.iter().all(|x| x.is_nan()));
        }
    }
}
