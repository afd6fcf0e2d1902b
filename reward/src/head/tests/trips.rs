//! Real answers: 2,929 choices between two train trips by 235 people.

use super::*;
use crate::network::{Activation, NetworkConfig};

/// Each person's choices; every trip is a clip of one frame: price, time, changes, comfort.
fn trips() -> Pairs {
    let text = include_str!("../../../tests/data/train-trips.txt");
    let mut pairs = Pairs::default();
    let mut user = String::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(person) = line.strip_prefix("person ") {
            user = format!("person {person:0>3}");
            continue;
        }
        let numbers: Vec<f32> = line.split(',').map(|n| n.parse().unwrap()).collect();
        for trip in numbers[1..].chunks_exact(4) {
            let features = Features::new(4, trip.to_vec());
            pairs.clips.push(Clip::from_features(features, 1.0));
        }
        let (last, answer) = (pairs.clips.len() - 1, pairs.items.len());
        let label = if numbers[0] == 1.0 { 1.0 } else { 0.0 };
        let mut pair = Pair::new(last - 1, last, label, answer);
        pair.user.clone_from(&user);
        pairs.items.push(pair);
    }
    pairs
}

/// Every fourth choice of each person is kept aside.
fn halves(all: &Pairs) -> (Pairs, Pairs) {
    let (mut held, mut seen) = (Vec::new(), Vec::new());
    let (mut user, mut count) = (String::new(), 0);
    for pair in &all.items {
        if pair.user != user {
            user.clone_from(&pair.user);
            count = 0;
        }
        count += 1;
        if count % 4 == 0 { &mut held } else { &mut seen }.push(pair.clone());
    }
    (all.with_items(seen), all.with_items(held))
}

#[test]
fn peoples_mixtures_foretell_real_choices_better_than_one_reward_for_all() {
    let all = trips();
    assert_eq!((all.items.len(), all.users().len()), (2929, 235));
    let (seen, held) = halves(&all);
    let linear = NetworkConfig {
        hidden: vec![],
        activation: Activation::Relu,
    };
    let config = HeadConfig {
        network: linear.clone(),
        aggregate: Aggregate::Mean,
        members: 1,
        resampling: Resampling::All,
        learning_rate: 1e-2,
        epochs: 30,
        validation: 0.0,
        batch: 64,
        ..HeadConfig::default()
    };
    let (head, _) = PreferenceHead::train(&encoder(4), &seen, Condition::None, &config, 1).unwrap();
    let pooled = head.accuracy(&held).unwrap().unwrap();
    let mut found = vec![];
    for prototypes in [1, 2, 4] {
        let config = IdealConfig {
            space: IdealSpace::Learned {
                dim: 4,
                network: linear.clone(),
            },
            prototypes,
            epochs: 60,
            validation: 0.0,
            ..IdealConfig::default()
        };
        let (mut model, _) = IdealPoints::train(&encoder(4), &seen, &config, 1).unwrap();
        let trained = model.accuracy(&held).unwrap().unwrap();
        // The same prototypes, with each person fitted as a new one would be.
        for user in seen.users() {
            let own = seen.items.iter().filter(|p| p.user == user).cloned();
            let mixture = model.fit_user(&seen.with_items(own.collect())).unwrap();
            model.remember(&user, mixture).unwrap();
        }
        found.push((prototypes, trained, model.accuracy(&held).unwrap().unwrap()));
    }
    println!(
        "held-out choices of {}: Bradley-Terry for all {pooled:.3}; ideal points (K, trained, fitted) {found:.3?}",
        held.items.len()
    );
    assert!((0.64..0.76).contains(&pooled), "{pooled}");
    assert!(found[2].2 > pooled + 0.02, "{pooled} {found:?}");
}
