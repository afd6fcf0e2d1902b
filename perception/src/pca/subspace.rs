//! The space of the leading components, by a randomised block iteration, and the components inside it.

use gemm::{Parallelism, gemm};
use nalgebra::{DMatrix, SymmetricEigen};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Columns beyond the wanted components that the iteration carries along, and rounds of the iteration: Halko, Martinsson and Tropp,
/// "Finding structure with randomness", SIAM Review 2011, section 4.5 advises 5 to 10 columns and 1 or 2 rounds; more of both make the
/// last components exact even where the spectrum falls slowly.
const OVERSAMPLING: usize = 24;
const ROUNDS: usize = 6;
/// Up to this many rows or columns the eigenvectors are computed directly.
const DIRECT: usize = 256;

/// An orthonormal basis, `[columns, dim]`, of a space that holds the leading components.
pub(super) fn leading(centred: &Matrix, wanted: usize) -> Matrix {
    let columns = (wanted + OVERSAMPLING).min(centred.rows).min(centred.dim);
    if centred.rows <= DIRECT {
        // The rows themselves span it.
        let mut basis = Matrix::new(centred.rows, centred.dim, centred.values.clone());
        basis.orthonormalize();
        basis.orthonormalize();
        return basis;
    }
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let columns = if centred.dim <= DIRECT {
        centred.dim
    } else {
        columns
    };
    let start = (0..columns * centred.dim)
        .map(|_| random.random::<f32>() - 0.5)
        .collect();
    let mut basis = Matrix::new(columns, centred.dim, start);
    basis.orthonormalize();
    if columns == centred.dim {
        return basis;
    }
    for _ in 0..ROUNDS {
        let columns = basis.rows;
        let scores = centred.times_transposed(&basis.values, columns);
        basis = Matrix::new(
            columns,
            centred.dim,
            transposed_times(&scores, columns, centred),
        );
        basis.orthonormalize();
    }
    // Once more: one pass leaves an error of rounding times the condition number.
    basis.orthonormalize();
    basis
}

/// Rayleigh-Ritz: the components inside the basis' space and their variances, greatest first.
pub(super) fn components(centred: &Matrix, basis: &Matrix, wanted: usize) -> (Vec<f32>, Vec<f32>) {
    let (columns, dim) = (basis.rows, basis.dim);
    let scores = centred.times_transposed(&basis.values, columns);
    let covariance = gram_of_columns(&scores, columns) / (centred.rows - 1) as f64;
    let eigen = SymmetricEigen::new(covariance);
    let mut order: Vec<usize> = (0..columns).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    order.truncate(wanted);
    let variances = order
        .iter()
        .map(|&i| eigen.eigenvalues[i].max(0.0) as f32)
        .collect();
    let mut rotation = Vec::with_capacity(order.len() * columns);
    for &i in &order {
        rotation.extend(eigen.eigenvectors.column(i).iter().map(|&x| x as f32));
    }
    let mut components = vec![0.0; order.len() * dim];
    product(
        order.len(),
        dim,
        columns,
        &rotation,
        (columns, 1),
        &basis.values,
        (dim, 1),
        &mut components,
    );
    for component in components.chunks_exact_mut(dim) {
        let largest =
            component.iter().copied().fold(
                0.0,
                |most: f32, x| if x.abs() > most.abs() { x } else { most },
            );
        // Undoes the rounding of the product, and fixes the sign, which is arbitrary.
        let length = component
            .iter()
            .map(|&x| f64::from(x) * f64::from(x))
            .sum::<f64>()
            .sqrt();
        let factor = (f64::from(largest.signum()) / length) as f32;
        component.iter_mut().for_each(|x| *x *= factor);
    }
    (components, variances)
}

/// `scores^T scores` of `[rows, columns]`, in double precision.
pub(super) fn gram_of_columns(scores: &[f32], columns: usize) -> DMatrix<f64> {
    let wide: Vec<f64> = scores.iter().map(|&x| f64::from(x)).collect();
    let mut gram = DMatrix::zeros(columns, columns);
    let strides = (columns, 1);
    product(
        columns,
        columns,
        scores.len() / columns,
        &wide,
        (strides.1, strides.0),
        &wide,
        strides,
        gram.as_mut_slice(),
    );
    gram
}

/// `scores^T matrix`, `[columns, dim]`, for scores of `[rows, columns]`.
fn transposed_times(scores: &[f32], columns: usize, matrix: &Matrix) -> Vec<f32> {
    let mut result = vec![0.0; columns * matrix.dim];
    product(
        columns,
        matrix.dim,
        matrix.rows,
        scores,
        (1, columns),
        &matrix.values,
        (matrix.dim, 1),
        &mut result,
    );
    result
}

/// Row-major values.
pub(super) struct Matrix {
    pub rows: usize,
    pub dim: usize,
    pub values: Vec<f32>,
}

impl Matrix {
    pub fn new(rows: usize, dim: usize, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), rows * dim);
        Self { rows, dim, values }
    }

    /// `self other^T`, `[rows, count]`, for another matrix of `count` rows.
    pub fn times_transposed(&self, other: &[f32], count: usize) -> Vec<f32> {
        let mut result = vec![0.0; self.rows * count];
        product(
            self.rows,
            count,
            self.dim,
            &self.values,
            (self.dim, 1),
            other,
            (1, self.dim),
            &mut result,
        );
        result
    }

    /// Makes the rows orthonormal, by the eigenvectors of their Gram matrix in double precision, and drops what the others span already.
    fn orthonormalize(&mut self) {
        let wide: Vec<f64> = self.values.iter().map(|&x| f64::from(x)).collect();
        let mut gram = DMatrix::zeros(self.rows, self.rows);
        product(
            self.rows,
            self.rows,
            self.dim,
            &wide,
            (self.dim, 1),
            &wide,
            (1, self.dim),
            gram.as_mut_slice(),
        );
        let eigen = SymmetricEigen::new(gram);
        let smallest = eigen.eigenvalues.max() * 1e-12;
        let kept: Vec<usize> = (0..self.rows)
            .filter(|&i| eigen.eigenvalues[i] > smallest)
            .collect();
        let mut rotation = Vec::with_capacity(kept.len() * self.rows);
        for &i in &kept {
            let scale = 1.0 / eigen.eigenvalues[i].sqrt();
            rotation.extend(
                eigen
                    .eigenvectors
                    .column(i)
                    .iter()
                    .map(|x| (x * scale) as f32),
            );
        }
        let mut result = vec![0.0; kept.len() * self.dim];
        product(
            kept.len(),
            self.dim,
            self.rows,
            &rotation,
            (self.rows, 1),
            &self.values,
            (self.dim, 1),
            &mut result,
        );
        self.rows = kept.len();
        self.values = result;
    }
}

/// Row-major `result[m, n] = a[m, k] b[k, n]`, each operand with its strides of (row, column).
#[allow(clippy::too_many_arguments)]
fn product<T: Copy + Default + From<f32> + 'static>(
    m: usize,
    n: usize,
    k: usize,
    a: &[T],
    a_strides: (usize, usize),
    b: &[T],
    b_strides: (usize, usize),
    result: &mut [T],
) {
    let covered = |rows: usize, columns: usize, strides: (usize, usize)| match (rows, columns) {
        (0, _) | (_, 0) => 0,
        _ => (rows - 1) * strides.0 + (columns - 1) * strides.1 + 1,
    };
    assert!(covered(m, k, a_strides) <= a.len() && covered(k, n, b_strides) <= b.len());
    assert_eq!(result.len(), m * n);
    // SAFETY: the extents were checked against the slices.
    unsafe {
        gemm(
            m,
            n,
            k,
            result.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.as_ptr(),
            a_strides.1 as isize,
            a_strides.0 as isize,
            b.as_ptr(),
            b_strides.1 as isize,
            b_strides.0 as isize,
            T::default(),
            T::from(1.0),
            false,
            false,
            false,
            Parallelism::Rayon(0),
        );
    }
}
