//! Training steps a second and milliseconds a chunk of the diffusion policy's U-Net, for `benches/diffusion.py`.
//!
//!     diffusion_speed SIZE SECONDS        SIZE is paper, laptop or transformer

#![allow(clippy::print_stdout)]

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rapport_policy::diffusion::{DenoiserConfig, Diffusion, TransformerConfig, UnetConfig};
use rapport_policy::{DiffusionConfig, Mode, Policy as _, PolicySpec, Transition};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const OBSERVATIONS: usize = 64;
const ACTIONS: usize = 6;

fn episodes() -> Vec<Vec<Transition>> {
    let wave = |t: usize, count: usize| -> Vec<f32> {
        (0..count)
            .map(|i| ((t * (i + 1)) as f32 * 0.1).sin())
            .collect()
    };
    (0..4)
        .map(|e| {
            (0..100)
                .map(|t| Transition {
                    observation: wave(e * 100 + t, OBSERVATIONS),
                    action: wave(e * 100 + t, ACTIONS),
                    reward: 0.0,
                    next_observation: wave(e * 100 + t + 1, OBSERVATIONS),
                    terminated: false,
                    truncated: false,
                })
                .collect()
        })
        .collect()
}

/// Milliseconds that this thread has been on a processor.
fn processor_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text.split_whitespace().next().and_then(|w| w.parse().ok());
    first.map_or(f64::NAN, |ns: f64| ns / 1e6)
}

fn main() {
    let mut words = std::env::args().skip(1);
    let size = words.next().unwrap_or_else(|| "laptop".into());
    let seconds: f64 = words.next().and_then(|w| w.parse().ok()).unwrap_or(10.0);
    let unet = |down_dims: &[usize], step_width| {
        DenoiserConfig::Unet(UnetConfig {
            down_dims: down_dims.to_vec(),
            step_width,
            ..UnetConfig::default()
        })
    };
    let denoiser = match size.as_str() {
        "paper" => unet(&[256, 512, 1024], 128),
        "transformer" => DenoiserConfig::Transformer(TransformerConfig::default()),
        _ => unet(&[64, 128, 256], 64),
    };
    let config = DiffusionConfig {
        report_every: 1,
        updates: 1_000_000,
        denoiser,
        ..DiffusionConfig::default()
    };
    let mut started = Instant::now();
    let (mut before, mut processor) = (0.0, 0.0);
    let (mut steps, mut spent) = (0, Duration::ZERO);
    let spec = PolicySpec::new(OBSERVATIONS, ACTIONS);
    let (mut policy, _) = Diffusion::fit(spec, config, 0, &episodes(), |update, _| {
        // The first two steps warm the memory up.
        if update <= 2 {
            (started, before) = (Instant::now(), processor_ms());
            return ControlFlow::Continue(());
        }
        (steps, spent) = (update - 2, started.elapsed());
        processor = processor_ms() - before;
        if spent.as_secs_f64() > seconds {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .expect("the settings are right");
    let observation = [0.3; OBSERVATIONS];
    let mut times: Vec<f64> = (0..20)
        .map(|_| {
            policy.reset();
            let started = Instant::now();
            policy
                .act(&observation, Mode::Exploit)
                .expect("the observation is right");
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        r#"{{"size": "{size}", "parameters": {}, "steps_per_second": {:.3}, "cpu_ms_per_step": {:.1}, "ms_per_chunk": {:.2}}}"#,
        policy.parameter_count(),
        steps as f64 / spent.as_secs_f64(),
        processor / steps as f64,
        times[times.len() / 2]
    );
}
