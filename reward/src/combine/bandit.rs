//! A bandit whose best policy at a given distance from the old one is known in closed form: what transforms and combiners of
//! rewards are tried on.

/// Chances of actions.
pub(crate) struct Bandit {
    chances: Vec<f64>,
}

impl Bandit {
    pub(crate) fn uniform(arms: usize) -> Self {
        Self {
            chances: vec![1.0 / arms as f64; arms],
        }
    }

    pub(crate) fn mean(&self, values: &[f64]) -> f64 {
        self.chances.iter().zip(values).map(|(p, v)| p * v).sum()
    }

    /// The policy with the largest mean reward at KL divergence `divergence` from this one: chances in proportion to
    /// `p exp(β r)`, with the `β` found by bisection.
    pub(crate) fn tilted(&self, rewards: &[f64], divergence: f64) -> Self {
        let top = rewards.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let at = |beta: f64| {
            let weights: Vec<f64> = self
                .chances
                .iter()
                .zip(rewards)
                .map(|(p, r)| p * (beta * (r - top)).exp())
                .collect();
            let total: f64 = weights.iter().sum();
            Self {
                chances: weights.iter().map(|w| w / total).collect(),
            }
        };
        let (mut low, mut high) = (0.0, 1e4);
        for _ in 0..200 {
            let middle = 0.5 * (low + high);
            if at(middle).divergence(self) < divergence {
                low = middle;
            } else {
                high = middle;
            }
        }
        at(low)
    }

    /// KL divergence from `other`, nats.
    pub(crate) fn divergence(&self, other: &Self) -> f64 {
        let pairs = self.chances.iter().zip(&other.chances);
        pairs
            .filter(|(p, _)| **p > 0.0)
            .map(|(p, q)| p * (p / q).ln())
            .sum()
    }
}
