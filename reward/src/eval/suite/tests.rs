use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::{EncoderSpec, Features};

use super::*;
use crate::matching::{TransportMatch, TransportMatchConfig};
use crate::model::{Clip, Context, Signal};
use crate::transport::TransportConfig;

/// Clips of a made-up task: `progress` goes from 0 to somewhere (to 1 in successes), features are `[progress, 1 - progress,
/// cheat, noise, noise]`. Some are quick and some are slow. In a few clips of play, `cheat` is on and progress is thrown away.
fn task(seed: u64) -> Vec<Sample> {
    long_task(seed, 40)
}

fn long_task(seed: u64, steps: usize) -> Vec<Sample> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut samples = Vec::new();
    for clip in 0..30 {
        let goal = match clip {
            0..15 => 1.0,
            15..24 => rng.random_range(0.3..0.7),
            _ => 0.0,
        };
        let cheats = clip >= 26;
        let haste = rng.random_range(0.5..1.5);
        let (mut features, mut truth, mut height) = (Vec::new(), Vec::new(), Vec::new());
        for t in 0..steps {
            let progress = goal * (t as f64 / (steps - 1) as f64).powf(haste);
            let progress =
                progress + rng.random_range(-0.02..0.02) - if cheats { 0.4 } else { 0.0 };
            let nuisance = rng.random_range(-0.5..0.5);
            features.extend([
                progress as f32,
                (1.0 - progress) as f32,
                if cheats { 1.0 } else { 0.0 },
                nuisance as f32,
                rng.random_range(-0.5f32..0.5),
            ]);
            truth.push(progress);
            height.push(nuisance);
        }
        let mut sample = Sample::new(Clip::from_features(Features::new(5, features), 10.0));
        sample.phase = Some(truth.iter().map(|p| usize::from(*p > 0.5)).collect());
        sample.truth = Some(truth);
        sample.success = Some(goal == 1.0);
        sample.dimensions.insert("height".into(), height);
        samples.push(sample);
    }
    samples
}

/// A reward that is a function of a frame.
struct OfFrame<F>(F);

impl<F: Fn(&[f32]) -> f64 + Send> RewardModel for OfFrame<F> {
    fn score(&self, clip: &Clip, _: &Context) -> Result<Signal, RewardError> {
        Ok(Signal::new(clip.features.rows().map(&self.0).collect()))
    }

    fn causal(&self) -> bool {
        true
    }
}

fn examined(model: &dyn RewardModel, samples: &[Sample]) -> Examination {
    let found = examine(model, samples, &ExamineConfig::default()).unwrap();
    let json = serde_json::to_string(&found).unwrap();
    assert!(!json.contains("NaN") && !json.contains("inf"), "{json}");
    for check in &found.checks {
        assert!(!check.sentence.is_empty(), "{} says nothing", check.id);
    }
    found
}

fn verdict(found: &Examination, id: &str) -> Verdict {
    found.check(id).unwrap().verdict
}

fn true_reward() -> impl RewardModel {
    // Not more than 1, whatever a picture may show: a reward without an end is doubtful, and rightly.
    OfFrame(|frame: &[f32]| f64::from(if frame[0] > 1.0 { 1.0 } else { frame[0] }))
}

/// Says of each frame what is true of some other one: a hash of the frame picks the value.
fn shuffled_reward() -> impl RewardModel {
    OfFrame(|frame: &[f32]| {
        let bits = frame.iter().fold(17u64, |h, v| {
            (h ^ u64::from(v.to_bits())).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        });
        (bits >> 11) as f64 / (1u64 << 53) as f64
    })
}

#[test]
fn the_true_reward_passes_every_check_that_can_be_made() {
    let found = examined(&true_reward(), &task(1));
    for check in &found.checks {
        assert!(
            matches!(check.verdict, Verdict::Good | Verdict::CannotTell),
            "{}: {}",
            check.id,
            check.sentence
        );
    }
    assert_eq!(found.verdict, Verdict::Good);
    assert!(
        found.summary.contains("can be trusted"),
        "{}",
        found.summary
    );
    let undecided: Vec<&str> = found
        .checks
        .iter()
        .filter(|c| c.verdict == Verdict::CannotTell)
        .map(|c| c.id.as_str())
        .collect();
    assert_eq!(undecided, ["steps", "uncertainty"]);
    let located = found.check("corruption").unwrap().value.unwrap();
    assert!(located.value >= 0.9, "{located}");
}

#[test]
fn a_shuffled_reward_is_bad_everywhere() {
    let found = examined(&shuffled_reward(), &task(2));
    for id in [
        "truth",
        "pairs",
        "pressure",
        "backwards",
        "frozen",
        "time",
        "epic",
        "corruption",
    ] {
        let check = found.check(id).unwrap();
        assert_eq!(check.verdict, Verdict::Bad, "{id}: {}", check.sentence);
    }
    assert_eq!(found.verdict, Verdict::Bad);
    assert!(
        found.summary.starts_with("Do not train"),
        "{}",
        found.summary
    );
}

#[test]
fn a_planted_cheat_is_found_by_the_pressure_probe() {
    // On most clips this is the true reward; the cheat, which the truth dislikes, pays more than success.
    let hackable = OfFrame(|frame: &[f32]| f64::from(frame[0] + 2.5 * frame[2]));
    let found = examined(&hackable, &task(3));
    let check = found.check("pressure").unwrap();
    assert_eq!(check.verdict, Verdict::Bad, "{}", check.sentence);
    assert!(check.sentence.contains("gamed"), "{}", check.sentence);
    let (first, last) = (
        &found.pressure[0],
        &found.pressure[found.pressure.len() - 1],
    );
    assert!(last.proxy > first.proxy && last.truth.value < first.truth.value);
    // The search through features climbs into the same hole.
    assert_ne!(verdict(&found, "holes"), Verdict::Good);
    // Within the clips that progress nothing is wrong with it: only pressure shows the cheat.
    assert_eq!(verdict(&found, "backwards"), Verdict::Good);
    assert_eq!(verdict(&found, "time"), Verdict::Good);
}

#[test]
fn a_reward_that_counts_time_is_found_out() {
    struct Clock;
    impl RewardModel for Clock {
        fn score(&self, clip: &Clip, _: &Context) -> Result<Signal, RewardError> {
            Ok(Signal::new((0..clip.len()).map(|t| t as f64).collect()))
        }
        fn causal(&self) -> bool {
            true
        }
    }
    let found = examined(&Clock, &task(4));
    let backwards = found.check("backwards").unwrap();
    assert_eq!(backwards.verdict, Verdict::Bad);
    assert!(
        backwards
            .sentence
            .starts_with("The reward rises when the video is played backwards"),
        "{}",
        backwards.sentence
    );
    let frozen = found.check("frozen").unwrap();
    assert_eq!(frozen.verdict, Verdict::Bad);
    assert!(
        frozen.sentence.contains("counts time"),
        "{}",
        frozen.sentence
    );
    // It rises with time all right: that alone means nothing.
    assert_eq!(verdict(&found, "time"), Verdict::Good);
    assert_eq!(found.verdict, Verdict::Bad);
}

#[test]
fn transport_without_a_weight_of_time_cannot_tell_backwards() {
    let samples = task(5);
    let spec = EncoderSpec {
        name: "made up".into(),
        dim: 5,
        fingerprint: "0".repeat(64),
    };
    let exemplars: Vec<Features> = samples[..3]
        .iter()
        .map(|s| s.clip.features.clone())
        .collect();
    let transport = TransportConfig {
        epsilon: 0.05,
        ..TransportConfig::rot()
    };
    let config = TransportMatchConfig {
        transport,
        ..TransportMatchConfig::default()
    };
    let model = TransportMatch::new(&spec, &exemplars, config).unwrap();
    let found = examined(&model, &samples[3..20]);
    let check = found.check("backwards").unwrap();
    assert_eq!(check.verdict, Verdict::Bad, "{}", check.sentence);
    assert!(
        check.sentence.contains("give time a weight"),
        "{}",
        check.sentence
    );
    assert_eq!(verdict(&found, "time"), Verdict::CannotTell);
}

#[test]
fn a_reward_that_is_always_the_same_is_bad_and_has_numbers() {
    let found = examined(&OfFrame(|_: &[f32]| 0.5), &task(6));
    assert_eq!(verdict(&found, "varies"), Verdict::Bad);
    assert_eq!(verdict(&found, "truth"), Verdict::Bad);
    assert_eq!(verdict(&found, "pressure"), Verdict::Bad);
    for check in found.checks.iter().filter(|c| c.id != "probes") {
        assert_ne!(
            check.verdict,
            Verdict::Good,
            "{}: {}",
            check.id,
            check.sentence
        );
    }
}

#[test]
fn honest_uncertainty_is_good_and_boasting_is_not() {
    /// The truth with an error that grows with a feature, which it says or halves.
    struct Unsure(f64);
    impl RewardModel for Unsure {
        fn score(&self, clip: &Clip, _: &Context) -> Result<Signal, RewardError> {
            let mut rng = ChaCha8Rng::seed_from_u64(9);
            let (mut per_step, mut deviations) = (Vec::new(), Vec::new());
            for row in clip.features.rows() {
                let deviation = 0.02 + 0.3 * f64::from(row[3] + 0.5);
                let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
                let z = radius * (std::f64::consts::TAU * rng.random::<f64>()).cos();
                per_step.push(f64::from(row[0]) + deviation * z);
                deviations.push(deviation * self.0);
            }
            Ok(Signal {
                uncertainty: Some(deviations),
                ..Signal::new(per_step)
            })
        }
        fn causal(&self) -> bool {
            true
        }
    }
    let samples = task(7);
    let honest = examined(&Unsure(1.0), &samples);
    assert_eq!(
        verdict(&honest, "uncertainty"),
        Verdict::Good,
        "{:?}",
        honest.calibration
    );
    let boasting = examined(&Unsure(0.2), &samples);
    assert_eq!(verdict(&boasting, "uncertainty"), Verdict::Bad);
    assert!(boasting.calibration.unwrap().slack < -0.2);
}

#[test]
fn a_judge_of_outcomes_does_not_see_a_fault_on_the_way() {
    // Pays at the end only: the last frame's progress at every step.
    struct Outcome;
    impl RewardModel for Outcome {
        fn score(&self, clip: &Clip, _: &Context) -> Result<Signal, RewardError> {
            let last = clip.features.row(clip.len() - 1)[0];
            Ok(Signal::new(vec![f64::from(last); clip.len()]))
        }
        fn causal(&self) -> bool {
            false
        }
    }
    let samples = task(8);
    let (outcome, process) = (
        examined(&Outcome, &samples),
        examined(&true_reward(), &samples),
    );
    assert_eq!(verdict(&outcome, "outcome"), Verdict::Good);
    assert_eq!(verdict(&outcome, "process"), Verdict::Bad);
    assert_eq!(verdict(&process, "process"), Verdict::Good);
    let at_end = process.check("process").unwrap().numbers["seen in its last fifth, share"];
    assert_eq!(at_end, Some(0.0));
}

#[test]
fn what_a_reward_follows_instead_of_the_truth_is_named() {
    let found = examined(&OfFrame(|frame: &[f32]| f64::from(frame[3])), &task(9));
    let check = found.check("probes").unwrap();
    assert!(
        check.sentence.contains("follows height"),
        "{}",
        check.sentence
    );
    assert_eq!(check.verdict, Verdict::Doubtful);
    assert_eq!(found.verdict, Verdict::Bad);
}

#[test]
fn few_frames_are_enough_for_a_reward_of_the_frame() {
    let found = examined(&true_reward(), &long_task(10, 200));
    let four = found.sampling.iter().find(|s| s.frames == 4).unwrap();
    assert!(
        four.agreement.unwrap() > 0.95 && four.share <= 0.03,
        "{four:?}"
    );
    assert_eq!(verdict(&found, "economy"), Verdict::Good);
}

#[test]
fn hardly_anything_to_go_by_is_said_and_never_a_failure() {
    let clip = |frames: usize| {
        let values = (0..5 * frames).map(|i| i as f32).collect();
        Clip::from_features(Features::new(5, values), 10.0)
    };
    // One clip of one frame about which nothing is known.
    let one = examined(&true_reward(), &[Sample::new(clip(1))]);
    assert_eq!(one.verdict, Verdict::CannotTell);
    assert!(
        one.checks.iter().all(|c| c.verdict == Verdict::CannotTell),
        "{:#?}",
        one.checks
    );
    // The same when the truth about it is known.
    let mut known = Sample::new(clip(1));
    known.truth = Some(vec![0.5]);
    let one = examined(&true_reward(), &[known]);
    assert_eq!(one.verdict, Verdict::CannotTell, "{:#?}", one.checks);
    // Two short clips, one empty, one with a feature that is no number.
    let mut broken = clip(6);
    broken.features = Features::new(5, vec![f32::NAN; 30]);
    let some = examined(
        &true_reward(),
        &[
            Sample::new(clip(6)),
            Sample::new(Clip::default()),
            Sample::new(broken),
            Sample::new(clip(7)),
        ],
    );
    assert_eq!((some.clips, some.left_out.len()), (2, 2));
    assert!(some.left_out[1].reason.contains("not finite"));
    // Nothing at all.
    let error = examine(&true_reward(), &[], &ExamineConfig::default()).unwrap_err();
    assert!(error.to_string().contains("no clip could be examined"));
    // One class only, and a truth that never changes.
    let mut flat = Sample::new(clip(6));
    flat.truth = Some(vec![1.0; 6]);
    flat.success = Some(true);
    let found = examined(&true_reward(), &[flat.clone(), flat]);
    assert_eq!(verdict(&found, "truth"), Verdict::CannotTell);
    assert_eq!(verdict(&found, "outcome"), Verdict::CannotTell);
}

#[test]
fn what_does_not_fit_and_senseless_settings_are_refused() {
    let mut sample = task(1).remove(0);
    sample.truth = Some(vec![0.0]);
    let error = examine(&true_reward(), &[sample], &ExamineConfig::default()).unwrap_err();
    assert!(
        error.to_string().contains("the truth has 1 values"),
        "{error}"
    );
    let config = ExamineConfig {
        stretches: 0,
        ..ExamineConfig::default()
    };
    assert!(examine(&true_reward(), &task(1), &config).is_err());
}

#[test]
fn the_same_seed_finds_the_same() {
    let samples = task(11);
    assert_eq!(
        examined(&true_reward(), &samples),
        examined(&true_reward(), &samples)
    );
}

/// The regression suite (VLRMBench, arXiv 2503.07478, does this for vision-language rewards): numbers of one reward on one set of
/// clips, held to bounds that a worse reward does not reach.
fn passes_regression(model: &dyn RewardModel) -> Result<(), String> {
    let found = examined(model, &task(12));
    let value = |id: &str| {
        found
            .check(id)
            .and_then(|c| c.value)
            .map_or(0.0, |v| v.value)
    };
    let least = [
        ("truth", 0.95),
        ("pairs", 0.95),
        ("backwards", 0.9),
        ("frozen", 0.95),
        ("time", 0.9),
        ("process", 0.9),
        ("corruption", 0.9),
    ];
    for (id, least) in least {
        if value(id) < least {
            return Err(format!("{id}: {:.3} is below {least}", value(id)));
        }
    }
    let share = found.turn.and_then(|t| t.share_of_ideal).unwrap_or(0.0);
    if share < 0.9 {
        return Err(format!("pressure: {share:.3} of the possible gain"));
    }
    Ok(())
}

#[test]
fn the_regression_suite_passes_a_good_reward_and_fails_degraded_ones() {
    passes_regression(&true_reward()).unwrap();
    let noisy = OfFrame(|frame: &[f32]| f64::from(frame[0] + 1.5 * frame[4]));
    assert!(passes_regression(&noisy).is_err());
    let upside_down = OfFrame(|frame: &[f32]| f64::from(-frame[0]));
    assert!(passes_regression(&upside_down).is_err());
    let coarse = OfFrame(|frame: &[f32]| f64::from(u8::from(frame[0] > 0.8)));
    assert!(passes_regression(&coarse).is_err());
}
