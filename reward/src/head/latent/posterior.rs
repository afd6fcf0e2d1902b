//! [`Posterior`].

use rand::{Rng, RngExt as _};
use serde::{Deserialize, Serialize};

/// What is known of a person: independent normal distributions of the latent's numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Posterior {
    /// Means, `[latent]`.
    pub mean: Vec<f64>,
    /// Variances, `[latent]`.
    pub variance: Vec<f64>,
}

impl Posterior {
    /// A latent drawn from it.
    pub fn sample(&self, rng: &mut impl Rng) -> Vec<f64> {
        self.mean
            .iter()
            .zip(&self.variance)
            .map(|(m, v)| m + v.sqrt() * normal(rng))
            .collect()
    }

    /// Kullback-Leibler divergence from `prior`, nats: `½ Σ [ln(v_p / v) + (v + (m - m_p)²) / v_p - 1]`. (The released code
    /// leaves the ½ out, which doubles its β.)
    pub fn divergence(&self, prior: &Self) -> f64 {
        let own = self.mean.iter().zip(&self.variance);
        let theirs = prior.mean.iter().zip(&prior.variance);
        own.zip(theirs)
            .map(|((m, v), (mp, vp))| 0.5 * ((vp / v).ln() + (v + (m - mp).powi(2)) / vp - 1.0))
            .sum()
    }
}

/// A standard normal number (Box and Muller).
pub(super) fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}
