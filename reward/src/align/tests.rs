use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::objective::{PairLoss, PairObjective};

/// Frames in which an "arm" moves a lot and an "object" on a line shows faintly; clips are liked for how far the object
/// ends along the line.
struct World {
    rng: ChaCha8Rng,
    mixing: Vec<[f64; 8]>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mixing = (0..40)
            .map(|_| std::array::from_fn(|_| rng.random::<f64>() - 0.5))
            .collect();
        Self { rng, mixing }
    }

    /// A clip with the object this far from the end of the line. Five bumps along the line show where it is.
    fn clip(&mut self, frames: usize, distance: f64) -> Features {
        let mut values = Vec::new();
        for _ in 0..frames {
            let arm: [f64; 3] = std::array::from_fn(|_| 3.0 * (self.rng.random::<f64>() - 0.5));
            let object: [f64; 5] =
                std::array::from_fn(|i| 0.5 * (-(distance - 0.25 * i as f64).powi(2) / 0.1).exp());
            for row in &self.mixing {
                let noise = 0.02 * (self.rng.random::<f64>() - 0.5);
                let seen: f64 = arm.iter().chain(&object).zip(row).map(|(a, m)| a * m).sum();
                values.push((2.0 + seen + noise) as f32);
            }
        }
        Features::new(self.mixing.len(), values)
    }

    fn triplets(&mut self, count: usize, frames: usize) -> Comparisons {
        let mut clips = Vec::new();
        let mut triplets = Vec::new();
        for i in 0..count {
            let near = 0.1 + 0.4 * self.rng.random::<f64>();
            let far = near + 0.2 + 0.3 * self.rng.random::<f64>();
            for distance in [0.0, near, far] {
                clips.push(self.clip(frames, distance));
            }
            triplets.push([3 * i, 3 * i + 1, 3 * i + 2]);
        }
        Comparisons::from_triplets(clips, &triplets).unwrap()
    }
}

/// Share of triplets in which transport in the embedding agrees.
fn accuracy(alignment: Option<&Alignment>, test: &Comparisons) -> f64 {
    let config = crate::transport::TransportConfig::rapl();
    let embed = |i: usize| match alignment {
        Some(alignment) => alignment.embed_points(&test.clips[i]).unwrap(),
        None => Points::from(&test.clips[i]),
    };
    let right = test
        .items
        .iter()
        .filter(|item| {
            let [anchor, near, far] = [item.anchor, item.near, item.far].map(embed);
            let distance = |to: &Points| config.solve(&anchor, to).unwrap().distance();
            distance(&near) < distance(&far)
        })
        .count();
    right as f64 / test.items.len() as f64
}

#[test]
fn triplets_teach_the_embedding_what_to_look_at() {
    let mut world = World::new(1);
    let train = world.triplets(100, 4);
    let test = world.triplets(100, 4);
    let config = AlignConfig {
        epochs: 40,
        ..AlignConfig::default()
    };
    let (alignment, report) = Alignment::train(&train, &[], &config, 0).unwrap();
    let (before, after) = (accuracy(None, &test), accuracy(Some(&alignment), &test));
    assert!(before < 0.8 && after > 0.9, "{before} {after}");
    assert_eq!((report.training, report.validation), (80, 20));
    let best = &report.epochs[report.best_epoch];
    assert!(
        report
            .epochs
            .iter()
            .all(|e| best.validation_loss <= e.validation_loss),
        "the epoch with the least validation loss is kept"
    );
}

#[test]
fn single_frames_are_clips_too() {
    let mut world = World::new(2);
    let train = world.triplets(150, 1);
    let test = world.triplets(100, 1);
    let config = AlignConfig {
        epochs: 40,
        ..AlignConfig::default()
    };
    let (alignment, _) = Alignment::train(&train, &[], &config, 0).unwrap();
    let (before, after) = (accuracy(None, &test), accuracy(Some(&alignment), &test));
    assert!(before < 0.75 && after > 0.9, "{before} {after}");
}

#[test]
fn the_same_seed_gives_the_same_alignment() {
    let mut world = World::new(3);
    let train = world.triplets(30, 2);
    let config = AlignConfig {
        epochs: 3,
        ..AlignConfig::default()
    };
    let run = |seed| Alignment::train(&train, &[], &config, seed).unwrap();
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).0, run(6).0);
}

#[test]
fn every_objective_lowers_its_own_loss() {
    let mut world = World::new(4);
    let mut train = world.triplets(60, 3);
    for (i, item) in train.items.iter_mut().enumerate() {
        if i % 6 == 0 {
            item.label = 0.5;
        }
    }
    for loss in [
        PairLoss::NegativeLogLikelihood,
        PairLoss::OneMinusP,
        PairLoss::Hinge,
    ] {
        for compare in [
            TransportObjective::Distance,
            TransportObjective::Regularised,
        ] {
            let config = AlignConfig {
                compare,
                objective: PairObjective {
                    loss,
                    ..AlignConfig::default().objective
                },
                equal_weight: 1.0,
                epochs: 20,
                validation: 0.0,
                ..AlignConfig::default()
            };
            let (_, report) = Alignment::train(&train, &[], &config, 0).unwrap();
            let losses: Vec<f64> = report.epochs.iter().map(|e| e.training_loss).collect();
            assert!(
                losses[20] < 0.75 * losses[0],
                "{loss:?} {compare:?} {losses:?}"
            );
            assert_eq!(report.best_epoch, 20, "without validation the last is kept");
        }
    }
}

#[test]
fn without_components_the_head_sits_on_the_features_themselves() {
    let mut world = World::new(5);
    let train = world.triplets(20, 2);
    let config = AlignConfig {
        epochs: 2,
        ..AlignConfig::paper()
    };
    let (alignment, report) = Alignment::train(&train, &[], &config, 0).unwrap();
    assert_eq!(report.components, 40);
    assert!(alignment.mean.iter().all(|&m| m == 0.0));
    assert_eq!((alignment.input_dim(), alignment.dim()), (40, 32));
}

#[test]
fn contradictions_and_circles_end_in_indifference() {
    let mut world = World::new(7);
    let clips: Vec<Features> = (0..3).map(|i| world.clip(3, 0.3 * i as f64)).collect();
    // 1 over 2 and 2 over 1; and, around a common anchor each time, a circle.
    let contradiction = [[0, 1, 2], [0, 2, 1]];
    let circle = [[0, 1, 2], [1, 2, 0], [2, 0, 1]];
    for triplets in [&contradiction[..], &circle] {
        let comparisons = Comparisons::from_triplets(clips.clone(), triplets).unwrap();
        for config in [
            AlignConfig {
                validation: 0.0,
                ..AlignConfig::default()
            },
            AlignConfig {
                validation: 0.0,
                ..AlignConfig::paper()
            },
        ] {
            let (alignment, report) = Alignment::train(&comparisons, &[], &config, 0).unwrap();
            let last = report.epochs[report.best_epoch].training_loss;
            // Two answers that contradict each other cost ln 2 each at the least.
            assert!(last >= std::f64::consts::LN_2 - 0.02, "{last}");
            assert!(last < std::f64::consts::LN_2 + 0.1, "{last}");
            let embedded = alignment.embed(&clips[0]).unwrap();
            assert!(embedded.as_slice().iter().all(|v| v.is_finite()));
        }
    }
}

#[test]
fn clips_of_different_lengths_and_constant_ones_are_compared() {
    let mut world = World::new(8);
    let mut clips = vec![world.clip(1, 0.0), world.clip(9, 0.3), world.clip(60, 0.9)];
    let still = clips[0].row(0).repeat(5);
    clips.push(Features::new(40, still));
    clips.push(Features::new(40, vec![0.0; 40 * 4]));
    let triplets = [[0, 1, 2], [1, 0, 2], [3, 0, 2], [0, 3, 4], [4, 3, 2]];
    let comparisons = Comparisons::from_triplets(clips.clone(), &triplets).unwrap();
    for config in [AlignConfig::default(), AlignConfig::released()] {
        let config = AlignConfig {
            epochs: 5,
            ..config
        };
        let (alignment, report) = Alignment::train(&comparisons, &[], &config, 0).unwrap();
        assert!(report.epochs.iter().all(|e| e.training_loss.is_finite()));
        for clip in &clips {
            let embedded = alignment.embed(clip).unwrap();
            assert_eq!(embedded.len(), clip.len());
            assert!(embedded.as_slice().iter().all(|v| v.is_finite()));
        }
    }
}

/// The last two blocks before block 10 of a small picture, with random weights, and clips of what lies below them.
mod adaptation {
    use rapport_perception::EncoderSpec;
    use rapport_perception::efficientnet::weights::{
        BlockWeights, Convolution, Weights, block_shapes,
    };
    use rapport_perception::efficientnet::{AdapterConfig, AdapterKind, Tail, Tap};

    use super::*;
    use crate::store::StoredReward as _;
    use crate::{Clip, Context, RewardDir, RewardModel as _, TransportMatch};

    const TAP: Tap = Tap::Block(10);

    fn tail(rng: &mut ChaCha8Rng) -> Tail {
        let mut convolution = |shape: [usize; 4]| {
            let fan_in = (shape[1] * shape[2] * shape[3]) as f32;
            let bound = (6.0 / fan_in).sqrt();
            let mut uniform = |count: usize, low: f32, high: f32| -> Vec<f32> {
                (0..count).map(|_| rng.random_range(low..=high)).collect()
            };
            Convolution {
                weight: uniform(shape.iter().product(), -bound, bound),
                bias: uniform(shape[0], 0.0, 0.2),
                shape,
            }
        };
        let blocks = block_shapes().into_iter().map(|shape| BlockWeights {
            shape,
            expand: shape
                .expands()
                .then(|| convolution([shape.expanded, shape.input, 1, 1])),
            depthwise: convolution([shape.expanded, 1, shape.kernel, shape.kernel]),
            project: convolution([shape.output, shape.expanded, 1, 1]),
        });
        let weights = Weights {
            blocks: blocks.collect(),
            stem: convolution([32, 3, 3, 3]),
            head: convolution([1280, 320, 1, 1]),
            classifier: convolution([1000, 1280, 1, 1]),
        };
        Tail::of(&weights, TAP, 32, 2).unwrap()
    }

    fn setting(triplets: usize) -> (Tail, Comparisons) {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let tail = tail(&mut rng);
        let mut world = World::new(10);
        world.mixing = (0..tail.input_dim())
            .map(|_| std::array::from_fn(|_| rng.random::<f64>() - 0.5))
            .collect();
        let comparisons = world.triplets(triplets, 2);
        (tail, comparisons)
    }

    fn config() -> AlignConfig {
        AlignConfig {
            epochs: 10,
            components: 20,
            ..AlignConfig::default()
        }
    }

    fn settings(kind: AdapterKind, epochs: usize) -> AdaptConfig {
        let profile = match kind {
            AdapterKind::LowRank => AdaptConfig::low_rank(),
            AdapterKind::Dense => AdaptConfig::dense(),
        };
        AdaptConfig {
            adapter: AdapterConfig {
                rank: 4,
                ..profile.adapter
            },
            epochs,
            ..profile
        }
    }

    #[test]
    fn without_a_step_it_is_the_head_on_the_encoder_as_it_was() {
        let (tail, comparisons) = setting(12);
        let settings = settings(AdapterKind::LowRank, 0);
        let (adaptation, alignment, report) = adapt(
            tail.clone(),
            TAP,
            &comparisons,
            &[],
            &config(),
            &settings,
            3,
        )
        .unwrap();
        assert_eq!(adaptation.tail(), &tail);
        assert_eq!(adaptation.merged().unwrap(), tail);
        let through = Comparisons {
            clips: comparisons
                .clips
                .iter()
                .map(|clip| adaptation.embed(clip).unwrap())
                .collect(),
            ..comparisons
        };
        let (expected, head) = Alignment::train(&through, &[], &config(), 3).unwrap();
        assert_eq!((alignment, report.head), (expected, head));
        assert_eq!((report.best_epoch, report.epochs.len()), (0, 1));
    }

    #[test]
    fn training_the_blocks_lowers_the_loss_and_leaves_the_base_weights_alone() {
        let (tail, comparisons) = setting(12);
        let config = AlignConfig {
            epochs: 3,
            validation: 0.0,
            ..config()
        };
        for kind in [AdapterKind::LowRank, AdapterKind::Dense] {
            let settings = settings(kind, 4);
            let run = || {
                let tail = tail.clone();
                adapt(tail, TAP, &comparisons, &[], &config, &settings, 0).unwrap()
            };
            let (adaptation, alignment, report) = run();
            let losses: Vec<f64> = report.epochs.iter().map(|e| e.training_loss).collect();
            assert!(losses[4] < 0.9 * losses[0], "{kind:?} {losses:?}");
            assert_eq!(adaptation.tail(), &tail);
            assert_ne!(adaptation.merged().unwrap(), tail);
            let (again, same, _) = run();
            assert_eq!(alignment, same);
            assert_eq!(again.merged().unwrap(), adaptation.merged().unwrap());
        }
    }

    #[test]
    fn an_adapted_reward_survives_storing() {
        let (tail, comparisons) = setting(10);
        let encoder = EncoderSpec {
            name: "below".into(),
            dim: tail.input_dim(),
            fingerprint: "print".into(),
        };
        let settings = settings(AdapterKind::LowRank, 1);
        let config = AlignConfig {
            validation: 0.0,
            ..config()
        };
        let (adaptation, alignment, _) =
            adapt(tail, TAP, &comparisons, &[], &config, &settings, 0).unwrap();
        let above = adaptation.spec(&encoder);
        let exemplar = alignment
            .embed(&adaptation.embed(&comparisons.clips[0]).unwrap())
            .unwrap();
        let inner = TransportMatch::new(
            &Aligned::embedding_spec(&above, &alignment),
            &[exemplar],
            Default::default(),
        )
        .unwrap();
        let aligned = Aligned::new(&above, alignment, Box::new(inner)).unwrap();
        let model = Adapted::new(&encoder, adaptation, Box::new(aligned)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let directory = RewardDir::new(directory.path().join("reward"));
        directory.save(&model, &encoder, 0).unwrap();
        let loaded = directory.load().unwrap();
        assert_eq!(
            (loaded.kind.as_str(), loaded.encoder.dim),
            ("adapted", encoder.dim)
        );
        assert_eq!(loaded.model.tensors().unwrap(), model.tensors().unwrap());
        let clip = Clip::from_features(comparisons.clips[1].clone(), 10.0);
        let context = Context::default();
        // The head is kept in single precision.
        let kept = loaded.score(&encoder, &clip, &context).unwrap();
        let scored = model.score(&clip, &context).unwrap();
        for (a, b) in kept.per_step.iter().zip(&scored.per_step) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
        assert!(!loaded.model.causal());
        let narrow = Clip::from_features(Features::new(2, vec![0.0; 4]), 10.0);
        assert!(model.score(&narrow, &context).is_err());
    }
}

#[test]
fn bad_input_is_refused_with_a_sentence() {
    let mut world = World::new(6);
    let good = world.triplets(3, 2);
    let config = AlignConfig::default();
    let message = |comparisons: &Comparisons, unlabelled: &[Features], config: &AlignConfig| {
        Alignment::train(comparisons, unlabelled, config, 0)
            .unwrap_err()
            .to_string()
    };
    assert!(message(&Comparisons::default(), &[], &config).contains("nothing to learn from"));
    let wide = [Features::new(3, vec![0.0; 3])];
    assert!(message(&good, &wide, &config).contains("3 wide"));
    let broken = [Features::new(40, vec![f32::NAN; 40])];
    assert!(message(&good, &broken, &config).contains("not finite"));
    let absurd = AlignConfig {
        whiten: 2.0,
        ..config.clone()
    };
    assert!(message(&good, &[], &absurd).contains("whiten"));
    let mut ties = good.clone();
    ties.items.iter_mut().for_each(|item| item.label = 0.5);
    assert!(message(&ties, &[], &config).contains("equal"));
}
