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
        Features::new(40, values)
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
