use rapport_perception::Features;

use super::*;
use crate::align::{AlignConfig, Aligned, Alignment, Comparisons};
use crate::matching::{
    Goal, GoalDistance, GoalDistanceConfig, TransportMatch, TransportMatchConfig,
};
use crate::model::RewardModel;

fn encoder() -> EncoderSpec {
    EncoderSpec {
        name: "pixels@8".into(),
        dim: 4,
        fingerprint: "00ff".repeat(16),
    }
}

fn features(frames: usize, seed: usize) -> Features {
    let values = (0..frames * 4).map(|i| ((i * 31 + seed * 17) % 13) as f32 / 6.0 - 1.0);
    Features::new(4, values.collect())
}

fn aligned() -> Aligned {
    let clips: Vec<Features> = (0..6).map(|i| features(3, i)).collect();
    let comparisons =
        Comparisons::from_triplets(clips, &[[0, 1, 2], [3, 4, 5], [0, 4, 2]]).unwrap();
    let config = AlignConfig {
        epochs: 2,
        ..AlignConfig::default()
    };
    let (alignment, _) = Alignment::train(&comparisons, &[], &config, 3).unwrap();
    let spec = Aligned::embedding_spec(&encoder(), &alignment);
    let exemplars = [
        alignment.embed(&features(4, 8)).unwrap(),
        alignment.embed(&features(6, 9)).unwrap(),
    ];
    let inner = TransportMatch::new(&spec, &exemplars, TransportMatchConfig::default()).unwrap();
    Aligned::new(&encoder(), alignment, Box::new(inner)).unwrap()
}

fn goal() -> GoalDistance {
    let config = GoalDistanceConfig {
        goal: Goal::Nearest,
        ..Default::default()
    };
    GoalDistance::new(&encoder(), &features(2, 3), config).unwrap()
}

fn score(model: &dyn RewardModel) -> Vec<f64> {
    let clip = Clip::from_features(features(5, 1), 30.0);
    model.score(&clip, &Context::default()).unwrap().per_step
}

#[test]
fn rewards_come_back_as_they_were() {
    let models: [Box<dyn StoredReward>; 2] = [Box::new(aligned()), Box::new(goal())];
    for model in models {
        let dir = tempfile::tempdir().unwrap();
        let dir = RewardDir::new(dir.path().join("a/reward"));
        dir.save(model.as_ref(), &encoder(), 7).unwrap();
        let loaded = dir.load().unwrap();
        assert_eq!((loaded.seed, loaded.kind.as_str()), (7, model.kind()));
        assert_eq!(loaded.encoder, encoder());
        assert_eq!(loaded.model.causal(), model.causal());
        for (a, b) in score(model.as_ref())
            .iter()
            .zip(score(loaded.model.as_ref()))
        {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        // What was read is written the same.
        let text = std::fs::read(dir.path().join(HEADER)).unwrap();
        dir.save(loaded.model.as_ref(), &encoder(), 7).unwrap();
        assert_eq!(std::fs::read(dir.path().join(HEADER)).unwrap(), text);
    }
}

#[test]
fn features_of_another_encoder_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let dir = RewardDir::new(dir.path());
    dir.save(&goal(), &encoder(), 0).unwrap();
    let loaded = dir.load().unwrap();
    let other = EncoderSpec {
        name: "efficientnet-lite0".into(),
        fingerprint: "ab".repeat(32),
        ..encoder()
    };
    let clip = Clip::from_features(features(2, 0), 30.0);
    let message = loaded
        .score(&other, &clip, &Context::default())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("efficientnet-lite0") && message.contains("pixels@8"),
        "{message}"
    );
    assert!(loaded.score(&encoder(), &clip, &Context::default()).is_ok());
    let wide = Clip::from_features(Features::new(5, vec![0.0; 5]), 30.0);
    let message = loaded
        .model
        .score(&wide, &Context::default())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("5 wide") && message.contains("pixels@8"),
        "{message}"
    );
}

#[test]
fn a_new_reward_replaces_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let dir = RewardDir::new(dir.path());
    dir.save(&aligned(), &encoder(), 0).unwrap();
    dir.save(&goal(), &encoder(), 1).unwrap();
    assert_eq!(dir.load().unwrap().kind, "goal-distance");
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        2,
        "nothing is left behind"
    );
}

#[test]
fn what_is_wrong_with_a_directory_is_said() {
    let root = tempfile::tempdir().unwrap();
    let dir = RewardDir::new(root.path());
    let message = |dir: &RewardDir| dir.load().err().unwrap().to_string();
    assert!(message(&dir).contains("no reward here"));
    dir.save(&goal(), &encoder(), 0).unwrap();
    let text = std::fs::read_to_string(root.path().join(HEADER)).unwrap();
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        std::fs::write(root.path().join(HEADER), text.replacen(from, to, 1)).unwrap();
        message(&dir)
    };
    assert!(with("format = 1", "format = 2").contains("format is 2"));
    assert!(with("goal-distance", "wishful").contains("`wishful`"));
    assert!(with("reward-", "../reward-").contains("beside"));
    assert!(with("cost = ", "price = ").contains("price"));
    std::fs::write(root.path().join(HEADER), &text).unwrap();
    let tensors = dir.header().unwrap().tensors;
    let mut bytes = std::fs::read(root.path().join(&tensors)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(root.path().join(&tensors), bytes).unwrap();
    assert!(message(&dir).contains("damaged"));
}
