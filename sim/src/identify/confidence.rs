//! How sure the numbers of a fit are, and what its motions cannot tell apart.

use nalgebra::{DMatrix, DVector, SymmetricEigen};
use rapport_robot::so101;

use super::parameters::{Layout, QUANTITIES};
use super::solve::Prior;

/// A number whose logarithm has a larger standard deviation than this is called not identifiable; its 95 % interval is then wider
/// than a fifth either way. For the delay it is this share of its unit.
pub const IDENTIFIABLE: f64 = 0.1;

/// A direction with a larger standard deviation than this is flat.
const FLAT: f64 = 0.2;

/// A component with less than this of a flat direction has no part in it.
const PART: f64 = 0.35;

/// The uncertainty of a vector around a minimum.
#[derive(Clone, Debug)]
pub struct Confidence {
    covariance: DMatrix<f64>,
}

impl Confidence {
    /// From the residuals `r` (in units of their standard deviation), their derivatives, and how many of them each segment
    /// has.
    ///
    /// Residuals of a simulation are not independent from row to row, so that counting rows would be too sure. Segments
    /// are: the sandwich estimate takes the spread of their gradients (Huber 1967, as for clustered data), and of it and the
    /// usual estimate the larger counts. `None` where neither motions nor prior say anything of some number.
    pub fn new(
        jacobian: &DMatrix<f64>,
        r: &[f64],
        segments: &[usize],
        prior: &Prior,
    ) -> Option<Self> {
        let n = jacobian.ncols();
        let mut information = jacobian.tr_mul(jacobian);
        prior.add_information(&mut information);
        let usual = information.cholesky()?.inverse();
        let mut spread = DMatrix::zeros(n, n);
        let mut first = 0;
        for &rows in segments {
            let of = jacobian.rows(first, rows);
            let gradient = of.tr_mul(&DVector::from_column_slice(&r[first..first + rows]));
            spread += &gradient * gradient.transpose();
            first += rows;
        }
        let count = segments.len() as f64;
        spread *= count / (count - 1.0).max(1.0);
        // What is left to the prior is as unsure as the prior.
        prior.add_information(&mut spread);
        let robust = &usual * spread * &usual;
        let mut covariance = usual;
        for i in 0..n {
            let grow = (robust[(i, i)] / covariance[(i, i)]).max(1.0).sqrt();
            covariance.row_mut(i).scale_mut(grow);
            covariance.column_mut(i).scale_mut(grow);
        }
        Some(Self { covariance })
    }

    /// What the prior alone says.
    pub fn of_prior(prior: &Prior) -> Self {
        let variances = prior.deviation.iter().map(|d| d * d);
        Self {
            covariance: DMatrix::from_diagonal(&DVector::from_iterator(
                prior.deviation.len(),
                variances,
            )),
        }
    }

    /// Standard deviation of a component.
    pub fn deviation(&self, component: usize) -> f64 {
        self.covariance[(component, component)].sqrt()
    }

    /// What the motions cannot tell, one sentence for each joint with a flat direction ([`Layout::PerJoint`]).
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let joints = so101::spec().joints;
        for (j, joint) in joints.iter().enumerate() {
            let first = 1 + j * QUANTITIES.len();
            let block = self
                .covariance
                .view((first, first), (QUANTITIES.len(), QUANTITIES.len()))
                .into_owned();
            let eigen = SymmetricEigen::new(block);
            let flattest = eigen.eigenvalues.imax();
            if eigen.eigenvalues[flattest] < FLAT * FLAT {
                continue;
            }
            let direction = eigen.eigenvectors.column(flattest);
            let parts: Vec<&str> = QUANTITIES
                .iter()
                .zip(direction.iter())
                .filter(|(_, share)| share.abs() > PART)
                .map(|(quantity, _)| quantity.name())
                .collect();
            warnings.push(match parts.as_slice() {
                [one] => format!(
                    "these motions say little of {}.{one}; it stays near the other joints'",
                    joint.name
                ),
                several => format!(
                    "these motions do not tell {} of {} apart, only how they go together; they stay near the other joints'",
                    several.join(", "),
                    joint.name
                ),
            });
        }
        if self.deviation(0) > 5.0 * IDENTIFIABLE {
            warnings.push("these motions say little of the delay; record quicker ones".into());
        }
        debug_assert_eq!(self.covariance.nrows(), Layout::PerJoint.len());
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prior(n: usize) -> Prior {
        Prior {
            mean: vec![0.0; n],
            deviation: vec![0.5; n],
        }
    }

    #[test]
    fn a_direction_that_no_residual_sees_stays_as_unsure_as_the_prior() {
        let n = Layout::PerJoint.len();
        // Every component is seen, but of joint 3 only the difference of gain and damping.
        let mut jacobian = DMatrix::from_diagonal_element(n, n, 100.0);
        let gain = 1 + 3 * QUANTITIES.len();
        jacobian[(gain, gain + 1)] = -100.0;
        jacobian[(gain + 1, gain + 1)] = 0.0;
        let confidence = Confidence::new(&jacobian, &vec![0.0; n], &[n], &prior(n)).unwrap();
        assert!(confidence.deviation(0) < 0.02);
        assert!(confidence.deviation(gain) > 0.3);
        let warnings = confidence.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("gain, damping of wrist_flex"));
    }

    #[test]
    fn residuals_that_agree_within_segments_widen_the_interval() {
        let ones = DMatrix::from_element(40, 1, 10.0);
        let alternating: Vec<f64> = (0..40).map(|i| f64::from(i % 2 * 2 - 1)).collect();
        let blocks: Vec<f64> = (0..40).map(|i| f64::from(i / 10 % 2 * 2 - 1)).collect();
        let deviation = |r: &[f64]| {
            let confidence = Confidence::new(&ones, r, &[10; 4], &prior(1));
            confidence.unwrap().deviation(0)
        };
        assert!(deviation(&blocks) > 2.0 * deviation(&alternating));
    }
}
