//! [`tune`]: a few numbers (targets, weights) found by trying.

use std::cell::RefCell;

use argmin::core::{CostFunction, Error, Executor};
use argmin::solver::neldermead::NelderMead;

use crate::model::RewardError;

/// What [`tune`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuned {
    /// The best numbers tried.
    pub best: Vec<f64>,
    /// Their value.
    pub value: f64,
    /// All that were tried, in order, with their values.
    pub tried: Vec<(Vec<f64>, f64)>,
}

struct Trial<F> {
    evaluate: RefCell<F>,
    tried: RefCell<Vec<(Vec<f64>, f64)>>,
    budget: usize,
}

impl<F: FnMut(&[f64]) -> f64> CostFunction for Trial<F> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, numbers: &Vec<f64>) -> Result<f64, Error> {
        if self.tried.borrow().len() == self.budget {
            return Err(Error::msg("the budget is spent"));
        }
        let value = (self.evaluate.borrow_mut())(numbers);
        // A trial that came to nothing is the worst there is.
        let value = if value.is_nan() {
            f64::NEG_INFINITY
        } else {
            value
        };
        self.tried.borrow_mut().push((numbers.clone(), value));
        Ok(-value.max(-1e300))
    }
}

/// Nelder and Mead's simplex (reflection 1, expansion 2, contraction and shrinkage ½) uphill from `start`, with first steps of
/// `spread`, for at most `budget` evaluations: how constrained RLHF (methods row 41) finds the thresholds of its parts, each evaluation
/// there being a training, in at most ten. Deterministic if `evaluate` is. Fails without numbers, on unequal lengths and on a budget
/// too small for the first simplex.
pub fn tune(
    evaluate: impl FnMut(&[f64]) -> f64,
    start: &[f64],
    spread: &[f64],
    budget: usize,
) -> Result<Tuned, RewardError> {
    if start.is_empty() || start.len() != spread.len() {
        return Err(RewardError::Other(format!(
            "{} numbers to tune need as many spreads; there are {}",
            start.len(),
            spread.len()
        )));
    }
    if budget <= start.len() {
        return Err(RewardError::Other(format!(
            "a budget of {budget} is too small; {} numbers take {} trials before the first step",
            start.len(),
            start.len() + 1
        )));
    }
    let mut simplex = vec![start.to_vec()];
    for (i, step) in spread.iter().enumerate() {
        let mut corner = start.to_vec();
        corner[i] += step;
        simplex.push(corner);
    }
    let trial = RefCell::new(Vec::new());
    let solver = NelderMead::new(simplex)
        .with_sd_tolerance(1e-12)
        .map_err(|e| RewardError::Other(format!("tuning: {e}")))?;
    let problem = Trial {
        evaluate: RefCell::new(evaluate),
        tried: trial,
        budget,
    };
    let problem = Shared(&problem);
    // It ends when the budget is spent, which it takes for an error, or when the simplex has shrunk to a point.
    let _ = Executor::new(problem, solver)
        .configure(|state| state.max_iters(budget as u64))
        .run();
    let tried = problem.0.tried.borrow().clone();
    let best = tried.iter().max_by(|a, b| a.1.total_cmp(&b.1)).cloned();
    let Some((best, value)) = best else {
        return Err(RewardError::Other(
            "nothing was tried; raise the budget".into(),
        ));
    };
    Ok(Tuned { best, value, tried })
}

/// The executor keeps its problem; what was tried is wanted afterwards.
struct Shared<'a, F>(&'a Trial<F>);

impl<F> Clone for Shared<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Shared<'_, F> {}

impl<F: FnMut(&[f64]) -> f64> CostFunction for Shared<'_, F> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, numbers: &Vec<f64>) -> Result<f64, Error> {
        self.0.cost(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_found_within_the_budget() {
        let peak = |x: &[f64]| -(x[0] - 0.44).powi(2) - 2.0 * (x[1] - 0.238).powi(2);
        let tuned = tune(peak, &[0.2, 0.5], &[0.2, -0.2], 40).unwrap();
        assert!(tuned.tried.len() <= 40);
        assert!(
            (tuned.best[0] - 0.44).abs() < 0.02 && (tuned.best[1] - 0.238).abs() < 0.02,
            "{tuned:?}"
        );
        // Ten trials, as in the paper, already better the start by far.
        let few = tune(peak, &[0.2, 0.5], &[0.2, -0.2], 10).unwrap();
        assert_eq!(few.tried.len(), 10);
        assert!(few.value > 0.2 * peak(&[0.2, 0.5]));
    }

    #[test]
    fn failed_trials_are_the_worst_and_bad_calls_are_refused() {
        let cliff = |x: &[f64]| if x[0] > 1.0 { f64::NAN } else { x[0] };
        let tuned = tune(cliff, &[0.0], &[0.4], 30).unwrap();
        assert!(tuned.best[0] > 0.9 && tuned.best[0] <= 1.0, "{tuned:?}");
        assert!(tune(cliff, &[], &[], 9).is_err());
        assert!(tune(cliff, &[0.0], &[0.1, 0.2], 9).is_err());
        assert!(tune(cliff, &[0.0], &[0.1], 1).is_err());
    }
}
