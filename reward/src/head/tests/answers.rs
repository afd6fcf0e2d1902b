use super::*;
use crate::model::{Context, RewardModel as _};
use crate::preference::{Choice, ClipId, Preference, SegmentFault};
use crate::store::RewardDir;

const KINDS: [&str; 3] = ["collision", "drop", "wrong object"];

/// Clips of 30 frames in which scripted faults leave their mark on the features, among noise.
fn marked(count: usize, seed: u64) -> MarkedClips {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut all = MarkedClips::default();
    for _ in 0..count {
        let mut values: Vec<f32> = (0..30 * 6).map(|_| normal(&mut rng) as f32 * 0.5).collect();
        let mut faults = Vec::new();
        for (k, kind) in KINDS.iter().enumerate() {
            if rng.random::<f64>() < 0.5 {
                let start = rng.random_range(0..22);
                let end = start + rng.random_range(4..8);
                for t in start..end {
                    // Each fault shows in two features; they overlap.
                    values[t * 6 + k] += 2.5;
                    values[t * 6 + k + 1] -= 2.0;
                }
                faults.push(SegmentFault {
                    start,
                    end,
                    fault: (*kind).into(),
                });
            }
        }
        all.clips
            .push(Clip::from_features(Features::new(6, values), 10.0));
        all.faults.push(faults);
    }
    all
}

fn f1(heads: &FaultHeads, test: &MarkedClips, kind: usize) -> f64 {
    let (mut hit, mut said, mut there) = (0.0, 0.0, 0.0);
    for (i, clip) in test.clips.iter().enumerate() {
        let labels = test.labels(i, KINDS[kind]);
        for (p, inside) in heads.probabilities(clip).unwrap()[kind].iter().zip(labels) {
            let yes = *p > 0.5;
            hit += f64::from(u8::from(yes && inside));
            said += f64::from(u8::from(yes));
            there += f64::from(u8::from(inside));
        }
    }
    2.0 * hit / (said + there)
}

#[test]
fn each_fault_is_found_and_the_reward_dips_there_only() {
    let (heads, _) =
        FaultHeads::train(&encoder(6), &marked(60, 1), &FaultConfig::default(), 2).unwrap();
    assert_eq!(heads.kinds(), KINDS);
    let test = marked(30, 3);
    let scores: Vec<f64> = (0..3).map(|kind| f1(&heads, &test, kind)).collect();
    println!("F1 {scores:.3?}");
    assert!(scores.iter().all(|f| *f > 0.8), "{scores:?}");
    let (mut inside, mut outside) = ((0.0, 0.0), (0.0, 0.0));
    for (i, clip) in test.clips.iter().enumerate() {
        let signal = heads.score(clip, &Context::default()).unwrap();
        assert_eq!(signal.terms.len(), 3);
        let faulty: Vec<bool> = (0..30)
            .map(|t| KINDS.iter().any(|kind| test.labels(i, kind)[t]))
            .collect();
        for (r, faulty) in signal.per_step.iter().zip(faulty) {
            let sum = if faulty { &mut inside } else { &mut outside };
            *sum = (sum.0 + r, sum.1 + 1.0);
        }
    }
    let (inside, outside) = (inside.0 / inside.1, outside.0 / outside.1);
    assert!(inside < -0.75 && outside > -0.15, "{inside} {outside}");
}

#[test]
fn faults_cost_what_they_are_said_to_and_survive_storing() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = FaultConfig::default();
    config.costs.insert("drop".into(), 5.0);
    config.head.epochs = 3;
    let marked = marked(10, 1);
    let (heads, _) = FaultHeads::train(&encoder(6), &marked, &config, 2).unwrap();
    let signal = heads.score(&marked.clips[0], &Context::default()).unwrap();
    let p = heads.probabilities(&marked.clips[0]).unwrap();
    for (t, r) in signal.per_step.iter().enumerate().take(30) {
        assert!((signal.terms["drop"][t] + 5.0 * p[1][t]).abs() < 1e-12);
        assert!((r + p[0][t] + 5.0 * p[1][t] + p[2][t]).abs() < 1e-12);
    }
    let dir = RewardDir::new(dir.path().join("faults"));
    dir.save(&heads, &encoder(6), 2).unwrap();
    let loaded = dir.load().unwrap();
    let after = loaded.model.score(&marked.clips[0], &Context::default());
    assert_eq!(after.unwrap(), signal);
}

#[test]
fn marks_come_from_peoples_records_and_none_is_refused() {
    let marked = marked(4, 1);
    let id = |episode| ClipId {
        dataset: "d".into(),
        episode,
        start: 10,
        end: 40,
    };
    let mut records: Vec<Preference> = (0..4)
        .map(|i| {
            let choice = Choice::Fault {
                clip: id(i),
                faults: marked.faults[i].clone(),
            };
            Preference::now(choice, "ana", "page").unwrap()
        })
        .collect();
    let pair = Choice::Pair {
        better: id(0),
        worse: id(1),
    };
    records.push(Preference::now(pair, "ana", "page").unwrap());
    let clip_of = |id: &ClipId| Ok(marked.clips[id.episode].clone());
    let found = MarkedClips::from_preferences(&records, clip_of).unwrap();
    assert_eq!(found.faults, marked.faults);
    let none = MarkedClips {
        clips: marked.clips.clone(),
        faults: vec![vec![]; 4],
    };
    let error = FaultHeads::train(&encoder(6), &none, &FaultConfig::default(), 1)
        .unwrap_err()
        .to_string();
    assert!(error.contains("no fault is marked"), "{error}");
    let mut everywhere = marked;
    for (clip, faults) in everywhere.clips.iter().zip(&mut everywhere.faults) {
        *faults = vec![SegmentFault {
            start: 0,
            end: clip.len(),
            fault: "drop".into(),
        }];
    }
    // One class only: it is said everywhere, and nothing breaks.
    let (heads, _) =
        FaultHeads::train(&encoder(6), &everywhere, &FaultConfig::default(), 1).unwrap();
    let p = heads.probabilities(&everywhere.clips[0]).unwrap();
    assert!(p[0].iter().all(|p| p.is_finite() && *p > 0.5));
}

/// Clips of three styles and two speeds; the rest is noise.
fn styled(count: usize, seed: u64) -> (Vec<Clip>, Vec<(usize, usize)>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut kinds = Vec::new();
    let clips = (0..count)
        .map(|_| {
            let kind = (rng.random_range(0..3), rng.random_range(0..2));
            kinds.push(kind);
            let values = (0..4).flat_map(|_| {
                let mut row = [0.0f32; 6];
                row.fill_with(|| normal(&mut rng) as f32 * 0.4);
                row[kind.0] += 2.0;
                row[3] += 2.0 * kind.1 as f32;
                row
            });
            Clip::from_features(Features::new(6, values.collect()), 10.0)
        })
        .collect();
    (clips, kinds)
}

fn judged(
    kinds: &[(usize, usize)],
    count: usize,
    seed: u64,
    yes: impl Fn(usize, usize) -> bool,
) -> Vec<Pair> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count)
        .map(|i| {
            let (a, b) = (
                rng.random_range(0..kinds.len()),
                rng.random_range(0..kinds.len()),
            );
            Pair::new(a, b, f64::from(u8::from(yes(a, b))), i)
        })
        .collect()
}

#[test]
fn consistent_clips_score_above_others_whoever_is_asked_first() {
    let (clips, kinds) = styled(80, 1);
    let criteria = [
        (
            "style".to_owned(),
            judged(&kinds, 400, 2, |a, b| kinds[a].0 == kinds[b].0),
        ),
        (
            "speed".to_owned(),
            judged(&kinds, 400, 3, |a, b| kinds[a].1 == kinds[b].1),
        ),
    ];
    let (others, their) = styled(60, 4);
    let wanted: Vec<Clip> = others
        .iter()
        .zip(&their)
        .filter(|(_, kind)| **kind == (1, 0))
        .map(|(clip, _)| clip.clone())
        .take(3)
        .collect();
    let config = ConsistencyConfig::default();
    let judge =
        PairConsistency::train(&encoder(6), &clips, &criteria, &wanted, &config, 5).unwrap();
    let mean = |of: &dyn Fn((usize, usize)) -> bool| {
        let scores: Vec<f64> = others
            .iter()
            .zip(&their)
            .filter(|(_, kind)| of(**kind))
            .map(|(clip, _)| judge.score(clip, &Context::default()).unwrap().total() / 4.0)
            .collect();
        assert!(scores.iter().all(|s| (0.0..=1.0).contains(s)));
        scores.iter().sum::<f64>() / scores.len() as f64
    };
    let both = mean(&|k| k == (1, 0));
    let one = mean(&|k| (k.0 == 1) != (k.1 == 0));
    let neither = mean(&|k| k.0 != 1 && k.1 != 0);
    println!("consistency {both:.3} {one:.3} {neither:.3}");
    assert!(
        both > one + 0.2 && one > neither + 0.2,
        "{both} {one} {neither}"
    );
    // Of two clips, each is as consistent with the other.
    let pair = judge.within(&others[..2]).unwrap();
    assert!((pair[0] - pair[1]).abs() < 1e-6);
    assert_eq!(judge.within(&others[..1]).unwrap(), [1.0]);
    let dir = tempfile::tempdir().unwrap();
    let dir = RewardDir::new(dir.path().join("consistency"));
    dir.save(&judge, &encoder(6), 5).unwrap();
    let loaded = dir.load().unwrap();
    let (before, after) = (
        judge.score(&others[0], &Context::default()).unwrap(),
        loaded.model.score(&others[0], &Context::default()).unwrap(),
    );
    assert_eq!(before, after);
}

#[test]
fn consistency_needs_pairs_and_references() {
    let (clips, kinds) = styled(6, 1);
    let config = ConsistencyConfig::default();
    let criteria = |pairs| [("style".to_owned(), pairs)];
    let train = |criteria: &[(String, Vec<Pair>)], references: &[Clip]| {
        PairConsistency::train(&encoder(6), &clips, criteria, references, &config, 5).is_err()
    };
    assert!(train(&criteria(vec![]), &clips[..1]));
    assert!(train(&criteria(vec![Pair::new(0, 9, 1.0, 0)]), &clips[..1]));
    assert!(train(&criteria(judged(&kinds, 4, 2, |_, _| true)), &[]));
    assert!(train(&[], &clips[..1]));
}
