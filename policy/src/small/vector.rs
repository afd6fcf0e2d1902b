//! The vector instructions of this machine, chosen when the program runs.

/// Registers of `LANES` floats. The methods compile to single instructions inside [`Kernel::run`].
pub(crate) trait Vector: Copy {
    const LANES: usize;

    fn splat(value: f32) -> Self;

    /// # Safety
    /// `source` points to `LANES` floats.
    unsafe fn load(source: *const f32) -> Self;

    /// # Safety
    /// `target` points to `LANES` floats.
    unsafe fn store(self, target: *mut f32);

    /// `self * factor + addend`, rounded once.
    fn mul_add(self, factor: Self, addend: Self) -> Self;

    /// Zero where negative; what is not a number stays that.
    fn relu(self) -> Self;

    /// Zero where `gate` is not above zero.
    fn gated(self, gate: Self) -> Self;
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
    unsafe fn load(source: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { source.cast::<[f32; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, target: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { target.cast::<[f32; 8]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(std::array::from_fn(|lane| {
            self.0[lane].mul_add(factor.0[lane], addend.0[lane])
        }))
    }

    #[inline(always)]
    fn relu(self) -> Self {
        Self(self.0.map(|x| if x < 0.0 { 0.0 } else { x }))
    }

    #[inline(always)]
    fn gated(self, gate: Self) -> Self {
        Self(std::array::from_fn(|lane| {
            if gate.0[lane] > 0.0 {
                self.0[lane]
            } else {
                0.0
            }
        }))
    }
}

/// Whether the machine has 32 registers of 16 floats.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && has_avx2()
}

/// Whether the machine has 16 registers of 8 floats, and multiplies and adds in one step.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// Runs a kernel with 8 plain floats, whatever the machine has.
#[cfg(test)]
pub(crate) fn run_portable(kernel: impl Kernel) {
    kernel.run::<Portable>();
}

/// Runs a kernel with 8-float registers, where the machine has them.
#[cfg(all(test, target_arch = "x86_64"))]
pub(crate) fn run_avx2(kernel: impl Kernel) {
    if has_avx2() {
        // SAFETY: the features were detected.
        unsafe { x86::run_avx2(kernel) };
    } else {
        run_portable(kernel);
    }
}

/// Runs a kernel with the widest vectors of this machine.
#[inline(always)]
pub(crate) fn run(kernel: impl Kernel) {
    #[cfg(target_arch = "x86_64")]
    {
        if has_avx512() {
            // SAFETY: the features were detected.
            return unsafe { x86::run_avx512(kernel) };
        }
        if has_avx2() {
            // SAFETY: the features were detected.
            return unsafe { x86::run_avx2(kernel) };
        }
    }
    kernel.run::<Portable>();
}

/// Functions over floats, compiled once for each width of vectors; a call takes the widest that this machine has.
macro_rules! vectorised {
    ($($(#[$meta:meta])* $visibility:vis fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $result:ty)? $body:block)*) => {$(
        $(#[$meta])*
        $visibility fn $name($($argument: $kind),*) $(-> $result)? {
            #[inline(always)]
            fn body($($argument: $kind),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
                fn avx512($($argument: $kind),*) $(-> $result)? {
                    body($($argument),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($argument: $kind),*) $(-> $result)? {
                    body($($argument),*)
                }
                if $crate::small::vector::has_avx512() {
                    // SAFETY: the features were detected.
                    return unsafe { avx512($($argument),*) };
                }
                if $crate::small::vector::has_avx2() {
                    // SAFETY: the features were detected.
                    return unsafe { avx2($($argument),*) };
                }
            }
            body($($argument),*)
        }
    )*};
}
pub(crate) use vectorised;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Kernel, Vector};

    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
    pub(super) fn run_avx512(kernel: impl Kernel) {
        kernel.run::<Avx512>();
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn run_avx2(kernel: impl Kernel) {
        kernel.run::<Avx2>();
    }

    /// 16 floats. Private to this module, and used only inside [`run_avx512`].
    #[derive(Clone, Copy)]
    struct Avx512(__m512);

    // SAFETY of all methods: called only inside `run_avx512`; for loads and stores, the caller's promise.
    impl Vector for Avx512 {
        const LANES: usize = 16;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            Self(unsafe { _mm512_set1_ps(value) })
        }

        #[inline(always)]
        unsafe fn load(source: *const f32) -> Self {
            Self(unsafe { _mm512_loadu_ps(source) })
        }

        #[inline(always)]
        unsafe fn store(self, target: *mut f32) {
            unsafe { _mm512_storeu_ps(target, self.0) }
        }

        #[inline(always)]
        fn mul_add(self, factor: Self, addend: Self) -> Self {
            Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, addend.0) })
        }

        // The maximum of two gives the second where one is not a number.
        #[inline(always)]
        fn relu(self) -> Self {
            Self(unsafe { _mm512_max_ps(_mm512_setzero_ps(), self.0) })
        }

        #[inline(always)]
        fn gated(self, gate: Self) -> Self {
            Self(unsafe {
                let open = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(gate.0, _mm512_setzero_ps());
                _mm512_maskz_mov_ps(open, self.0)
            })
        }
    }

    /// 8 floats. Private to this module, and used only inside [`run_avx2`].
    #[derive(Clone, Copy)]
    struct Avx2(__m256);

    // SAFETY of all methods: called only inside `run_avx2`; for loads and stores, the caller's promise.
    impl Vector for Avx2 {
        const LANES: usize = 8;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            Self(unsafe { _mm256_set1_ps(value) })
        }

        #[inline(always)]
        unsafe fn load(source: *const f32) -> Self {
            Self(unsafe { _mm256_loadu_ps(source) })
        }

        #[inline(always)]
        unsafe fn store(self, target: *mut f32) {
            unsafe { _mm256_storeu_ps(target, self.0) }
        }

        #[inline(always)]
        fn mul_add(self, factor: Self, addend: Self) -> Self {
            Self(unsafe { _mm256_fmadd_ps(self.0, factor.0, addend.0) })
        }

        // The maximum of two gives the second where one is not a number.
        #[inline(always)]
        fn relu(self) -> Self {
            Self(unsafe { _mm256_max_ps(_mm256_setzero_ps(), self.0) })
        }

        #[inline(always)]
        fn gated(self, gate: Self) -> Self {
            Self(unsafe {
                let open = _mm256_cmp_ps::<_CMP_GT_OQ>(gate.0, _mm256_setzero_ps());
                _mm256_and_ps(open, self.0)
            })
        }
    }
}
