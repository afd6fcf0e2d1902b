//! The registers do what the arrays do, bit for bit.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{F, LANES, plain, sse2};

/// Any bits, and the numbers where things change.
fn numbers(rng: &mut ChaCha8Rng) -> [f32; 4] {
    let special = [
        0.0,
        -0.0,
        0.5,
        -0.5,
        1.0,
        -1.0,
        8_388_607.5,
        8_388_608.0,
        -8_388_609.0,
        2_147_483_648.0,
        -2_147_483_648.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MIN_POSITIVE,
        1e-42,
    ];
    std::array::from_fn(|_| match rng.random_range(0..3) {
        0 => special[rng.random_range(0..special.len())],
        1 => rng.random_range(-300.0..300.0f32),
        _ => f32::from_bits(rng.random()),
    })
}

/// Bits, with one NaN for all.
fn bits(values: [f32; 4]) -> [u32; 4] {
    values.map(|x| if x.is_nan() { f32::NAN } else { x }.to_bits())
}

#[test]
fn every_operation_gives_the_same_bits_on_both_kinds_of_lanes() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for _ in 0..20_000 {
        let (a, b) = (numbers(&mut rng), numbers(&mut rng));
        let (p, q) = (plain::Numbers::from_array(a), plain::Numbers::from_array(b));
        let (s, t) = (sse2::Numbers::from_array(a), sse2::Numbers::from_array(b));
        macro_rules! same {
            ($($name:ident)*) => {
                $(assert_eq!(
                    bits(p.$name(q).array()),
                    bits(s.$name(t).array()),
                    "{} of {a:?} and {b:?}",
                    stringify!($name)
                );)*
            };
        }
        same!(add sub mul div min max);
        assert_eq!(bits(p.sqrt().array()), bits(s.sqrt().array()), "{a:?}");
        assert_eq!(p.cut().array(), s.cut().array(), "{a:?}");
        assert_eq!(p.lt(q).array(), s.lt(t).array(), "{a:?} {b:?}");
        assert_eq!(p.le(q).array(), s.le(t).array(), "{a:?} {b:?}");
        assert_eq!(p.eq(q).array(), s.eq(t).array(), "{a:?} {b:?}");
        let (v, w) = (p.bits(), s.bits());
        assert_eq!(v.signs(), w.signs());
        assert_eq!(bits(v.convert().array()), bits(w.convert().array()));
        assert_eq!(v.left::<7>().array(), w.left::<7>().array());
        assert_eq!(v.right::<7>().array(), w.right::<7>().array());
        let (x, y) = (q.bits(), t.bits());
        assert_eq!(v.and(x).array(), w.and(y).array());
        assert_eq!(v.or(x).array(), w.or(y).array());
        assert_eq!(v.without(x).array(), w.without(y).array());
        assert_eq!(v.equal(x).array(), w.equal(y).array());
        let words = a.map(f32::to_bits);
        let (x, y) = (
            plain::Words::from_array(words),
            sse2::Words::from_array(words),
        );
        assert_eq!(bits(x.as_bits().array()), bits(y.as_bits().array()));
        assert_eq!(
            plain::Words::splat(words[0]).array(),
            sse2::Words::splat(words[0]).array()
        );
        let (x, y) = (plain::Numbers::splat(a[0]), sse2::Numbers::splat(a[0]));
        assert_eq!(bits(x.array()), bits(y.array()));
    }
}

#[test]
fn floors_are_those_of_the_standard_library() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for _ in 0..20_000 {
        let [a, b] = [numbers(&mut rng), numbers(&mut rng)];
        let all: [f32; LANES] = std::array::from_fn(|i| if i < 4 { a[i] } else { b[i - 4] });
        let floors = F::from_array(all).floor().array();
        for (floor, x) in floors.into_iter().zip(all) {
            assert!(
                floor == x.floor() || (floor.is_nan() && x.is_nan()),
                "{x}: {floor}"
            );
        }
    }
}
