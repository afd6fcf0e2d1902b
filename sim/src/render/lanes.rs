//! Eight `f32` lanes as plain arrays.
//!
//! Every operation is a fixed-length loop over an array and is always inlined, so that the compiler turns it into one or
//! two vector instructions of whatever instruction set the enclosing function was compiled for. No operation is
//! fused or approximated: the result is the same, bit for bit, on every machine.

use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

/// Number of lanes.
pub(super) const LANES: usize = 8;

/// Eight numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct F([f32; LANES]);

/// Eight truth values: all ones or all zeros.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mask([u32; LANES]);

/// A vector per lane.
pub(super) type F3 = [F; 3];

/// The array of an expression for `i` = 0, 1, 2. Unlike `[0, 1, 2].map(...)` it has no closure, which would be compiled for
/// the baseline instruction set instead of the enclosing function's.
macro_rules! three {
    (|$i:ident| $e:expr) => {{
        let first = {
            let $i = 0usize;
            $e
        };
        let second = {
            let $i = 1usize;
            $e
        };
        let third = {
            let $i = 2usize;
            $e
        };
        [first, second, third]
    }};
}
pub(super) use three;

/// A function compiled twice: for the baseline processor and for one with wider vectors, chosen when it is called. Everything
/// hot in its body must be inlined into it. Both give the same results.
macro_rules! vectorised {
    ($(#[$attribute:meta])* $vis:vis fn $name:ident $([$kind:ident: $bound:path])? ($($argument:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$attribute])*
        #[inline(never)]
        $vis fn $name $(<$kind: $bound>)? ($($argument: $type),*) {
            #[inline(always)]
            fn portable $(<$kind: $bound>)? ($($argument: $type),*) $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn wide $(<$kind: $bound>)? ($($argument: $type),*) {
                    portable($($argument),*)
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor was just asked.
                    return unsafe { wide($($argument),*) };
                }
            }
            portable($($argument),*)
        }
    };
}
pub(super) use vectorised;

macro_rules! each {
    (|$i:ident| $e:expr) => {{
        let mut out = [0.0f32; LANES];
        for $i in 0..LANES {
            out[$i] = $e;
        }
        F(out)
    }};
}

macro_rules! each_mask {
    (|$i:ident| $e:expr) => {{
        let mut out = [0u32; LANES];
        for $i in 0..LANES {
            out[$i] = $e;
        }
        Mask(out)
    }};
}

macro_rules! operator {
    ($trait:ident, $method:ident, $op:tt) => {
        impl $trait for F {
            type Output = F;
            #[inline(always)]
            fn $method(self, other: F) -> F {
                each!(|i| self.0[i] $op other.0[i])
            }
        }
        impl $trait<f32> for F {
            type Output = F;
            #[inline(always)]
            fn $method(self, other: f32) -> F {
                each!(|i| self.0[i] $op other)
            }
        }
    };
}
operator!(Add, add, +);
operator!(Sub, sub, -);
operator!(Mul, mul, *);
operator!(Div, div, /);

impl Neg for F {
    type Output = F;
    #[inline(always)]
    fn neg(self) -> F {
        each!(|i| -self.0[i])
    }
}

impl F {
    /// Zero in every lane.
    pub(super) const ZERO: F = F([0.0; LANES]);

    /// The same number in every lane.
    #[inline(always)]
    pub(super) fn splat(value: f32) -> F {
        F([value; LANES])
    }

    /// 0, 1, 2, ...
    #[inline(always)]
    pub(super) fn ramp() -> F {
        each!(|i| i as f32)
    }

    /// The first eight numbers of `slice`.
    #[inline(always)]
    pub(super) fn load(slice: &[f32]) -> F {
        let mut out = [0.0; LANES];
        out.copy_from_slice(&slice[..LANES]);
        F(out)
    }

    /// Overwrites the first eight numbers of `slice`.
    #[inline(always)]
    pub(super) fn store(self, slice: &mut [f32]) {
        slice[..LANES].copy_from_slice(&self.0);
    }

    /// The lanes as an array.
    #[inline(always)]
    pub(super) fn array(self) -> [f32; LANES] {
        self.0
    }

    /// Lanes from an array.
    #[inline(always)]
    pub(super) fn from_array(array: [f32; LANES]) -> F {
        F(array)
    }

    /// Square root.
    #[inline(always)]
    pub(super) fn sqrt(self) -> F {
        each!(|i| self.0[i].sqrt())
    }

    /// The largest integer that is not above.
    #[inline(always)]
    pub(super) fn floor(self) -> F {
        each!(|i| self.0[i].floor())
    }

    /// The lanes, which must be within 0..2^31, cut to integers.
    ///
    /// # Safety
    /// No lane may be outside that range or NaN.
    #[inline(always)]
    pub(super) unsafe fn to_words(self) -> [u32; LANES] {
        let mut out = [0; LANES];
        for (out, x) in out.iter_mut().zip(self.0) {
            // SAFETY: by the contract of this function.
            *out = unsafe { x.to_int_unchecked::<i32>() } as u32;
        }
        out
    }

    /// Magnitude.
    #[inline(always)]
    pub(super) fn abs(self) -> F {
        each!(|i| f32::from_bits(self.0[i].to_bits() & 0x7fff_ffff))
    }

    /// The smaller one; `other` where `self` is not a number.
    #[inline(always)]
    pub(super) fn min(self, other: F) -> F {
        each!(|i| if self.0[i] < other.0[i] {
            self.0[i]
        } else {
            other.0[i]
        })
    }

    /// The larger one; `other` where `self` is not a number.
    #[inline(always)]
    pub(super) fn max(self, other: F) -> F {
        each!(|i| if self.0[i] > other.0[i] {
            self.0[i]
        } else {
            other.0[i]
        })
    }

    /// `magnitude` with the sign of `self`.
    #[inline(always)]
    pub(super) fn sign_of(self, magnitude: F) -> F {
        each!(|i| f32::from_bits(magnitude.0[i].to_bits() | (self.0[i].to_bits() & 0x8000_0000)))
    }

    /// `self^exponent` by repeated squaring.
    #[inline(always)]
    pub(super) fn powi(self, mut exponent: u32) -> F {
        let mut result = F::splat(1.0);
        let mut square = self;
        while exponent > 0 {
            if exponent & 1 == 1 {
                result = result * square;
            }
            square = square * square;
            exponent >>= 1;
        }
        result
    }

    /// `self < other`.
    #[inline(always)]
    pub(super) fn lt(self, other: F) -> Mask {
        each_mask!(|i| if self.0[i] < other.0[i] { !0 } else { 0 })
    }

    /// `self <= other`.
    #[inline(always)]
    pub(super) fn le(self, other: F) -> Mask {
        each_mask!(|i| if self.0[i] <= other.0[i] { !0 } else { 0 })
    }

    /// `self == other`.
    #[inline(always)]
    pub(super) fn eq(self, other: F) -> Mask {
        each_mask!(|i| if self.0[i] == other.0[i] { !0 } else { 0 })
    }
}

impl Mask {
    /// False in every lane.
    pub(super) const NONE: Mask = Mask([0; LANES]);

    /// True in every lane below `count`.
    #[inline(always)]
    pub(super) fn first(count: usize) -> Mask {
        each_mask!(|i| if i < count { !0 } else { 0 })
    }

    /// `yes` where true, `no` elsewhere.
    #[inline(always)]
    pub(super) fn select(self, yes: F, no: F) -> F {
        each!(|i| f32::from_bits(
            (self.0[i] & yes.0[i].to_bits()) | (!self.0[i] & no.0[i].to_bits())
        ))
    }

    /// Overwrites the first eight words of `slice` with `words` where true.
    #[inline(always)]
    pub(super) fn store_words(self, words: [u32; LANES], slice: &mut [u32]) {
        let slice = &mut slice[..LANES];
        for i in 0..LANES {
            slice[i] = (self.0[i] & words[i]) | (!self.0[i] & slice[i]);
        }
    }

    /// True where the words at the start of `slice` are `word`.
    #[inline(always)]
    pub(super) fn words_equal(slice: &[u32], word: u32) -> Mask {
        let slice = &slice[..LANES];
        each_mask!(|i| if slice[i] == word { !0 } else { 0 })
    }

    /// True in some lane.
    #[inline(always)]
    pub(super) fn any(self) -> bool {
        let mut all = 0;
        for i in 0..LANES {
            all |= self.0[i];
        }
        all != 0
    }

    /// The first lane that is true; 0 if none is.
    #[inline(always)]
    pub(super) fn first_lane(self) -> usize {
        self.0.iter().position(|&lane| lane != 0).unwrap_or(0)
    }
}

impl BitAnd for Mask {
    type Output = Mask;
    #[inline(always)]
    fn bitand(self, other: Mask) -> Mask {
        each_mask!(|i| self.0[i] & other.0[i])
    }
}

impl BitOr for Mask {
    type Output = Mask;
    #[inline(always)]
    fn bitor(self, other: Mask) -> Mask {
        each_mask!(|i| self.0[i] | other.0[i])
    }
}

impl Not for Mask {
    type Output = Mask;
    #[inline(always)]
    fn not(self) -> Mask {
        each_mask!(|i| !self.0[i])
    }
}

/// Scalar product.
#[inline(always)]
pub(super) fn dot(a: F3, b: F3) -> F {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Scalar product with the same vector in every lane.
#[inline(always)]
pub(super) fn dot1(a: F3, b: [f32; 3]) -> F {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// The vector of length one in the direction of `a`.
#[inline(always)]
pub(super) fn unit(a: F3) -> F3 {
    let scale = F::splat(1.0) / dot(a, a).max(F::splat(1e-30)).sqrt();
    [a[0] * scale, a[1] * scale, a[2] * scale]
}
