//! Orthogonal starting weights (Saxe, McClelland and Ganguli 2014, arXiv:1312.6120).

use rand_chacha::ChaCha8Rng;

use crate::gaussian::fill_normal;

/// `[inputs, outputs]`, row-major: the columns, or where they are more than the rows the rows, are orthogonal and `gain` long.
pub(crate) fn orthogonal(
    inputs: usize,
    outputs: usize,
    gain: f32,
    rng: &mut ChaCha8Rng,
) -> Vec<f32> {
    let (count, length) = (inputs.min(outputs), inputs.max(outputs));
    let mut normal = vec![0.0f32; count * length];
    fill_normal(&mut normal, rng);
    let mut rows: Vec<Vec<f64>> = normal
        .chunks_exact(length)
        .map(|row| row.iter().map(|&x| f64::from(x)).collect())
        .collect();
    // Gram and Schmidt, one after the other off the rest.
    for at in 0..rows.len() {
        let (before, rest) = rows.split_at_mut(at);
        let row = &mut rest[0];
        for other in before {
            let along: f64 = row.iter().zip(&*other).map(|(a, b)| a * b).sum();
            row.iter_mut()
                .zip(&*other)
                .for_each(|(a, b)| *a -= along * b);
        }
        let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        row.iter_mut().for_each(|x| *x /= norm);
    }
    let mut weight = vec![0.0; inputs * outputs];
    for (i, row) in rows.iter().enumerate() {
        for (j, value) in row.iter().enumerate() {
            let at = if outputs <= inputs {
                j * outputs + i
            } else {
                i * outputs + j
            };
            weight[at] = gain * *value as f32;
        }
    }
    weight
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    #[test]
    fn the_shorter_side_is_orthogonal() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for (inputs, outputs) in [(12, 5), (5, 12), (6, 6)] {
            let w = orthogonal(inputs, outputs, 1.5, &mut rng);
            let at = |i: usize, j: usize| w[i * outputs + j];
            let product = |p: usize, q: usize| -> f32 {
                if outputs <= inputs {
                    (0..inputs).map(|i| at(i, p) * at(i, q)).sum()
                } else {
                    (0..outputs).map(|j| at(p, j) * at(q, j)).sum()
                }
            };
            for p in 0..inputs.min(outputs) {
                for q in 0..inputs.min(outputs) {
                    let expected = if p == q { 2.25 } else { 0.0 };
                    assert!((product(p, q) - expected).abs() < 1e-5);
                }
            }
        }
    }
}
