//! Records motions of an arm with known numbers, fits the simulation to them, and says how far off each number is:
//! `cargo run -p rapport-sim --example fit_twin -- [MOTIONS] [SECONDS] [SEED]`, by default 12 motions of 8 s.
//!
//! A third of the motions are the scripted tasks behind the guard, the rest sinusoids and sudden turns of every joint. What is
//! measured has the noise of a real arm: 0.1 degrees, and an encoder of 4,096 steps a turn.

use std::error::Error;
use std::f64::consts::TAU;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_robot::control::Control;
use rapport_robot::guard::Guard;
use rapport_robot::{Teleoperator as _, so101};
use rapport_sim::env::guard_config;
use rapport_sim::identify::parameters::Layout;
use rapport_sim::identify::{FitConfig, Motion, fit};
use rapport_sim::{
    ArmConfig, JointConfig, Pace, Scene, ScriptConfig, ScriptedTeleop, SimArm, SimClock, World,
    tasks,
};

const FPS: f64 = 50.0;
const MIDDLE: [f64; 6] = [0.0, -0.6, 0.4, 0.5, 0.0, 0.5];

/// An arm whose joints differ from the public model by up to a factor of 1.8, each in another way.
fn truth(rng: &mut ChaCha8Rng) -> ArmConfig {
    let mut arm = ArmConfig::default();
    arm.servo.delay_s = 0.035;
    for joint in so101::spec().joints {
        let usual = JointConfig::default();
        let mut times = |factor: f64| factor * rng.random_range(0.85..1.15);
        let config = JointConfig {
            gain: usual.gain * times(0.75),
            damping: usual.damping * times(1.3),
            frictionloss: usual.frictionloss * times(1.6),
            armature: usual.armature * times(1.2),
        };
        arm.joints.insert(joint.name, config);
    }
    arm
}

fn record(
    arm: &ArmConfig,
    number: usize,
    seconds: f64,
    rng: &mut ChaCha8Rng,
) -> Result<Motion, Box<dyn Error>> {
    let scripted = number % 3 == 2;
    let task = tasks::by_name("so101-reach")?;
    let mut scene = task.scene();
    scene.arm.clone_from(arm);
    let world = World::new(Scene::new(scene)?)?;
    task.reset(&world, &mut ChaCha8Rng::seed_from_u64(number as u64))?;
    if !scripted {
        world.place_arm(&MIDDLE)?;
    }
    world.advance_until(Duration::from_millis(300))?;
    let simulated = Box::new(SimArm::new(world.clone()));
    let guard = Guard::with_chain(simulated, so101::chain(), guard_config())?;
    let clock = Box::new(SimClock::new(world.clone(), Pace::Free));
    let mut control = Control::new(guard, clock, Duration::from_secs_f64(1.0 / FPS))?;
    control.enable()?;
    let config = ScriptConfig::default();
    let mut script = ScriptedTeleop::new(task, world.clone(), config, 10.0, number as u64)?;
    script.reset();
    let waves: Vec<[f64; 6]> = (0..6)
        .map(|_| std::array::from_fn(|_| rng.random_range(0.0..1.0)))
        .collect();
    let (mut measured, mut sent) = (Vec::new(), Vec::new());
    for row in 0..(seconds * FPS) as usize {
        let state = world.arm_state()?;
        measured.push(sensed(&state.positions, rng));
        let goal = if scripted {
            script.next_goal(&state)?.0
        } else {
            wave(row as f64 / FPS, &waves)
        };
        let tick = control.tick(Some(&goal));
        sent.push(tick.sent.unwrap_or(goal));
    }
    Ok(Motion::new(
        &format!("motion {number}"),
        FPS,
        &measured,
        &sent,
        1,
    )?)
}

/// Two sinusoids and sudden turns of every joint.
fn wave(t: f64, waves: &[[f64; 6]]) -> Vec<f64> {
    let joint = |j: usize| {
        let w = &waves[j];
        let slow = (TAU * ((0.2 + 0.3 * w[0]) * t + w[1])).sin();
        let quick = (TAU * ((0.9 + 0.9 * w[2]) * t + w[3])).sin();
        let turns = (TAU * ((0.3 + 0.2 * w[4]) * t + w[5])).sin().signum();
        let scale = if j == 5 { 0.5 } else { 1.0 };
        MIDDLE[j] + scale * (0.25 * slow + 0.12 * quick + 0.1 * turns)
    };
    (0..6).map(joint).collect()
}

/// What the arm's own encoders say.
fn sensed(positions: &[f64], rng: &mut ChaCha8Rng) -> Vec<f64> {
    let jaw = so101::GRIPPER_OPEN - so101::GRIPPER_CLOSED;
    let mut encoder = |j: usize, q: f64| {
        let scale = if j == 5 { jaw } else { 1.0 };
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let noise = 0.1_f64.to_radians() * radius * (TAU * rng.random::<f64>()).cos();
        let steps = (q * scale + noise) * 4096.0 / TAU;
        steps.round() * TAU / 4096.0 / scale
    };
    let joints = positions.iter().enumerate();
    joints.map(|(j, q)| encoder(j, *q)).collect()
}

#[allow(clippy::print_stdout, clippy::print_stderr)]
fn main() -> Result<(), Box<dyn Error>> {
    let argument = |n: usize| std::env::args().nth(n);
    let count: usize = argument(1).map_or(Ok(12), |text| text.parse())?;
    let seconds: f64 = argument(2).map_or(Ok(8.0), |text| text.parse())?;
    let seed: u64 = argument(3).map_or(Ok(0), |text| text.parse())?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let arm = truth(&mut rng);
    let motions = (0..count)
        .map(|number| record(&arm, number, seconds, &mut rng))
        .collect::<Result<Vec<_>, _>>()?;
    let begun = Instant::now();
    let config = FitConfig {
        seed,
        ..FitConfig::default()
    };
    let fit = fit(&motions, &config, |progress| {
        eprint!(
            "\r{}/{} {:.5} rad ",
            progress.done, progress.total, progress.rms_rad
        );
        let _ = std::io::stderr().flush();
        ControlFlow::Continue(())
    })?;
    eprintln!();
    println!(
        "{} motions of {seconds} s, {} held out, {:.0} s to fit",
        fit.motions + fit.held_out,
        fit.held_out,
        begun.elapsed().as_secs_f64()
    );
    println!(
        "apart: {:.4} rad before, {:.4} after; held out: {:.4} before, {:.4} after",
        fit.before_rad,
        fit.after_rad,
        fit.held_out_before_rad.unwrap_or(f64::NAN),
        fit.held_out_after_rad.unwrap_or(f64::NAN)
    );
    println!(
        "{:27} {:>9} {:>9} {:>9} {:>7}  95 % interval",
        "", "public", "true", "fitted", "off %"
    );
    let true_vector = Layout::PerJoint.vector(&arm);
    for (i, estimate) in fit.estimates.iter().enumerate() {
        let truth = Layout::value(i, true_vector[i]);
        println!(
            "{:27} {:9.4} {:9.4} {:9.4} {:7.1}  {:.4} .. {:.4}{}",
            estimate.name,
            estimate.before,
            truth,
            estimate.value,
            100.0 * (estimate.value / truth - 1.0),
            estimate.low,
            estimate.high,
            if estimate.identifiable {
                ""
            } else {
                "  not identifiable"
            }
        );
    }
    for warning in &fit.warnings {
        println!("note: {warning}");
    }
    Ok(())
}
