use super::*;
use crate::model::{Clip, Context, RewardModel as _};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rapport_perception::{EncoderSpec, Features};

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let sum: f64 = (0..12).map(|_| rng.random::<f64>()).sum();
    sum - 6.0
}

const DIM: usize = 4;

/// Two ways of doing a task.
fn exemplars(count: usize, rng: &mut ChaCha8Rng) -> Points {
    let values = (0..count).flat_map(|i| {
        let side = if i % 2 == 0 { 1.5 } else { -1.5 };
        [
            side + 0.4 * normal(rng),
            0.4 * normal(rng),
            0.4 * normal(rng),
            0.4 * normal(rng),
        ]
    });
    Points::new(DIM, values.collect::<Vec<f64>>())
}

fn set(metric: ExemplarMetric) -> (ExemplarSet, ChaCha8Rng) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let exemplars = exemplars(40, &mut rng);
    let config = ExemplarConfig {
        metric,
        ..Default::default()
    };
    (ExemplarSet::new(&exemplars, &config).unwrap(), rng)
}

/// Draws of a policy that does like one of `kept`, about.
fn act(kept: &Points, count: usize, rng: &mut ChaCha8Rng) -> Points {
    let values = (0..count).flat_map(|_| {
        let like = rng.random_range(0..kept.len());
        let row: Vec<f64> = kept
            .row(like)
            .iter()
            .map(|x| x + 0.25 * normal(rng))
            .collect();
        row
    });
    Points::new(kept.dim(), values.collect::<Vec<f64>>())
}

/// DRAGON's check: a policy that learns from what is positive in a set comes to be distributed like the exemplars and stays as
/// diverse; one that learns from what is positive on its own loses its diversity.
#[test]
fn contrasting_sets_comes_closer_and_keeps_diversity_where_single_items_do_not() {
    for metric in [ExemplarMetric::Gaussian, ExemplarMetric::Kernel] {
        let (set, _) = set(metric);
        let mut found = Vec::new();
        for by_set in [true, false] {
            let mut rng = ChaCha8Rng::seed_from_u64(5);
            // The policy at first: both ways, but off to one side.
            let mut kept = exemplars(40, &mut rng);
            for i in 0..kept.len() {
                kept.as_mut_slice()[i * DIM + 1] += 1.2;
            }
            let before = act(&kept, 80, &mut rng);
            for _ in 0..6 {
                let (first, second) = (act(&kept, 40, &mut rng), act(&kept, 40, &mut rng));
                let contrast = if by_set {
                    set.contrast_sets(&first, &second)
                } else {
                    set.contrast_items(&first, &second)
                };
                let picks = contrast.unwrap().first;
                let rows = picks.iter().enumerate();
                let rows = rows.flat_map(|(i, f)| if *f { first.row(i) } else { second.row(i) });
                kept = Points::new(DIM, rows.copied().collect());
            }
            let after = act(&kept, 80, &mut rng);
            let frechet = set.frechet(&after).unwrap() / set.frechet(&before).unwrap();
            let vendi = set.vendi(&after).unwrap() / set.vendi(&before).unwrap();
            found.push((frechet, vendi));
        }
        let [(frechet, vendi), (_, alone)] = [found[0], found[1]];
        assert!(frechet < 0.7 && vendi > 0.8, "{found:?}");
        assert!(alone < vendi - 0.1 && alone < 0.8, "{found:?}");
    }
}

/// Two Gaussians with covariances that commute have a distance in closed form.
#[test]
fn frechet_is_the_closed_form_on_axes() {
    let spread = |scale: [f64; 2], shift: f64| {
        let corners = [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]];
        let values = corners
            .iter()
            .flat_map(|c| [c[0] * scale[0] + shift, c[1] * scale[1]]);
        Points::new(2, values.collect())
    };
    let (a, b) = (spread([1.0, 2.0], 0.0), spread([3.0, 0.5], 0.7));
    let set = ExemplarSet::new(&a, &ExemplarConfig::default()).unwrap();
    // Variances are 4/3 of the squared scales.
    let expected = 0.49 + 4.0 / 3.0 * ((3.0f64 - 1.0).powi(2) + (2.0f64 - 0.5).powi(2));
    assert!((set.frechet(&b).unwrap() - expected).abs() < 1e-12);
    assert!(set.frechet(&a).unwrap() < 1e-12);
}

#[test]
fn one_item_is_measured_by_the_shrunk_covariance() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    // Fewer exemplars than features, and more.
    for count in [3, 9] {
        let values = (0..count * 6).map(|_| normal(&mut rng)).collect();
        let points = Points::new(6, values);
        let set = ExemplarSet::new(&points, &ExemplarConfig::default()).unwrap();
        let moments = Moments::of(&points);
        let covariance = moments.factor.transpose() * &moments.factor;
        let ridge = 0.1 * covariance.trace() / 6.0;
        let shrunk = covariance * 0.9 + DMatrix::identity(6, 6) * ridge;
        let x: Vec<f64> = (0..6).map(|_| normal(&mut rng)).collect();
        let off = DVector::from_column_slice(&x) - &moments.mean;
        let expected = off.dot(&(shrunk.try_inverse().unwrap() * &off)) / 6.0;
        let found = -set.item_rewards(&Points::new(6, x)).unwrap()[0];
        assert!(
            (found - expected).abs() < 1e-9 * (1.0 + expected),
            "{found} {expected}"
        );
    }
}

#[test]
fn vendi_counts_items_that_differ() {
    let same = Points::new(2, [1.0, 2.0].repeat(5));
    assert!((vendi(&same, 1.0).unwrap() - 1.0).abs() < 1e-9);
    let apart = Points::new(1, vec![0.0, 100.0, 200.0]);
    assert!((vendi(&apart, 1.0).unwrap() - 3.0).abs() < 1e-9);
    let twice = Points::new(1, vec![0.0, 0.0, 100.0, 100.0]);
    assert!((vendi(&twice, 1.0).unwrap() - 2.0).abs() < 1e-9);
}

/// Where the moments are all that counts an item far off adds least; a kernel sees it too, but does not see how far it is.
#[test]
fn an_item_that_pulls_the_set_away_takes_from_its_reward() {
    for metric in [ExemplarMetric::Gaussian, ExemplarMetric::Kernel] {
        let (set, mut rng) = set(metric);
        let mut values = exemplars(10, &mut rng).as_slice().to_vec();
        values[4..8].fill(6.0);
        let adds = set.contributions(&Points::new(DIM, values)).unwrap();
        assert!(adds[1] < 0.0, "{metric:?} {adds:?}");
        let least = adds.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(
            metric == ExemplarMetric::Kernel || least == adds[1],
            "{adds:?}"
        );
    }
}

#[test]
fn few_still_and_single_exemplars_are_defined() {
    for (points, other) in [
        (Points::new(3, vec![1.0; 3]), Points::new(3, vec![2.0; 3])),
        (Points::new(3, vec![1.0; 9]), Points::new(3, vec![0.0; 3])),
        (
            Points::new(3, vec![0.0, 1.0, 5.0, 1.0, 1.0, 5.0]),
            Points::new(3, vec![0.0; 6]),
        ),
    ] {
        for metric in [ExemplarMetric::Gaussian, ExemplarMetric::Kernel] {
            let config = ExemplarConfig {
                metric,
                ..Default::default()
            };
            let set = ExemplarSet::new(&points, &config).unwrap();
            let numbers = [
                set.frechet(&other).unwrap(),
                set.discrepancy(&other).unwrap(),
                set.vendi(&other).unwrap(),
                set.item_rewards(&other).unwrap()[0],
                set.contributions(&other).unwrap()[0],
            ];
            assert!(numbers.iter().all(|n| n.is_finite()), "{numbers:?}");
            assert!(set.frechet(&points).unwrap() < 1e-12);
            let own = set.item_rewards(&points).unwrap()[0];
            assert!(own > set.item_rewards(&other).unwrap()[0]);
        }
    }
    let set = ExemplarSet::new(&Points::new(3, vec![1.0; 3]), &ExemplarConfig::default()).unwrap();
    assert!(set.frechet(&Points::new(2, vec![0.0; 2])).is_err());
    assert!(set.frechet(&Points::new(3, vec![f64::NAN; 3])).is_err());
    assert!(ExemplarSet::new(&Points::new(3, vec![]), &ExemplarConfig::default()).is_err());
}

proptest! {
    #[test]
    fn distances_do_not_fall_below_zero_and_are_symmetric(
        a in prop::collection::vec(-3.0f64..3.0, 12), b in prop::collection::vec(-3.0f64..3.0, 15),
    ) {
        let (a, b) = (Points::new(3, a), Points::new(3, b));
        let config = ExemplarConfig { bandwidth: Some(1.0), ..Default::default() };
        let (from, to) = (ExemplarSet::new(&a, &config).unwrap(), ExemplarSet::new(&b, &config).unwrap());
        let (there, back) = (from.frechet(&b).unwrap(), to.frechet(&a).unwrap());
        prop_assert!(there >= 0.0 && (there - back).abs() < 1e-9 * (1.0 + there));
        let (there, back) = (from.discrepancy(&b).unwrap(), to.discrepancy(&a).unwrap());
        prop_assert!(there >= 0.0 && (there - back).abs() < 1e-9);
        let vendi = from.vendi(&b).unwrap();
        prop_assert!((1.0..=5.0).contains(&vendi));
    }
}

#[test]
fn a_clip_is_paid_per_frame_or_at_its_end() {
    let encoder = EncoderSpec {
        name: "made".into(),
        dim: 2,
        fingerprint: "00".repeat(32),
    };
    let exemplars = [
        Features::new(2, vec![0.0, 0.0, 1.0, 1.0]),
        Features::new(2, vec![0.5, 0.4]),
    ];
    let clip = Clip::from_features(Features::new(2, vec![0.5, 0.5, 3.0, -3.0]), 10.0);
    for unit in [ExemplarUnit::Frame, ExemplarUnit::Clip] {
        let config = ExemplarConfig {
            unit,
            ..Default::default()
        };
        let model = ExemplarMatch::new(&encoder, &exemplars, &config).unwrap();
        assert_eq!(model.causal(), unit == ExemplarUnit::Frame);
        let found = model.score(&clip, &Context::default()).unwrap().per_step;
        match unit {
            ExemplarUnit::Frame => assert!(found[0] > found[1], "{found:?}"),
            ExemplarUnit::Clip => assert!(found[0] == 0.0 && found[1] < 0.0, "{found:?}"),
        }
        let dir = tempfile::tempdir().unwrap();
        let dir = crate::store::RewardDir::new(dir.path());
        dir.save(&model, &encoder, 0).unwrap();
        let loaded = dir.load().unwrap();
        let again = loaded.model.score(&clip, &Context::default()).unwrap();
        for (a, b) in found.iter().zip(again.per_step) {
            assert!((a - b).abs() < 1e-5 * (1.0 + a.abs()), "{a} {b}");
        }
    }
    assert!(ExemplarMatch::new(&encoder, &[], &ExemplarConfig::default()).is_err());
}

#[derive(serde::Deserialize)]
struct Golden {
    dim: usize,
    a: Vec<f64>,
    b: Vec<f64>,
    frechet: f64,
    discrepancy: f64,
    vendi: f64,
}

#[derive(serde::Deserialize)]
struct Goldens {
    exemplars: Vec<Golden>,
}

/// SciPy's matrix square root, NumPy's covariance; the second case has fewer items than features.
#[test]
fn distances_of_sets_are_those_of_scipy() {
    let goldens: Goldens =
        serde_json::from_str(include_str!("../../../tests/data/progress.json")).unwrap();
    assert_eq!(goldens.exemplars.len(), 2);
    for golden in goldens.exemplars {
        let (a, b) = (
            Points::new(golden.dim, golden.a),
            Points::new(golden.dim, golden.b),
        );
        let config = ExemplarConfig {
            bandwidth: Some(1.0),
            ..Default::default()
        };
        let set = ExemplarSet::new(&a, &config).unwrap();
        // The square root of a singular product is good to half the digits.
        let frechet = set.frechet(&b).unwrap();
        assert!(
            (frechet - golden.frechet).abs() < 1e-5,
            "{frechet} {}",
            golden.frechet
        );
        assert!((set.discrepancy(&b).unwrap() - golden.discrepancy).abs() < 1e-12);
        assert!((set.vendi(&b).unwrap() - golden.vendi).abs() < 1e-9);
    }
}
