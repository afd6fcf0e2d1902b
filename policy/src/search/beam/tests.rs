#![allow(
    clippy::print_stdout,
    reason = "the numbers of docs/methods.md, with --no-capture"
)]

use super::*;
use crate::diffusion::Diffusion;
use crate::policy::PolicyError;
use crate::search::best_of_n;
use crate::tuning::tests::{HANDLE, RIM, two_modes};

const STEPS: usize = 10;
const HORIZON: usize = 8;

fn distance(action: &[f32], to: [f32; 2]) -> f64 {
    f64::from((action[0] - to[0]).hypot(action[1] - to[1]))
}

/// How far from the handle the actions of a chunk are, as a cost.
fn at_handle(actions: &[Vec<f32>]) -> f64 {
    -actions.iter().map(|a| distance(a, HANDLE)).sum::<f64>() / actions.len() as f64
}

/// Means of `value` over the chunks that searches by `score` chose.
fn mean<V: Fn(&[Vec<f32>]) -> f64, S: Fn(&[Vec<f32>]) -> f64>(
    policy: &Diffusion,
    searches: usize,
    score: S,
    value: V,
    search: impl Fn(
        &mut Denoising<'_>,
        &mut dyn FnMut(&[f32]) -> Result<Vec<f64>, PolicyError>,
    ) -> Result<Chosen, PolicyError>,
) -> (f64, usize) {
    let condition = policy.condition(&[&[0.1]]).unwrap();
    // The search draws from a copy's generator, the score asks the other.
    let mut drawing = policy.clone();
    let (mut total, mut calls) = (0.0, 0);
    for _ in 0..searches {
        let mut denoising = Denoising::new(&mut drawing, condition.clone(), STEPS, 1.0).unwrap();
        let mut scores = |chunks: &[f32]| {
            let chunks = chunks.chunks_exact(2 * HORIZON);
            Ok(chunks.map(|chunk| score(&policy.actions(chunk))).collect())
        };
        let chosen = search(&mut denoising, &mut scores).unwrap();
        total += value(&policy.actions(&chosen.chunk));
        calls += chosen.network_calls;
    }
    (total / searches as f64, calls / searches)
}

#[test]
fn search_beats_best_of_n_beats_plain_at_as_many_network_calls() {
    let policy = two_modes(HORIZON, 0.15);
    let beam = Beam::default();
    let count = beam.network_calls(STEPS).div_ceil(STEPS);
    let (plain, _) = mean(&policy, 60, at_handle, at_handle, |d, s| best_of_n(d, 1, s));
    let (best, others) = mean(&policy, 60, at_handle, at_handle, |d, s| {
        best_of_n(d, count, s)
    });
    let (found, own) = mean(&policy, 60, at_handle, at_handle, |d, s| beam.search(d, s));
    assert!(own <= others, "{own} calls against {others}");
    assert!(
        found > best && best > plain,
        "beam {found}, best of {count} {best}, plain {plain}"
    );
    println!(
        "calls {own} and {others}: beam {found:.4}, best of {count} {best:.4}, plain {plain:.4}"
    );
}

#[test]
fn search_for_long_finds_what_is_wrong_with_a_score() {
    let policy = two_modes(HORIZON, 0.15);
    // Nobody ever grasped beyond 0.75, and there this score takes further for better.
    let naive = |actions: &[Vec<f32>]| {
        let beyond: f32 = actions.iter().map(|a| (a[0] - 0.7).max(0.0)).sum();
        at_handle(actions) + 12.0 * f64::from(beyond)
    };
    let wide = Beam {
        beams: 16,
        candidates: 8,
        lookahead: 6,
    };
    let by = |beam: Beam| {
        let run = |value: &dyn Fn(&[Vec<f32>]) -> f64| {
            mean(&policy, 20, naive, value, |d, s| beam.search(d, s)).0
        };
        (run(&naive), run(&at_handle))
    };
    let ((score, truth), (score_wide, truth_wide)) = (by(Beam::default()), by(wide.clone()));
    assert!(score_wide > score, "{score} {score_wide}");
    assert!(truth_wide < truth, "{truth} {truth_wide}");
    println!("score {score:.3} -> {score_wide:.3}, truth {truth:.4} -> {truth_wide:.4}");
    // A score that takes nothing beyond what it has seen for good does not lead there.
    let careful = |actions: &[Vec<f32>]| naive(actions).min(at_handle(actions));
    let (kept, _) = mean(&policy, 10, careful, at_handle, |d, s| wide.search(d, s));
    assert!(kept > truth_wide, "{kept} {truth_wide}");
}

#[test]
fn calls_are_counted_and_bad_scores_refused() {
    let mut policy = two_modes(1, 0.05);
    let condition = policy.condition(&[&[0.1]]).unwrap();
    assert_eq!(Beam::default().network_calls(10), 352);
    let mut denoising = Denoising::new(&mut policy, condition, STEPS, 1.0).unwrap();
    let nan = |chunks: &[f32]| Ok(vec![f64::NAN; chunks.len() / 2]);
    assert!(Beam::default().search(&mut denoising, nan).is_err());
    assert!(best_of_n(&mut denoising, 0, nan).is_err());
    assert!(best_of_n(&mut denoising, 3, |_: &[f32]| Ok(vec![0.0])).is_err());
    let none = Beam {
        beams: 0,
        ..Beam::default()
    };
    assert!(none.search(&mut denoising, nan).is_err());
    let away = |chunks: &[f32]| {
        let scores = chunks.chunks_exact(2).map(|chunk| -distance(chunk, RIM));
        Ok(scores.collect())
    };
    assert!(
        best_of_n(&mut denoising, 2, away)
            .unwrap()
            .score
            .is_finite()
    );
}
