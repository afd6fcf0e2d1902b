//! The tanh-squashed Gaussian: the action distribution of soft actor-critic (Haarnoja et al. 2018, appendix C).
//!
//! `u = mean + std * noise`, `action = tanh(u)`,
//! `log p(action) = sum_i [-noise_i^2 / 2 - ln std_i - ln(2 pi) / 2 - ln(1 - action_i^2)]`.
//! The network's head is `[mean (A), s (A)]`; `ln std` is `s` itself amid its range and bends
//! towards the ends, `middle + half tanh((s - middle) / half)`, so that it always has a gradient.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

const HALF_LN_TAU: f32 = 0.918_938_5;

/// Smallest and largest `ln std`.
pub(crate) type LogStdRange = [f32; 2];

/// Standard normal numbers by Box and Muller, two at a time.
pub(crate) fn fill_normal(target: &mut [f32], rng: &mut ChaCha8Rng) {
    for pair in target.chunks_mut(2) {
        // 1 - [0, 1) is never 0, whose logarithm is infinite.
        let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
        let (sin, cos) = (std::f32::consts::TAU * rng.random::<f32>()).sin_cos();
        pair[0] = radius * cos;
        if let Some(second) = pair.get_mut(1) {
            *second = radius * sin;
        }
    }
}

/// `ln std` and its derivative by the head's `s`.
pub(crate) fn log_std(s: f32, [low, high]: LogStdRange) -> (f32, f32) {
    let (middle, half) = (0.5 * (low + high), 0.5 * (high - low));
    let t = ((s - middle) / half).tanh();
    (middle + half * t, 1.0 - t * t)
}

/// `ln(1 - tanh(u)^2)`, without the loss of digits at large `|u|`.
pub(crate) fn log_tanh_slope(u: f32) -> f32 {
    let magnitude = u.abs();
    2.0 * (std::f32::consts::LN_2 - magnitude - (-2.0 * magnitude).exp().ln_1p())
}

/// Draws of a batch, with what the way back needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draws {
    /// `[batch, A]`, in `-1..=1`.
    pub(crate) actions: Vec<f32>,
    /// `[batch]`.
    pub(crate) log_probs: Vec<f32>,
    /// `[batch, A]`.
    pub(crate) noise: Vec<f32>,
    stds: Vec<f32>,
    log_std_slopes: Vec<f32>,
}

impl Draws {
    /// Draws from heads `[batch, 2A]`.
    pub(crate) fn sample(
        &mut self,
        heads: &[f32],
        dim: usize,
        range: LogStdRange,
        rng: &mut ChaCha8Rng,
    ) {
        let batch = heads.len() / (2 * dim);
        for buffer in [
            &mut self.actions,
            &mut self.noise,
            &mut self.stds,
            &mut self.log_std_slopes,
        ] {
            buffer.resize(batch * dim, 0.0);
        }
        self.log_probs.resize(batch, 0.0);
        fill_normal(&mut self.noise, rng);
        for (row, head) in heads.chunks_exact(2 * dim).enumerate() {
            let mut log_prob = 0.0;
            for i in 0..dim {
                let at = row * dim + i;
                let (log_std, slope) = log_std(head[dim + i], range);
                let (std, noise) = (log_std.exp(), self.noise[at]);
                let u = head[i] + std * noise;
                self.actions[at] = u.tanh();
                self.stds[at] = std;
                self.log_std_slopes[at] = slope;
                log_prob += -0.5 * noise * noise - log_std - HALF_LN_TAU - log_tanh_slope(u);
            }
            self.log_probs[row] = log_prob;
        }
    }

    /// From the gradients of the actions `[batch, A]` and of every log-probability to that of the heads `[batch, 2A]`,
    /// by the reparameterised draw: the noise is held, mean and std move.
    pub(crate) fn backward(
        &self,
        action_gradients: &[f32],
        log_prob_gradient: f32,
        dim: usize,
        head_gradients: &mut [f32],
    ) {
        for (row, head) in head_gradients.chunks_exact_mut(2 * dim).enumerate() {
            for i in 0..dim {
                let at = row * dim + i;
                let action = self.actions[at];
                // d log p / d u = 2 tanh(u): only the squashing depends on u while the noise is held.
                let by_u = action_gradients[at] * (1.0 - action * action)
                    + log_prob_gradient * 2.0 * action;
                let by_log_std = by_u * self.stds[at] * self.noise[at] - log_prob_gradient;
                head[i] = by_u;
                head[dim + i] = by_log_std * self.log_std_slopes[at];
            }
        }
    }
}

/// What was squashed to `action`; actions on the border count as just inside it.
pub(crate) fn unsquash(action: f32) -> f32 {
    action.clamp(-1.0 + 1e-6, 1.0 - 1e-6).atanh()
}

/// `ln p(action)` of one head `[2A]`; actions on the border count as just inside it.
pub(crate) fn log_prob(head: &[f32], action: &[f32], range: LogStdRange) -> f32 {
    let dim = action.len();
    action
        .iter()
        .enumerate()
        .map(|(i, &action)| {
            let u = unsquash(action);
            let (log_std, _) = log_std(head[dim + i], range);
            let noise = (u - head[i]) / log_std.exp();
            -0.5 * noise * noise - log_std - HALF_LN_TAU - log_tanh_slope(u)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    const RANGE: LogStdRange = [-5.0, 2.0];

    #[test]
    fn the_density_integrates_to_one_and_agrees_with_that_of_the_draws() {
        for head in [[0.3, 0.2], [-1.0, -0.1], [0.0, 0.4]] {
            // Midpoints in u, so that the mass near the borders is seen: da = (1 - a^2) du.
            let (steps, reach) = (40_000, 12.0f32);
            let width = 2.0 * reach / steps as f32;
            let total: f64 = (0..steps)
                .map(|i| -reach + (i as f32 + 0.5) * width)
                .filter(|u| u.tanh().abs() < 1.0 - 1e-6)
                .map(|u| {
                    let action = u.tanh();
                    f64::from(
                        log_prob(&head, &[action], RANGE).exp() * (1.0 - action * action) * width,
                    )
                })
                .sum();
            assert!((total - 1.0).abs() < 2e-3, "{head:?}: {total}");

            let mut rng = ChaCha8Rng::seed_from_u64(2);
            let mut draws = Draws::default();
            draws.sample(&head.repeat(500), 1, RANGE, &mut rng);
            for (action, expected) in draws.actions.iter().zip(&draws.log_probs) {
                if action.abs() < 0.999 {
                    let found = log_prob(&head, &[*action], RANGE);
                    assert!(
                        (found - expected).abs() < 1e-3,
                        "{action}: {found} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (dim, range) = (2, RANGE);
        let head = [0.3f32, -0.8, -0.2, 0.4];
        let (by_action, by_log_prob) = ([0.7f32, -1.3], 0.25f32);
        let value = |head: &[f32]| {
            let mut draws = Draws::default();
            draws.sample(head, dim, range, &mut ChaCha8Rng::seed_from_u64(8));
            let actions: f32 = draws
                .actions
                .iter()
                .zip(by_action)
                .map(|(a, g)| a * g)
                .sum();
            f64::from(actions + by_log_prob * draws.log_probs[0])
        };
        let mut draws = Draws::default();
        draws.sample(&head, dim, range, &mut ChaCha8Rng::seed_from_u64(8));
        let mut gradient = [0.0; 4];
        draws.backward(&by_action, by_log_prob, dim, &mut gradient);
        for i in 0..4 {
            let (mut up, mut down) = (head, head);
            up[i] += 1e-2;
            down[i] -= 1e-2;
            let expected = (value(&up) - value(&down)) / 2e-2;
            assert!(
                (f64::from(gradient[i]) - expected).abs() < 2e-3,
                "{i}: {} {expected}",
                gradient[i]
            );
        }
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_variance_one() {
        let mut values = vec![0.0; 100_001];
        fill_normal(&mut values, &mut ChaCha8Rng::seed_from_u64(0));
        let n = values.len() as f32;
        let mean = values.iter().sum::<f32>() / n;
        let variance = values.iter().map(|x| x * x).sum::<f32>() / n;
        let fourth = values.iter().map(|x| x.powi(4)).sum::<f32>() / n;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02 && (fourth - 3.0).abs() < 0.15);
    }

    #[test]
    fn far_out_draws_keep_a_finite_log_probability() {
        for u in [-40.0f32, -10.0, 0.0, 10.0, 40.0] {
            assert!(log_tanh_slope(u).is_finite());
        }
        assert_eq!(log_tanh_slope(0.0), 0.0);
    }
}
