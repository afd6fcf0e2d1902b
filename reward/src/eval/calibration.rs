//! Calibration: does a reward that says how sure it is know what it does not know?

use serde::Serialize;

use super::rank::spearman;
use super::sample::mean;

/// Chances at which coverage is measured, with the quantile of the normal distribution that belongs to each.
const LEVELS: [(f64, f64); 4] = [
    (0.50, 0.6744897501960817),
    (0.80, 1.2815515655446004),
    (0.90, 1.6448536269514722),
    (0.95, 1.959963984540054),
];

/// How well standard deviations say how far predictions are off.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// `(promised, kept)`: share of true values inside the central interval that should hold that share.
    pub coverage: Vec<(f64, f64)>,
    /// Mean distance between promised and kept.
    pub error: f64,
    /// Mean of kept minus promised: negative for a model that is surer than it may be.
    pub slack: f64,
    /// Rank correlation of the deviation with the size of the error: does it know where it is wrong? None when either is constant.
    pub knows_where: Option<f64>,
    /// Root mean square of error over deviation, 1 when the deviations are of the right size. None when one of them is zero.
    pub ratio: Option<f64>,
}

/// Measures errors against the deviations that were promised, one each. None without any, with different counts, and with a
/// value that is not finite or a negative deviation. Coverage after Kuleshov et al. (arXiv 1807.00263), taken centrally.
pub fn calibration(errors: &[f64], deviations: &[f64]) -> Option<Calibration> {
    let sound = errors.iter().all(|e| e.is_finite())
        && deviations.iter().all(|d| d.is_finite() && *d >= 0.0);
    if errors.is_empty() || errors.len() != deviations.len() || !sound {
        return None;
    }
    let n = errors.len() as f64;
    let coverage: Vec<(f64, f64)> = LEVELS
        .iter()
        .map(|&(level, z)| {
            let inside = errors.iter().zip(deviations);
            let inside = inside.filter(|(e, d)| e.abs() <= z * **d).count();
            (level, inside as f64 / n)
        })
        .collect();
    let sizes: Vec<f64> = errors.iter().map(|e| e.abs()).collect();
    let gaps: Vec<f64> = coverage.iter().map(|(want, have)| have - want).collect();
    let squares: f64 = errors
        .iter()
        .zip(deviations)
        .map(|(e, d)| (e / d).powi(2))
        .sum();
    Some(Calibration {
        error: mean(&gaps.iter().map(|g| g.abs()).collect::<Vec<_>>()),
        slack: mean(&gaps),
        knows_where: spearman(&sizes, deviations),
        ratio: deviations
            .iter()
            .all(|d| *d > 0.0)
            .then(|| (squares / n).sqrt()),
        coverage,
    })
}

/// The line `y ≈ slope · x + offset` of least squares. None as for [`pearson`](super::pearson).
pub fn line(x: &[f64], y: &[f64]) -> Option<(f64, f64)> {
    let rho = super::rank::pearson(x, y)?;
    let slope = rho * super::sample::deviation(y) / super::sample::deviation(x);
    Some((slope, mean(y) - slope * mean(x)))
}

/// Expected calibration error of chances `p` of things that happened (1) or did not (0): mean over ten bins of equal width of
/// the distance between the mean chance and the share that happened, weighted by the bins' counts (Guo et al., arXiv
/// 1706.04599). None without any, and with a chance outside 0..1.
pub fn chance_calibration(chances: &[f64], happened: &[bool]) -> Option<f64> {
    const BINS: usize = 10;
    let sound = chances.iter().all(|p| (0.0..=1.0).contains(p));
    if chances.is_empty() || chances.len() != happened.len() || !sound {
        return None;
    }
    let mut bins = [(0.0, 0.0); BINS];
    for (p, h) in chances.iter().zip(happened) {
        let bin = &mut bins[((p * BINS as f64) as usize).min(BINS - 1)];
        bin.0 += p;
        bin.1 += f64::from(u8::from(*h));
    }
    // A bin's count cancels between its weight and its means.
    let off: f64 = bins.iter().map(|(p, h)| (p - h).abs()).sum();
    Some(off / chances.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    /// Normal numbers with deviations between 0.5 and 2.
    fn honest(count: usize) -> (Vec<f64>, Vec<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        (0..count)
            .map(|_| {
                let deviation = rng.random_range(0.5..2.0);
                let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
                let z = radius * (std::f64::consts::TAU * rng.random::<f64>()).cos();
                (z * deviation, deviation)
            })
            .unzip()
    }

    #[test]
    fn honest_deviations_are_calibrated_and_boasts_are_not() {
        let (errors, deviations) = honest(4000);
        let fine = calibration(&errors, &deviations).unwrap();
        assert!(fine.error < 0.02, "{fine:?}");
        assert!((fine.ratio.unwrap() - 1.0).abs() < 0.05);
        assert!(fine.knows_where.unwrap() > 0.2);
        let half: Vec<f64> = deviations.iter().map(|d| d / 3.0).collect();
        let boast = calibration(&errors, &half).unwrap();
        assert!(boast.slack < -0.25 && boast.error > 0.25, "{boast:?}");
    }

    #[test]
    fn deviations_that_know_nothing_of_the_errors_are_found_out() {
        let (errors, mut deviations) = honest(2000);
        deviations.rotate_left(777);
        let lost = calibration(&errors, &deviations).unwrap();
        assert!(lost.knows_where.unwrap().abs() < 0.1, "{lost:?}");
    }

    #[test]
    fn certainty_that_is_wrong_and_values_that_are_none_are_defined() {
        let sure = calibration(&[1.0, -1.0], &[0.0, 0.0]).unwrap();
        assert_eq!(sure.coverage[0].1, 0.0);
        assert_eq!((sure.ratio, sure.knows_where), (None, None));
        assert!(calibration(&[], &[]).is_none());
        assert!(calibration(&[1.0], &[-1.0]).is_none());
        assert!(calibration(&[f64::NAN], &[1.0]).is_none());
    }

    #[test]
    fn chances_are_compared_with_what_happened() {
        assert_eq!(
            chance_calibration(&[0.8; 5], &[true, true, true, true, false]),
            Some(0.0)
        );
        assert_eq!(chance_calibration(&[1.0, 1.0], &[false, false]), Some(1.0));
        assert_eq!(chance_calibration(&[1.2], &[true]), None);
        assert_eq!(chance_calibration(&[], &[]), None);
    }

    #[test]
    fn the_line_is_the_one_of_least_squares() {
        let (slope, offset) = line(&[0.0, 1.0, 2.0], &[1.0, 3.0, 5.0]).unwrap();
        assert!((slope - 2.0).abs() < 1e-12 && (offset - 1.0).abs() < 1e-12);
        assert!(line(&[1.0, 1.0], &[0.0, 1.0]).is_none());
    }
}
