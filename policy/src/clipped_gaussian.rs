//! A Gaussian whose draws are cut off at `-1..=1`, with the likelihood of what comes out: what lies beyond a border has the probability
//! of the tail there (Fujita and Maeda 2018, "Clipped Action Policy Gradient", arXiv:1802.07564).
//!
//! `log p(a) = log N(a; mean, std)` inside, `log Q((1 - mean) / std)` at 1, `log Q((1 + mean) / std)` at -1, `Q` the upper tail.

const HALF_LN_TAU: f32 = 0.918_938_5;

/// Of one component.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Likelihood {
    /// `log p(a)`.
    pub(crate) log_prob: f32,
    /// Its derivative by the mean.
    pub(crate) by_mean: f32,
    /// Its derivative by `log std`.
    pub(crate) by_log_std: f32,
}

/// Of a component of an action in `-1..=1`.
pub(crate) fn likelihood(action: f32, mean: f32, log_std: f32) -> Likelihood {
    let std = log_std.exp();
    if action.abs() < 1.0 {
        let z = (action - mean) / std;
        return Likelihood {
            log_prob: -0.5 * z * z - log_std - HALF_LN_TAU,
            by_mean: z / std,
            by_log_std: z * z - 1.0,
        };
    }
    let side = action.signum();
    let distance = (1.0 - side * mean) / std;
    let (log_tail, hazard) = tail(distance);
    Likelihood {
        log_prob: log_tail,
        by_mean: side * hazard / std,
        by_log_std: hazard * distance,
    }
}

/// `log Q(x)` and `-Q'(x) / Q(x)`.
fn tail(x: f32) -> (f32, f32) {
    let x = f64::from(x);
    // Beyond this the tail is below what an f64 holds; its logarithm is that of the leading terms to eight digits.
    if x > 30.0 {
        let hazard = x + 1.0 / x;
        let log_density = -0.5 * x * x - f64::from(HALF_LN_TAU);
        return ((log_density - hazard.ln()) as f32, hazard as f32);
    }
    let tail = 0.5 * libm::erfc(x * std::f64::consts::FRAC_1_SQRT_2);
    let density = (-0.5 * x * x - f64::from(HALF_LN_TAU)).exp();
    (tail.ln() as f32, (density / tail) as f32)
}

/// Entropy before cutting off, of one component.
pub(crate) fn entropy(log_std: f32) -> f32 {
    log_std + HALF_LN_TAU + 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_inside_and_at_the_borders_is_everything() {
        for (mean, log_std) in [(0.0f32, 0.0f32), (0.9, -1.0), (-0.99, 0.5)] {
            let n = 200_000;
            let inside: f64 = (0..n)
                .map(|i| {
                    let a = -1.0 + 2.0 * (i as f32 + 0.5) / n as f32;
                    f64::from(likelihood(a, mean, log_std).log_prob).exp() * 2.0 / f64::from(n)
                })
                .sum();
            let borders: f64 = [-1.0, 1.0]
                .map(|a| f64::from(likelihood(a, mean, log_std).log_prob).exp())
                .iter()
                .sum();
            assert!((inside + borders - 1.0).abs() < 1e-4, "{inside} {borders}");
        }
    }

    #[test]
    fn derivatives_are_finite_differences() {
        let step = 1e-2f32;
        for action in [-1.0, -0.3, 0.8, 1.0] {
            for (mean, log_std) in [(0.2, -0.5), (-0.7, 0.3), (0.95, -1.5)] {
                let found = likelihood(action, mean, log_std);
                let slope =
                    |up: Likelihood, down: Likelihood| (up.log_prob - down.log_prob) / (2.0 * step);
                let by_mean = slope(
                    likelihood(action, mean + step, log_std),
                    likelihood(action, mean - step, log_std),
                );
                let by_log_std = slope(
                    likelihood(action, mean, log_std + step),
                    likelihood(action, mean, log_std - step),
                );
                let near = |a: f32, b: f32| (a - b).abs() < 5e-3 * (1.0 + b.abs());
                assert!(near(found.by_mean, by_mean), "{action} {mean}: {found:?}");
                assert!(near(found.by_log_std, by_log_std), "{action}: {found:?}");
            }
        }
    }

    #[test]
    fn far_tails_stay_numbers_and_meet_the_near_ones() {
        let (near, hazard) = tail(29.999);
        let (far, far_hazard) = tail(30.001);
        assert!((near - far).abs() < 0.1 && (hazard - far_hazard).abs() < 0.01);
        let found = likelihood(1.0, -1.0, -5.0);
        assert!(
            found.log_prob.is_finite() && found.by_mean.is_finite() && found.by_log_std.is_finite()
        );
    }
}
