//! Our benchmarks beside Gymnasium's, number by number.

use std::process::Command;

use rapport_sim::gym::{
    CartPole, Classic, Dynamics, HalfCheetah, Humanoid, MountainCar, MountainCarContinuous,
    MujocoEnv, Pendulum, Reacher, Rules,
};
use rapport_sim::{Actions, EnvConfig, Environment};

use crate::{installed, succeeds};

/// How far a number may be off, of itself where it is above 1.
const TOLERANCE: f64 = 1e-9;

/// The script's lines, a word and its numbers each, in their order.
struct Lines<'a>(std::iter::Peekable<std::str::Lines<'a>>);

impl Lines<'_> {
    /// The numbers of the next line, which starts with `word`.
    fn numbers(&mut self, word: &str) -> Vec<f64> {
        let line = self.0.next().unwrap_or_else(|| panic!("no {word}"));
        let (found, rest) = line.split_once(' ').unwrap_or((line, ""));
        assert_eq!(found, word, "{line}");
        rest.split_whitespace()
            .map(|number| number.parse().unwrap())
            .collect()
    }

    fn more(&mut self, word: &str) -> bool {
        self.0.peek().is_some_and(|line| line.starts_with(word))
    }
}

/// What starts an environment from positions and velocities.
type Start<'a> = &'a dyn Fn(&[f64], &[f64]) -> Box<dyn Environment>;

fn classic<D: Dynamics>(state: &[f64], _: &[f64]) -> Box<dyn Environment> {
    let mut env = Classic::<D>::new(&EnvConfig::default());
    env.set_state(state).unwrap();
    Box::new(env)
}

fn mujoco<R: Rules>(positions: &[f64], velocities: &[f64]) -> Box<dyn Environment> {
    let mut env = MujocoEnv::<R>::new(&EnvConfig::default()).unwrap();
    env.set_state(positions, velocities).unwrap();
    Box::new(env)
}

fn observation(env: &dyn Environment) -> Vec<f64> {
    let mut out = vec![f64::NAN; env.description().observation_len()];
    env.observe(&mut out);
    out
}

/// The greatest difference to the peer's numbers, which is within `tolerance`.
fn compare(what: &str, ours: &[f64], theirs: &[f64], tolerance: f64) -> f64 {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let mut worst: f64 = 0.0;
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let off = (a - b).abs() / b.abs().max(1.0);
        assert!(
            off <= tolerance,
            "{what}, number {i}: {a}, Gymnasium has {b}"
        );
        worst = worst.max(off);
    }
    worst
}

/// Plays one episode of the script; gives the number of its steps and the greatest difference.
fn replay(name: &str, lines: &mut Lines<'_>) -> (usize, f64) {
    // Single precision leaves no room for differences.
    let (start, tolerance): (Start<'_>, f64) = match name {
        "CartPole-v1" => (&classic::<CartPole>, 0.0),
        "MountainCar-v0" => (&classic::<MountainCar>, 0.0),
        "MountainCarContinuous-v0" => (&classic::<MountainCarContinuous>, 0.0),
        "Pendulum-v1" => (&classic::<Pendulum>, 0.0),
        "Reacher-v5" => (&mujoco::<Reacher>, TOLERANCE),
        "HalfCheetah-v5" => (&mujoco::<HalfCheetah>, TOLERANCE),
        "Humanoid-v5" => (&mujoco::<Humanoid>, TOLERANCE),
        _ => panic!("{name} is not one of ours"),
    };
    let limits = lines.numbers("limits");
    let (low, high) = (lines.numbers("low"), lines.numbers("high"));
    let (positions, velocities) = (lines.numbers("positions"), lines.numbers("velocities"));
    let mut env = start(&positions, &velocities);
    let description = env.description().clone();
    assert_eq!(limits, [description.max_steps as f64], "{name}");
    let single = |value: f64| f64::from(value as f32);
    let (least, greatest): (Vec<f64>, Vec<f64>) = match description.action {
        Actions::Continuous(ranges) => ranges.iter().map(|&(l, h)| (single(l), single(h))).unzip(),
        Actions::Choice(count) => (vec![0.0], vec![count as f64 - 1.0]),
    };
    assert_eq!((low, high), (least, greatest), "{name}");
    let first = lines.numbers("first");
    let mut worst = compare(name, &observation(&*env), &first, tolerance);
    let mut steps = 0;
    while lines.more("action") {
        let outcome = env.step(&lines.numbers("action")).unwrap();
        steps += 1;
        let what = format!("{name}, step {steps}");
        let theirs = lines.numbers("observation");
        worst = worst.max(compare(&what, &observation(&*env), &theirs, tolerance));
        let theirs = lines.numbers("outcome");
        let reward = compare(&what, &[outcome.reward], &theirs[..1], TOLERANCE);
        worst = worst.max(reward);
        assert_eq!(f64::from(u8::from(outcome.terminated)), theirs[1], "{what}");
    }
    (steps, worst)
}

#[test]
fn the_benchmarks_are_gymnasiums_step_for_step() {
    let Some(python) = installed("peers/bin/python") else {
        return;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/gym_steps.py");
    // MuJoCo writes a log file where it runs.
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(&python)
        .arg(script)
        .current_dir(folder.path())
        .output()
        .unwrap();
    succeeds("gym_steps.py", &output);
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = Lines(text.lines().peekable());
    let mut played = 0;
    while let Some(line) = lines.0.next() {
        let name = line.strip_prefix("env ").unwrap();
        let (steps, worst) = replay(name, &mut lines);
        assert_eq!(steps, 100, "{name}");
        println!("{name}: 100 steps, greatest difference {worst:.1e}");
        played += 1;
    }
    assert_eq!(played, 14);
}
