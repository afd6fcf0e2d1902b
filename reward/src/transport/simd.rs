//! Vectors of `f64` behind one small trait, so that a loop is written once. Every method is inlined into a function that enables
//! the instruction set (as in `perception`, which does the same for `f32`).

/// A vector of `f64` of an instruction set.
///
/// # Safety
/// Methods may only run where the processor has the instruction set; pointers must be valid for `LANES` values.
pub(super) trait Simd {
    /// The vector type.
    type Vector: Copy;
    /// Values in a vector; divides 8.
    const LANES: usize;

    unsafe fn splat(value: f64) -> Self::Vector;
    unsafe fn load(from: *const f64) -> Self::Vector;
    unsafe fn store(to: *mut f64, vector: Self::Vector);
    /// `a * b + c`.
    unsafe fn multiply_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// The sum of all lanes.
    unsafe fn sum(a: Self::Vector) -> f64;
}

/// A cache line of `f64`, the longest vector.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([f64; 8]);

/// Values that begin on a cache line, so that no vector lies across two.
#[derive(Clone, Debug, Default)]
pub(super) struct Aligned(Vec<Line>);

impl Aligned {
    /// Makes it `len` zeros, `len` rounded up to whole lines.
    pub fn reset(&mut self, len: usize) {
        self.0.clear();
        self.0.resize(len.div_ceil(8), Line([0.0; 8]));
    }
}

impl std::ops::Deref for Aligned {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        // SAFETY: a line is eight doubles without a gap.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), 8 * self.0.len()) }
    }
}

impl std::ops::DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f64] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), 8 * self.0.len()) }
    }
}

/// What every processor has.
pub(super) struct Portable;

// SAFETY of every block below: the trait's contract, instruction set present and pointers valid.
impl Simd for Portable {
    type Vector = [f64; 4];
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f64) -> [f64; 4] {
        [value; 4]
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> [f64; 4] {
        unsafe { from.cast::<[f64; 4]>().read() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f64, vector: [f64; 4]) {
        unsafe { to.cast::<[f64; 4]>().write(vector) }
    }
    #[inline(always)]
    unsafe fn multiply_add(a: [f64; 4], b: [f64; 4], c: [f64; 4]) -> [f64; 4] {
        std::array::from_fn(|l| a[l] * b[l] + c[l])
    }
    #[inline(always)]
    unsafe fn sum(a: [f64; 4]) -> f64 {
        (a[0] + a[2]) + (a[1] + a[3])
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Simd;

    /// AVX2 with FMA.
    pub(in super::super) struct Avx2;

    impl Simd for Avx2 {
        type Vector = __m256d;
        const LANES: usize = 4;

        #[inline(always)]
        unsafe fn splat(value: f64) -> __m256d {
            unsafe { _mm256_set1_pd(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f64) -> __m256d {
            unsafe { _mm256_loadu_pd(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f64, vector: __m256d) {
            unsafe { _mm256_storeu_pd(to, vector) }
        }
        #[inline(always)]
        unsafe fn multiply_add(a: __m256d, b: __m256d, c: __m256d) -> __m256d {
            unsafe { _mm256_fmadd_pd(a, b, c) }
        }
        #[inline(always)]
        unsafe fn sum(a: __m256d) -> f64 {
            unsafe {
                let halves = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
                _mm_cvtsd_f64(_mm_add_sd(halves, _mm_unpackhi_pd(halves, halves)))
            }
        }
    }

    /// AVX-512 foundation.
    pub(in super::super) struct Avx512;

    impl Simd for Avx512 {
        type Vector = __m512d;
        const LANES: usize = 8;

        #[inline(always)]
        unsafe fn splat(value: f64) -> __m512d {
            unsafe { _mm512_set1_pd(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f64) -> __m512d {
            unsafe { _mm512_loadu_pd(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f64, vector: __m512d) {
            unsafe { _mm512_storeu_pd(to, vector) }
        }
        #[inline(always)]
        unsafe fn multiply_add(a: __m512d, b: __m512d, c: __m512d) -> __m512d {
            unsafe { _mm512_fmadd_pd(a, b, c) }
        }
        #[inline(always)]
        unsafe fn sum(a: __m512d) -> f64 {
            unsafe { _mm512_reduce_add_pd(a) }
        }
    }
}
