//! Transport problems a second, for `benches/transport.py`, which runs a peer on the same problems.
//!
//! `transport_speed FILE ROWS COLS EPSILON TOLERANCE ITERATIONS REPEATS`: FILE holds cost matrices of `ROWS` x `COLS` doubles, end to end,
//! in the machine's byte order. Prints one line of JSON: the seconds of each repeat for the whole batch, and each problem's distance,
//! iterations and rewards.

#![allow(clippy::print_stdout)]

use std::time::Instant;

use rapport_reward::TransportConfig;
use rapport_reward::transport::CostMatrix;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, rows, cols, epsilon, tolerance, iterations, repeats] = &arguments[..] else {
        return Err(
            "usage: transport_speed FILE ROWS COLS EPSILON TOLERANCE ITERATIONS REPEATS".into(),
        );
    };
    let (rows, cols): (usize, usize) = (rows.parse()?, cols.parse()?);
    let config = TransportConfig {
        epsilon: epsilon.parse()?,
        tolerance: tolerance.parse()?,
        max_iterations: iterations.parse()?,
        ..TransportConfig::rapl()
    };
    let values: Vec<f64> = std::fs::read(file)?
        .as_chunks::<8>()
        .0
        .iter()
        .map(|bytes| f64::from_ne_bytes(*bytes))
        .collect();
    let costs = values
        .chunks_exact(rows * cols)
        .map(|values| CostMatrix::new(rows, cols, values.to_vec()))
        .collect::<Result<Vec<_>, _>>()?;
    // Threads and buffers come into being before the clock starts.
    let mut plans = config.solve_costs(costs.clone())?;
    let mut seconds = Vec::new();
    for _ in 0..repeats.parse()? {
        let costs = costs.clone();
        // Their memory is used again, as it is where batch follows batch.
        plans.clear();
        let begin = Instant::now();
        plans = config.solve_costs(costs)?;
        seconds.push(begin.elapsed().as_secs_f64());
    }
    let result = serde_json::json!({
        "seconds": seconds,
        "distances": plans.iter().map(|p| p.distance()).collect::<Vec<_>>(),
        "iterations": plans.iter().map(|p| p.iterations()).collect::<Vec<_>>(),
        "rewards": plans.iter().map(|p| p.rewards()).collect::<Vec<_>>(),
    });
    println!("{result}");
    Ok(())
}
