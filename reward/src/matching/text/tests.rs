use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::matching::{GoalDistance, GoalDistanceConfig};
use crate::store::RewardDir;
use crate::transport::Cost;

fn encoder(dim: usize) -> EncoderSpec {
    EncoderSpec {
        name: "a pair".into(),
        dim,
        fingerprint: "0f".repeat(32),
    }
}

fn config(prompts: usize, alpha: f64) -> TextMatchConfig {
    let sentences = |word: &str| (0..prompts).map(|i| format!("{word} {i}")).collect();
    TextMatchConfig {
        goal: sentences("goal"),
        baseline: sentences("baseline"),
        alpha,
        mean: PromptMean::Plain,
    }
}

fn features(dim: usize, values: &[f64]) -> Features {
    Features::new(dim, values.iter().map(|&v| v as f32).collect())
}

fn score(model: &dyn RewardModel, frames: &Features) -> Vec<f64> {
    let clip = Clip::from_features(frames.clone(), 10.0);
    model.score(&clip, &Context::default()).unwrap().per_step
}

#[test]
fn the_reward_has_the_reference_values_in_all_three_forms() {
    let s = [1.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0];
    let h = std::f64::consts::FRAC_1_SQRT_2;
    for (alpha, expected) in [
        (0.0, 0.9428090416),
        (0.25, 0.9525496776),
        (0.5, 0.9595072747),
        (1.0, 0.9650733524),
    ] {
        let line = Line::new(vec![0.0, h, h], vec![h, 0.0, h], alpha);
        for form in [
            line.reward(&s),
            line.reward_by_line(&s),
            line.reward_by_matrix(&s),
        ] {
            assert!((form - expected).abs() < 1e-9, "{alpha}: {form}");
        }
    }
}

#[test]
fn rewards_equal_the_formula_of_the_authors_code_run_in_torch() {
    #[derive(Deserialize)]
    struct Case {
        dim: usize,
        images: Vec<f64>,
        goals: Vec<f64>,
        baselines: Vec<f64>,
        rewards: BTreeMap<String, Vec<f64>>,
    }
    let text = include_str!("../../../tests/data/vlm_rm.json");
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        for (alpha, expected) in &case.rewards {
            let prompts = case.goals.len() / case.dim;
            let model = TextMatch::new(
                &encoder(case.dim),
                features(case.dim, &case.goals),
                features(case.dim, &case.baselines),
                config(prompts, alpha.parse().unwrap()),
            )
            .unwrap();
            let found = score(&model, &features(case.dim, &case.images));
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-12, "{found} {expected}");
            }
        }
    }
}

#[test]
fn without_projection_the_reward_is_one_plus_a_cosine_goal_distance() {
    let (goal, frames) = (
        [0.3, -0.4, 0.8],
        [0.1, 0.2, 0.3, -1.0, 0.5, 2.0, 0.0, 0.0, 0.0],
    );
    let settings = TextMatchConfig {
        baseline: Vec::new(),
        ..config(1, 0.0)
    };
    let text = TextMatch::new(
        &encoder(3),
        features(3, &goal),
        Features::default(),
        settings,
    );
    let cosine = GoalDistanceConfig {
        cost: Cost::Cosine,
        ..GoalDistanceConfig::default()
    };
    let goal = GoalDistance::new(&encoder(3), &features(3, &goal), cosine).unwrap();
    let frames = features(3, &frames);
    let (text, goal) = (score(&text.unwrap(), &frames), score(&goal, &frames));
    for (text, goal) in text.iter().zip(goal).take(2) {
        assert!((text - 1.0 - goal).abs() < 1e-12, "{text} {goal}");
    }
    // A frame that embeds to zero is nowhere near anything, and still has a reward.
    assert!((text[2] - 0.5).abs() < 1e-12, "{}", text[2]);
}

#[test]
fn several_prompts_are_averaged_and_made_unit_only_when_asked() {
    let goals = features(2, &[2.0, 0.0, 0.0, 3.0]);
    let baselines = features(2, &[-1.0, 0.0, -1.0, 0.0]);
    let with = |mean| {
        let settings = TextMatchConfig {
            mean,
            ..config(2, 0.5)
        };
        TextMatch::new(&encoder(2), goals.clone(), baselines.clone(), settings).unwrap()
    };
    assert_eq!(with(PromptMean::Plain).line().goal, [0.5, 0.5]);
    let length = inner(
        &with(PromptMean::Renormalised).line().goal,
        &with(PromptMean::Renormalised).line().goal,
    );
    assert!((length - 1.0).abs() < 1e-12);
}

#[test]
fn a_stored_text_reward_keeps_its_sentences_and_scores_the_same() {
    let frames = features(3, &[0.1, 0.2, 0.3, -1.0, 0.5, 2.0]);
    for (baseline, settings) in [
        (features(3, &[0.0, 1.0, 0.2]), config(1, 0.7)),
        (
            Features::default(),
            TextMatchConfig {
                baseline: Vec::new(),
                ..config(1, 0.0)
            },
        ),
    ] {
        let goal = features(3, &[1.0, 0.0, 0.5]);
        let model = TextMatch::new(&encoder(3), goal, baseline, settings.clone()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let dir = RewardDir::new(dir.path());
        dir.save(&model, &encoder(3), 0).unwrap();
        let loaded = dir.load().unwrap();
        assert_eq!(loaded.kind, "text-match");
        assert_eq!(loaded.config["goal"][0].as_str(), Some("goal 0"));
        let found = score(&*loaded.model, &frames);
        for (found, expected) in found.iter().zip(score(&model, &frames)) {
            assert!((found - expected).abs() < 1e-12);
        }
    }
}

#[test]
fn what_is_wrong_with_a_text_reward_is_said() {
    let message = |goal: &[f64], baseline: &[f64], settings: TextMatchConfig| {
        let baseline = if baseline.is_empty() {
            Features::default()
        } else {
            features(2, baseline)
        };
        TextMatch::new(&encoder(2), features(2, goal), baseline, settings)
            .unwrap_err()
            .to_string()
    };
    let no_goal = TextMatchConfig {
        goal: Vec::new(),
        ..config(1, 0.5)
    };
    assert!(message(&[1.0, 0.0], &[0.0, 1.0], no_goal).contains("needs a goal"));
    let no_baseline = TextMatchConfig {
        baseline: Vec::new(),
        ..config(1, 0.5)
    };
    assert!(message(&[1.0, 0.0], &[], no_baseline).contains("needs a baseline"));
    assert!(message(&[1.0, 0.0], &[0.0, 1.0], config(1, 1.5)).contains("1.5"));
    assert!(message(&[1.0, 0.0], &[0.0, 1.0], config(1, f64::NAN)).contains("NaN"));
    assert!(message(&[1.0, 0.0], &[2.0, 0.0], config(1, 0.5)).contains("mean the same"));
    assert!(message(&[1.0, 0.0, 0.0, 1.0], &[0.0, 1.0], config(1, 0.5)).contains("2 embeddings"));
    assert!(message(&[f64::NAN, 0.0], &[0.0, 1.0], config(1, 0.5)).contains("not finite"));
    let model = TextMatch::new(
        &encoder(2),
        features(2, &[1.0, 0.0]),
        features(2, &[0.0, 1.0]),
        config(1, 0.5),
    )
    .unwrap();
    for frames in [
        Features::default(),
        features(3, &[1.0; 3]),
        features(2, &[f64::NAN, 0.0]),
    ] {
        let clip = Clip::from_features(frames, 10.0);
        assert!(model.score(&clip, &Context::default()).is_err());
    }
    // The constant picture has a constant reward.
    let still = score(&model, &features(2, &[0.6, 0.8, 0.6, 0.8]));
    assert!(still[0].is_finite() && still[0] == still[1]);
}

/// A goal sentence that speaks mostly of what is always there, and pictures with much else in them: the mean over worlds of
/// Spearman's correlation of reward and progress at each alpha.
#[test]
fn with_strong_common_content_the_reward_follows_progress_better_the_larger_alpha_is() {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;
    let alphas = [0.0, 0.25, 0.5, 0.75, 1.0];
    let mut means = [0.0; 5];
    let worlds = 20;
    for world in 0..worlds {
        let mut rng = ChaCha8Rng::seed_from_u64(world);
        let dim = 24;
        let mut direction =
            || -> Vec<f64> { (0..dim).map(|_| rng.random_range(-1.0..1.0)).collect() };
        let (common, task) = (direction(), direction());
        let nuisances: Vec<Vec<f64>> = (0..6).map(|_| direction()).collect();
        let mix = |parts: &[(f64, &Vec<f64>)]| -> Vec<f64> {
            (0..dim)
                .map(|i| parts.iter().map(|(w, v)| w * v[i]).sum())
                .collect()
        };
        let goal = mix(&[(1.0, &common), (0.4, &task)]);
        let baseline = mix(&[(1.0, &common)]);
        let (mut frames, mut progress) = (Vec::new(), Vec::new());
        for _ in 0..100 {
            let p = rng.random_range(0.0..1.0);
            let mut parts = vec![(1.0, &common), (0.4 * p, &task)];
            for nuisance in &nuisances {
                parts.push((rng.random_range(-0.25..0.25), nuisance));
            }
            frames.extend(mix(&parts));
            progress.push(p);
        }
        let model = TextMatch::new(
            &encoder(dim),
            features(dim, &goal),
            features(dim, &baseline),
            config(1, 0.0),
        )
        .unwrap();
        for (mean, alpha) in means.iter_mut().zip(alphas) {
            let found = score(&model.with_alpha(alpha).unwrap(), &features(dim, &frames));
            *mean += crate::eval::spearman(&found, &progress).unwrap() / worlds as f64;
        }
    }
    assert!(means.is_sorted(), "{means:?}");
    assert!(means[4] > means[0] + 0.2, "{means:?}");
}

fn unit_vector(dim: usize) -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec(-1.0..1.0f64, dim)
        .prop_filter("a direction", |v| inner(v, v) > 0.01)
        .prop_map(|v| unit(&v))
}

proptest! {
    #[test]
    fn both_published_forms_and_the_cheap_one_agree(
        s in unit_vector(12), g in unit_vector(12), b in unit_vector(12), alpha in 0.0..=1.0f64,
    ) {
        let line = Line::new(g, b, alpha);
        prop_assume!(line.squared_length > 1e-3);
        let cheap = line.reward(&s);
        prop_assert!((cheap - line.reward_by_line(&s)).abs() < 1e-12);
        prop_assert!((cheap - line.reward_by_matrix(&s)).abs() < 1e-12);
        let cosine = Line::new(line.goal.clone(), line.baseline.clone(), 0.0).reward(&s);
        prop_assert!((cosine - inner(&s, &line.goal)).abs() < 1e-12);
    }

    #[test]
    fn full_projection_does_not_see_what_is_orthogonal_to_the_line(
        s in unit_vector(8), g in unit_vector(8), b in unit_vector(8), shift in unit_vector(8),
    ) {
        let line = Line::new(g, b, 1.0);
        prop_assume!(line.squared_length > 1e-3);
        let direction: Vec<f64> = line.goal.iter().zip(&line.baseline).map(|(g, b)| g - b).collect();
        let along = inner(&shift, &direction) / line.squared_length;
        let moved: Vec<f64> = (0..8).map(|i| s[i] + shift[i] - along * direction[i]).collect();
        prop_assert!((line.reward(&s) - line.reward(&moved)).abs() < 1e-12);
    }
}
