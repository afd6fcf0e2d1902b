use super::*;
use crate::network::{Activation, NetworkConfig};
use crate::objective::{PairObjective, PairTarget};

/// Probability that a number of `low` is below one of `high`.
fn auc(low: &[f64], high: &[f64]) -> f64 {
    let below = low.iter().flat_map(|l| {
        high.iter().map(move |h| {
            if l < h {
                1.0
            } else {
                0.5 * f64::from(u8::from(l == h))
            }
        })
    });
    below.sum::<f64>() / (low.len() * high.len()) as f64
}

fn truth(clip: &Clip) -> f64 {
    total(clip, |row| {
        let bent = (f64::from(row[2])).tanh();
        f64::from(row[0]) - 0.7 * f64::from(row[1]) + bent
    })
}

/// Pairs with a share of the labels turned round, and which.
fn flipped(count: usize, share: f64, seed: u64) -> (Pairs, Vec<bool>) {
    let mut pairs = compare(&clips(200, 2, 6, seed), count, seed + 1, truth);
    let mut rng = ChaCha8Rng::seed_from_u64(seed + 2);
    let wrong: Vec<bool> = (0..count).map(|_| rng.random::<f64>() < share).collect();
    for (pair, _) in pairs.items.iter_mut().zip(&wrong).filter(|(_, w)| **w) {
        pair.target = pair.target.swapped();
    }
    (pairs, wrong)
}

fn small() -> HeadConfig {
    HeadConfig {
        network: NetworkConfig {
            hidden: vec![16],
            activation: Activation::Relu,
        },
        members: 2,
        epochs: 30,
        batch: 64,
        learning_rate: 2e-2,
        weight_decay: 0.1,
        ..HeadConfig::default()
    }
}

#[test]
fn weak_labels_are_the_wrong_ones() {
    for seed in 0..2 {
        let (pairs, wrong) = flipped(300, 0.2, 100 * seed);
        let config = CleanConfig::default();
        let (cleaned, strengths) = PreferenceHead::clean(
            &encoder(6),
            &pairs,
            Condition::None,
            &small(),
            &config,
            seed,
        )
        .unwrap();
        let of = |which: bool| -> Vec<f64> {
            let chosen = strengths.iter().zip(&wrong).filter(|(_, w)| **w == which);
            chosen.map(|(s, _)| s.mean).collect()
        };
        let auc = auc(&of(true), &of(false));
        assert!(auc > 0.9, "seed {seed}: {auc}");
        let still = |pairs: &Pairs| {
            let labels = pairs.items.iter().filter(|p| {
                let better = truth(&pairs.clips[p.first]) > truth(&pairs.clips[p.second]);
                better != (p.target.label > 0.5)
            });
            labels.count()
        };
        println!(
            "seed {seed}: AUC {auc:.3}, wrong labels {} before, {} after",
            still(&pairs),
            still(&cleaned)
        );
        assert!(3 * still(&cleaned) < 2 * still(&pairs));
    }
}

#[test]
fn cleaning_helps_on_average() {
    // Single seeds go either way; the mean over ten must not.
    let (mut plain, mut clean) = (0.0, 0.0);
    for seed in 0..10 {
        let (pairs, _) = flipped(200, 0.2, 1000 + 100 * seed);
        let held_out = compare(&clips(150, 2, 6, 7), 300, 8, truth);
        let train = |pairs: &Pairs| {
            let (head, _) =
                PreferenceHead::train(&encoder(6), pairs, Condition::None, &small(), seed).unwrap();
            head.accuracy(&held_out).unwrap().unwrap()
        };
        let config = CleanConfig {
            members: 5,
            ..CleanConfig::default()
        };
        let (cleaned, _) = PreferenceHead::clean(
            &encoder(6),
            &pairs,
            Condition::None,
            &small(),
            &config,
            seed,
        )
        .unwrap();
        plain += train(&pairs) / 10.0;
        clean += train(&cleaned) / 10.0;
    }
    println!("mean accuracy over ten seeds: {plain:.4} as labelled, {clean:.4} cleaned");
    assert!(clean > plain, "{clean} {plain}");
}

#[test]
fn labels_are_turned_softened_and_spaced_by_rank() {
    let mut pairs: Vec<Pair> = (0..10).map(|i| Pair::new(0, 1, 1.0, i)).collect();
    pairs[9].target.label = 0.5;
    // In the label's direction: -4, -3, -2, ...
    let gaps: Vec<Vec<f64>> = (0..10)
        .map(|i| vec![i as f64 - 5.0, i as f64 - 3.0])
        .collect();
    let strengths = strengths(&pairs, &gaps);
    assert_eq!((strengths[0].mean, strengths[0].deviation), (-4.0, 1.0));
    assert_eq!(strengths[9].mean, 0.0, "equal clips have no direction");
    let config = CleanConfig {
        flip_bottom: 0.25,
        smooth_next: 0.35,
        temperature: Some(DynamicTemperature::default()),
        ..CleanConfig::default()
    };
    let cleaned = relabel(&pairs, &strengths, &config);
    let labels: Vec<f64> = cleaned.iter().map(|p| p.target.label).collect();
    assert_eq!(labels, [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]);
    let smoothed: Vec<f64> = cleaned.iter().map(|p| p.target.smoothing).collect();
    assert_eq!(smoothed, [0.0, 0.0, 0.1, 0.1, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let margins: Vec<f64> = cleaned.iter().map(|p| p.target.margin).collect();
    assert_eq!(margins, [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 0.0]);
    let sharp = |i: usize| cleaned[i].target.sharpness;
    assert!((sharp(4) - 1.0).abs() < 1e-12);
    assert!((sharp(8) - (2.0 - (-2.0f64).exp())).abs() < 1e-12);
    assert_eq!(sharp(9), 1.0);
    // -log σ(gap - u): the margin is taken off the gap.
    let value = PairObjective::default().evaluate_target(5.0, &cleaned[7].target);
    let sharpened = 2.0 * PairTarget::default().sharpness - (-1.5f64).exp();
    assert!((value.loss - crate::objective::softplus(-2.0 * sharpened)).abs() < 1e-12);
}

/// Share of the time that a policy over arms, taught by DPO on `pairs` for some steps, beats the uniform one.
fn win_rate(reward: &[f64], pairs: &[(usize, usize, PairTarget)], steps: usize) -> f64 {
    let objective = PairObjective {
        temperature: 10.0,
        ..PairObjective::default()
    };
    let mut logits = vec![0.0; reward.len()];
    for _ in 0..steps {
        let mut gradient = vec![0.0; reward.len()];
        for (a, b, target) in pairs {
            // Ratios to a uniform reference: its logits and the normaliser cancel in the gap.
            let slope = objective
                .evaluate_target(logits[*a] - logits[*b], target)
                .slope;
            gradient[*a] += slope / pairs.len() as f64;
            gradient[*b] -= slope / pairs.len() as f64;
        }
        logits
            .iter_mut()
            .zip(gradient)
            .for_each(|(l, g)| *l -= 20.0 * g);
    }
    let weights: Vec<f64> = logits.iter().map(|l: &f64| l.exp()).collect();
    let sum: f64 = weights.iter().sum();
    let beats = |r: f64| reward.iter().filter(|o| r > **o).count() as f64 + 0.5;
    let wins = weights.iter().zip(reward).map(|(w, r)| w * beats(*r));
    wins.sum::<f64>() / (sum * reward.len() as f64)
}

#[test]
fn strict_where_sure_wins_more_often_in_as_few_steps() {
    // Direct preference optimisation over twenty arms; one pair in five is nearly a tie, with a label by chance.
    let mut found = [[0.0; 2]; 3];
    for seed in 0..10 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let reward: Vec<f64> = (0..20).map(|_| normal(&mut rng)).collect();
        let mut pairs = Vec::new();
        let mut near: Vec<(usize, usize)> =
            (0..20).flat_map(|a| (0..a).map(move |b| (a, b))).collect();
        near.sort_by(|x, y| {
            let gap = |&(a, b): &(usize, usize)| (reward[a] - reward[b]).abs();
            gap(x).total_cmp(&gap(y))
        });
        for i in 0..200 {
            let (a, b, p) = if i % 5 == 0 {
                let (a, b) = near[rng.random_range(0..20)];
                (a, b, 0.5)
            } else {
                let a = rng.random_range(0..20);
                let b = (a + rng.random_range(1..20)) % 20;
                (
                    a,
                    b,
                    crate::objective::sigmoid(3.0 * (reward[a] - reward[b])),
                )
            };
            let first = rng.random::<f64>() < p;
            pairs.push(if first { (a, b) } else { (b, a) });
        }
        let with = |temperature: DynamicTemperature| -> Vec<(usize, usize, PairTarget)> {
            let sharpen = |&(a, b): &(usize, usize)| {
                let mut target = PairTarget::new(1.0);
                target.sharpness = temperature.sharpness((reward[a] - reward[b]).abs());
                (a, b, target)
            };
            pairs.iter().map(sharpen).collect()
        };
        let fixed = with(DynamicTemperature {
            weight: 0.0,
            ..DynamicTemperature::default()
        });
        let scaled = with(DynamicTemperature::default());
        for (sums, steps) in found.iter_mut().zip([30, 100, 1000]) {
            sums[0] += win_rate(&reward, &fixed, steps) / 10.0;
            sums[1] += win_rate(&reward, &scaled, steps) / 10.0;
        }
    }
    println!("win rate fixed, scaled after 30, 100 and 1000 steps: {found:.4?}");
    assert!(
        found[0][1] >= found[0][0] && found[1][1] >= found[1][0],
        "{found:?}"
    );
}

#[test]
fn a_second_judge_takes_weight_off_wrong_labels() {
    let (mut alone, mut weighed) = (0.0, 0.0);
    for seed in 0..6 {
        let (pairs, wrong) = flipped(150, 0.15, 300 + 10 * seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Independent, and right nine times in ten.
        let mut doubted = pairs.clone();
        for pair in &mut doubted.items {
            let better = truth(&pairs.clips[pair.first]) > truth(&pairs.clips[pair.second]);
            let right = rng.random::<f64>() < 0.9;
            let p = if better == right { 0.85 } else { 0.15 };
            pair.target.weight *= crate::preference::second_judge(pair.target.label, p, 0.05);
        }
        let weight = |which: bool| {
            let chosen: Vec<f64> = doubted
                .items
                .iter()
                .zip(&wrong)
                .filter(|(_, w)| **w == which)
                .map(|(p, _)| p.target.weight)
                .collect();
            chosen.iter().sum::<f64>() / chosen.len() as f64
        };
        assert!(weight(true) < 0.5 * weight(false));
        let held_out = compare(&clips(150, 2, 6, 7), 300, 8, truth);
        let train = |pairs: &Pairs| {
            let (head, _) =
                PreferenceHead::train(&encoder(6), pairs, Condition::None, &small(), seed).unwrap();
            head.accuracy(&held_out).unwrap().unwrap() / 6.0
        };
        alone += train(&pairs);
        weighed += train(&doubted);
    }
    println!("accuracy with 15 % wrong labels: {alone:.4} alone, {weighed:.4} weighed");
    assert!(weighed > alone, "{weighed} {alone}");
}

#[derive(serde::Deserialize)]
struct Golden {
    pseudo: Vec<Pseudo>,
    probabilities: Vec<Probability>,
}

#[derive(serde::Deserialize)]
struct Pseudo {
    threshold: f64,
    gaps: Vec<f64>,
    labels: Vec<f64>,
    mask: Vec<bool>,
}

#[derive(serde::Deserialize)]
struct Probability {
    first: Vec<f64>,
    second: Vec<f64>,
    noise: f64,
    label: f64,
    probability: f64,
    loss: f64,
    slope: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../../tests/data/preferences.json")).unwrap()
}

#[test]
fn pseudo_labels_are_surfs() {
    for case in golden().pseudo {
        let config = SurfConfig {
            threshold: case.threshold,
            ..SurfConfig::default()
        };
        for ((gap, label), sure) in case.gaps.iter().zip(&case.labels).zip(&case.mask) {
            assert_eq!(config.pseudo_label(*gap), sure.then_some(*label));
        }
        let pairs: Vec<Pair> = (0..case.gaps.len())
            .map(|i| Pair::new(0, 1, 0.5, i))
            .collect();
        let gaps: Vec<Vec<f64>> = case.gaps.iter().map(|g| vec![*g; 3]).collect();
        let found = config.pseudo_labelled(&pairs, &gaps);
        assert_eq!(found.len(), case.mask.iter().filter(|m| **m).count());
        assert!(
            found
                .iter()
                .all(|p| p.target.label == case.labels[p.answer])
        );
    }
}

#[test]
fn probability_loss_and_slope_are_imitations() {
    for case in golden().probabilities {
        let objective = PairObjective {
            noise: case.noise,
            ..PairObjective::default()
        };
        let gap: f64 = case
            .first
            .iter()
            .zip(&case.second)
            .map(|(a, b)| a - b)
            .sum();
        let value = objective.evaluate(gap, case.label);
        for (ours, theirs) in [
            (value.probability, case.probability),
            (value.loss, case.loss),
            (value.slope, case.slope),
        ] {
            assert!((ours - theirs).abs() < 1e-9, "{ours} {theirs}");
        }
    }
}

#[test]
fn crops_are_stretches_of_the_clip_with_its_columns() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let frames: Vec<f32> = (0..60).map(|t| t as f32).collect();
    let mut clip = Clip::from_features(Features::new(1, frames.clone()), 10.0);
    clip.columns.insert("time".into(), Features::new(1, frames));
    let config = SurfConfig::default();
    for _ in 0..100 {
        let crop = config.crop(&clip, &mut rng);
        assert!((45..=55).contains(&crop.len()));
        assert!(
            crop.features
                .as_slice()
                .windows(2)
                .all(|w| w[1] == w[0] + 1.0)
        );
        assert_eq!(crop.columns["time"], crop.features);
    }
    let short = Clip::from_features(Features::new(1, vec![1.0]), 10.0);
    assert_eq!(config.crop(&short, &mut rng).len(), 1);
    assert!(
        SurfConfig {
            crop: Some((0, 3)),
            ..config
        }
        .validate()
        .is_err()
    );
}

#[test]
fn unlabelled_pairs_that_a_head_is_sure_of_help_it() {
    let (mut few, mut surf) = (0.0, 0.0);
    for seed in 0..5 {
        let all = clips(300, 2, 6, 70 + seed);
        let labelled = compare(&all, 40, 71 + seed, truth);
        let unlabelled = compare(&all, 200, 72 + seed, truth);
        let held_out = compare(&clips(150, 2, 6, 7), 300, 8, truth);
        let train = |pairs: &Pairs| {
            PreferenceHead::train(&encoder(6), pairs, Condition::None, &small(), seed)
                .unwrap()
                .0
        };
        let head = train(&labelled);
        few += head.accuracy(&held_out).unwrap().unwrap() / 5.0;
        let config = SurfConfig::default();
        let sure = config.pseudo_labelled(&unlabelled.items, &head.gaps(&unlabelled).unwrap());
        assert!(!sure.is_empty());
        let mut items = labelled.items.clone();
        items.extend(sure.into_iter().map(|pair| Pair {
            answer: pair.answer + 1000,
            ..pair
        }));
        surf += train(&labelled.with_items(items))
            .accuracy(&held_out)
            .unwrap()
            .unwrap()
            / 5.0;
    }
    println!("accuracy: {few:.4} with forty labels, {surf:.4} with sure pairs besides");
    assert!(surf >= few - 0.005, "{surf} {few}");
}
