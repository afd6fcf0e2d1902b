//! Steps a second of ACT's training and the time of one look, on random numbers: `act_speed CASE SECONDS`, printed as JSON.
//!
//! Cases: `laptop` (the defaults, batch 32), `pictures` (the same with 49 tokens of 112 numbers), `published` (the paper's sizes,
//! batch 8). `benches/imitation.py` runs it beside PyTorch.

use std::ops::ControlFlow;
use std::time::Instant;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_policy::{Act, ActConfig, PolicySpec, Transition};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const STATE: usize = 14;
const ACTIONS: usize = 6;

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
    config.report_every = 1;
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
    // The first steps warm the allocator and the caches.
    let (mut start, mut counted) = (Instant::now(), 0);
    let (act, _) = Act::fit(
        PolicySpec::new(width, ACTIONS),
        config,
        0,
        &episodes,
        |step, _| {
            if step <= 3 {
                start = Instant::now();
                return ControlFlow::Continue(());
            }
            counted = step - 3;
            match start.elapsed().as_secs_f64() > seconds {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        },
    )?;
    let rate = counted as f64 / start.elapsed().as_secs_f64();
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
