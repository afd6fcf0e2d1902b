//! `rapport bench sim`: how fast this machine practises.

use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport::sim::render::{Backend, Quality};
use rapport::sim::{Actions, EnvConfig, VecEnv, environment};
use serde::Serialize;

use crate::cli::Usage;
use crate::cli::environment::from_name;
use crate::interrupt;
use crate::practice::not_made;
use crate::ui::Ui;

/// Measure how many environment steps a second this machine makes, without pictures and with them.
///
/// `./x bench sim` in the repository sets the figures beside those of Gymnasium, envpool, dm_control and others, measured in the
/// same run.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Print the names of the environments and stop.
    #[arg(long)]
    list: bool,
    /// Environments; may be given several times. Default: every one whose models are here.
    #[arg(long = "env", value_name = "NAME")]
    envs: Vec<String>,
    /// How well pictures are drawn: fast, smooth or high.
    #[arg(long, default_value = "fast", value_parser = from_name::<Quality>)]
    quality: Quality,
    /// What draws them: cpu, gl or auto.
    #[arg(long, default_value = "cpu", value_parser = from_name::<Backend>)]
    renderer: Backend,
    /// Sides of the square pictures, pixels.
    #[arg(long, value_delimiter = ',', default_values_t = [64, 128, 224], value_name = "N,...")]
    sizes: Vec<u32>,
    /// Numbers of threads, eight environments on each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2], value_name = "N,...")]
    threads: Vec<usize>,
    /// Seconds for each figure; the best of three thirds counts.
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Seed of episodes and actions.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// One figure.
#[derive(Debug, Serialize)]
struct Figure {
    /// The environment.
    env: String,
    /// Threads.
    threads: usize,
    /// Side of the pictures that every environment took at every step, pixels; 0: none.
    size: u32,
    /// Environment steps a second, all threads together.
    steps_per_s: f64,
}

/// Environments on each thread.
const LANES: usize = 8;

/// Runs the command.
pub fn run(args: &Args, ui: Ui) -> anyhow::Result<()> {
    if args.list {
        let names = environment::names();
        return ui.result(&names, || names.join("\n"));
    }
    let usable = |seconds: f64| seconds.is_finite() && seconds > 0.0;
    if !usable(args.seconds) || args.threads.contains(&0) || args.sizes.contains(&0) {
        return Err(Usage("--seconds, --threads and --sizes must be above 0".into()).into());
    }
    let envs = if args.envs.is_empty() {
        let here = |name: &&str| environment::make(name, &config(args)).is_ok();
        environment::names()
            .into_iter()
            .filter(here)
            .map(String::from)
            .collect()
    } else {
        args.envs.clone()
    };
    let sizes: Vec<u32> = std::iter::once(0).chain(args.sizes.clone()).collect();
    let count = envs.len() * args.threads.len() * sizes.len();
    let bar = ui.bar(count as u64, "measuring");
    let mut figures = Vec::new();
    for env in &envs {
        for &threads in &args.threads {
            for &size in &sizes {
                if interrupt::requested() {
                    break;
                }
                bar.set_message(env.clone());
                if let Some(steps_per_s) = measure(args, env, threads, size)? {
                    figures.push(Figure {
                        env: env.clone(),
                        threads,
                        size,
                        steps_per_s,
                    });
                }
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    ui.result(&figures, || table(&figures))
}

fn config(args: &Args) -> EnvConfig {
    EnvConfig {
        renderer: args.renderer,
        quality: args.quality,
        ..EnvConfig::default()
    }
}

/// Environment steps a second; `None` where pictures are asked for and there is no camera.
fn measure(args: &Args, env: &str, threads: usize, size: u32) -> anyhow::Result<Option<f64>> {
    let mut envs = VecEnv::new(env, &config(args), LANES * threads, threads).map_err(not_made)?;
    let Some(camera) = envs.description().cameras.first().cloned().or_else(|| {
        // No picture is asked for.
        (size == 0).then(String::new)
    }) else {
        return Ok(None);
    };
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    let rows: Vec<Vec<f64>> = (0..100)
        .map(|_| actions(&envs.description().action, envs.len(), &mut rng))
        .collect();
    let mut batch = envs.reset(args.seed)?;
    let mut pictures = vec![0; envs.len() * 3 * (size * size) as usize];
    let mut best = 0.0_f64;
    for _ in 0..3 {
        let (start, mut steps) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs_f64(args.seconds / 3.0) {
            envs.step(&rows[steps % rows.len()], &mut batch)?;
            if size > 0 {
                envs.render(&camera, (size, size), &mut pictures)?;
            }
            steps += 1;
        }
        best = best.max((steps * envs.len()) as f64 / start.elapsed().as_secs_f64());
    }
    Ok(Some(best))
}

/// Random actions of `count` environments.
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

/// A line for each environment, size and number of threads.
fn table(figures: &[Figure]) -> String {
    let mut text = format!(
        "{:28} {:>8} {:>8} {:>12}\n",
        "environment", "threads", "picture", "steps/s"
    );
    for figure in figures {
        let size = match figure.size {
            0 => "none".into(),
            size => format!("{size} px"),
        };
        text += &format!(
            "{:28} {:>8} {:>8} {:>12.0}\n",
            figure.env, figure.threads, size, figure.steps_per_s
        );
    }
    text
}
