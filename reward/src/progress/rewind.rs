//! Stretches of a demonstration to learn progress from, some of them rewound: a failed attempt made of a success by running its
//! end backwards (ReWiND, Zhang et al., arXiv 2505.10911; frames drawn as in the released sampler).

use rand::{Rng, RngExt as _};

/// A stretch of a demonstration, forwards and then a while backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First frame.
    pub start: usize,
    /// One past the last frame reached.
    pub end: usize,
    /// Frames gone back from there.
    pub back: usize,
}

impl Window {
    /// A stretch of at least 3 frames anywhere in a demonstration of `len`, which is at least 3.
    pub fn forwards(len: usize, rng: &mut impl Rng) -> Self {
        let start = rng.random_range(0..=len - 3);
        Self {
            start,
            end: rng.random_range(start + 3..=len),
            back: 0,
        }
    }

    /// A stretch from the first half into the second, at least 3 frames long, then 1 to all but one of its frames backwards.
    pub fn rewound(len: usize, rng: &mut impl Rng) -> Self {
        let half = len / 2;
        loop {
            let start = rng.random_range(0..=half);
            let end = rng.random_range(half..=len);
            if end >= start + 3 {
                return Self {
                    start,
                    end,
                    back: rng.random_range(1..end - start),
                };
            }
        }
    }

    /// The frames in the order shown.
    pub fn frames(&self) -> Vec<usize> {
        let back = (self.start..self.end).rev().skip(1).take(self.back);
        (self.start..self.end).chain(back).collect()
    }

    /// Progress at each frame shown in a demonstration of `len`: for frame `i` of the stretch `(i + 1) / (len - start)`, so that
    /// progress counts from where the stretch begins, and going back undoes it.
    pub fn targets(&self, len: usize) -> Vec<f64> {
        let whole = (len - self.start) as f64;
        let target = |frame: usize| (frame - self.start + 1) as f64 / whole;
        self.frames().into_iter().map(target).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn targets_are_those_of_fixed_frames() {
        let plain = Window {
            start: 2,
            end: 6,
            back: 0,
        };
        assert_eq!(plain.frames(), [2, 3, 4, 5]);
        assert_eq!(plain.targets(10), [0.125, 0.25, 0.375, 0.5]);
        let whole = Window {
            start: 0,
            end: 4,
            back: 0,
        };
        assert_eq!(whole.targets(4), [0.25, 0.5, 0.75, 1.0]);
        let rewound = Window {
            start: 1,
            end: 5,
            back: 3,
        };
        assert_eq!(rewound.frames(), [1, 2, 3, 4, 3, 2, 1]);
        assert_eq!(rewound.targets(5), [0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25]);
    }

    proptest! {
        #[test]
        fn windows_lie_within_the_demonstration(len in 3usize..40, seed in 0u64..500) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let forwards = Window::forwards(len, &mut rng);
            let rewound = Window::rewound(len, &mut rng);
            for window in [forwards, rewound] {
                prop_assert!(window.end >= window.start + 3 && window.end <= len);
                prop_assert_eq!(window.frames().len(), window.end - window.start + window.back);
                prop_assert!(window.targets(len).iter().all(|p| *p > 0.0 && *p <= 1.0));
            }
            prop_assert!(rewound.start <= len / 2 && rewound.end >= len / 2);
            prop_assert!(rewound.back >= 1 && rewound.back < rewound.end - rewound.start);
        }
    }
}
