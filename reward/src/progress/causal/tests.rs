use super::*;
use crate::eval::value_order_correlation;
use crate::progress::synthetic::{World, encoder};

fn demonstrations(world: &World, task: &str, count: u64) -> Vec<(String, Features)> {
    (0..count)
        .map(|i| (task.to_owned(), world.success(24 + 2 * i as usize, i)))
        .collect()
}

fn score(model: &dyn RewardModel, clip: Features, task: Option<&str>) -> Vec<f64> {
    let context = Context {
        task: task.map(str::to_owned),
        ..Context::default()
    };
    let clip = Clip::from_features(clip, 10.0);
    model.score(&clip, &context).unwrap().per_step
}

fn quick() -> ProgressConfig {
    ProgressConfig {
        width: 16,
        heads: 2,
        layers: 1,
        frames: 8,
        steps: 5,
        batch: 4,
        ..Default::default()
    }
}

/// ReWiND's check, where a single frame says little (much noise): value-order correlation of a success, and last progress ordered
/// success, near miss, failure. The paper finds that this needs rewinding; here it changes little. Measured, with and without:
/// correlation 0.977 and 0.982, success 0.863 and 0.887, near miss 0.380 and 0.394, failure 0.313 and 0.353, so that
/// only the order is held to.
#[test]
fn successes_end_above_near_misses_and_those_above_failures() {
    let mut world = World::new(21);
    world.noise = 0.8;
    let demonstrations = demonstrations(&world, "push", 8);
    let config = ProgressConfig {
        width: 32,
        batch: 16,
        ..Default::default()
    };
    let (model, _) = CausalProgress::train(&encoder(), &demonstrations, &config, 4).unwrap();
    let mean_end = |clip: &dyn Fn(u64) -> Features| {
        let end = |i| *score(&model, clip(i), None).last().unwrap();
        (50..54).map(end).sum::<f64>() / 4.0
    };
    let voc = value_order_correlation(&score(&model, world.success(33, 50), None)).unwrap();
    let success = mean_end(&|i| world.success(33, i));
    let near = mean_end(&|i| world.near_miss(33, i));
    let failure = mean_end(&|i| world.failure(33, i));
    assert!(voc > 0.9, "{voc}");
    assert!(
        success > near + 0.2 && near > failure,
        "{success} {near} {failure}"
    );
}

#[test]
fn a_step_depends_on_what_came_before_it_only() {
    let world = World::new(22);
    let (model, _) =
        CausalProgress::train(&encoder(), &demonstrations(&world, "push", 3), &quick(), 1).unwrap();
    assert!(model.causal());
    let clip = world.success(20, 7);
    let all = score(&model, clip.clone(), None);
    for t in [0, 1, 7, 8, 9, 19] {
        let so_far: Vec<usize> = (0..=t).collect();
        let found = score(&model, clip.select(&so_far), None);
        for (a, b) in found.iter().zip(&all) {
            assert!((a - b).abs() < 1e-5, "{t}: {a} {b}");
        }
    }
}

#[test]
fn another_task_makes_no_progress_and_a_near_miss_less_than_a_success() {
    let (push, pour) = (World::new(23), World::new(24));
    let mut both = demonstrations(&push, "push", 6);
    both.extend(demonstrations(&pour, "pour", 6));
    let config = ProgressConfig {
        steps: 300,
        batch: 16,
        ..Default::default()
    };
    let (model, _) = CausalProgress::train(&encoder(), &both, &config, 2).unwrap();
    assert_eq!(model.tasks(), ["pour", "push"]);
    let end = |clip: Features, task| *score(&model, clip, Some(task)).last().unwrap();
    let right = end(push.success(30, 9), "push");
    let wrong = end(push.success(30, 9), "pour");
    assert!(right > 0.8 && wrong < 0.4, "{right} {wrong}");
    let near = end(push.near_miss(30, 9), "push");
    let failed = end(push.failure(30, 9), "push");
    assert!(
        right > near + 0.2 && near > failed,
        "{right} {near} {failed}"
    );
    let clip = Clip::from_features(push.success(5, 0), 10.0);
    for task in [None, Some("fold".to_owned())] {
        let context = Context {
            task,
            ..Context::default()
        };
        let error = model.score(&clip, &context).unwrap_err().to_string();
        assert!(error.contains("\"pour\", \"push\""), "{error}");
    }
}

/// SARM's frame: stages found without labels, then progress through them.
#[test]
fn stages_found_without_labels_are_gone_through_in_order() {
    // Three looks one after the other, each held for a third of the clip.
    let world = World::new(25);
    let clip = |frames: usize, seed: u64| {
        let progress: Vec<f64> = (0..frames)
            .map(|t| [0.05, 0.5, 0.95][3 * t / frames] + 0.03 * (t as f64 / frames as f64))
            .collect();
        world.clip(&progress, seed)
    };
    let demonstrations: Vec<_> = (0..6)
        .map(|i| ("push".to_owned(), clip(24 + 3 * i, i as u64)))
        .collect();
    let config = ProgressConfig {
        stages: Some(SegmentationConfig {
            steps: 3,
            min_size: 4,
            ..Default::default()
        }),
        steps: 200,
        batch: 16,
        ..Default::default()
    };
    let (model, report) = CausalProgress::train(&encoder(), &demonstrations, &config, 3).unwrap();
    assert_eq!(report.cuts[0], [8, 16]);
    let clip = Clip::from_features(clip(30, 20), 10.0);
    let signal = model.score(&clip, &Context::default()).unwrap();
    let right = signal.terms["stage"]
        .iter()
        .enumerate()
        .filter(|(t, stage)| **stage == (t / 10) as f64);
    let right = right.count();
    let voc = value_order_correlation(&signal.per_step).unwrap();
    assert!(right >= 27 && voc > 0.85, "{right} {voc}");
}

#[test]
fn demonstrations_that_cannot_be_used_are_refused() {
    let world = World::new(26);
    let train = |demonstrations: &[(String, Features)], config: &ProgressConfig| {
        CausalProgress::train(&encoder(), demonstrations, config, 0)
            .err()
            .unwrap()
            .to_string()
    };
    assert!(train(&[], &quick()).contains("0 clips"));
    let short = [("push".to_owned(), world.success(2, 0))];
    assert!(train(&short, &quick()).contains("2 frames"));
    let fine = demonstrations(&world, "push", 2);
    let uneven = ProgressConfig {
        heads: 3,
        ..quick()
    };
    assert!(train(&fine, &uneven).contains("3 heads"));
    let stages = ProgressConfig {
        stages: Some(SegmentationConfig {
            steps: 9,
            ..Default::default()
        }),
        ..quick()
    };
    assert!(train(&fine, &stages).contains("demonstration 0"));
    let still = Features::new(encoder().dim, vec![0.5; 3 * encoder().dim]);
    let (model, _) =
        CausalProgress::train(&encoder(), &[("a".into(), still.clone())], &quick(), 0).unwrap();
    let one = score(&model, still.select(&[0]), None);
    assert!(one.len() == 1 && one[0].is_finite());
}
