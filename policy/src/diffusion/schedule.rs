//! [`NoiseSchedule`]: how much of an action is left after `t` steps of noise, and the way back.
//!
//! ```text
//! x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise          abar_t = prod_{s <= t} (1 - beta_s)
//! ```

use serde::{Deserialize, Serialize};

use crate::policy::PolicyError;

/// Growth of the noise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    /// `abar(u) = cos²((u + 0.008) / 1.008 · pi / 2)`, `beta_t = min(1 - abar((t+1)/T) / abar(t/T), 0.999)` (Nichol and Dhariwal
    /// 2021, arXiv:2102.09672, equation 17); the choice of Diffusion Policy.
    #[default]
    SquaredcosCapV2,
    /// `beta` from 1e-4 to 0.02 in equal steps (Ho et al. 2020, arXiv:2006.11239).
    Linear,
}

/// What the network says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// The noise.
    #[default]
    Epsilon,
    /// The clean sample.
    Sample,
}

/// The way from noise to action.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Sampler {
    /// Draws from the posterior `q(x_{t-1} | x_t, x_0)` with `x_0` as predicted (Ho et al. 2020, equation 7).
    Ddpm,
    /// Song et al. 2020 (arXiv:2010.02502), equation 12: no noise at `eta` 0, as much as [`Sampler::Ddpm`] at 1.
    Ddim {
        /// Share of the posterior's noise.
        eta: f64,
    },
}

/// The numbers of one step back.
///
/// With `x_0 = clean_x x + clean_out out`, kept within -1..=1, and the noise that belongs to the network's own word,
/// `mean = mean_clean x_0 + mean_x x + mean_out out`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepBack {
    /// Step of the schedule that the latents stand at.
    pub from: usize,
    clean_x: f64,
    clean_out: f64,
    mean_clean: f64,
    mean_x: f64,
    mean_out: f64,
    /// Standard deviation of what is drawn.
    pub std: f64,
}

impl StepBack {
    /// The clean sample that the network's output stands for, within -1..=1.
    pub fn clean(&self, x: f32, out: f32) -> f32 {
        ((self.clean_x * f64::from(x) + self.clean_out * f64::from(out)) as f32).clamp(-1.0, 1.0)
    }

    /// Mean of the next latent and its derivative by the network's output.
    pub fn mean(&self, x: f32, out: f32) -> (f32, f32) {
        let (x, out) = (f64::from(x), f64::from(out));
        let clean = self.clean_x * x + self.clean_out * out;
        let slope = if clean.abs() <= 1.0 {
            self.clean_out
        } else {
            0.0
        };
        let mean = self.mean_clean * clean.clamp(-1.0, 1.0) + self.mean_x * x + self.mean_out * out;
        (
            mean as f32,
            (self.mean_clean * slope + self.mean_out) as f32,
        )
    }
}

/// How noise grows over `T` steps.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseSchedule {
    prediction: Prediction,
    /// `abar_t`, `[T]`.
    kept: Vec<f64>,
}

impl NoiseSchedule {
    /// A schedule of `steps` steps.
    pub fn new(kind: BetaSchedule, steps: usize, prediction: Prediction) -> Self {
        let beta = |t: usize| match kind {
            BetaSchedule::SquaredcosCapV2 => {
                let kept = |u: f64| {
                    ((u + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2)
                        .cos()
                        .powi(2)
                };
                let steps = steps as f64;
                (1.0 - kept((t as f64 + 1.0) / steps) / kept(t as f64 / steps)).min(0.999)
            }
            BetaSchedule::Linear => 1e-4 + (0.02 - 1e-4) * t as f64 / (steps.max(2) - 1) as f64,
        };
        let kept = (0..steps)
            .scan(1.0, |kept, t| {
                *kept *= 1.0 - beta(t);
                Some(*kept)
            })
            .collect();
        Self { prediction, kept }
    }

    /// Steps of the schedule.
    pub fn steps(&self) -> usize {
        self.kept.len()
    }

    /// `abar_t` of every step.
    pub fn kept(&self) -> &[f64] {
        &self.kept
    }

    /// `x_t` of a clean value.
    pub fn add_noise(&self, clean: f32, noise: f32, t: usize) -> f32 {
        let kept = self.kept[t];
        (kept.sqrt() * f64::from(clean) + (1.0 - kept).sqrt() * f64::from(noise)) as f32
    }

    /// What the network should say.
    pub fn target(&self, clean: f32, noise: f32) -> f32 {
        match self.prediction {
            Prediction::Epsilon => noise,
            Prediction::Sample => clean,
        }
    }

    /// The steps back from pure noise in `count` visits, evenly spaced and ending at step 0.
    pub fn path(&self, sampler: Sampler, count: usize) -> Result<Vec<StepBack>, PolicyError> {
        if count == 0 || count > self.steps() {
            return Err(PolicyError::Other(format!(
                "{count} denoising steps do not fit a schedule of {}",
                self.steps()
            )));
        }
        let stride = self.steps() / count;
        let visits: Vec<usize> = (0..count).rev().map(|i| i * stride).collect();
        Ok((0..count)
            .map(|i| self.step_back(sampler, visits[i], visits.get(i + 1).copied()))
            .collect())
    }

    /// The deterministic steps from where the latents stand after visit `done` of `path`, at most `budget` of them.
    pub fn shortcut(&self, path: &[StepBack], done: usize, budget: usize) -> Vec<StepBack> {
        let left: Vec<usize> = path.iter().skip(done).map(|step| step.from).collect();
        let count = left.len().min(budget);
        // The first is where the latents stand; the others are spread over what is left.
        let visits: Vec<usize> = (0..count).map(|i| left[i * left.len() / count]).collect();
        let deterministic = Sampler::Ddim { eta: 0.0 };
        (0..count)
            .map(|i| self.step_back(deterministic, visits[i], visits.get(i + 1).copied()))
            .collect()
    }

    /// One step back from `t` to `to`, or to the clean sample.
    pub fn step_back(&self, sampler: Sampler, t: usize, to: Option<usize>) -> StepBack {
        let now = self.kept[t];
        let next = to.map_or(1.0, |to| self.kept[to]);
        let (signal, noise) = (now.sqrt(), (1.0 - now).sqrt());
        let (clean_x, clean_out) = match self.prediction {
            Prediction::Epsilon => (1.0 / signal, -noise / signal),
            Prediction::Sample => (0.0, 1.0),
        };
        let variance = (1.0 - next) / (1.0 - now) * (1.0 - now / next);
        let (mean_clean, mean_x, mean_out, std) = match sampler {
            Sampler::Ddpm => {
                let alpha = now / next;
                let of_clean = next.sqrt() * (1.0 - alpha) / (1.0 - now);
                let of_x = alpha.sqrt() * (1.0 - next) / (1.0 - now);
                (of_clean, of_x, 0.0, variance.max(0.0).sqrt())
            }
            Sampler::Ddim { eta } => {
                let std = eta * variance.max(0.0).sqrt();
                let direction = (1.0 - next - std * std).max(0.0).sqrt();
                match self.prediction {
                    Prediction::Epsilon => (next.sqrt(), 0.0, direction, std),
                    // noise = (x - sqrt(abar) x_0) / sqrt(1 - abar)
                    Prediction::Sample => (
                        next.sqrt() - direction * signal / noise,
                        direction / noise,
                        0.0,
                        std,
                    ),
                }
            }
        };
        StepBack {
            from: t,
            clean_x,
            clean_out,
            mean_clean,
            mean_x,
            mean_out,
            std,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: BetaSchedule) -> NoiseSchedule {
        NoiseSchedule::new(kind, 100, Prediction::Epsilon)
    }

    #[test]
    fn the_cosine_schedule_is_the_published_closed_form() {
        // Without the cap the product telescopes to abar((t + 1) / T) / abar(0).
        let f = |u: f64| {
            ((u + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2)
                .cos()
                .powi(2)
        };
        let schedule = schedule(BetaSchedule::SquaredcosCapV2);
        for t in [0, 1, 10, 50, 97, 98] {
            let expected = f((t as f64 + 1.0) / 100.0) / f(0.0);
            assert!((schedule.kept()[t] - expected).abs() < 1e-12, "{t}");
        }
        // The last beta is capped at 0.999.
        let ratio = schedule.kept()[99] / schedule.kept()[98];
        assert!((ratio - 1e-3).abs() < 1e-12, "{ratio}");
    }

    #[test]
    fn the_linear_schedule_is_the_published_one() {
        let kept = NoiseSchedule::new(BetaSchedule::Linear, 1000, Prediction::Epsilon);
        assert!((kept.kept()[0] - 0.9999).abs() < 1e-12);
        // Nothing but noise is left: 4.0e-5 of the variance (Ho et al. 2020, section 4).
        let last = kept.kept()[999];
        assert!((last - 4.036e-5).abs() < 1e-7, "{last}");
    }

    #[test]
    fn ddim_with_eta_one_is_ddpm_where_nothing_is_cut() {
        for prediction in [Prediction::Epsilon, Prediction::Sample] {
            let schedule = NoiseSchedule::new(BetaSchedule::SquaredcosCapV2, 50, prediction);
            let ddpm = schedule.path(Sampler::Ddpm, 10).unwrap();
            let ddim = schedule.path(Sampler::Ddim { eta: 1.0 }, 10).unwrap();
            for (a, b) in ddpm.iter().zip(&ddim) {
                assert!((a.std - b.std).abs() < 1e-12);
                // x made of a clean 0.3 and noise 0.2, and a network that knows both.
                let x = schedule.add_noise(0.3, 0.2, a.from);
                let out = schedule.target(0.3, 0.2);
                assert!((a.clean(x, out) - 0.3).abs() < 1e-4);
                let (left, right) = (a.mean(x, out).0, b.mean(x, out).0);
                assert!((left - right).abs() < 1e-4, "{} {left} {right}", a.from);
            }
        }
    }

    #[test]
    fn a_network_that_knows_the_noise_is_led_to_the_clean_sample() {
        for prediction in [Prediction::Epsilon, Prediction::Sample] {
            let schedule = NoiseSchedule::new(BetaSchedule::SquaredcosCapV2, 100, prediction);
            for count in [1, 5, 10, 100] {
                let path = schedule.path(Sampler::Ddim { eta: 0.0 }, count).unwrap();
                let mut x = schedule.add_noise(-0.6, 0.8, path[0].from);
                for step in &path {
                    x = step.mean(x, schedule.target(-0.6, 0.8)).0;
                }
                assert!((x + 0.6).abs() < 1e-4, "{count}: {x}");
            }
        }
    }

    #[test]
    fn slopes_agree_with_finite_differences_on_both_sides_of_the_cut() {
        let schedule = schedule(BetaSchedule::SquaredcosCapV2);
        for sampler in [Sampler::Ddpm, Sampler::Ddim { eta: 0.5 }] {
            for step in schedule.path(sampler, 10).unwrap() {
                for (x, out) in [(0.1, 0.2), (0.4, -2.0), (-3.0, 0.5)] {
                    let (up, down) = (step.mean(x, out + 1e-2).0, step.mean(x, out - 1e-2).0);
                    let slope = step.mean(x, out).1;
                    assert!(((up - down) / 2e-2 - slope).abs() < 1e-3 * (1.0 + slope.abs()));
                }
            }
        }
    }

    #[test]
    fn a_shortcut_starts_where_the_latents_are_and_keeps_its_budget() {
        let schedule = schedule(BetaSchedule::SquaredcosCapV2);
        let path = schedule.path(Sampler::Ddim { eta: 1.0 }, 10).unwrap();
        let visits = |done, budget| -> Vec<usize> {
            schedule
                .shortcut(&path, done, budget)
                .iter()
                .map(|s| s.from)
                .collect()
        };
        assert_eq!(visits(1, 4), [80, 60, 40, 20]);
        assert_eq!(visits(8, 6), [10, 0]);
        assert!(visits(10, 6).is_empty());
        assert!(schedule.path(Sampler::Ddpm, 0).is_err());
        assert!(schedule.path(Sampler::Ddpm, 101).is_err());
    }
}
