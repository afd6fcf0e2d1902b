//! [`Elliptical`]: how far a feature lies outside of what this episode has shown (E3B, arXiv 2210.05805).

use nalgebra::{DMatrix, DVector};

/// `b_t = φ_tᵀ C⁻¹ φ_t` with `C = λ I + Σ φ φᵀ` over the features of the episode before `t`.
///
/// The inverse is kept up by Sherman and Morrison's formula, `O(dim²)` a step. With `φ` the indicator of a state it is
/// `1 / (λ + visits)`, a count. The paper learns `φ` by inverse dynamics; here it is whatever the clip's features are.
#[derive(Clone, Debug)]
pub struct Elliptical {
    inverse: DMatrix<f64>,
    ridge: f64,
}

impl Elliptical {
    /// The memory of an episode that has not begun. `ridge` is λ, 0.1 in the paper; it must be positive.
    pub fn new(dim: usize, ridge: f64) -> Self {
        Self {
            inverse: DMatrix::identity(dim, dim) / ridge,
            ridge,
        }
    }

    /// Forgets: a new episode begins.
    pub fn reset(&mut self) {
        let dim = self.inverse.nrows();
        self.inverse = DMatrix::identity(dim, dim) / self.ridge;
    }

    /// The bonus of a feature, `[dim]`, which is then remembered.
    pub fn visit(&mut self, feature: &[f64]) -> f64 {
        let feature = DVector::from_column_slice(feature);
        let lifted = &self.inverse * &feature;
        let bonus = feature.dot(&lifted).max(0.0);
        self.inverse
            .ger(-1.0 / (1.0 + bonus), &lifted, &lifted, 1.0);
        bonus
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bonus_of_an_indicator_is_a_count() {
        let mut memory = Elliptical::new(3, 0.1);
        for visits in 0..20 {
            let bonus = memory.visit(&[0.0, 1.0, 0.0]);
            assert!((bonus - 1.0 / (0.1 + f64::from(visits))).abs() < 1e-9);
        }
        assert!((memory.visit(&[1.0, 0.0, 0.0]) - 10.0).abs() < 1e-9);
        assert_eq!(memory.visit(&[0.0; 3]), 0.0);
        memory.reset();
        assert!((memory.visit(&[0.0, 1.0, 0.0]) - 10.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn the_kept_inverse_is_the_inverse(features in prop::collection::vec(prop::collection::vec(-3.0f64..3.0, 4), 1..30)) {
            let mut memory = Elliptical::new(4, 0.1);
            let mut covariance = DMatrix::identity(4, 4) * 0.1;
            for feature in &features {
                let phi = DVector::from_column_slice(feature);
                let direct = phi.dot(&covariance.clone().lu().solve(&phi).unwrap());
                let bonus = memory.visit(feature);
                prop_assert!((bonus - direct).abs() < 1e-6 * (1.0 + direct), "{} {}", bonus, direct);
                covariance += &phi * phi.transpose();
            }
        }
    }
}
