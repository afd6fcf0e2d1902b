use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;

// Four rooms in a square of seven by seven: walls along the middle with four doors. The goal is in one corner, the start in the other.

const SIDE: usize = 7;
const GOAL: usize = SIDE * SIDE - 1;
const DISCOUNT: f64 = 0.95;

fn is_wall(row: usize, column: usize) -> bool {
    let door = |along: usize| along == 1 || along == 5;
    (row == 3 && !door(column)) || (column == 3 && !door(row))
}

fn walk(state: usize, action: usize) -> usize {
    let (row, column) = (state / SIDE, state % SIDE);
    let (row, column) = match action {
        0 => (row.saturating_sub(1), column),
        1 => ((row + 1).min(SIDE - 1), column),
        2 => (row, column.saturating_sub(1)),
        _ => (row, (column + 1).min(SIDE - 1)),
    };
    if is_wall(row, column) {
        state
    } else {
        row * SIDE + column
    }
}

/// Leaving the goal pays 1 and ends the episode.
const END: usize = SIDE * SIDE;
/// Steps of an episode.
const HORIZON: usize = 30;

/// The rooms; states in walls lead to themselves.
fn rooms() -> Decisions {
    let states = END + 1;
    let (mut next, mut reward) = (Vec::new(), Vec::new());
    for s in 0..states {
        for a in 0..4 {
            let to = match s {
                GOAL | END => END,
                s if is_wall(s / SIDE, s % SIDE) => s,
                s => walk(s, a),
            };
            next.push(vec![(to, 1.0)]);
            reward.push(f64::from(s == GOAL));
        }
    }
    Decisions {
        states,
        actions: 4,
        next,
        reward,
        discount: DISCOUNT,
    }
}

/// What a learner is paid for a step of the task.
trait Pay {
    fn pay(&mut self, q: &[f64], episode: usize, step: (usize, usize, f64, usize)) -> f64;
    fn end(&mut self, _q: &[f64], _steps: Vec<(usize, usize, f64, usize)>) {}
}

struct Table(Vec<f64>);

impl Pay for Table {
    fn pay(&mut self, _: &[f64], _: usize, (s, a, _, _): (usize, usize, f64, usize)) -> f64 {
        self.0[4 * s + a]
    }
}

const EXPLORING: f64 = 0.1;

fn greedy(q: &[f64], s: usize) -> Vec<usize> {
    let row = &q[4 * s..4 * s + 4];
    let best = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (0..4).filter(|a| row[*a] >= best - 1e-12).collect()
}

fn policy(q: &[f64], s: usize) -> Vec<f64> {
    let best = greedy(q, s);
    (0..4)
        .map(|a| {
            EXPLORING / 4.0
                + if best.contains(&a) {
                    (1.0 - EXPLORING) / best.len() as f64
                } else {
                    0.0
                }
        })
        .collect()
}

/// Episodes of Q-learning until behaviour without exploring earns 90 % of the best return from the start, mean over seeds; the limit
/// where that does not come about.
fn episodes_to_good(task: &Decisions, mut pay: impl FnMut() -> Box<dyn Pay>) -> f64 {
    const LIMIT: usize = 2000;
    const SEEDS: u64 = 6;
    let best = task.solve().unwrap().state[0];
    let total: usize = (0..SEEDS)
        .map(|seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (mut q, mut pay) = (vec![0.0; task.reward.len()], pay());
            for episode in 0..LIMIT {
                let (mut s, mut steps) = (0, Vec::new());
                for _ in 0..HORIZON {
                    let a = if rng.random_range(0.0..1.0) < EXPLORING {
                        rng.random_range(0..4)
                    } else {
                        *greedy(&q, s).choose(&mut rng).unwrap()
                    };
                    let t = task.next[4 * s + a][0].0;
                    let step = (s, a, task.reward[4 * s + a], t);
                    let future = if t == END {
                        0.0
                    } else {
                        q[4 * t..4 * t + 4]
                            .iter()
                            .copied()
                            .fold(f64::NEG_INFINITY, f64::max)
                    };
                    let target = pay.pay(&q, episode, step) + DISCOUNT * future;
                    q[4 * s + a] += 0.5 * (target - q[4 * s + a]);
                    steps.push(step);
                    s = t;
                    if s == END {
                        break;
                    }
                }
                pay.end(&q, steps);
                let (mut s, mut earned, mut weight) = (0, 0.0, 1.0);
                for _ in 0..HORIZON {
                    let a = greedy(&q, s)[0];
                    earned += weight * task.reward[4 * s + a];
                    weight *= DISCOUNT;
                    s = task.next[4 * s + a][0].0;
                }
                if earned >= 0.9 * best {
                    return episode + 1;
                }
            }
            LIMIT
        })
        .sum();
    total as f64 / SEEDS as f64
}

/// Fails where an action that is not best in the task would be best under the reward.
fn assert_same_best(task: &Decisions, reward: Vec<f64>) {
    let (before, after) = (
        task.solve().unwrap(),
        task.with_reward(reward).solve().unwrap(),
    );
    let (gaps, found) = (before.gaps(), after.gaps());
    for (i, gap) in gaps.iter().enumerate().filter(|(_, gap)| **gap > 1e-6) {
        assert!(
            found[i] > 1e-6,
            "state {}, action {}: {gap} became {}",
            i / 4,
            i % 4,
            found[i]
        );
    }
}

#[test]
fn a_designed_reward_keeps_the_best_behaviour_on_few_states_and_is_learned_twice_as_fast() {
    let task = rooms();
    let config = DesignConfig {
        horizons: vec![1, 8, 32],
        ..DesignConfig::default()
    };
    let design = designed(&task, &config).unwrap();
    let paying = (0..task.states)
        .filter(|s| (0..4).any(|a| design.reward[4 * s + a].abs() > 1e-9))
        .count();
    assert!(paying <= config.states && design.states.len() <= config.states);
    assert!(
        design
            .reward
            .iter()
            .all(|r| r.abs() <= config.largest + 1e-6)
    );
    assert_same_best(&task, design.reward.clone());
    let sparse = episodes_to_good(&task, || Box::new(Table(task.reward.clone())));
    let exprd = episodes_to_good(&task, || Box::new(Table(design.reward.clone())));
    let potential = shaped(&task, &task.solve().unwrap().state).unwrap();
    assert_same_best(&task, potential.clone());
    let pbrs = episodes_to_good(&task, || Box::new(Table(potential.clone())));
    let found = format!(
        "sparse {sparse}, EXPRD {exprd}, shaping {pbrs}, on {:?}",
        design.states
    );
    assert!(exprd <= 0.5 * sparse && pbrs <= 0.5 * sparse, "{found}");
}

struct Adapting {
    task: Decisions,
    config: DesignConfig,
    reward: Vec<f64>,
    /// Which hundred of episodes the reward is for.
    hundred: Option<usize>,
}

impl Pay for Adapting {
    fn pay(&mut self, q: &[f64], episode: usize, (s, a, _, _): (usize, usize, f64, usize)) -> f64 {
        let hundred = Some(episode / 100);
        if self.hundred != hundred {
            self.hundred = hundred;
            let policy: Vec<f64> = (0..self.task.states).flat_map(|s| policy(q, s)).collect();
            self.reward = adapted(&self.task, &policy, &[0], &self.config)
                .unwrap()
                .reward;
        }
        self.reward[4 * s + a]
    }
}

#[test]
fn a_reward_adapted_to_the_learner_keeps_the_best_behaviour_and_is_learned_twice_as_fast() {
    let task = rooms();
    let config = DesignConfig::default();
    let uniform = vec![0.25; task.reward.len()];
    let design = adapted(&task, &uniform, &[0], &config).unwrap();
    assert!(design.states.len() <= 5);
    assert_same_best(&task, design.reward.clone());
    let sparse = episodes_to_good(&task, || Box::new(Table(task.reward.clone())));
    let adapting = episodes_to_good(&task, || {
        Box::new(Adapting {
            task: task.clone(),
            config: config.clone(),
            reward: Vec::new(),
            hundred: None,
        })
    });
    assert!(
        adapting <= 0.5 * sparse,
        "sparse {sparse}, adapted {adapting}"
    );
}

struct Exploring(Exploration);

impl Pay for Exploring {
    fn pay(&mut self, _: &[f64], _: usize, step: (usize, usize, f64, usize)) -> f64 {
        self.0.reward(step)
    }

    fn end(&mut self, q: &[f64], steps: Vec<(usize, usize, f64, usize)>) {
        self.0.observe(steps, DISCOUNT, |s| policy(q, s));
    }
}

#[test]
fn a_learner_that_designs_for_itself_finds_what_a_distraction_hides() {
    let mut task = rooms();
    // A little is paid again and again for staying in the corner below the start.
    let corner = 2 * SIDE;
    task.reward[4 * corner + 2] = 0.01;
    let sparse = episodes_to_good(&task, || Box::new(Table(task.reward.clone())));
    let exploring = episodes_to_good(&task, || {
        let config = ExplorationConfig {
            largest: 0.5,
            novelty: 0.5,
            ..ExplorationConfig::default()
        };
        Box::new(Exploring(Exploration::new(task.states, 4, config).unwrap()))
    });
    assert!(
        exploring <= 0.5 * sparse,
        "distracted {sparse}, ExploRS {exploring}"
    );
}

#[test]
fn the_bonus_for_rare_states_is_the_formula() {
    let config = ExplorationConfig {
        novelty: 2.0,
        largest: 0.5,
        every: 1,
        ..ExplorationConfig::default()
    };
    let mut explore = Exploration::new(2, 2, config).unwrap();
    assert_eq!(explore.bonus(1), 0.5);
    explore.observe(vec![(0, 0, 1.0, 1)], 0.9, |_| vec![0.5, 0.5]);
    assert!((explore.bonus(1) - 2.0 / 17f64.sqrt()).abs() < 1e-12);
    // The first return of a state is its own mean, so that nothing is learned of it; the second is better.
    assert_eq!(explore.reward((0, 0, 0.0, 0)), 0.5);
    explore.observe(vec![(0, 0, 3.0, 1)], 0.9, |_| vec![0.5, 0.5]);
    let learned = 0.01 * 0.5 * 1.0 * 0.5;
    assert!((explore.reward((0, 0, 0.0, 0)) - 0.5 - learned).abs() < 1e-12);
    assert!((explore.reward((0, 1, 0.0, 0)) - 0.5 + learned).abs() < 1e-12);
    assert!(Exploration::new(0, 2, config).is_err());
}

#[test]
fn tables_that_are_no_task_are_refused() {
    let task = rooms();
    let config = DesignConfig::default();
    let mut open = task.clone();
    open.next[3] = vec![(0, 0.4)];
    let mut broken = task.clone();
    broken.reward[0] = f64::NAN;
    let mut endless = task.clone();
    endless.discount = 1.0;
    let nothing = task.with_reward(vec![0.0; task.reward.len()]);
    for bad in [open, broken, endless, nothing] {
        assert!(designed(&bad, &config).is_err());
    }
    assert!(
        designed(
            &task,
            &DesignConfig {
                states: 0,
                ..config.clone()
            }
        )
        .is_err()
    );
    assert!(
        designed(
            &task,
            &DesignConfig {
                horizons: vec![0],
                ..config.clone()
            }
        )
        .is_err()
    );
    assert!(
        designed(
            &task,
            &DesignConfig {
                largest: 0.01,
                ..config.clone()
            }
        )
        .unwrap_err()
        .to_string()
        .contains("allow more")
    );
    assert!(adapted(&task, &[0.5], &[0], &config).is_err());
    assert!(shaped(&task, &[0.0]).is_err());
}
