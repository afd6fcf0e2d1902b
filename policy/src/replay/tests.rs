use std::path::Path;

use proptest::prelude::*;
use rand_chacha::rand_core::SeedableRng as _;

use super::*;

fn episode(number: usize, len: usize) -> Vec<Transition> {
    (0..len)
        .map(|t| Transition {
            observation: vec![number as f32, t as f32],
            action: vec![0.5],
            reward: number as f32,
            next_observation: vec![number as f32, t as f32 + 1.0],
            terminated: false,
            truncated: t + 1 == len,
        })
        .collect()
}

fn restored(replay: &Replay) -> Replay {
    let mut state = StateDict::default();
    replay.save(&mut state);
    let bytes = state.to_bytes(0).unwrap();
    let mut again = Replay::new(replay.capacity, 2, 1);
    again
        .load(&StateReader::new(Path::new("x"), &bytes).unwrap())
        .unwrap();
    again
}

proptest! {
    #[test]
    fn holds_the_newest_whole_episodes_that_fit_and_survives_a_snapshot(
        capacity in 8usize..40, lengths in prop::collection::vec(1usize..8, 1..30), seed in any::<u64>(),
    ) {
        let mut replay = Replay::new(capacity, 2, 1);
        for (number, &len) in lengths.iter().enumerate() {
            prop_assert_eq!(replay.push(&episode(number, len)).unwrap(), number as u64);
            if number == lengths.len() / 2 {
                replay = restored(&replay);
            }
        }
        let mut expected = Vec::new();
        let mut room = capacity;
        for (number, &len) in lengths.iter().enumerate().rev() {
            if len > room {
                break;
            }
            room -= len;
            expected.insert(0, (number as u64, len));
        }
        let stored: Vec<_> = replay.episodes().map(|e| (e.id(), e.len())).collect();
        prop_assert_eq!(&stored, &expected);
        prop_assert_eq!(replay.len(), capacity - room);
        for view in replay.episodes() {
            for (t, step) in view.steps().enumerate() {
                prop_assert_eq!(step.observation, &[view.id() as f32, t as f32]);
                prop_assert_eq!(step.truncated, t + 1 == view.len());
                prop_assert!(!step.terminated);
            }
        }

        let again = restored(&replay);
        let (mut a, mut b) = (ChaCha8Rng::seed_from_u64(seed), ChaCha8Rng::seed_from_u64(seed));
        for _ in 0..50 {
            prop_assert_eq!(replay.sample(&mut a), again.sample(&mut b));
        }
    }
}

#[test]
fn every_transition_is_drawn_about_equally_often() {
    let mut replay = Replay::new(10, 2, 1);
    for n in 0..5 {
        replay.push(&episode(n, 3)).unwrap();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..9000 {
        let step = replay.sample(&mut rng).unwrap();
        *counts
            .entry(
                step.observation
                    .iter()
                    .map(|x| *x as i32)
                    .collect::<Vec<_>>(),
            )
            .or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 9);
    assert!(
        counts.values().all(|&n: &i32| (850..1150).contains(&n)),
        "{counts:?}"
    );
}

#[test]
fn pieces_of_an_episode_are_one_episode() {
    let (mut whole, mut pieces) = (Replay::new(12, 2, 1), Replay::new(12, 2, 1));
    for number in 0..4 {
        let steps = episode(number, 5);
        whole.push(&steps).unwrap();
        let ids: Vec<u64> = steps
            .iter()
            .map(|step| pieces.push(std::slice::from_ref(step)).unwrap())
            .collect();
        assert_eq!(ids, [number as u64; 5]);
    }
    let all = |replay: &Replay| -> Vec<(u64, Vec<f32>)> {
        let episodes = replay.episodes();
        episodes
            .map(|e| {
                (
                    e.id(),
                    e.steps().flat_map(|s| s.observation.to_vec()).collect(),
                )
            })
            .collect()
    };
    assert_eq!(all(&whole), all(&pieces));
    let mut endless = Replay::new(3, 2, 1);
    endless.push(&episode(0, 5)[..3]).unwrap();
    assert!(endless.push(&episode(0, 5)[3..]).is_err());
}

#[test]
fn several_steps_ahead_end_with_the_episode() {
    let mut replay = Replay::new(10, 2, 1);
    for (number, ends_in_task) in [(1, true), (2, false)] {
        let mut steps = episode(number, 3);
        steps[2].terminated = ends_in_task;
        replay.push(&steps).unwrap();
    }
    // A piece of an episode that goes on.
    replay.push(&episode(3, 3)[..2]).unwrap();
    let found = |at, n| {
        let ahead = replay.ahead(at, n, 0.5);
        (ahead.reward, ahead.next_observation[1], ahead.discount)
    };
    assert_eq!(found(0, 1), (1.0, 1.0, 0.5));
    assert_eq!(found(0, 2), (1.5, 2.0, 0.25));
    assert_eq!(found(0, 5), (1.75, 3.0, 0.0), "the task ended");
    assert_eq!(found(4, 5), (3.0, 3.0, 0.25), "the clock ended");
    assert_eq!(found(6, 5), (4.5, 2.0, 0.25), "more is not stored yet");
    assert_eq!(replay.ahead(1, 3, 0.5).observation, [1.0, 1.0]);
}

#[test]
fn relabelling_changes_rewards_by_episode_and_nothing_else() {
    let mut replay = Replay::new(10, 2, 1);
    for n in 0..5 {
        replay.push(&episode(n, 3)).unwrap();
    }
    let changed = replay
        .relabel(|e| (e.id() == 3).then(|| e.steps().map(|s| s.observation[1] * 10.0).collect()))
        .unwrap();
    assert_eq!(changed, 1);
    let rewards: Vec<Vec<f32>> = replay
        .episodes()
        .map(|e| e.steps().map(|s| s.reward).collect())
        .collect();
    assert_eq!(rewards, [[2.0; 3], [0.0, 10.0, 20.0], [4.0; 3]]);
    assert!(
        replay
            .relabel(|_| Some(vec![1.0]))
            .unwrap_err()
            .to_string()
            .contains("given 1 rewards")
    );
    let error = replay
        .relabel(|_| Some(vec![0.0, f32::NAN, 0.0]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("new reward at step 1 of episode 2"),
        "{error}"
    );
}

#[test]
fn unusable_episodes_are_refused_with_what_and_where() {
    let mut replay = Replay::new(4, 2, 1);
    type Spoil = fn(&mut Vec<Transition>);
    let cases: [(Spoil, &str); 8] = [
        (
            |e| e[1].observation[1] = f32::NAN,
            "observation[1] at step 1",
        ),
        (
            |e| e[2].next_observation[0] = f32::INFINITY,
            "next observation[0] at step 2",
        ),
        (|e| e[0].action[0] = f32::NAN, "action[0] at step 0"),
        (|e| e[2].reward = f32::NEG_INFINITY, "reward[0] at step 2"),
        (|e| e[0].action[0] = 1.5, "outside -1..=1"),
        (|e| e[0].action.push(0.0), "action at step 0 has 2 numbers"),
        (
            |e| e[0].terminated = true,
            "terminates the episode before its end",
        ),
        (|e| e.clear(), "without steps"),
    ];
    for (spoil, expected) in cases {
        let mut bad = episode(0, 3);
        spoil(&mut bad);
        let error = replay.push(&bad).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(
        replay
            .push(&episode(0, 5))
            .unwrap_err()
            .to_string()
            .contains("replay_capacity")
    );
    assert!(replay.is_empty());
    assert_eq!(replay.sample(&mut ChaCha8Rng::seed_from_u64(0)), None);
}
