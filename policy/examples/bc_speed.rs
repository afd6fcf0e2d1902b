//! Gradient steps a second of behaviour cloning, for `benches/imitation_package.py`.
//!
//!   cargo run -p rapport-policy --example bc_speed -- WIDTH BATCH STEPS EPOCHS
//!
//! 15 observations, 3 actions, mean squared error, two hidden layers, nothing held out.

#![allow(clippy::print_stdout)]

use std::ops::ControlFlow;
use std::time::Instant;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_policy::{Bc, BcConfig, PolicySpec, Transition};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<usize> = std::env::args()
        .skip(1)
        .map(|word| word.parse())
        .collect::<Result<_, _>>()?;
    let &[width, batch, steps, epochs] = &words[..] else {
        return Err("give WIDTH BATCH STEPS EPOCHS".into());
    };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut row = |n: usize| -> Vec<f32> { (0..n).map(|_| rng.random_range(-1.0..1.0)).collect() };
    let episode = (0..steps).map(|_| Transition {
        observation: row(15),
        action: row(3),
        reward: 0.0,
        next_observation: row(15),
        terminated: false,
        truncated: false,
    });
    let config = BcConfig {
        hidden: vec![width; 2],
        batch,
        epochs: epochs as u64,
        validation_share: 0.0,
        ..BcConfig::default()
    };
    let (mut first, begin) = (0.0, Instant::now());
    let episodes = [episode.collect()];
    Bc::fit(PolicySpec::new(15, 3), config, 0, &episodes, |epoch, _| {
        if epoch == 1 {
            first = begin.elapsed().as_secs_f64();
        }
        ControlFlow::Continue(())
    })?;
    // The first pass holds the preparation too.
    let spent = begin.elapsed().as_secs_f64() - first;
    let updates = (epochs - 1) * steps.div_ceil(batch);
    println!("{}", updates as f64 / spent);
    Ok(())
}
