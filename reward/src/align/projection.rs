//! [`Projection`]: centring, principal components, whitening.

use nalgebra::{DMatrix, DVector, SymmetricEigen};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::Features;

use super::config::{AlignConfig, Scaling};

/// Frames that the components are found from at most, taken evenly from all.
const MAX_FRAMES: usize = 1200;
/// Up to this many frames or features the components are exact; beyond, a randomised subspace is refined.
const EXACT: usize = 320;
/// Directions beyond those wanted that the randomised search carries along.
const OVERSAMPLE: usize = 16;
/// Refinements of the randomised subspace.
const REFINEMENTS: usize = 2;
/// Components below this share of the largest variance are rounding and are dropped.
const RANK_TOLERANCE: f64 = 1e-10;

/// A linear map `z = B (x - mean)`.
#[derive(Clone, Debug)]
pub(super) struct Projection {
    pub mean: Vec<f64>,
    /// `[components, features]`; None is the identity.
    pub basis: Option<DMatrix<f64>>,
}

impl Projection {
    pub fn fit(clips: &[&Features], config: &AlignConfig, seed: u64) -> Self {
        let dim = clips[0].dim();
        if config.components == 0 {
            return Self {
                mean: vec![0.0; dim],
                basis: None,
            };
        }
        let mut frames = sample(clips, dim);
        let mean = frames.column_mean();
        for mut column in frames.column_iter_mut() {
            column -= &mean;
        }
        let feature_scale = match config.scaling {
            Scaling::Centre => None,
            Scaling::Standardise => Some(inverse_deviations(&frames)),
        };
        if let Some(scale) = &feature_scale {
            for mut column in frames.column_iter_mut() {
                column.component_mul_assign(scale);
            }
        }
        let (mut basis, variances) = principal_components(&frames, config.components, seed);
        let kept = variances.len();
        let mean_variance = variances.iter().sum::<f64>() / kept as f64;
        let mut total = 0.0;
        for (i, variance) in variances.iter().enumerate() {
            let scale = (variance + config.shrinkage * mean_variance).powf(-0.5 * config.whiten);
            basis.column_mut(i).scale_mut(scale);
            total += variance * scale * scale;
        }
        // Unit mean variance, so that one learning rate fits features of any scale.
        basis /= (total / kept as f64).sqrt();
        if let Some(scale) = &feature_scale {
            for mut column in basis.column_iter_mut() {
                column.component_mul_assign(scale);
            }
        }
        Self {
            mean: mean.iter().copied().collect(),
            basis: Some(basis.transpose()),
        }
    }

    /// Width of `z`.
    pub fn dim(&self) -> usize {
        self.basis.as_ref().map_or(self.mean.len(), DMatrix::nrows)
    }

    /// Every frame, `[time, components]`, row-major.
    pub fn apply(&self, features: &Features) -> Vec<f64> {
        let mut frames = DMatrix::from_iterator(
            features.dim(),
            features.len(),
            features.as_slice().iter().map(|&v| f64::from(v)),
        );
        let Some(basis) = &self.basis else {
            return frames.as_slice().to_vec();
        };
        let mean = DVector::from_column_slice(&self.mean);
        for mut column in frames.column_iter_mut() {
            column -= &mean;
        }
        (basis * frames).as_slice().to_vec()
    }

    /// `head · B`, `[dim, features]`, row-major, for a head of `[dim, components]`.
    pub fn fold(&self, head: &DMatrix<f64>) -> Vec<f64> {
        let folded = match &self.basis {
            Some(basis) => head * basis,
            None => head.clone(),
        };
        folded.transpose().as_slice().to_vec()
    }
}

/// Frames as columns.
fn sample(clips: &[&Features], dim: usize) -> DMatrix<f64> {
    let rows: Vec<&[f32]> = clips.iter().flat_map(|clip| clip.rows()).collect();
    let count = rows.len().min(MAX_FRAMES);
    DMatrix::from_iterator(
        dim,
        count,
        (0..count)
            .flat_map(|i| rows[i * rows.len() / count])
            .map(|&v| f64::from(v)),
    )
}

fn inverse_deviations(centred: &DMatrix<f64>) -> DVector<f64> {
    let mut squares = DVector::zeros(centred.nrows());
    for column in centred.column_iter() {
        squares += column.component_mul(&column);
    }
    let deviations = (squares / centred.ncols() as f64).map(f64::sqrt);
    let floor = 1e-6 * deviations.max();
    deviations.map(|d| if d > floor { 1.0 / d } else { 0.0 })
}

/// Directions of largest variance, `[features, kept]`, and their variances in descending order. At least one is kept.
fn principal_components(
    centred: &DMatrix<f64>,
    wanted: usize,
    seed: u64,
) -> (DMatrix<f64>, Vec<f64>) {
    let (dim, count) = centred.shape();
    let subspace = if dim <= EXACT {
        DMatrix::identity(dim, dim)
    } else if count <= EXACT {
        orthonormal(centred.clone())
    } else {
        let width = (wanted + OVERSAMPLE).min(dim).min(count);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let signs = DMatrix::from_fn(
            count,
            width,
            |_, _| {
                if rng.random::<bool>() { 1.0 } else { -1.0 }
            },
        );
        let transposed = centred.transpose();
        let mut subspace = orthonormal(centred * signs);
        for _ in 0..REFINEMENTS {
            subspace = orthonormal(centred * (&transposed * subspace));
        }
        subspace
    };
    let coordinates = subspace.transpose() * centred;
    let covariance = &coordinates * coordinates.transpose() / count as f64;
    let eigen = SymmetricEigen::new(covariance);
    let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    let largest = eigen.eigenvalues[order[0]];
    order.retain(|&i| eigen.eigenvalues[i] > RANK_TOLERANCE * largest);
    order.truncate(wanted);
    if order.is_empty() {
        // All frames are the same: any direction is as good as another.
        return (DMatrix::identity(dim, 1), vec![1.0]);
    }
    let variances = order.iter().map(|&i| eigen.eigenvalues[i]).collect();
    (
        subspace * eigen.eigenvectors.select_columns(&order),
        variances,
    )
}

/// An orthonormal basis of the columns' span, by Gram-Schmidt done twice. Columns that add nothing are dropped.
fn orthonormal(mut columns: DMatrix<f64>) -> DMatrix<f64> {
    let mut kept = 0;
    for i in 0..columns.ncols() {
        let mut column = columns.column(i).clone_owned();
        let before = column.norm();
        for _ in 0..2 {
            for j in 0..kept {
                let share = columns.column(j).dot(&column);
                column.axpy(-share, &columns.column(j), 1.0);
            }
        }
        let after = column.norm();
        if after > 1e-10 * before && after > 0.0 {
            columns.set_column(kept, &(column / after));
            kept += 1;
        }
    }
    columns.columns(0, kept).clone_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames with one direction of much variance, one of little, and noise.
    fn frames(count: usize, dim: usize) -> Features {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut values = Vec::new();
        for _ in 0..count {
            let (a, b) = (rng.random::<f32>() - 0.5, rng.random::<f32>() - 0.5);
            for i in 0..dim {
                let noise = 0.001 * (rng.random::<f32>() - 0.5);
                values.push(3.0 + noise + if i % 2 == 0 { a } else { 0.1 * b });
            }
        }
        Features::new(dim, values)
    }

    fn scales(config: &AlignConfig, features: &Features) -> Vec<f64> {
        let projection = Projection::fit(&[features], config, 1);
        let z = projection.apply(features);
        let k = projection.dim();
        (0..k)
            .map(|i| {
                let sum: f64 = z.chunks(k).map(|row| row[i] * row[i]).sum();
                (sum / features.len() as f64).sqrt()
            })
            .collect()
    }

    #[test]
    fn whitening_evens_out_the_scales() {
        let config = AlignConfig {
            components: 2,
            whiten: 0.0,
            shrinkage: 0.0,
            ..AlignConfig::default()
        };
        for features in [frames(200, 20), frames(500, 400)] {
            let none = scales(&config, &features);
            assert!((none[0] / none[1] - 10.0).abs() < 1.5, "{none:?}");
            let full = scales(
                &AlignConfig {
                    whiten: 1.0,
                    ..config.clone()
                },
                &features,
            );
            assert!(full.iter().all(|s| (s - 1.0).abs() < 1e-6), "{full:?}");
            let half = scales(
                &AlignConfig {
                    whiten: 0.5,
                    ..config.clone()
                },
                &features,
            );
            assert!((half[0] / half[1] - 10f64.sqrt()).abs() < 0.3, "{half:?}");
        }
    }

    #[test]
    fn the_randomised_components_are_the_exact_ones() {
        let features = frames(400, 330);
        let frames = {
            let mut frames = sample(&[&features], 330);
            let mean = frames.column_mean();
            frames.column_iter_mut().for_each(|mut c| c -= &mean);
            frames
        };
        let (basis, variances) = principal_components(&frames, 2, 7);
        let exact = SymmetricEigen::new(&frames * frames.transpose() / 400.0);
        let largest = exact.eigenvalues.max();
        assert!((variances[0] - largest).abs() < 1e-9 * largest);
        let gram = basis.transpose() * &basis;
        assert!((gram - DMatrix::identity(2, 2)).abs().max() < 1e-9);
    }

    #[test]
    fn frames_that_never_change_do_not_break_it() {
        let still = Features::new(4, vec![1.0; 40]);
        for scaling in [Scaling::Centre, Scaling::Standardise] {
            let config = AlignConfig {
                scaling,
                ..AlignConfig::default()
            };
            let projection = Projection::fit(&[&still], &config, 1);
            assert!(projection.apply(&still).iter().all(|v| v.is_finite()));
        }
    }
}
