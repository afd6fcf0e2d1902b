use super::*;
use crate::model::{Context, RewardModel as _};

fn situation(name: &str) -> Context {
    Context {
        situation: Some(name.into()),
        ..Context::default()
    }
}

fn three() -> HeadConfig {
    HeadConfig {
        members: 3,
        ..quick()
    }
}

/// Fast is good in one situation and bad in the other; half of the pairs are of each.
fn reversed(count: usize, seed: u64) -> Pairs {
    let clips = clips(150, 4, 3, seed);
    let mut pairs = compare(&clips, count, seed + 1, |clip| {
        total(clip, |row| f64::from(row[0]))
    });
    for (i, pair) in pairs.items.iter_mut().enumerate() {
        let careful = i % 2 == 0;
        pair.situation = Some(if careful { "careful" } else { "fast" }.into());
        if careful {
            pair.target.label = 1.0 - pair.target.label;
        }
    }
    pairs
}

#[test]
fn the_opposite_situation_reverses_the_verdict_and_none_leaves_it_open() {
    let training = reversed(400, 1);
    let table = Table::one_hot(LookUp::Situation, &training);
    let (head, _) =
        PreferenceHead::train(&encoder(3), &training, Condition::Table(table), &three(), 2)
            .unwrap();
    let others = reversed(200, 50);
    let (mut turned, mut open) = (0, 0.0);
    for pair in &others.items {
        let (a, b) = (&others.clips[pair.first], &others.clips[pair.second]);
        let p = |context: &Context| head.compare(a, b, context).unwrap().probability;
        let (fast, careful) = (p(&situation("fast")), p(&situation("careful")));
        turned += usize::from((fast > 0.5) != (careful > 0.5));
        let none = p(&Context::default());
        assert!((none - 0.5 * (fast + careful)).abs() < 1e-6, "marginalised");
        open += (none - 0.5f64).abs() / 200.0;
    }
    assert!(turned >= 180, "{turned} of 200");
    assert!(open < 0.1, "{open}");
    // Without the situation there is nothing to learn.
    let (blind, _) =
        PreferenceHead::train(&encoder(3), &training, Condition::None, &three(), 2).unwrap();
    let accuracy = blind.accuracy(&others).unwrap().unwrap();
    assert!((0.35..0.65).contains(&accuracy), "{accuracy}");
    let accuracy = head.accuracy(&others).unwrap().unwrap();
    assert!(accuracy > 0.9, "{accuracy}");
}

#[test]
fn a_situation_may_be_a_vector_and_an_unknown_one_is_named() {
    let training = reversed(300, 1);
    // Embeddings of sentences: two that are near each other, and their opposite.
    let names = ["careful", "fast"].map(String::from).to_vec();
    let vectors = vec![vec![0.6, -0.8], vec![-0.6, 0.8]];
    let table = Table::with_vectors(LookUp::Situation, names, vectors, &training);
    let (head, _) =
        PreferenceHead::train(&encoder(3), &training, Condition::Table(table), &three(), 2)
            .unwrap();
    let accuracy = head.accuracy(&reversed(200, 50)).unwrap().unwrap();
    assert!(accuracy > 0.9, "{accuracy}");
    let error = head
        .score(&training.clips[0], &situation("drunk"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`drunk`") && error.contains("careful, fast"),
        "{error}"
    );
}

#[test]
fn a_clip_against_itself_is_undecided_and_verdicts_are_antisymmetric() {
    let all = clips(160, 4, 3, 9);
    let truth = |clip: &Clip| total(clip, |row| f64::from(row[0] - row[1]));
    let training = compare(&all[..100], 300, 10, truth);
    let config = HeadConfig {
        aggregate: Aggregate::Mean,
        ..three()
    };
    let reference = Condition::Reference(vec![all[0].clone()]);
    let (head, _) = PreferenceHead::train(&encoder(3), &training, reference, &config, 11).unwrap();
    let compare_to =
        |a: &Clip, b: &Clip| head.compare(a, b, &Context::default()).unwrap().probability;
    for clip in &all[100..] {
        assert!((compare_to(clip, clip) - 0.5).abs() < 1e-6);
        let there = compare_to(clip, &all[3]);
        assert!((there + compare_to(&all[3], clip) - 1.0).abs() < 1e-6);
    }
    let accuracy = head
        .accuracy(&compare(&all[100..], 200, 12, truth))
        .unwrap()
        .unwrap();
    assert!(accuracy > 0.85, "{accuracy}");
    // The score against the stored reference rises with the truth, and lies near a half for the reference itself.
    let scores: Vec<f64> = all[100..]
        .iter()
        .map(|clip| head.score(clip, &Context::default()).unwrap().total() / 4.0)
        .collect();
    let truths: Vec<f64> = all[100..].iter().map(truth).collect();
    let rho = crate::eval::spearman(&scores, &truths).unwrap();
    assert!(rho > 0.8, "{rho}");
    assert!(scores.iter().all(|s| (0.0..=1.0).contains(s)));
    assert!(!head.causal());
}

#[test]
fn a_sum_over_frames_cannot_be_compared_with_a_reference() {
    let pairs = compare(&clips(10, 2, 2, 1), 10, 2, |clip| {
        clip.features.row(0)[0].into()
    });
    let reference = Condition::Reference(vec![pairs.clips[0].clone()]);
    let error = PreferenceHead::train(&encoder(2), &pairs, reference, &three(), 0)
        .unwrap_err()
        .to_string();
    assert!(error.contains("head.aggregate"), "{error}");
}
