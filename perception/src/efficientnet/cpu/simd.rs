//! Vectors of `f32` behind one small trait, so that each kernel is written once.
//!
//! Instruction sets are chosen at run time ([`super::kernels::Kernels::detect`]), because the program is compiled for the oldest
//! processor of its architecture. Every method is inlined into a function that enables the instruction set.

/// A vector of `f32` of an instruction set.
///
/// # Safety
/// Methods may only run where the processor has the instruction set; pointers must be valid for `LANES` values.
pub(super) trait Simd {
    /// The vector type.
    type Vector: Copy;
    /// Values in a vector.
    const LANES: usize;
    /// Rows of the matrix tile that fills the register file at two vectors a row.
    const TILE_ROWS: usize;

    unsafe fn splat(value: f32) -> Self::Vector;
    unsafe fn load(from: *const f32) -> Self::Vector;
    unsafe fn store(to: *mut f32, vector: Self::Vector);
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`.
    unsafe fn multiply_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// ReLU6.
    unsafe fn clamp_0_6(a: Self::Vector) -> Self::Vector;
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512, Sse2};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Simd;

    /// SSE2, which every x86-64 processor has: four lanes, sixteen registers, no fused multiply-add.
    pub(in super::super) struct Sse2;

    // SAFETY of every block below: the trait's contract, instruction set present and pointers valid.
    impl Simd for Sse2 {
        type Vector = __m128;
        const LANES: usize = 4;
        const TILE_ROWS: usize = 6;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m128 {
            unsafe { _mm_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m128 {
            unsafe { _mm_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, vector: __m128) {
            unsafe { _mm_storeu_ps(to, vector) }
        }
        #[inline(always)]
        unsafe fn add(a: __m128, b: __m128) -> __m128 {
            unsafe { _mm_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn multiply_add(a: __m128, b: __m128, c: __m128) -> __m128 {
            unsafe { _mm_add_ps(_mm_mul_ps(a, b), c) }
        }
        #[inline(always)]
        unsafe fn clamp_0_6(a: __m128) -> __m128 {
            unsafe { _mm_min_ps(_mm_max_ps(a, _mm_setzero_ps()), _mm_set1_ps(6.0)) }
        }
    }

    /// AVX2 with FMA: eight lanes, sixteen registers.
    pub(in super::super) struct Avx2;

    impl Simd for Avx2 {
        type Vector = __m256;
        const LANES: usize = 8;
        const TILE_ROWS: usize = 6;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m256 {
            unsafe { _mm256_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 {
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, vector: __m256) {
            unsafe { _mm256_storeu_ps(to, vector) }
        }
        #[inline(always)]
        unsafe fn add(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn multiply_add(a: __m256, b: __m256, c: __m256) -> __m256 {
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn clamp_0_6(a: __m256) -> __m256 {
            unsafe { _mm256_min_ps(_mm256_max_ps(a, _mm256_setzero_ps()), _mm256_set1_ps(6.0)) }
        }
    }

    /// AVX-512F: sixteen lanes, thirty-two registers.
    pub(in super::super) struct Avx512;

    impl Simd for Avx512 {
        type Vector = __m512;
        const LANES: usize = 16;
        const TILE_ROWS: usize = 12;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m512 {
            unsafe { _mm512_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 {
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, vector: __m512) {
            unsafe { _mm512_storeu_ps(to, vector) }
        }
        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn multiply_add(a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn clamp_0_6(a: __m512) -> __m512 {
            unsafe { _mm512_min_ps(_mm512_max_ps(a, _mm512_setzero_ps()), _mm512_set1_ps(6.0)) }
        }
    }
}

#[cfg(target_arch = "aarch64")]
pub(super) use arm::Neon;

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;

    use super::Simd;

    /// NEON, which every 64-bit Arm processor has: four lanes, thirty-two registers.
    pub(in super::super) struct Neon;

    // SAFETY of every block below: the trait's contract, instruction set present and pointers valid.
    impl Simd for Neon {
        type Vector = float32x4_t;
        const LANES: usize = 4;
        const TILE_ROWS: usize = 12;

        #[inline(always)]
        unsafe fn splat(value: f32) -> float32x4_t {
            unsafe { vdupq_n_f32(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> float32x4_t {
            unsafe { vld1q_f32(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, vector: float32x4_t) {
            unsafe { vst1q_f32(to, vector) }
        }
        #[inline(always)]
        unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            unsafe { vaddq_f32(a, b) }
        }
        #[inline(always)]
        unsafe fn multiply_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
            unsafe { vfmaq_f32(c, a, b) }
        }
        #[inline(always)]
        unsafe fn clamp_0_6(a: float32x4_t) -> float32x4_t {
            unsafe { vminq_f32(vmaxq_f32(a, vdupq_n_f32(0.0)), vdupq_n_f32(6.0)) }
        }
    }
}

/// One lane of plain Rust, for processors of any other kind.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) struct Scalar;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
impl Simd for Scalar {
    type Vector = f32;
    const LANES: usize = 1;
    const TILE_ROWS: usize = 4;

    unsafe fn splat(value: f32) -> f32 {
        value
    }
    unsafe fn load(from: *const f32) -> f32 {
        // SAFETY: the caller promises one value.
        unsafe { *from }
    }
    unsafe fn store(to: *mut f32, value: f32) {
        // SAFETY: the caller promises room for one value.
        unsafe { *to = value }
    }
    unsafe fn add(a: f32, b: f32) -> f32 {
        a + b
    }
    unsafe fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
    unsafe fn clamp_0_6(a: f32) -> f32 {
        a.clamp(0.0, 6.0)
    }
}
