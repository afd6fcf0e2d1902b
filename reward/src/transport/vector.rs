//! The loops of Sinkhorn's algorithm, each written once and compiled for several instruction sets.
//!
//! The program is compiled for the oldest processor of its architecture; [`widest`] finds out at run time what this one can do. Plain
//! loops are vectorised by the compiler; the one that everything waits for, [`sweep`], is written on vectors ([`super::simd`]).

#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Portable, Simd};

/// Rows of a kernel are padded with zeros to a multiple of this.
pub(super) const LANES: usize = 8;

/// Instruction sets that the loops are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instructions {
    /// What every processor of the architecture has.
    Baseline,
    /// AVX2 with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 foundation.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// The widest that this processor has.
pub(super) fn widest() -> Instructions {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma") {
            return Instructions::Avx512;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Instructions::Avx2;
        }
    }
    Instructions::Baseline
}

/// Compiles a function with a `const FUSED` parameter for each instruction set and calls the one asked for.
macro_rules! compiled {
    ($(#[$doc:meta])* fn $name:ident => $body:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $result:ty)?) => {
        $(#[$doc])*
        pub(super) fn $name(instructions: Instructions, $($argument: $kind),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($argument: $kind),*) $(-> $result)? {
                    $body::<true>($($argument),*)
                }
                #[target_feature(enable = "avx512f,avx2,fma")]
                fn avx512($($argument: $kind),*) $(-> $result)? {
                    $body::<true>($($argument),*)
                }
                // SAFETY: `widest` names a set only where the processor has it, and nothing else makes the value outside tests,
                // which ask the processor too.
                match instructions {
                    Instructions::Avx512 => return unsafe { avx512($($argument),*) },
                    Instructions::Avx2 => return unsafe { avx2($($argument),*) },
                    Instructions::Baseline => {}
                }
            }
            let _ = instructions;
            $body::<false>($($argument),*)
        }
    };
}

compiled! {
    /// Row `t` of the kernel, `exp(shift + g_s - c_s / ε)` with `rate = 1/ε`; `out` is longer than `cost` by the padding, which stays.
    fn kernel_row => kernel_row_body(cost: &[f64], rate: f64, shift: f64, g: &[f64], out: &mut [f64])
}

/// Half an iteration and the sums of the next: `u_t = mass / (K v)_t` and `column = Kᵀ u`. `kernel` is `[u.len(), v.len()]`, rows
/// padded to `v.len()`, a multiple of [`LANES`]. The kernel is read once.
///
/// # Panics
/// When the lengths do not fit: a bug of the caller.
pub(super) fn sweep(
    instructions: Instructions,
    kernel: &[f64],
    v: &[f64],
    mass: f64,
    u: &mut [f64],
    column: &mut [f64],
) {
    assert!(
        v.len().is_multiple_of(LANES)
            && column.len() == v.len()
            && kernel.len() == u.len() * v.len()
    );
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2(kernel: &[f64], v: &[f64], mass: f64, u: &mut [f64], column: &mut [f64]) {
            unsafe { sweep_body::<Avx2>(kernel, v, mass, u, column) }
        }
        #[target_feature(enable = "avx512f")]
        unsafe fn avx512(kernel: &[f64], v: &[f64], mass: f64, u: &mut [f64], column: &mut [f64]) {
            unsafe { sweep_body::<Avx512>(kernel, v, mass, u, column) }
        }
        // SAFETY: `widest` names a set only where the processor has it; the lengths were checked.
        match instructions {
            Instructions::Avx512 => return unsafe { avx512(kernel, v, mass, u, column) },
            Instructions::Avx2 => return unsafe { avx2(kernel, v, mass, u, column) },
            Instructions::Baseline => {}
        }
    }
    let _ = instructions;
    // SAFETY: the lengths were checked.
    unsafe { sweep_body::<Portable>(kernel, v, mass, u, column) }
}

compiled! {
    /// `out_s = u · kernel_s · v_s`.
    fn mass_row => mass_row_body(kernel: &[f64], u: f64, v: &[f64], out: &mut [f64])
}

compiled! {
    /// `max_s (g_s - c_s / ε)`, then in `out` and as a sum `exp(g_s - c_s / ε - max)`: the pieces of a logarithm of a sum.
    fn log_row => log_row_body(cost: &[f64], rate: f64, g: &[f64], out: &mut [f64]) -> (f64, f64)
}

compiled! {
    /// `sum_s += exp(f - c_s / ε - highest_s)`.
    fn log_column => log_column_body(cost: &[f64], rate: f64, f: f64, highest: &[f64], sum: &mut [f64])
}

#[inline(always)]
fn multiply_add<const FUSED: bool>(a: f64, b: f64, c: f64) -> f64 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Below this `e^x` is taken as 0; it is where doubles stop being normal.
const LOWEST: f64 = -708.0;
const HIGHEST: f64 = 709.0;

/// `e^x` without a branch, so that it vectorises: `x = n ln 2 + r`, a polynomial in `|r| <= ln 2 / 2`, and `2^n` put into the
/// exponent's bits. Within 2 units in the last place; 0 below -708, `e^709` above 709.
#[inline(always)]
fn exp<const FUSED: bool>(x: f64) -> f64 {
    /// `1.5 · 2⁵²`: adding it leaves an integer in the lowest bits.
    const ROUNDER: f64 = 6_755_399_441_055_744.0;
    /// ln 2 in two parts, the first with enough zeros behind it that its product with `n` is exact.
    const LN2: (f64, f64) = (
        f64::from_bits(0x3fe6_2e42_fee0_0000),
        f64::from_bits(0x3dea_39ef_3579_3c76),
    );
    let clamped = if x > LOWEST { x } else { LOWEST };
    let clamped = if clamped < HIGHEST { clamped } else { HIGHEST };
    let rounded = multiply_add::<FUSED>(clamped, std::f64::consts::LOG2_E, ROUNDER);
    let n = rounded - ROUNDER;
    let r = multiply_add::<FUSED>(n, -LN2.0, clamped);
    let r = multiply_add::<FUSED>(n, -LN2.1, r);
    // Taylor's polynomial of degree 13: the next term is below 1e-17.
    const INVERSE_FACTORIALS: [f64; 12] = [
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
    ];
    let mut p = INVERSE_FACTORIALS[0];
    for c in &INVERSE_FACTORIALS[1..] {
        p = multiply_add::<FUSED>(p, r, *c);
    }
    let p = multiply_add::<FUSED>(p, r, 1.0);
    let p = multiply_add::<FUSED>(p, r, 1.0);
    let power = f64::from_bits(rounded.to_bits().wrapping_add(1023) << 52);
    if x >= LOWEST { p * power } else { 0.0 }
}

#[inline(always)]
fn kernel_row_body<const FUSED: bool>(
    cost: &[f64],
    rate: f64,
    shift: f64,
    g: &[f64],
    out: &mut [f64],
) {
    for ((out, c), g) in out.iter_mut().zip(cost).zip(g) {
        *out = exp::<FUSED>(multiply_add::<FUSED>(-rate, *c, shift + g));
    }
}

/// # Safety
/// The processor has `S`'s instructions; `v` and `column` are as long as a row of `kernel`, a multiple of [`LANES`].
#[inline(always)]
unsafe fn sweep_body<S: Simd>(
    kernel: &[f64],
    v: &[f64],
    mass: f64,
    u: &mut [f64],
    column: &mut [f64],
) {
    /// Rows taken together: `v` and `column` are then loaded once for all of them.
    const ROWS: usize = 4;
    let stride = v.len();
    let (v, column, kernel) = (v.as_ptr(), column.as_mut_ptr(), kernel.as_ptr());
    // SAFETY: every index is below `stride`, in a row below `u.len()`.
    unsafe {
        for s in (0..stride).step_by(S::LANES) {
            S::store(column.add(s), S::splat(0.0));
        }
        let mut t = 0;
        while t + ROWS <= u.len() {
            let row = |i: usize| kernel.add((t + i) * stride);
            let rows = [row(0), row(1), row(2), row(3)];
            let mut sums = [S::splat(0.0); ROWS];
            for s in (0..stride).step_by(S::LANES) {
                let v = S::load(v.add(s));
                for i in 0..ROWS {
                    sums[i] = S::multiply_add(S::load(rows[i].add(s)), v, sums[i]);
                }
            }
            let mut scales = [S::splat(0.0); ROWS];
            for i in 0..ROWS {
                u[t + i] = mass / S::sum(sums[i]);
                scales[i] = S::splat(u[t + i]);
            }
            for s in (0..stride).step_by(S::LANES) {
                let mut sum = S::load(column.add(s));
                for i in 0..ROWS {
                    sum = S::multiply_add(S::load(rows[i].add(s)), scales[i], sum);
                }
                S::store(column.add(s), sum);
            }
            t += ROWS;
        }
        while t < u.len() {
            let row = kernel.add(t * stride);
            let mut sum = S::splat(0.0);
            for s in (0..stride).step_by(S::LANES) {
                sum = S::multiply_add(S::load(row.add(s)), S::load(v.add(s)), sum);
            }
            u[t] = mass / S::sum(sum);
            let scale = S::splat(u[t]);
            for s in (0..stride).step_by(S::LANES) {
                let sum = S::multiply_add(S::load(row.add(s)), scale, S::load(column.add(s)));
                S::store(column.add(s), sum);
            }
            t += 1;
        }
    }
}

#[inline(always)]
fn mass_row_body<const FUSED: bool>(kernel: &[f64], u: f64, v: &[f64], out: &mut [f64]) {
    for ((out, k), v) in out.iter_mut().zip(kernel).zip(v) {
        *out = u * k * v;
    }
}

#[inline(always)]
fn log_row_body<const FUSED: bool>(
    cost: &[f64],
    rate: f64,
    g: &[f64],
    out: &mut [f64],
) -> (f64, f64) {
    let mut top = f64::NEG_INFINITY;
    for ((out, c), g) in out.iter_mut().zip(cost).zip(g) {
        *out = multiply_add::<FUSED>(-rate, *c, *g);
        top = if *out > top { *out } else { top };
    }
    for x in &mut out[..cost.len()] {
        *x = exp::<FUSED>(*x - top);
    }
    (top, out[..cost.len()].iter().sum())
}

#[inline(always)]
fn log_column_body<const FUSED: bool>(
    cost: &[f64],
    rate: f64,
    f: f64,
    highest: &[f64],
    sum: &mut [f64],
) {
    for ((sum, c), highest) in sum.iter_mut().zip(cost).zip(highest) {
        *sum += exp::<FUSED>(multiply_add::<FUSED>(-rate, *c, f) - highest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Instructions> {
        let mut all = vec![Instructions::Baseline];
        #[cfg(target_arch = "x86_64")]
        match widest() {
            Instructions::Avx512 => all.extend([Instructions::Avx2, Instructions::Avx512]),
            other => all.push(other),
        }
        all
    }

    #[test]
    fn the_exponential_is_within_two_units_in_the_last_place() {
        for instructions in all() {
            let x: Vec<f64> = (0..200_000).map(|i| -708.0 + i as f64 * 0.00708).collect();
            let mut found = vec![0.0; x.len()];
            // exp(0 + x - 0 · 0)
            kernel_row(instructions, &vec![0.0; x.len()], 1.0, 0.0, &x, &mut found);
            for (x, found) in x.iter().zip(found) {
                let expected = x.exp();
                let units = (found - expected).abs() / (expected * f64::EPSILON);
                assert!(units <= 2.0, "{instructions:?} e^{x}: {units} units off");
            }
        }
    }

    #[test]
    fn the_exponential_of_the_ends_is_defined() {
        for instructions in all() {
            let x = [f64::NEG_INFINITY, -1e300, -708.1, 0.0, 800.0];
            let mut found = [1.0; 5];
            kernel_row(instructions, &[0.0; 5], 1.0, 0.0, &x, &mut found);
            assert_eq!(found[..4], [0.0, 0.0, 0.0, 1.0]);
            assert!(found[4].is_finite() && found[4] > 1e307);
        }
    }

    #[test]
    fn a_sweep_normalises_the_rows_and_sums_the_columns() {
        for instructions in all() {
            for (rows, stride) in [(1, 8), (4, 8), (7, 16), (10, 24)] {
                let kernel: Vec<f64> = (0..rows * stride)
                    .map(|i| 1.0 + ((i * 7) % 11) as f64)
                    .collect();
                let v: Vec<f64> = (0..stride).map(|i| 0.5 + i as f64).collect();
                let (mut u, mut column) = (vec![0.0; rows], vec![9.0; stride]);
                sweep(instructions, &kernel, &v, 0.25, &mut u, &mut column);
                for (t, u) in u.iter().enumerate() {
                    let row = &kernel[t * stride..(t + 1) * stride];
                    let sum: f64 = row.iter().zip(&v).map(|(k, v)| k * v).sum();
                    assert!((u * sum - 0.25).abs() < 1e-14);
                }
                for (s, column) in column.iter().enumerate() {
                    let sum: f64 = (0..rows).map(|t| u[t] * kernel[t * stride + s]).sum();
                    assert!((column - sum).abs() < 1e-14 * sum);
                }
            }
        }
    }
}
