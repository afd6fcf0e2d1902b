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

/// Numbers of POT, ROT's expression and torch, made by `tests/peers/goldens/transport.py`.
fn goldens() -> serde_json::Value {
    serde_json::from_str(include_str!("../../tests/data/transport.json")).unwrap()
}

fn number(value: &serde_json::Value) -> f64 {
    value.as_f64().unwrap()
}

fn rows(value: &serde_json::Value) -> Points {
    let rows = value.as_array().unwrap();
    let flat = |row: &serde_json::Value| row.as_array().unwrap().iter().map(number).collect();
    let rows: Vec<Vec<f64>> = rows.iter().map(flat).collect();
    Points::new(rows[0].len(), rows.concat())
}

#[test]
fn plans_are_those_of_python_optimal_transport_and_rewards_those_of_rots_expression() {
    let goldens = goldens();
    let problems = goldens["problems"].as_array().unwrap();
    let mut seen = Vec::new();
    for problem in problems {
        let epsilon = number(&problem["epsilon"]);
        let config = TransportConfig {
            tolerance: 1e-13,
            max_iterations: 1_000_000,
            ..TransportConfig::tight(epsilon)
        };
        let plan = config
            .solve(&rows(&problem["from"]), &rows(&problem["to"]))
            .unwrap();
        assert_close(&plan.mass, rows(&problem["plan"]).as_slice(), 1e-9);
        let rewards: Vec<f64> = problem["rewards"]
            .as_array()
            .unwrap()
            .iter()
            .map(number)
            .collect();
        assert_close(&plan.rewards(), &rewards, 1e-9);
        seen.push(epsilon);
    }
    for epsilon in [1.0, 0.1, 0.05, 0.01] {
        assert_eq!(seen.iter().filter(|&&e| e == epsilon).count(), 4);
    }
}

#[test]
fn the_triplet_loss_and_its_gradient_are_those_of_torch_through_unrolled_iterations() {
    let goldens = goldens();
    for golden in goldens["triplets"].as_array().unwrap() {
        let config = TransportConfig::tight(number(&golden["epsilon"]));
        let [best, middle, worst] = [0, 1, 2].map(|i| rows(&golden["clips"][i]));
        let near = config.solve(&best, &middle).unwrap();
        let far = config.solve(&best, &worst).unwrap();
        assert_close(
            &[near.distance(), far.distance()],
            &[number(&golden["near"]), number(&golden["far"])],
            1e-9,
        );
        let pair = crate::objective::PairObjective::default()
            .evaluate(far.distance() - near.distance(), 1.0);
        assert_close(&[pair.loss], &[number(&golden["loss"])], 1e-9);
        let by = |plan: &Plan, to: &Points, slope: f64| {
            let by_cost: Vec<f64> = plan.distance_gradient().iter().map(|g| slope * g).collect();
            Cost::Cosine.backward(&best, to, &by_cost)
        };
        let (best_near, by_middle) = by(&near, &middle, -pair.slope);
        let (best_far, by_worst) = by(&far, &worst, pair.slope);
        let by_best = best_near.as_slice().iter().zip(best_far.as_slice());
        let by_best: Vec<f64> = by_best.map(|(a, b)| a + b).collect();
        for (i, found) in [&by_best[..], by_middle.as_slice(), by_worst.as_slice()]
            .into_iter()
            .enumerate()
        {
            let expected = rows(&golden["gradients"][i]);
            for (f, e) in found.iter().zip(expected.as_slice()) {
                assert!((f - e).abs() < 1e-4 * e.abs() + 1e-9, "{f} {e}");
            }
        }
    }
}

#[test]
fn a_batch_gives_each_pair_its_own_plan_in_order() {
    let clip = |n: usize, k: usize| {
        let value = |i: usize| ((i * 37 + k * 11) % 23) as f64 - 9.5;
        Points::new(3, (0..3 * n).map(value).collect())
    };
    let clips: Vec<Points> = (0..12).map(|k| clip(1 + k % 5, k)).collect();
    let pairs: Vec<(&Points, &Points)> = clips.iter().zip(clips.iter().rev()).collect();
    for epsilon in [1.0, 0.01] {
        let config = TransportConfig {
            max_iterations: 2_000,
            ..TransportConfig::tight(epsilon)
        };
        let batch = config.solve_batch(&pairs).unwrap();
        assert_eq!(batch.len(), pairs.len());
        for (plan, (x, y)) in batch.iter().zip(&pairs) {
            assert_eq!(plan.mass, config.solve(x, y).unwrap().mass);
        }
        let costs = batch.iter().map(|plan| plan.cost.clone()).collect();
        let again = config.solve_costs(costs).unwrap();
        assert!(batch.iter().zip(&again).all(|(a, b)| a.mass == b.mass));
    }
    let broken = points(&[&[f64::INFINITY, 0.0, 0.0]]);
    assert!(
        TransportConfig::rapl()
            .solve_batch(&[(&clips[0], &clips[1]), (&broken, &clips[1])])
            .is_err()
    );
    assert!(TransportConfig::rapl().solve_batch(&[]).unwrap().is_empty());
}

#[test]
fn costs_of_a_long_clip_are_those_of_its_frames() {
    // More rows than one matrix product takes, and a frame of zeros.
    let values = |n: usize, k: usize| (0..n).map(move |i| ((i * k) % 31) as f64 - 15.0);
    let mut x = Points::new(7, values(7 * 150, 17).collect());
    x.as_mut_slice()[7 * 80..7 * 81].fill(0.0);
    let y = Points::new(7, values(7 * 9, 13).collect());
    let cost = CostMatrix::between(&x, &y, Cost::Cosine).unwrap();
    for t in 0..x.len() {
        for s in 0..y.len() {
            let norm = |r: &[f64]| dot(r, r).sqrt().max(NORM_FLOOR);
            let cosine = dot(x.row(t), y.row(s)) / (norm(x.row(t)) * norm(y.row(s)));
            assert!((cost.row(t)[s] - (1.0 - cosine)).abs() < 1e-12);
        }
    }
    assert!(cost.row(80).iter().all(|&c| c == 1.0));
}

#[test]
fn the_weight_of_time_is_added_to_the_cost() {
    let x = Points::new(2, [1.0, 0.0].repeat(4));
    let y = x.clone();
    let config = TransportConfig {
        time_weight: 2.0,
        ..TransportConfig::tight(0.1)
    };
    let plan = config.solve(&x, &y).unwrap();
    for t in 0..4 {
        for s in 0..4 {
            let apart = (t as f64 - s as f64) / 4.0;
            assert!((plan.cost().row(t)[s] - 2.0 * apart * apart).abs() < 1e-15);
        }
    }
    assert!((plan.rewards().iter().sum::<f64>() + plan.distance()).abs() < 1e-15);
    let wrong = TransportConfig {
        time_weight: -1.0,
        ..config
    };
    assert!(
        wrong
            .solve(&x, &y)
            .unwrap_err()
            .to_string()
            .contains("time_weight")
    );
}

#[test]
fn a_reversed_expert_costs_the_same_until_time_has_a_weight() {
    let frames: Vec<f64> = (0..8)
        .flat_map(|i| [(i as f64 * 0.2).cos(), (i as f64 * 0.2).sin()])
        .collect();
    let clip = Points::new(2, frames.clone());
    let reversed = Points::new(2, frames.chunks(2).rev().flatten().copied().collect());
    for epsilon in [1.0, 0.05] {
        let gap = |time_weight: f64| {
            let config = TransportConfig {
                time_weight,
                ..TransportConfig::tight(epsilon)
            };
            config.solve(&clip, &reversed).unwrap().distance()
                - config.solve(&clip, &clip).unwrap().distance()
        };
        assert!(gap(0.0).abs() < 1e-10, "{}", gap(0.0));
        assert!(gap(1.0) > 0.01, "{}", gap(1.0));
        assert!(gap(4.0) > gap(1.0));
    }
}

#[test]
fn the_profiles_are_those_of_the_papers_code() {
    let (rapl, rot) = (TransportConfig::rapl(), TransportConfig::rot());
    assert_eq!(
        (rapl.epsilon, rapl.tolerance, rapl.max_iterations, rapl.cost),
        (1.0, 1e-6, 1000, Cost::Cosine)
    );
    assert_eq!(
        (rot.epsilon, rot.max_iterations, rot.cost),
        (0.01, 500, Cost::Cosine)
    );
    assert_eq!((rapl.time_weight, rapl.band), (0.0, None));
    assert_eq!(TransportConfig::default(), rapl);
}

#[test]
fn values_beyond_what_potentials_can_hold_are_an_error_not_a_number() {
    let cost = CostMatrix::new(1, 2, vec![1e300, 1e299]).unwrap();
    let config = TransportConfig {
        epsilon: 1e-12,
        ..TransportConfig::rapl()
    };
    let message = config.solve_cost(cost).unwrap_err().to_string();
    assert!(message.contains("larger epsilon"), "{message}");
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
