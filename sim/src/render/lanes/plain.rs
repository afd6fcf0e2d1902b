//! Four lanes as arrays, for processors that `sse2` does not know.

/// Four numbers.
#[derive(Clone, Copy, Debug)]
pub(in crate::render) struct Numbers([f32; 4]);

/// Four words, or four truth values: all ones or all zeros.
#[derive(Clone, Copy, Debug)]
pub(in crate::render) struct Words([u32; 4]);

macro_rules! each {
    ($type:ident, |$i:ident| $e:expr) => {
        $type([
            {
                let $i = 0;
                $e
            },
            {
                let $i = 1;
                $e
            },
            {
                let $i = 2;
                $e
            },
            {
                let $i = 3;
                $e
            },
        ])
    };
}

macro_rules! numbers {
    ($($name:ident: |$a:ident, $b:ident| $e:expr;)*) => {
        $(
            #[inline(always)]
            pub(super) fn $name(self, other: Numbers) -> Numbers {
                each!(Numbers, |i| { let ($a, $b) = (self.0[i], other.0[i]); $e })
            }
        )*
    };
}

macro_rules! comparisons {
    ($($name:ident: $op:tt;)*) => {
        $(
            #[inline(always)]
            pub(super) fn $name(self, other: Numbers) -> Words {
                each!(Words, |i| if self.0[i] $op other.0[i] { !0 } else { 0 })
            }
        )*
    };
}

impl Numbers {
    numbers! {
        add: |a, b| a + b;
        sub: |a, b| a - b;
        mul: |a, b| a * b;
        div: |a, b| a / b;
        min: |a, b| if a < b { a } else { b };
        max: |a, b| if a > b { a } else { b };
    }
    comparisons! {
        lt: <;
        le: <=;
        eq: ==;
    }

    #[inline(always)]
    pub(super) fn splat(value: f32) -> Numbers {
        Numbers([value; 4])
    }

    #[inline(always)]
    pub(super) fn from_array(array: [f32; 4]) -> Numbers {
        Numbers(array)
    }

    #[inline(always)]
    pub(super) fn array(self) -> [f32; 4] {
        self.0
    }

    #[inline(always)]
    pub(super) fn sqrt(self) -> Numbers {
        each!(Numbers, |i| self.0[i].sqrt())
    }

    #[inline(always)]
    pub(super) fn bits(self) -> Words {
        each!(Words, |i| self.0[i].to_bits())
    }

    /// Cut to integers. Numbers outside the range of `i32`, and NaN, become its smallest value.
    #[inline(always)]
    pub(super) fn cut(self) -> Words {
        let cut = |x: f32| {
            let fits = (-2147483648.0..2147483648.0).contains(&x);
            (if fits { x as i32 } else { i32::MIN }) as u32
        };
        each!(Words, |i| cut(self.0[i]))
    }
}

impl Words {
    #[inline(always)]
    pub(super) fn splat(value: u32) -> Words {
        Words([value; 4])
    }

    #[inline(always)]
    pub(super) fn from_array(array: [u32; 4]) -> Words {
        Words(array)
    }

    #[inline(always)]
    pub(super) fn array(self) -> [u32; 4] {
        self.0
    }

    /// The numbers with these bits.
    #[inline(always)]
    pub(super) fn as_bits(self) -> Numbers {
        each!(Numbers, |i| f32::from_bits(self.0[i]))
    }

    /// These numbers, read as `i32`.
    #[inline(always)]
    pub(super) fn convert(self) -> Numbers {
        each!(Numbers, |i| self.0[i] as i32 as f32)
    }

    #[inline(always)]
    pub(super) fn and(self, other: Words) -> Words {
        each!(Words, |i| self.0[i] & other.0[i])
    }

    #[inline(always)]
    pub(super) fn or(self, other: Words) -> Words {
        each!(Words, |i| self.0[i] | other.0[i])
    }

    /// `other` without the ones of `self`.
    #[inline(always)]
    pub(super) fn without(self, other: Words) -> Words {
        each!(Words, |i| !self.0[i] & other.0[i])
    }

    #[inline(always)]
    pub(super) fn equal(self, other: Words) -> Words {
        each!(Words, |i| if self.0[i] == other.0[i] { !0 } else { 0 })
    }

    #[inline(always)]
    pub(super) fn left<const BITS: i32>(self) -> Words {
        each!(Words, |i| self.0[i] << BITS)
    }

    #[inline(always)]
    pub(super) fn right<const BITS: i32>(self) -> Words {
        each!(Words, |i| self.0[i] >> BITS)
    }

    /// The highest bit of each word, the first in bit 0.
    #[inline(always)]
    pub(super) fn signs(self) -> u32 {
        self.0[0] >> 31 | self.0[1] >> 31 << 1 | self.0[2] >> 31 << 2 | self.0[3] >> 31 << 3
    }
}
