//! [`Combiner`]: several rewards made into one, and [`Combined`], the reward model that does it.

mod and;
#[cfg(test)]
pub(crate) mod bandit;
mod behaviour;
mod combined;
mod gate;
mod hybrid;
mod lagrangian;
mod meta;
mod product;
mod sum;
mod tame;
mod tune;

use serde::{Deserialize, Serialize};

pub use and::And;
pub use behaviour::{Behaviour, InnerProblem, OuterConfig, outer_gradient};
pub use combined::{Combined, Member};
pub use gate::Gate;
pub use hybrid::Hybrid;
pub use lagrangian::{Constraint, Lagrangian, Multiplier};
pub use meta::MetaWeight;
pub use product::Product;
pub use sum::Sum;
pub use tame::{LogTame, Threshold};
pub use tune::{Tuned, tune};

use crate::model::{RewardError, Signal};

/// Makes several rewards into one. Standard deviations are taken to be independent; a reward without any counts as certain.
pub trait Combiner: Send + Sync {
    /// Combines signals of one length. Fails on none, on different lengths, and when their number does not suit.
    fn combine(&self, signals: &[Signal]) -> Result<Signal, RewardError>;
}

/// The length that all signals have.
fn common_length(signals: &[Signal]) -> Result<usize, RewardError> {
    let Some(first) = signals.first() else {
        return Err(RewardError::Other(
            "there is no reward to combine; name at least one".into(),
        ));
    };
    let steps = first.per_step.len();
    match signals.iter().find(|s| s.per_step.len() != steps) {
        Some(other) => Err(RewardError::Other(format!(
            "rewards over {steps} and {} steps cannot be combined; score the same clip",
            other.per_step.len()
        ))),
        None => Ok(steps),
    }
}

/// Variance of a step's reward.
fn variance(signal: &Signal, t: usize) -> f64 {
    signal.uncertainty.as_ref().map_or(0.0, |u| u[t] * u[t])
}

fn assemble(signals: &[Signal], per_step: Vec<f64>, variances: Vec<f64>) -> Signal {
    let known = signals.iter().any(|s| s.uncertainty.is_some());
    Signal {
        uncertainty: known.then(|| variances.into_iter().map(f64::sqrt).collect()),
        ..Signal::new(per_step)
    }
}

/// Any of the combiners, as it stands in a settings file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Combination {
    /// [`Sum`].
    Sum(Sum),
    /// [`Product`].
    Product(Product),
    /// [`Gate`].
    Gate(Gate),
    /// [`And`].
    And(And),
    /// [`Hybrid`].
    Hybrid(Hybrid),
    /// [`LogTame`].
    LogTame(LogTame),
    /// [`Lagrangian`].
    Lagrangian(Lagrangian),
    /// [`Behaviour`].
    Behaviour(Behaviour),
}

impl Default for Combination {
    fn default() -> Self {
        Self::Sum(Sum::default())
    }
}

impl Combiner for Combination {
    fn combine(&self, signals: &[Signal]) -> Result<Signal, RewardError> {
        match self {
            Self::Sum(c) => c.combine(signals),
            Self::Product(c) => c.combine(signals),
            Self::Gate(c) => c.combine(signals),
            Self::And(c) => c.combine(signals),
            Self::Hybrid(c) => c.combine(signals),
            Self::LogTame(c) => c.combine(signals),
            Self::Lagrangian(c) => c.combine(signals),
            Self::Behaviour(c) => c.combine(signals),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(per_step: &[f64], deviation: Option<f64>) -> Signal {
        Signal {
            uncertainty: deviation.map(|d| vec![d; per_step.len()]),
            ..Signal::new(per_step.to_vec())
        }
    }

    #[test]
    fn sums_products_and_gates() {
        let a = signal(&[1.0, 2.0], Some(0.3));
        let b = signal(&[3.0, -1.0], None);
        let both = [a.clone(), b.clone()];
        let sum = Sum {
            weights: vec![2.0, -1.0],
        }
        .combine(&both)
        .unwrap();
        assert_eq!(sum.per_step, [-1.0, 5.0]);
        assert_eq!(sum.uncertainty, Some(vec![0.6, 0.6]));
        let product = Product {}.combine(&both).unwrap();
        assert_eq!(product.per_step, [3.0, -2.0]);
        let deviations = product.uncertainty.unwrap();
        assert!((deviations[0] - 0.9).abs() < 1e-12 && (deviations[1] - 0.3).abs() < 1e-12);
        let gate = Gate {
            threshold: 0.0,
            closed: -9.0,
        };
        assert_eq!(
            gate.combine(&[b.clone(), a.clone()]).unwrap().per_step,
            [1.0, -9.0]
        );
        let broken = signal(&[f64::NAN, 1.0], None);
        assert_eq!(
            gate.combine(&[broken, a.clone()]).unwrap().per_step,
            [-9.0, 2.0]
        );
        assert_eq!(
            Sum::default()
                .combine(std::slice::from_ref(&b))
                .unwrap()
                .uncertainty,
            None
        );
        for bad in [vec![], vec![a.clone(), signal(&[1.0], None)]] {
            assert!(Sum::default().combine(&bad).is_err());
        }
        assert!(gate.combine(std::slice::from_ref(&a)).is_err());
        assert!(Sum { weights: vec![1.0] }.combine(&both).is_err());
    }
}
