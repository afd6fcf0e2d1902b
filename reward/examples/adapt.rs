//! Does adapting the encoder help, and how long does it take?
//!
//! `adapt judge [SEED]`: 100 ranked triplets of drawn clips (an arm that sweeps about, a puck that ends somewhere, colours that vary). Prints, on
//! 80 clips never seen, Spearman's correlation of the transport reward with how near the puck ends to its goal: on the encoder's
//! features, with a head, with low-rank changes and with dense ones.
//!
//! `adapt time`: seconds for 150 triplets of 450 clips of 45 frames, head alone, as printed in the paper, and with low-rank changes.

#![allow(clippy::print_stdout)]

use std::time::Instant;

use image::{Rgb, RgbImage};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::efficientnet::{EfficientNetEncoder, Tail, adapt::parameters};
use rapport_perception::{DeviceChoice, Features, adaptable, open};
use rapport_reward::align::adapt;
use rapport_reward::eval::spearman;
use rapport_reward::transport::Points;
use rapport_reward::{AdaptConfig, AlignConfig, Alignment, Comparisons, TransportConfig};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ENCODER: &str = "efficientnet-lite0:block10@112";
/// The default of [`AdaptConfig`].
const BLOCKS: usize = 2;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("judge") => judge(arguments.get(1).map_or(Ok(0), |seed| seed.parse())?),
        Some("time") => time(),
        _ => Err("usage: adapt judge [SEED] | adapt time".into()),
    }
}

/// A clip and how far its puck ends from the goal.
fn draw(rng: &mut ChaCha8Rng, frames: usize) -> (Vec<RgbImage>, f64) {
    const SIDE: u32 = 112;
    let mut colour =
        |low: f32, high: f32| -> [f32; 3] { std::array::from_fn(|_| rng.random_range(low..high)) };
    let (table, arm) = (colour(110.0, 190.0), colour(30.0, 90.0));
    let puck_colour = [200.0, 60.0, 40.0];
    let (goal, start) = ([84.0f32, 80.0f32], [24.0f32, 84.0f32]);
    let angle = rng.random_range(0.0..std::f32::consts::TAU);
    let off = rng.random_range(0.0f32..45.0);
    let end = [
        (goal[0] - off * angle.cos().abs()).clamp(8.0, 104.0),
        (goal[1] - off * angle.sin().abs()).clamp(40.0, 104.0),
    ];
    let distance = (end[0] - goal[0]).hypot(end[1] - goal[1]);
    let mut gripper = [
        rng.random_range(20.0..92.0f32),
        rng.random_range(20.0..60.0f32),
    ];
    let mut pictures = Vec::new();
    for t in 0..frames {
        let share = if frames == 1 {
            1.0
        } else {
            t as f32 / (frames - 1) as f32
        };
        let puck = [0, 1].map(|i| start[i] + share * (end[i] - start[i]));
        for g in &mut gripper {
            *g = (*g + rng.random_range(-14.0..14.0f32)).clamp(15.0, 95.0);
        }
        let noise: Vec<f32> = (0..64).map(|_| rng.random_range(-6.0..6.0)).collect();
        let picture = RgbImage::from_fn(SIDE, SIDE, |x, y| {
            let (px, py) = (x as f32, y as f32);
            let mut c = table.map(|c| c + 0.15 * py + noise[((x / 14) * 8 + y / 14) as usize % 64]);
            let ring = (px - goal[0]).hypot(py - goal[1]);
            if (8.0..10.0).contains(&ring) {
                c = [40.0, 120.0, 60.0];
            }
            if (px - puck[0]).hypot(py - puck[1]) < 5.0 {
                c = puck_colour;
            }
            // The arm: a thick line from the top to the gripper.
            let along = (py / gripper[1]).clamp(0.0, 1.0);
            let centre = 56.0 + along * (gripper[0] - 56.0);
            if py <= gripper[1] && (px - centre).abs() < 6.0 - 2.0 * along {
                c = arm;
            }
            Rgb(c.map(|v| v.clamp(0.0, 255.0) as u8))
        });
        pictures.push(picture);
    }
    (pictures, f64::from(distance))
}

fn judge(seed: u64) -> Result<()> {
    const FRAMES: usize = 6;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let whole = adaptable(ENCODER, BLOCKS)?;
    let mut encoder = open(&whole.below, DeviceChoice::Cpu)?;
    let mut clips = |count: usize| -> Result<(Vec<Features>, Vec<f64>)> {
        let drawn: Vec<_> = (0..count).map(|_| draw(&mut rng, FRAMES)).collect();
        let features = drawn
            .iter()
            .map(|(pictures, _)| encoder.encode(pictures))
            .collect::<std::result::Result<_, _>>()?;
        Ok((features, drawn.iter().map(|(_, d)| *d).collect()))
    };
    let (train, distances) = clips(300)?;
    let (test, truth) = clips(80)?;
    let triplets: Vec<[usize; 3]> = (0..100)
        .map(|i| {
            let mut three = [3 * i, 3 * i + 1, 3 * i + 2];
            three.sort_by(|&a, &b| distances[a].total_cmp(&distances[b]));
            three
        })
        .collect();
    let mut best: Vec<usize> = (0..train.len()).collect();
    best.sort_by(|&a, &b| distances[a].total_cmp(&distances[b]));
    best.truncate(5);
    let comparisons = Comparisons::from_triplets(train.clone(), &triplets)?;

    let (weights, _) = EfficientNetEncoder::load_weights(None)?;
    let tail = Tail::of(&weights, whole.tap, whole.size, BLOCKS)?;
    let near: Vec<f64> = truth.iter().map(|d| -d).collect();
    let score = |embed: &dyn Fn(&Features) -> Result<Points>| -> Result<f64> {
        let exemplars = best
            .iter()
            .map(|&i| embed(&train[i]))
            .collect::<Result<Vec<_>>>()?;
        let config = TransportConfig::rapl();
        let mut rewards = Vec::new();
        for clip in &test {
            let clip = embed(clip)?;
            let pairs: Vec<_> = exemplars.iter().map(|e| (&clip, e)).collect();
            let plans = config.solve_batch(&pairs)?;
            let least = plans
                .iter()
                .map(|p| p.distance())
                .fold(f64::INFINITY, f64::min);
            rewards.push(-least);
        }
        Ok(spearman(&rewards, &near).unwrap_or(f64::NAN))
    };
    println!("seed {seed}, 100 triplets of {FRAMES} frames, 80 held-out clips");
    let base = parameters(&weights, whole.tap);
    for (name, profile, epochs) in [
        ("head", AdaptConfig::low_rank(), 0),
        ("low rank and head", AdaptConfig::low_rank(), 8),
        ("dense and head", AdaptConfig::dense(), 8),
    ] {
        let settings = AdaptConfig { epochs, ..profile };
        let config = AlignConfig {
            whiten: 0.0,
            epochs: 60,
            ..AlignConfig::default()
        };
        let begin = Instant::now();
        let (adaptation, alignment, report) = adapt(
            tail.clone(),
            whole.tap,
            &comparisons,
            &[],
            &config,
            &settings,
            seed,
        )?;
        let seconds = begin.elapsed().as_secs_f64();
        if epochs == 0 {
            let raw = score(&|clip| Ok(Points::from(&adaptation.embed(clip)?)))?;
            println!("{:>20}: Spearman {raw:.3}", "features alone");
        }
        let found = score(&|clip| Ok(alignment.embed_points(&adaptation.embed(clip)?)?))?;
        let epoch = &report.epochs[report.best_epoch];
        println!(
            "{name:>20}: Spearman {found:.3}, held-out triplets in order {:.2}, loss {:.3} (before {:.3}), epoch {}, {:.1} % of {base} parameters changed, {seconds:.1} s, base weights {}",
            epoch.validation_accuracy.unwrap_or(f64::NAN),
            epoch.validation_loss.unwrap_or(f64::NAN),
            report.epochs[0].validation_loss.unwrap_or(f64::NAN),
            report.best_epoch,
            if epochs == 0 {
                0.0
            } else {
                100.0 * report.adapted_parameters as f64 / base as f64
            },
            if adaptation.tail() == &tail {
                "as they were"
            } else {
                "CHANGED"
            },
        );
    }
    Ok(())
}

fn time() -> Result<()> {
    const FRAMES: usize = 45;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let whole = adaptable(ENCODER, BLOCKS)?;
    let mut encoder = open(&whole.below, DeviceChoice::Cpu)?;
    let (weights, _) = EfficientNetEncoder::load_weights(None)?;
    let tail = Tail::of(&weights, whole.tap, whole.size, BLOCKS)?;
    // Thirty drawn clips; the others are those with a little noise, which is as much work.
    let drawn = (0..30)
        .map(|_| Ok(encoder.encode(&draw(&mut rng, FRAMES).0)?))
        .collect::<Result<Vec<_>>>()?;
    let clips: Vec<Features> = (0..450)
        .map(|i| {
            let clip = &drawn[i % drawn.len()];
            let values = clip.as_slice().iter();
            let noisy = values.map(|v| v + 0.02 * rng.random_range(-1.0..1.0f32));
            Features::new(clip.dim(), noisy.collect())
        })
        .collect();
    let triplets: Vec<[usize; 3]> = (0..150).map(|i| [3 * i, 3 * i + 1, 3 * i + 2]).collect();
    let comparisons = Comparisons::from_triplets(clips, &triplets)?;
    for (name, config) in [
        ("head, defaults, 100 epochs", AlignConfig::default()),
        (
            "head, as printed in the paper, 100 epochs",
            AlignConfig::paper(),
        ),
    ] {
        let begin = Instant::now();
        let (_, report) = Alignment::train(&comparisons, &[], &config, 0)?;
        println!(
            "{name}: {:.1} s for {} + {} triplets of {FRAMES} frames",
            begin.elapsed().as_secs_f64(),
            report.training,
            report.validation
        );
    }
    let settings = AdaptConfig::default();
    let begin = Instant::now();
    let config = AlignConfig {
        epochs: 60,
        ..AlignConfig::default()
    };
    let (_, _, report) = adapt(tail, whole.tap, &comparisons, &[], &config, &settings, 0)?;
    println!(
        "low rank in {BLOCKS} blocks and head, {} epochs and again on all answers: {:.1} s, best epoch {}",
        settings.epochs,
        begin.elapsed().as_secs_f64(),
        report.best_epoch
    );
    Ok(())
}
