//! Milliseconds a frame of each engine: `cargo run -p rapport-perception --example encoder_speed`.

use std::time::Instant;

use image::{Rgb, RgbImage};
use rapport_perception::efficientnet::cpu::Kernels;
use rapport_perception::efficientnet::{EfficientNetEncoder, Tap};
use rapport_perception::preprocess::{Fit, Preprocess, Preprocessor};
use rapport_perception::{DeviceChoice, Encoder, EncoderError, Features, Pca, PcaConfig};

#[allow(clippy::print_stdout)]
fn main() -> Result<(), EncoderError> {
    let start = Instant::now();
    let (weights, file) = EfficientNetEncoder::load_weights(None)?;
    println!(
        "weights loaded in {:.0} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
    let device = DeviceChoice::Cpu.burn_device()?;
    for (width, height, size) in [(640, 480, 112), (640, 480, 224), (224, 224, 112)] {
        let frame = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, (x * y) as u8]));
        let mut preprocessor = Preprocessor::new(Preprocess {
            size,
            fit: Fit::Stretch,
        });
        let mut best = f64::MAX;
        for _ in 0..50 {
            let start = Instant::now();
            preprocessor.square(&frame)?;
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!("resize {width}x{height} to {size}: {:.3} ms", best * 1e3);
    }
    let mut state = 1u32;
    let noise = (0..2000 * 5488).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 16_777_216.0
    });
    let features = Features::new(5488, noise.collect());
    let start = Instant::now();
    let pca = Pca::fit(&features, &PcaConfig::default())
        .map_err(|error| EncoderError::Other(error.to_string()))?;
    println!(
        "2000 x 5488 to {} components: {:.0} ms",
        pca.components(),
        start.elapsed().as_secs_f64() * 1e3
    );
    println!("best of 5 rounds, ms a frame");
    for (tap, size) in [
        (Tap::Block(10), 112),
        (Tap::Pooled, 112),
        (Tap::Block(10), 224),
        (Tap::Pooled, 224),
    ] {
        let preprocess = Preprocess {
            size,
            fit: Fit::Stretch,
        };
        let frame = RgbImage::from_fn(size, size, |x, y| Rgb([x as u8, y as u8, (x * y) as u8]));
        let many = vec![frame; 32];
        let report = |name: &str,
                      encoder: &mut EfficientNetEncoder,
                      rounds: usize|
         -> Result<(), EncoderError> {
            let mut one = f64::MAX;
            let mut batch = f64::MAX;
            encoder.encode(&many[..2])?;
            for _ in 0..rounds {
                let start = Instant::now();
                encoder.encode(&many[..1])?;
                one = one.min(start.elapsed().as_secs_f64());
            }
            for _ in 0..rounds.div_ceil(16) {
                let start = Instant::now();
                encoder.encode(&many)?;
                batch = batch.min(start.elapsed().as_secs_f64() / many.len() as f64);
            }
            println!(
                "{tap}@{size} {name:9} alone {:7.3}  in a batch of 32 {:7.3}",
                one * 1e3,
                batch * 1e3
            );
            Ok(())
        };
        for kernels in Kernels::available() {
            let mut encoder =
                EfficientNetEncoder::on_cpu(&weights, &file, tap, preprocess, kernels);
            report(kernels.name(), &mut encoder, 80)?;
        }
        report(
            "burn flex",
            &mut EfficientNetEncoder::on_burn(&weights, &file, tap, preprocess, &device),
            5,
        )?;
        match DeviceChoice::Wgpu.burn_device() {
            Ok(adapter) => report(
                "burn wgpu",
                &mut EfficientNetEncoder::on_burn(&weights, &file, tap, preprocess, &adapter),
                80,
            )?,
            Err(error) => println!("burn wgpu skipped: {error}"),
        }
    }
    Ok(())
}
