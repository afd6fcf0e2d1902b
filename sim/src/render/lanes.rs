//! Eight `f32` lanes: two registers of four.
//!
//! No operation is fused or approximated: the result is the same, bit for bit, on every machine. Every operation is always
//! inlined, so that it is compiled for the instruction set of the enclosing function.

#[cfg(any(test, not(target_arch = "x86_64")))]
mod plain;
#[cfg(target_arch = "x86_64")]
mod sse2;

use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

#[cfg(not(target_arch = "x86_64"))]
use plain as four;
#[cfg(target_arch = "x86_64")]
use sse2 as four;

/// Number of lanes.
pub(super) const LANES: usize = 8;

/// Eight numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct F([four::Numbers; 2]);

/// Eight words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words([four::Words; 2]);

/// Eight truth values: all ones or all zeros.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mask([four::Words; 2]);

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

/// Something for both halves.
macro_rules! both {
    (|$i:ident| $e:expr) => {
        [
            {
                let $i = 0usize;
                $e
            },
            {
                let $i = 1usize;
                $e
            },
        ]
    };
}

macro_rules! operator {
    ($trait:ident, $method:ident) => {
        impl $trait for F {
            type Output = F;
            #[inline(always)]
            fn $method(self, other: F) -> F {
                F(both!(|i| self.0[i].$method(other.0[i])))
            }
        }
        impl $trait<f32> for F {
            type Output = F;
            #[inline(always)]
            fn $method(self, other: f32) -> F {
                let other = four::Numbers::splat(other);
                F(both!(|i| self.0[i].$method(other)))
            }
        }
    };
}
operator!(Add, add);
operator!(Sub, sub);
operator!(Mul, mul);
operator!(Div, div);

/// The sign bit of a number.
const SIGN: u32 = 0x8000_0000;

impl Neg for F {
    type Output = F;
    #[inline(always)]
    fn neg(self) -> F {
        let sign = four::Words::splat(SIGN);
        F(both!(|i| {
            let bits = self.0[i].bits();
            sign.without(bits).or(bits.without(sign)).as_bits()
        }))
    }
}

/// Splits eight things into two times four.
#[inline(always)]
fn halves<T: Copy>(a: &[T; LANES]) -> [[T; 4]; 2] {
    [[a[0], a[1], a[2], a[3]], [a[4], a[5], a[6], a[7]]]
}

/// Joins two times four things to eight.
#[inline(always)]
fn joined<T: Copy>([a, b]: [[T; 4]; 2]) -> [T; LANES] {
    [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]]
}

impl F {
    /// The same number in every lane.
    #[inline(always)]
    pub(super) fn splat(value: f32) -> F {
        F([four::Numbers::splat(value); 2])
    }

    /// Zero in every lane.
    #[inline(always)]
    pub(super) fn zero() -> F {
        F::splat(0.0)
    }

    /// 0, 1, 2, ...
    #[inline(always)]
    pub(super) fn ramp() -> F {
        F::from_array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    }

    /// The first eight numbers of `slice`.
    #[inline(always)]
    pub(super) fn load(slice: &[f32]) -> F {
        let mut out = [0.0; LANES];
        out.copy_from_slice(&slice[..LANES]);
        F::from_array(out)
    }

    /// Overwrites the first eight numbers of `slice`.
    #[inline(always)]
    pub(super) fn store(self, slice: &mut [f32]) {
        slice[..LANES].copy_from_slice(&self.array());
    }

    /// The lanes as an array.
    #[inline(always)]
    pub(super) fn array(self) -> [f32; LANES] {
        joined(both!(|i| self.0[i].array()))
    }

    /// Lanes from an array.
    #[inline(always)]
    pub(super) fn from_array(array: [f32; LANES]) -> F {
        let halves = halves(&array);
        F(both!(|i| four::Numbers::from_array(halves[i])))
    }

    /// Square root.
    #[inline(always)]
    pub(super) fn sqrt(self) -> F {
        F(both!(|i| self.0[i].sqrt()))
    }

    /// The largest integer that is not above. Numbers from 2^23 on are integers; they and NaN stay.
    #[inline(always)]
    pub(super) fn floor(self) -> F {
        let cut = self.cut().to_numbers();
        let floor = self.lt(cut).select(cut - 1.0, cut);
        self.abs().lt(F::splat(8_388_608.0)).select(floor, self)
    }

    /// The lanes cut to integers. Those outside the range of `i32`, and NaN, become its smallest value.
    #[inline(always)]
    pub(super) fn cut(self) -> Words {
        Words(both!(|i| self.0[i].cut()))
    }

    /// Magnitude.
    #[inline(always)]
    pub(super) fn abs(self) -> F {
        let sign = four::Words::splat(SIGN);
        F(both!(|i| sign.without(self.0[i].bits()).as_bits()))
    }

    /// The smaller one; `other` where `self` is not a number.
    #[inline(always)]
    pub(super) fn min(self, other: F) -> F {
        F(both!(|i| self.0[i].min(other.0[i])))
    }

    /// The larger one; `other` where `self` is not a number.
    #[inline(always)]
    pub(super) fn max(self, other: F) -> F {
        F(both!(|i| self.0[i].max(other.0[i])))
    }

    /// `magnitude` with the sign of `self`.
    #[inline(always)]
    pub(super) fn sign_of(self, magnitude: F) -> F {
        let sign = four::Words::splat(SIGN);
        F(both!(|i| {
            let signs = self.0[i].bits().and(sign);
            magnitude.0[i].bits().or(signs).as_bits()
        }))
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
        Mask(both!(|i| self.0[i].lt(other.0[i])))
    }

    /// `self <= other`.
    #[inline(always)]
    pub(super) fn le(self, other: F) -> Mask {
        Mask(both!(|i| self.0[i].le(other.0[i])))
    }

    /// `self == other`.
    #[inline(always)]
    pub(super) fn eq(self, other: F) -> Mask {
        Mask(both!(|i| self.0[i].eq(other.0[i])))
    }
}

impl Words {
    /// The same word in every lane.
    #[inline(always)]
    pub(super) fn splat(value: u32) -> Words {
        Words([four::Words::splat(value); 2])
    }

    /// The first eight words of `slice`.
    #[inline(always)]
    pub(super) fn load(slice: &[u32]) -> Words {
        let mut out = [0; LANES];
        out.copy_from_slice(&slice[..LANES]);
        Words::from_array(out)
    }

    /// Words from an array.
    #[inline(always)]
    pub(super) fn from_array(array: [u32; LANES]) -> Words {
        let halves = halves(&array);
        Words(both!(|i| four::Words::from_array(halves[i])))
    }

    /// The words as an array.
    #[inline(always)]
    pub(super) fn array(self) -> [u32; LANES] {
        joined(both!(|i| self.0[i].array()))
    }

    /// The words, which must be below 2^31, as numbers.
    #[inline(always)]
    pub(super) fn to_numbers(self) -> F {
        F(both!(|i| self.0[i].convert()))
    }

    /// Moves bits up.
    #[inline(always)]
    pub(super) fn left<const BITS: i32>(self) -> Words {
        Words(both!(|i| self.0[i].left::<BITS>()))
    }

    /// Moves bits down.
    #[inline(always)]
    pub(super) fn right<const BITS: i32>(self) -> Words {
        Words(both!(|i| self.0[i].right::<BITS>()))
    }

    /// The lowest byte.
    #[inline(always)]
    pub(super) fn low_byte(self) -> Words {
        let low = four::Words::splat(0xff);
        Words(both!(|i| self.0[i].and(low)))
    }
}

impl BitOr for Words {
    type Output = Words;
    #[inline(always)]
    fn bitor(self, other: Words) -> Words {
        Words(both!(|i| self.0[i].or(other.0[i])))
    }
}

impl Mask {
    /// False in every lane.
    #[inline(always)]
    pub(super) fn none() -> Mask {
        Mask([four::Words::splat(0); 2])
    }

    /// True in every lane below `count`.
    #[inline(always)]
    pub(super) fn first(count: usize) -> Mask {
        F::ramp().lt(F::splat(count.min(LANES) as f32))
    }

    /// `yes` where true, `no` elsewhere.
    #[inline(always)]
    pub(super) fn select(self, yes: F, no: F) -> F {
        F(both!(|i| {
            let (yes, no) = (yes.0[i].bits(), no.0[i].bits());
            self.0[i].and(yes).or(self.0[i].without(no)).as_bits()
        }))
    }

    /// Overwrites the first eight words of `slice` with `words` where true.
    #[inline(always)]
    pub(super) fn store_words(self, words: Words, slice: &mut [u32]) {
        let old = Words::load(slice);
        let new = Words(both!(|i| {
            let kept = self.0[i].without(old.0[i]);
            self.0[i].and(words.0[i]).or(kept)
        }));
        slice[..LANES].copy_from_slice(&new.array());
    }

    /// True where the words at the start of `slice` are `word`.
    #[inline(always)]
    pub(super) fn words_equal(slice: &[u32], word: u32) -> Mask {
        let (words, word) = (Words::load(slice), four::Words::splat(word));
        Mask(both!(|i| words.0[i].equal(word)))
    }

    /// The truth of each lane, the first in bit 0.
    #[inline(always)]
    fn bits(self) -> u32 {
        self.0[0].signs() | self.0[1].signs() << 4
    }

    /// True in some lane.
    #[inline(always)]
    pub(super) fn any(self) -> bool {
        self.bits() != 0
    }

    /// The first lane that is true; 0 if none is.
    #[inline(always)]
    pub(super) fn first_lane(self) -> usize {
        let bits = self.bits();
        if bits == 0 {
            0
        } else {
            bits.trailing_zeros() as usize
        }
    }
}

impl BitAnd for Mask {
    type Output = Mask;
    #[inline(always)]
    fn bitand(self, other: Mask) -> Mask {
        Mask(both!(|i| self.0[i].and(other.0[i])))
    }
}

impl BitOr for Mask {
    type Output = Mask;
    #[inline(always)]
    fn bitor(self, other: Mask) -> Mask {
        Mask(both!(|i| self.0[i].or(other.0[i])))
    }
}

impl Not for Mask {
    type Output = Mask;
    #[inline(always)]
    fn not(self) -> Mask {
        let ones = four::Words::splat(!0);
        Mask(both!(|i| self.0[i].without(ones)))
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

#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
