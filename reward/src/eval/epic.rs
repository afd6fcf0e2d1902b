//! EPIC: how far apart two rewards are, whatever their scale and whatever potential shapes them (Gleave et al., arXiv 2006.13900).
//!
//! Rewards are first made canonical,
//!
//! ```text
//! C(R)(s, a, s') = R(s, a, s') + E[ γ R(s', A, S') - R(s, A, S') - γ R(S, A, S') ]
//! ```
//!
//! with `S`, `S'` and `A` drawn independently from coverage distributions of states and actions; then compared by Pearson's
//! correlation over transitions, `D = sqrt((1 - ρ)/2)`. Shaping a reward with `γ φ(s') - φ(s)` leaves its canonical form as it is.
//! For rewards of the state alone the canonical form is a constant shift and `D` is [`epic_distance`](super::epic_distance) of
//! the values.

use super::rank::epic_distance;
use crate::model::RewardError;

/// A transition, by the indices of its state, its action and the state after it.
pub type Transition = (usize, usize, usize);

/// States and actions that expectations are taken over, each with one weight per state or action. They need not sum to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Coverage {
    /// How much each state counts.
    pub states: Vec<f64>,
    /// How much each action counts.
    pub actions: Vec<f64>,
}

impl Coverage {
    /// Every state and every action counts the same.
    pub fn uniform(states: usize, actions: usize) -> Self {
        Self {
            states: vec![1.0; states],
            actions: vec![1.0; actions],
        }
    }

    fn validate(&self) -> Result<(), RewardError> {
        for (weights, what) in [(&self.states, "states"), (&self.actions, "actions")] {
            let sum: f64 = weights.iter().sum();
            if !(sum > 0.0 && sum.is_finite() && weights.iter().all(|w| *w >= 0.0)) {
                return Err(RewardError::Other(format!(
                    "the coverage of {what} needs weights that are not negative and a sum above 0"
                )));
            }
        }
        Ok(())
    }
}

/// The canonical form of `reward(s, a, s')` at the given transitions, with discount `gamma`. Fails on a coverage without weight,
/// on a transition outside it, and on a reward that is not finite. Costs `states² · actions` calls of `reward`.
pub fn canonical(
    reward: impl Fn(usize, usize, usize) -> f64,
    transitions: &[Transition],
    coverage: &Coverage,
    gamma: f64,
) -> Result<Vec<f64>, RewardError> {
    coverage.validate()?;
    let (states, actions) = (&coverage.states, &coverage.actions);
    let (all_states, all_actions): (f64, f64) = (states.iter().sum(), actions.iter().sum());
    // E[R(s, A, S')] for every s.
    let from: Vec<f64> = (0..states.len())
        .map(|s| {
            let weighted = actions.iter().enumerate().map(|(a, of_action)| {
                let over_next = states.iter().enumerate();
                of_action
                    * over_next
                        .map(|(next, w)| w * reward(s, a, next))
                        .sum::<f64>()
            });
            weighted.sum::<f64>() / (all_states * all_actions)
        })
        .collect();
    let everywhere: f64 = from.iter().zip(states).map(|(r, w)| r * w).sum::<f64>() / all_states;
    transitions
        .iter()
        .enumerate()
        .map(|(i, &(s, a, next))| {
            if s.max(next) >= states.len() || a >= actions.len() {
                return Err(RewardError::Other(format!(
                    "transition {i} leads outside the {} states and {} actions covered",
                    states.len(),
                    actions.len()
                )));
            }
            let value = reward(s, a, next) + gamma * from[next] - from[s] - gamma * everywhere;
            if value.is_finite() {
                Ok(value)
            } else {
                Err(RewardError::NotFinite {
                    what: "a canonical reward".into(),
                    step: i,
                })
            }
        })
        .collect()
}

/// EPIC distance of two rewards over the given transitions. None when a canonical reward is constant. Fails as [`canonical`].
pub fn canonical_distance(
    one: impl Fn(usize, usize, usize) -> f64,
    other: impl Fn(usize, usize, usize) -> f64,
    transitions: &[Transition],
    coverage: &Coverage,
    gamma: f64,
) -> Result<Option<f64>, RewardError> {
    let one = canonical(one, transitions, coverage, gamma)?;
    let other = canonical(other, transitions, coverage, gamma)?;
    // Rounding leaves a constant not quite constant.
    let flat = |values: &[f64]| {
        let size = values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        super::sample::deviation(values) <= 1e-12 * size.max(1.0)
    };
    Ok(if flat(&one) || flat(&other) {
        None
    } else {
        epic_distance(&one, &other)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    const STATES: usize = 4;
    const ACTIONS: usize = 3;

    fn random_reward(seed: u64) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..STATES * ACTIONS * STATES)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect()
    }

    fn at(table: &[f64]) -> impl Fn(usize, usize, usize) -> f64 + '_ {
        |s, a, next| table[(s * ACTIONS + a) * STATES + next]
    }

    fn every_transition() -> Vec<Transition> {
        (0..STATES)
            .flat_map(|s| (0..ACTIONS).flat_map(move |a| (0..STATES).map(move |n| (s, a, n))))
            .collect()
    }

    #[test]
    fn a_reward_of_the_state_alone_needs_no_canonical_form() {
        let of_next = [0.21, 0.25, 0.33, 0.28];
        let label = [0.0, 0.0, 1.0, 1.0];
        let all = every_transition();
        let found = canonical_distance(
            |_, _, n| of_next[n],
            |_, _, n| label[n],
            &all,
            &Coverage::uniform(STATES, ACTIONS),
            0.9,
        );
        let plain = epic_distance(&of_next, &label).unwrap();
        assert!((found.unwrap().unwrap() - plain).abs() < 1e-9);
    }

    #[test]
    fn a_reward_that_is_only_shaping_is_no_reward() {
        let potential = [0.3, -1.0, 2.0, 0.5];
        let shaping = |s: usize, _: usize, n: usize| 0.9 * potential[n] - potential[s];
        let coverage = Coverage::uniform(STATES, ACTIONS);
        let form = canonical(shaping, &every_transition(), &coverage, 0.9).unwrap();
        assert!(form.iter().all(|v| v.abs() < 1e-12), "{form:?}");
        let other = random_reward(1);
        let found =
            canonical_distance(shaping, at(&other), &every_transition(), &coverage, 0.9).unwrap();
        assert_eq!(found, None);
    }

    #[test]
    fn senseless_coverage_and_transitions_are_refused() {
        let all = [(0, 0, 9)];
        let coverage = Coverage::uniform(2, 1);
        assert!(canonical(|_, _, _| 0.0, &all, &coverage, 0.9).is_err());
        let none = Coverage {
            states: vec![0.0; 2],
            actions: vec![1.0],
        };
        assert!(canonical(|_, _, _| 0.0, &[(0, 0, 1)], &none, 0.9).is_err());
        assert!(canonical(|_, _, _| f64::NAN, &[(0, 0, 1)], &coverage, 0.9).is_err());
    }

    proptest! {
        #[test]
        fn scale_shift_and_shaping_do_not_count_and_the_opposite_is_at_distance_one(
            seeds in (0u64..1000, 0u64..1000),
            scale in 0.1f64..10.0,
            shift in -3.0f64..3.0,
            potential in prop::collection::vec(-2.0f64..2.0, STATES),
            gamma in 0.0f64..1.0,
            weights in prop::collection::vec(0.1f64..1.0, STATES),
        ) {
            let (one, other) = (random_reward(seeds.0), random_reward(seeds.1));
            let all = every_transition();
            let coverage = Coverage { states: weights, actions: vec![1.0; ACTIONS] };
            let shaped = |s: usize, a: usize, n: usize| {
                scale * at(&one)(s, a, n) + shift + gamma * potential[n] - potential[s]
            };
            let plain = canonical_distance(at(&one), at(&other), &all, &coverage, gamma).unwrap().unwrap();
            let moved = canonical_distance(shaped, at(&other), &all, &coverage, gamma).unwrap().unwrap();
            prop_assert!((plain - moved).abs() < 1e-6, "{plain} {moved}");
            let opposite = canonical_distance(
                |s, a, n| -shaped(s, a, n), at(&one), &all, &coverage, gamma).unwrap().unwrap();
            prop_assert!((opposite - 1.0).abs() < 1e-9);
        }
    }
}
