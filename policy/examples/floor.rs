//! How near an update of SAC and TD3 comes to what its matrix products alone would take.
//!
//!   cargo run -p rapport-policy --example floor [-- SECONDS [WIDTH [CASE]]]
//!
//! For each case: the multiply-adds of one update, counted layer by layer; the time those products take alone, each at its own
//! shape, as the same kernels do them on one thread (`rapport_policy::measure::products`), divided by the threads that the update uses
//! (RAYON_NUM_THREADS=1: one); updates a second, and the share of the time that is products.
//! The rest is drawing batches, activations, Adam and the targets' averaging.

#![allow(clippy::print_stdout)]

use std::time::Instant;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_policy::measure::{Product, products, threads};
use rapport_policy::{Learner, PolicySpec, Sac, SacConfig, Td3, Td3Config, Transition};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Environment, observations, actions.
const CASES: [(&str, usize, usize); 3] = [
    ("Pendulum-v1", 3, 1),
    ("so101-reach", 12, 3),
    ("HalfCheetah-v5", 17, 6),
];

fn main() -> Outcome<()> {
    let mut words = std::env::args().skip(1);
    let seconds: f64 = words.next().map_or(Ok(2.0), |s| s.parse())?;
    let only: Option<usize> = words.next().map(|w| w.parse()).transpose()?;
    let wanted = words.next();
    println!(
        "{:<16} {:<6} {:>7} {:>8} {:>10} {:>10} {:>8} {:>8}",
        "case", "", "threads", "Mflop", "GFLOP/s", "updates/s", "floor/s", "share"
    );
    let named = |name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
    for (name, o, a) in CASES.into_iter().filter(|case| named(case.0)) {
        let sizes = [(64, 64), (256, 256)];
        for (hidden, batch) in sizes.into_iter().filter(|s| only.is_none_or(|w| w == s.0)) {
            let spec = PolicySpec::new(o, a);
            let label = format!("{name} {hidden}");
            let sac = SacConfig {
                hidden: vec![hidden; 2],
                batch,
                ..SacConfig::default()
            };
            let work = sac_products(o, a, hidden, batch);
            report(
                &label,
                "sac",
                &work,
                &mut Sac::new(spec.clone(), sac, 0)?,
                seconds,
            )?;
            let td3 = Td3Config {
                hidden: vec![hidden; 2],
                batch,
                ..Td3Config::default()
            };
            let work = td3_products(o, a, hidden, batch);
            report(&label, "td3", &work, &mut Td3::new(spec, td3, 0)?, seconds)?;
        }
    }
    Ok(())
}

fn report(
    case: &str,
    learner: &str,
    work: &[(Product, f64)],
    who: &mut dyn Learner,
    seconds: f64,
) -> Outcome<()> {
    let (o, a) = (who.observation_dim(), who.action_dim());
    who.observe(&experience(5_000, o, a))?;
    for _ in 0..20 {
        who.update()?;
    }
    // By turns, so that a busy moment hits both.
    let (mut updates, mut spent, mut floor, mut rounds) = (0u32, 0.0, 0.0, 0u32);
    while spent + floor < seconds {
        let begin = Instant::now();
        for _ in 0..20 {
            who.update()?;
        }
        spent += begin.elapsed().as_secs_f64();
        updates += 20;
        let once: f64 = work
            .iter()
            .map(|(product, times)| times * products(*product, 4))
            .sum();
        floor += once * 20.0;
        rounds += 1;
    }
    let flop: f64 = work
        .iter()
        .map(|(p, times)| times * 2.0 * (p.rows * p.depth * p.columns) as f64)
        .sum();
    let largest = work.iter().map(|(p, _)| p.rows * p.depth * p.columns).max();
    let threads = threads(largest.unwrap_or(0));
    let (update, alone) = (
        spent / f64::from(updates),
        floor / f64::from(20 * rounds) / threads as f64,
    );
    println!(
        "{case:<16} {learner:<6} {threads:>7} {:>8.1} {:>10.1} {:>10.0} {:>8.0} {:>7.0}%",
        flop / 1e6,
        flop / alone / 1e9,
        1.0 / update,
        1.0 / alone,
        100.0 * alone / update
    );
    Ok(())
}

fn experience(count: usize, o: usize, a: usize) -> Vec<Transition> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut row = |n: usize| -> Vec<f32> { (0..n).map(|_| rng.random_range(-1.0..1.0)).collect() };
    (0..count)
        .map(|t| Transition {
            observation: row(o),
            action: row(a),
            reward: row(1)[0],
            next_observation: row(o),
            terminated: false,
            truncated: t + 1 == count,
        })
        .collect()
}

/// Products of a pass through a network, `[batch, inputs]` to `[batch, outputs]` over two hidden layers, `times` times.
fn forward(
    inputs: usize,
    outputs: usize,
    hidden: usize,
    batch: usize,
    times: f64,
) -> Vec<(Product, f64)> {
    [(inputs, hidden), (hidden, hidden), (hidden, outputs)]
        .map(|(depth, columns)| {
            (
                Product {
                    rows: batch,
                    depth,
                    columns,
                    kind: rapport_policy::measure::Kind::Forward,
                },
                times,
            )
        })
        .to_vec()
}

/// And back: to all parameters, to all inputs but the first layer's, or to those as well.
fn backward(
    inputs: usize,
    outputs: usize,
    hidden: usize,
    batch: usize,
    [by_parameters, by_hidden, by_inputs]: [f64; 3],
) -> Vec<(Product, f64)> {
    use rapport_policy::measure::Kind;
    let layers = [(inputs, hidden), (hidden, hidden), (hidden, outputs)];
    let weights = layers.map(|(i, o)| {
        (
            Product {
                rows: i,
                depth: batch,
                columns: o,
                kind: Kind::ByWeight,
            },
            by_parameters,
        )
    });
    let below = layers.map(|(i, o)| Product {
        rows: batch,
        depth: o,
        columns: i,
        kind: Kind::ByInput,
    });
    weights
        .into_iter()
        .chain([
            (below[0], by_inputs),
            (below[1], by_hidden),
            (below[2], by_hidden),
        ])
        .collect()
}

/// SAC: targets (actor, two target critics), critics forth and back, actor forth, critics forth and back to the action, actor back.
fn sac_products(o: usize, a: usize, hidden: usize, batch: usize) -> Vec<(Product, f64)> {
    [
        forward(o, 2 * a, hidden, batch, 2.0),
        forward(o + a, 1, hidden, batch, 6.0),
        backward(o + a, 1, hidden, batch, [2.0, 4.0, 2.0]),
        backward(o, 2 * a, hidden, batch, [1.0, 1.0, 0.0]),
    ]
    .concat()
}

/// TD3: the same with one critic for the actor, and that at every second update.
fn td3_products(o: usize, a: usize, hidden: usize, batch: usize) -> Vec<(Product, f64)> {
    [
        forward(o, a, hidden, batch, 1.5),
        forward(o + a, 1, hidden, batch, 4.5),
        backward(o + a, 1, hidden, batch, [2.0, 2.5, 0.5]),
        backward(o, a, hidden, batch, [0.5, 0.5, 0.0]),
    ]
    .concat()
}
