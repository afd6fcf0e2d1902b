//! The two renderers, seen through the eyes of a reward: what an encoder makes of their pictures must be the same.
#![allow(clippy::print_stdout)]

use image::RgbImage;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport::perception::{DeviceChoice, Encoder, open};
use rapport::sim::environment::{self, Environment};
use rapport::sim::render::{Backend, Quality};
use rapport::sim::{EnvConfig, EnvError};

/// Random states of each task.
const STATES: u64 = 4;

fn world(task: &str, renderer: Backend, quality: Quality) -> Box<dyn Environment> {
    let config = EnvConfig {
        renderer,
        quality,
        ..EnvConfig::default()
    };
    environment::make(task, &config).unwrap()
}

/// Goes to a random state: a start of its own, then some random actions.
fn wander(world: &mut dyn Environment, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    world.reset(seed).unwrap();
    let width = world.description().action_len();
    for _ in 0..rng.random_range(1..8) {
        let action: Vec<f64> = (0..width).map(|_| rng.random_range(-1.0..=1.0)).collect();
        world.step(&action).unwrap();
    }
}

/// Pearson's coefficient of correlation.
fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let mean = |v: &[f32]| v.iter().map(|&x| f64::from(x)).sum::<f64>() / v.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (&x, &y) in a.iter().zip(b) {
        let (x, y) = (f64::from(x) - mean_a, f64::from(y) - mean_b);
        (ab, aa, bb) = (ab + x * y, aa + x * x, bb + y * y);
    }
    ab / (aa * bb).sqrt()
}

#[test]
fn an_encoder_sees_the_same_in_the_pictures_of_both_renderers() {
    let open = |name| open(name, DeviceChoice::Cpu).unwrap();
    let mut eyes = open("efficientnet-lite0:block10@112");
    // A finer eye, on pictures without shadows: the rasteriser smooths the edges of shadows, OpenGL does not.
    let mut fine_eyes = open("efficientnet-lite0:pooled@224");
    for task in ["so101-push", "so101-lift"] {
        for quality in [Quality::Fast, Quality::High] {
            let mut pairs: Vec<[RgbImage; 2]> = Vec::new();
            let mut cpu = world(task, Backend::Cpu, quality);
            let mut gl = world(task, Backend::Gl, quality);
            for seed in 0..STATES {
                wander(&mut *cpu, seed);
                wander(&mut *gl, seed);
                for camera in ["front", "top", "wrist"] {
                    let mut pair = [RgbImage::new(224, 224), RgbImage::new(224, 224)];
                    cpu.render(camera, &mut pair[0]).unwrap();
                    match gl.render(camera, &mut pair[1]) {
                        Ok(()) => pairs.push(pair),
                        Err(EnvError::Render(error)) => {
                            println!("skipped: no EGL ({error})");
                            return;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            compare(&mut *eyes, &pairs, task, quality);
            if quality == Quality::Fast {
                compare(&mut *fine_eyes, &pairs, task, quality);
            }
        }
    }
}

fn compare(encoder: &mut dyn Encoder, pairs: &[[RgbImage; 2]], task: &str, quality: Quality) {
    let name = encoder.spec().name.clone();
    for (number, pair) in pairs.iter().enumerate() {
        let rows = encoder.encode(pair).unwrap();
        let same = correlation(rows.row(0), rows.row(1));
        assert!(
            same > 0.98,
            "{task}, {quality}, picture {number}, {name}: correlation {same:.4}"
        );
    }
}
