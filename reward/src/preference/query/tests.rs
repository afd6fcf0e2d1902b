use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::*;

/// Gaps of the returns (.2, .5), (1, .1), (-.3, .4) of three members.
const GAPS: [f64; 3] = [0.2 - 0.5, 1.0 - 0.1, -0.3 - 0.4];

#[test]
fn disagreements_are_the_reference_values() {
    assert!((disagreement(&GAPS) - 0.161_238_901_7).abs() < 1e-9);
    assert!((logit_variance(&GAPS) - 0.693_333_333_3).abs() < 1e-9);
    assert!((label_variance(&GAPS) - 2.0 / 9.0).abs() < 1e-12);
}

#[derive(Deserialize)]
struct Golden {
    gaps: Vec<Vec<f64>>,
    disagreement: Vec<f64>,
    entropy: Vec<f64>,
    logit_variance: Vec<f64>,
    probability_variance: Vec<f64>,
    label_variance: Vec<f64>,
    schedules: Vec<GoldenSchedule>,
}

#[derive(Deserialize)]
struct GoldenSchedule {
    schedule: QuerySchedule,
    total: usize,
    initial: f64,
    rounds: usize,
    shares: Vec<usize>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../../tests/data/preferences.json")).unwrap()
}

#[test]
fn queries_are_ranked_as_b_pref_and_imitation_rank_them() {
    let golden = golden();
    for (i, gaps) in golden.gaps.iter().enumerate() {
        // Theirs are in single precision.
        for (ours, theirs) in [
            (disagreement(gaps), golden.disagreement[i]),
            (entropy(gaps), golden.entropy[i]),
            (logit_variance(gaps), golden.logit_variance[i]),
            (probability_variance(gaps), golden.probability_variance[i]),
            (label_variance(gaps), golden.label_variance[i]),
        ] {
            assert!(
                (ours - theirs).abs() < 1e-5 * (1.0 + theirs),
                "{ours} {theirs}"
            );
        }
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let config = QueryConfig::default();
    let candidates = Candidates {
        gaps: &golden.gaps,
        ..Candidates::default()
    };
    let found = config
        .choose(golden.gaps.len(), 5, candidates, &mut rng)
        .unwrap();
    let mut order: Vec<usize> = (0..golden.gaps.len()).collect();
    order.sort_by(|&a, &b| golden.disagreement[b].total_cmp(&golden.disagreement[a]));
    assert_eq!(found, order[..5]);
}

#[test]
fn answers_are_spread_as_imitation_spreads_them() {
    let golden = golden();
    assert!(golden.schedules.len() > 20);
    for case in golden.schedules {
        let shares = case
            .schedule
            .apportion(case.total, case.initial, case.rounds)
            .unwrap();
        assert_eq!(shares, case.shares, "{:?} {}", case.schedule, case.total);
    }
    assert!(QuerySchedule::Constant.apportion(10, 1.5, 3).is_err());
}

#[test]
fn information_gain_asks_what_members_disagree_about() {
    // All find it hard; half are sure of the one, half of the other.
    let (hard, split) = ([0.0; 4], [6.0, 6.0, -6.0, -6.0]);
    assert!((entropy(&hard) - std::f64::consts::LN_2).abs() < 1e-12);
    assert!(information_gain(&hard) < 1e-12);
    assert!(information_gain(&split) > 0.6);
    assert!(entropy(&split) < entropy(&hard));
}

#[test]
fn k_centres_are_far_from_what_was_asked_and_from_each_other() {
    let points: Vec<Vec<f64>> = [0.0, 0.1, 5.0, 5.2, 9.0].iter().map(|&x| vec![x]).collect();
    let views: Vec<&[f64]> = points.iter().map(Vec::as_slice).collect();
    assert_eq!(k_centre(&views, &[vec![0.0]], 3), [4, 2, 3]);
    assert_eq!(k_centre(&views, &[], 2), [0, 4]);
    assert_eq!(k_centre(&views, &[], 9).len(), 5);
    let gaps = vec![
        vec![0.0, 0.0],
        vec![0.1, -0.1],
        vec![3.0, -3.0],
        vec![2.0, -2.0],
        vec![0.0; 2],
    ];
    let config = QueryConfig {
        selection: Selection::DisagreementKCentre,
        ..QueryConfig::default()
    };
    let candidates = Candidates {
        gaps: &gaps,
        points: &points,
        asked: &[],
    };
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    // The two most disputed lie beside each other; only they are left to the k-centre.
    assert_eq!(config.choose(5, 2, candidates, &mut rng).unwrap(), [2, 3]);
}

#[test]
fn what_a_selection_needs_is_said() {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let ask = |selection, gaps: &[Vec<f64>], rng: &mut ChaCha8Rng| {
        let config = QueryConfig {
            selection,
            oversample: 2,
        };
        let candidates = Candidates {
            gaps,
            ..Candidates::default()
        };
        config.choose(2, 1, candidates, rng)
    };
    assert!(ask(Selection::Uniform, &[], &mut rng).is_ok());
    assert!(ask(Selection::Entropy, &[], &mut rng).is_err());
    assert!(ask(Selection::KCentre, &[], &mut rng).is_err());
    let nan = [vec![0.0], vec![f64::NAN]];
    assert!(ask(Selection::Entropy, &nan, &mut rng).is_err());
}

proptest! {
    #[test]
    fn candidates_are_distinct_pairs(clips in 2usize..12, wanted in 1usize..20, seed in 0u64..99) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let pairs = QueryConfig { oversample: 3, ..QueryConfig::default() }.draw(clips, wanted, &mut rng);
        let mut sorted: Vec<_> = pairs.iter().map(|&(a, b)| (a.min(b), a.max(b))).collect();
        sorted.sort_unstable();
        sorted.dedup();
        prop_assert_eq!(sorted.len(), pairs.len());
        prop_assert_eq!(pairs.len(), (3 * wanted).min(clips * (clips - 1) / 2));
        prop_assert!(sorted.iter().all(|&(a, b)| a < b && b < clips));
    }

    #[test]
    fn worths_are_finite_and_do_not_mind_the_order_of_a_pair(gaps in proptest::collection::vec(-80.0f64..80.0, 1..8)) {
        let mirrored: Vec<f64> = gaps.iter().map(|g| -g).collect();
        for selection in [Selection::Disagreement, Selection::LogitVariance, Selection::ProbabilityVariance, Selection::Entropy, Selection::InformationGain] {
            let (a, b) = (selection.worth(&gaps).unwrap(), selection.worth(&mirrored).unwrap());
            prop_assert!(a.is_finite() && a >= 0.0 && (a - b).abs() < 1e-9 * (1.0 + a));
        }
    }

    #[test]
    fn shares_add_up(total in 0usize..5000, initial in 0.0f64..1.0, rounds in 1usize..40) {
        for schedule in [QuerySchedule::Constant, QuerySchedule::Hyperbolic, QuerySchedule::InverseQuadratic] {
            let shares = schedule.apportion(total, initial, rounds).unwrap();
            prop_assert_eq!(shares.len(), rounds + 1);
            prop_assert_eq!(shares.iter().sum::<usize>(), total);
        }
    }
}
