//! The sentence encoder against `transformers` on the same weights (`tests/peers/goldens/minilm.py`). Needs `./x setup`.

use rapport_perception::sentence::MiniLm;
use rapport_perception::{DeviceChoice, Features, TextEncoder as _};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    sentences: Vec<String>,
    rows: Vec<Vec<f32>>,
}

fn cosine(features: &Features, a: usize, b: usize) -> f32 {
    let rows = features.row(a).iter().zip(features.row(b));
    rows.map(|(a, b)| a * b).sum()
}

#[test]
fn sentences_are_embedded_as_the_reference_embeds_them() {
    let golden: Golden = serde_json::from_str(include_str!("data/minilm.json")).unwrap();
    let mut encoder = MiniLm::open(DeviceChoice::Cpu).unwrap();
    let sentences: Vec<&str> = golden.sentences.iter().map(String::as_str).collect();
    let found = encoder.encode_text(&sentences).unwrap();
    assert_eq!(
        (found.len(), found.dim()),
        (golden.rows.len(), encoder.spec().dim)
    );
    for (sentence, (found, expected)) in sentences.iter().zip(found.rows().zip(&golden.rows)) {
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-4,
                "{sentence}: {found} {expected}"
            );
        }
    }
    // Published with the weights' description: two sentences about eating, and one about something else.
    assert!((cosine(&found, 0, 1) - 0.755).abs() < 1e-3);
    assert!((cosine(&found, 0, 2) + 0.105).abs() < 1e-3);
    // Alone or among others, a sentence means the same.
    let alone = encoder.encode_text(&sentences[3..4]).unwrap();
    for (alone, among) in alone.row(0).iter().zip(found.row(3)) {
        assert!((alone - among).abs() < 1e-5);
    }
    assert!(encoder.encode_text(&[]).unwrap().is_empty());
}
