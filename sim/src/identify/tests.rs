use std::f64::consts::TAU;
use std::ops::ControlFlow;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_robot::so101;

use super::*;
use crate::arm_config::{ArmConfig, JointConfig, ServoConfig};
use crate::scene::{Scene, SceneConfig};
use crate::script::normal;
use crate::world::World;

const FPS: f64 = 50.0;

/// An arm that is not the public model.
fn truth() -> ArmConfig {
    let joints = so101::spec().joints.into_iter().enumerate();
    ArmConfig {
        servo: ServoConfig { delay_s: 0.035 },
        joints: joints
            .map(|(j, joint)| {
                let each = 1.0 + 0.1 * (j as f64 - 2.5);
                let config = JointConfig {
                    gain: 13.0 * each,
                    damping: 0.8 / each,
                    frictionloss: 0.09 * each,
                    armature: 0.034 / each,
                };
                (joint.name, config)
            })
            .collect(),
    }
}

/// The middle of a workspace that the table is not in the way of.
const MIDDLE: [f64; 6] = [0.0, -0.6, 0.4, 0.5, 0.0, 0.5];

/// Moves an arm about for so long: each joint on two sinusoids and with sudden turns, measured as an encoder of 4,096 steps
/// with noise of 0.1 degrees would.
fn record(arm: &ArmConfig, seconds: f64, seed: u64) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let scene = Scene::new(SceneConfig {
        arm: arm.clone(),
        ..SceneConfig::default()
    });
    let world = World::new(scene.unwrap()).unwrap();
    world.place_arm(&MIDDLE).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let waves: Vec<[f64; 6]> = (0..6)
        .map(|_| std::array::from_fn(|_| rng.random_range(0.0..1.0)))
        .collect();
    let (mut measured, mut sent) = (Vec::new(), Vec::new());
    for row in 0..(seconds * FPS) as usize {
        let t = row as f64 / FPS;
        let state = world.arm_state().unwrap();
        let encoder = |q: f64, scale: f64| {
            let noisy = q * scale + normal(&mut rng) * 0.1_f64.to_radians();
            (noisy / TAU * 4096.0).round() * TAU / 4096.0 / scale
        };
        let jaw = so101::GRIPPER_OPEN - so101::GRIPPER_CLOSED;
        let mut encoder = encoder;
        let row = state.positions.iter().enumerate();
        measured.push(
            row.map(|(j, q)| encoder(*q, if j == 5 { jaw } else { 1.0 }))
                .collect(),
        );
        let goal: Vec<f64> = MIDDLE
            .iter()
            .zip(&waves)
            .enumerate()
            .map(|(j, (middle, w))| {
                let scale = if j == 5 { 0.5 } else { 1.0 };
                let slow = (TAU * ((0.2 + 0.3 * w[0]) * t + w[1])).sin();
                let quick = (TAU * ((0.9 + 0.9 * w[2]) * t + w[3])).sin();
                let steps = (TAU * ((0.3 + 0.2 * w[4]) * t + w[5])).sin().signum();
                middle + scale * (0.25 * slow + 0.12 * quick + 0.1 * steps)
            })
            .collect();
        world.set_goals(&goal);
        world.advance(4).unwrap();
        sent.push(goal);
    }
    (measured, sent)
}

fn motions(arm: &ArmConfig, count: u64, seconds: f64) -> Vec<Motion> {
    (0..count)
        .map(|seed| {
            let (measured, sent) = record(arm, seconds, seed);
            Motion::new(&format!("motion {seed}"), FPS, &measured, &sent, 1).unwrap()
        })
        .collect()
}

fn go(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn quick() -> FitConfig {
    FitConfig {
        starts: 1,
        iterations: 6,
        ..FitConfig::default()
    }
}

#[test]
fn the_true_arm_replays_its_own_motions_and_the_models_agree() {
    let arm = truth();
    let motions = motions(&arm, 1, 3.3);
    let replay = replay::Replay::new(&motions).unwrap();
    let segments = motion::segments(&motions, 1.0).unwrap();
    assert_eq!(segments.len(), 3);
    let residuals = replay.residuals(&[arm.clone(), ArmConfig::default()], &segments);
    let rms = |of: &[Vec<f64>]| report::root_mean_squares(of).1;
    assert!(rms(&residuals[0]) < 0.003, "{}", rms(&residuals[0]));
    assert!(rms(&residuals[1]) > 0.015, "{}", rms(&residuals[1]));
    // Setting numbers in a compiled model is the same as compiling with them.
    let compiled = Scene::new(SceneConfig {
        arm: arm.clone(),
        ..SceneConfig::default()
    })
    .unwrap();
    let (set, compiled) = (replay.model(&arm), compiled.model().clone());
    assert_eq!(set.dof_damping(), compiled.dof_damping());
    assert_eq!(set.dof_frictionloss(), compiled.dof_frictionloss());
    assert_eq!(set.dof_armature(), compiled.dof_armature());
    assert_eq!(set.dof_invweight0(), compiled.dof_invweight0());
    assert_eq!(set.actuator_gainprm(), compiled.actuator_gainprm());
    assert_eq!(set.actuator_biasprm(), compiled.actuator_biasprm());
}

#[test]
fn a_fit_finds_the_arm_that_moved_and_says_what_it_cannot_find() {
    let arm = truth();
    let motions = motions(&arm, 4, 5.0);
    let fit = fit(&motions, &quick(), go).unwrap();
    assert_eq!((fit.motions, fit.held_out), (3, 1));
    let after = fit.held_out_after_rad.unwrap();
    assert!(after < 0.003, "{after}");
    assert!(after < 0.2 * fit.held_out_before_rad.unwrap());
    assert!((fit.arm.servo.delay_s - 0.035).abs() < 0.005);
    let true_values = parameters::Layout::PerJoint.vector(&arm);
    let mut identifiable = 0;
    for (i, estimate) in fit.estimates.iter().enumerate().skip(1) {
        let truth = true_values[i].exp();
        if estimate.identifiable {
            identifiable += 1;
            assert!(
                (estimate.value / truth - 1.0).abs() < 0.15,
                "{estimate:?} is {truth}"
            );
        }
    }
    assert!(identifiable >= 10, "{identifiable}");
}

#[test]
fn a_fit_that_is_stopped_gives_the_best_so_far() {
    let motions = motions(&truth(), 2, 3.0);
    let mut calls = 0;
    let fit = fit(&motions, &quick(), |progress| {
        assert!(progress.done <= progress.total);
        calls += 1;
        if calls > 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .unwrap();
    assert!(fit.interrupted);
    assert!(fit.after_rad < fit.before_rad);
    assert!(fit.warnings.iter().any(|w| w.contains("stopped")));
}

#[test]
fn motions_that_cannot_be_used_are_refused_in_a_sentence() {
    let rows = |n: usize, row: Vec<f64>| vec![row; n];
    let says = |measured: &[Vec<f64>], sent: &[Vec<f64>], word: &str| {
        let error = Motion::new("episode 2", FPS, measured, sent, 1).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("episode 2") && text.contains(word),
            "{text}"
        );
    };
    let fine = rows(60, MIDDLE.to_vec());
    says(&fine[..5], &fine[..5], "too short");
    says(&fine, &fine[..30], "needs both");
    says(&rows(60, vec![0.0; 7]), &fine, "7 numbers");
    says(&fine, &rows(60, vec![f64::NAN; 6]), "not finite");
    says(
        &rows(60, vec![0.5, -40.0, 0.0, 0.0, 0.0, 0.5]),
        &fine,
        "another arm",
    );

    let still = Motion::new("episode 0", FPS, &fine, &fine, 1).unwrap();
    let error = fit(std::slice::from_ref(&still), &quick(), go).unwrap_err();
    assert!(error.to_string().contains("too short"), "{error}");
    let error = fit(&vec![still; 4], &quick(), go).unwrap_err();
    assert!(error.to_string().contains("no joint moves"), "{error}");
    let config = FitConfig {
        starts: 0,
        ..FitConfig::default()
    };
    assert!(matches!(
        fit(&[], &config, go),
        Err(IdentifyError::Config(_))
    ));
}

#[test]
fn a_goal_is_averaged_over_the_time_in_which_it_changes() {
    let rows: Vec<Vec<f64>> = (0..60).map(|i| vec![0.01 * f64::from(i); 6]).collect();
    let held = Motion::new("m", FPS, &rows, &rows, 1).unwrap();
    assert_eq!(held.mean_goal(-0.3, 0.005)[0], 0.0);
    assert_eq!(held.mean_goal(0.04, 0.005)[0], held.goals[2][0]);
    let mean = held.mean_goal(0.0375, 0.005)[0];
    assert!((mean - 0.015).abs() < 1e-9, "{mean}");
    assert_eq!(held.mean_goal(9.0, 0.005)[0], held.goals[59][0]);
    // On a line the row's own goal is reached with its last tick.
    let line = Motion::new("m", 10.0, &rows, &rows, 5).unwrap();
    assert_eq!(line.goals.len(), 300);
    assert!((line.goals[10][0] - 0.012).abs() < 1e-12);
    assert!((line.mean_goal(0.28, 0.005)[0] - 0.02).abs() < 1e-9);
}
