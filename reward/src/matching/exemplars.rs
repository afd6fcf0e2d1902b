//! [`ExemplarSet`]: reward for being distributed like a set of exemplars, for one item and for a set of them (DRAGON, methods row
//! 24), and [`ExemplarMatch`], its reward for single frames or clips.
//!
//! ```text
//! Fréchet   ‖μ₁ - μ₂‖² + tr(S₁ + S₂ - 2 (S₁ S₂)^½)
//! MMD²      mean k(x, x') + mean k(y, y') - 2 mean k(x, y)          k(x, y) = exp(-‖x - y‖² / 2h²), h the median distance of exemplars
//! Gaussian  (x - μ)ᵀ S̃⁻¹ (x - μ) / D                               S̃ = (1 - s) S + s (tr S / D) I
//! Vendi     exp(-Σ λ log λ)                                          λ the eigenvalues of K / n
//! ```
//!
//! With `S = Aᵀ A`, the trace of `(S₁ S₂)^½` is the sum of the singular values of `A₁ A₂ᵀ`. That needs no square root of a
//! matrix, and is exact where a covariance is singular: for fewer items than features, and for features that never change.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn, SymmetricEigen};
use serde::{Deserialize, Serialize};

use crate::model::RewardError;
use crate::transport::Points;

mod reward;

pub use reward::ExemplarMatch;

/// Exemplars whose distances the median is taken of, at most.
const MEDIAN_OF: usize = 300;
/// Rounds of swaps at most when a pair of sets is split.
const ROUNDS: usize = 10;

/// How far from the exemplars something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExemplarMetric {
    /// As Gaussians: Fréchet between sets, Mahalanobis for one.
    #[default]
    Gaussian,
    /// By a kernel: maximum mean discrepancy between sets, mean similarity for one.
    Kernel,
}

/// What an item is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExemplarUnit {
    /// Every frame.
    #[default]
    Frame,
    /// The mean over a clip's frames; its reward comes at the last step.
    Clip,
}

/// Settings of an [`ExemplarSet`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExemplarConfig {
    /// How far from the exemplars something is.
    pub metric: ExemplarMetric,
    /// What an item is.
    pub unit: ExemplarUnit,
    /// Share of the mean variance in the covariance that one item is measured by; above 0, so that it can be inverted.
    pub shrinkage: f64,
    /// Width `h` of the kernel; none: the median distance between exemplars.
    pub bandwidth: Option<f64>,
}

impl Default for ExemplarConfig {
    fn default() -> Self {
        Self {
            metric: ExemplarMetric::default(),
            unit: ExemplarUnit::default(),
            shrinkage: 0.1,
            bandwidth: None,
        }
    }
}

impl ExemplarConfig {
    /// Refuses settings that give no distance.
    pub fn validate(&self) -> Result<(), RewardError> {
        if !(self.shrinkage > 0.0 && self.shrinkage <= 1.0) {
            return Err(RewardError::Other(format!(
                "exemplars.shrinkage is {}; give a share above 0, at most 1",
                self.shrinkage
            )));
        }
        if self.bandwidth.is_some_and(|h| !(h > 0.0 && h.is_finite())) {
            return Err(RewardError::Other(
                "exemplars.bandwidth must be above 0; leave it out for the median distance".into(),
            ));
        }
        Ok(())
    }
}

/// Mean, and a factor `A` of the covariance `Aᵀ A` (divided by n - 1; nothing for one item), `[rank, dim]`.
#[derive(Clone, Debug)]
struct Moments {
    mean: DVector<f64>,
    factor: DMatrix<f64>,
}

impl Moments {
    fn of(items: &Points) -> Self {
        let (count, dim) = (items.len(), items.dim());
        let rows = DMatrix::from_row_slice(count, dim, items.as_slice());
        let mean = rows.row_mean().transpose();
        let mut factor = rows;
        for mut row in factor.row_iter_mut() {
            row -= mean.transpose();
        }
        factor /= (count.max(2) as f64 - 1.0).sqrt();
        if count > dim {
            // The same covariance from as few rows as there are features.
            factor = factor.qr().r();
        }
        Self { mean, factor }
    }

    fn total_variance(&self) -> f64 {
        self.factor.norm_squared()
    }

    fn frechet(&self, other: &Self) -> f64 {
        let shared = (&self.factor * other.factor.transpose()).singular_values();
        let apart = (&self.mean - &other.mean).norm_squared();
        let spread = self.total_variance() + other.total_variance() - 2.0 * shared.sum();
        // Below zero is rounding.
        apart + spread.max(0.0)
    }
}

/// Which of each pair is to be learned from, and which to be unlearned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contrast {
    /// True where the first of the pair is the positive one.
    pub first: Vec<bool>,
}

/// Exemplars, and how far from them others are.
#[derive(Clone, Debug)]
pub struct ExemplarSet {
    config: ExemplarConfig,
    exemplars: Points,
    moments: Moments,
    /// `c` of `S̃ = (1 - s) Aᵀ A + c I`, and the factor of `A Aᵀ + c / (1 - s) I`; none where nothing is left of `A`.
    ridge: f64,
    inner: Option<Cholesky<f64, Dyn>>,
    bandwidth: f64,
    /// Mean of the kernel over all pairs of exemplars.
    own_similarity: f64,
}

impl ExemplarSet {
    /// Fails without exemplars and on values that are not finite. Exemplars that are all the same measure by Euclid.
    pub fn new(exemplars: &Points, config: &ExemplarConfig) -> Result<Self, RewardError> {
        config.validate()?;
        check(exemplars, exemplars.dim())?;
        let moments = Moments::of(exemplars);
        let dim = exemplars.dim() as f64;
        let mean_variance = moments.total_variance() / dim;
        let share = config.shrinkage;
        let ridge = if mean_variance > 0.0 {
            share * mean_variance
        } else {
            1.0
        };
        let inner = if share < 1.0 && mean_variance > 0.0 {
            let mut gram = &moments.factor * moments.factor.transpose();
            for i in 0..gram.nrows() {
                gram[(i, i)] += ridge / (1.0 - share);
            }
            Some(Cholesky::new(gram).ok_or_else(|| {
                RewardError::Other(
                    "the exemplars' covariance cannot be inverted; raise exemplars.shrinkage"
                        .into(),
                )
            })?)
        } else {
            None
        };
        let bandwidth = config
            .bandwidth
            .unwrap_or_else(|| median_distance(exemplars));
        let own_similarity = mean_kernel(exemplars, exemplars, bandwidth);
        Ok(Self {
            config: config.clone(),
            exemplars: exemplars.clone(),
            moments,
            ridge,
            inner,
            bandwidth,
            own_similarity,
        })
    }

    /// Width of the kernel.
    pub fn bandwidth(&self) -> f64 {
        self.bandwidth
    }

    /// Fréchet distance of a set (squared, as it is usually reported).
    pub fn frechet(&self, items: &Points) -> Result<f64, RewardError> {
        check(items, self.exemplars.dim())?;
        Ok(self.moments.frechet(&Moments::of(items)))
    }

    /// Squared maximum mean discrepancy of a set, pairs of an item with itself included, so that it is not below zero.
    pub fn discrepancy(&self, items: &Points) -> Result<f64, RewardError> {
        check(items, self.exemplars.dim())?;
        let own = mean_kernel(items, items, self.bandwidth);
        let cross = mean_kernel(items, &self.exemplars, self.bandwidth);
        Ok((own + self.own_similarity - 2.0 * cross).max(0.0))
    }

    /// Effective number of different items in a set, from 1 to as many as there are (Vendi score, Friedman and Dieng, arXiv
    /// 2210.02410), by this set's kernel.
    pub fn vendi(&self, items: &Points) -> Result<f64, RewardError> {
        check(items, self.exemplars.dim())?;
        vendi(items, self.bandwidth)
    }

    /// Reward of a set: the higher, the more it is distributed like the exemplars.
    pub fn set_reward(&self, items: &Points) -> Result<f64, RewardError> {
        Ok(match self.config.metric {
            ExemplarMetric::Gaussian => -self.frechet(items)?,
            ExemplarMetric::Kernel => -self.discrepancy(items)?,
        })
    }

    /// Reward of every item on its own, `[items]`: minus its distance from the exemplars' Gaussian, or its mean similarity to
    /// them. Whoever optimises this alone makes all items the same.
    pub fn item_rewards(&self, items: &Points) -> Result<Vec<f64>, RewardError> {
        check(items, self.exemplars.dim())?;
        Ok((0..items.len())
            .map(|i| match self.config.metric {
                ExemplarMetric::Gaussian => -self.gaussian(items.row(i)),
                ExemplarMetric::Kernel => {
                    let row = Points::new(items.dim(), items.row(i).to_vec());
                    mean_kernel(&row, &self.exemplars, self.bandwidth)
                }
            })
            .collect())
    }

    fn gaussian(&self, x: &[f64]) -> f64 {
        let off = DVector::from_column_slice(x) - &self.moments.mean;
        // Woodbury: the inverse in the span of the exemplars only.
        let spanned = self.inner.as_ref().map_or(0.0, |inner| {
            let seen = &self.moments.factor * &off;
            seen.dot(&inner.solve(&seen))
        });
        (off.norm_squared() - spanned).max(0.0) / (self.ridge * x.len() as f64)
    }

    /// What each item adds to the reward of its set, `[items]`: the set's reward less that of the set without it. An only item
    /// adds nothing.
    pub fn contributions(&self, items: &Points) -> Result<Vec<f64>, RewardError> {
        let all = self.set_reward(items)?;
        if items.len() == 1 {
            return Ok(vec![0.0]);
        }
        (0..items.len())
            .map(|i| {
                let rest: Vec<f64> = (0..items.len())
                    .filter(|j| *j != i)
                    .flat_map(|j| items.row(j))
                    .copied()
                    .collect();
                Ok(all - self.set_reward(&Points::new(items.dim(), rest))?)
            })
            .collect()
    }

    /// Splits pairs (answers to the same question, say) item by item: the better of each is positive.
    pub fn contrast_items(&self, first: &Points, second: &Points) -> Result<Contrast, RewardError> {
        check_pair(first, second)?;
        let (a, b) = (self.item_rewards(first)?, self.item_rewards(second)?);
        Ok(Contrast {
            first: a.iter().zip(&b).map(|(a, b)| a >= b).collect(),
        })
    }

    /// Splits pairs so that the positive ones are a good set: beginning with the better of both sets, pairs are swapped, one
    /// after the other, as long as that makes the positive set better. The order of the swaps is remembered from the paper, not
    /// checked against it.
    pub fn contrast_sets(&self, first: &Points, second: &Points) -> Result<Contrast, RewardError> {
        check_pair(first, second)?;
        let picked = |from: &[bool]| {
            let rows = from.iter().enumerate();
            let values = rows.flat_map(|(i, &f)| if f { first.row(i) } else { second.row(i) });
            Points::new(first.dim(), values.copied().collect())
        };
        let mut chosen = vec![true; first.len()];
        let mut best = self.set_reward(first)?;
        let other = self.set_reward(second)?;
        if other > best {
            chosen.fill(false);
            best = other;
        }
        for _ in 0..ROUNDS {
            let mut swapped = false;
            for i in 0..chosen.len() {
                chosen[i] = !chosen[i];
                let now = self.set_reward(&picked(&chosen))?;
                if now > best {
                    best = now;
                    swapped = true;
                } else {
                    chosen[i] = !chosen[i];
                }
            }
            if !swapped {
                break;
            }
        }
        Ok(Contrast { first: chosen })
    }
}

/// Effective number of different items, by a Gaussian kernel of width `bandwidth`. Fails without items.
pub fn vendi(items: &Points, bandwidth: f64) -> Result<f64, RewardError> {
    check(items, items.dim())?;
    if !(bandwidth > 0.0 && bandwidth.is_finite()) {
        return Err(RewardError::Other(format!(
            "a kernel of width {bandwidth} tells nothing apart; give a number above 0"
        )));
    }
    let count = items.len();
    let kernel = DMatrix::from_fn(count, count, |i, j| {
        similarity(items.row(i), items.row(j), bandwidth) / count as f64
    });
    let values = SymmetricEigen::new(kernel).eigenvalues;
    let entropy: f64 = values
        .iter()
        .filter(|l| **l > 1e-15)
        .map(|l| -l * l.ln())
        .sum();
    Ok(entropy.exp().clamp(1.0, count as f64))
}

fn similarity(x: &[f64], y: &[f64], bandwidth: f64) -> f64 {
    let squared: f64 = x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum();
    (-squared / (2.0 * bandwidth * bandwidth)).exp()
}

fn mean_kernel(x: &Points, y: &Points, bandwidth: f64) -> f64 {
    let pairs = (0..x.len()).flat_map(|i| (0..y.len()).map(move |j| (i, j)));
    let sum: f64 = pairs
        .map(|(i, j)| similarity(x.row(i), y.row(j), bandwidth))
        .sum();
    sum / (x.len() * y.len()) as f64
}

/// Median distance between different exemplars, of which many are thinned out evenly; 1 where they are all the same or there is
/// only one.
fn median_distance(items: &Points) -> f64 {
    let count = items.len().min(MEDIAN_OF);
    let row = |i: usize| items.row(i * items.len() / count);
    let mut distances: Vec<f64> = (0..count)
        .flat_map(|i| (0..i).map(move |j| (i, j)))
        .map(|(i, j)| {
            let squares = row(i).iter().zip(row(j)).map(|(x, y)| (x - y) * (x - y));
            squares.sum::<f64>().sqrt()
        })
        .filter(|d| *d > 0.0)
        .collect();
    distances.sort_by(f64::total_cmp);
    match distances.len() {
        0 => 1.0,
        n => 0.5 * (distances[(n - 1) / 2] + distances[n / 2]),
    }
}

fn check(items: &Points, dim: usize) -> Result<(), RewardError> {
    if items.is_empty() {
        return Err(RewardError::Other(
            "a set without items has no distribution; give at least one".into(),
        ));
    }
    if items.dim() != dim {
        return Err(RewardError::Other(format!(
            "items of {} numbers do not compare with exemplars of {dim}; encode both the same way",
            items.dim()
        )));
    }
    match items.as_slice().iter().position(|v| !v.is_finite()) {
        Some(bad) => Err(RewardError::NotFinite {
            what: "a feature".into(),
            step: bad / dim,
        }),
        None => Ok(()),
    }
}

fn check_pair(first: &Points, second: &Points) -> Result<(), RewardError> {
    if first.len() == second.len() {
        return Ok(());
    }
    Err(RewardError::Other(format!(
        "{} items do not pair with {}; give as many of both",
        first.len(),
        second.len()
    )))
}

#[cfg(test)]
mod tests;
