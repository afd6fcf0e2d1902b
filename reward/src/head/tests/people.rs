use super::*;
use crate::model::{Context, RewardModel as _};
use crate::objective::{PairObjective, sigmoid};
use crate::preference::information_gain;
use crate::store::RewardDir;

/// What people of two kinds want: both the first two features, and the opposite of each other in the third and fourth. Their
/// rewards agree in three pairs of four.
fn want(kind: usize, row: &[f32]) -> f64 {
    let own = if kind == 0 { 1.0 } else { -1.0 };
    f64::from(row[0] - row[1]) + own * f64::from(row[2] + row[3])
}

fn value(kind: usize) -> impl Fn(&Clip) -> f64 {
    move |clip| total(clip, |row| want(kind, row))
}

/// Answers of `users` people, every other one of each kind, `count` each.
fn crowd(users: usize, count: usize, seed: u64) -> Pairs {
    let clips = clips(300, 1, 4, seed);
    let mut all = Pairs {
        clips: clips.clone(),
        ..Pairs::default()
    };
    for user in 0..users {
        let own = compare(&clips, count, seed + 1 + user as u64, value(user % 2));
        for mut pair in own.items {
            pair.user = format!("user {user:02}");
            pair.answer = all.items.len();
            all.items.push(pair);
        }
    }
    all
}

fn first(pairs: &Pairs, count: usize) -> Pairs {
    pairs.with_items(pairs.items[..count].to_vec())
}

/// Accuracy of one reward for all, on new clips, over both kinds.
fn pooled_accuracy(crowd: &Pairs) -> f64 {
    let config = HeadConfig {
        members: 1,
        aggregate: Aggregate::Mean,
        epochs: 15,
        ..quick()
    };
    let (head, _) = PreferenceHead::train(&encoder(4), crowd, Condition::None, &config, 1).unwrap();
    let held_out = clips(200, 1, 4, 900);
    let of = |kind| {
        head.accuracy(&compare(&held_out, 300, 901, value(kind)))
            .unwrap()
            .unwrap()
    };
    0.5 * (of(0) + of(1))
}

#[test]
fn few_answers_tell_a_new_persons_ideal() {
    let crowd = crowd(40, 20, 1);
    let config = IdealConfig::default();
    let (model, report) = IdealPoints::train(&encoder(4), &crowd, &config, 2).unwrap();
    assert!(report.validation_accuracy.unwrap() > 0.85, "{report:?}");
    let held_out = clips(200, 1, 4, 900);
    let mut by_labels = [0.0; 4];
    for user in 0..20 {
        let kind = user % 2;
        let own = compare(
            &clips(60, 1, 4, 700 + user as u64),
            20,
            800 + user as u64,
            value(kind),
        );
        let test = compare(&held_out, 200, 901 + user as u64, value(kind));
        for (sum, labels) in by_labels.iter_mut().zip([0, 1, 5, 10]) {
            let mixture = model.fit_user(&first(&own, labels)).unwrap();
            assert!((mixture.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            let gaps = model.gaps(&test, &mixture).unwrap();
            let right = gaps
                .iter()
                .zip(&test.items)
                .filter(|(g, p)| **g * (p.target.label - 0.5) > 0.0);
            *sum += right.count() as f64 / 200.0 / 20.0;
        }
    }
    let pooled = pooled_accuracy(&crowd);
    println!("pooled {pooled:.3}; new person after 0, 1, 5, 10 labels: {by_labels:.3?}");
    assert!((0.68..0.82).contains(&pooled), "{pooled}");
    assert!(
        (by_labels[0] - pooled).abs() < 0.08,
        "{by_labels:?} {pooled}"
    );
    // The toy of our notes reached 0.95 after ten labels. Here the eight hundred answers bound what the shared space can know:
    // 0.944 after ten, some 0.96 after sixty.
    assert!(
        by_labels[2] >= 0.87 && by_labels[3] >= 0.93,
        "{by_labels:?}"
    );
}

#[test]
fn one_prototype_is_one_quadratic_reward_for_all() {
    let crowd = crowd(6, 60, 3);
    let config = IdealConfig {
        space: IdealSpace::Inputs,
        prototypes: 1,
        scaling: InputScaling::Raw,
        weight_decay: 0.0,
        validation: 0.0,
        epochs: 400,
        batch: 400,
        learning_rate: 2e-2,
        ..IdealConfig::default()
    };
    let (model, _) = IdealPoints::train(&encoder(4), &crowd, &config, 4).unwrap();
    // Everybody's mixture is the one prototype, so that people do not matter.
    assert!(model.mixtures().values().all(|w| w == &[1.0]));
    let gaps = model.gaps(&crowd, &[1.0]).unwrap();
    for (pair, gap) in crowd.items.iter().zip(&gaps).take(20) {
        let score = |i: usize, user: Option<&str>| {
            let context = Context {
                user: user.map(Into::into),
                ..Context::default()
            };
            model.score(&crowd.clips[i], &context).unwrap().total()
        };
        let own = score(pair.first, Some(&pair.user)) - score(pair.second, None);
        assert!((own - gap).abs() < 1e-4);
    }
    // Bradley and Terry's fit of -|x - p|² by Newton's method: the gap is 2 p·(a - b) - |a|² + |b|², linear in p.
    let rows: Vec<(nalgebra::DVector<f64>, f64, f64)> = crowd
        .items
        .iter()
        .map(|pair| {
            let row = |i: usize| {
                let values = crowd.clips[i].features.row(0).iter().map(|&v| f64::from(v));
                nalgebra::DVector::from_iterator(4, values)
            };
            let (a, b) = (row(pair.first), row(pair.second));
            let offset = b.norm_squared() - a.norm_squared();
            ((a - b) * 2.0, offset, pair.target.label)
        })
        .collect();
    let mut p = nalgebra::DVector::zeros(4);
    for _ in 0..50 {
        let mut gradient = nalgebra::DVector::zeros(4);
        let mut hessian = nalgebra::DMatrix::zeros(4, 4);
        for (x, offset, label) in &rows {
            let q = sigmoid(x.dot(&p) + offset);
            gradient += x * (q - label);
            hessian += x * x.transpose() * (q * (1.0 - q));
        }
        p -= hessian.cholesky().unwrap().solve(&gradient);
    }
    let (found, _) = model.prototype_values();
    for (ours, newton) in found.iter().zip(p.iter()) {
        assert!((ours - newton).abs() < 0.02, "{found:?} {p}");
    }
}

#[test]
fn a_persons_fit_is_a_minimum_wherever_it_is_looked_at_from() {
    let crowd = crowd(10, 20, 5);
    for distance in [IdealDistance::Squared, IdealDistance::Norm] {
        let config = IdealConfig {
            distance,
            prototypes: 3,
            epochs: 15,
            ..IdealConfig::default()
        };
        let (model, _) = IdealPoints::train(&encoder(4), &crowd, &config, 6).unwrap();
        let own = compare(&crowd.clips, 12, 7, value(1));
        let best = model.fit_user(&own).unwrap();
        let cost = |w: &[f64]| {
            let gaps = model.gaps(&own, w).unwrap();
            let loss: f64 = gaps
                .iter()
                .zip(&own.items)
                .map(|(g, p)| PairObjective::default().evaluate(*g, p.target.label).loss)
                .sum();
            let mean = model.mean_mixture();
            let kl: f64 = mean.iter().zip(w).map(|(m, w)| m * (m / w).ln()).sum();
            loss + config.prior * kl
        };
        let least = cost(&best);
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        for _ in 0..40 {
            let raw: Vec<f64> = (0..3).map(|_| -rng.random::<f64>().ln()).collect();
            let sum: f64 = raw.iter().sum();
            let other: Vec<f64> = raw.iter().map(|w| w / sum).collect();
            // Towards the other, a little and all the way.
            for step in [0.01, 1.0] {
                let there: Vec<f64> = best
                    .iter()
                    .zip(&other)
                    .map(|(b, o)| b + step * (o - b))
                    .collect();
                let far = distance == IdealDistance::Norm && step == 1.0;
                assert!(far || cost(&there) >= least - 1e-6, "{distance:?} {step}");
            }
        }
    }
}

fn latent() -> LatentConfig {
    LatentConfig {
        epochs: 40,
        batch: 16,
        learning_rate: 4e-3,
        ..LatentConfig::default()
    }
}

#[test]
fn two_opposed_groups_are_told_apart_and_telling_questions_are_fewer() {
    let crowd = crowd(40, 40, 11);
    let (model, report) = LatentUsers::train(&encoder(4), &crowd, &latent(), 12).unwrap();
    assert_eq!((report.users, report.pairs), (40, 1600));
    let held_out = clips(200, 1, 4, 900);
    let (mut eight, mut chosen, mut random) = (0.0, 0.0, 0.0);
    for user in 0..16 {
        let kind = user % 2;
        let pool = compare(
            &clips(60, 1, 4, 700 + user as u64),
            40,
            800 + user as u64,
            value(kind),
        );
        let test = compare(&held_out, 200, 901 + user as u64, value(kind));
        let of = |pairs: &Pairs| {
            let posterior = model.infer_user(pairs).unwrap();
            model.accuracy(&test, &posterior).unwrap().unwrap() / 16.0
        };
        eight += of(&first(&pool, 8));
        // Two answers: the most telling ones, or the first two.
        let mut asked = pool.with_items(Vec::new());
        for _ in 0..2 {
            let posterior = model.infer_user(&asked).unwrap();
            let gaps = model.sampled_gaps(&pool, &posterior, 32, 5).unwrap();
            let worth = |i: &usize| information_gain(&gaps[*i]);
            let best = (0..pool.items.len()).max_by(|a, b| worth(a).total_cmp(&worth(b)));
            asked.items.push(pool.items[best.unwrap()].clone());
        }
        chosen += of(&asked);
        random += of(&first(&pool, 2));
    }
    let pooled = pooled_accuracy(&crowd);
    println!(
        "pooled {pooled:.3}; latent after eight answers {eight:.3}; after two answers chosen {chosen:.3}, random {random:.3}"
    );
    assert!(eight > 0.9, "{eight} {:?}", report.epochs.last());
    assert!(pooled < 0.82, "{pooled}");
    assert!(chosen > random + 0.02, "{chosen} {random}");
    // Known people are scored as themselves.
    let known = |user: &str| -> Vec<f64> {
        let context = Context {
            user: Some(user.into()),
            ..Context::default()
        };
        let score = |clip| model.score(clip, &context).unwrap().total();
        held_out.iter().map(score).collect()
    };
    let truths = |kind: usize| -> Vec<f64> { held_out.iter().map(value(kind)).collect() };
    for (user, kind) in [("user 00", 0), ("user 01", 1)] {
        let rho = crate::eval::spearman(&known(user), &truths(kind)).unwrap();
        let other = crate::eval::spearman(&known(user), &truths(1 - kind)).unwrap();
        assert!(rho > 0.85 && rho > other + 0.3, "{rho} {other}");
    }
}

#[test]
fn a_latent_of_no_numbers_is_bradley_and_terry() {
    let crowd = crowd(4, 60, 31);
    let config = LatentConfig {
        latent: 0,
        epochs: 10,
        ..latent()
    };
    let (model, report) = LatentUsers::train(&encoder(4), &crowd, &config, 32).unwrap();
    assert!(report.epochs.iter().all(|e| e.divergence == 0.0));
    // The head with the same scorer and nothing appended gives the same verdicts.
    let (map, scorer) = model.pieces();
    let settings = HeadConfig {
        members: 1,
        aggregate: config.aggregate,
        network: config.scorer.clone(),
        ..HeadConfig::default()
    };
    let head = PreferenceHead::of_scorer(&encoder(4), map, scorer, &settings);
    let theirs = head.gaps(&crowd).unwrap();
    for (ours, theirs) in model.gaps(&crowd, &[]).unwrap().iter().zip(theirs) {
        assert!((ours - theirs[0]).abs() < 1e-5);
    }
    let nobody = model.infer_user(&crowd).unwrap();
    assert_eq!(nobody, Posterior::default());
    let signal = model.score(&crowd.clips[0], &Context::default()).unwrap();
    assert_eq!(signal.uncertainty, None);
}

#[test]
fn each_answer_narrows_what_is_known_and_their_order_does_not_matter() {
    let crowd = crowd(8, 30, 41);
    let config = LatentConfig {
        epochs: 5,
        ..latent()
    };
    let (model, _) = LatentUsers::train(&encoder(4), &crowd, &config, 42).unwrap();
    let prior = model.prior().unwrap();
    assert_eq!(model.infer_user(&crowd.with_items(vec![])).unwrap(), prior);
    let mut before = prior.clone();
    for count in 1..6 {
        let now = model.infer_user(&first(&crowd, count)).unwrap();
        assert!(
            now.variance
                .iter()
                .zip(&before.variance)
                .all(|(a, b)| a < b)
        );
        before = now;
    }
    let mut turned = first(&crowd, 5);
    turned.items.reverse();
    for pair in &mut turned.items {
        std::mem::swap(&mut pair.first, &mut pair.second);
        pair.target = pair.target.swapped();
    }
    let there = model.infer_user(&turned).unwrap();
    for (a, b) in there.mean.iter().zip(&before.mean) {
        assert!((a - b).abs() < 1e-5);
    }
}

#[test]
fn the_divergence_and_its_weight_are_the_formulas() {
    let one = Posterior {
        mean: vec![1.0],
        variance: vec![4.0],
    };
    let standard = Posterior {
        mean: vec![0.0],
        variance: vec![1.0],
    };
    // torch.distributions.kl_divergence(Normal(1, 2), Normal(0, 1))
    assert!((one.divergence(&standard) - 1.306_852_819_4).abs() < 1e-9);
    assert_eq!(one.divergence(&one), 0.0);
    let config = LatentConfig {
        beta: 2.0,
        annealing: 0.5,
        ..LatentConfig::default()
    };
    let betas = [0.0, 0.25, 0.5, 1.0].map(|t| config.beta_at(t));
    for (found, expected) in betas.into_iter().zip([0.0, 1.0, 2.0, 2.0]) {
        assert!((found - expected).abs() < 1e-12);
    }
    let still = LatentConfig {
        annealing: 0.0,
        ..config
    };
    assert_eq!(still.beta_at(0.0), 2.0);
}

#[test]
fn scaled_rewards_of_all_people_lie_between_nothing_and_one() {
    let mut crowd = crowd(6, 40, 51);
    let config = LatentConfig {
        scale: RewardScale::Comparisons,
        epochs: 8,
        ..latent()
    };
    let (model, _) = LatentUsers::train(&encoder(4), &crowd, &config, 52).unwrap();
    for clip in &mut crowd.clips[..10] {
        let values = clip.features.as_slice().iter().map(|v| 50.0 * v).collect();
        clip.features = Features::new(4, values);
        for user in [None, Some("user 03")] {
            let context = Context {
                user: user.map(Into::into),
                ..Context::default()
            };
            let signal = model.score(clip, &context).unwrap();
            assert!(signal.per_step.iter().all(|r| (0.0..=1.0).contains(r)));
            assert!(signal.uncertainty.unwrap().iter().all(|u| u.is_finite()));
        }
    }
}

#[test]
fn people_come_back_from_disk_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let crowd = crowd(4, 20, 61);
    let quick = LatentConfig {
        epochs: 2,
        ..latent()
    };
    let (latent, _) = LatentUsers::train(&encoder(4), &crowd, &quick, 1).unwrap();
    let quick = IdealConfig {
        epochs: 2,
        ..IdealConfig::default()
    };
    let (ideal, _) = IdealPoints::train(&encoder(4), &crowd, &quick, 1).unwrap();
    let models: [Box<dyn crate::store::StoredReward>; 2] = [Box::new(latent), Box::new(ideal)];
    for model in models {
        let dir = RewardDir::new(dir.path().join(model.kind()));
        dir.save(model.as_ref(), &encoder(4), 1).unwrap();
        let loaded = dir.load().unwrap();
        for user in [None, Some("user 02"), Some("a stranger")] {
            let context = Context {
                user: user.map(Into::into),
                ..Context::default()
            };
            let before = model.score(&crowd.clips[3], &context).unwrap();
            let after = loaded.model.score(&crowd.clips[3], &context).unwrap();
            for (a, b) in before.per_step.iter().zip(&after.per_step) {
                assert!((a - b).abs() < 1e-6, "{a} {b}");
            }
        }
    }
}

#[test]
fn people_without_answers_and_senseless_numbers_are_refused() {
    let mut crowd = crowd(2, 10, 71);
    let (mut latent, _) = LatentUsers::train(
        &encoder(4),
        &crowd,
        &LatentConfig {
            epochs: 1,
            ..latent()
        },
        1,
    )
    .unwrap();
    assert!(latent.remember("x", Posterior::default()).is_err());
    let flat = Posterior {
        mean: vec![0.0; 4],
        variance: vec![0.0; 4],
    };
    assert!(latent.remember("x", flat).is_err());
    let (mut ideal, _) = IdealPoints::train(
        &encoder(4),
        &crowd,
        &IdealConfig {
            epochs: 1,
            ..IdealConfig::default()
        },
        1,
    )
    .unwrap();
    assert!(ideal.remember("x", vec![0.5, 0.6]).is_err());
    assert!(ideal.remember("x", vec![f64::NAN, 1.0]).is_err());
    assert!(ideal.remember("x", vec![0.25, 0.75]).is_ok());
    let mut values = crowd.clips[0].features.as_slice().to_vec();
    values[1] = f32::NAN;
    crowd.clips[0].features = Features::new(4, values);
    assert!(IdealPoints::train(&encoder(4), &crowd, &IdealConfig::default(), 1).is_err());
    assert!(LatentUsers::train(&encoder(4), &crowd, &LatentConfig::default(), 1).is_err());
    crowd.items.clear();
    assert!(IdealPoints::train(&encoder(4), &crowd, &IdealConfig::default(), 1).is_err());
    assert!(LatentUsers::train(&encoder(4), &crowd, &LatentConfig::default(), 1).is_err());
}

#[test]
fn contradicting_people_and_answers_stay_finite() {
    let all = clips(4, 2, 4, 81);
    let mut pairs = Pairs::from_indices(all, &[(0, 1), (1, 0), (2, 3), (3, 2), (0, 2)]).unwrap();
    for (i, pair) in pairs.items.iter_mut().enumerate() {
        pair.user = format!("user {}", i % 2);
    }
    let quick = IdealConfig {
        validation: 0.0,
        ..IdealConfig::default()
    };
    let (ideal, _) = IdealPoints::train(&encoder(4), &pairs, &quick, 1).unwrap();
    let mixture = ideal.fit_user(&pairs).unwrap();
    assert!(mixture.iter().all(|w| w.is_finite() && *w >= 0.0));
    let (latent, report) = LatentUsers::train(&encoder(4), &pairs, &latent(), 1).unwrap();
    assert!(report.epochs.iter().all(|e| e.loss.is_finite()));
    let signal = latent.score(&pairs.clips[0], &Context::default()).unwrap();
    assert!(signal.per_step.iter().all(|r| r.is_finite()));
}
