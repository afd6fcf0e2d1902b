//! A mixture of Gaussians over the actions of a chunk, as in robomimic (Mandlekar et al. 2021, arXiv:2108.03298, BC-GMM): where
//! demonstrators go either left or right, the mean of both is what nobody did.
//!
//! A head is `[logits (K), means (K M), spreads (K M)]` for `K` components over `M = chunk * action_dim` numbers, with standard
//! deviations `softplus(spread) + 1e-4`. A component is one way to do the whole chunk. Departures: means are in units of the
//! demonstrated actions' deviations and are not squashed.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::gaussian;
use crate::policy::Mode;

const MIN_STD: f32 = 1e-4;
const HALF_LN_TAU: f32 = 0.918_938_5;

/// Outputs of a network with such a head.
pub(super) fn outputs(components: usize, numbers: usize) -> usize {
    components * (1 + 2 * numbers)
}

/// The standard deviation and its derivative by the head's number.
fn std(spread: f32) -> (f32, f32) {
    let soft = spread.max(0.0) + (-spread.abs()).exp().ln_1p();
    (soft + MIN_STD, 1.0 / (1.0 + (-spread).exp()))
}

/// Logarithms of probabilities that are proportional to `exp(logits)`.
fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let total = log_sum_exp(logits);
    logits.iter().map(|l| l - total).collect()
}

fn log_sum_exp(values: &[f32]) -> f32 {
    let top = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if top == f32::NEG_INFINITY {
        return top;
    }
    top + values.iter().map(|v| (v - top).exp()).sum::<f32>().ln()
}

/// `-ln p(target)` under one head, over the first `target.len()` numbers of a chunk of `numbers`; `scale` times its gradient by the
/// head goes to `gradient`.
pub(super) fn loss(
    head: &[f32],
    components: usize,
    numbers: usize,
    target: &[f32],
    scale: f32,
    gradient: &mut [f32],
) -> f32 {
    let (logits, rest) = head.split_at(components);
    let (means, spreads) = rest.split_at(components * numbers);
    let log_shares = log_softmax(logits);
    let joint: Vec<f32> = (0..components)
        .map(|k| {
            let of = |i: usize| (means[k * numbers + i], std(spreads[k * numbers + i]).0);
            let each = target.iter().enumerate().map(|(i, t)| {
                let (mean, std) = of(i);
                let z = (t - mean) / std;
                -0.5 * z * z - std.ln() - HALF_LN_TAU
            });
            log_shares[k] + each.sum::<f32>()
        })
        .collect();
    let total = log_sum_exp(&joint);
    for k in 0..components {
        // How much this component explains of the target.
        let blame = (joint[k] - total).exp();
        gradient[k] = scale * (log_shares[k].exp() - blame);
        for (i, t) in target.iter().enumerate() {
            let at = k * numbers + i;
            let (std, slope) = std(spreads[at]);
            let z = (t - means[at]) / std;
            gradient[components + at] = -scale * blame * z / std;
            gradient[components + components * numbers + at] =
                scale * blame * (1.0 - z * z) / std * slope;
        }
    }
    -total
}

/// The chunk that a head gives: the mean of the most likely component, or a draw of the mixture.
pub(super) fn act(
    head: &[f32],
    components: usize,
    numbers: usize,
    mode: Mode,
    rng: &mut ChaCha8Rng,
) -> Vec<f32> {
    let (logits, rest) = head.split_at(components);
    let (means, spreads) = rest.split_at(components * numbers);
    let log_shares = log_softmax(logits);
    let chosen = match mode {
        Mode::Exploit => (1..components).fold(0, |best, k| {
            if log_shares[k] > log_shares[best] {
                k
            } else {
                best
            }
        }),
        Mode::Explore => {
            let mut left = rng.random::<f32>();
            (0..components - 1)
                .find(|&k| {
                    left -= log_shares[k].exp();
                    left < 0.0
                })
                .unwrap_or(components - 1)
        }
    };
    let mut values = means[chosen * numbers..][..numbers].to_vec();
    if mode == Mode::Explore {
        let mut noise = vec![0.0; numbers];
        gaussian::fill_normal(&mut noise, rng);
        let spreads = &spreads[chosen * numbers..][..numbers];
        for ((value, noise), spread) in values.iter_mut().zip(noise).zip(spreads) {
            *value += std(*spread).0 * noise;
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::bc::{Bc, BcConfig, BcLoss};
    use crate::checkpoint::{PolicySpec, load_policy};
    use crate::policy::{Policy as _, Transition};

    #[test]
    fn one_component_is_a_gaussian() {
        // softplus(0.5413249) is 1.
        let mut gradient = [0.0; 3];
        let found = loss(&[7.0, 0.5, 0.541_324_9], 1, 1, &[1.5], 1.0, &mut gradient);
        let z = 1.0f32 / 1.0001;
        let expected = 0.5 * z * z + 1.0001f32.ln() + HALF_LN_TAU;
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        assert!(gradient[0].abs() < 1e-6 && (gradient[1] + z / 1.0001).abs() < 1e-4);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (components, numbers) = (3, 2);
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let head: Vec<f32> = (0..outputs(components, numbers))
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        // A whole chunk, and one that ends early: what lies beyond has no gradient.
        for target in [vec![0.4f32, -0.9], vec![0.4]] {
            let mut gradient = vec![0.0; head.len()];
            loss(&head, components, numbers, &target, 0.7, &mut gradient);
            for i in 0..head.len() {
                let value = |delta: f32| {
                    let mut moved = head.clone();
                    moved[i] += delta;
                    let mut unused = vec![0.0; head.len()];
                    f64::from(0.7 * loss(&moved, components, numbers, &target, 1.0, &mut unused))
                };
                let expected = (value(1e-2) - value(-1e-2)) / 2e-2;
                let found = f64::from(gradient[i]);
                assert!((found - expected).abs() < 2e-3, "{i}: {found} {expected}");
            }
        }
    }

    #[test]
    fn far_off_targets_keep_finite_gradients() {
        let mut gradient = vec![0.0; outputs(2, 1)];
        let found = loss(
            &[0.0, 0.0, 1.0, -1.0, -3.0, -3.0],
            2,
            1,
            &[60.0],
            1.0,
            &mut gradient,
        );
        assert!(found.is_finite() && gradient.iter().all(|g| g.is_finite()));
    }

    #[test]
    fn goes_left_or_right_where_the_mean_goes_into_the_post() {
        // Half of the demonstrators pass the post at the left, half at the right, by 0.6.
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let data: Vec<Vec<Transition>> = (0..40)
            .map(|n| {
                let side = if n % 2 == 0 { 0.6 } else { -0.6 };
                (0..20)
                    .map(|_| Transition {
                        observation: vec![rng.random_range(-1.0..1.0)],
                        action: vec![side + rng.random_range(-0.05f32..0.05)],
                        reward: 0.0,
                        next_observation: vec![0.0],
                        terminated: false,
                        truncated: false,
                    })
                    .collect()
            })
            .collect();
        let fit = |loss| {
            let config = BcConfig {
                hidden: vec![32],
                batch: 32,
                epochs: 100,
                loss,
                ..BcConfig::default()
            };
            let run = |_: u64, _: &crate::Metrics| ControlFlow::Continue(());
            Bc::fit(PolicySpec::new(1, 1), config, 0, &data, run)
                .unwrap()
                .0
        };
        let post = |action: f32| action.abs() < 0.4;
        let mut mean = fit(BcLoss::Mse);
        let mut mixture = fit(BcLoss::Mixture { components: 2 });
        let mut sides = [0, 0];
        for i in 0..200 {
            let observation = [i as f32 / 100.0 - 1.0];
            assert!(post(mean.act(&observation, Mode::Exploit).unwrap()[0]));
            let action = mixture.act(&observation, Mode::Exploit).unwrap()[0];
            assert!(!post(action), "{action}");
            let drawn = mixture.act(&observation, Mode::Explore).unwrap()[0];
            assert!(!post(drawn), "{drawn}");
            sides[usize::from(drawn > 0.0)] += 1;
        }
        assert!(sides.iter().all(|&n| n > 50), "{sides:?}");

        let dir = tempfile::tempdir().unwrap();
        mixture.save(dir.path()).unwrap();
        let mut loaded = load_policy(dir.path()).unwrap();
        let action = |policy: &mut dyn crate::Policy| policy.act(&[0.3], Mode::Explore).unwrap();
        assert_eq!(action(&mut *loaded), action(&mut mixture));
    }
}
