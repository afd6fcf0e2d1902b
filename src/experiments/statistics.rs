//! Means over a handful of seeds, and how sure they are.

use rapport::reward::eval::Interval;

/// 97.5 % quantiles of Student's distribution with 1 to 30 degrees of freedom.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// The mean of a few independent numbers with Student's 95 % interval, which with five seeds is as wide as it should be, where a
/// bootstrap's is too narrow. None without a number or when one is not finite; a single number has no interval but itself.
pub fn mean_of_seeds(values: &[f64]) -> Option<Interval> {
    if values.is_empty() || values.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let half = if values.len() < 2 {
        0.0
    } else {
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let quantile = STUDENT.get(values.len() - 2).copied().unwrap_or(1.96);
        quantile * (variance / n).sqrt()
    };
    Some(Interval {
        value: mean,
        low: mean - half,
        high: mean + half,
    })
}

/// `mean ± half of the interval`, both times `unit`.
pub fn shown(interval: Option<Interval>, unit: f64, digits: usize) -> String {
    interval.map_or_else(
        || "-".into(),
        |i| {
            format!(
                "{:.digits$} ± {:.digits$}",
                unit * i.value,
                unit * 0.5 * (i.high - i.low)
            )
        },
    )
}

/// The plain mean; None without a number.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_seeds_have_students_interval() {
        let found = mean_of_seeds(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        // 2.776 · sqrt(2.5 / 5)
        assert!((found.value - 3.0).abs() < 1e-12);
        assert!((found.high - 3.0 - 1.96293).abs() < 1e-4, "{found}");
        assert!((found.low + found.high - 6.0).abs() < 1e-12);
    }

    #[test]
    fn one_number_is_its_own_interval_and_none_has_none() {
        let one = mean_of_seeds(&[0.7]).unwrap();
        assert_eq!((one.low, one.value, one.high), (0.7, 0.7, 0.7));
        assert!(mean_of_seeds(&[]).is_none() && mean_of_seeds(&[f64::NAN]).is_none());
    }
}
