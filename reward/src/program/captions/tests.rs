use std::sync::mpsc;
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::annotator::Keywords;

const PATIENCE: Duration = Duration::from_secs(30);

/// A keyword annotator that thinks until it is let go on, and tells what it was asked.
struct Slow {
    keywords: Keywords,
    go: mpsc::Receiver<()>,
    asked: mpsc::Sender<String>,
}

impl Annotator for Slow {
    type Query = String;
    type Answer = bool;

    fn name(&self) -> &str {
        "slow"
    }

    fn label(&mut self, queries: &[String]) -> Result<Vec<Option<bool>>, RewardError> {
        for query in queries {
            self.asked.send(query.clone()).unwrap();
        }
        // Once the sender is gone it answers at once.
        let _ = self.go.recv();
        self.keywords.label(queries)
    }
}

// A corridor of rooms with a key at one end and a door, which needs it, at the other; only the open door pays.

const ROOMS: usize = 15;
const KEY: usize = 0;
const DOOR: usize = ROOMS - 1;
const START: usize = 8;
const HORIZON: usize = 40;

/// Room and whether the key is held; the next state, what happened in words, and whether it is over.
fn step((room, key): (usize, bool), right: bool) -> ((usize, bool), &'static str, bool) {
    let next = if right {
        (room + 1).min(ROOMS - 1)
    } else {
        room.saturating_sub(1)
    };
    match (next, key) {
        (KEY, false) => ((next, true), "the arm picks up the key", false),
        (DOOR, true) => ((next, key), "the key opens the door", true),
        (DOOR, false) if next == room => ((next, key), "the arm hits the wall", false),
        (DOOR, false) => ((next, key), "the arm stands before a closed lock", false),
        _ if next == room => ((next, key), "the arm hits the wall", false),
        _ => ((next, key), "", false),
    }
}

/// Tabular Q-learning. Gives for each episode whether it ended with an open door.
struct Learner {
    q: Vec<[f64; 2]>,
    rng: ChaCha8Rng,
    steps: usize,
}

impl Learner {
    fn new(seed: u64) -> Self {
        Self {
            q: vec![[0.0; 2]; 2 * ROOMS],
            rng: ChaCha8Rng::seed_from_u64(seed),
            steps: 0,
        }
    }

    fn episode(&mut self, exploring: f64, mut bonus: impl FnMut(&str) -> f64) -> bool {
        let index = |(room, key): (usize, bool)| 2 * room + usize::from(key);
        let mut state = (START, false);
        for _ in 0..HORIZON {
            let [left, right] = self.q[index(state)];
            let random = left == right || self.rng.random_range(0.0..1.0) < exploring;
            let go = if random {
                self.rng.random_bool(0.5)
            } else {
                right > left
            };
            let (next, caption, over) = step(state, go);
            self.steps += 1;
            let future = if over {
                0.0
            } else {
                self.q[index(next)][0].max(self.q[index(next)][1])
            };
            let target = f64::from(over) + bonus(caption) + 0.95 * future;
            let value = &mut self.q[index(state)][usize::from(go)];
            *value += 0.3 * (target - *value);
            state = next;
            if over {
                return true;
            }
        }
        false
    }
}

fn good() -> Keywords {
    Keywords::new(&["key", "opens"])
}

fn solved(distil: Distil) -> (bool, BackgroundStatus, Vec<String>) {
    let (let_go, go) = mpsc::channel();
    let (asked_out, asked) = mpsc::channel();
    let annotator = Slow {
        keywords: good(),
        go,
        asked: asked_out,
    };
    let config = CaptionsConfig {
        distil,
        scorer: ScorerConfig {
            rate: 3e-3,
            steps: 100,
            ..ScorerConfig::default()
        },
        ..CaptionsConfig::default()
    };
    let mut reward = CaptionReward::from_labels(annotator, config).unwrap();
    let mut learner = Learner::new(1);
    // As long as the annotator thinks, practice goes on, without any reward.
    for _ in 0..30 {
        reward.begin_episode();
        learner.episode(0.2, |caption| reward.step(caption).unwrap());
    }
    assert!(learner.steps >= 30 * HORIZON / 2);
    assert_eq!(reward.update().unwrap(), 0);
    drop(let_go);
    assert!(reward.settle(PATIENCE));
    reward.update().unwrap();
    let mut last = false;
    for episode in 0..=300 {
        reward.begin_episode();
        let exploring = if episode < 300 { 0.2 } else { 0.0 };
        last = learner.episode(exploring, |caption| reward.step(caption).unwrap());
        if episode % 25 == 0 {
            assert!(reward.settle(PATIENCE));
            reward.update().unwrap();
        }
    }
    (last, reward.status(), asked.try_iter().collect())
}

#[test]
fn captions_lead_to_a_goal_that_its_own_reward_is_too_rare_to_find() {
    let mut sparse = Learner::new(1);
    for _ in 0..331 {
        sparse.episode(0.2, |_| 0.0);
    }
    assert!(!sparse.episode(0.0, |_| 0.0));
    for distil in [Distil::Retrieval, Distil::Classify] {
        let (solved, status, mut asked) = solved(distil);
        assert!(solved, "{distil:?}");
        // Nothing was asked twice.
        let times = asked.len();
        asked.sort();
        asked.dedup();
        assert_eq!(
            (times, status.answered),
            (asked.len(), asked.len()),
            "{asked:?}"
        );
        assert!(status.failed == 0 && status.dropped == 0);
    }
}

#[test]
fn a_caption_pays_less_each_time_in_an_episode() {
    let config = CaptionsConfig {
        coefficient: 2.0,
        ..CaptionsConfig::default()
    };
    let mut reward = CaptionReward::from_labels(good(), config).unwrap();
    assert_eq!(reward.step("the key").unwrap(), 0.0);
    assert!(reward.settle(PATIENCE));
    assert_eq!(reward.update().unwrap(), 1);
    reward.begin_episode();
    for count in 1..5 {
        assert_eq!(
            reward.step("the key").unwrap(),
            2.0 / f64::from(count).powi(3)
        );
        assert_eq!(reward.step("").unwrap(), 0.0);
    }
    reward.begin_episode();
    assert_eq!(reward.step("the key").unwrap(), 2.0);
}

/// Prefers captions with the right words.
struct Choosy(Keywords);

impl Annotator for Choosy {
    type Query = [String; 2];
    type Answer = f64;

    fn name(&self) -> &str {
        "choosy"
    }

    fn label(&mut self, queries: &[[String; 2]]) -> Result<Vec<Option<f64>>, RewardError> {
        let good = |c: &str| f64::from(self.0.is_good(c));
        Ok(queries
            .iter()
            .map(|[a, b]| Some(0.5 + 0.5 * (good(a) - good(b))))
            .collect())
    }
}

#[test]
fn pairs_of_captions_make_a_reward_too() {
    let config = CaptionsConfig {
        distil: Distil::Rank,
        scorer: ScorerConfig {
            rate: 3e-3,
            steps: 100,
            ..ScorerConfig::default()
        },
        ..CaptionsConfig::default()
    };
    assert!(CaptionReward::from_labels(good(), config.clone()).is_err());
    let mut reward = CaptionReward::from_pairs(Choosy(good()), config).unwrap();
    let captions = ["the key", "a wall", "it opens", "nothing"];
    let mut last = [0.0; 4];
    for _ in 0..3 {
        reward.begin_episode();
        last = captions.map(|caption| reward.step(caption).unwrap());
        assert!(reward.settle(PATIENCE));
        reward.update().unwrap();
    }
    assert!(
        last[0] > 0.0 && last[2] > 0.0 && last[1] <= 0.0 && last[3] <= 0.0,
        "{last:?}"
    );
}
