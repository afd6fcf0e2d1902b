//! The vector instructions of this machine, chosen when the program runs.

/// Registers of `LANES` floats. The methods compile to single instructions inside [`Kernel::run`].
pub(crate) trait Vector: Copy {
    const LANES: usize;

    fn splat(value: f32) -> Self;

    /// From the start of a slice of at least `LANES`.
    fn load(source: &[f32]) -> Self;

    /// To the start of a slice of at least `LANES`.
    fn store(self, target: &mut [f32]);

    /// `self * factor + addend`, rounded once.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
}

/// Code that is compiled once for each width of vectors. `run` must be `#[inline(always)]`.
pub(crate) trait Kernel {
    fn run<V: Vector>(self);
}

/// Eight floats that the compiler vectorises as it can (NEON on 64-bit Arm).
#[derive(Clone, Copy)]
struct Portable([f32; 8]);

impl Vector for Portable {
    const LANES: usize = 8;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; 8])
    }

    #[inline(always)]
    fn load(source: &[f32]) -> Self {
        Self(std::array::from_fn(|lane| source[lane]))
    }

    #[inline(always)]
    fn store(self, target: &mut [f32]) {
        target[..8].copy_from_slice(&self.0);
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(std::array::from_fn(|lane| {
            self.0[lane].mul_add(factor.0[lane], addend.0[lane])
        }))
    }
}

/// Runs a kernel with the widest vectors of this machine.
#[inline(always)]
pub(crate) fn run(kernel: impl Kernel) {
    #[cfg(target_arch = "x86_64")]
    {
        if x86::has_avx512() {
            // SAFETY: the features were detected.
            return unsafe { x86::run_avx512(kernel) };
        }
        if x86::has_avx2() {
            // SAFETY: the features were detected.
            return unsafe { x86::run_avx2(kernel) };
        }
    }
    kernel.run::<Portable>();
}

/// Calls `f`, an `#[inline]` loop over floats, compiled for the widest vectors of this machine.
#[inline(always)]
pub(crate) fn vectorise<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        if x86::has_avx512() {
            // SAFETY: the features were detected.
            return unsafe { x86::call_avx512(f) };
        }
        if x86::has_avx2() {
            // SAFETY: the features were detected.
            return unsafe { x86::call_avx2(f) };
        }
    }
    f()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Kernel, Vector};

    #[inline(always)]
    pub(super) fn has_avx512() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && has_avx2()
    }

    #[inline(always)]
    pub(super) fn has_avx2() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }

    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
    pub(super) fn run_avx512(kernel: impl Kernel) {
        kernel.run::<Avx512>();
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn run_avx2(kernel: impl Kernel) {
        kernel.run::<Avx2>();
    }

    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
    pub(super) fn call_avx512<R>(f: impl FnOnce() -> R) -> R {
        f()
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn call_avx2<R>(f: impl FnOnce() -> R) -> R {
        f()
    }

    /// 16 floats. Private to this module, and used only inside [`run_avx512`].
    #[derive(Clone, Copy)]
    struct Avx512(__m512);

    // SAFETY of the four: called only inside `run_avx512`; loads and stores stay within their checked slices.
    impl Vector for Avx512 {
        const LANES: usize = 16;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            Self(unsafe { _mm512_set1_ps(value) })
        }

        #[inline(always)]
        fn load(source: &[f32]) -> Self {
            Self(unsafe { _mm512_loadu_ps(source[..16].as_ptr()) })
        }

        #[inline(always)]
        fn store(self, target: &mut [f32]) {
            unsafe { _mm512_storeu_ps(target[..16].as_mut_ptr(), self.0) }
        }

        #[inline(always)]
        fn mul_add(self, factor: Self, addend: Self) -> Self {
            Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, addend.0) })
        }
    }

    /// 8 floats. Private to this module, and used only inside [`run_avx2`].
    #[derive(Clone, Copy)]
    struct Avx2(__m256);

    // SAFETY of the four: called only inside `run_avx2`; loads and stores stay within their checked slices.
    impl Vector for Avx2 {
        const LANES: usize = 8;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            Self(unsafe { _mm256_set1_ps(value) })
        }

        #[inline(always)]
        fn load(source: &[f32]) -> Self {
            Self(unsafe { _mm256_loadu_ps(source[..8].as_ptr()) })
        }

        #[inline(always)]
        fn store(self, target: &mut [f32]) {
            unsafe { _mm256_storeu_ps(target[..8].as_mut_ptr(), self.0) }
        }

        #[inline(always)]
        fn mul_add(self, factor: Self, addend: Self) -> Self {
            Self(unsafe { _mm256_fmadd_ps(self.0, factor.0, addend.0) })
        }
    }
}
