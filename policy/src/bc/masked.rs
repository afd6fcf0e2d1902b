//! A reward for looking: the actions of a policy that uses its camera change when the camera is covered (methods rows 42 and 50, VPPO and
//! PAPO, after the papers' descriptions).
//!
//! `S = KL(pi(.|o) || pi(.|o with part of the picture masked))`, in closed form between Gaussians. Copying then minimises
//! `L - weight ln(1 + S) + entropy (H(pi) + H(pi masked))`. Departures, where pictures are features and actions are Gaussian: masked are single
//! features, which become their mean, instead of patches; the logarithm, since between sharp Gaussians `S` itself has no end.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::LOG_STD_RANGE;
use crate::gaussian;

/// Settings of the masked view.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaskedView {
    /// Leading numbers of an observation that are never masked: the arm's own.
    pub own: usize,
    /// Weight of `ln(1 + S)`, per number of an action.
    pub weight: f32,
    /// Share of the other numbers that is masked.
    pub mask: f32,
    /// Weight of the entropies of both views: the guard against actions that become random where the picture is masked.
    pub entropy: f32,
}

impl Default for MaskedView {
    fn default() -> Self {
        Self {
            own: 0,
            weight: 0.5,
            mask: 0.6,
            entropy: 0.03,
        }
    }
}

impl MaskedView {
    pub(super) fn fault(&self, observation_dim: usize) -> Option<&'static str> {
        let sizes = [self.weight, self.entropy];
        if self.own >= observation_dim {
            Some("masked_view.own leaves nothing of an observation to be masked")
        } else if !(self.mask > 0.0 && self.mask <= 1.0) {
            Some("masked_view.mask must be above 0 and at most 1")
        } else if !sizes.iter().all(|x| *x >= 0.0 && x.is_finite()) {
            Some("masked_view's weights must not be negative")
        } else {
            None
        }
    }

    /// Covers part of scaled observations `[rows, width]`, each row in a way of its own.
    pub(super) fn cover(&self, inputs: &mut [f32], width: usize, rng: &mut ChaCha8Rng) {
        for row in inputs.chunks_exact_mut(width) {
            for value in &mut row[self.own..] {
                if rng.random::<f32>() < self.mask {
                    *value = 0.0;
                }
            }
        }
    }

    /// Adds the gradient of `entropy (H + H masked) - weight ln(1 + S)`, means over rows and numbers, by the heads `[rows, 2 numbers]` of
    /// both views; returns the mean of `ln(1 + S)`.
    pub(super) fn differentiate(
        &self,
        [seen, masked]: [&[f32]; 2],
        [by_seen, by_masked]: [&mut [f32]; 2],
        numbers: usize,
    ) -> f64 {
        let count = (seen.len() / 2) as f32;
        let mut total = 0.0;
        for start in (0..seen.len()).step_by(2 * numbers) {
            for i in 0..numbers {
                let (mean, spread) = (start + i, start + numbers + i);
                let (log_p, slope_p) = gaussian::log_std(seen[spread], LOG_STD_RANGE);
                let (log_q, slope_q) = gaussian::log_std(masked[spread], LOG_STD_RANGE);
                let (apart, precision) = (seen[mean] - masked[mean], (-2.0 * log_q).exp());
                let variance = (2.0 * log_p).exp();
                let kl = log_q - log_p + 0.5 * (variance + apart * apart) * precision - 0.5;
                total += f64::from(kl.max(0.0).ln_1p() / count);
                by_seen[spread] += self.entropy * slope_p / count;
                by_masked[spread] += self.entropy * slope_q / count;
                let weight = -self.weight / (count * (1.0 + kl.max(0.0)));
                by_seen[mean] += weight * apart * precision;
                by_masked[mean] -= weight * apart * precision;
                by_seen[spread] += weight * (variance * precision - 1.0) * slope_p;
                by_masked[spread] +=
                    weight * (1.0 - (variance + apart * apart) * precision) * slope_q;
            }
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::bc::{Bc, BcConfig, BcLoss};
    use crate::checkpoint::PolicySpec;
    use crate::policy::{Mode, Policy as _, Transition};

    #[test]
    fn gradients_agree_with_finite_differences() {
        let view = MaskedView {
            weight: 0.7,
            entropy: 0.2,
            ..MaskedView::default()
        };
        let (seen, masked) = ([0.3f32, -0.4, 0.1, -0.6], [0.1f32, 0.2, -0.2, 0.3]);
        // Two numbers: means, then spreads.
        let entropy = |head: &[f32]| -> f32 {
            let spreads = head[2..].iter();
            spreads
                .map(|s| gaussian::log_std(*s, LOG_STD_RANGE).0)
                .sum()
        };
        let value = |seen: &[f32], masked: &[f32]| -> f64 {
            let (mut a, mut b) = ([0.0; 4], [0.0; 4]);
            let kl = view.differentiate([seen, masked], [&mut a, &mut b], 2);
            let both = (entropy(seen) + entropy(masked)) / 2.0;
            f64::from(view.entropy * both) - f64::from(view.weight) * kl
        };
        let (mut by_seen, mut by_masked) = ([0.0; 4], [0.0; 4]);
        view.differentiate([&seen, &masked], [&mut by_seen, &mut by_masked], 2);
        for i in 0..4 {
            let moved = |by: f32| {
                let (mut s, mut m) = (seen, masked);
                s[i] += by;
                m[i] += by;
                [value(&s, &masked), value(&seen, &m)]
            };
            let (up, down) = (moved(1e-2), moved(-1e-2));
            for (found, at) in [(by_seen[i], 0), (by_masked[i], 1)] {
                let slope = (up[at] - down[at]) / 2e-2;
                assert!(
                    (slope - f64::from(found)).abs() < 1e-3,
                    "{i}: {slope} {found}"
                );
            }
        }
    }

    /// While it is shown, the arm's own number gives the goal away, as well as the camera's number does. Later only the camera tells it.
    fn copycat(masked_view: Option<MaskedView>, seed: u64) -> (f32, f64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut episode = || -> Vec<Transition> {
            let goal: f32 = rng.random_range(-0.8..0.8);
            (0..5)
                .map(|_| {
                    let mut told = || goal + rng.random_range(-0.1..0.1);
                    let observation = vec![told(), told()];
                    Transition {
                        next_observation: observation.clone(),
                        observation,
                        action: vec![goal],
                        reward: 0.0,
                        terminated: false,
                        truncated: false,
                    }
                })
                .collect()
        };
        let episodes: Vec<_> = (0..60).map(|_| episode()).collect();
        let config = BcConfig {
            hidden: vec![32],
            loss: BcLoss::GaussianNll,
            masked_view,
            epochs: 100,
            patience: 100,
            validation_share: 0.0,
            ..BcConfig::default()
        };
        let spec = PolicySpec::new(2, 1);
        let mut spread = 0.0;
        let (mut bc, _) = Bc::fit(spec, config, seed, &episodes, |_, metrics| {
            spread = metrics.get("entropy").copied().unwrap_or_default();
            ControlFlow::Continue(())
        })
        .unwrap();
        let mut miss = 0.0;
        for i in 0..21 {
            let goal = -0.8 + 0.08 * i as f32;
            let seen = [0.0, goal];
            miss += (bc.act(&seen, Mode::Exploit).unwrap()[0] - goal).abs() / 21.0;
        }
        (miss, spread)
    }

    #[test]
    fn a_policy_that_is_rewarded_for_looking_follows_the_camera() {
        let (mut blind, mut looking) = (0.0, 0.0);
        for seed in 0..3 {
            let view = MaskedView {
                own: 1,
                ..MaskedView::default()
            };
            blind += copycat(None, seed).0 / 3.0;
            let (miss, entropy) = copycat(Some(view), seed);
            looking += miss / 3.0;
            assert!(entropy < 0.0, "the guard holds: {entropy}");
        }
        assert!(looking < 0.6 * blind, "{blind} {looking}");
    }
}
