use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::Features;

use super::*;

// A hand on a line pushes a block to a place, and somebody wants it done gently without having said so.

const STEPS: usize = 30;
const KNOTS: usize = 6;
const GOAL: f64 = 1.0;

/// What happens when the hand is driven by these forces: hand, velocity, block, how far the block is from its place.
fn push(knots: &[f64]) -> Clip {
    let (mut hand, mut velocity, mut block) = (0.0, 0.0, 0.3f64);
    let (mut states, mut actions) = (Vec::new(), Vec::new());
    for t in 0..STEPS {
        let place = t as f64 * (KNOTS - 1) as f64 / (STEPS - 1) as f64;
        let before = (place as usize).min(KNOTS - 2);
        let share = place - before as f64;
        let force = (knots[before] * (1.0 - share) + knots[before + 1] * share).clamp(-1.0, 1.0);
        velocity += (4.0 * force - velocity) * 0.1;
        hand += velocity * 0.1;
        block = block.max(hand);
        states.extend([hand, velocity, block, GOAL - block].map(|v| v as f32));
        actions.push(force as f32);
    }
    Clip {
        columns: [
            ("state".to_owned(), Features::new(4, states)),
            ("action".to_owned(), Features::new(1, actions)),
        ]
        .into(),
        fps: 10.0,
        ..Clip::default()
    }
}

/// What the somebody wants: the block in its place at the end, and no jerk.
fn liking(clip: &Clip) -> f64 {
    let (state, action) = (&clip.columns["state"], &clip.columns["action"]);
    let off = f64::from(state.row(STEPS - 1)[3]).abs();
    let jerk: f64 = (1..STEPS)
        .map(|t| f64::from(action.row(t)[0] - action.row(t - 1)[0]).abs())
        .sum();
    -10.0 * off - jerk
}

/// Practice by the cross-entropy method over the forces.
struct CrossEntropy {
    policies: usize,
}

impl Practice for CrossEntropy {
    type Rollout = Clip;

    fn practise(&mut self, reward: &ProgramReward) -> Result<Clip, RewardError> {
        self.policies += 1;
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut mean, mut deviation) = ([0.0; KNOTS], [0.6; KNOTS]);
        for _ in 0..12 {
            let mut tried = Vec::new();
            for _ in 0..30 {
                let knots: [f64; KNOTS] = std::array::from_fn(|k| {
                    // A sum of uniform numbers is nearly normal.
                    let normal: f64 =
                        (0..12).map(|_| rng.random_range(0.0..1.0)).sum::<f64>() - 6.0;
                    mean[k] + deviation[k] * normal
                });
                tried.push((
                    reward.score(&push(&knots), &Context::default())?.total(),
                    knots,
                ));
            }
            tried.sort_by(|a, b| b.0.total_cmp(&a.0));
            for k in 0..KNOTS {
                let elite: Vec<f64> = tried[..6].iter().map(|(_, knots)| knots[k]).collect();
                mean[k] = elite.iter().sum::<f64>() / 6.0;
                deviation[k] =
                    (elite.iter().map(|v| (v - mean[k]).powi(2)).sum::<f64>() / 6.0).sqrt() + 0.01;
            }
        }
        Ok(push(&mean))
    }

    fn clip<'a>(&self, rollout: &'a Clip) -> &'a Clip {
        rollout
    }
}

fn brief() -> Brief {
    let columns = [
        ("state", vec!["hand", "velocity", "block", "gap"]),
        ("action", vec!["force"]),
    ];
    let columns = columns.map(|(name, parts)| Column {
        name: name.into(),
        parts: parts.into_iter().map(str::to_owned).collect(),
    });
    let mut brief = Brief::new("push the block to its place", columns.into());
    let features = [
        ("gap", "abs(state[3])"),
        ("reach", "abs(state[0] - state[2])"),
        ("speed", "abs(state[1])"),
        ("forward", "state[1]"),
        ("effort", "abs(action)"),
        ("jerk", "abs(delta(action))"),
    ];
    brief.features = features
        .map(|(name, value)| Feature {
            name: name.into(),
            value: value.parse().unwrap(),
        })
        .into();
    brief
}

fn evolve(seed: u64) -> Evolve {
    Evolve::new(EvolveConfig {
        seed,
        ..EvolveConfig::default()
    })
    .unwrap()
}

/// Plays rounds, and gives the oracle's score of the best of each.
fn play(seed: u64, rounds: usize, programs: usize) -> Vec<f64> {
    let config = SearchConfig { programs, rounds };
    let (brief, mut proposer, mut practice) = (brief(), evolve(seed), CrossEntropy { policies: 0 });
    let mut played = Vec::new();
    for _ in 0..rounds {
        let mut judge = ScoredBy::new(liking);
        let round = next_round(
            &brief,
            config,
            &played,
            &mut proposer,
            &mut practice,
            &mut judge,
        )
        .unwrap()
        .unwrap();
        assert_eq!(round.candidates.len(), programs);
        played.push(round);
    }
    assert_eq!(practice.policies, rounds * programs);
    let score = |round: &Round| {
        let reward = ProgramReward::new(round.best_program().clone()).unwrap();
        liking(&CrossEntropy { policies: 0 }.practise(&reward).unwrap())
    };
    played.iter().map(score).collect()
}

#[test]
fn five_rounds_of_best_and_worst_find_a_gentler_push_than_one_round_or_thirty_programs_at_once() {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (mut first, mut last, mut open) = (Vec::new(), Vec::new(), Vec::new());
    for seed in 0..5 {
        let scores = play(seed, 5, 6);
        first.push(scores[0]);
        last.push(scores[4]);
        open.push(play(seed + 100, 1, 30)[0]);
    }
    let found = format!("round 1 {first:.2?}, round 5 {last:.2?}, thirty at once {open:.2?}");
    assert!(
        mean(&last) > mean(&first) + 0.1 && mean(&last) > mean(&open),
        "{found}"
    );
    assert!(last.iter().zip(&first).all(|(l, f)| l >= f), "{found}");
}

#[test]
fn five_rounds_of_six_cost_forty_nine_comparisons() {
    assert_eq!(SearchConfig::default().comparisons(), 49);
    assert!(
        SearchConfig {
            programs: 1,
            rounds: 5
        }
        .validate()
        .is_err()
    );
}

#[test]
fn a_search_goes_on_as_if_it_had_not_been_stopped() {
    let config = SearchConfig {
        programs: 3,
        rounds: 2,
    };
    let next = |rounds: &[Round]| {
        let mut practice = CrossEntropy { policies: 0 };
        next_round(
            &brief(),
            config,
            rounds,
            &mut evolve(4),
            &mut practice,
            &mut ScoredBy::new(liking),
        )
        .unwrap()
        .unwrap()
    };
    let first = next(&[]);
    let text = serde_json::to_string(&first).unwrap();
    let read: Round = serde_json::from_str(&text).unwrap();
    assert_eq!(read.best_program(), first.best_program());
    let (second, again) = (next(&[first]), next(&[read]));
    assert_eq!(second.candidates[0].program, again.candidates[0].program);
    assert_eq!(second.candidates, again.candidates);
}

#[test]
fn proposals_are_different_and_the_seed_decides_them() {
    let propose = |seed| evolve(seed).propose(&brief(), &[], 20).unwrap();
    let programs = propose(3);
    assert_eq!(programs, propose(3));
    assert_ne!(programs, propose(4));
    for (i, program) in programs.iter().enumerate() {
        assert!(!programs[..i].contains(program));
        assert!(brief().check(program).is_ok());
    }
    let empty = Brief::new("nothing to see", vec![]);
    assert!(evolve(0).propose(&empty, &[], 1).is_err());
}

/// Answers what it was made with.
struct Says(Vec<Option<Extremes>>);

impl Annotator for Says {
    type Query = Lineup<Clip>;
    type Answer = Extremes;

    fn name(&self) -> &str {
        "says"
    }

    fn label(&mut self, _: &[Lineup<Clip>]) -> Result<Vec<Option<Extremes>>, RewardError> {
        Ok(self.0.clone())
    }
}

#[test]
fn answers_that_make_no_sense_are_refused() {
    let config = SearchConfig {
        programs: 2,
        rounds: 1,
    };
    let play = |answers: Vec<Option<Extremes>>| {
        next_round(
            &brief(),
            config,
            &[],
            &mut evolve(0),
            &mut CrossEntropy { policies: 0 },
            &mut Says(answers),
        )
    };
    for (best, worst) in [(0, 0), (2, 0), (0, 2)] {
        assert!(play(vec![Some(Extremes { best, worst })]).is_err());
    }
    assert!(play(vec![]).is_err());
    assert!(play(vec![None]).unwrap().is_none());
    let mut oracle = ScoredBy::new(|score: &f64| *score);
    let mut ask = |rollouts: &[f64]| {
        oracle
            .label(&[Lineup {
                round: 0,
                rollouts: rollouts.to_vec(),
            }])
            .unwrap()[0]
    };
    assert_eq!(
        ask(&[1.0, f64::NAN, 3.0]),
        Some(Extremes { best: 2, worst: 1 })
    );
    assert_eq!(ask(&[1.0, 1.0, 1.0]), Some(Extremes { best: 0, worst: 2 }));
    assert_eq!(ask(&[]), None);
}
