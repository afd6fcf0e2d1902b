//! Every kind of this room survives being stored, and says what is wrong with a file that is not as it was written.

use super::synthetic::{World, encoder};
use super::*;
use crate::model::{Clip, Context};
use crate::store::{RewardDir, StoredReward, Tensors};
use rapport_perception::Features;

fn quick() -> EmbeddingConfig {
    EmbeddingConfig {
        dim: 4,
        steps: 3,
        ..Default::default()
    }
}

fn models() -> Vec<Box<dyn StoredReward>> {
    let world = World::new(41);
    let clips: Vec<Features> = (0..4).map(|i| world.success(12, i)).collect();
    let encoder = encoder();
    let cycle = CycleConfig {
        embedding: quick(),
        ..Default::default()
    };
    let value = ValueConfig {
        embedding: quick(),
        ..Default::default()
    };
    let progress = ProgressConfig {
        width: 8,
        heads: 2,
        layers: 1,
        frames: 6,
        steps: 3,
        batch: 4,
        stages: Some(crate::steps::SegmentationConfig {
            steps: 2,
            min_size: 3,
            ..Default::default()
        }),
        ..Default::default()
    };
    let shown: Vec<_> = clips.iter().map(|c| ("push".into(), c.clone())).collect();
    let outcomes: Vec<_> = (0..4).map(|i| (world.success(12, i), i % 2 == 0)).collect();
    let success = SuccessConfig {
        steps: 3,
        ..Default::default()
    };
    vec![
        Box::new(cycle::train(&encoder, &clips, &cycle, 1).unwrap().0),
        Box::new(value::train(&encoder, &clips, &value, 1).unwrap().0),
        Box::new(
            CausalProgress::train(&encoder, &shown, &progress, 1)
                .unwrap()
                .0,
        ),
        Box::new(
            SuccessClassifier::train(&encoder, &outcomes, &success, 1)
                .unwrap()
                .0,
        ),
    ]
}

#[test]
fn rewards_come_back_as_they_were() {
    let clip = Clip::from_features(World::new(41).success(15, 9), 10.0);
    for model in models() {
        let dir = tempfile::tempdir().unwrap();
        let dir = RewardDir::new(dir.path());
        dir.save(model.as_ref(), &encoder(), 1).unwrap();
        let loaded = dir.load().unwrap();
        assert_eq!(loaded.kind, model.kind());
        assert!(model.causal() && loaded.model.causal());
        let (a, b) = (
            model.score(&clip, &Context::default()).unwrap(),
            loaded.model.score(&clip, &Context::default()).unwrap(),
        );
        assert_eq!(
            a.terms.keys().collect::<Vec<_>>(),
            b.terms.keys().collect::<Vec<_>>()
        );
        for (a, b) in a.per_step.iter().zip(&b.per_step) {
            assert!((a - b).abs() < 1e-5, "{}: {a} {b}", model.kind());
        }
    }
}

/// A stored model with one of its tensors taken away.
struct Without(Box<dyn StoredReward>, String);

impl crate::model::RewardModel for Without {
    fn score(&self, clip: &Clip, context: &Context) -> Result<crate::model::Signal, RewardError> {
        self.0.score(clip, context)
    }

    fn causal(&self) -> bool {
        self.0.causal()
    }
}

impl StoredReward for Without {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        self.0.config()
    }

    fn tensors(&self) -> Result<Tensors, RewardError> {
        let mut tensors = self.0.tensors()?;
        tensors.remove(&self.1);
        Ok(tensors)
    }
}

#[test]
fn a_missing_tensor_is_an_error_and_no_panic() {
    for model in models() {
        let mut damaged = Without(model, String::new());
        for name in damaged.0.tensors().unwrap().into_keys() {
            damaged.1 = name;
            let dir = tempfile::tempdir().unwrap();
            let dir = RewardDir::new(dir.path());
            dir.save(&damaged, &encoder(), 1).unwrap();
            let error = dir.load().err().map_or(String::new(), |e| e.to_string());
            assert!(
                error.contains("learn the reward again") || error.contains("missing"),
                "{}: {error}",
                damaged.1
            );
        }
    }
}

#[test]
fn features_that_cannot_be_scored_are_refused() {
    for model in models() {
        let score = |features: Features| {
            let clip = Clip::from_features(features, 10.0);
            model.score(&clip, &Context::default())
        };
        let dim = encoder().dim;
        assert!(score(Features::default()).is_err());
        assert!(score(Features::new(dim + 1, vec![0.0; dim + 1])).is_err());
        assert!(score(Features::new(dim, vec![f32::INFINITY; dim])).is_err());
        for extreme in [0.0, f32::MAX, f32::MIN] {
            let signal = score(Features::new(dim, vec![extreme; 2 * dim])).unwrap();
            assert!(
                signal.per_step.iter().all(|r| r.is_finite()),
                "{}",
                model.kind()
            );
        }
    }
}
