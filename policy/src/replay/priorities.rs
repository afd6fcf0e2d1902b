//! Which transitions to learn from again: those that surprised most (Schaul et al. 2016, "Prioritized Experience Replay",
//! arXiv:1511.05952, the proportional variant).
//!
//! `P(i) = p_i^alpha / sum p^alpha`, `p_i = |temporal difference| + 1e-6`; what was never learned from has the largest priority so
//! far. A batch's errors count `(n P(i))^-beta`, over the largest of the batch. The paper lets beta rise to 1 over a training of known length;
//! here it stays.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::policy::PolicyError;
use crate::state::{StateDict, StateReader};

/// How much surprise counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PriorityConfig {
    /// alpha: 0 draws all alike, 1 in proportion to their surprise.
    pub exponent: f64,
    /// beta: 1 corrects the updates fully for what is drawn more often, 0 not at all.
    pub importance: f64,
}

impl Default for PriorityConfig {
    fn default() -> Self {
        Self {
            exponent: 0.6,
            importance: 0.4,
        }
    }
}

/// Keeps the least surprising in the game.
const FLOOR: f64 = 1e-6;

/// Priorities of the transitions in a ring, by their numbers.
#[derive(Clone, Debug)]
pub(crate) struct Priorities {
    config: PriorityConfig,
    capacity: usize,
    /// A binary tree of sums: its root is 1, the children of `n` are `2n` and `2n + 1`, the leaves are the last `leaves`.
    sums: Vec<f64>,
    leaves: usize,
    /// Largest `p^alpha` so far.
    largest: f64,
    /// Numbers of the oldest one kept and of the next one.
    kept: (u64, u64),
}

impl Priorities {
    pub(crate) fn new(config: PriorityConfig, capacity: usize) -> Self {
        let leaves = capacity.next_power_of_two();
        Self {
            config,
            capacity,
            sums: vec![0.0; 2 * leaves],
            leaves,
            largest: 1.0,
            kept: (0, 0),
        }
    }

    fn leaf(&self, number: u64) -> usize {
        self.leaves + (number % self.capacity as u64) as usize
    }

    /// Sums are added up anew, never changed by differences: the tree depends on its leaves alone.
    fn set(&mut self, number: u64, value: f64) {
        let mut node = self.leaf(number);
        self.sums[node] = value;
        while node > 1 {
            node /= 2;
            self.sums[node] = self.sums[2 * node] + self.sums[2 * node + 1];
        }
    }

    /// Follows the ring: those before `oldest` have left, those up to `next` have come.
    pub(crate) fn follow(&mut self, oldest: u64, next: u64) {
        for number in self.kept.0..oldest {
            self.set(number, 0.0);
        }
        for number in self.kept.1.max(oldest)..next {
            self.set(number, self.largest);
        }
        self.kept = (oldest, next);
    }

    /// The number of a transition drawn by priority, and its weight before it is divided by the largest of the batch.
    pub(crate) fn draw(&self, rng: &mut ChaCha8Rng) -> (u64, f32) {
        let total = self.sums[1];
        let mut left = rng.random::<f64>() * total;
        let mut node = 1;
        while node < self.leaves {
            let first = self.sums[2 * node];
            // By rounding the rest can reach past the last leaf with a priority.
            if left < first || self.sums[2 * node + 1] == 0.0 {
                node *= 2;
            } else {
                left -= first;
                node = 2 * node + 1;
            }
        }
        let slot = (node - self.leaves) as u64;
        let (oldest, next) = self.kept;
        let capacity = self.capacity as u64;
        let number = oldest + (slot + capacity - oldest % capacity) % capacity;
        let share = self.sums[node] / total * (next - oldest) as f64;
        (number, share.powf(-self.config.importance) as f32)
    }

    /// How large the error of a transition was.
    pub(crate) fn learned(&mut self, number: u64, error: f32) {
        let value = (f64::from(error.abs()) + FLOOR).powf(self.config.exponent);
        self.largest = self.largest.max(value);
        if (self.kept.0..self.kept.1).contains(&number) {
            self.set(number, value);
        }
    }

    pub(crate) fn save(&self, state: &mut StateDict) {
        let (oldest, next) = self.kept;
        let leaves: Vec<f64> = (oldest..next).map(|n| self.sums[self.leaf(n)]).collect();
        state.f64("priority.values", &leaves);
        state.f64("priority.largest", &[self.largest]);
        state.u64("priority.kept", &[oldest, next]);
    }

    pub(crate) fn load(&mut self, state: &StateReader) -> Result<(), PolicyError> {
        let [oldest, next] = state.u64("priority.kept")?;
        let values = state.f64("priority.values")?;
        if values.len() as u64 != next.wrapping_sub(oldest) || values.len() > self.capacity {
            return Err(state.fault("has priorities for other transitions".into()));
        }
        for (number, value) in (oldest..next).zip(values) {
            self.set(number, value);
        }
        self.largest = state
            .f64("priority.largest")?
            .first()
            .copied()
            .unwrap_or(1.0);
        self.kept = (oldest, next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    #[test]
    fn draws_are_in_proportion_to_surprise_and_weights_take_it_back() {
        let config = PriorityConfig {
            exponent: 0.5,
            importance: 1.0,
        };
        let mut priorities = Priorities::new(config, 6);
        // Four of ten are left of a ring of six.
        priorities.follow(0, 5);
        priorities.follow(6, 10);
        let errors = [1.0f32, 4.0, 9.0, 16.0];
        for (number, error) in (6..10).zip(errors) {
            priorities.learned(number, error);
        }
        // One that has left already changes nothing.
        priorities.learned(2, 100.0);
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let (mut counts, mut weighted) = ([0u32; 4], [0.0; 4]);
        for _ in 0..40_000 {
            let (number, weight) = priorities.draw(&mut rng);
            let at = (number - 6) as usize;
            counts[at] += 1;
            weighted[at] += f64::from(weight);
        }
        for (at, count) in counts.into_iter().enumerate() {
            let expected = 4_000.0 * (at + 1) as f64;
            assert!((f64::from(count) - expected).abs() < 400.0, "{counts:?}");
            assert!((weighted[at] - 10_000.0).abs() < 500.0, "{weighted:?}");
        }
    }

    #[test]
    fn what_was_never_learned_from_comes_first_and_a_saved_tree_draws_the_same() {
        let mut priorities = Priorities::new(PriorityConfig::default(), 100);
        priorities.follow(0, 50);
        for number in 0..50 {
            priorities.learned(number, 1e-3);
        }
        priorities.follow(20, 110);
        let mut state = StateDict::default();
        priorities.save(&mut state);
        let bytes = state.to_bytes(0).unwrap();
        let mut again = Priorities::new(PriorityConfig::default(), 100);
        again
            .load(&StateReader::new(Path::new("x"), &bytes).unwrap())
            .unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut other = rng.clone();
        let mut fresh = 0;
        for _ in 0..1000 {
            let drawn = priorities.draw(&mut rng);
            assert_eq!(drawn, again.draw(&mut other));
            assert!((20..110).contains(&drawn.0));
            fresh += usize::from(drawn.0 >= 50);
        }
        assert!(fresh > 950, "{fresh}");
    }
}
