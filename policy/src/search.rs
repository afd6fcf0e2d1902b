//! Search over action sequences and policy parameters by trying them: no gradient of the return is needed.
//!
//! [`Cem`] and [`Mppi`] look for a vector with a high return, for instance a plan `[horizon, action_dim]`, and [`Planner`] makes a
//! [`Policy`](crate::Policy) of them. [`Pi2`] improves the parameters of a trajectory from the rewards of its time steps. All of them see the world
//! only through a function that evaluates candidates; this crate knows no environment.

mod beam;
mod best_of_n;
mod cem;
mod mppi;
mod pi2;
mod planner;

pub use beam::{Beam, Chosen, Denoise, Denoising};
pub use best_of_n::best_of_n;
pub use cem::{Cem, CemConfig};
pub use mppi::{Mppi, MppiConfig};
pub use pi2::{Basis, Pi2, Pi2Config, Pi2Report};
pub use planner::{Method, Planner, PlannerConfig};

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::policy::PolicyError;

/// Tries candidates out.
///
/// For a plan a candidate is `[horizon, action_dim]`, row by row, each component in `-1..=1`, executed from the state in which the
/// environment is now; trying must leave that state as it was.
pub trait Rollouts {
    /// The return of every candidate, more is better, in their order.
    ///
    /// # Errors
    /// When the environment fails.
    fn returns(&mut self, candidates: &[Vec<f64>]) -> Result<Vec<f64>, PolicyError>;
}

impl<F> Rollouts for F
where
    F: FnMut(&[Vec<f64>]) -> Result<Vec<f64>, PolicyError>,
{
    fn returns(&mut self, candidates: &[Vec<f64>]) -> Result<Vec<f64>, PolicyError> {
        self(candidates)
    }
}

/// Returns of candidates, as many as there are, each finite.
fn evaluate(
    rollouts: &mut dyn Rollouts,
    candidates: &[Vec<f64>],
    iteration: u64,
) -> Result<Vec<f64>, PolicyError> {
    let returns = rollouts.returns(candidates)?;
    if returns.len() != candidates.len() {
        return Err(PolicyError::Other(format!(
            "{} candidates were to be evaluated, {} returns came back",
            candidates.len(),
            returns.len()
        )));
    }
    check_finite("returns", &returns, iteration)?;
    Ok(returns)
}

fn check_finite(name: &str, values: &[f64], update: u64) -> Result<(), PolicyError> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => Err(PolicyError::NotFinite {
            tensor: format!("{name}[{at}]"),
            update,
        }),
    }
}

/// `exp((values - max) / temperature)`, divided by its sum. Adding a number to all values changes nothing.
fn soft_weights(values: &[f64], temperature: f64) -> Vec<f64> {
    let best = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = values
        .iter()
        .map(|v| ((v - best) / temperature).exp())
        .collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / sum).collect()
}

/// A standard normal number, by Box and Muller's method.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    // 1 - [0, 1) is never 0, whose logarithm is infinite.
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

/// The first fault among named ones, as an error.
fn first_fault(method: &str, faults: &[(bool, &str)]) -> Result<(), PolicyError> {
    match faults.iter().find(|(wrong, _)| *wrong) {
        None => Ok(()),
        Some((_, fault)) => Err(PolicyError::Other(format!("{method}: {fault}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_weights_sum_to_one_and_know_no_offset() {
        let values = [1.0, -2.0, 0.5, 1000.0];
        let weights = soft_weights(&values, 3.0);
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let moved: Vec<f64> = values.iter().map(|v| v - 7e3).collect();
        for (a, b) in weights.iter().zip(soft_weights(&moved, 3.0)) {
            assert!((a - b).abs() < 1e-12);
        }
        // Scaling values and temperature together changes nothing either.
        let scaled: Vec<f64> = values[..3].iter().map(|v| v * 5.0).collect();
        let pair = (soft_weights(&values[..3], 2.0), soft_weights(&scaled, 10.0));
        assert!(
            pair.0
                .iter()
                .zip(&pair.1)
                .all(|(a, b)| (a - b).abs() < 1e-12)
        );
        // e^(-1/2) apart.
        assert!((pair.0[2] / pair.0[0] - (-0.25f64).exp()).abs() < 1e-12);
    }

    #[test]
    fn returns_that_are_missing_or_no_numbers_are_refused() {
        let candidates = vec![vec![0.0], vec![1.0]];
        let mut short = |_: &[Vec<f64>]| Ok(vec![1.0]);
        let error = evaluate(&mut short, &candidates, 0)
            .unwrap_err()
            .to_string();
        assert!(error.contains("2 candidates"), "{error}");
        let mut broken = |_: &[Vec<f64>]| Ok(vec![1.0, f64::NAN]);
        let error = evaluate(&mut broken, &candidates, 4)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("returns[1]") && error.contains('4'),
            "{error}"
        );
    }
}
