//! Elementwise loops of a training step, compiled for the vectors of this machine.
//!
//! Sums run in an order that does not depend on the vector width, so results do not either.

use crate::small::vector::vectorised;

/// Sum of `term(a, b)` over two rows of one length, in 16 partial sums, then pairwise.
#[inline(always)]
fn sum_of(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut partial = [0.0f32; 16];
    let (a, b) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest = a.remainder().iter().zip(b.remainder());
    for (a, b) in a.zip(b) {
        for (partial, (&a, &b)) in partial.iter_mut().zip(a.iter().zip(b)) {
            *partial += term(a, b);
        }
    }
    for (partial, (&a, &b)) in partial.iter_mut().zip(rest) {
        *partial += term(a, b);
    }
    let mut half = 8;
    while half > 0 {
        for lane in 0..half {
            partial[lane] += partial[lane + half];
        }
        half /= 2;
    }
    partial[0]
}

/// Added to a row's variance by layer normalisation.
const LAYER_NORM_EPSILON: f32 = 1e-5;

vectorised! {
    /// Zero where negative; what is not a number stays that.
    pub(crate) fn relu(values: &mut [f32]) {
        for value in values.iter_mut() {
            *value = if *value < 0.0 { 0.0 } else { *value };
        }
    }

    /// `sums[j] += sum over rows of matrix[i, j]`.
    pub(crate) fn add_column_sums(sums: &mut [f32], matrix: &[f32]) {
        for row in matrix.chunks_exact(sums.len()) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
    }

    /// Layer normalisation: each row of `values` `[rows, width]` becomes `scale * unit + shift`, where `unit` is the row
    /// with mean 0 and variance 1. Leaves `unit` `[rows, width]` and `1/std` `[rows]` for the way back.
    pub(crate) fn layer_norm(
        values: &mut [f32],
        scale: &[f32],
        shift: &[f32],
        units: &mut [f32],
        inverse_stds: &mut [f32],
    ) {
        let width = scale.len();
        let rows = values.chunks_exact_mut(width).zip(units.chunks_exact_mut(width));
        for ((row, unit), inverse) in rows.zip(inverse_stds) {
            let mean = sum_of(row, row, |value, _| value) / width as f32;
            for (unit, &value) in unit.iter_mut().zip(row.iter()) {
                *unit = value - mean;
            }
            let variance = sum_of(unit, unit, |a, b| a * b) / width as f32;
            *inverse = 1.0 / (variance + LAYER_NORM_EPSILON).sqrt();
            let affine = scale.iter().zip(shift);
            for ((value, unit), (&scale, &shift)) in row.iter_mut().zip(unit).zip(affine) {
                *unit *= *inverse;
                *value = *unit * scale + shift;
            }
        }
    }

    /// The way back through [`layer_norm`]: `gradient` `[rows, width]` goes from the output to the input; the gradients of
    /// scale and shift are added to theirs.
    pub(crate) fn layer_norm_backward(
        gradient: &mut [f32],
        scale: &[f32],
        units: &[f32],
        inverse_stds: &[f32],
        scale_gradient: &mut [f32],
        shift_gradient: &mut [f32],
    ) {
        let width = scale.len();
        let rows = gradient.chunks_exact_mut(width).zip(units.chunks_exact(width));
        for ((row, unit), &inverse) in rows.zip(inverse_stds) {
            let affine = scale_gradient.iter_mut().zip(shift_gradient.iter_mut()).zip(scale);
            for ((value, &unit), ((by_scale, by_shift), &scale)) in row.iter_mut().zip(unit).zip(affine) {
                *by_scale += *value * unit;
                *by_shift += *value;
                *value *= scale;
            }
            let mean = sum_of(row, row, |value, _| value) / width as f32;
            let slope = sum_of(row, unit, |value, unit| value * unit) / width as f32;
            for (value, &unit) in row.iter_mut().zip(unit) {
                *value = inverse * (*value - mean - unit * slope);
            }
        }
    }

    /// `y <- y + x W`, one row: `x` `[inputs]`, `weight` `[inputs, y.len()]`. The same bits as a batch through `matmul`.
    pub(crate) fn accumulate_row(x: &[f32], weight: &[f32], y: &mut [f32]) {
        for (&x, row) in x.iter().zip(weight.chunks_exact(y.len())) {
            for (y, &weight) in y.iter_mut().zip(row) {
                *y = x.mul_add(weight, *y);
            }
        }
    }

    /// `target <- target + rate * (source - target)`.
    pub(crate) fn polyak(target: &mut [f32], source: &[f32], rate: f32) {
        for (target, &source) in target.iter_mut().zip(source) {
            *target += rate * (source - *target);
        }
    }

    /// True when no value is infinite or not a number.
    pub(crate) fn all_finite(values: &[f32]) -> bool {
        // x * 0 is 0 for finite x and NaN otherwise, and a sum with a NaN stays one: no branch in the loop.
        sum_of(values, values, |value, _| value * 0.0) == 0.0
    }

    /// Square root of the sum of squares.
    pub(crate) fn norm(values: &[f32]) -> f32 {
        sum_of(values, values, |a, b| a * b).sqrt()
    }

    /// Multiplies every value.
    pub(crate) fn scale(values: &mut [f32], factor: f32) {
        for value in values.iter_mut() {
            *value *= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_infinity_or_nan_is_found_wherever_it_is() {
        for length in [1, 15, 16, 17, 100] {
            for at in 0..length {
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut values = vec![f32::MAX; length];
                    assert!(all_finite(&values));
                    values[at] = bad;
                    assert!(!all_finite(&values), "{bad} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn layer_norm_gives_rows_of_mean_zero_and_variance_one() {
        let width = 37;
        let mut values: Vec<f32> = (0..2 * width)
            .map(|i| (i as f32 * 0.7).sin() * 3.0 + 5.0)
            .collect();
        let (mut units, mut inverse) = (vec![0.0; 2 * width], vec![0.0; 2]);
        layer_norm(
            &mut values,
            &vec![1.0; width],
            &vec![0.0; width],
            &mut units,
            &mut inverse,
        );
        for row in values.chunks_exact(width) {
            let mean = row.iter().sum::<f32>() / width as f32;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / width as f32;
            assert!(
                mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-4,
                "{mean} {variance}"
            );
        }
    }

    #[test]
    fn polyak_moves_by_its_rate() {
        let mut target = vec![1.0, -2.0];
        polyak(&mut target, &[2.0, 2.0], 0.25);
        assert_eq!(target, [1.25, -1.0]);
    }
}
