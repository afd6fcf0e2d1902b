use super::*;

fn pi2(config: Pi2Config, steps: usize, count: usize, dims: usize) -> Pi2 {
    let basis = Basis::gaussian(steps, count).unwrap();
    Pi2::new(config, basis, vec![0.0; dims * count], 1).unwrap()
}

#[test]
fn weights_sum_to_one_and_know_neither_offset_nor_scale() {
    let pi2 = pi2(Pi2Config::default(), 5, 2, 1);
    let costs = [3.0, -1.0, 0.5];
    let weights = pi2.weights(&costs);
    assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    let other = pi2.weights(&costs.map(|c| 40.0 * c - 9.0));
    assert!(
        weights
            .iter()
            .zip(&other)
            .all(|(a, b)| (a - b).abs() < 1e-12)
    );
    assert!((weights[1] / weights[0] - 10f64.exp()).abs() < 1e-6);
    assert!(
        pi2.weights(&[2.0; 4])
            .iter()
            .all(|w| (w - 0.25).abs() < 1e-12)
    );
}

#[test]
fn one_bump_moves_by_the_weighted_exploration() {
    // With one bump g = 1, M = 1: the update is the mean over steps, weighted by the steps ahead, of sum_k P_k eps_k.
    let mut pi2 = pi2(Pi2Config::default(), 2, 1, 1);
    let tried = [vec![1.0], vec![-2.0]];
    let report = pi2
        .improve(&tried, &[vec![0.0, 1.0], vec![3.0, 0.0]])
        .unwrap();
    let (good, bad) = (1.0 / (1.0 + (-10f64).exp()), 1.0 / (1.0 + 10f64.exp()));
    let first = bad - 2.0 * good; // To go: 1 against 3.
    let second = good - 2.0 * bad; // To go: 1 against 0.
    assert!((pi2.parameters()[0] - (2.0 * first + second) / 3.0).abs() < 1e-12);
    assert_eq!(report.returns, [1.0, 3.0]);
}

#[test]
fn control_cost_counts_what_is_ahead() {
    let config = Pi2Config {
        control_cost: 2.0,
        ..Pi2Config::default()
    };
    let mut pi2 = pi2(config, 3, 1, 1);
    pi2.parameters = vec![0.5];
    // 1/2 * 2 * (0.5 + 1)^2 at every step.
    let costs = pi2.costs_to_go(&[1.0], &[1.0, 1.0, 2.0]);
    let expected = [3.0 * 2.25 - 4.0, 2.0 * 2.25 - 3.0, 2.25 - 2.0];
    assert!(
        costs
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < 1e-12)
    );
}

#[test]
fn bumps_sum_to_one_and_a_constant_is_drawn_as_one() {
    let basis = Basis::gaussian(30, 7).unwrap();
    for row in &basis.rows {
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
    let path = basis.trajectory(&[vec![0.25; 7], vec![-1.0; 7]].concat());
    assert_eq!(path.len(), 60);
    assert!(
        path.chunks(2)
            .all(|p| (p[0] - 0.25).abs() < 1e-12 && (p[1] + 1.0).abs() < 1e-12)
    );
}

#[test]
fn a_point_mass_learns_to_pass_through_a_gate() {
    // Speeds in two dimensions over 20 steps; halfway the point is to be at (0.4, -0.2), at the end at (1, 0.5).
    let config = Pi2Config {
        std: 0.4,
        decay: 0.97,
        ..Pi2Config::default()
    };
    let mut pi2 = pi2(config, 20, 6, 2);
    let basis = pi2.basis().clone();
    let rewards = |parameters: &[f64]| -> Vec<f64> {
        let mut at = [0.0, 0.0];
        let speeds = basis.trajectory(parameters);
        let steps = speeds.chunks(2).enumerate();
        steps
            .map(|(t, v)| {
                at = [at[0] + 0.1 * v[0], at[1] + 0.1 * v[1]];
                let off = |x: f64, y: f64| -((at[0] - x).powi(2) + (at[1] - y).powi(2));
                match t {
                    9 => off(0.4, -0.2),
                    19 => off(1.0, 0.5),
                    _ => 0.0,
                }
            })
            .collect()
    };
    let before: f64 = rewards(pi2.parameters()).iter().sum();
    for _ in 0..60 {
        pi2.step(|tried| Ok(tried.iter().map(|p| rewards(p)).collect()))
            .unwrap();
    }
    let after: f64 = rewards(pi2.parameters()).iter().sum();
    assert!(after > 0.05 * before, "{before} {after}");
}

#[test]
fn rewards_that_do_not_fit_are_refused_and_change_nothing() {
    let mut pi2 = pi2(Pi2Config::default(), 3, 2, 1);
    assert!(
        pi2.step(|tried| Ok(vec![vec![0.0; 2]; tried.len()]))
            .is_err()
    );
    let error = pi2
        .step(|tried| Ok(vec![vec![0.0, f64::NAN, 0.0]; tried.len()]))
        .unwrap_err()
        .to_string();
    assert!(error.contains("rewards[0][1]"), "{error}");
    assert_eq!(pi2.parameters(), [0.0; 2]);
}
