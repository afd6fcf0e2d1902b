//! Which features tell a step from the rest.

/// How well one feature tells the frames of a step from the others: `α |μ⁺ - μ⁻| - (σ⁺ + σ⁻)`, with α = 5 in the paper. Deviations
/// are those of the population. Not a number when either side is empty.
pub fn discriminability(positives: &[f64], negatives: &[f64], alpha: f64) -> f64 {
    let ((mean_in, sd_in), (mean_out, sd_out)) = (moments(positives), moments(negatives));
    score(alpha, (mean_in, sd_in), (mean_out, sd_out))
}

/// As [`discriminability`], from means and deviations.
pub(super) fn score(alpha: f64, inside: (f64, f64), outside: (f64, f64)) -> f64 {
    alpha * (inside.0 - outside.0).abs() - (inside.1 + outside.1)
}

/// Mean and population standard deviation.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

/// Indices of the `most` highest scores, best first; of equal ones the lower index.
pub(super) fn highest(scores: &[f64], most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len())
        .filter(|&i| scores[i].is_finite())
        .collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    order.truncate(most);
    order
}

/// Mean and population standard deviation of every feature over some frames.
pub(super) fn column_moments<'a>(
    dim: usize,
    rows: impl Iterator<Item = &'a [f64]>,
) -> (Vec<f64>, Vec<f64>) {
    let mut count = 0.0;
    let mut mean = vec![0.0; dim];
    let mut squares = vec![0.0; dim];
    for row in rows {
        count += 1.0;
        for ((mean, squares), x) in mean.iter_mut().zip(&mut squares).zip(row) {
            let off = x - *mean;
            *mean += off / count;
            *squares += off * (x - *mean);
        }
    }
    let deviation = squares
        .iter()
        .map(|s| (s / f64::max(count, 1.0)).sqrt())
        .collect();
    (mean, deviation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discriminability_is_the_reference_value() {
        let found = discriminability(&[1.2, 1.0, 1.1], &[-0.5, -0.6, -0.4, -0.5], 5.0);
        assert!((found - 7.8476396638).abs() < 1e-9, "{found}");
    }

    #[test]
    fn the_highest_come_first_and_ties_keep_their_order() {
        assert_eq!(highest(&[1.0, 3.0, f64::NAN, 3.0, 2.0], 3), [1, 3, 4]);
    }

    #[test]
    fn moments_of_columns_are_those_of_each() {
        let rows = [[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]];
        let (mean, deviation) = column_moments(2, rows.iter().map(|r| r.as_slice()));
        let (m, d) = moments(&[1.0, 2.0, 6.0]);
        assert!((mean[0] - m).abs() < 1e-12 && (deviation[0] - d).abs() < 1e-12);
        assert_eq!((mean[1], deviation[1]), (5.0, 0.0));
    }
}
