//! Soft actor-critic on a pendulum that has to be swung up, through the public surface only.

use std::f32::consts::PI;
use std::fs;
use std::path::Path;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rapport_policy::{
    HiddenNorm, Learner, Manifest, Mode, Policy, PolicyError, PolicySpec, Sac, SacConfig,
    Transition, load_policy,
};

/// The classic swing-up: a rod of 1 m and 1 kg, a torque of at most 2 N m, 200 steps of 50 ms.
struct Pendulum {
    angle: f32,
    speed: f32,
}

const STEPS: usize = 200;

impl Pendulum {
    fn new(rng: &mut ChaCha8Rng) -> Self {
        Self {
            angle: rng.random_range(-PI..PI),
            speed: rng.random_range(-1.0..1.0),
        }
    }

    fn observation(&self) -> Vec<f32> {
        vec![self.angle.cos(), self.angle.sin(), self.speed]
    }

    /// Reward `-(angle from upright^2 + 0.1 speed^2 + 0.001 torque^2)`.
    fn step(&mut self, action: f32) -> f32 {
        let torque = 2.0 * action.clamp(-1.0, 1.0);
        let off = (self.angle + PI).rem_euclid(2.0 * PI) - PI;
        let cost = off * off + 0.1 * self.speed * self.speed + 0.001 * torque * torque;
        self.speed =
            (self.speed + (15.0 * self.angle.sin() + 3.0 * torque) * 0.05).clamp(-8.0, 8.0);
        self.angle += self.speed * 0.05;
        -cost
    }
}

fn episode(policy: &mut dyn Policy, mode: Mode, rng: &mut ChaCha8Rng) -> Vec<Transition> {
    let mut pendulum = Pendulum::new(rng);
    policy.reset();
    (0..STEPS)
        .map(|t| {
            let observation = pendulum.observation();
            let action = policy.act(&observation, mode).unwrap();
            let reward = pendulum.step(action[0]);
            Transition {
                observation,
                action,
                reward,
                next_observation: pendulum.observation(),
                terminated: false,
                truncated: t + 1 == STEPS,
            }
        })
        .collect()
}

fn total(episode: &[Transition]) -> f32 {
    episode.iter().map(|step| step.reward).sum()
}

fn config() -> SacConfig {
    let mut config = SacConfig {
        hidden: vec![64, 64],
        batch: 128,
        initial_random_steps: 400,
        target_rate: 0.01,
        replay_capacity: 20_000,
        ..SacConfig::default()
    };
    config.actor_adam.learning_rate = 1e-3;
    config.critic_adam.learning_rate = 1e-3;
    config.temperature_adam.learning_rate = 1e-3;
    config
}

fn spec() -> PolicySpec {
    PolicySpec {
        observation_names: ["cos", "sin", "speed"].map(String::from).to_vec(),
        action_space: serde_json::json!({"joint": "hinge", "scale": 2.0, "offset": null}),
        ..PolicySpec::new(3, 1)
    }
}

/// Collects an episode and makes the updates it asks for; returns their losses, to the bit.
fn practise(sac: &mut Sac, rng: &mut ChaCha8Rng) -> Vec<u64> {
    let experience = episode(sac, Mode::Explore, rng);
    sac.observe(&experience).unwrap();
    let mut losses = Vec::new();
    while sac.updates_due() > 0 {
        losses.push(sac.update().unwrap()["critic_loss"].to_bits());
    }
    losses
}

fn evaluate(policy: &mut dyn Policy) -> f32 {
    let mut rng = ChaCha8Rng::seed_from_u64(99);
    (0..10)
        .map(|_| total(&episode(policy, Mode::Exploit, &mut rng)))
        .sum::<f32>()
        / 10.0
}

#[test]
fn learns_to_swing_a_pendulum_up() {
    let mut sac = Sac::new(spec(), config(), 1).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let before = evaluate(&mut sac.policy());
    for _ in 0..40 {
        practise(&mut sac, &mut rng);
    }
    let after = evaluate(&mut sac.policy());
    assert!(before < -600.0, "an untrained policy got {before}");
    assert!(
        after > -250.0,
        "{before} became {after} after {} updates",
        sac.updates()
    );
    let hanging = sac.value(&[-1.0, 0.0, 0.0], &[0.0]).unwrap();
    let upright = sac.value(&[1.0, 0.0, 0.0], &[0.0]).unwrap();
    assert!(
        upright > hanging + 20.0,
        "upright {upright}, hanging {hanging}"
    );
}

#[test]
fn demonstrations_in_the_batch_teach_without_experience_of_ones_own() {
    // A demonstrator that pumps energy and balances near the top.
    struct Expert;
    impl Policy for Expert {
        fn observation_dim(&self) -> usize {
            3
        }
        fn action_dim(&self) -> usize {
            1
        }
        fn act(&mut self, x: &[f32], _: Mode) -> Result<Vec<f32>, PolicyError> {
            let energy = x[2] * x[2] / 30.0 + x[0] - 1.0;
            let torque = if x[0] > 0.85 {
                -12.0 * x[1] - 3.0 * x[2]
            } else {
                -2.0 * energy.signum() * x[2].signum()
            };
            Ok(vec![(torque / 2.0).clamp(-1.0, 1.0)])
        }
    }
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let expert = evaluate(&mut Expert);
    assert!(expert > -300.0, "the demonstrator itself gets {expert}");
    let config = SacConfig {
        critic_norm: HiddenNorm::Layer,
        behaviour_cloning_weight: 20.0,
        ..config()
    };
    let mut sac = Sac::new(spec(), config, 1).unwrap();
    for _ in 0..20 {
        sac.observe_demonstration(&episode(&mut Expert, Mode::Exploit, &mut rng))
            .unwrap();
    }
    let mut cloning = 0.0;
    for _ in 0..3000 {
        cloning = sac.update().unwrap()["behaviour_cloning_loss"];
    }
    let after = evaluate(&mut sac.policy());
    assert!(cloning < 0.2, "{cloning}");
    assert!(after > -400.0, "{after}, the demonstrator gets {expert}");
}

#[test]
fn interrupted_and_resumed_equals_uninterrupted_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let config = SacConfig {
        critic_norm: HiddenNorm::Layer,
        behaviour_cloning_weight: 0.5,
        actor_every: 2,
        update_to_data: 0.25,
        replay_capacity: 900,
        ..config()
    };
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut sac = Sac::new(spec(), config, 7).unwrap();
    sac.observe_demonstration(&episode(&mut sac.policy(), Mode::Explore, &mut rng))
        .unwrap();
    (0..5).for_each(|_| drop(practise(&mut sac, &mut rng)));
    sac.save(dir.path()).unwrap();
    let mut resumed = Sac::resume(dir.path()).unwrap();
    let mut other = rng.clone();
    let mut updates = 0;
    for _ in 0..4 {
        let losses = practise(&mut sac, &mut rng);
        updates += losses.len();
        assert_eq!(losses, practise(&mut resumed, &mut other));
    }
    assert!(updates >= 150, "{updates} updates compared");
    assert_eq!(resumed.updates(), sac.updates());
    assert_eq!(resumed.config(), sac.config());
    assert_eq!(
        episode(&mut sac, Mode::Explore, &mut rng),
        episode(&mut resumed, Mode::Explore, &mut other)
    );
}

#[test]
fn evaluation_in_between_does_not_change_training() {
    let run = |evaluations: usize| {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut sac = Sac::new(spec(), config(), 7).unwrap();
        let mut losses = Vec::new();
        for _ in 0..4 {
            losses.extend(practise(&mut sac, &mut rng));
            (0..evaluations).for_each(|_| drop(sac.act(&[1.0, 0.0, 0.5], Mode::Exploit).unwrap()));
            for _ in 0..evaluations {
                evaluate(&mut sac.policy());
            }
        }
        losses
    };
    assert_eq!(run(0), run(1));
}

#[test]
fn a_deployed_policy_is_small_acts_the_same_and_cannot_be_resumed() {
    let (full, small) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut sac = Sac::new(spec(), config(), 7).unwrap();
    (0..4).for_each(|_| drop(practise(&mut sac, &mut rng)));
    sac.save(full.path()).unwrap();
    sac.save_policy(small.path()).unwrap();
    for dir in [full.path(), small.path()] {
        let mut policy = load_policy(dir).unwrap();
        assert_eq!((policy.observation_dim(), policy.action_dim()), (3, 1));
        let observation = [0.3, -0.9, 2.0];
        assert_eq!(
            policy.act(&observation, Mode::Exploit).unwrap(),
            sac.act(&observation, Mode::Exploit).unwrap()
        );
        assert_eq!(Manifest::read(dir).unwrap().spec, spec());
    }
    let size = |dir: &Path| -> u64 {
        fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum()
    };
    assert!(size(small.path()) < 25_000, "{}", size(small.path()));
    let error = Sac::resume(small.path()).unwrap_err().to_string();
    assert!(error.contains("saved for deployment only"), "{error}");
}

#[test]
fn saving_again_leaves_one_checkpoint_and_no_rubbish() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut sac = Sac::new(spec(), config(), 7).unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    fs::write(
        dir.path().join(".replay-0123456789ab.safetensors.tmp"),
        "torn",
    )
    .unwrap();
    for _ in 0..3 {
        practise(&mut sac, &mut rng);
        sac.save(dir.path()).unwrap();
    }
    let mut names: Vec<String> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let stems: Vec<&str> = names
        .iter()
        .map(|name| name.split(['-', '.']).next().unwrap())
        .collect();
    assert_eq!(
        stems,
        [
            "demonstrations",
            "learner",
            "notes",
            "policy",
            "policy",
            "replay"
        ],
        "{names:?}"
    );
}

#[test]
fn broken_checkpoints_are_refused_in_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut sac = Sac::new(spec(), config(), 7).unwrap();
    (0..3).for_each(|_| drop(practise(&mut sac, &mut rng)));
    let missing = Sac::resume(&dir.path().join("nowhere"))
        .unwrap_err()
        .to_string();
    assert!(missing.contains("policy.toml: is not there"), "{missing}");
    sac.save(dir.path()).unwrap();
    let manifest_path = dir.path().join("policy.toml");
    let manifest = fs::read(&manifest_path).unwrap();
    for (part, entry) in Manifest::read(dir.path()).unwrap().parts {
        let path = dir.path().join(&entry.file);
        let good = fs::read(&path).unwrap();
        let refused = |what: &str| {
            let error = Sac::resume(dir.path()).unwrap_err().to_string();
            assert!(
                error.contains(&entry.file) && error.contains(what) && error.lines().count() == 1,
                "{part}: {error}"
            );
        };
        fs::write(&path, &good[..good.len() / 2]).unwrap();
        refused("the copy is incomplete");
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        fs::write(&path, flipped).unwrap();
        refused("damaged");
        fs::remove_file(&path).unwrap();
        refused("is missing");
        fs::write(&path, good).unwrap();
    }
    let text = String::from_utf8(manifest.clone()).unwrap();
    let cases = [
        (text[..text.len() / 2].to_string(), "cannot be understood"),
        (text.replace("format = 1", "format = 9"), "has format 9"),
        (
            text.replace("kind = \"sac\"", "kind = \"dream\""),
            "kind dream",
        ),
        (
            text.replace("discount = 0.99", "discount = 1.99"),
            "discount must be in 0..=1",
        ),
        (text.replace("discount", "discont"), "cannot be understood"),
        (
            text.replace("hidden = [64, 64]", "hidden = [64, 65]"),
            "does not belong to this file",
        ),
        (
            text.replace("file = \"policy-", "file = \"../policy-"),
            "not a plain file name",
        ),
    ];
    for (broken, what) in cases {
        assert_ne!(broken, text, "{what}");
        fs::write(&manifest_path, broken).unwrap();
        let error = load_policy(dir.path()).map(drop).unwrap_err().to_string();
        assert!(
            error.contains(what) && error.lines().count() == 1,
            "{what}: {error}"
        );
    }
    fs::write(&manifest_path, manifest).unwrap();
    assert!(load_policy(dir.path()).is_ok());
}

#[test]
fn a_number_that_is_none_stops_and_leaves_the_last_good_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut sac = Sac::new(spec(), config(), 7).unwrap();
    (0..3).for_each(|_| drop(practise(&mut sac, &mut rng)));
    sac.save(dir.path()).unwrap();
    let good = fs::read(dir.path().join("policy.toml")).unwrap();

    let error = sac
        .act(&[1.0, 0.0, f32::NAN], Mode::Exploit)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("observation[2] (speed) is not finite"),
        "{error}"
    );
    let experience = episode(&mut sac, Mode::Explore, &mut rng);
    let spoiled = |spoil: fn(&mut Transition)| {
        let mut episode = experience.clone();
        spoil(&mut episode[9]);
        sac.clone().observe(&episode).unwrap_err().to_string()
    };
    assert!(spoiled(|step| step.observation[0] = f32::NAN).contains("observation[0] at step 9"));
    assert!(spoiled(|step| step.action[0] = f32::INFINITY).contains("action[0] at step 9"));
    assert!(spoiled(|step| step.reward = f32::NAN).contains("reward[0] at step 9"));

    // Rewards that are finite but too large for the critics' arithmetic.
    sac.replay_mut()
        .relabel(|episode| Some(vec![f32::MAX; episode.len()]))
        .unwrap();
    let error = (0..50)
        .find_map(|_| sac.update().err())
        .expect("the gradient overflows")
        .to_string();
    assert!(error.contains("gradient of critic0."), "{error}");
    assert_eq!(fs::read(dir.path().join("policy.toml")).unwrap(), good);
    let mut again = Sac::resume(dir.path()).unwrap();
    again.update().unwrap();
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let refused = |change: fn(&mut SacConfig), what: &str| {
        let mut config = config();
        change(&mut config);
        let error = Sac::new(spec(), config, 1).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    refused(|c| c.hidden.clear(), "hidden");
    refused(|c| c.discount = f64::NAN, "discount");
    refused(|c| c.target_rate = 0.0, "target_rate");
    refused(|c| c.batch = 0, "batch");
    refused(|c| c.log_std_range = [1.0, 0.0], "log_std_range");
    refused(
        |c| c.critic_adam.learning_rate = -1.0,
        "critic_adam: learning_rate",
    );
    assert!(Sac::new(PolicySpec::new(3, 0), config(), 1).is_err());
    let error = Sac::new(spec(), config(), 1)
        .unwrap()
        .update()
        .unwrap_err()
        .to_string();
    assert!(error.contains("observe an episode first"), "{error}");
}
