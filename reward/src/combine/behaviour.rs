//! [`Behaviour`]: a designer's two rewards blended so that what is learned from the blend serves the first.

use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use super::{Combiner, assemble, common_length, variance};
use crate::model::{RewardError, Signal};

/// `φ₁ + φ₂ r_primary + φ₃ r_auxiliary`: the blend of BARFI (behaviour alignment via reward function optimisation, methods row 45) with
/// weights that are the same in all states; the paper lets them depend on state and action. With `φ = (0, 1, 0)` it is the
/// primary reward. [`outer_gradient`] says which way to move the weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// Added to every step.
    pub offset: f64,
    /// Weight of the primary reward: what the task really is.
    pub primary: f64,
    /// Weight of the auxiliary reward: a heuristic that may help or mislead.
    pub auxiliary: f64,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            offset: 0.0,
            primary: 1.0,
            auxiliary: 0.0,
        }
    }
}

impl Combiner for Behaviour {
    fn combine(&self, signals: &[Signal]) -> Result<Signal, RewardError> {
        let steps = common_length(signals)?;
        let [primary, auxiliary] = signals else {
            return Err(RewardError::Other(format!(
                "behaviour alignment blends a primary and an auxiliary reward; there are {}",
                signals.len()
            )));
        };
        let per_step = (0..steps)
            .map(|t| {
                self.offset
                    + self.primary * primary.per_step[t]
                    + self.auxiliary * auxiliary.per_step[t]
            })
            .collect();
        let variances = (0..steps)
            .map(|t| {
                self.primary.powi(2) * variance(primary, t)
                    + self.auxiliary.powi(2) * variance(auxiliary, t)
            })
            .collect();
        Ok(assemble(signals, per_step, variances))
    }
}

/// A learner as behaviour alignment sees it.
pub trait InnerProblem {
    /// `Δ(θ, φ)`: where the learner with the reward `φ` moves its parameters `θ` (the gradient of its regularised objective). Zero
    /// where it has finished.
    fn direction(&self, theta: &DVector<f64>, phi: &DVector<f64>) -> DVector<f64>;

    /// `dJ/dθ` of the primary return.
    fn primary_gradient(&self, theta: &DVector<f64>) -> DVector<f64>;
}

/// How [`outer_gradient`] is worked out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OuterConfig {
    /// Terms of the Neumann series for the inverse.
    pub terms: usize,
    /// Its step `η`: below one over the largest curvature of the learner's objective.
    pub step: f64,
    /// Step of the finite differences, as a share of a unit vector.
    pub difference: f64,
}

impl Default for OuterConfig {
    fn default() -> Self {
        Self {
            terms: 30,
            step: 1.0,
            difference: 1e-4,
        }
    }
}

/// `dJ/dφ = -(dJ/dθ) H⁻¹ A` with `H = dΔ/dθ` and `A = dΔ/dφ`, by the implicit function theorem at the learner's fixed point: how the
/// primary return of what the learner ends up with changes with the weights.
///
/// `(-H)⁻¹` is the series `η Σ_k (I + ηH)^k`; products with `H` and `A` are central differences, so that the learner need not be
/// differentiable twice. `H` is taken as symmetric, which it is where `Δ` is a gradient.
pub fn outer_gradient(
    problem: &impl InnerProblem,
    theta: &DVector<f64>,
    phi: &DVector<f64>,
    config: &OuterConfig,
) -> DVector<f64> {
    let curved = |v: &DVector<f64>| {
        let norm = v.norm();
        if norm == 0.0 {
            return v.clone();
        }
        let h = config.difference / norm;
        (problem.direction(&(theta + v * h), phi) - problem.direction(&(theta - v * h), phi))
            / (2.0 * h)
    };
    let mut term = problem.primary_gradient(theta) * config.step;
    let mut sum = term.clone();
    for _ in 1..config.terms {
        term = &term + curved(&term) * config.step;
        sum += &term;
    }
    DVector::from_fn(phi.len(), |j, _| {
        let mut shifted = [phi.clone(), phi.clone()];
        shifted[0][j] += config.difference;
        shifted[1][j] -= config.difference;
        let change = problem.direction(theta, &shifted[0]) - problem.direction(theta, &shifted[1]);
        sum.dot(&change) / (2.0 * config.difference)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_auxiliary_reward_it_is_the_primary_one() {
        let signals = [vec![1.0, -2.0], vec![9.0, 9.0]].map(Signal::new);
        let blend = Behaviour::default().combine(&signals).unwrap();
        assert_eq!(blend, signals[0]);
        assert!(Behaviour::default().combine(&signals[..1]).is_err());
    }

    /// `Δ = B φ - C θ` has the fixed point `θ = C⁻¹ B φ`, so that the gradient is known: `Bᵀ C⁻¹ g`.
    #[test]
    fn the_outer_gradient_is_that_of_the_fixed_point() {
        struct Linear;
        impl Linear {
            fn parts() -> (nalgebra::DMatrix<f64>, nalgebra::DMatrix<f64>, DVector<f64>) {
                (
                    nalgebra::dmatrix![1.0, 0.5; -0.3, 2.0],
                    nalgebra::dmatrix![1.5, 0.4; 0.4, 0.8],
                    nalgebra::dvector![0.7, -1.1],
                )
            }
        }
        impl InnerProblem for Linear {
            fn direction(&self, theta: &DVector<f64>, phi: &DVector<f64>) -> DVector<f64> {
                let (b, c, _) = Self::parts();
                b * phi - c * theta
            }
            fn primary_gradient(&self, _: &DVector<f64>) -> DVector<f64> {
                Self::parts().2
            }
        }
        let (b, c, g) = Linear::parts();
        let exact = b.transpose() * c.try_inverse().unwrap() * g;
        let config = OuterConfig {
            terms: 200,
            step: 0.5,
            ..OuterConfig::default()
        };
        let zero = DVector::zeros(2);
        let found = outer_gradient(&Linear, &zero, &zero, &config);
        assert!((found - exact).norm() < 1e-6);
    }

    const SIDE: usize = 5;
    const STATES: usize = SIDE * SIDE;
    const DISCOUNT: f64 = 0.9;

    /// A five by five grid: start in one corner, the task's only reward in the opposite one, a heuristic's reward elsewhere.
    /// Policies are softmax tables, gradients exact.
    struct Grid {
        /// The heuristic's reward for entering a cell.
        heuristic: [f64; STATES],
    }

    const GOAL: usize = STATES - 1;

    impl Grid {
        fn next(state: usize, action: usize) -> usize {
            let (x, y) = (state % SIDE, state / SIDE);
            match action {
                0 => y * SIDE + (x + 1).min(SIDE - 1),
                1 => y * SIDE + x.saturating_sub(1),
                2 => (y + 1).min(SIDE - 1) * SIDE + x,
                _ => y.saturating_sub(1) * SIDE + x,
            }
        }

        fn policy(theta: &DVector<f64>) -> Vec<[f64; 4]> {
            (0..STATES)
                .map(|s| {
                    let logits = &theta.as_slice()[4 * s..4 * s + 4];
                    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let e: Vec<f64> = logits.iter().map(|l| (l - top).exp()).collect();
                    let total: f64 = e.iter().sum();
                    std::array::from_fn(|a| e[a] / total)
                })
                .collect()
        }

        /// Value of the start and its gradient, for a reward of entering cells; with the weight `entropy` on the policy's entropy.
        fn solve(
            &self,
            theta: &DVector<f64>,
            reward: &[f64; STATES],
            entropy: f64,
        ) -> (f64, DVector<f64>) {
            let policy = Self::policy(theta);
            let mut values = [0.0; STATES];
            let quality = |values: &[f64; STATES], s: usize, a: usize| {
                let next = Self::next(s, a);
                reward[next] - entropy * policy[s][a].max(1e-300).ln()
                    + if next == GOAL {
                        0.0
                    } else {
                        DISCOUNT * values[next]
                    }
            };
            for _ in 0..40 {
                for s in (0..STATES).rev().filter(|s| *s != GOAL) {
                    values[s] = (0..4).map(|a| policy[s][a] * quality(&values, s, a)).sum();
                }
            }
            let mut visits = [0.0; STATES];
            let mut now = [0.0; STATES];
            now[0] = 1.0;
            for _ in 0..60 {
                let mut after = [0.0; STATES];
                for s in (0..STATES).filter(|s| *s != GOAL) {
                    visits[s] += now[s];
                    for a in 0..4 {
                        after[Self::next(s, a)] += DISCOUNT * now[s] * policy[s][a];
                    }
                }
                now = after;
            }
            let gradient = DVector::from_fn(4 * STATES, |i, _| {
                let (s, a) = (i / 4, i % 4);
                if s == GOAL {
                    0.0
                } else {
                    visits[s] * policy[s][a] * (quality(&values, s, a) - values[s])
                }
            });
            (values[0], gradient)
        }

        fn primary() -> [f64; STATES] {
            std::array::from_fn(|s| f64::from(u8::from(s == GOAL)))
        }

        fn blend(&self, phi: &DVector<f64>) -> [f64; STATES] {
            let primary = Self::primary();
            std::array::from_fn(|s| phi[0] + phi[1] * primary[s] + phi[2] * self.heuristic[s])
        }

        /// Learns from the blend for so many steps.
        fn learn(&self, theta: &mut DVector<f64>, phi: &DVector<f64>, steps: usize) {
            for _ in 0..steps {
                *theta += self.direction(theta, phi) * 4.0;
            }
        }

        fn primary_return(&self, theta: &DVector<f64>) -> f64 {
            self.solve(theta, &Self::primary(), 0.0).0
        }

        /// The policy after behaviour alignment from equal weights.
        fn align(&self) -> (DVector<f64>, DVector<f64>) {
            let (mut theta, mut phi) = (
                DVector::zeros(4 * STATES),
                nalgebra::dvector![0.0, 1.0, 1.0],
            );
            for _ in 0..40 {
                self.learn(&mut theta, &phi, 40);
                let gradient = outer_gradient(self, &theta, &phi, &OuterConfig::default());
                phi += &gradient * (0.3 / gradient.norm().max(1e-9));
                // The inner learner begins anew from time to time: softmax tables that are sure unlearn slowly.
                theta *= 0.5;
            }
            self.learn(&mut theta, &phi, 400);
            (theta, phi)
        }
    }

    impl InnerProblem for Grid {
        fn direction(&self, theta: &DVector<f64>, phi: &DVector<f64>) -> DVector<f64> {
            self.solve(theta, &self.blend(phi), 0.002).1 - theta * 0.0005
        }
        fn primary_gradient(&self, theta: &DVector<f64>) -> DVector<f64> {
            self.solve(theta, &Self::primary(), 0.0).1
        }
    }

    /// Row 45's check: a misleading heuristic ruins the plain sum, and behaviour alignment keeps nine tenths of what the primary
    /// reward alone reaches.
    #[test]
    fn a_misleading_heuristic_ruins_the_sum_and_not_the_alignment() {
        // Entering the corner to the right of the start pays again and again.
        let mut grid = Grid {
            heuristic: [0.0; STATES],
        };
        grid.heuristic[SIDE - 1] = 0.5;
        let after = |phi: DVector<f64>| {
            let mut theta = DVector::zeros(4 * STATES);
            grid.learn(&mut theta, &phi, 1000);
            grid.primary_return(&theta)
        };
        let alone = after(nalgebra::dvector![0.0, 1.0, 0.0]);
        let summed = after(nalgebra::dvector![0.0, 1.0, 1.0]);
        let (theta, phi) = grid.align();
        let aligned = grid.primary_return(&theta);
        assert!(alone > 0.4, "{alone}");
        assert!(summed < 0.2 * alone, "{summed} of {alone}");
        assert!(aligned >= 0.9 * alone, "{aligned} of {alone} with {phi}");
    }

    /// And a helpful heuristic makes learning faster than the primary reward alone.
    #[test]
    fn a_helpful_heuristic_is_used() {
        // Closer to the goal is better, in the way of a potential.
        let grid = Grid {
            heuristic: std::array::from_fn(|s| 0.02 * ((s % SIDE) + (s / SIDE)) as f64 - 0.16),
        };
        let (_, phi) = grid.align();
        let steps_to = |phi: &DVector<f64>| {
            let mut theta = DVector::zeros(4 * STATES);
            (1..300).find(|_| {
                grid.learn(&mut theta, phi, 2);
                grid.primary_return(&theta) > 0.4
            })
        };
        let alone = steps_to(&nalgebra::dvector![0.0, 1.0, 0.0]).unwrap();
        let aligned = steps_to(&phi).unwrap();
        assert!(aligned < alone, "{aligned} {alone} with {phi}");
    }
}
