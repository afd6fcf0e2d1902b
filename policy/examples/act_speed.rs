//! Steps a second of ACT's training and the time of one look, on random numbers: `act_speed CASE SECONDS [cpu|gpu]`, printed as JSON.
//!
//! Cases: `laptop` (the defaults, batch 32), `pictures` (the same with 49 tokens of 112 numbers), `published` (the paper's sizes,
//! batch 8). `benches/imitation.py` runs it beside PyTorch.

use std::time::Instant;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_policy::{ActConfig, ActFit, Fit as _, PolicySpec, Transition};

mod adapter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const STATE: usize = 14;
const ACTIONS: usize = 6;
/// Steps between looks at the clock. After as many, what was learned on an adapter comes home.
const REPORT: u64 = 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let case = words.next().unwrap_or_else(|| "laptop".into());
    let seconds: f64 = words.next().map_or(Ok(10.0), |word| word.parse())?;
    let mut config = match case.as_str() {
        "laptop" => ActConfig::default(),
        "pictures" => ActConfig {
            image_tokens: vec![49],
            token_dim: 112,
            ..ActConfig::default()
        },
        "published" => ActConfig::published(),
        other => return Err(format!("no case {other}").into()),
    };
    config.steps = 1_000_000;
    config.report_every = REPORT;
    config.validation_share = 0.0;

    let width = STATE + config.tokens() * config.token_dim;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut row = |count| -> Vec<f32> { (0..count).map(|_| rng.random_range(-1.0..1.0)).collect() };
    let episodes: Vec<Vec<Transition>> = (0..4)
        .map(|_| {
            (0..150)
                .map(|t| Transition {
                    observation: row(width),
                    action: row(ACTIONS),
                    reward: 0.0,
                    next_observation: row(width),
                    terminated: false,
                    truncated: t == 149,
                })
                .collect()
        })
        .collect();
    let spec = PolicySpec::new(width, ACTIONS);
    let mut fit = ActFit::new(spec, config, 0, &episodes, None)?;
    if let Some(adapter) = adapter::named(words.next()) {
        fit = fit.on(&adapter);
    }
    // The first report warms the memory up, and an adapter's kernels.
    fit.advance()?;
    let (start, first) = (Instant::now(), fit.steps());
    while start.elapsed().as_secs_f64() < seconds {
        fit.advance()?;
    }
    let rate = (fit.steps() - first) as f64 / start.elapsed().as_secs_f64();
    let act = fit.finish().0;
    let mut looks: Vec<f64> = Vec::new();
    let start = Instant::now();
    for step in episodes.iter().flatten().cycle() {
        let look = Instant::now();
        act.predict(&step.observation)?;
        looks.push(look.elapsed().as_secs_f64() * 1e3);
        if start.elapsed().as_secs_f64() > seconds * 0.3 {
            break;
        }
    }
    looks.sort_by(f64::total_cmp);
    let report = serde_json::json!({ "case": case, "steps_per_second": rate, "look_ms": looks[looks.len() / 2] });
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{report}")?;
    Ok(())
}
