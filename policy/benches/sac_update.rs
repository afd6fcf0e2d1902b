//! Updates per second of soft actor-critic and time per action, on one thread.

#![allow(clippy::print_stdout)]

use std::time::Instant;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rapport_policy::{
    HiddenNorm, Learner as _, Mode, Policy as _, PolicySpec, Sac, SacConfig, Transition,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const OBSERVATIONS: usize = 16;
const ACTIONS: usize = 2;

fn episode(rng: &mut ChaCha8Rng) -> Vec<Transition> {
    let mut row = |n: usize| {
        (0..n)
            .map(|_| rng.random_range(-1.0f32..1.0))
            .collect::<Vec<f32>>()
    };
    (0..200)
        .map(|_| Transition {
            observation: row(OBSERVATIONS),
            action: row(ACTIONS),
            reward: row(1)[0],
            next_observation: row(OBSERVATIONS),
            terminated: false,
            truncated: false,
        })
        .collect()
}

fn main() {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let data: Vec<Vec<Transition>> = (0..100).map(|_| episode(&mut rng)).collect();
    for (hidden, batch, critic_norm) in [
        (128, 128, HiddenNorm::None),
        (128, 256, HiddenNorm::None),
        (128, 256, HiddenNorm::Layer),
        (256, 128, HiddenNorm::None),
        (256, 256, HiddenNorm::None),
        (256, 256, HiddenNorm::Layer),
    ] {
        let config = SacConfig {
            hidden: vec![hidden, hidden],
            batch,
            critic_norm,
            initial_random_steps: 0,
            ..SacConfig::default()
        };
        let mut sac = Sac::new(PolicySpec::new(OBSERVATIONS, ACTIONS), config, 0)
            .expect("the settings are right");
        data.iter()
            .for_each(|episode| sac.observe(episode).expect("the episode is right"));
        let mut run = |updates: u32| {
            let start = Instant::now();
            (0..updates).for_each(|_| drop(sac.update().expect("finite")));
            f64::from(updates) / start.elapsed().as_secs_f64()
        };
        run(50);
        // The best of several short runs: other processes only ever make it slower.
        let best = (0..300).map(|_| run(1)).fold(0.0, f64::max);
        println!("hidden 2x{hidden} batch {batch} {critic_norm:?}: {best:.0} updates/s");

        let observation = vec![0.3; OBSERVATIONS];
        let mut act = |mode| {
            let start = Instant::now();
            (0..200).for_each(|_| drop(sac.act(&observation, mode).expect("finite")));
            start.elapsed().as_secs_f64() * 1e6 / 200.0
        };
        let exploit = (0..10)
            .map(|_| act(Mode::Exploit))
            .fold(f64::INFINITY, f64::min);
        println!("  action: {exploit:.2} us");
    }
}
