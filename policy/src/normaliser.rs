//! Observations brought to mean 0 and standard deviation 1.

use serde::{Deserialize, Serialize};

use crate::policy::PolicyError;
use crate::state::{StateDict, StateReader};

/// How observations are scaled before a network sees them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ObservationScaling {
    /// By mean and standard deviation of everything seen so far.
    #[default]
    Running,
    /// By given numbers: `(x - mean) / std`.
    Fixed {
        /// `[obs_dim]`.
        mean: Vec<f64>,
        /// `[obs_dim]`, above 0.
        std: Vec<f64>,
    },
    /// Not at all.
    None,
}

/// Added to a variance, so that a component that never moves is not divided by zero.
const VARIANCE_FLOOR: f64 = 1e-6;

/// Scaled values beyond this are cut: one broken sensor must not swamp a network.
const CLIP: f32 = 10.0;

/// Scales observations; with [`ObservationScaling::Running`] it also counts them (Welford 1962).
#[derive(Clone, Debug)]
pub(crate) struct Normaliser {
    scaling: ObservationScaling,
    count: u64,
    mean: Vec<f64>,
    /// Sum of squared deviations.
    deviation: Vec<f64>,
    shift: Vec<f32>,
    factor: Vec<f32>,
}

impl Normaliser {
    pub(crate) fn new(dim: usize, scaling: ObservationScaling) -> Result<Self, PolicyError> {
        let mut normaliser = Self {
            scaling,
            count: 0,
            mean: vec![0.0; dim],
            deviation: vec![0.0; dim],
            shift: vec![0.0; dim],
            factor: vec![1.0; dim],
        };
        if let ObservationScaling::Fixed { mean, std } = &normaliser.scaling {
            let right = mean.len() == dim
                && std.len() == dim
                && mean.iter().all(|m| m.is_finite())
                && std.iter().all(|s| s.is_finite() && *s > 0.0);
            if !right {
                return Err(PolicyError::Other(format!(
                    "fixed observation scaling needs {dim} finite means and {dim} standard deviations above 0"
                )));
            }
            normaliser.shift = mean.iter().map(|&m| m as f32).collect();
            normaliser.factor = std.iter().map(|&s| (1.0 / s) as f32).collect();
        }
        Ok(normaliser)
    }

    /// Counts observations, `[n, dim]`. Call [`Normaliser::refresh`] after the last.
    pub(crate) fn observe(&mut self, observation: &[f32]) {
        self.count += 1;
        for ((&x, mean), deviation) in observation
            .iter()
            .zip(&mut self.mean)
            .zip(&mut self.deviation)
        {
            let before = f64::from(x) - *mean;
            *mean += before / self.count as f64;
            *deviation += before * (f64::from(x) - *mean);
        }
    }

    /// Puts the counted mean and deviation to use.
    pub(crate) fn refresh(&mut self) {
        if self.scaling != ObservationScaling::Running || self.count < 2 {
            return;
        }
        for (i, (mean, deviation)) in self.mean.iter().zip(&self.deviation).enumerate() {
            self.shift[i] = *mean as f32;
            self.factor[i] = (1.0 / (deviation / self.count as f64 + VARIANCE_FLOOR).sqrt()) as f32;
        }
    }

    /// Appends the scaled observation to `target`.
    pub(crate) fn append(&self, observation: &[f32], target: &mut Vec<f32>) {
        if self.scaling == ObservationScaling::None {
            target.extend_from_slice(observation);
            return;
        }
        let scales = self.shift.iter().zip(&self.factor);
        target.extend(
            observation
                .iter()
                .zip(scales)
                .map(|(x, (shift, factor))| ((x - shift) * factor).clamp(-CLIP, CLIP)),
        );
    }

    pub(crate) fn save(&self, state: &mut StateDict) {
        self.save_as("normaliser", state);
    }

    pub(crate) fn save_as(&self, prefix: &str, state: &mut StateDict) {
        state.u64(&format!("{prefix}.count"), &[self.count]);
        state.f64(&format!("{prefix}.mean"), &self.mean);
        state.f64(&format!("{prefix}.deviation"), &self.deviation);
    }

    pub(crate) fn load(&mut self, state: &StateReader) -> Result<(), PolicyError> {
        self.load_as("normaliser", state)
    }

    pub(crate) fn load_as(&mut self, prefix: &str, state: &StateReader) -> Result<(), PolicyError> {
        [self.count] = state.u64(&format!("{prefix}.count"))?;
        let (mean, deviation) = (
            state.f64(&format!("{prefix}.mean"))?,
            state.f64(&format!("{prefix}.deviation"))?,
        );
        if mean.len() != self.mean.len() || deviation.len() != self.mean.len() {
            return Err(PolicyError::Other(format!(
                "the normaliser has {} components, the policy observes {}; policy.toml does not belong to this file",
                mean.len(),
                self.mean.len()
            )));
        }
        (self.mean, self.deviation) = (mean, deviation);
        self.refresh();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_scaling_gives_mean_zero_and_deviation_one() {
        let mut normaliser = Normaliser::new(2, ObservationScaling::Running).unwrap();
        let rows: Vec<[f32; 2]> = (0..1000)
            .map(|i| [(i as f32 * 0.37).sin() * 4.0 + 100.0, 7.0])
            .collect();
        rows.iter().for_each(|row| normaliser.observe(row));
        normaliser.refresh();
        let mut scaled = Vec::new();
        rows.iter()
            .for_each(|row| normaliser.append(row, &mut scaled));
        let first: Vec<f32> = scaled.iter().step_by(2).copied().collect();
        let mean = first.iter().sum::<f32>() / 1000.0;
        let variance = first.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 1000.0;
        assert!(
            mean.abs() < 1e-3 && (variance - 1.0).abs() < 1e-3,
            "{mean} {variance}"
        );
        assert!(
            scaled.iter().skip(1).step_by(2).all(|&x| x == 0.0),
            "a constant stays at zero"
        );
    }

    #[test]
    fn fixed_scaling_uses_the_given_numbers_and_refuses_zero() {
        let fixed = |std| ObservationScaling::Fixed {
            mean: vec![1.0],
            std: vec![std],
        };
        let mut normaliser = Normaliser::new(1, fixed(2.0)).unwrap();
        normaliser.observe(&[50.0]);
        normaliser.refresh();
        let mut scaled = Vec::new();
        normaliser.append(&[5.0], &mut scaled);
        assert_eq!(scaled, [2.0]);
        assert!(Normaliser::new(1, fixed(0.0)).is_err());
    }
}
