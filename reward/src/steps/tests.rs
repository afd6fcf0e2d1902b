//! Steps of rendered pushes, whose only true boundary, the moment of contact, is known; beside the pixels stand channels that
//! wander by themselves.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::{EncoderSpec, Features};

use super::*;
use crate::eval::pair_accuracy;
use crate::model::{Clip, Context, RewardModel as _};

/// Side of the picture that is drawn, and of the one that is seen, pixels.
const DRAWN: usize = 32;
const SEEN: usize = 16;
const PIXELS: usize = SEEN * SEEN;
/// Channels that have nothing to do with the task.
const NUISANCE: usize = 32;
/// The place the block belongs to, and the height of the way there.
const GOAL: (f64, f64) = (26.0, 16.0);

/// How a push ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Success,
    /// The pusher stops where it touches the block.
    Stops,
    /// The pusher goes past the block.
    Misses,
}

struct Push {
    frames: Features,
    /// First frame in which the block moves.
    contact: usize,
}

/// A dark disc comes from above, touches a bright block and takes it to a ring. Background, start and pace are each push's own.
fn push(seed: u64, ending: Ending) -> Push {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (light, slope) = (rng.random_range(0.4..0.5), rng.random_range(-0.1..0.1));
    let block = rng.random_range(12.0..14.0);
    let start = (
        block - rng.random_range(8.0..9.0),
        rng.random_range(3.0..6.0),
    );
    let touch = block - 6.0;
    let (reach, take) = (rng.random_range(14..22), rng.random_range(12..20));
    let mut nuisance: Vec<f64> = (0..NUISANCE).map(|_| rng.random_range(-2.0..2.0)).collect();
    let mut values = Vec::new();
    for t in 0..reach + take {
        // Fast at first, then slower, as a hand moves.
        let ease = |share: f64| 1.0 - (1.0 - share).powi(2);
        let (mut disc, mut at) = ((0.0, 0.0), block);
        if t < reach {
            let share = ease(t as f64 / (reach - 1) as f64);
            disc.0 = start.0 + share * (touch - start.0);
            disc.1 = start.1 + share * (GOAL.1 - start.1);
        } else {
            let way = ease((t + 1 - reach) as f64 / take as f64) * (GOAL.0 - block);
            disc = match ending {
                Ending::Stops => (touch, GOAL.1),
                _ => (touch + way, GOAL.1),
            };
            if ending == Ending::Success {
                at += way;
            }
        }
        if ending == Ending::Misses {
            disc.1 = disc.1.min(8.0);
        }
        let brightness = |x: f64, y: f64| {
            let mut seen = light + slope * (x / 16.0 - 1.0);
            if (x - GOAL.0).powi(2) + (y - GOAL.1).powi(2) < 20.0 {
                seen = 0.5 * seen + 0.35;
            }
            if (x - at).abs() < 3.0 && (y - GOAL.1).abs() < 3.0 {
                seen = 0.9;
            }
            if (x - disc.0).powi(2) + (y - disc.1).powi(2) < 9.0 {
                seen = 0.05;
            }
            seen
        };
        let shrink = DRAWN / SEEN;
        for row in 0..SEEN {
            for column in 0..SEEN {
                let mut sum = 0.0;
                for part in 0..shrink * shrink {
                    let (x, y) = (
                        column * shrink + part % shrink,
                        row * shrink + part / shrink,
                    );
                    sum += brightness(x as f64, y as f64) + rng.random_range(-0.03..0.03);
                }
                values.push((sum / (shrink * shrink) as f64) as f32);
            }
        }
        for channel in &mut nuisance {
            *channel += rng.random_range(-0.09..0.09);
            values.push(*channel as f32);
        }
    }
    Push {
        frames: Features::new(PIXELS + NUISANCE, values),
        contact: reach,
    }
}

fn encoder() -> EncoderSpec {
    EncoderSpec {
        name: "drawn".into(),
        dim: PIXELS + NUISANCE,
        fingerprint: "drawn".into(),
    }
}

fn learn(weighting: Weighting) -> (PerceptualSteps, Vec<Push>, Vec<Segmentation>) {
    let pushes: Vec<Push> = (0..5).map(|seed| push(seed, Ending::Success)).collect();
    let frames: Vec<Features> = pushes.iter().map(|push| push.frames.clone()).collect();
    let config = StepsConfig {
        segmentation: SegmentationConfig {
            steps: 2,
            weighting,
            ..SegmentationConfig::default()
        },
        // The form remembered from the paper: the reward of a frame, not of what was reached before.
        combiner: StepCombiner::Exponential2,
        ..StepsConfig::default()
    };
    let (model, cuts) = PerceptualSteps::learn(&encoder(), &frames, config).unwrap();
    (model, pushes, cuts)
}

#[test]
fn the_cut_of_rendered_pushes_is_within_two_frames_of_contact() {
    let (_, pushes, found) = learn(Weighting::ByLength);
    for (push, found) in pushes.iter().zip(&found) {
        let apart = found.cuts[0].abs_diff(push.contact);
        assert!(apart <= 2, "{} {}", found.cuts[0], push.contact);
    }
}

/// Segments that count the same whatever their length (the paper's algorithm as printed) leave the moment of contact for an end of
/// the clip, where a segment of the least length hardly changes.
#[test]
fn segments_that_all_count_the_same_are_cut_off_at_an_end() {
    let (_, pushes, found) = learn(Weighting::Uniform);
    let least = SegmentationConfig::default().min_size;
    for (push, found) in pushes.iter().zip(&found) {
        let at_an_end = [least, push.frames.len() - least].contains(&found.cuts[0]);
        assert!(at_an_end, "{} of {}", found.cuts[0], push.frames.len());
    }
}

#[test]
fn channels_that_wander_by_themselves_are_never_selected() {
    let (model, ..) = learn(Weighting::ByLength);
    for step in 0..2 {
        let chosen = model.features_of(step);
        assert_eq!(chosen.len(), StepsConfig::default().features);
        assert!(chosen.iter().all(|&feature| feature < PIXELS), "{chosen:?}");
    }
}

#[test]
fn pushes_never_seen_are_told_from_failures_by_their_reward() {
    let (model, ..) = learn(Weighting::ByLength);
    let last = |push: &Push| {
        let clip = Clip::from_features(push.frames.clone(), 10.0);
        let signal = model.score(&clip, &Context::default()).unwrap();
        signal.per_step[signal.per_step.len() - 1]
    };
    let successes: Vec<f64> = (100..120)
        .map(|s| last(&push(s, Ending::Success)))
        .collect();
    let failures: Vec<f64> = (200..220)
        .flat_map(|s| [Ending::Stops, Ending::Misses].map(|ending| last(&push(s, ending))))
        .collect();
    let pairs: Vec<(f64, f64)> = successes
        .iter()
        .flat_map(|s| failures.iter().map(move |f| (*s, *f)))
        .collect();
    let area = pair_accuracy(&pairs).unwrap();
    assert!(area > 0.9, "{area}");
}
