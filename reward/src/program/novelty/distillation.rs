//! [`Distillation`]: how badly a network foretells what another, random one makes of a state (RND, arXiv 1810.12894). What was
//! often seen is foretold well.

use burn::module::Module as _;
use burn::tensor::Device;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::model::RewardError;
use crate::network::{self, Descent, Network, NetworkConfig, rows, training_device, values};
use crate::store::{Tensor, Tensors, prefixed};

/// Settings of a [`Distillation`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistillationConfig {
    /// Hidden layers of the random network and of the one that foretells it.
    pub network: NetworkConfig,
    /// Numbers to foretell.
    pub outputs: usize,
    /// Step size.
    pub rate: f64,
    /// Gradient steps for each clip that is observed.
    pub passes: usize,
    /// Seed of both networks.
    pub seed: u64,
}

impl Default for DistillationConfig {
    fn default() -> Self {
        Self {
            network: NetworkConfig::default(),
            outputs: 16,
            rate: 1e-3,
            passes: 1,
            seed: 0,
        }
    }
}

/// A random network, and one that learns to foretell it where states were seen.
///
/// Inputs are centred and scaled by running statistics and cut off at ±5, as in the paper; they count from the first clip on.
pub struct Distillation {
    config: DistillationConfig,
    target: Network,
    predictor: Network,
    descent: Descent,
    scaling: Scaling,
}

impl Distillation {
    /// Networks for states of `dim` numbers.
    pub fn new(dim: usize, config: DistillationConfig) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let mut network =
            |device: &Device| Network::new(&config.network, dim, config.outputs, &mut rng, device);
        Self {
            target: network(&Device::flex()),
            predictor: network(&training_device()),
            descent: Descent::new(config.rate, 0.0),
            scaling: Scaling::new(dim),
            config,
        }
    }

    /// `e(s)`, the mean squared error of each state, `[states]`. `states` is `[states, dim]`, row-major.
    pub fn errors(&self, states: &[f64]) -> Result<Vec<f64>, RewardError> {
        let input = rows(
            &self.scaling.apply(states),
            self.scaling.dim(),
            &Device::flex(),
        );
        let off = self.target.forward(input.clone()) - self.predictor.valid().forward(input);
        let errors = (off.clone() * off).mean_dim(1);
        Ok(values(errors)?.into_iter().map(f64::from).collect())
    }

    /// Learns from states that were seen, `[states, dim]`.
    pub fn observe(&mut self, states: &[f64]) -> Result<(), RewardError> {
        if states.is_empty() {
            return Ok(());
        }
        self.scaling.observe(states);
        let scaled = self.scaling.apply(states);
        let (dim, outputs) = (self.scaling.dim(), self.config.outputs);
        let wanted = values(self.target.forward(rows(&scaled, dim, &Device::flex())))?;
        for _ in 0..self.config.passes {
            let device = training_device();
            let off = self.predictor.forward(rows(&scaled, dim, &device))
                - rows(&wanted, outputs, &device);
            let loss = (off.clone() * off).mean();
            self.predictor = self.descent.step(self.predictor.clone(), loss)?.0;
        }
        Ok(())
    }

    /// What it learned. The random network follows from the seed. How far Adam had got is not kept.
    pub(crate) fn tensors(&self) -> Result<Tensors, RewardError> {
        let mut tensors = prefixed("predictor", network::tensors(&self.predictor)?);
        let dim = self.scaling.dim();
        tensors.insert(
            "scaling.mean".into(),
            Tensor::from_f64(&[dim], &self.scaling.mean),
        );
        tensors.insert(
            "scaling.squares".into(),
            Tensor::from_f64(&[dim], &self.scaling.squares),
        );
        tensors.insert(
            "scaling.count".into(),
            Tensor::from_f64(&[1], &[self.scaling.count]),
        );
        Ok(tensors)
    }

    /// Puts back what [`Distillation::tensors`] gave.
    pub(crate) fn load(&mut self, tensors: &Tensors) -> Result<(), RewardError> {
        let predictor: Tensors = tensors
            .iter()
            .filter_map(|(name, t)| Some((name.strip_prefix("predictor.")?.to_owned(), t.clone())))
            .collect();
        self.predictor = network::load(self.predictor.clone(), &predictor)?;
        let dim = self.scaling.dim();
        let row = |name: &str, length: usize| match tensors.get(name) {
            Some(t) if t.values.len() == length => Ok(t.to_f64()),
            _ => Err(RewardError::Other(format!(
                "the tensor `{name}` is missing or of another length than {length}; learn the reward again"
            ))),
        };
        self.scaling = Scaling {
            mean: row("scaling.mean", dim)?,
            squares: row("scaling.squares", dim)?,
            count: row("scaling.count", 1)?[0],
        };
        Ok(())
    }
}

/// Running mean and squared distance from it, of each component.
struct Scaling {
    mean: Vec<f64>,
    squares: Vec<f64>,
    count: f64,
}

impl Scaling {
    fn new(dim: usize) -> Self {
        Self {
            mean: vec![0.0; dim],
            squares: vec![0.0; dim],
            count: 0.0,
        }
    }

    fn dim(&self) -> usize {
        self.mean.len()
    }

    fn observe(&mut self, states: &[f64]) {
        for state in states.chunks_exact(self.dim()) {
            self.count += 1.0;
            for (i, value) in state.iter().enumerate() {
                let off = value - self.mean[i];
                self.mean[i] += off / self.count;
                self.squares[i] += off * (value - self.mean[i]);
            }
        }
    }

    fn apply(&self, states: &[f64]) -> Vec<f32> {
        let scaled = states.iter().enumerate().map(|(i, value)| {
            let k = i % self.dim();
            let deviation = (self.squares[k] / self.count.max(1.0)).sqrt();
            let deviation = if deviation > 1e-8 { deviation } else { 1.0 };
            ((value - self.mean[k]) / deviation).clamp(-5.0, 5.0) as f32
        });
        scaled.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_foretold_and_what_was_not_is_not() {
        let config = DistillationConfig {
            passes: 300,
            rate: 3e-3,
            ..DistillationConfig::default()
        };
        let mut memory = Distillation::new(2, config.clone());
        let seen: Vec<f64> = (0..40)
            .flat_map(|i| [f64::from(i % 8) / 8.0, f64::from(i / 8) / 5.0])
            .collect();
        let unseen = [4.0, -4.0, -3.0, 5.0];
        let mean = |v: Vec<f64>| v.iter().sum::<f64>() / v.len() as f64;
        let before = mean(memory.errors(&seen).unwrap());
        memory.observe(&seen).unwrap();
        let (known, strange) = (
            mean(memory.errors(&seen).unwrap()),
            mean(memory.errors(&unseen).unwrap()),
        );
        assert!(
            known < 0.1 * before && strange > 10.0 * known,
            "{before} {known} {strange}"
        );

        let mut copy = Distillation::new(2, config);
        copy.load(&memory.tensors().unwrap()).unwrap();
        for (a, b) in copy
            .errors(&unseen)
            .unwrap()
            .iter()
            .zip(memory.errors(&unseen).unwrap())
        {
            assert!((a - b).abs() < 1e-5);
        }
    }
}
