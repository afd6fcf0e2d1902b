//! [`Adversary`]: a discriminator that learns while the policy does (Blondé, Strasser and Kalousis, SAM, arXiv 2006.16785; an
//! off-policy descendant of GAIL, arXiv 1606.03476).
//!
//! ```text
//! loss = E_rollout softplus(z) + E_demonstration (softplus(z) - y z) - w_H E H(σ(z)) + λ E max(0, ‖∇_x z‖ - k)²    y ~ U(0.7, 1.2)
//! ```
//!
//! The last part is taken between demonstrations and rollouts, at one point on the line between two drawn ones. It is one-sided: only
//! steepness costs. The gradient is exact, see `lipschitz`.

use std::sync::Arc;

use burn::module::Module as _;
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::{EncoderSpec, Features};

use super::config::{Absorbing, AdversaryConfig};
use super::lipschitz::{Layers, PowerIteration, norms};
use super::reward::{FrozenAdversary, Relabel, Steps};
use crate::model::{Clip, Context, RewardError, RewardModel, Signal};
use crate::network::{Descent, Network, numbered, rows, training_device, values};
use crate::progress::{Standard, check_clips, stable_softplus};

/// Power iteration steps before the layers are used as they are.
const SETTLE: usize = 20;

/// How the last updates went.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UpdateReport {
    /// Mean loss.
    pub loss: f64,
    /// Mean `σ(z)` of demonstrated steps in the last batch.
    pub demonstrations: f64,
    /// Mean `σ(z)` of rollouts in it.
    pub rollouts: f64,
    /// Mean `‖∇_x z‖` at those rollouts, in standardised inputs.
    pub gradient: f64,
}

/// A head whose negatives are the policy's rollouts.
pub struct Adversary {
    pub(super) config: AdversaryConfig,
    encoder: EncoderSpec,
    standard: Standard,
    /// Rows as the network takes them, `[steps, width]`.
    demonstrations: Vec<f32>,
    pub(super) rollouts: Vec<f32>,
    /// Where the next row of rollouts goes once memory is full.
    pub(super) oldest: usize,
    pub(super) width: usize,
    pub(super) network: Network,
    pub(super) power: PowerIteration,
    pub(super) descent: Descent,
    pub(super) rng: ChaCha8Rng,
    pub(super) now: Arc<FrozenAdversary>,
}

impl Adversary {
    /// For demonstrations, whose inputs also set the scale. Fails without any, without a column of the settings, and on values
    /// that are not finite.
    pub fn new(
        encoder: &EncoderSpec,
        demonstrations: &[Clip],
        config: &AdversaryConfig,
        seed: u64,
    ) -> Result<Self, RewardError> {
        config.validate()?;
        check_clips(demonstrations.iter().map(|c| &c.features), encoder, 1, 1)?;
        let mut steps: Vec<Steps> = demonstrations
            .iter()
            .map(|clip| Steps::from_clip(clip, &config.columns))
            .collect::<Result<_, _>>()?;
        let dim = steps[0].inputs.dim();
        let standard = Standard::fit(dim, steps.iter().map(|s| &s.inputs));
        if config.absorbing == Absorbing::Indicator {
            steps.extend(demonstrations.iter().map(|_| Steps {
                inputs: Features::new(dim, vec![0.0; dim]),
                absorbing: vec![true],
            }));
        }
        let mut demonstrated = Vec::new();
        for steps in &steps {
            demonstrated.extend(steps.rows(&standard, config.absorbing)?);
        }
        let width = dim + usize::from(config.absorbing == Absorbing::Indicator);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let network = numbered(Network::new(
            &config.network,
            width,
            1,
            &mut rng,
            &training_device(),
        ));
        let mut power = PowerIteration::new(&network, &mut rng);
        let now = Arc::new(freeze(&network, &mut power, config, encoder, &standard)?);
        Ok(Self {
            demonstrations: demonstrated,
            rollouts: Vec::new(),
            oldest: 0,
            width,
            network,
            power,
            descent: Descent::new(config.rate, 0.0),
            rng,
            now,
            standard,
            encoder: encoder.clone(),
            config: config.clone(),
        })
    }

    /// Remembers steps of the policy, in place of the oldest once memory is full.
    pub fn observe(&mut self, steps: &Steps) -> Result<(), RewardError> {
        let fresh = steps.rows(&self.standard, self.config.absorbing)?;
        for row in fresh.chunks_exact(self.width) {
            if self.rollouts.len() < self.config.memory * self.width {
                self.rollouts.extend_from_slice(row);
            } else {
                self.rollouts[self.oldest * self.width..][..self.width].copy_from_slice(row);
                self.oldest = (self.oldest + 1) % self.config.memory;
            }
        }
        Ok(())
    }

    /// Takes some steps down the gradient. Fails when no rollout was observed yet.
    pub fn update(&mut self, count: usize) -> Result<UpdateReport, RewardError> {
        if self.rollouts.is_empty() {
            return Err(RewardError::Other(
                "an adversary has nothing to tell demonstrations from; observe rollouts before updating"
                    .into(),
            ));
        }
        let device = training_device();
        let mut report = UpdateReport::default();
        for step in 0..count {
            let good = draw(
                &self.demonstrations,
                self.width,
                self.config.batch,
                &mut self.rng,
            );
            let bad = draw(&self.rollouts, self.width, self.config.batch, &mut self.rng);
            let between: Vec<f32> = good
                .chunks_exact(self.width)
                .zip(bad.chunks_exact(self.width))
                .flat_map(|(good, bad)| {
                    let share: f32 = self.rng.random();
                    good.iter()
                        .zip(bad)
                        .map(move |(g, b)| share * g + (1.0 - share) * b)
                })
                .collect();
            let loss = self.loss(&good, &bad, &between, &device)?;
            let network = self.network.clone();
            let (network, value) = self.descent.step(network, loss)?;
            self.network = network;
            report.loss += value / count as f64;
            if step + 1 == count {
                self.now = Arc::new(self.freeze()?);
                let share = |batch: &[f32]| -> Result<f64, RewardError> {
                    let z = self
                        .now
                        .network()
                        .forward(rows(batch, self.width, &Device::flex()));
                    Ok(f64::from(values(sigmoid(z).mean())?[0]))
                };
                report.demonstrations = share(&good)?;
                report.rollouts = share(&bad)?;
                let slopes = self.slopes(&bad)?;
                report.gradient = slopes.iter().sum::<f64>() / slopes.len() as f64;
            }
        }
        Ok(report)
    }

    /// `‖∇_x z‖` of every step, in standardised inputs: what [`AdversaryConfig::bound`] bounds.
    pub fn gradient_norms(&self, steps: &Steps) -> Result<Vec<f64>, RewardError> {
        self.slopes(&steps.rows(&self.standard, self.config.absorbing)?)
    }

    /// The discriminator as it was after the newest [`Adversary::update`], without freezing it anew.
    pub fn newest(&self) -> Arc<FrozenAdversary> {
        Arc::clone(&self.now)
    }

    /// The discriminator as it is now.
    pub fn freeze(&self) -> Result<FrozenAdversary, RewardError> {
        let mut power = self.power.clone();
        freeze(
            &self.network,
            &mut power,
            &self.config,
            &self.encoder,
            &self.standard,
        )
    }

    fn slopes(&self, rows_of: &[f32]) -> Result<Vec<f64>, RewardError> {
        let layers = Layers::of(self.now.network(), self.config.network.activation);
        let (_, gradient) = layers.with_gradient(rows(rows_of, self.width, &Device::flex()));
        Ok(values(norms(gradient))?
            .into_iter()
            .map(f64::from)
            .collect())
    }

    fn loss(
        &mut self,
        good: &[f32],
        bad: &[f32],
        between: &[f32],
        device: &Device,
    ) -> Result<Tensor<1>, RewardError> {
        let config = &self.config;
        let mut layers = Layers::of(&self.network, config.network.activation);
        if config.lipschitz.spectral() {
            layers = self.power.normalise(layers, config.power_steps)?;
        }
        let good = layers.forward(rows(good, self.width, device));
        let bad = layers.forward(rows(bad, self.width, device));
        let targets: Vec<f32> = (0..config.batch)
            .map(|_| {
                let share: f64 = self.rng.random();
                (config.smooth_from + share * (config.smooth_to - config.smooth_from)) as f32
            })
            .collect();
        let targets = TensorData::new(targets, [config.batch, 1]);
        let targets = Tensor::<2>::from_data(targets, device);
        let mut loss = stable_softplus(bad.clone()).mean()
            + (stable_softplus(good.clone()) - targets * good.clone()).mean();
        if config.entropy > 0.0 {
            let all = Tensor::cat(vec![good, bad], 0);
            let entropy = stable_softplus(all.clone()) - all.clone() * sigmoid(all);
            loss = loss - entropy.mean() * config.entropy;
        }
        if config.lipschitz.penalised() && config.penalty > 0.0 {
            let (_, gradient) = layers.with_gradient(rows(between, self.width, device));
            let excess = relu(norms(gradient) - config.bound);
            loss = loss + excess.square().mean() * config.penalty;
        }
        Ok(loss)
    }
}

fn freeze(
    network: &Network,
    power: &mut PowerIteration,
    config: &AdversaryConfig,
    encoder: &EncoderSpec,
    standard: &Standard,
) -> Result<FrozenAdversary, RewardError> {
    let mut layers = Layers::of(&network.valid(), config.network.activation);
    if config.lipschitz.spectral() {
        layers = power.normalise(layers, SETTLE)?;
    }
    FrozenAdversary::new(
        config.clone(),
        encoder.clone(),
        standard.clone(),
        layers.tensors()?,
    )
}

/// Rows at random, as many as wanted.
pub(super) fn draw(rows: &[f32], width: usize, count: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let all = rows.len() / width;
    (0..count)
        .flat_map(|_| {
            let i = rng.random_range(0..all);
            rows[i * width..(i + 1) * width].iter().copied()
        })
        .collect()
}

impl Relabel for Adversary {
    fn relabel(&self, steps: &Steps) -> Result<Vec<f64>, RewardError> {
        self.now.relabel(steps)
    }
}

impl RewardModel for Adversary {
    fn score(&self, clip: &Clip, context: &Context) -> Result<Signal, RewardError> {
        self.now.score(clip, context)
    }

    fn causal(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
