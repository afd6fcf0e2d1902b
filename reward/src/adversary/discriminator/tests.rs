use super::*;
use crate::adversary::{Lipschitz, RewardForm};
use crate::network::{Activation, NetworkConfig};
use crate::store::RewardDir;

const DIM: usize = 8;

fn encoder() -> EncoderSpec {
    EncoderSpec {
        name: "made".into(),
        dim: DIM,
        fingerprint: "ad".repeat(32),
    }
}

/// States that differ from the others' in the first feature only, by little but without overlap.
fn states(count: usize, side: f32, seed: u64) -> Features {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut values = Vec::new();
    for _ in 0..count {
        values.push(0.05 * side + rng.random_range(-0.01..0.01));
        values.extend((1..DIM).map(|_| rng.random_range(-1.0f32..1.0)));
    }
    Features::new(DIM, values)
}

fn steps(inputs: Features) -> Steps {
    Steps {
        inputs,
        absorbing: Vec::new(),
    }
}

fn adversary(config: &AdversaryConfig) -> Adversary {
    let clip = Clip::from_features(states(60, 1.0, 1), 10.0);
    let mut adversary = Adversary::new(&encoder(), &[clip], config, 3).unwrap();
    adversary.observe(&steps(states(60, -1.0, 2))).unwrap();
    adversary
}

fn small(lipschitz: Lipschitz) -> AdversaryConfig {
    AdversaryConfig {
        network: NetworkConfig {
            hidden: vec![24, 24],
            activation: Activation::LeakyRelu,
        },
        lipschitz,
        rate: 3e-3,
        batch: 32,
        ..Default::default()
    }
}

/// SAM's diagnosis: at the policy's states the discriminator stays about 1-Lipschitz with each constraint, and grows steeper
/// and steeper without one.
#[test]
fn only_a_constraint_keeps_the_discriminator_from_growing_steep() {
    for lipschitz in [
        Lipschitz::None,
        Lipschitz::Penalty,
        Lipschitz::Spectral,
        Lipschitz::Both,
    ] {
        let mut adversary = adversary(&small(lipschitz));
        let early = adversary.update(60).unwrap();
        let late = adversary.update(140).unwrap();
        let all = adversary
            .gradient_norms(&steps(states(60, -1.0, 2)))
            .unwrap();
        let most = all.iter().copied().fold(0.0, f64::max);
        assert!(late.demonstrations > late.rollouts + 0.2, "{late:?}");
        match lipschitz {
            Lipschitz::None => {
                assert!(late.gradient > 1.5 && late.gradient > early.gradient);
            }
            Lipschitz::Penalty => assert!(late.gradient < 1.15 && most < 1.3),
            Lipschitz::Spectral | Lipschitz::Both => assert!(most < 1.02, "{most}"),
        }
    }
}

#[test]
fn a_frozen_adversary_is_a_head_and_rewards_follow_the_one_that_learns() {
    let mut adversary = adversary(&small(Lipschitz::Both));
    adversary.update(40).unwrap();
    let frozen = adversary.freeze().unwrap();
    let states = states(10, 1.0, 7);
    let rows_of = adversary.standard.apply(states.as_slice());
    let direct = values(
        frozen
            .network()
            .forward(rows(&rows_of, DIM, &Device::flex())),
    )
    .unwrap();
    let clip = Clip::from_features(states.clone(), 10.0);
    let score = frozen.score(&clip, &Context::default()).unwrap().per_step;
    for (z, r) in direct.iter().zip(&score) {
        assert_eq!(RewardForm::Survival.of(f64::from(*z)), *r);
    }
    let steps = steps(states);
    assert_eq!(adversary.relabel(&steps).unwrap(), score);
    adversary.update(40).unwrap();
    assert_ne!(adversary.relabel(&steps).unwrap(), score);
    assert_eq!(frozen.relabel(&steps).unwrap(), score);

    let dir = tempfile::tempdir().unwrap();
    let dir = RewardDir::new(dir.path());
    dir.save(&frozen, &encoder(), 3).unwrap();
    let loaded = dir.load().unwrap();
    let found = loaded.model.score(&clip, &Context::default()).unwrap();
    assert_eq!(found.per_step, score);
}

#[test]
fn columns_and_absorbing_states_are_inputs() {
    let config = AdversaryConfig {
        columns: vec!["action".into()],
        absorbing: Absorbing::Indicator,
        ..small(Lipschitz::Both)
    };
    let mut clip = Clip::from_features(states(30, 1.0, 1), 10.0);
    let error = Adversary::new(&encoder(), std::slice::from_ref(&clip), &config, 0).err();
    assert!(error.unwrap().to_string().contains("`action`"));
    let action = Features::new(2, vec![0.5; 60]);
    clip.columns.insert("action".into(), action);
    let mut adversary =
        Adversary::new(&encoder(), std::slice::from_ref(&clip), &config, 0).unwrap();
    // Rollouts never end, so that what comes after the end shows a demonstration.
    let mut rollout = Clip::from_features(states(30, 1.0, 4), 10.0);
    rollout
        .columns
        .insert("action".into(), Features::new(2, vec![0.5; 60]));
    let rollout = Steps::from_clip(&rollout, &config.columns).unwrap();
    adversary.observe(&rollout).unwrap();
    adversary.update(100).unwrap();
    let ended = Steps {
        inputs: Features::new(10, vec![f32::NAN; 10]),
        absorbing: vec![true],
    };
    let alive = adversary.relabel(&rollout).unwrap();
    let alive = alive.iter().sum::<f64>() / alive.len() as f64;
    let end = adversary.relabel(&ended).unwrap()[0];
    assert!(end > alive, "{end} {alive}");
    let narrow = adversary.relabel(&steps(states(2, 1.0, 0))).unwrap_err();
    assert!(narrow.to_string().contains("8 wide"));
}

#[test]
fn what_cannot_be_learned_from_is_refused() {
    let config = small(Lipschitz::None);
    let clip = Clip::from_features(states(5, 1.0, 1), 10.0);
    let mut adversary = Adversary::new(&encoder(), &[clip], &config, 0).unwrap();
    assert!(
        adversary
            .update(1)
            .unwrap_err()
            .to_string()
            .contains("observe")
    );
    let broken = steps(Features::new(DIM, vec![f32::NAN; DIM]));
    assert!(adversary.observe(&broken).is_err());
    assert!(Adversary::new(&encoder(), &[], &config, 0).is_err());
    let backwards = AdversaryConfig {
        smooth_from: 2.0,
        ..config
    };
    assert!(backwards.validate().is_err());
}

#[test]
fn memory_keeps_the_newest_rollouts() {
    let config = AdversaryConfig {
        memory: 4,
        ..small(Lipschitz::None)
    };
    let clip = Clip::from_features(states(5, 1.0, 1), 10.0);
    let mut adversary = Adversary::new(&encoder(), &[clip], &config, 0).unwrap();
    let all = states(7, -1.0, 2);
    adversary.observe(&steps(all.clone())).unwrap();
    let mut kept: Vec<&[f32]> = adversary.rollouts.chunks_exact(DIM).collect();
    let newest = adversary
        .standard
        .apply(all.select(&[3, 4, 5, 6]).as_slice());
    let mut newest: Vec<&[f32]> = newest.chunks_exact(DIM).collect();
    kept.sort_by(|a, b| a[0].total_cmp(&b[0]));
    newest.sort_by(|a, b| a[0].total_cmp(&b[0]));
    assert_eq!(kept, newest);
}
