//! Four lanes in a register of every x86-64 processor.

use std::arch::x86_64::*;
use std::mem::transmute;

/// The value of an expression of instructions that every x86-64 processor has.
macro_rules! sse2 {
    ($e:expr) => {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { $e }
    };
}

/// Four numbers.
#[derive(Clone, Copy, Debug)]
pub(in crate::render) struct Numbers(__m128);

/// Four words, or four truth values: all ones or all zeros.
#[derive(Clone, Copy, Debug)]
pub(in crate::render) struct Words(__m128i);

macro_rules! numbers {
    ($($name:ident: $intrinsic:ident;)*) => {
        $(
            #[inline(always)]
            pub(super) fn $name(self, other: Numbers) -> Numbers {
                Numbers(sse2!($intrinsic(self.0, other.0)))
            }
        )*
    };
}

macro_rules! comparisons {
    ($($name:ident: $intrinsic:ident;)*) => {
        $(
            #[inline(always)]
            pub(super) fn $name(self, other: Numbers) -> Words {
                Words(sse2!(_mm_castps_si128($intrinsic(self.0, other.0))))
            }
        )*
    };
}

impl Numbers {
    numbers! {
        add: _mm_add_ps;
        sub: _mm_sub_ps;
        mul: _mm_mul_ps;
        div: _mm_div_ps;
        min: _mm_min_ps;
        max: _mm_max_ps;
    }
    comparisons! {
        lt: _mm_cmplt_ps;
        le: _mm_cmple_ps;
        eq: _mm_cmpeq_ps;
    }

    #[inline(always)]
    pub(super) fn splat(value: f32) -> Numbers {
        Numbers(sse2!(_mm_set1_ps(value)))
    }

    #[inline(always)]
    pub(super) fn from_array(array: [f32; 4]) -> Numbers {
        // SAFETY: any four numbers are a register.
        Numbers(unsafe { transmute::<[f32; 4], __m128>(array) })
    }

    #[inline(always)]
    pub(super) fn array(self) -> [f32; 4] {
        // SAFETY: a register is four numbers.
        unsafe { transmute::<__m128, [f32; 4]>(self.0) }
    }

    #[inline(always)]
    pub(super) fn sqrt(self) -> Numbers {
        Numbers(sse2!(_mm_sqrt_ps(self.0)))
    }

    #[inline(always)]
    pub(super) fn bits(self) -> Words {
        Words(sse2!(_mm_castps_si128(self.0)))
    }

    /// Cut to integers. Numbers outside the range of `i32`, and NaN, become its smallest value.
    #[inline(always)]
    pub(super) fn cut(self) -> Words {
        Words(sse2!(_mm_cvttps_epi32(self.0)))
    }
}

impl Words {
    #[inline(always)]
    pub(super) fn splat(value: u32) -> Words {
        Words(sse2!(_mm_set1_epi32(value as i32)))
    }

    #[inline(always)]
    pub(super) fn from_array(array: [u32; 4]) -> Words {
        // SAFETY: any four words are a register.
        Words(unsafe { transmute::<[u32; 4], __m128i>(array) })
    }

    #[inline(always)]
    pub(super) fn array(self) -> [u32; 4] {
        // SAFETY: a register is four words.
        unsafe { transmute::<__m128i, [u32; 4]>(self.0) }
    }

    /// The numbers with these bits.
    #[inline(always)]
    pub(super) fn as_bits(self) -> Numbers {
        Numbers(sse2!(_mm_castsi128_ps(self.0)))
    }

    /// These numbers, read as `i32`.
    #[inline(always)]
    pub(super) fn convert(self) -> Numbers {
        Numbers(sse2!(_mm_cvtepi32_ps(self.0)))
    }

    #[inline(always)]
    pub(super) fn and(self, other: Words) -> Words {
        Words(sse2!(_mm_and_si128(self.0, other.0)))
    }

    #[inline(always)]
    pub(super) fn or(self, other: Words) -> Words {
        Words(sse2!(_mm_or_si128(self.0, other.0)))
    }

    /// `other` without the ones of `self`.
    #[inline(always)]
    pub(super) fn without(self, other: Words) -> Words {
        Words(sse2!(_mm_andnot_si128(self.0, other.0)))
    }

    #[inline(always)]
    pub(super) fn equal(self, other: Words) -> Words {
        Words(sse2!(_mm_cmpeq_epi32(self.0, other.0)))
    }

    #[inline(always)]
    pub(super) fn left<const BITS: i32>(self) -> Words {
        Words(sse2!(_mm_slli_epi32::<BITS>(self.0)))
    }

    #[inline(always)]
    pub(super) fn right<const BITS: i32>(self) -> Words {
        Words(sse2!(_mm_srli_epi32::<BITS>(self.0)))
    }

    /// The highest bit of each word, the first in bit 0.
    #[inline(always)]
    pub(super) fn signs(self) -> u32 {
        sse2!(_mm_movemask_ps(_mm_castsi128_ps(self.0))) as u32
    }
}
