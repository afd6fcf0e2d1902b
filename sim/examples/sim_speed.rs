//! Environment steps a second, one JSON line per environment, picture size and number of threads. `./x bench sim` runs it
//! beside the simulators that others wrote.
//!
//! usage: sim_speed SECONDS NAME...

use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_sim::render::Backend;
use rapport_sim::{Actions, EnvConfig, EnvError, VecEnv};

/// Environments on one thread.
const LANES: usize = 8;
/// Sides of the pictures; 0: none.
const SIZES: [u32; 4] = [0, 64, 128, 224];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let seconds: f64 = arguments
        .next()
        .ok_or("usage: sim_speed SECONDS NAME...")?
        .parse()?;
    for name in arguments {
        for threads in [1, 2] {
            for size in SIZES {
                let (rate, camera) = measure(&name, threads, size, seconds)?;
                if size > 0 && camera.is_empty() {
                    continue;
                }
                println!(
                    r#"{{"peer": "rapport, {threads} threads", "env": "{name}", "size": {size}, "setting": "as it is", "per_s": {rate:.0}}}"#
                );
            }
        }
    }
    Ok(())
}

/// Best of three runs, each a third of the time: steps a second, and the camera that was used.
fn measure(name: &str, threads: usize, size: u32, seconds: f64) -> Result<(f64, String), EnvError> {
    let config = EnvConfig {
        renderer: Backend::Cpu,
        ..EnvConfig::default()
    };
    let mut envs = VecEnv::new(name, &config, LANES * threads, threads)?;
    let camera = envs
        .description()
        .cameras
        .first()
        .cloned()
        .unwrap_or_default();
    if size > 0 && camera.is_empty() {
        return Ok((0.0, camera));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let rows: Vec<Vec<f64>> = (0..100)
        .map(|_| actions(&envs.description().action, envs.len(), &mut rng))
        .collect();
    let mut batch = envs.reset(0)?;
    let mut pictures = vec![0; envs.len() * 3 * (size * size) as usize];
    let mut best = 0.0_f64;
    for _ in 0..3 {
        let (start, mut steps) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs_f64(seconds / 3.0) {
            envs.step(&rows[steps % rows.len()], &mut batch)?;
            if size > 0 {
                envs.render(&camera, (size, size), &mut pictures)?;
            }
            steps += 1;
        }
        best = best.max((steps * envs.len()) as f64 / start.elapsed().as_secs_f64());
    }
    Ok((best, camera))
}

fn actions(kind: &Actions, count: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    (0..count)
        .flat_map(|_| match kind {
            Actions::Continuous(ranges) => ranges
                .iter()
                .map(|&(low, high)| rng.random_range(low.max(-1e3)..=high.min(1e3)))
                .collect::<Vec<_>>(),
            Actions::Choice(n) => vec![rng.random_range(0..*n) as f64],
        })
        .collect()
}
