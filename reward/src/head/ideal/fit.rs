//! The problem that [`IdealPoints::fit_user`] solves.

use super::{IdealDistance, IdealPoints};
use crate::head::config::Aggregate;
use crate::head::pairs::Pair;

/// `Σ_k w_k p_k`.
pub(super) fn mix(mixture: &[f64], prototypes: &[f64], dim: usize) -> Vec<f64> {
    let mut ideal = vec![0.0; dim];
    for (w, prototype) in mixture.iter().zip(prototypes.chunks_exact(dim)) {
        for (u, p) in ideal.iter_mut().zip(prototype) {
            *u += w * p;
        }
    }
    ideal
}

/// The problem of [`IdealPoints::fit_user`].
pub(super) struct Fit<'a> {
    pub model: &'a IdealPoints,
    pub pairs: &'a [Pair],
    pub clips: &'a [Vec<f64>],
    pub prototypes: &'a [f64],
    pub dim: usize,
    pub mean: &'a [f64],
}

impl Fit<'_> {
    /// The objective and its gradient by the mixture.
    pub fn evaluate(&self, mixture: &[f64]) -> (f64, Vec<f64>) {
        let config = &self.model.config;
        let ideal = mix(mixture, self.prototypes, self.dim);
        let mut pooled: Vec<Option<(f64, Vec<f64>)>> = vec![None; self.clips.len()];
        let mut value = 0.0;
        let mut by_ideal = vec![0.0; self.dim];
        for pair in self.pairs {
            for i in [pair.first, pair.second] {
                pooled[i].get_or_insert_with(|| {
                    let rewards = self.model.rewards(&self.clips[i], &ideal);
                    let mut slope = vec![0.0; self.dim];
                    for (f, r) in self.clips[i].chunks_exact(self.dim).zip(&rewards) {
                        let factor = match config.distance {
                            IdealDistance::Squared => 2.0,
                            IdealDistance::Norm => -1.0 / r,
                        };
                        for ((s, f), u) in slope.iter_mut().zip(f).zip(&ideal) {
                            *s += factor * (f - u);
                        }
                    }
                    if config.aggregate == Aggregate::Mean {
                        let count = rewards.len().max(1) as f64;
                        slope.iter_mut().for_each(|s| *s /= count);
                    }
                    (self.model.pool(&rewards), slope)
                });
            }
            let (Some(first), Some(second)) = (&pooled[pair.first], &pooled[pair.second]) else {
                continue;
            };
            let found = config
                .objective
                .evaluate_target(first.0 - second.0, &pair.target);
            value += pair.target.weight * found.loss;
            let slope = pair.target.weight * found.slope;
            for (g, (a, b)) in by_ideal.iter_mut().zip(first.1.iter().zip(&second.1)) {
                *g += slope * (a - b);
            }
        }
        let mut gradient: Vec<f64> = self
            .prototypes
            .chunks_exact(self.dim)
            .map(|p| p.iter().zip(&by_ideal).map(|(p, g)| p * g).sum())
            .collect();
        for ((g, w), m) in gradient.iter_mut().zip(mixture).zip(self.mean) {
            if *m > 0.0 {
                value += config.prior * m * (m / w).ln();
                *g -= config.prior * m / w;
            }
        }
        (value, gradient)
    }
}
