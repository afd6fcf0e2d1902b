use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::EncoderSpec;

use super::*;
use crate::store::RewardDir;

fn clip(dim: usize, values: &[f64]) -> Clip {
    let values = values.iter().map(|&v| v as f32).collect();
    Clip::from_features(Features::new(dim, values), 10.0)
}

fn raw(episodic: Episodic, lifetime: Lifetime) -> NoveltyConfig {
    NoveltyConfig {
        episodic,
        lifetime,
        scaling: Scaling::None,
        ..NoveltyConfig::default()
    }
}

fn rewards(novelty: &Novelty, clip: &Clip) -> Vec<f64> {
    novelty.score(clip, &Context::default()).unwrap().per_step
}

#[test]
fn the_product_with_an_empty_lifetime_memory_is_the_episodic_bonus() {
    let walk = clip(2, &[0.0, 1.0, 0.2, 1.0, 3.0, -1.0, 0.0, 1.0]);
    for episodic in [Episodic::Elliptical, Episodic::FirstVisit] {
        let both = Novelty::new(2, raw(episodic, Lifetime::Count)).unwrap();
        let alone = Novelty::new(2, raw(episodic, Lifetime::None)).unwrap();
        assert_eq!(rewards(&both, &walk), rewards(&alone, &walk));
    }
}

#[test]
fn bonuses_have_the_values_of_their_formulas() {
    let walk = clip(1, &[0.0, 1.0, 0.0, 2.0]);
    let mut count = Novelty::new(1, raw(Episodic::FirstVisit, Lifetime::Count)).unwrap();
    count.observe(&walk).unwrap();
    let root = |n: f64| 1.0 / n.sqrt();
    assert_eq!(
        rewards(&count, &walk),
        [root(3.0), root(2.0), 0.0, root(2.0)]
    );
    let mut sum = Novelty::new(
        1,
        NoveltyConfig {
            together: Together::Sum,
            coefficient: 2.0,
            ..raw(Episodic::FirstVisit, Lifetime::Count)
        },
    )
    .unwrap();
    assert_eq!(rewards(&sum, &walk), [4.0, 4.0, 2.0, 4.0]);
    sum.observe(&walk).unwrap();
    assert_eq!(rewards(&sum, &walk)[2], 2.0 * root(3.0));

    let difference = Novelty::new(1, raw(Episodic::None, Lifetime::Difference)).unwrap();
    let errors = Novelty::new(1, raw(Episodic::None, Lifetime::Distillation)).unwrap();
    let (d, e) = (rewards(&difference, &walk), rewards(&errors, &walk));
    assert_eq!(d[0], e[0]);
    for t in 1..4 {
        assert!((d[t] - (e[t] - 0.1 * e[t - 1]).max(0.0)).abs() < 1e-12);
    }
}

#[test]
fn a_running_deviation_makes_bonuses_of_one_size() {
    let config = |coefficient| NoveltyConfig {
        coefficient,
        scaling: Scaling::RunningDeviation,
        ..raw(Episodic::Elliptical, Lifetime::None)
    };
    let mut novelty = Novelty::new(1, config(3.0)).unwrap();
    let walks: Vec<Clip> = (0..50)
        .map(|i| clip(1, &[f64::from(i % 7), 2.0, 0.1]))
        .collect();
    for walk in &walks {
        novelty.observe(walk).unwrap();
    }
    let all: Vec<f64> = walks
        .iter()
        .flat_map(|walk| rewards(&novelty, walk))
        .collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let deviation = (all.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / all.len() as f64).sqrt();
    assert!((deviation - 3.0).abs() < 1e-6, "{deviation}");
}

#[test]
fn a_novelty_comes_back_from_a_directory() {
    let walk = clip(2, &[0.0, 1.0, -3.0, 1.0, 3.0, -1.0, 0.0, 1.0]);
    for (episodic, lifetime) in [
        (Episodic::Elliptical, Lifetime::Difference),
        (Episodic::FirstVisit, Lifetime::Count),
    ] {
        let config = NoveltyConfig {
            episodic,
            lifetime,
            ..NoveltyConfig::default()
        };
        let mut novelty = Novelty::new(2, config).unwrap();
        novelty.observe(&walk).unwrap();
        let root = tempfile::tempdir().unwrap();
        let dir = RewardDir::new(root.path());
        let encoder = EncoderSpec {
            name: "t".into(),
            dim: 2,
            fingerprint: "f".into(),
        };
        dir.save(&novelty, &encoder, 0).unwrap();
        let loaded = dir.load().unwrap();
        let after = loaded
            .model
            .score(&walk, &Context::default())
            .unwrap()
            .per_step;
        for (a, b) in rewards(&novelty, &walk).iter().zip(after) {
            assert!((a - b).abs() < 1e-5 * (1.0 + a.abs()), "{a} {b}");
        }
    }
}

#[test]
fn what_cannot_be_new_is_refused() {
    assert!(Novelty::new(0, NoveltyConfig::default()).is_err());
    assert!(
        Novelty::new(
            1,
            NoveltyConfig {
                ridge: 0.0,
                ..NoveltyConfig::default()
            }
        )
        .is_err()
    );
    assert!(
        Novelty::new(
            1,
            NoveltyConfig {
                coefficient: f64::NAN,
                ..NoveltyConfig::default()
            }
        )
        .is_err()
    );
    let mut novelty = Novelty::new(1, NoveltyConfig::default()).unwrap();
    for bad in [
        Clip::default(),
        clip(2, &[0.0, 0.0]),
        clip(1, &[0.0, f64::NAN]),
    ] {
        assert!(novelty.score(&bad, &Context::default()).is_err());
        assert!(novelty.observe(&bad).is_err());
    }
    let still = clip(1, &[0.0; 20]);
    for _ in 0..3 {
        novelty.observe(&still).unwrap();
        assert!(rewards(&novelty, &still).iter().all(|r| r.is_finite()));
    }
}

// Six corridors of fourteen cells behind one hall; the goal is the end of one. A horizon of eighteen steps leaves time for one.

const CORRIDORS: usize = 6;
const LENGTH: usize = 14;
const HORIZON: usize = 18;
const HALL: usize = 0;
/// In the hall an action picks a corridor; in a corridor the first half leads back and the rest on.
const ACTIONS: usize = CORRIDORS;
const EPISODES: usize = 4500;

fn cell(corridor: usize, depth: usize) -> usize {
    1 + corridor * LENGTH + depth
}

fn step(state: usize, action: usize) -> usize {
    if state == HALL {
        return cell(action, 0);
    }
    let (corridor, depth) = ((state - 1) / LENGTH, (state - 1) % LENGTH);
    match (action < ACTIONS / 2, depth) {
        (true, 0) => HALL,
        (true, depth) => cell(corridor, depth - 1),
        (false, depth) => cell(corridor, (depth + 1).min(LENGTH - 1)),
    }
}

/// Share of seeds whose learner goes to the goal at the end, without exploring, after Q-learning.
fn success(config: Option<&NoveltyConfig>, seeds: u64) -> f64 {
    let solved = (0..seeds).filter(|&seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let goal = cell(rng.random_range(0..CORRIDORS), LENGTH - 1);
        let mut novelty = config.map(|c| Novelty::new(1, c.clone()).unwrap());
        let mut q = vec![[0.0f64; ACTIONS]; 1 + CORRIDORS * LENGTH];
        let greedy = |q: &[[f64; ACTIONS]], state: usize, rng: &mut ChaCha8Rng| {
            let best = q[state].iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let ties: Vec<usize> = (0..ACTIONS).filter(|&a| q[state][a] == best).collect();
            *ties.choose(rng).unwrap()
        };
        for _ in 0..EPISODES {
            let (mut state, mut taken) = (HALL, Vec::new());
            for _ in 0..HORIZON {
                let action = if rng.random_range(0.0..1.0) < 0.1 {
                    rng.random_range(0..ACTIONS)
                } else {
                    greedy(&q, state, &mut rng)
                };
                let next = step(state, action);
                taken.push((state, action, next));
                state = next;
                if state == goal {
                    break;
                }
            }
            let bonus = match &mut novelty {
                Some(novelty) => {
                    let states: Vec<f64> = taken.iter().map(|t| t.2 as f64).collect();
                    let walk = clip(1, &states);
                    let bonus = rewards(novelty, &walk);
                    novelty.observe(&walk).unwrap();
                    bonus
                }
                None => vec![0.0; taken.len()],
            };
            for (&(state, action, next), bonus) in taken.iter().zip(&bonus).rev() {
                let done = next == goal;
                let future = if done {
                    0.0
                } else {
                    q[next].iter().copied().fold(f64::NEG_INFINITY, f64::max)
                };
                let target = f64::from(done) + bonus + 0.9 * future;
                q[state][action] += 0.5 * (target - q[state][action]);
            }
        }
        let mut state = HALL;
        (0..HORIZON).any(|_| {
            state = step(state, greedy(&q, state, &mut rng));
            state == goal
        })
    });
    solved.count() as f64 / seeds as f64
}

#[test]
fn where_episodes_share_their_structure_lifetime_novelty_finds_the_goal_and_episodic_does_not() {
    let bonus = |episodic, lifetime| NoveltyConfig {
        coefficient: 0.4,
        ..raw(episodic, lifetime)
    };
    let none = success(None, 12);
    let global = success(Some(&bonus(Episodic::None, Lifetime::Count)), 12);
    let episodic = success(Some(&bonus(Episodic::FirstVisit, Lifetime::None)), 12);
    let product = success(Some(&bonus(Episodic::FirstVisit, Lifetime::Count)), 12);
    let found = format!("none {none}, global {global}, episodic {episodic}, product {product}");
    assert!(global >= 0.9 && product >= 0.9, "{found}");
    assert!(none <= global - 0.15 && episodic <= none - 0.15, "{found}");
}

// A line of rooms that looks different in every episode, with the goal at one end or the other. The learner is told what differs:
// which of its neighbours it has visited less often in this episode.

const REACH: usize = 12;
const WANDER: usize = 42;

/// Share of test episodes, without exploring, that end at the goal, after 150 episodes of Q-learning; mean over seeds.
fn wandering(config: Option<&NoveltyConfig>, seeds: u64) -> f64 {
    let mut found = 0;
    for seed in 0..seeds {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut novelty = config.map(|c| Novelty::new(1, c.clone()).unwrap());
        let mut q = [[0.0f64; 2]; 3];
        for episode in 0..250 {
            let is_test = episode >= 150;
            let goal = if rng.random_bool(0.5) { 0 } else { 2 * REACH };
            let mut counts = [0u32; 2 * REACH + 1];
            let (mut place, mut taken) = (REACH, Vec::new());
            counts[place] += 1;
            // Beyond a wall there is nothing to visit.
            let told = |counts: &[u32], place: usize| {
                let count =
                    |p: Option<usize>| p.and_then(|p| counts.get(p)).copied().unwrap_or(u32::MAX);
                let (left, right) = (count(place.checked_sub(1)), count(Some(place + 1)));
                match left.cmp(&right) {
                    std::cmp::Ordering::Less => 0,
                    std::cmp::Ordering::Equal => 1,
                    std::cmp::Ordering::Greater => 2,
                }
            };
            for _ in 0..WANDER {
                let saw = told(&counts, place);
                let random =
                    q[saw][0] == q[saw][1] || (!is_test && rng.random_range(0.0..1.0) < 0.4);
                let right = if random {
                    rng.random_bool(0.5)
                } else {
                    q[saw][1] > q[saw][0]
                };
                place = if right {
                    (place + 1).min(2 * REACH)
                } else {
                    place.saturating_sub(1)
                };
                counts[place] += 1;
                taken.push((saw, usize::from(right), told(&counts, place), place));
                if place == goal {
                    break;
                }
            }
            if is_test {
                found += u32::from(place == goal);
                continue;
            }
            // No two episodes have a room in common.
            let states: Vec<f64> = taken.iter().map(|t| (64 * episode + t.3) as f64).collect();
            let walk = clip(1, &states);
            let bonus = match &mut novelty {
                Some(novelty) => {
                    let bonus = rewards(novelty, &walk);
                    novelty.observe(&walk).unwrap();
                    bonus
                }
                None => vec![0.0; taken.len()],
            };
            for (&(saw, action, next, place), bonus) in taken.iter().zip(&bonus) {
                let done = place == goal;
                let future = if done {
                    0.0
                } else {
                    q[next][0].max(q[next][1])
                };
                let target = f64::from(done) + bonus + 0.5 * future;
                q[saw][action] += 0.1 * (target - q[saw][action]);
            }
        }
    }
    f64::from(found) / (100 * seeds) as f64
}

#[test]
fn where_episodes_share_nothing_episodic_novelty_finds_the_goal_and_lifetime_novelty_does_not() {
    let none = wandering(None, 12);
    let global = wandering(Some(&raw(Episodic::None, Lifetime::Count)), 12);
    let episodic = wandering(Some(&raw(Episodic::FirstVisit, Lifetime::None)), 12);
    let product = wandering(Some(&raw(Episodic::FirstVisit, Lifetime::Count)), 12);
    let found = format!("none {none}, global {global}, episodic {episodic}, product {product}");
    assert!(
        episodic > 0.9 && product >= episodic - 0.05 && global < episodic - 0.2,
        "{found}"
    );
}
