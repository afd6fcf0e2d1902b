//! [`Preconditioner`]: pays less where the world answers steeply, for there a small change of what is done changes what comes of
//! it, and the reward's smoothness is lost (SAM, arXiv 2006.16785, pessimistic reward preconditioning).
//!
//! ```text
//! r' = η r      η = max(0.7, exp(-max(0, ‖∇f(s, a)‖ - 9)² / s))
//! ```
//!
//! with a learned model `f` of the next state. Two readings are ours: the norm is that of all derivatives (Frobenius), in
//! standardised units, and `s` is the running standard deviation of the squared excess.

use burn::module::Module as _;
use burn::tensor::Device;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rapport_perception::Features;
use serde::{Deserialize, Serialize};

use super::discriminator::draw;
use super::lipschitz::Layers;
use crate::model::RewardError;
use crate::network::{Activation, Descent, Network, NetworkConfig, rows, training_device, values};
use crate::progress::Standard;

/// Settings of a [`Preconditioner`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PreconditionConfig {
    /// The model of the next state.
    pub network: NetworkConfig,
    /// Steepness that costs nothing.
    pub bound: f64,
    /// Least share of the reward that is paid.
    pub least: f64,
    /// Transitions in a batch.
    pub batch: usize,
    /// Transitions that are remembered, newest.
    pub memory: usize,
    /// Adam's step size.
    pub rate: f64,
}

impl Default for PreconditionConfig {
    fn default() -> Self {
        Self {
            network: NetworkConfig {
                hidden: vec![100, 100],
                activation: Activation::LeakyRelu,
            },
            bound: 9.0,
            least: 0.7,
            batch: 64,
            memory: 100_000,
            rate: 1e-3,
        }
    }
}

impl PreconditionConfig {
    /// Refuses settings that nothing can be learned with.
    pub fn validate(&self) -> Result<(), RewardError> {
        if self.batch == 0 || self.memory == 0 || self.network.hidden.contains(&0) {
            return Err(RewardError::Other(
                "precondition.batch, memory and the widths of its layers must be at least 1".into(),
            ));
        }
        let fine = self.bound >= 0.0
            && self.rate > 0.0
            && self.rate.is_finite()
            && (0.0..=1.0).contains(&self.least);
        if !fine {
            return Err(RewardError::Other(format!(
                "precondition.bound is {}, rate {} and least {}; give a bound not below 0, a rate above it and a share in 0..=1",
                self.bound, self.rate, self.least
            )));
        }
        Ok(())
    }
}

/// Learns what comes next, and says what share of a reward to pay. Meant for rewards above zero
/// ([`RewardForm::Survival`](super::RewardForm::Survival)): a share of one below zero is more, not less.
pub struct Preconditioner {
    config: PreconditionConfig,
    inputs: Standard,
    states: Standard,
    /// Standardised state and action, then standardised next state, `[transitions, width]`.
    seen: Vec<f32>,
    oldest: usize,
    network: Network,
    descent: Descent,
    rng: ChaCha8Rng,
    /// Count, mean and squared deviations of the squared excess.
    moments: (f64, f64, f64),
}

impl Preconditioner {
    /// The scale is that of some states, `[steps, state]`, and what was done there, `[steps, action]`: those of the
    /// demonstrations. Fails without any and when their numbers differ.
    pub fn new(
        states: &Features,
        actions: &Features,
        config: &PreconditionConfig,
        seed: u64,
    ) -> Result<Self, RewardError> {
        config.validate()?;
        let both = joined(states, actions)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let network = Network::new(
            &config.network,
            both.dim(),
            states.dim(),
            &mut rng,
            &training_device(),
        );
        Ok(Self {
            inputs: Standard::fit(both.dim(), [&both].into_iter()),
            states: Standard::fit(states.dim(), [states].into_iter()),
            seen: Vec::new(),
            oldest: 0,
            network,
            descent: Descent::new(config.rate, 0.0),
            rng,
            moments: (0.0, 0.0, 0.0),
            config: config.clone(),
        })
    }

    /// Remembers transitions, in place of the oldest once memory is full.
    pub fn observe(
        &mut self,
        states: &Features,
        actions: &Features,
        next: &Features,
    ) -> Result<(), RewardError> {
        let both = self.checked(states, actions)?;
        if next.dim() != states.dim() || next.len() != states.len() || !finite(next) {
            return Err(RewardError::Other(format!(
                "{} next states of {} numbers do not go with {} states of {}, or one is not finite",
                next.len(),
                next.dim(),
                states.len(),
                states.dim()
            )));
        }
        let width = self.inputs.dim() + self.states.dim();
        for (both, next) in both.rows().zip(next.rows()) {
            let row = [self.inputs.apply(both), self.states.apply(next)].concat();
            if self.seen.len() < self.config.memory * width {
                self.seen.extend(row);
            } else {
                self.seen[self.oldest * width..][..width].copy_from_slice(&row);
                self.oldest = (self.oldest + 1) % self.config.memory;
            }
        }
        Ok(())
    }

    /// Takes some steps down the gradient of the model's squared error; gives its mean. Fails when nothing was observed.
    pub fn update(&mut self, count: usize) -> Result<f64, RewardError> {
        if self.seen.is_empty() {
            return Err(RewardError::Other(
                "there are no transitions to learn the world from; observe some before updating"
                    .into(),
            ));
        }
        let device = training_device();
        let (inputs, states) = (self.inputs.dim(), self.states.dim());
        let mut mean = 0.0;
        for _ in 0..count {
            let batch = draw(
                &self.seen,
                inputs + states,
                self.config.batch,
                &mut self.rng,
            );
            let batch = rows(&batch, inputs + states, &device);
            let next = batch.clone().narrow(1, inputs, states);
            let off = self.network.forward(batch.narrow(1, 0, inputs)) - next;
            let (network, loss) = self
                .descent
                .step(self.network.clone(), off.square().mean())?;
            self.network = network;
            mean += loss / count as f64;
        }
        Ok(mean)
    }

    /// η of every step; the running statistics take these steps in first.
    pub fn shares(
        &mut self,
        states: &Features,
        actions: &Features,
    ) -> Result<Vec<f64>, RewardError> {
        let both = self.checked(states, actions)?;
        if both.is_empty() {
            return Ok(Vec::new());
        }
        let layers = Layers::of(&self.network.valid(), self.config.network.activation);
        let scaled = self.inputs.apply(both.as_slice());
        let steep = values(layers.jacobian_norms(rows(&scaled, both.dim(), &Device::flex())))?;
        let excess: Vec<f64> = steep
            .into_iter()
            .map(|s| (f64::from(s) - self.config.bound).max(0.0).powi(2))
            .collect();
        if let Some(step) = excess.iter().position(|e| !e.is_finite()) {
            return Err(RewardError::NotFinite {
                what: "the slope of the model of the world".into(),
                step,
            });
        }
        for e in &excess {
            let (count, mean, squares) = &mut self.moments;
            *count += 1.0;
            let off = e - *mean;
            *mean += off / *count;
            *squares += off * (e - *mean);
        }
        let (count, _, squares) = self.moments;
        let deviation = (squares / count).sqrt().max(f64::EPSILON);
        Ok(excess
            .into_iter()
            .map(|e| (-e / deviation).exp().max(self.config.least))
            .collect())
    }

    fn checked(&self, states: &Features, actions: &Features) -> Result<Features, RewardError> {
        let both = joined(states, actions)?;
        if states.dim() != self.states.dim() || both.dim() != self.inputs.dim() {
            return Err(RewardError::Other(format!(
                "states of {} and actions of {} numbers do not fit a model of {} and {}",
                states.dim(),
                actions.dim(),
                self.states.dim(),
                self.inputs.dim() - self.states.dim()
            )));
        }
        Ok(both)
    }
}

fn finite(features: &Features) -> bool {
    features.as_slice().iter().all(|v| v.is_finite())
}

/// States with actions behind them.
fn joined(states: &Features, actions: &Features) -> Result<Features, RewardError> {
    if states.is_empty() || states.len() != actions.len() {
        return Err(RewardError::Other(format!(
            "{} states do not go with {} actions; give as many of both, and at least one",
            states.len(),
            actions.len()
        )));
    }
    if !finite(states) || !finite(actions) {
        return Err(RewardError::Other(
            "a state or an action is not finite; leave that step out".into(),
        ));
    }
    let both = states.rows().zip(actions.rows());
    let values = both.flat_map(|(s, a)| s.iter().chain(a)).copied().collect();
    Ok(Features::new(states.dim() + actions.dim(), values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt as _;

    /// One state and one action; above zero the world multiplies what is done by `steep`.
    fn world(steep: f32, seed: u64) -> [Features; 3] {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut columns = [const { Vec::new() }; 3];
        for _ in 0..200 {
            let (s, a) = (
                rng.random_range(-1.0f32..1.0),
                rng.random_range(-1.0f32..1.0),
            );
            let gain = if s > 0.0 { steep } else { 0.5 };
            for (column, v) in columns.iter_mut().zip([s, a, s + gain * a]) {
                column.push(v);
            }
        }
        columns.map(|c| Features::new(1, c))
    }

    #[test]
    fn less_is_paid_where_the_world_answers_steeply() {
        let [states, actions, next] = world(12.0, 1);
        let config = PreconditionConfig {
            network: NetworkConfig {
                hidden: vec![32],
                activation: Activation::LeakyRelu,
            },
            bound: 4.0,
            rate: 1e-2,
            ..Default::default()
        };
        let mut model = Preconditioner::new(&states, &actions, &config, 2).unwrap();
        model.observe(&states, &actions, &next).unwrap();
        model.update(300).unwrap();
        let at = |s: f32| (Features::new(1, vec![s; 5]), Features::new(1, vec![0.2; 5]));
        model.shares(&states, &actions).unwrap();
        let (calm, steep) = (at(-0.7), at(0.7));
        let calm = model.shares(&calm.0, &calm.1).unwrap()[0];
        let steep = model.shares(&steep.0, &steep.1).unwrap()[0];
        assert!(
            calm > 0.99 && (0.7..0.95).contains(&steep),
            "{calm} {steep}"
        );
    }

    #[test]
    fn a_calm_world_is_paid_in_full_and_misfits_are_refused() {
        let [states, actions, next] = world(0.5, 3);
        let config = PreconditionConfig::default();
        let mut model = Preconditioner::new(&states, &actions, &config, 0).unwrap();
        assert!(model.update(1).is_err());
        model.observe(&states, &actions, &next).unwrap();
        model.update(20).unwrap();
        let shares = model.shares(&states, &actions).unwrap();
        assert!(shares.iter().all(|s| *s == 1.0));
        let wide = Features::new(2, vec![0.0; 400]);
        assert!(model.shares(&wide, &actions).is_err());
        assert!(model.observe(&states, &actions, &wide).is_err());
        let broken = Features::new(1, vec![f32::NAN; 200]);
        assert!(model.shares(&broken, &actions).is_err());
    }
}
