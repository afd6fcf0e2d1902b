//! Steps per second of the benchmarks: `cargo run -p rapport-sim --example gym_speed [-- SECONDS]`.
//!
//! For each MuJoCo benchmark, one thread: our environment (step and observation) and a bare loop that only calls `mj_step`,
//! with the same actions, the same starts and the same lengths of episodes, in turn, in seconds of the processor; their ratio
//! is the median of the turns. Then, in seconds of the clock, 16 environments in a [`VecEnv`], on one thread and on two, in turn. The classic problems have no bare loop.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use mujoco_rs::prelude::{MjData, MjModel};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_sim::gym::{HalfCheetah, Humanoid, MujocoEnv, NAMES, Reacher, Rules, VlmRmHumanoid};
use rapport_sim::{Actions, EnvConfig, Environment, VecEnv, environment};
use rustix::time::{ClockId, clock_gettime};

/// Turns of each side.
const TURNS: usize = 15;
const ENVIRONMENTS: usize = 16;

/// An episode: where it starts and how long it is.
struct Episode {
    seed: u64,
    positions: Vec<f64>,
    velocities: Vec<f64>,
    steps: usize,
}

fn random_actions(actions: &Actions, count: usize) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut all = Vec::new();
    for _ in 0..count {
        match actions {
            Actions::Choice(choices) => all.push(rng.random_range(0..*choices) as f64),
            Actions::Continuous(ranges) => all.extend(
                ranges
                    .iter()
                    .map(|&(low, high)| f64::from(rng.random_range(low..high) as f32)),
            ),
        }
    }
    all
}

/// Episodes of at least `steps` steps together, each until it ends.
fn episodes<R: Rules>(
    env: &mut MujocoEnv<R>,
    actions: &[f64],
    steps: usize,
) -> Result<Vec<Episode>, Box<dyn Error>> {
    let width = env.description().action_len();
    let (mut found, mut done) = (Vec::new(), 0);
    while done < steps {
        let seed = found.len() as u64;
        env.reset(seed)?;
        let data = env.simulation().data();
        let (positions, velocities) = (data.qpos().to_vec(), data.qvel().to_vec());
        let mut length = 0;
        loop {
            let outcome = env.step(action(actions, width, done + length))?;
            length += 1;
            if outcome.terminated || outcome.truncated {
                break;
            }
        }
        done += length;
        found.push(Episode {
            seed,
            positions,
            velocities,
            steps: length,
        });
    }
    Ok(found)
}

fn action(actions: &[f64], width: usize, step: usize) -> &[f64] {
    let at = step % (actions.len() / width);
    &actions[at * width..][..width]
}

fn ours<R: Rules>(
    env: &mut MujocoEnv<R>,
    episodes: &[Episode],
    actions: &[f64],
) -> Result<(f64, f64), Box<dyn Error>> {
    let width = env.description().action_len();
    let mut observation = vec![0.0; env.description().observation_len()];
    let (mut done, started) = (0, processor_s());
    for episode in episodes {
        env.reset(episode.seed)?;
        env.observe(&mut observation);
        for _ in 0..episode.steps {
            env.step(action(actions, width, done))?;
            env.observe(&mut observation);
            done += 1;
        }
    }
    let rate = done as f64 / (processor_s() - started);
    Ok((rate, env.simulation().data().qpos()[0]))
}

fn bare(
    data: &mut MjData<Arc<MjModel>>,
    skip: usize,
    episodes: &[Episode],
    actions: &[f64],
) -> (f64, f64) {
    let width = data.ctrl().len();
    let (mut done, started) = (0, processor_s());
    for episode in episodes {
        data.reset();
        data.qpos_mut().copy_from_slice(&episode.positions);
        data.qvel_mut().copy_from_slice(&episode.velocities);
        data.forward();
        for _ in 0..episode.steps {
            data.ctrl_mut()
                .copy_from_slice(action(actions, width, done));
            for _ in 0..skip {
                data.step();
            }
            done += 1;
        }
    }
    let rate = done as f64 / (processor_s() - started);
    (rate, data.qpos()[0])
}

/// Time that the processor spent on this thread, s: what others do on the machine does not count.
fn processor_s() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn beside_a_bare_loop<R: Rules>(seconds: f64) -> Result<(), Box<dyn Error>> {
    let config = EnvConfig::default();
    let mut env = MujocoEnv::<R>::new(&config)?;
    let actions = random_actions(&env.description().action, 1009);
    let warm = episodes(&mut env, &actions, 2000)?;
    let (rate, _) = ours(&mut env, &warm, &actions)?;
    let steps = (rate * seconds / (2 * TURNS) as f64) as usize;
    let episodes = episodes(&mut env, &actions, steps)?;
    let mut data = MjData::new(env.simulation().model().clone());
    let (mut rates, mut bare_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let (rate, end) = ours(&mut env, &episodes, &actions)?;
        let (bare_rate, bare_end) = bare(&mut data, R::SPEC.frame_skip, &episodes, &actions);
        if end.to_bits() != bare_end.to_bits() {
            return Err(format!("{}: the two loops did not do the same", R::SPEC.name).into());
        }
        rates.push(rate);
        bare_rates.push(bare_rate);
        ratios.push(rate / bare_rate);
    }
    println!(
        "{:<26} {:>11.0} {:>11.0} {:>7.3}",
        R::SPEC.name,
        median(&mut rates),
        median(&mut bare_rates),
        median(&mut ratios)
    );
    Ok(())
}

fn on_threads(name: &str, seconds: f64) -> Result<(), Box<dyn Error>> {
    let maker = environment::Maker::new(name, &EnvConfig::default())?;
    let mut sides = Vec::new();
    for threads in [1, 2] {
        let mut envs = VecEnv::from_maker(&maker, ENVIRONMENTS, threads)?;
        let batch = envs.reset(0)?;
        sides.push((envs, batch));
    }
    let actions = random_actions(&sides[0].0.description().action, 97 * ENVIRONMENTS);
    let width = ENVIRONMENTS * sides[0].0.action_len();
    let mut rates = [Vec::new(), Vec::new()];
    let mut ratios = Vec::new();
    for _ in 0..TURNS {
        for ((envs, batch), rates) in sides.iter_mut().zip(&mut rates) {
            let (mut steps, started) = (0, Instant::now());
            while started.elapsed().as_secs_f64() < seconds / (2 * TURNS) as f64 {
                for _ in 0..20 {
                    envs.step(action(&actions, width, steps), batch)?;
                    steps += 1;
                }
            }
            rates.push((steps * ENVIRONMENTS) as f64 / started.elapsed().as_secs_f64());
        }
        let last = |rates: &Vec<f64>| rates.last().copied().unwrap_or(f64::NAN);
        ratios.push(last(&rates[1]) / last(&rates[0]));
    }
    let [one, two] = &mut rates;
    println!(
        "{name:<26} {:>11.0} {:>11.0} {:>7.3}",
        median(one),
        median(two),
        median(&mut ratios)
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 6.0,
    };
    println!("environment steps/s               ours     mj_step   ratio");
    beside_a_bare_loop::<Reacher>(seconds)?;
    beside_a_bare_loop::<HalfCheetah>(seconds)?;
    beside_a_bare_loop::<Humanoid>(seconds)?;
    beside_a_bare_loop::<VlmRmHumanoid>(seconds)?;
    println!("\n{ENVIRONMENTS} environments, steps/s     1 thread   2 threads   ratio");
    for name in NAMES {
        on_threads(name, seconds)?;
    }
    Ok(())
}
