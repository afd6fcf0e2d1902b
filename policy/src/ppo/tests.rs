use rand::RngExt as _;

use super::step::objective;
use super::*;
use crate::checkpoint::load_policy;

#[test]
fn the_objective_stops_paying_beyond_the_clip_but_never_stops_punishing() {
    let clip = 0.2;
    // (ln ratio, advantage): (objective, derivative by ln ratio).
    let cases = [
        ((0.0, 2.0), (2.0, 2.0)),
        ((0.1f32, 2.0), (2.0 * 0.1f32.exp(), 2.0 * 0.1f32.exp())),
        ((1.0, 2.0), (2.4, 0.0)),
        ((-1.0, -2.0), (-1.6, 0.0)),
        ((1.0, -2.0), (-2.0 * 1f32.exp(), -2.0 * 1f32.exp())),
        ((-1.0, 2.0), (2.0 * (-1f32).exp(), 2.0 * (-1f32).exp())),
    ];
    for ((log_ratio, advantage), (value, slope)) in cases {
        let found = objective(log_ratio, advantage, clip);
        assert!((found.0 - value).abs() < 1e-6 && (found.1 - slope).abs() < 1e-6);
    }
}

fn config() -> PpoConfig {
    PpoConfig {
        hidden: vec![16, 16],
        horizon: 256,
        epochs: 5,
        ..PpoConfig::default()
    }
}

/// A point on a line that is paid for being near 0 and moves by its action.
struct Line {
    at: f32,
    left: usize,
    rng: ChaCha8Rng,
}

impl Line {
    fn new(seed: u64) -> Self {
        Self {
            at: 0.0,
            left: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    fn step(&mut self, policy: &mut dyn Policy, mode: Mode) -> Transition {
        if self.left == 0 {
            self.at = self.rng.random_range(-1.0..1.0);
            self.left = 10;
        }
        self.left -= 1;
        let observation = vec![self.at];
        let action = policy.act(&observation, mode).unwrap();
        self.at += 0.5 * action[0];
        Transition {
            observation,
            action,
            reward: -self.at.abs(),
            next_observation: vec![self.at],
            terminated: false,
            truncated: self.left == 0,
        }
    }
}

fn practise(ppo: &mut Ppo, line: &mut Line, steps: usize) {
    for _ in 0..steps {
        let step = line.step(ppo, Mode::Explore);
        ppo.observe(std::slice::from_ref(&step)).unwrap();
        while ppo.updates_due() > 0 {
            ppo.update().unwrap();
        }
    }
}

fn pay(policy: &mut dyn Policy) -> f32 {
    let mut line = Line::new(99);
    (0..200)
        .map(|_| line.step(policy, Mode::Exploit).reward)
        .sum::<f32>()
        / 200.0
}

#[test]
fn practice_on_a_line_pays() {
    let mut ppo = Ppo::new(PolicySpec::new(1, 1), config(), 1).unwrap();
    let before = pay(&mut *ppo.actor());
    practise(&mut ppo, &mut Line::new(2), 6_000);
    let after = pay(&mut *ppo.actor());
    assert!(after > -0.15 && after > before + 0.2, "{before} {after}");
}

#[test]
fn a_learner_that_was_saved_amid_collecting_goes_on_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let mut whole = Ppo::new(PolicySpec::new(1, 1), config(), 7).unwrap();
    let mut line = Line::new(3);
    practise(&mut whole, &mut line, 400);
    whole.save(dir.path()).unwrap();
    let mut resumed = Ppo::resume(dir.path()).unwrap();
    let mut again = Line {
        rng: line.rng.clone(),
        ..line
    };
    practise(&mut whole, &mut line, 300);
    practise(&mut resumed, &mut again, 300);
    assert!(whole.updates() > 0 && whole.updates() == resumed.updates());
    assert_eq!(
        whole.policy.network.parameters,
        resumed.policy.network.parameters
    );
    assert_eq!(whole.value.parameters, resumed.value.parameters);
    let action = whole.actor().act(&[0.4], Mode::Exploit).unwrap();
    resumed.save(dir.path()).unwrap();
    let mut loaded = load_policy(dir.path()).unwrap();
    assert_eq!(loaded.act(&[0.4], Mode::Exploit).unwrap(), action);
}

#[test]
fn a_bound_on_the_divergence_ends_a_round_early() {
    let round = |largest_divergence| {
        let config = PpoConfig {
            largest_divergence,
            ..config()
        };
        let mut ppo = Ppo::new(PolicySpec::new(1, 1), config, 1).unwrap();
        practise(&mut ppo, &mut Line::new(2), 256);
        ppo.updates()
    };
    assert_eq!(round(None), 5 * 4);
    assert!(round(Some(1e-6)) < 5 * 4);
}
