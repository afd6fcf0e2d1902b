use super::*;
use crate::model::{Context, RewardModel as _};
use crate::network::{Activation, NetworkConfig};
use crate::preference::{Choice, ClipId, Preference};
use crate::store::RewardDir;

fn linear(row: &[f32]) -> f64 {
    f64::from(row[0]) - 0.5 * f64::from(row[1])
}

/// Bent: best near a ring, which no line can say.
fn ring(row: &[f32]) -> f64 {
    let radius = f64::from(row[0]).hypot(f64::from(row[1]));
    -(radius - 1.2).powi(2)
}

#[test]
fn a_head_orders_clips_that_it_has_not_seen() {
    let clips = clips(240, 6, 5, 1);
    let truth = |clip: &Clip| total(clip, linear);
    let training = compare(&clips[..160], 300, 2, truth);
    let held_out = compare(&clips[160..], 300, 3, truth);
    let (head, report) =
        PreferenceHead::train(&encoder(5), &training, Condition::None, &quick(), 4).unwrap();
    let accuracy = head.accuracy(&held_out).unwrap().unwrap();
    assert!(accuracy > 0.93, "{accuracy}");
    assert_eq!(report.members.len(), 5);
    assert_eq!(report.training + report.validation, 300);
    assert!(report.validation_accuracy.unwrap() > 0.85, "{report:?}");

    // The verdict on two clips agrees with their returns.
    let clips = &held_out.clips[..2];
    let verdict = head
        .compare(&clips[0], &clips[1], &Context::default())
        .unwrap();
    let returns = head.returns(clips, &Context::default()).unwrap();
    for (gap, (a, b)) in verdict.gaps.iter().zip(returns[0].iter().zip(&returns[1])) {
        assert!((gap - (a - b)).abs() < 1e-4);
    }
    let signal = head.score(&clips[0], &Context::default()).unwrap();
    let mean = returns[0].iter().sum::<f64>() / 5.0;
    assert!((signal.total() - mean).abs() < 1e-4);
}

#[test]
fn the_seed_decides_the_head() {
    let pairs = compare(&clips(40, 3, 4, 1), 60, 2, |clip| total(clip, linear));
    let score = |seed: u64| {
        let (head, report) =
            PreferenceHead::train(&encoder(4), &pairs, Condition::None, &quick(), seed).unwrap();
        let signal = head.score(&pairs.clips[0], &Context::default()).unwrap();
        (signal, report)
    };
    assert_eq!(score(7), score(7));
    assert_ne!(score(7).0, score(8).0);
}

#[test]
fn two_layers_say_what_a_line_cannot() {
    let clips = clips(400, 1, 2, 5);
    let truth = |clip: &Clip| total(clip, ring);
    let training = compare(&clips[..250], 600, 6, truth);
    let held_out = compare(&clips[250..], 400, 7, truth);
    let accuracy = |hidden: Vec<usize>| {
        let config = HeadConfig {
            network: NetworkConfig {
                hidden,
                activation: Activation::Relu,
            },
            members: 2,
            epochs: 60,
            ..quick()
        };
        let (head, _) =
            PreferenceHead::train(&encoder(2), &training, Condition::None, &config, 8).unwrap();
        head.accuracy(&held_out).unwrap().unwrap()
    };
    let (one, two) = (accuracy(vec![]), accuracy(vec![64]));
    assert!(one < 0.65 && two > 0.85, "{one} {two}");
}

/// Expected calibration error in ten bins.
fn calibration_error(verdicts: &[(f64, f64)]) -> f64 {
    let mut bins = [(0.0, 0.0, 0.0); 10];
    for &(p, label) in verdicts {
        let bin = &mut bins[((p * 10.0) as usize).min(9)];
        *bin = (bin.0 + p, bin.1 + label, bin.2 + 1.0);
    }
    let off: f64 = bins.iter().map(|(p, y, _)| (p - y).abs()).sum();
    off / verdicts.len() as f64
}

#[test]
fn an_ensemble_is_better_calibrated_than_its_members() {
    let clips = clips(300, 2, 6, 11);
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    let mut pairs = compare(&clips, 900, 13, |clip| total(clip, linear));
    for pair in &mut pairs.items {
        let gap = total(&clips[pair.first], linear) - total(&clips[pair.second], linear);
        let p = crate::objective::sigmoid(gap);
        pair.target.label = f64::from(u8::from(rng.random::<f64>() < p));
    }
    let (training, held_out) = (
        pairs.with_items(pairs.items[..200].to_vec()),
        pairs.with_items(pairs.items[200..].to_vec()),
    );
    let config = HeadConfig {
        validation: 0.0,
        ..quick()
    };
    let (head, _) =
        PreferenceHead::train(&encoder(6), &training, Condition::None, &config, 14).unwrap();
    let verdicts: Vec<(Vec<f64>, f64)> = held_out
        .items
        .iter()
        .map(|pair| {
            let (a, b) = (&clips[pair.first], &clips[pair.second]);
            let verdict = head.compare(a, b, &Context::default()).unwrap();
            (verdict.members, pair.target.label)
        })
        .collect();
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let together: Vec<_> = verdicts.iter().map(|(m, y)| (mean(m), *y)).collect();
    let alone = (0..5).map(|k| {
        let one: Vec<_> = verdicts.iter().map(|(m, y)| (m[k], *y)).collect();
        calibration_error(&one)
    });
    let (together, alone) = (calibration_error(&together), alone.sum::<f64>() / 5.0);
    assert!(together < alone, "{together} {alone}");
}

#[test]
fn members_disagree_where_nothing_was_shown() {
    let pairs = compare(&clips(80, 3, 4, 1), 150, 2, |clip| total(clip, linear));
    let (head, _) =
        PreferenceHead::train(&encoder(4), &pairs, Condition::None, &quick(), 3).unwrap();
    let deviation = |features: Vec<f32>| {
        let clip = Clip::from_features(Features::new(4, features), 10.0);
        let signal = head.score(&clip, &Context::default()).unwrap();
        signal.uncertainty.unwrap()[0]
    };
    let (near, far) = (
        deviation(vec![0.1; 4]),
        deviation(vec![9.0, 9.0, -9.0, 9.0]),
    );
    assert!(far > 4.0 * near, "{near} {far}");
}

#[test]
fn training_stops_when_enough_pairs_are_in_order() {
    let pairs = compare(&clips(60, 3, 4, 1), 120, 2, |clip| total(clip, linear));
    let config = HeadConfig {
        network: NetworkConfig {
            hidden: vec![64; 3],
            activation: Activation::LeakyRelu,
        },
        learning_rate: 3e-3,
        batch: 16,
        ..HeadConfig::pebble()
    };
    let (_, report) =
        PreferenceHead::train(&encoder(4), &pairs, Condition::None, &config, 3).unwrap();
    for member in &report.members {
        let (last, before) = member.epochs.split_last().unwrap();
        assert!(last.training_accuracy.unwrap() > 0.97);
        assert!(before.iter().all(|e| e.training_accuracy.unwrap() <= 0.97));
        assert!(member.epochs.len() < config.epochs);
    }
}

#[test]
fn fifty_labels_do_behind_named_features_and_the_gap_closes_with_more() {
    // Thirty-two features hold the same two numbers, mixed and among noise; the columns name them.
    let mut rng = ChaCha8Rng::seed_from_u64(21);
    let mixing: Vec<f64> = (0..32 * 10).map(|_| normal(&mut rng)).collect();
    let clips: Vec<Clip> = (0..900)
        .map(|_| {
            let latent: Vec<f64> = (0..10).map(|_| normal(&mut rng)).collect();
            let features = (0..32).map(|i| {
                let x: f64 = (0..10).map(|j| mixing[i * 10 + j] * latent[j]).sum();
                x as f32
            });
            let mut clip = Clip::from_features(Features::new(32, features.collect()), 10.0);
            for (i, name) in ["distance", "tilt"].iter().enumerate() {
                let column = Features::new(1, vec![latent[i] as f32]);
                clip.columns.insert((*name).into(), column);
            }
            clip
        })
        .collect();
    let truth = |clip: &Clip| {
        let column = |name: &str| f64::from(clip.columns[name].row(0)[0]);
        -column("distance") - column("tilt").abs()
    };
    let held_out = compare(&clips[600..], 500, 22, truth);
    let accuracy = |inputs: Inputs, count: usize| {
        let training = compare(&clips[..600], count, 23, truth);
        let config = HeadConfig {
            inputs,
            members: 2,
            batch: if count < 100 { 32 } else { 256 },
            epochs: if count < 100 { 60 } else { 20 },
            ..quick()
        };
        let (head, _) =
            PreferenceHead::train(&encoder(32), &training, Condition::None, &config, 24).unwrap();
        head.accuracy(&held_out).unwrap().unwrap()
    };
    let names = || Inputs::Columns {
        names: vec!["distance".into(), "tilt".into()],
    };
    let few = [accuracy(names(), 50), accuracy(Inputs::Features, 50)];
    let many = [accuracy(names(), 5000), accuracy(Inputs::Features, 5000)];
    assert!(few[0] > few[1] + 0.08, "{few:?} {many:?}");
    assert!(
        many[0] - many[1] < 0.5 * (few[0] - few[1]),
        "{few:?} {many:?}"
    );
}

#[test]
fn a_named_direction_comes_from_twenty_sorted_clips() {
    // Sorted by a hidden attribute that the features mix.
    let clips = clips(300, 2, 6, 31);
    let axis = [0.8, 0.0, -0.6, 0.0, 0.0, 0.0];
    let attribute = |clip: &Clip| {
        total(clip, |row| {
            row.iter().zip(axis).map(|(x, a)| f64::from(*x) * a).sum()
        })
    };
    let mut order: Vec<usize> = (0..20).collect();
    order.sort_by(|&a, &b| attribute(&clips[b]).total_cmp(&attribute(&clips[a])));
    let id = |i: usize| ClipId {
        dataset: "d".into(),
        episode: i,
        start: 0,
        end: 2,
    };
    let ranking = Choice::Rank {
        clips: order.into_iter().map(id).collect(),
    };
    let answer = Preference::now(ranking, "ana", "terminal").unwrap();
    let pairs = Pairs::from_preferences(&[answer], |id| Ok(clips[id.episode].clone())).unwrap();
    let config = HeadConfig {
        network: NetworkConfig {
            hidden: vec![],
            activation: Activation::Relu,
        },
        weight_decay: 0.3,
        ..quick()
    };
    let (head, _) =
        PreferenceHead::train(&encoder(6), &pairs, Condition::None, &config, 32).unwrap();
    let found = head.returns(&clips[20..], &Context::default()).unwrap();
    let found: Vec<f64> = found.iter().map(|m| m.iter().sum()).collect();
    let truth: Vec<f64> = clips[20..].iter().map(attribute).collect();
    let rho = crate::eval::spearman(&found, &truth).unwrap();
    assert!(rho > 0.7, "{rho}");
    // A step along the direction moves the attribute, and little else: steering with it is steering the attribute.
    let direction = head.direction().unwrap();
    let along: f64 = direction.iter().zip(axis).map(|(d, a)| d * a).sum();
    assert!(along > 0.85, "{along} {direction:?}");
}

#[test]
fn every_kind_of_answer_becomes_pairs_with_its_weight() {
    let id = |episode| ClipId {
        dataset: "d".into(),
        episode,
        start: 0,
        end: 1,
    };
    let answer = |choice| Preference::now(choice, "ana", "terminal").unwrap();
    let mut pair = answer(Choice::Pair {
        better: id(0),
        worse: id(1),
    });
    pair.strength = Some(0.5);
    pair.weight = Some(3.0);
    let score = |episode, score| {
        answer(Choice::Score {
            clip: id(episode),
            score,
        })
    };
    let all = [
        pair,
        answer(Choice::Rank {
            clips: (0..4).map(id).collect(),
        }),
        answer(Choice::Equal {
            clips: vec![id(2), id(3)],
        }),
        score(0, 2.0),
        score(5, 4.0),
        score(6, 2.0),
        answer(Choice::Reaction {
            clip: id(0),
            reaction: crate::preference::Reaction::Nudge,
        }),
    ];
    let pairs = Pairs::from_preferences(&all, |id| {
        let features = Features::new(1, vec![id.episode as f32]);
        Ok(Clip::from_features(features, 1.0))
    })
    .unwrap();
    assert_eq!(pairs.clips.len(), 6, "each clip once");
    assert_eq!((pairs.items.len(), pairs.skipped), (1 + 6 + 1 + 3, 1));
    let of = |answer: usize| pairs.items.iter().filter(move |p| p.answer == answer);
    let weight = |answer: usize| of(answer).map(|p| p.target.weight).sum::<f64>();
    assert_eq!([weight(0), weight(1), weight(2)], [3.0, 3.0, 1.0]);
    assert_eq!(of(0).next().unwrap().target.label, 0.75);
    assert_eq!(of(2).next().unwrap().target.label, 0.5);
    let scored: Vec<f64> = pairs.items[8..].iter().map(|p| p.target.label).collect();
    assert_eq!(scored, [0.0, 0.5, 1.0]);
    assert!((weight(3) + weight(4) - 2.0).abs() < 1e-12);
}

#[test]
fn heads_come_back_from_disk_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let mut pairs = compare(&clips(30, 3, 4, 1), 60, 2, |clip| total(clip, linear));
    for (i, pair) in pairs.items.iter_mut().enumerate() {
        pair.situation = Some(["near people", "alone"][i % 2].into());
    }
    let table = Table::one_hot(LookUp::Situation, &pairs);
    let conditions = [
        Condition::None,
        Condition::Table(table),
        Condition::Reference(pairs.clips[..2].to_vec()),
    ];
    for (i, condition) in conditions.into_iter().enumerate() {
        let config = HeadConfig {
            aggregate: Aggregate::Mean,
            epochs: 2,
            ..quick()
        };
        let (head, _) = PreferenceHead::train(&encoder(4), &pairs, condition, &config, 3).unwrap();
        let dir = RewardDir::new(dir.path().join(i.to_string()));
        dir.save(&head, &encoder(4), 3).unwrap();
        let loaded = dir.load().unwrap();
        assert_eq!(loaded.kind, "preference-head");
        for context in [
            Context::default(),
            Context {
                situation: Some("alone".into()),
                ..Context::default()
            },
        ] {
            let before = head.score(&pairs.clips[5], &context).unwrap();
            let after = loaded.model.score(&pairs.clips[5], &context).unwrap();
            assert_eq!(before, after);
        }
        assert_eq!(loaded.model.causal(), head.causal());
    }
}

#[test]
fn what_is_asked_next_is_what_members_dispute() {
    use crate::preference::{QueryConfig, Selection, disagreement};
    let all = clips(60, 3, 4, 1);
    let pairs = compare(&all, 30, 2, |clip| total(clip, linear));
    let (head, _) =
        PreferenceHead::train(&encoder(4), &pairs, Condition::None, &quick(), 3).unwrap();
    let asked: Vec<(usize, usize)> = pairs.items.iter().map(|p| (p.first, p.second)).collect();
    let worth = |selection| {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let config = QueryConfig {
            selection,
            ..QueryConfig::default()
        };
        let context = Context::default();
        let found = head
            .queries(&all, &asked, 12, &context, &config, &mut rng)
            .unwrap();
        assert_eq!(found.len(), 12);
        for (i, &(a, b)) in found.iter().enumerate() {
            assert!(a != b && !asked.contains(&(a, b)) && !asked.contains(&(b, a)));
            assert!(!found[..i].contains(&(a, b)) && !found[..i].contains(&(b, a)));
        }
        let disputes = found
            .iter()
            .map(|&(a, b)| disagreement(&head.compare(&all[a], &all[b], &context).unwrap().gaps));
        disputes.sum::<f64>() / 12.0
    };
    let (active, uniform) = (worth(Selection::Disagreement), worth(Selection::Uniform));
    assert!(active > 1.5 * uniform, "{active} {uniform}");
    for selection in [
        Selection::KCentre,
        Selection::DisagreementKCentre,
        Selection::EntropyKCentre,
        Selection::InformationGain,
        Selection::LogitVariance,
    ] {
        worth(selection);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let config = QueryConfig::default();
    let bad = head.queries(&all, &[(0, 99)], 1, &Context::default(), &config, &mut rng);
    assert!(bad.is_err());
}
