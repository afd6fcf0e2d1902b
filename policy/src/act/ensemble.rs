//! Temporal ensembling (section IV.A of the paper): the mean of what several chunks say of one step.

use std::collections::VecDeque;

/// Chunks whose actions reach the present.
#[derive(Clone, Debug)]
pub(crate) struct Ensemble {
    decay: f64,
    action_dim: usize,
    /// `[chunk, action_dim]` each, oldest first; the `j`-th from the end was predicted `j` steps ago.
    chunks: VecDeque<Vec<f32>>,
}

impl Ensemble {
    pub(crate) fn new(decay: f64, action_dim: usize) -> Self {
        Self {
            decay,
            action_dim,
            chunks: VecDeque::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
    }

    /// Takes in the chunk of this step, `[chunk, action_dim]`, and gives the action: weights `exp(-decay i)`, `i = 0` for the
    /// oldest chunk that reaches this step.
    pub(crate) fn step(&mut self, chunk: Vec<f32>) -> Vec<f32> {
        self.chunks.push_back(chunk);
        let count = self.chunks.len();
        if count * self.action_dim > self.chunks[0].len() {
            self.chunks.pop_front();
        }
        let count = self.chunks.len();
        let (mut sum, mut total) = (vec![0.0; self.action_dim], 0.0);
        for (i, chunk) in self.chunks.iter().enumerate() {
            let weight = (-self.decay * i as f64).exp();
            total += weight;
            let age = count - 1 - i;
            let action = &chunk[age * self.action_dim..][..self.action_dim];
            for (sum, &a) in sum.iter_mut().zip(action) {
                *sum += weight * f64::from(a);
            }
        }
        sum.into_iter().map(|s| (s / total) as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_chunk_weighs_most_and_leaves_when_it_ends() {
        let mut ensemble = Ensemble::new(0.5, 1);
        assert_eq!(ensemble.step(vec![1.0, 2.0, 3.0]), [1.0]);
        let second = ensemble.step(vec![10.0, 20.0, 30.0])[0];
        let w = (-0.5f32).exp();
        assert!((second - (2.0 + w * 10.0) / (1.0 + w)).abs() < 1e-5);
        ensemble.step(vec![100.0, 200.0, 300.0]);
        let fourth = ensemble.step(vec![1000.0, 0.0, 0.0])[0];
        let expected = (30.0 + w * 200.0 + w * w * 1000.0) / (1.0 + w + w * w);
        assert!((fourth - expected).abs() < 1e-3, "{fourth} {expected}");
        ensemble.clear();
        assert_eq!(ensemble.step(vec![7.0, 0.0, 0.0]), [7.0]);
    }

    #[test]
    fn chunks_that_agree_are_followed() {
        let mut ensemble = Ensemble::new(0.01, 2);
        for t in 0..20 {
            let chunk = (t..t + 5).flat_map(|s| [s as f32, -(s as f32)]).collect();
            let action = ensemble.step(chunk);
            assert!((action[0] - t as f32).abs() < 1e-4 && (action[1] + t as f32).abs() < 1e-4);
        }
    }
}
