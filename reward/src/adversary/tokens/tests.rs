use super::*;
use crate::eval::pearson;
use crate::store::RewardDir;

const STATE: usize = 3;
const WIDTH: usize = 5;
const PATCHES: usize = 4;
const GOAL: [f64; STATE] = [1.0, 0.0, 0.5];

fn encoder() -> EncoderSpec {
    EncoderSpec {
        name: "made tokens".into(),
        dim: WIDTH * (1 + PATCHES),
        fingerprint: "70".repeat(32),
    }
}

/// A frozen model of a state: every token is a view of its own of it.
struct World {
    views: Vec<f64>,
}

impl World {
    fn new() -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let count = WIDTH * (1 + PATCHES) * STATE;
        Self {
            views: (0..count).map(|_| rng.random_range(-1.0..1.0)).collect(),
        }
    }

    fn features(&self, states: &[[f64; STATE]]) -> Features {
        let mut values = Vec::new();
        for state in states {
            for view in self.views.chunks_exact(STATE) {
                let seen: f64 = view.iter().zip(state).map(|(v, x)| v * x).sum();
                values.push(seen as f32);
            }
        }
        Features::new(WIDTH * (1 + PATCHES), values)
    }
}

/// Near 1 at the goal, near 0 away from it.
fn success(state: &[f64; STATE]) -> f64 {
    let off: f64 = state.iter().zip(GOAL).map(|(x, g)| (x - g).powi(2)).sum();
    (-2.0 * off).exp()
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let sum: f64 = (0..12).map(|_| rng.random::<f64>()).sum();
    sum - 6.0
}

fn around(centre: [f64; STATE], spread: f64, count: usize, seed: u64) -> Vec<[f64; STATE]> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count)
        .map(|_| centre.map(|c| c + spread * normal(&mut rng)))
        .collect()
}

fn config() -> TokenConfig {
    TokenConfig {
        network: NetworkConfig {
            hidden: vec![24],
            activation: Activation::LeakyRelu,
        },
        patches: PATCHES,
        batch: 16,
        memory: 300,
        rate: 5e-3,
        ..Default::default()
    }
}

/// What the last rounds of an optimisation by cross-entropy came to: mean score and mean success per round, and the
/// correlation of both over the last rounds.
struct Outcome {
    score: Vec<f64>,
    success: Vec<f64>,
    correlation: f64,
}

fn optimise(lessons: usize) -> Outcome {
    let world = World::new();
    let demonstrations = world.features(&around(GOAL, 0.15, 100, 1));
    let mut adversary = TokenAdversary::new(&encoder(), &[demonstrations], &config(), 2).unwrap();
    let first = around([0.0; STATE], 0.4, 100, 3);
    adversary.observe(&world.features(&first)).unwrap();
    adversary.update(150).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let (mut mean, mut spread) = ([0.0f64; STATE], [0.5f64; STATE]);
    let mut outcome = Outcome {
        score: Vec::new(),
        success: Vec::new(),
        correlation: 0.0,
    };
    let mut last = (Vec::new(), Vec::new());
    const ROUNDS: usize = 25;
    for round in 0..ROUNDS {
        let states: Vec<[f64; STATE]> = (0..60)
            .map(|_| {
                let mut state = [0.0; STATE];
                for i in 0..STATE {
                    state[i] = (mean[i] + spread[i] * normal(&mut rng)).clamp(-6.0, 6.0);
                }
                state
            })
            .collect();
        let clip = Clip::from_features(world.features(&states), 10.0);
        let head = adversary.freeze().unwrap();
        let scores = head.score(&clip, &Context::default()).unwrap().per_step;
        let truth: Vec<f64> = states.iter().map(success).collect();
        let average = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        outcome.score.push(average(&scores));
        outcome.success.push(average(&truth));
        if round + 8 >= ROUNDS {
            last.0.extend_from_slice(&scores);
            last.1.extend_from_slice(&truth);
        }
        let mut order: Vec<usize> = (0..states.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        for i in 0..STATE {
            let elite: Vec<f64> = order[..12].iter().map(|&j| states[j][i]).collect();
            mean[i] = average(&elite);
            let off: Vec<f64> = elite.iter().map(|x| (x - mean[i]).powi(2)).collect();
            spread[i] = average(&off).sqrt().max(0.3);
        }
        if lessons > 0 {
            adversary.observe(&clip.features).unwrap();
            adversary.update(lessons).unwrap();
        }
    }
    outcome.correlation = pearson(&last.0, &last.1).unwrap();
    outcome
}

/// The check of the table: what optimises against a head that no longer learns finds where its score is high and success is
/// not; one that goes on learning from what is found keeps score and success together to the end.
#[test]
fn a_head_that_stops_learning_is_hacked_and_one_that_goes_on_is_not() {
    let still = optimise(0);
    let learning = optimise(20);
    let end = |v: &[f64]| v[v.len() - 8..].iter().sum::<f64>() / 8.0;
    let best = still.success.iter().copied().fold(0.0, f64::max);
    assert!(end(&still.score) > still.score[0] + 1.0);
    assert!(end(&still.success) < 0.5 * best && still.correlation < 0.0);
    assert!(learning.correlation > 0.2 && end(&learning.success) > end(&still.success) + 0.1);
}

#[test]
fn the_score_is_seven_parts_class_and_three_parts_patch() {
    let world = World::new();
    let demonstrations = world.features(&around(GOAL, 0.15, 20, 1));
    for lipschitz in [Lipschitz::None, Lipschitz::Both] {
        let config = TokenConfig {
            lipschitz,
            ..config()
        };
        let mut adversary = TokenAdversary::new(
            &encoder(),
            std::slice::from_ref(&demonstrations),
            &config,
            2,
        )
        .unwrap();
        let others = world.features(&around([0.0; STATE], 0.4, 20, 3));
        adversary.observe(&others).unwrap();
        adversary.update(30).unwrap();
        let head = adversary.freeze().unwrap();
        let clip = Clip::from_features(demonstrations.clone(), 10.0);
        let good = head.score(&clip, &Context::default()).unwrap();
        for t in 0..good.per_step.len() {
            let mix = 0.7 * good.terms["class"][t] + 0.3 * good.terms["patch"][t];
            assert!((good.per_step[t] - mix).abs() < 1e-12);
        }
        let bad = Clip::from_features(others, 10.0);
        let bad = head.score(&bad, &Context::default()).unwrap();
        assert!(good.total() > bad.total());

        let dir = tempfile::tempdir().unwrap();
        let dir = RewardDir::new(dir.path());
        dir.save(&head, &encoder(), 2).unwrap();
        let loaded = dir.load().unwrap();
        let found = loaded.model.score(&clip, &Context::default()).unwrap();
        assert_eq!(found, good);
    }
}

#[test]
fn tokens_that_do_not_fit_are_refused() {
    let features = World::new().features(&around(GOAL, 0.1, 3, 1));
    let config = TokenConfig {
        patches: 3,
        ..config()
    };
    let error = TokenAdversary::new(&encoder(), std::slice::from_ref(&features), &config, 0).err();
    assert!(error.unwrap().to_string().contains("3 patch tokens"));
    let fits = TokenConfig {
        patches: PATCHES,
        ..config
    };
    let mut adversary = TokenAdversary::new(&encoder(), &[features], &fits, 0).unwrap();
    assert!(adversary.update(1).is_err());
    assert!(TokenAdversary::new(&encoder(), &[], &fits, 0).is_err());
}
