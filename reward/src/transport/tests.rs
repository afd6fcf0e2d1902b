use proptest::prelude::*;

use super::*;

fn points(rows: &[&[f64]]) -> Points {
    Points::new(rows[0].len(), rows.concat())
}

fn reference_clips() -> (Points, Points) {
    (
        points(&[
            &[1.0, 0.0, 0.0],
            &[1.0, 1.0, 0.0],
            &[0.0, 1.0, 1.0],
            &[0.0, 0.0, 1.0],
        ]),
        points(&[&[1.0, 0.0, 0.5], &[0.0, 1.0, 0.0], &[0.0, 0.2, 1.0]]),
    )
}

fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() < tolerance, "{found:?} is not {expected:?}");
    }
}

#[test]
fn cosine_costs_are_the_reference_values() {
    let (x, y) = reference_clips();
    let cost = CostMatrix::between(&x, &y, Cost::Cosine).unwrap();
    let expected = [
        0.1055728090,
        1.0,
        1.0,
        0.3675444680,
        0.2928932188,
        0.8613249509,
        0.6837722340,
        0.2928932188,
        0.1679497057,
        0.5527864045,
        1.0,
        0.0194193243,
    ];
    assert_close(cost.as_slice(), &expected, 1e-9);
}

#[test]
fn rewards_are_the_reference_values_at_every_epsilon() {
    let (x, y) = reference_clips();
    let table = [
        (
            1.0,
            [-0.1355586154, -0.1103875769, -0.0821188418, -0.0957205490],
            -0.4237855831,
        ),
        (
            0.1,
            [-0.0264313250, -0.0788147283, -0.0631130700, -0.0083519680],
            -0.1767110913,
        ),
        (
            0.05,
            [-0.0263932040, -0.0794100929, -0.0628302974, -0.0050203964],
            -0.1736539908,
        ),
        (
            0.01,
            [-0.0263932023, -0.0794442421, -0.0628113453, -0.0048548311],
            -0.1735036207,
        ),
    ];
    for (epsilon, rewards, total) in table {
        let plan = TransportConfig::tight(epsilon).solve(&x, &y).unwrap();
        assert_close(&plan.rewards(), &rewards, 1e-9);
        assert_close(&[-plan.distance()], &[total], 1e-9);
    }
}

#[test]
fn the_plan_at_epsilon_one_is_the_reference_plan() {
    let (x, y) = reference_clips();
    let plan = TransportConfig::tight(1.0).solve(&x, &y).unwrap();
    let expected = [
        0.1279493577,
        0.0657999934,
        0.0562506490,
        0.0830114245,
        0.1125099743,
        0.0544786012,
        0.0536407805,
        0.0997434122,
        0.0966158073,
        0.0687317707,
        0.0552799535,
        0.1259882759,
    ];
    assert_close(&plan.mass, &expected, 1e-9);
    // The profile stops at 1e-6 and is that close.
    let rapl = TransportConfig::rapl().solve(&x, &y).unwrap();
    assert_close(&rapl.mass, &expected, 2e-6);
    assert!(rapl.iterations() < plan.iterations());
}

#[test]
fn two_frames_that_differ_follow_the_closed_form() {
    let cost = CostMatrix::new(2, 2, vec![0.0, 1.0, 1.0, 0.0]).unwrap();
    let plan = TransportConfig::tight(1.0).solve_cost(cost).unwrap();
    let expected = 0.5 / (1.0 + (-1.0f64).exp());
    assert_close(&[plan.row(0)[0], plan.row(1)[1]], &[expected; 2], 1e-12);
    assert!((expected - 0.3655292893).abs() < 1e-10);
}

#[test]
fn a_triplet_has_the_reference_probability() {
    let best = points(&[&[1.0, 0.0], &[0.8, 0.6], &[0.0, 1.0]]);
    let middle = points(&[&[1.0, 0.1], &[0.7, 0.7], &[0.1, 1.0]]);
    let worst = points(&[&[0.0, -1.0], &[-1.0, 0.2], &[1.0, 0.0]]);
    let config = TransportConfig::tight(1.0);
    let near = config.solve(&best, &middle).unwrap().distance();
    let far = config.solve(&best, &worst).unwrap().distance();
    assert_close(&[near, far], &[0.2327090448, 0.9584182973], 1e-9);
    let probability = 1.0 / (1.0 + (near - far).exp());
    assert_close(
        &[probability, -probability.ln(), 1.0 - probability],
        &[0.6738629923, 0.3947284643, 0.3261370077],
        1e-9,
    );
}

#[test]
fn one_frame_against_one_frame_is_the_cosine() {
    let x = points(&[&[1.0, 2.0, 2.0]]);
    let y = points(&[&[0.0, 3.0, 4.0]]);
    let plan = TransportConfig::rapl().solve(&x, &y).unwrap();
    assert!((plan.rewards()[0] - (14.0 / 15.0 - 1.0)).abs() < 1e-12);
    assert_close(&plan.distance_gradient(), &[1.0], 1e-12);
}

#[test]
fn a_zero_frame_costs_one_and_stays_finite() {
    let x = points(&[&[0.0, 0.0], &[1.0, 0.0]]);
    let y = points(&[&[1.0, 0.0]]);
    let plan = TransportConfig::rapl().solve(&x, &y).unwrap();
    assert_close(&plan.rewards(), &[-0.5, 0.0], 1e-12);
    let (by_x, _) = Cost::Cosine.backward(&x, &y, &plan.distance_gradient());
    assert!(by_x.as_slice().iter().all(|v| v.is_finite()));
}

#[test]
fn bad_input_is_refused_with_a_sentence() {
    let x = points(&[&[1.0, 0.0]]);
    let config = TransportConfig::rapl();
    let empty = Points::new(2, vec![]);
    assert!(
        config
            .solve(&empty, &x)
            .unwrap_err()
            .to_string()
            .contains("without frames")
    );
    let wide = points(&[&[1.0, 0.0, 0.0]]);
    assert!(
        config
            .solve(&x, &wide)
            .unwrap_err()
            .to_string()
            .contains("2 and 3")
    );
    let broken = points(&[&[1.0, 0.0], &[f64::NAN, 0.0]]);
    assert!(
        config
            .solve(&broken, &x)
            .unwrap_err()
            .to_string()
            .contains("step 1")
    );
    let config = TransportConfig {
        epsilon: 0.0,
        ..config
    };
    assert!(
        config
            .solve(&x, &x)
            .unwrap_err()
            .to_string()
            .contains("epsilon")
    );
}

#[test]
fn a_band_over_everything_changes_nothing() {
    let (x, y) = reference_clips();
    let plain = TransportConfig::tight(0.1);
    let banded = TransportConfig {
        band: Some(Band { half_width: 1.0 }),
        ..plain.clone()
    };
    assert_eq!(
        plain.solve(&x, &y).unwrap().mass,
        banded.solve(&x, &y).unwrap().mass
    );
}

#[test]
fn a_band_tells_a_clip_from_its_reverse() {
    let frames: Vec<f64> = (0..8)
        .flat_map(|i| [(i as f64 * 0.2).cos(), (i as f64 * 0.2).sin()])
        .collect();
    let clip = Points::new(2, frames.clone());
    let reversed = Points::new(2, frames.chunks(2).rev().flatten().copied().collect());
    let plain = TransportConfig {
        epsilon: 0.05,
        max_iterations: 5000,
        ..TransportConfig::rapl()
    };
    let banded = TransportConfig {
        band: Some(Band { half_width: 0.15 }),
        ..plain.clone()
    };
    let gap = |config: &TransportConfig| {
        config.solve(&reversed, &clip).unwrap().distance()
            - config.solve(&clip, &clip).unwrap().distance()
    };
    assert!(gap(&plain).abs() < 1e-4, "{}", gap(&plain));
    assert!(gap(&banded) > 0.1, "{}", gap(&banded));
}

/// Clips of random length and content, of the same width.
fn clips() -> impl Strategy<Value = (Points, Points)> {
    (1usize..8, 1usize..8, 2usize..5).prop_flat_map(|(t, s, dim)| {
        let clip = move |n: usize| {
            prop::collection::vec(-1.0f64..1.0, n * dim).prop_map(move |v| Points::new(dim, v))
        };
        (clip(t), clip(s))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn marginals_are_uniform((x, y) in clips(), epsilon in 0.05f64..2.0) {
        // Sinkhorn's rate gets arbitrarily near 1 where two assignments cost nearly the same and epsilon is small.
        let config = TransportConfig { tolerance: 1e-10, max_iterations: 2_000_000, ..TransportConfig::tight(epsilon) };
        let plan = config.solve(&x, &y).unwrap();
        prop_assert!(plan.marginal_error() <= 1e-10);
        for t in 0..plan.rows() {
            prop_assert!((plan.row(t).iter().sum::<f64>() - 1.0 / plan.rows() as f64).abs() < 1e-12);
        }
        for s in 0..plan.cols() {
            let sum: f64 = (0..plan.rows()).map(|t| plan.row(t)[s]).sum();
            prop_assert!((sum - 1.0 / plan.cols() as f64).abs() < 1e-9);
        }
        prop_assert!(plan.mass.iter().all(|&p| p >= 0.0));
        prop_assert!((plan.rewards().iter().sum::<f64>() + plan.distance()).abs() < 1e-12);
        prop_assert!(plan.regularised() >= plan.distance() - 1e-9);
    }

    #[test]
    fn a_large_epsilon_spreads_the_plan_evenly((x, y) in clips()) {
        let plan = TransportConfig::tight(1e7).solve(&x, &y).unwrap();
        for (t, reward) in plan.rewards().iter().enumerate() {
            let mean = plan.cost.row(t).iter().sum::<f64>() / plan.cols() as f64;
            prop_assert!((reward + mean / plan.rows() as f64).abs() < 1e-6);
        }
    }

    #[test]
    fn a_small_epsilon_approaches_the_best_assignment(values in prop::collection::vec(0.0f64..2.0, 16)) {
        let cost = CostMatrix::new(4, 4, values.clone()).unwrap();
        let epsilon = 0.005;
        let config = TransportConfig { epsilon, tolerance: 1e-6, max_iterations: 5_000, ..TransportConfig::rapl() };
        let plan = config.solve_cost(cost).unwrap();
        let mut best = f64::INFINITY;
        for code in 0..256 {
            let choice = [code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6];
            let distinct = choice.iter().fold(0u8, |seen, &c| seen | 1 << c) == 15;
            if distinct {
                let sum: f64 = choice.iter().enumerate().map(|(t, &s)| values[t * 4 + s]).sum();
                best = best.min(sum / 4.0);
            }
        }
        // <P, C> exceeds the optimum by at most ε times the largest relative entropy, log 4.
        let slack = 4.0 * 2.0 * plan.marginal_error() + 1e-9;
        prop_assert!(plan.distance() >= best - slack);
        prop_assert!(plan.distance() <= best + epsilon * 4f64.ln() + slack);
    }

    #[test]
    fn the_order_of_the_experts_frames_does_not_matter((x, y) in clips(), turn in 0usize..8) {
        let mut order: Vec<usize> = (0..y.len()).collect();
        order.rotate_left(turn % y.len());
        order.reverse();
        let shuffled = Points::new(y.dim(), order.iter().flat_map(|&s| y.row(s).to_vec()).collect());
        let config = TransportConfig { tolerance: 1e-12, ..TransportConfig::tight(0.5) };
        let (a, b) = (config.solve(&x, &y).unwrap(), config.solve(&x, &shuffled).unwrap());
        for (a, b) in a.rewards().iter().zip(b.rewards()) {
            prop_assert!((a - b).abs() < 1e-9);
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences((x, y) in clips(), cost in prop_oneof![Just(Cost::Cosine), Just(Cost::Euclidean)], epsilon in 0.2f64..1.5) {
        for p in [&x, &y] {
            for t in 0..p.len() {
                prop_assume!(p.row(t).iter().map(|v| v * v).sum::<f64>() > 0.05);
            }
        }
        let config = TransportConfig { cost, ..TransportConfig::tight(epsilon) };
        let plan = config.solve(&x, &y).unwrap();
        prop_assume!(cost == Cost::Cosine || plan.cost.as_slice().iter().all(|&c| c > 0.05));
        let exact = cost.backward(&x, &y, &plan.distance_gradient());
        let envelope = cost.backward(&x, &y, plan.regularised_gradient());
        let value = |x: &Points, y: &Points| {
            let plan = config.solve(x, y).unwrap();
            [plan.distance(), plan.regularised()]
        };
        let step = 1e-5;
        let nudged = |p: &Points, i: usize, by: f64| {
            let mut p = p.clone();
            p.as_mut_slice()[i] += by;
            p
        };
        for i in 0..x.as_slice().len() {
            let (up, down) = (value(&nudged(&x, i, step), &y), value(&nudged(&x, i, -step), &y));
            for (k, found) in [exact.0.as_slice()[i], envelope.0.as_slice()[i]].into_iter().enumerate() {
                let expected = (up[k] - down[k]) / (2.0 * step);
                prop_assert!((found - expected).abs() < 1e-4 * expected.abs() + 1e-7, "{} {}", found, expected);
            }
        }
        for i in 0..y.as_slice().len() {
            let (up, down) = (value(&x, &nudged(&y, i, step)), value(&x, &nudged(&y, i, -step)));
            for (k, found) in [exact.1.as_slice()[i], envelope.1.as_slice()[i]].into_iter().enumerate() {
                let expected = (up[k] - down[k]) / (2.0 * step);
                prop_assert!((found - expected).abs() < 1e-4 * expected.abs() + 1e-7, "{} {}", found, expected);
            }
        }
    }
}

#[test]
fn the_envelope_gradient_is_not_the_gradient_of_the_distance() {
    let (x, y) = reference_clips();
    let plan = TransportConfig::tight(1.0).solve(&x, &y).unwrap();
    let apart = plan
        .distance_gradient()
        .iter()
        .zip(plan.regularised_gradient())
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    assert!(apart > 1e-3);
}
