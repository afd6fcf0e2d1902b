//! The U-Net and the transformer against plain PyTorch layers with the same weights: `tests/peers/goldens/diffusion.py`.

use std::path::Path;

use burn::tensor::Device;

use super::denoiser::Sizes;
use super::weights::{tensor, values};
use super::{DenoiserConfig, TransformerConfig, UnetConfig};
use crate::state::StateReader;

const SIZES: Sizes = Sizes {
    horizon: 8,
    action: 2,
    looks: 2,
    observation: 3,
};

fn sine(name: &str, count: usize, size: f64) -> Vec<f32> {
    let start: f64 = name.bytes().map(f64::from).sum();
    (0..count)
        .map(|i| (size * (0.7 * i as f64 + start).sin()) as f32)
        .collect()
}

/// Largest difference, as a share of the largest value.
fn apart(own: &[f32], right: &[f32]) -> f32 {
    assert_eq!(own.len(), right.len());
    let largest = right.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
    own.iter()
        .zip(right)
        .fold(0.0f32, |m, (a, b)| m.max((a - b).abs()))
        / largest
}

#[test]
fn outputs_and_gradients_are_those_of_plain_pytorch_layers() {
    let bytes = include_bytes!("../../tests/data/diffusion.safetensors");
    let golden = StateReader::new(Path::new("diffusion.safetensors"), bytes).unwrap();
    let unet = UnetConfig {
        down_dims: vec![8, 16],
        groups: 4,
        step_width: 8,
        ..UnetConfig::default()
    };
    let transformer = TransformerConfig {
        width: 8,
        layers: 2,
        heads: 2,
    };
    for (kind, config) in [
        ("unet", DenoiserConfig::Unet(unet)),
        ("transformer", DenoiserConfig::Transformer(transformer)),
    ] {
        let (denoiser, layout) = config.build(SIZES);
        let mut parameters = vec![0.0; layout.len()];
        for (name, _, range) in layout.iter() {
            let count = range.len();
            parameters[range].copy_from_slice(&sine(name, count, 0.3));
        }
        let weights = layout.track(&parameters);
        let device: Device = weights.device();
        let noisy = tensor(&sine("noisy", 32, 1.0), [2, 8, 2], &device).require_grad();
        let observations = tensor(&sine("observations", 12, 1.0), [2, 2, 3], &device);
        let out = denoiser.forward(&weights, noisy.clone(), &[3, 47], observations);
        let found = values(out.clone().detach()).unwrap();
        let off = apart(&found, &golden.f32(&format!("{kind}.out")).unwrap());
        assert!(off < 1e-4, "{kind} out: {off}");
        let probe = tensor(&sine("probe", 32, 1.0), [2, 8, 2], &device);
        let gradients = (out * probe).sum().backward();
        let by_noisy = values(noisy.grad(&gradients).unwrap()).unwrap();
        let off = apart(&by_noisy, &golden.f32(&format!("{kind}.noisy")).unwrap());
        assert!(off < 1e-4, "{kind} noisy: {off}");
        let mut gradient = vec![0.0; layout.len()];
        layout
            .gather(&weights, gradients, &mut gradient, 0)
            .unwrap();
        for (name, _, range) in layout.iter() {
            let right = golden.f32(&format!("{kind}.gradient.{name}")).unwrap();
            let off = apart(&gradient[range], &right);
            assert!(off < 1e-4, "{kind} {name}: {off}");
        }
    }
}
