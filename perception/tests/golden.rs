//! EfficientNet-Lite0 against an independent forward pass on two photographs.

use std::path::{Path, PathBuf};

use image::RgbImage;
use rapport_perception::efficientnet::cpu::Kernels;
use rapport_perception::efficientnet::{EfficientNetEncoder, Tap, Weights};
use rapport_perception::preprocess::{Fit, Preprocess, Preprocessor};
use rapport_perception::weights::{EFFICIENTNET_LITE0, VerifiedFile};
use rapport_perception::{DeviceChoice, Encoder, open};
use safetensors::SafeTensors;

const PHOTOS: [&str; 2] = ["chelsea", "coffee"];
const CROP: Preprocess = Preprocess {
    size: 224,
    fit: Fit::Crop,
};
/// The stored crops have the network's size, so stretching passes them on unchanged.
const AS_IS: Preprocess = Preprocess {
    size: 224,
    fit: Fit::Stretch,
};

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(file)
}

fn picture(file: &str) -> RgbImage {
    image::open(data(file)).unwrap().to_rgb8()
}

/// The stored tensor, with `[1, channels, rows, columns]` turned channel-last.
fn golden(name: &str) -> Vec<f32> {
    let bytes = std::fs::read(data("efficientnet-lite0.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap();
    let values: Vec<f32> = view
        .data()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&b| f32::from_le_bytes(b))
        .collect();
    match *view.shape() {
        [1, channels, rows, columns] => {
            let places = rows * columns;
            (0..places * channels)
                .map(|i| values[i % channels * places + i / channels])
                .collect()
        }
        _ => values,
    }
}

fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

/// One encoder a tap; `make` builds it.
fn check_taps(engine: &str, make: impl Fn(&Weights, &VerifiedFile, Tap) -> EfficientNetEncoder) {
    let (weights, file) = EfficientNetEncoder::load_weights(None).unwrap();
    for (tap, tensor) in [
        (Tap::Block(10), "block10"),
        (Tap::Pooled, "features"),
        (Tap::Logits, "logits"),
    ] {
        let mut encoder = make(&weights, &file, tap);
        let pictures = PHOTOS.map(|photo| picture(&format!("{photo}-224.png")));
        let features = encoder.encode(&pictures).unwrap();
        for (row, photo) in features.rows().zip(PHOTOS) {
            let difference = max_difference(row, &golden(&format!("{photo}.{tensor}")));
            assert!(difference < 1e-3, "{engine} {photo} {tensor}: {difference}");
        }
    }
}

#[test]
fn every_cpu_kernel_gives_the_reference_activations() {
    for kernels in Kernels::available() {
        check_taps(kernels.name(), |weights, file, tap| {
            EfficientNetEncoder::on_cpu(weights, file, tap, AS_IS, kernels)
        });
    }
}

#[test]
fn the_burn_network_gives_the_reference_activations() {
    let device = DeviceChoice::Cpu.burn_device().unwrap();
    check_taps("flex", |weights, file, tap| {
        EfficientNetEncoder::on_burn(weights, file, tap, AS_IS, &device)
    });
}

#[cfg(feature = "gpu")]
#[test]
#[allow(clippy::print_stderr)]
fn a_graphics_adapter_gives_what_the_processor_gives() {
    let device = match DeviceChoice::Wgpu.burn_device() {
        Ok(device) => device,
        Err(error) => {
            eprintln!("skipped: no adapter ({error})");
            return;
        }
    };
    let (weights, file) = EfficientNetEncoder::load_weights(None).unwrap();
    let preprocess = Preprocess {
        size: 112,
        fit: Fit::Stretch,
    };
    let tap = Tap::Block(10);
    let pictures = [picture("chelsea-224.png")];
    let on_gpu = EfficientNetEncoder::on_burn(&weights, &file, tap, preprocess, &device)
        .encode(&pictures)
        .unwrap();
    let on_cpu = EfficientNetEncoder::on_cpu(&weights, &file, tap, preprocess, Kernels::detect())
        .encode(&pictures)
        .unwrap();
    let difference = max_difference(on_gpu.as_slice(), on_cpu.as_slice());
    assert!(difference < 1e-3, "{difference}");
}

#[test]
fn the_stored_crops_normalize_to_the_reference_input() {
    for photo in PHOTOS {
        let crop = picture(&format!("{photo}-224.png"));
        let places = 224 * 224;
        // The reference is `[colour, row, column]`, of which every eleventh value is kept.
        let input: Vec<f32> = (0..3 * places)
            .step_by(11)
            .map(|i| Preprocess::normalize(crop.as_raw()[i % places * 3 + i / places]))
            .collect();
        let difference = max_difference(&input, &golden(&format!("{photo}.input.every11")));
        assert!(difference < 1e-3, "{photo}: {difference}");
    }
}

#[test]
fn photographs_are_cropped_as_the_reference_to_one_level_of_a_byte() {
    let mut preprocessor = Preprocessor::new(CROP);
    for photo in PHOTOS {
        let original = picture(&format!("{photo}.png"));
        let crop = preprocessor.square(&original).unwrap();
        let expected = picture(&format!("{photo}-224.png"));
        let levels = crop
            .iter()
            .zip(expected.as_raw())
            .map(|(a, b)| a.abs_diff(*b));
        assert!(levels.clone().all(|level| level <= 1), "{photo}");
        assert!(
            levels.filter(|&level| level == 1).count() < crop.len() / 100,
            "{photo}"
        );
    }
}

// Activations of the early blocks reach a hundred, so the difference is measured against the largest.
#[test]
fn both_engines_agree_at_every_tap_and_size() {
    let (weights, file) = EfficientNetEncoder::load_weights(None).unwrap();
    let device = DeviceChoice::Cpu.burn_device().unwrap();
    let pictures = [picture("chelsea-224.png"), picture("coffee-224.png")];
    let taps = [
        Tap::Stem,
        Tap::Block(0),
        Tap::Block(2),
        Tap::Block(4),
        Tap::Block(10),
        Tap::Block(15),
        Tap::Pooled,
        Tap::Logits,
    ];
    for (size, taps) in [
        (112, &taps[..]),
        (224, &[Tap::Pooled]),
        (75, &[Tap::Block(4), Tap::Pooled]),
    ] {
        let preprocess = Preprocess {
            size,
            fit: Fit::Stretch,
        };
        for &tap in taps {
            let mut reference =
                EfficientNetEncoder::on_burn(&weights, &file, tap, preprocess, &device);
            let reference = reference.encode(&pictures).unwrap();
            for kernels in Kernels::available() {
                let mut encoder =
                    EfficientNetEncoder::on_cpu(&weights, &file, tap, preprocess, kernels);
                let features = encoder.encode(&pictures).unwrap();
                let largest = reference
                    .as_slice()
                    .iter()
                    .fold(1.0, |most: f32, v| most.max(v.abs()));
                let difference =
                    max_difference(features.as_slice(), reference.as_slice()) / largest;
                assert!(
                    difference < 1e-5,
                    "{} {tap}@{size}: {difference}",
                    kernels.name()
                );
            }
        }
    }
}

#[test]
fn the_photographs_are_recognised() {
    // ImageNet classes: 281 tabby, 282 tiger cat, 285 Egyptian cat; 967 espresso.
    let mut encoder = open("efficientnet-lite0:logits@224crop", DeviceChoice::Cpu).unwrap();
    let logits = encoder
        .encode(&PHOTOS.map(|photo| picture(&format!("{photo}-224.png"))))
        .unwrap();
    let best = |row: &[f32]| {
        (0..row.len())
            .max_by(|&a, &b| row[a].total_cmp(&row[b]))
            .unwrap()
    };
    assert!([281, 282, 285].contains(&best(logits.row(0))));
    assert_eq!(best(logits.row(1)), 967);
}

#[test]
fn a_frame_encodes_to_the_same_row_alone_and_in_a_batch() {
    let mut encoder = open("efficientnet-lite0:block10@112", DeviceChoice::Cpu).unwrap();
    assert_eq!(encoder.spec().dim, 5488);
    let frames: Vec<RgbImage> = (0..7)
        .map(|i| {
            picture(if i % 2 == 0 {
                "chelsea-224.png"
            } else {
                "coffee-224.png"
            })
        })
        .collect();
    let together = encoder.encode(&frames).unwrap();
    for (frame, row) in frames.iter().zip(together.rows()) {
        assert_eq!(
            encoder
                .encode(std::slice::from_ref(frame))
                .unwrap()
                .as_slice(),
            row
        );
    }
    assert!(encoder.encode(&[]).unwrap().is_empty());
}

#[test]
fn tap_size_and_weights_each_change_the_fingerprint() {
    let (weights, file) = EfficientNetEncoder::load_weights(None).unwrap();
    assert_eq!(file.sha256, EFFICIENTNET_LITE0.sha256);
    let fingerprint = |file: &VerifiedFile, tap, preprocess| {
        EfficientNetEncoder::on_cpu(&weights, file, tap, preprocess, Kernels::detect())
            .spec()
            .fingerprint
            .clone()
    };
    let other_file = VerifiedFile {
        sha256: "0".repeat(64),
        ..file.clone()
    };
    let small = Preprocess {
        size: 112,
        fit: Fit::Stretch,
    };
    let all = [
        fingerprint(&file, Tap::Block(10), AS_IS),
        fingerprint(&file, Tap::Block(9), AS_IS),
        fingerprint(&file, Tap::Block(10), CROP),
        fingerprint(&file, Tap::Block(10), small),
        fingerprint(&other_file, Tap::Block(10), AS_IS),
    ];
    for (i, one) in all.iter().enumerate() {
        assert!(all[i + 1..].iter().all(|other| other != one));
    }
    assert_eq!(all[0], fingerprint(&file, Tap::Block(10), AS_IS));
}
