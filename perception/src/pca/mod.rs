//! [`Pca`]: principal components of features, so that small heads can be trained on few labels.

mod file;
mod subspace;

use serde::{Deserialize, Serialize};

use crate::features::Features;
use subspace::Matrix;

/// What to keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PcaConfig {
    /// Number of components; fewer are kept where there are fewer rows or columns than that.
    pub components: usize,
    /// What to do with the scales of the components.
    pub scale: PcaScale,
}

impl Default for PcaConfig {
    fn default() -> Self {
        Self {
            components: 100,
            scale: PcaScale::Variance,
        }
    }
}

/// The scale of transformed features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PcaScale {
    /// Each component keeps its variance, so distances are those of the features.
    #[default]
    Variance,
    /// Each component is divided by its standard deviation (whitening).
    Unit,
}

/// Why principal components could not be had.
#[derive(Debug, thiserror::Error)]
pub enum PcaError {
    /// There is nothing to fit.
    #[error(
        "principal components need at least 2 rows of finite values that differ and at least 1 component; got {rows} rows of {dim} and {components} components"
    )]
    Degenerate {
        /// Rows given.
        rows: usize,
        /// Their width.
        dim: usize,
        /// Components asked for.
        components: usize,
    },
    /// Features of another width.
    #[error("these principal components were fitted to features of width {expected}, not {found}")]
    Width {
        /// Width of the fit.
        expected: usize,
        /// Width given.
        found: usize,
    },
    /// The file cannot be read, written or understood.
    #[error("principal components {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

/// A linear map to the directions of greatest variance: `y = scale * (x - mean) V^T`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    mean: Vec<f32>,
    /// `[components, dim]`, orthonormal rows, greatest variance first.
    components: Vec<f32>,
    /// Variance along each component (divided by rows - 1).
    variances: Vec<f32>,
    total_variance: f32,
    scale: PcaScale,
}

impl Pca {
    /// Fits to rows of features. The same features give the same components, signs included: the largest entry of each is positive.
    ///
    /// # Errors
    /// [`PcaError::Degenerate`] for fewer than two rows, equal rows, values that are not finite, or no components.
    pub fn fit(features: &Features, config: &PcaConfig) -> Result<Self, PcaError> {
        let (rows, dim) = (features.len(), features.dim());
        let wanted = config.components.min(dim).min(rows.saturating_sub(1));
        let degenerate = || PcaError::Degenerate {
            rows,
            dim,
            components: config.components,
        };
        if wanted == 0 {
            return Err(degenerate());
        }
        let mean = column_means(features);
        let mut centred = Vec::with_capacity(rows * dim);
        for row in features.rows() {
            centred.extend(row.iter().zip(&mean).map(|(x, mean)| x - mean));
        }
        let squares: f64 = centred.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        if !squares.is_finite() || squares == 0.0 {
            return Err(degenerate());
        }
        let centred = Matrix::new(rows, dim, centred);
        let basis = subspace::leading(&centred, wanted);
        let (components, variances) = subspace::components(&centred, &basis, wanted);
        Ok(Self {
            mean,
            components,
            variances,
            total_variance: (squares / (rows - 1) as f64) as f32,
            scale: config.scale,
        })
    }

    /// Features in the space of the components, `[rows, components]`.
    ///
    /// # Errors
    /// [`PcaError::Width`] for features of another width than the fit's.
    pub fn transform(&self, features: &Features) -> Result<Features, PcaError> {
        let (dim, count) = (self.mean.len(), self.variances.len());
        if features.dim() != dim {
            return Err(PcaError::Width {
                expected: dim,
                found: features.dim(),
            });
        }
        let centred = features
            .rows()
            .flat_map(|row| row.iter().zip(&self.mean).map(|(x, mean)| x - mean))
            .collect();
        let centred = Matrix::new(features.len(), dim, centred);
        let mut scores = centred.times_transposed(&self.components, count);
        if self.scale == PcaScale::Unit {
            let scales = self.unit_scales();
            for row in scores.chunks_exact_mut(count) {
                row.iter_mut()
                    .zip(&scales)
                    .for_each(|(y, scale)| *y *= scale);
            }
        }
        Ok(Features::new(count, scores))
    }

    /// One over the standard deviations; components without variance beyond rounding stay where they are.
    fn unit_scales(&self) -> Vec<f32> {
        let floor = self.variances[0] * 1e-10;
        self.variances
            .iter()
            .map(|&v| 1.0 / v.max(floor).sqrt())
            .collect()
    }

    /// Width of transformed features.
    pub fn components(&self) -> usize {
        self.variances.len()
    }

    /// Share of the variance that each component explains, greatest first; they sum to at most 1.
    pub fn explained(&self) -> Vec<f32> {
        self.variances
            .iter()
            .map(|variance| variance / self.total_variance)
            .collect()
    }
}

fn column_means(features: &Features) -> Vec<f32> {
    let mut sums = vec![0.0f64; features.dim()];
    for row in features.rows() {
        sums.iter_mut()
            .zip(row)
            .for_each(|(sum, &x)| *sum += f64::from(x));
    }
    sums.iter()
        .map(|sum| (sum / features.len() as f64) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nalgebra::{DMatrix, SymmetricEigen};
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::subspace::gram_of_columns;
    use super::*;

    /// Rows of independent normal-like values, column `j` scaled by `scale(j)`, shifted by 3, and turned by a fixed rotation of neighbours.
    fn sample(rows: usize, dim: usize, scale: impl Fn(usize) -> f32) -> Features {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut values = Vec::with_capacity(rows * dim);
        for _ in 0..rows {
            let row: Vec<f32> = (0..dim)
                .map(|j| ((0..4).map(|_| random.random::<f32>()).sum::<f32>() - 2.0) * scale(j))
                .collect();
            values.extend((0..dim).map(|j| 3.0 + 0.8 * row[j] + 0.6 * row[(j + 1) % dim]));
        }
        Features::new(dim, values)
    }

    fn config(components: usize, scale: PcaScale) -> PcaConfig {
        PcaConfig { components, scale }
    }

    /// Eigenvalues of the covariance matrix in double precision, greatest first.
    fn exact_variances(features: &Features) -> Vec<f64> {
        let (rows, dim) = (features.len(), features.dim());
        let x = DMatrix::from_fn(rows, dim, |t, j| f64::from(features.row(t)[j]));
        let mean = x.row_mean();
        let centred = DMatrix::from_fn(rows, dim, |t, j| x[(t, j)] - mean[j]);
        let mut values: Vec<f64> =
            SymmetricEigen::new(centred.transpose() * centred / (rows - 1) as f64)
                .eigenvalues
                .iter()
                .copied()
                .collect();
        values.sort_by(|a, b| b.total_cmp(a));
        values
    }

    #[test]
    fn variances_are_the_eigenvalues_of_the_covariance_on_every_path() {
        // Few rows, few columns, and many of both (the iteration).
        for (rows, dim) in [(60, 290), (400, 40), (420, 300)] {
            let features = sample(rows, dim, |j| 1.0 / (1.0 + j as f32 * 0.1));
            let pca = Pca::fit(&features, &config(20, PcaScale::Variance)).unwrap();
            assert_eq!(pca.components(), 20);
            for (found, exact) in pca.variances.iter().zip(exact_variances(&features)) {
                assert!(
                    (f64::from(*found) / exact - 1.0).abs() < 1e-3,
                    "{rows}x{dim}: {found} {exact}"
                );
            }
        }
    }

    #[test]
    fn components_are_orthonormal_and_scores_uncorrelated() {
        let features = sample(420, 300, |j| 1.0 / (1.0 + j as f32 * 0.1));
        let pca = Pca::fit(&features, &config(20, PcaScale::Unit)).unwrap();
        let axes = Matrix::new(20, 300, pca.components.clone());
        let products = axes.times_transposed(&axes.values, 20);
        let scores = pca.transform(&features).unwrap();
        let covariance = gram_of_columns(scores.as_slice(), 20) / 419.0;
        for i in 0..20 {
            for j in 0..20 {
                let expected = f32::from(i == j);
                assert!((products[i * 20 + j] - expected).abs() < 1e-5);
                assert!(
                    (covariance[(i, j)] as f32 - expected).abs() < 1e-3,
                    "{i} {j} {}",
                    covariance[(i, j)]
                );
            }
        }
    }

    #[test]
    fn all_components_together_keep_distances() {
        let features = sample(30, 12, |_| 1.0);
        let pca = Pca::fit(&features, &config(100, PcaScale::Variance)).unwrap();
        assert_eq!(pca.components(), 12);
        let scores = pca.transform(&features).unwrap();
        let distance = |f: &Features| -> f32 {
            f.row(3)
                .iter()
                .zip(f.row(17))
                .map(|(a, b)| (a - b).powi(2))
                .sum()
        };
        assert!((distance(&scores) / distance(&features) - 1.0).abs() < 1e-4);
        assert!((pca.explained().iter().sum::<f32>() - 1.0).abs() < 1e-4);
    }

    #[test]
    fn the_same_features_give_the_same_components_and_a_file_keeps_them() {
        let features = sample(300, 280, |j| 1.0 / (1.0 + j as f32));
        let pca = Pca::fit(&features, &config(5, PcaScale::Unit)).unwrap();
        assert_eq!(
            pca,
            Pca::fit(&features, &config(5, PcaScale::Unit)).unwrap()
        );
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pca.safetensors");
        pca.save(&path).unwrap();
        assert_eq!(pca, Pca::load(&path).unwrap());
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let refused = |features: &Features, components| {
            matches!(
                Pca::fit(features, &config(components, PcaScale::Variance)),
                Err(PcaError::Degenerate { .. })
            )
        };
        assert!(refused(&Features::new(3, vec![1.0, 2.0, 3.0]), 2));
        assert!(refused(&Features::new(2, vec![1.0; 8]), 2));
        assert!(refused(&Features::new(2, vec![1.0, f32::NAN, 2.0, 3.0]), 1));
        assert!(refused(&sample(9, 4, |_| 1.0), 0));
    }

    #[test]
    fn features_of_another_width_and_other_files_are_refused() {
        let pca = Pca::fit(&sample(9, 4, |_| 1.0), &config(2, PcaScale::Variance)).unwrap();
        let message = pca
            .transform(&sample(2, 5, |_| 1.0))
            .unwrap_err()
            .to_string();
        assert!(message.contains('4') && message.contains('5'), "{message}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("noise.safetensors");
        fs::write(&path, b"noise").unwrap();
        assert!(
            Pca::load(&path)
                .unwrap_err()
                .to_string()
                .contains("noise.safetensors")
        );
    }
}
