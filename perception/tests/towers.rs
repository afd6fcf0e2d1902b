//! CLIP and SigLIP against `transformers` (`tests/peers/goldens/towers.py`, `clip_tokens.py`).
//!
//! Weights come from a formula of their names that both sides compute, so that a model of 600 MB needs none of them stored.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use rapport_perception::state_dict::{HostTensor, StateDict};
use rapport_perception::towers::{
    PairConfig, PictureTower, SentenceTower, Tokens, to_hugging_face,
};
use rapport_perception::{DeviceChoice, open, open_text};
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    config: serde_json::Value,
    shapes: BTreeMap<String, Vec<usize>>,
    pictures: Vec<Vec<f32>>,
    sentences: Vec<Vec<u32>>,
    rows: Vec<Vec<f32>>,
}

fn goldens() -> BTreeMap<String, Golden> {
    serde_json::from_str(include_str!("data/towers.json")).unwrap()
}

/// `-1..1` from a name and a number: splitmix64 of FNV-1a.
fn uniform(name: &str, count: usize) -> Vec<f32> {
    let start = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (0..count as u64)
        .map(|i| {
            let mut z = i.wrapping_add(start).wrapping_add(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            (z >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn weight(name: &str, shape: &[usize]) -> HostTensor {
    let norm = name.contains("norm");
    let inputs: usize = shape[1..].iter().product();
    let (offset, scale) = if norm && name.ends_with("weight") {
        (1.0, 0.1)
    } else if norm {
        (0.0, 0.1)
    } else if name.ends_with("bias") {
        (0.0, 0.02)
    } else if (name.contains("embedding") && !name.contains("patch")) || name.ends_with("probe") {
        (0.0, 0.5)
    } else {
        (0.0, (3.0 / inputs as f32).sqrt())
    };
    HostTensor {
        shape: shape.to_vec(),
        values: uniform(name, shape.iter().product())
            .into_iter()
            .map(|u| u * scale + offset)
            .collect(),
    }
}

fn weights(golden: &Golden) -> HashMap<String, HostTensor> {
    let shapes = golden.shapes.iter();
    shapes
        .map(|(name, shape)| (name.clone(), weight(name, shape)))
        .collect()
}

fn assert_near(found: Tensor<2>, expected: &[Vec<f32>], what: &str) {
    let found: Vec<f32> = found.into_data().try_to_vec().unwrap();
    let expected: Vec<f32> = expected.concat();
    assert_eq!(found.len(), expected.len());
    let worst = found
        .iter()
        .zip(&expected)
        .map(|(f, e)| (f - e).abs())
        .fold(0.0, f32::max);
    assert!(worst < 1e-4, "{what}: {worst}");
}

fn check(name: &str, golden: &Golden, dict: &StateDict) {
    let config = PairConfig::from_hugging_face(&golden.config.to_string()).unwrap();
    let device = Device::flex();
    let side = config.picture.side;
    let pixels = uniform("pictures", 2 * 3 * side * side);
    let pictures = Tensor::<4>::from_data(TensorData::new(pixels, [2, 3, side, side]), &device);
    let tower = PictureTower::new(dict, &config, &device).unwrap();
    assert_near(
        tower.forward(pictures),
        &golden.pictures,
        &format!("{name}, pictures"),
    );
    let tower = SentenceTower::new(dict, &config, &device).unwrap();
    for (ids, row) in golden.sentences.iter().zip(&golden.rows) {
        assert_near(
            tower.forward(&[ids]),
            std::slice::from_ref(row),
            &format!("{name}, {ids:?}"),
        );
    }
}

#[test]
fn small_towers_equal_those_of_transformers() {
    let goldens = goldens();
    for name in ["clip-small", "clip-gelu-small", "siglip-small"] {
        let golden = &goldens[name];
        check(name, golden, &StateDict::new(weights(golden)));
    }
}

#[test]
fn towers_of_the_size_of_vit_b_32_equal_those_of_transformers() {
    let golden = &goldens()["clip-vit-b-32"];
    check("clip-vit-b-32", golden, &StateDict::new(weights(golden)));
}

#[test]
fn open_clips_names_give_the_same_towers() {
    let golden = &goldens()["clip-gelu-small"];
    let dict = to_hugging_face(StateDict::new(as_open_clip(weights(golden))));
    check("open_clip", golden, &dict);
}

/// The weights as OpenCLIP names them: the other way round than the library goes.
fn as_open_clip(mut tensors: HashMap<String, HostTensor>) -> HashMap<String, HostTensor> {
    let mut renamed = HashMap::new();
    for (tower, prefix) in [("vision_model", "visual."), ("text_model", "")] {
        for layer in 0..2 {
            for end in ["weight", "bias"] {
                let parts = ["q", "k", "v"].map(|p| {
                    tensors
                        .remove(&format!(
                            "{tower}.encoder.layers.{layer}.self_attn.{p}_proj.{end}"
                        ))
                        .unwrap()
                });
                let mut shape = parts[0].shape.clone();
                shape[0] *= 3;
                let values = parts.iter().flat_map(|p| p.values.clone()).collect();
                let key = format!("{prefix}transformer.resblocks.{layer}.attn.in_proj_{end}");
                renamed.insert(key, HostTensor { shape, values });
            }
        }
    }
    for (name, tensor) in tensors {
        let key = name
            .replace(
                "vision_model.encoder.layers.",
                "visual.transformer.resblocks.",
            )
            .replace("text_model.encoder.layers.", "transformer.resblocks.")
            .replace("self_attn.out_proj", "attn.out_proj")
            .replace("layer_norm", "ln_")
            .replace("mlp.fc1", "mlp.c_fc")
            .replace("mlp.fc2", "mlp.c_proj")
            .replace(
                "vision_model.embeddings.class_embedding",
                "visual.class_embedding",
            )
            .replace("vision_model.embeddings.patch_embedding", "visual.conv1")
            .replace(
                "vision_model.embeddings.position_embedding.weight",
                "visual.positional_embedding",
            )
            .replace("vision_model.pre_layrnorm", "visual.ln_pre")
            .replace("vision_model.post_layernorm", "visual.ln_post")
            .replace("text_model.embeddings.token_embedding", "token_embedding")
            .replace(
                "text_model.embeddings.position_embedding.weight",
                "positional_embedding",
            )
            .replace("text_model.final_ln_", "ln_final");
        let (key, turned) = match &*key {
            "visual_projection.weight" => ("visual.proj", true),
            "text_projection.weight" => ("text_projection", true),
            other => (other, false),
        };
        let tensor = if turned {
            let [a, b] = tensor.shape[..] else {
                unreachable!()
            };
            let values = (0..b).flat_map(|j| (0..a).map(move |i| (i, j)));
            HostTensor {
                shape: vec![b, a],
                values: values.map(|(i, j)| tensor.values[i * b + j]).collect(),
            }
        } else {
            tensor
        };
        renamed.insert(key.to_owned(), tensor);
    }
    renamed
}

#[test]
fn a_missing_and_a_misshapen_tensor_are_named() {
    let golden = &goldens()["siglip-small"];
    let config = PairConfig::from_hugging_face(&golden.config.to_string()).unwrap();
    let device = Device::flex();
    let without = |name: &str, shape: Option<Vec<usize>>| {
        let mut tensors = weights(golden);
        let tensor = tensors.remove(name).unwrap();
        if let Some(shape) = shape {
            tensors.insert(name.into(), HostTensor { shape, ..tensor });
        }
        StateDict::new(tensors)
    };
    let name = "vision_model.head.attention.in_proj_weight";
    let error = PictureTower::new(&without(name, None), &config, &device).unwrap_err();
    assert!(error.to_string().contains(name), "{error}");
    let name = "text_model.encoder.layers.1.mlp.fc2.weight";
    let bent = without(name, Some(vec![96, 48]));
    let error = SentenceTower::new(&bent, &config, &device)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(name) && error.contains("[96, 48]"),
        "{error}"
    );
}

#[test]
fn a_thousand_strings_have_the_numbers_of_transformers() {
    let rows: Vec<(String, Vec<u32>)> =
        serde_json::from_str(include_str!("data/clip_tokens.json")).unwrap();
    assert_eq!(rows.len(), 1000);
    let config = PairConfig::from_hugging_face(r#"{"model_type": "clip"}"#).unwrap();
    let tokens = Tokens::new(&config, None).unwrap();
    let wrong: Vec<_> = rows
        .iter()
        .filter_map(|(text, expected)| {
            let found = tokens.ids(text).unwrap();
            (found != *expected).then_some((text, expected, found))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} differ, such as {:?}",
        wrong.len(),
        wrong[0]
    );
}

/// A folder as the hub has it, with a word-level tokenizer of a hundred words.
fn folder(golden: &Golden, dtype: Dtype) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "config.json",
        golden.config.to_string().as_bytes(),
    );
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = weights(golden)
        .into_iter()
        .map(|(name, tensor)| {
            let bytes = match dtype {
                Dtype::F16 => tensor
                    .values
                    .iter()
                    .flat_map(|&v| half::f16::from_f32(v).to_le_bytes())
                    .collect(),
                _ => tensor.values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            };
            (name, tensor.shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (
            name.as_str(),
            TensorView::new(dtype, shape.clone(), bytes).unwrap(),
        )
    });
    write(
        dir.path(),
        "model.safetensors",
        &safetensors::serialize(views, None).unwrap(),
    );
    let words: BTreeMap<String, u32> = (0..98).map(|i| (format!("w{i}"), i)).collect();
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "w0"}
    });
    write(
        dir.path(),
        "tokenizer.json",
        tokenizer.to_string().as_bytes(),
    );
    dir
}

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(dir.join(name), bytes).unwrap();
}

#[test]
fn a_folder_opens_as_a_pair_whose_halves_know_each_other() {
    let golden = &goldens()["siglip-small"];
    let (dir, halves) = (folder(golden, Dtype::F32), folder(golden, Dtype::F16));
    let name = format!("dir:{}", dir.path().display());
    let mut pictures = open(&name, DeviceChoice::Cpu).unwrap();
    let mut sentences = open_text(&name, DeviceChoice::Cpu).unwrap();
    assert_eq!(pictures.spec(), sentences.spec());
    // Punctuation and capitals are the same to SigLIP; the sentence is filled up with end marks.
    let rows = sentences.encode_text(&["W7, w3!", "w7 w3"]).unwrap();
    for ((found, same), expected) in rows.row(0).iter().zip(rows.row(1)).zip(&golden.rows[0]) {
        assert!(
            (found - expected).abs() < 1e-4 && found == same,
            "{found} {expected}"
        );
    }
    let frame = image::RgbImage::from_fn(50, 40, |x, y| {
        image::Rgb([(5 * x) as u8, (6 * y) as u8, 90])
    });
    let full = pictures.encode(&[frame.clone(), frame.clone()]).unwrap();
    assert_eq!((full.len(), full.dim()), (2, 48));
    assert_eq!(full.row(0), full.row(1));
    // Half precision moves the result a little; another way of squeezing moves it more, and both are other encoders.
    let half = format!("dir:{}", halves.path().display());
    let mut half = open(&half, DeviceChoice::Cpu).unwrap();
    let near = half.encode(std::slice::from_ref(&frame)).unwrap();
    let apart = |a: &[f32], b: &[f32]| {
        a.iter()
            .zip(b)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max)
    };
    assert!(apart(near.row(0), full.row(0)) < 1e-2);
    let mut cropped = open(&format!("{name}@crop"), DeviceChoice::Cpu).unwrap();
    let other = cropped.encode(std::slice::from_ref(&frame)).unwrap();
    assert!(apart(other.row(0), full.row(0)) > 1e-3);
    assert_ne!(cropped.spec().fingerprint, pictures.spec().fingerprint);
    assert_ne!(half.spec().fingerprint, pictures.spec().fingerprint);
}
