use super::*;
use crate::model::{Context, RewardModel as _};

fn train(pairs: &Pairs) -> Result<PreferenceHead, crate::RewardError> {
    PreferenceHead::train(&encoder(2), pairs, Condition::None, &quick(), 1).map(|(head, _)| head)
}

fn still(value: f32, frames: usize) -> Clip {
    Clip::from_features(Features::new(2, vec![value; 2 * frames]), 10.0)
}

fn error(pairs: &Pairs) -> String {
    train(pairs).unwrap_err().to_string()
}

#[test]
fn senseless_pairs_and_clips_are_refused_in_a_sentence() {
    let all = clips(4, 3, 2, 1);
    let of = |clips: Vec<Clip>| Pairs {
        clips,
        items: vec![Pair::new(0, 1, 1.0, 0), Pair::new(2, 3, 0.0, 1)],
        skipped: 0,
    };
    let mut missing = of(all.clone());
    missing.clips[2].features = Features::new(2, vec![]);
    assert!(
        error(&missing).contains("clip 2: the clip has no frames"),
        "{}",
        error(&missing)
    );
    let mut wide = of(all.clone());
    wide.clips[3].features = Features::new(3, vec![0.0; 3]);
    assert!(
        error(&wide).contains("3 numbers a frame"),
        "{}",
        error(&wide)
    );
    let mut nan = of(all.clone());
    let mut values = nan.clips[1].features.as_slice().to_vec();
    values[5] = f32::NAN;
    nan.clips[1].features = Features::new(2, values);
    assert!(error(&nan).contains("clip 1"), "{}", error(&nan));
    assert!(
        error(&nan).contains("step 2 is not finite"),
        "{}",
        error(&nan)
    );
    let mut out = of(all.clone());
    out.items[0].second = 4;
    assert!(error(&out).contains("names clip 4 of 4"));
    let mut same = of(all.clone());
    same.items[0].second = 0;
    assert!(error(&same).contains("with itself"));
    let mut label = of(all.clone());
    label.items[0].target.label = f64::NAN;
    assert!(error(&label).contains("label"));
    let mut none = of(all.clone());
    none.items.clear();
    assert!(error(&none).contains("no pair"));
    let column = HeadConfig {
        inputs: Inputs::Columns {
            names: vec!["tilt".into()],
        },
        ..quick()
    };
    let error = PreferenceHead::train(&encoder(2), &of(all.clone()), Condition::None, &column, 1)
        .unwrap_err()
        .to_string();
    assert!(error.contains("no column `tilt`"), "{error}");
    let mut ties = of(all);
    ties.items.iter_mut().for_each(|p| p.target.label = 0.5);
    let config = HeadConfig {
        equal_weight: 0.0,
        ..quick()
    };
    assert!(PreferenceHead::train(&encoder(2), &ties, Condition::None, &config, 1).is_err());
}

#[test]
fn scoring_refuses_what_training_would() {
    let pairs = compare(&clips(10, 2, 2, 1), 20, 2, |clip| {
        clip.features.row(0)[0].into()
    });
    let head = train(&pairs).unwrap();
    let score = |features| head.score(&Clip::from_features(features, 1.0), &Context::default());
    assert!(score(Features::default()).is_err());
    assert!(score(Features::new(3, vec![0.0; 3])).is_err());
    assert!(score(Features::new(2, vec![0.0, f32::INFINITY])).is_err());
    assert_eq!(
        score(Features::new(2, vec![0.0; 2]))
            .unwrap()
            .per_step
            .len(),
        1
    );
}

#[test]
fn contradicting_and_cyclic_answers_end_undecided() {
    let all = clips(3, 2, 2, 4);
    let config = HeadConfig {
        validation: 0.0,
        resampling: Resampling::All,
        ..quick()
    };
    let contradiction = [(0, 1), (1, 0)];
    let cycle = [(0, 1), (1, 2), (2, 0)];
    for list in [&contradiction[..], &cycle[..]] {
        let pairs = Pairs::from_indices(all.clone(), list).unwrap();
        let (head, report) =
            PreferenceHead::train(&encoder(2), &pairs, Condition::None, &config, 1).unwrap();
        for pair in &pairs.items {
            let (a, b) = (&all[pair.first], &all[pair.second]);
            let verdict = head.compare(a, b, &Context::default()).unwrap();
            assert!((verdict.probability - 0.5).abs() < 0.05, "{verdict:?}");
        }
        assert!(
            report
                .members
                .iter()
                .all(|m| m.epochs.iter().all(|e| e.training_loss.is_finite()))
        );
    }
}

#[test]
fn equal_answers_alone_draw_returns_together() {
    let all = clips(20, 2, 2, 4);
    let mut pairs = compare(&all, 80, 5, |clip| clip.features.row(0)[0].into());
    pairs.items.iter_mut().for_each(|p| p.target.label = 0.5);
    let (head, report) =
        PreferenceHead::train(&encoder(2), &pairs, Condition::None, &quick(), 1).unwrap();
    assert_eq!(report.training_accuracy, None);
    for gaps in head.gaps(&pairs).unwrap() {
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        assert!(mean.abs() < 0.3, "{mean}");
    }
}

#[test]
fn one_class_of_labels_still_teaches_the_order() {
    // The better clip always comes first: the order of a pair says nothing, the clips do.
    let all = clips(60, 2, 2, 4);
    let truth = |clip: &Clip| f64::from(clip.features.row(0)[0] + clip.features.row(1)[0]);
    let mut pairs = compare(&all, 150, 5, truth);
    for pair in &mut pairs.items {
        if pair.target.label == 0.0 {
            std::mem::swap(&mut pair.first, &mut pair.second);
            pair.target = pair.target.swapped();
        }
    }
    assert!(pairs.items.iter().all(|p| p.target.label == 1.0));
    let head = train(&pairs).unwrap();
    let accuracy = head
        .accuracy(&compare(&all, 200, 6, truth))
        .unwrap()
        .unwrap();
    assert!(accuracy > 0.9, "{accuracy}");
}

#[test]
fn still_pictures_and_clips_of_any_length_have_finite_rewards() {
    // One constant input, one frame in one clip and seven in the other.
    let pairs = Pairs {
        clips: vec![still(0.0, 1), still(0.0, 7), still(1.0, 3)],
        items: vec![Pair::new(0, 1, 1.0, 0), Pair::new(2, 1, 1.0, 1)],
        skipped: 0,
    };
    for aggregate in [Aggregate::Sum, Aggregate::Mean] {
        let config = HeadConfig {
            aggregate,
            ..quick()
        };
        let (head, _) =
            PreferenceHead::train(&encoder(2), &pairs, Condition::None, &config, 1).unwrap();
        for clip in &pairs.clips {
            let signal = head.score(clip, &Context::default()).unwrap();
            assert_eq!(signal.per_step.len(), clip.len());
            let uncertainty = signal.uncertainty.unwrap();
            assert!(
                signal
                    .per_step
                    .iter()
                    .chain(&uncertainty)
                    .all(|v| v.is_finite())
            );
        }
    }
    // Nothing differs at all.
    let same = Pairs::from_indices(vec![still(2.0, 2), still(2.0, 2)], &[(0, 1)]).unwrap();
    let head = train(&same).unwrap();
    let verdict = head
        .compare(&same.clips[0], &same.clips[1], &Context::default())
        .unwrap();
    assert!((verdict.probability - 0.5).abs() < 1e-9);
}
