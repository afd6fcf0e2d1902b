//! [`Lagrangian`]: every part is pursued up to the level at which it still means something.

use serde::{Deserialize, Serialize};

use super::{Combiner, Sum};
use crate::model::{RewardError, Signal};
use crate::objective::sigmoid;

/// What is asked of a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Constraint {
    /// The return reaches the target; weights lie in 0..1 (a sigmoid).
    AtLeast,
    /// The return stays at the target; weights lie in -1..1 (a hyperbolic tangent), so that too much is worked against.
    #[default]
    Equal,
}

impl Constraint {
    fn weight(self, multiplier: f64) -> f64 {
        match self {
            Self::AtLeast => sigmoid(multiplier),
            Self::Equal => multiplier.tanh(),
        }
    }

    fn slope(self, multiplier: f64) -> f64 {
        let weight = self.weight(multiplier);
        match self {
            Self::AtLeast => weight * (1.0 - weight),
            Self::Equal => 1.0 - weight * weight,
        }
    }
}

/// A part's target and how hard it is pulled there now.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Multiplier {
    /// Return that the part should have: where more of it stops being better.
    pub target: f64,
    /// What is asked.
    #[serde(default)]
    pub constraint: Constraint,
    /// The multiplier before squashing.
    #[serde(default)]
    pub value: f64,
    /// Its velocity under momentum.
    #[serde(default)]
    pub velocity: f64,
}

impl Multiplier {
    /// One that starts without pull (`Equal`) or with half of it (`AtLeast`).
    pub fn new(target: f64, constraint: Constraint) -> Self {
        Self {
            target,
            constraint,
            value: 0.0,
            velocity: 0.0,
        }
    }

    /// Weight of the part now.
    pub fn weight(&self) -> f64 {
        self.constraint.weight(self.value)
    }
}

/// `(n - Σ f(λ_i)) r_0 + Σ f(λ_i) r_i`: the first reward (staying near a reference policy, or the task itself) and `n` parts with
/// learned multipliers, which [`Lagrangian::update`] moves so that each part's return comes to its target (constrained RLHF, methods row 41;
/// as in the released code the sum of weights is constant). With frozen multipliers it is a weighted [`Sum`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lagrangian {
    /// One for each reward but the first.
    pub parts: Vec<Multiplier>,
    /// Step size of the multipliers.
    pub rate: f64,
    /// Their momentum.
    pub momentum: f64,
}

impl Default for Lagrangian {
    fn default() -> Self {
        Self {
            parts: Vec::new(),
            rate: 0.1,
            momentum: 0.1,
        }
    }
}

impl Lagrangian {
    /// Weights of all rewards now, the first one's included.
    pub fn weights(&self) -> Vec<f64> {
        let weights: Vec<f64> = self.parts.iter().map(Multiplier::weight).collect();
        let first = self.parts.len() as f64 - weights.iter().sum::<f64>();
        std::iter::once(first).chain(weights).collect()
    }

    /// Moves the multipliers one step down `Σ f(λ_i) (return_i - target_i)`: a part below its target gains weight, one above it
    /// loses weight. `returns` are the parts' mean returns lately, without the first reward's. Fails on another number of them and
    /// on values that are not finite.
    pub fn update(&mut self, returns: &[f64]) -> Result<(), RewardError> {
        if returns.len() != self.parts.len() || returns.iter().any(|r| !r.is_finite()) {
            return Err(RewardError::Other(format!(
                "{} multipliers need as many finite returns; there are {returns:?}",
                self.parts.len()
            )));
        }
        for (part, r) in self.parts.iter_mut().zip(returns) {
            let gradient = part.constraint.slope(part.value) * (r - part.target);
            part.velocity = self.momentum * part.velocity + gradient;
            part.value -= self.rate * part.velocity;
        }
        Ok(())
    }
}

impl Combiner for Lagrangian {
    fn combine(&self, signals: &[Signal]) -> Result<Signal, RewardError> {
        if signals.len() != self.parts.len() + 1 {
            return Err(RewardError::Other(format!(
                "{} multipliers go with {} rewards, the first of them without one; there are {}",
                self.parts.len(),
                self.parts.len() + 1,
                signals.len()
            )));
        }
        Sum {
            weights: self.weights(),
        }
        .combine(signals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(constraint: Constraint) -> Lagrangian {
        Lagrangian {
            parts: vec![
                Multiplier::new(1.0, constraint),
                Multiplier::new(2.0, constraint),
            ],
            ..Lagrangian::default()
        }
    }

    #[test]
    fn frozen_multipliers_are_a_sum() {
        let signals = [vec![1.0, 2.0], vec![3.0, -1.0], vec![0.5, 4.0]].map(Signal::new);
        let lagrangian = parts(Constraint::AtLeast);
        let sum = Sum {
            weights: vec![1.0, 0.5, 0.5],
        };
        assert_eq!(
            lagrangian.combine(&signals).unwrap(),
            sum.combine(&signals).unwrap()
        );
        assert!(lagrangian.combine(&signals[..2]).is_err());
    }

    #[test]
    fn a_part_below_its_target_gains_weight_and_one_above_loses_it() {
        for constraint in [Constraint::AtLeast, Constraint::Equal] {
            let mut lagrangian = parts(constraint);
            let before = lagrangian.weights();
            lagrangian.update(&[0.0, 5.0]).unwrap();
            let after = lagrangian.weights();
            assert!(after[1] > before[1] && after[2] < before[2]);
            assert!(lagrangian.update(&[1.0]).is_err());
            assert!(lagrangian.update(&[1.0, f64::NAN]).is_err());
        }
    }

    /// Row 41's check: two proxies rise for ever, the truth peaks where both are at 1. A policy that follows their plain sum passes the
    /// peak; one whose multipliers are learned beside it stays there.
    #[test]
    fn fixed_weights_overshoot_and_learned_multipliers_settle_at_the_peak() {
        let truth =
            |x: [f64; 2]| (1.0 - 0.5 * ((x[0] - 1.0).powi(2) + (x[1] - 1.0).powi(2))).max(0.0);
        let climb = |lagrangian: &mut Option<Lagrangian>| {
            // The policy is where it is; the first reward holds it back from leaving the old one, at 0.
            let mut x = [0.0f64; 2];
            for _ in 0..12_000 {
                let weights = lagrangian
                    .as_ref()
                    .map_or(vec![0.0, 1.0, 1.0], Lagrangian::weights);
                for (i, x) in x.iter_mut().enumerate() {
                    *x += 0.005 * (weights[i + 1] - 0.1 * weights[0] * *x);
                }
                if let Some(lagrangian) = lagrangian {
                    lagrangian.update(&x).unwrap();
                }
            }
            truth(x)
        };
        assert_eq!(climb(&mut None), 0.0);
        let both = vec![Multiplier::new(1.0, Constraint::Equal); 2];
        let learned = climb(&mut Some(Lagrangian {
            parts: both,
            ..Lagrangian::default()
        }));
        assert!(learned > 0.98, "{learned}");
    }
}
