//! What a policy's own log-probabilities say of two outcomes: the gaps of the direct methods. The loss stays [`PairObjective`]'s.
//!
//! `ρ = π(x) / π_ref(x)`; DPO's and D3PO's β is the inverse of [`PairObjective::temperature`].

use super::{PairLoss, PairObjective};

/// `Σ_s ln ρ_s(first) - Σ_s ln ρ_s(second)`: DPO's gap (arXiv 2305.18290), over the steps `s` that an outcome took: one, or
/// those of a denoising chain.
pub fn ratio_gap(first: &[f64], second: &[f64]) -> f64 {
    first.iter().sum::<f64>() - second.iter().sum::<f64>()
}

/// D3PO's gap at each denoising step (arXiv 2311.13231): `ln clip(ρ_s(first)) - ln clip(ρ_s(second))` with the ratios clipped to
/// `1 - clip ..= 1 + clip`, as released. The loss is the mean over steps; within the band and with one step it is DPO's.
/// Outside the band it has no slope, so that references are renewed often.
pub fn step_gaps(first: &[f64], second: &[f64], clip: f64) -> Vec<f64> {
    let (least, most) = ((1.0 - clip).max(f64::MIN_POSITIVE).ln(), (1.0 + clip).ln());
    first
        .iter()
        .zip(second)
        .map(|(a, b)| a.clamp(least, most) - b.clamp(least, most))
        .collect()
}

/// Logarithms of an outcome's ratio to the reference, now and at the last iterate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogRatio {
    /// Under the policy as it is.
    pub now: f64,
    /// Under the policy that drew the outcome.
    pub before: f64,
}

/// Value of [`proximal`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProximalValue {
    /// The loss.
    pub loss: f64,
    /// Its derivative by the first outcome's log ratio.
    pub by_first: f64,
    /// Its derivative by the second's.
    pub by_second: f64,
}

/// PRDP's loss (arXiv 2402.08714): `(temperature · gap - (r_1 - r_2))²` with `gap` the difference of log ratios, or the same with
/// both log ratios kept within `clip` of the last iterate's, whichever is larger. Its minimum over all pairs is the policy in
/// proportion to `π_ref e^(r / temperature)`.
pub fn proximal(
    first: LogRatio,
    second: LogRatio,
    reward_gap: f64,
    temperature: f64,
    clip: f64,
) -> ProximalValue {
    let objective = PairObjective {
        loss: PairLoss::Squared,
        temperature: 1.0 / temperature,
        ..PairObjective::default()
    };
    let kept = |ratio: LogRatio| ratio.before + (ratio.now - ratio.before).clamp(-clip, clip);
    let moves = |ratio: LogRatio| f64::from(u8::from((ratio.now - ratio.before).abs() < clip));
    let free = objective.evaluate(first.now - second.now, reward_gap);
    let bound = objective.evaluate(kept(first) - kept(second), reward_gap);
    if free.loss >= bound.loss {
        ProximalValue {
            loss: free.loss,
            by_first: free.slope,
            by_second: -free.slope,
        }
    } else {
        ProximalValue {
            loss: bound.loss,
            by_first: bound.slope * moves(first),
            by_second: -bound.slope * moves(second),
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::print_stdout,
    reason = "the numbers of docs/methods.md, with --no-capture"
)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    proptest! {
        #[test]
        fn d3po_with_one_denoising_step_is_dpo(a in -0.09f64..0.09, b in -0.09f64..0.09, beta in 0.01f64..50.0) {
            let objective = PairObjective { temperature: 1.0 / beta, ..PairObjective::default() };
            let dpo = objective.evaluate(ratio_gap(&[a], &[b]), 1.0);
            let steps = step_gaps(&[a], &[b], 0.1);
            prop_assert_eq!(steps.len(), 1);
            prop_assert_eq!(objective.evaluate(steps[0], 1.0), dpo);
            // -ln σ(β (ln ρ_1 - ln ρ_2))
            let by_hand = (1.0 + (-beta * (a - b)).exp()).ln();
            prop_assert!((dpo.loss - by_hand).abs() < 1e-9);
        }

        #[test]
        fn what_a_tie_wants_vanishes_at_any_temperature_and_all_of_it_as_that_grows(
            r in -3.0f64..3.0, now in -1.0f64..1.0, temperature in 0.01f64..100.0,
        ) {
            let at = |gap: f64, reward: f64, temperature: f64| {
                let (one, other) = (LogRatio { now: now + gap, before: now + gap }, LogRatio { now, before: now });
                proximal(one, other, reward, temperature, 0.1)
            };
            // A tie wants the reference's own odds, where loss and slopes are nothing.
            let tie = at(0.0, 0.0, temperature);
            prop_assert_eq!((tie.loss, tie.by_first, tie.by_second), (0.0, 0.0, 0.0));
            // Two outcomes of different reward want odds that go to the reference's as the temperature grows.
            prop_assert!(at(r / temperature, r, temperature).loss < 1e-18 * (1.0 + r * r));
        }

        #[test]
        fn proximal_slopes_agree_with_finite_differences(
            a in -1.0f64..1.0, b in -1.0f64..1.0, off in -1.0f64..1.0, other in -1.0f64..1.0, r in -2.0f64..2.0,
        ) {
            let at = |a: f64, b: f64| proximal(LogRatio { now: a, before: off }, LogRatio { now: b, before: other }, r, 0.7, 0.3);
            let step = 1e-6;
            // Away from the edges of the band and from where the two losses cross.
            prop_assume!(((a - off).abs() - 0.3).abs() > 1e-4 && ((b - other).abs() - 0.3).abs() > 1e-4);
            let by_first = (at(a + step, b).loss - at(a - step, b).loss) / (2.0 * step);
            let by_second = (at(a, b + step).loss - at(a, b - step).loss) / (2.0 * step);
            let (left, right) = (at(a - step, b), at(a + step, b));
            prop_assume!((left.by_first - right.by_first).abs() < 1e-3);
            let (left, right) = (at(a, b - step), at(a, b + step));
            prop_assume!((left.by_second - right.by_second).abs() < 1e-3);
            let found = at(a, b);
            prop_assert!((found.by_first - by_first).abs() < 1e-4, "{} {by_first}", found.by_first);
            prop_assert!((found.by_second - by_second).abs() < 1e-4, "{} {by_second}", found.by_second);
        }

        #[test]
        fn the_proximal_loss_is_never_below_the_plain_one(
            now in -3.0f64..3.0, before in -3.0f64..3.0, other in -3.0f64..3.0, reward in -3.0f64..3.0,
        ) {
            let plain = (now - other - reward).powi(2);
            let found = proximal(LogRatio { now, before }, LogRatio { now: other, before: other }, reward, 1.0, 0.2);
            prop_assert!(found.loss >= plain - 1e-12 && found.loss.is_finite() && found.by_first.is_finite());
        }
    }

    #[test]
    fn outside_the_band_nothing_pulls() {
        assert_eq!(step_gaps(&[5.0], &[-5.0], 0.1), [1.1f64.ln() - 0.9f64.ln()]);
        assert_eq!(step_gaps(&[0.0, 9.0], &[0.0, 9.0], 0.1), [0.0, 0.0]);
    }

    const ARMS: usize = 30;

    fn softmax(logits: &[f64]) -> Vec<f64> {
        let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let all: Vec<f64> = logits.iter().map(|l| (l - top).exp()).collect();
        let sum: f64 = all.iter().sum();
        all.iter().map(|p| p / sum).collect()
    }

    fn draw(policy: &[f64], rng: &mut impl Rng) -> usize {
        let mut left = rng.random::<f64>();
        for (arm, p) in policy.iter().enumerate() {
            left -= p;
            if left < 0.0 {
                return arm;
            }
        }
        policy.len() - 1
    }

    fn divergence(p: &[f64], q: &[f64]) -> f64 {
        p.iter()
            .zip(q)
            .map(|(p, q)| if *p > 0.0 { p * (p / q).ln() } else { 0.0 })
            .sum()
    }

    /// Regression on pairs of outcomes: 6,000 samples, references renewed every 100 pairs.
    fn prdp(reward: &[f64], beta: f64, rng: &mut impl Rng) -> Vec<f64> {
        let mut logits = [0.0; ARMS];
        let mut done = 0;
        while done < 3000 {
            let before = softmax(&logits);
            let pairs: Vec<(usize, usize)> = (0..100)
                .map(|_| (draw(&before, rng), draw(&before, rng)))
                .collect();
            done += pairs.len();
            for &(a, b) in pairs.iter().cycle().take(300) {
                let now = softmax(&logits);
                let ratio = |arm: usize| LogRatio {
                    now: (now[arm] * ARMS as f64).ln(),
                    before: (before[arm] * ARMS as f64).ln(),
                };
                let wanted = (reward[a] - reward[b]) / beta;
                let found = proximal(ratio(a), ratio(b), wanted, 1.0, 0.5);
                logits[a] -= 0.05 * found.by_first;
                logits[b] -= 0.05 * found.by_second;
            }
        }
        softmax(&logits)
    }

    /// Policy gradient of reward and divergence with a mean baseline: as many samples, in batches of 100.
    fn reinforce(reward: &[f64], beta: f64, rate: f64, rng: &mut impl Rng) -> Vec<f64> {
        let mut logits = [0.0; ARMS];
        for _ in 0..60 {
            let policy = softmax(&logits);
            let arms: Vec<usize> = (0..100).map(|_| draw(&policy, rng)).collect();
            let gain = |arm: usize| reward[arm] - beta * (policy[arm] * ARMS as f64).ln();
            let mean = arms.iter().map(|&a| gain(a)).sum::<f64>() / 100.0;
            let mut step = [0.0; ARMS];
            for &arm in &arms {
                let advantage = (gain(arm) - mean) / 100.0;
                for (other, s) in step.iter_mut().enumerate() {
                    *s += advantage * (f64::from(u8::from(other == arm)) - policy[other]);
                }
            }
            logits
                .iter_mut()
                .zip(step)
                .for_each(|(l, s)| *l += rate * s);
        }
        softmax(&logits)
    }

    #[test]
    fn prdp_comes_nearer_the_optimum_than_reinforce_on_as_many_samples() {
        let beta = 0.5;
        for seed in 0..3 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let reward: Vec<f64> = (0..ARMS).map(|_| 2.0 * rng.random::<f64>() - 1.0).collect();
            let logits: Vec<f64> = reward.iter().map(|r| r / beta).collect();
            let optimum = softmax(&logits);
            let ours = divergence(&prdp(&reward, beta, &mut rng), &optimum);
            let others = [0.3, 1.0, 3.0, 10.0, 30.0]
                .map(|rate| divergence(&reinforce(&reward, beta, rate, &mut rng), &optimum));
            let best = others.iter().copied().fold(f64::INFINITY, f64::min);
            println!(
                "seed {seed}: PRDP {ours:.5}, REINFORCE at its best rate {best:.5}, all {others:.4?}"
            );
            assert!(ours < best, "{ours} {others:?}");
        }
    }
}
