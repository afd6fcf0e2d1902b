//! Training steps a second and milliseconds a chunk of the diffusion policy's U-Net, for `benches/diffusion.py`.
//!
//!     diffusion_speed SIZE SECONDS [cpu|gpu]        SIZE is paper, laptop or transformer; gpu needs the feature

#![allow(clippy::print_stdout)]

use std::time::Instant;

use rapport_policy::diffusion::{DenoiserConfig, TransformerConfig, UnetConfig};
use rapport_policy::{
    DiffusionConfig, DiffusionFit, Fit as _, Mode, Policy as _, PolicySpec, Transition,
};

mod adapter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const OBSERVATIONS: usize = 64;
const ACTIONS: usize = 6;
/// Steps between looks at the clock. After as many, what was learned on an adapter comes home.
const REPORT: u64 = 10;

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
        report_every: REPORT,
        updates: 1_000_000,
        denoiser,
        ..DiffusionConfig::default()
    };
    let spec = PolicySpec::new(OBSERVATIONS, ACTIONS);
    let mut fit =
        DiffusionFit::new(spec, config, 0, &episodes(), None).expect("the settings are right");
    if let Some(adapter) = adapter::named(words.next()) {
        fit = fit.on(&adapter);
    }
    // The first report warms the memory up, and an adapter's kernels.
    fit.advance().expect("the numbers are finite");
    let (started, before, first) = (Instant::now(), processor_ms(), fit.steps());
    while started.elapsed().as_secs_f64() < seconds {
        fit.advance().expect("the numbers are finite");
    }
    let (steps, spent) = (fit.steps() - first, started.elapsed());
    let processor = processor_ms() - before;
    let mut policy = fit.finish().expect("the numbers are finite").0;
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
