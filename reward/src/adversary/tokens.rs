//! [`TokenAdversary`]: a small head on the frozen tokens of a foundation model that learns to tell demonstrations' frames from the
//! policy's, so that a policy that found a hole in it becomes its next lesson (Adv-GRPO, "The Image as Its Own Reward").
//!
//! ```text
//! loss   = ½ [relu(1 - h(real)) + relu(1 + h(fake))] on class tokens + 0.3 · (the same on 64 patch tokens drawn at random)
//! reward = 0.7 h(class) + 0.3 mean h(patch)
//! ```
//!
//! A feature row is the class token and then the patch tokens, all of one width. The paper's Adam has moments 0.5 and 0.999, ours the
//! usual 0.9 and 0.999. The Lipschitz options of [`Adversary`](super::Adversary) may be put on it; the paper has none.

use burn::module::Module as _;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use rand::seq::index::sample;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::{EncoderSpec, Features};
use serde::{Deserialize, Serialize};

use super::config::Lipschitz;
use super::lipschitz::{Layers, PowerIteration, norms};
use crate::model::{Clip, Context, RewardError, RewardModel, Signal, check_features};
use crate::network::{
    self, Activation, Descent, Network, NetworkConfig, rows, training_device, values,
};
use crate::progress::{Standard, check_clips};
use crate::store::{Parts, StoredReward, Tensors, prefixed};

/// Settings of a [`TokenAdversary`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenConfig {
    /// The head, shared by class and patch tokens. The paper: two layers.
    pub network: NetworkConfig,
    /// Patch tokens behind the class token in a feature row; 0 for features that are one vector.
    pub patches: usize,
    /// Patch tokens of a frame that are learned from at a time. The paper: 64.
    pub drawn: usize,
    /// Weight of the patch tokens' loss. The paper: 0.3, beside 1 for the class token's.
    pub patch_loss: f64,
    /// Share of the class token in the reward.
    pub class_share: f64,
    /// Share of the mean patch token in it.
    pub patch_share: f64,
    /// What keeps the head from being steep.
    pub lipschitz: Lipschitz,
    /// Price of squared input gradients above 1, where they are penalised.
    pub penalty: f64,
    /// Demonstrated frames, and as many of rollouts, in a batch.
    pub batch: usize,
    /// Frames of rollouts that are remembered, newest: what the policy does now.
    pub memory: usize,
    /// Adam's step size.
    pub rate: f64,
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self {
            network: NetworkConfig {
                hidden: vec![64],
                activation: Activation::LeakyRelu,
            },
            patches: 0,
            drawn: 64,
            patch_loss: 0.3,
            class_share: 0.7,
            patch_share: 0.3,
            lipschitz: Lipschitz::None,
            penalty: 10.0,
            batch: 32,
            memory: 2000,
            rate: 1e-4,
        }
    }
}

impl TokenConfig {
    /// Refuses settings that nothing can be learned with.
    pub fn validate(&self) -> Result<(), RewardError> {
        if self.batch == 0 || self.memory == 0 || self.network.hidden.contains(&0) {
            return Err(RewardError::Other(
                "tokens.batch, memory and the widths of its layers must be at least 1".into(),
            ));
        }
        if self.patches > 0 && self.drawn == 0 {
            return Err(RewardError::Other(
                "tokens.drawn is 0 where there are patch tokens; draw at least 1".into(),
            ));
        }
        let numbers = [
            self.patch_loss,
            self.class_share,
            self.patch_share,
            self.penalty,
            self.rate,
        ];
        if numbers.iter().any(|n| !(*n >= 0.0 && n.is_finite())) || self.rate == 0.0 {
            return Err(RewardError::Other(format!(
                "tokens.patch_loss, class_share, patch_share, penalty and rate are {numbers:?}; give finite numbers not below 0 and a rate above it"
            )));
        }
        Ok(())
    }

    /// Width of a token. Fails when the tokens do not fill a feature row.
    fn width(&self, dim: usize) -> Result<usize, RewardError> {
        let tokens = self.patches + 1;
        if dim == 0 || !dim.is_multiple_of(tokens) {
            return Err(RewardError::Other(format!(
                "a class token and {} patch tokens do not fill features of {dim} numbers; set tokens.patches to what the encoder gives",
                self.patches
            )));
        }
        Ok(dim / tokens)
    }
}

/// A token head as it was at one moment.
pub struct TokenReward {
    config: TokenConfig,
    encoder: EncoderSpec,
    standard: Standard,
    network: Network,
    tensors: Tensors,
}

impl TokenReward {
    pub(crate) const KIND: &str = "token-adversary";

    fn new(
        config: TokenConfig,
        encoder: EncoderSpec,
        standard: Standard,
        tensors: Tensors,
    ) -> Result<Self, RewardError> {
        let width = config.width(encoder.dim)?;
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let network = Network::new(&config.network, width, 1, &mut rng, &Device::flex());
        Ok(Self {
            network: network::load(network, &tensors)?,
            config,
            encoder,
            standard,
            tensors,
        })
    }

    /// The same with other weights.
    fn with(&self, tensors: Tensors) -> Result<Self, RewardError> {
        Self::new(
            self.config.clone(),
            self.encoder.clone(),
            self.standard.clone(),
            tensors,
        )
    }

    /// `h` of every token of every frame, `[time * (1 + patches)]`.
    fn heads(&self, features: &Features) -> Result<Vec<f64>, RewardError> {
        check_features(features, &self.encoder)?;
        let scaled = self.standard.apply(features.as_slice());
        let found = values(self.network.forward(rows(
            &scaled,
            self.standard.dim(),
            &Device::flex(),
        )))?;
        match found.iter().position(|h| !h.is_finite()) {
            Some(bad) => Err(RewardError::NotFinite {
                what: "the score of a token".into(),
                step: bad / (self.config.patches + 1),
            }),
            None => Ok(found.into_iter().map(f64::from).collect()),
        }
    }

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        let config: TokenConfig = parts.config()?;
        config.validate()?;
        let width = config.width(parts.encoder.dim)?;
        let standard = Standard::restore(width, &parts.tensors_under("standard"))?;
        let tensors = parts.tensors_under("network");
        Ok(Box::new(Self::new(
            config,
            parts.encoder,
            standard,
            tensors,
        )?))
    }
}

impl RewardModel for TokenReward {
    /// Terms: `class` and, where there are patch tokens, `patch`.
    fn score(&self, clip: &Clip, _: &Context) -> Result<Signal, RewardError> {
        let heads = self.heads(&clip.features)?;
        let (mut class, mut patch) = (Vec::new(), Vec::new());
        for tokens in heads.chunks_exact(self.config.patches + 1) {
            class.push(tokens[0]);
            if self.config.patches > 0 {
                patch.push(tokens[1..].iter().sum::<f64>() / self.config.patches as f64);
            }
        }
        if patch.is_empty() {
            return Ok(Signal::new(class));
        }
        let (c, p) = (self.config.class_share, self.config.patch_share);
        let per_step = class.iter().zip(&patch).map(|(x, y)| c * x + p * y);
        let mut signal = Signal::new(per_step.collect());
        signal.terms.insert("class".into(), class);
        signal.terms.insert("patch".into(), patch);
        Ok(signal)
    }

    fn causal(&self) -> bool {
        true
    }
}

impl StoredReward for TokenReward {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        crate::store::to_toml(&self.config).and_then(crate::store::table)
    }

    fn tensors(&self) -> Result<Tensors, RewardError> {
        let mut tensors = prefixed("network", self.tensors.clone());
        tensors.extend(prefixed("standard", self.standard.tensors()));
        Ok(tensors)
    }
}

/// A token head that learns while the policy does.
pub struct TokenAdversary {
    config: TokenConfig,
    /// Standardised frames, every token of one after the other.
    demonstrations: Vec<f32>,
    rollouts: Vec<f32>,
    oldest: usize,
    width: usize,
    network: Network,
    power: PowerIteration,
    descent: Descent,
    rng: ChaCha8Rng,
    now: TokenReward,
}

impl TokenAdversary {
    /// For demonstrations' frames. Fails without any and when the tokens do not fill a feature row.
    pub fn new(
        encoder: &EncoderSpec,
        demonstrations: &[Features],
        config: &TokenConfig,
        seed: u64,
    ) -> Result<Self, RewardError> {
        config.validate()?;
        check_clips(demonstrations.iter(), encoder, 1, 1)?;
        let width = config.width(encoder.dim)?;
        let tokens: Vec<Features> = demonstrations
            .iter()
            .map(|clip| Features::new(width, clip.as_slice().to_vec()))
            .collect();
        let standard = Standard::fit(width, tokens.iter());
        let demonstrated = tokens
            .iter()
            .flat_map(|clip| standard.apply(clip.as_slice()))
            .collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let network = Network::new(&config.network, width, 1, &mut rng, &training_device());
        let power = PowerIteration::new(&network, &mut rng);
        let layers = Layers::of(&network.valid(), config.network.activation);
        let now = TokenReward::new(config.clone(), encoder.clone(), standard, layers.tensors()?)?;
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
            config: config.clone(),
        })
    }

    /// Remembers frames of the policy, in place of the oldest once memory is full.
    pub fn observe(&mut self, features: &Features) -> Result<(), RewardError> {
        check_features(features, &self.now.encoder)?;
        let frame = self.now.encoder.dim;
        let fresh = self.now.standard.apply(features.as_slice());
        for row in fresh.chunks_exact(frame) {
            if self.rollouts.len() < self.config.memory * frame {
                self.rollouts.extend_from_slice(row);
            } else {
                self.rollouts[self.oldest * frame..][..frame].copy_from_slice(row);
                self.oldest = (self.oldest + 1) % self.config.memory;
            }
        }
        Ok(())
    }

    /// Takes some steps down the gradient (the paper: 9 for every one of the policy's); gives the mean loss. Fails when no
    /// rollout was observed yet.
    pub fn update(&mut self, count: usize) -> Result<f64, RewardError> {
        if self.rollouts.is_empty() {
            return Err(RewardError::Other(
                "a token adversary has nothing to tell demonstrations from; observe rollouts before updating"
                    .into(),
            ));
        }
        let device = training_device();
        let mut mean = 0.0;
        for _ in 0..count {
            let loss = self.loss(&device)?;
            let (network, value) = self.descent.step(self.network.clone(), loss)?;
            self.network = network;
            mean += value / count as f64;
        }
        let mut layers = Layers::of(&self.network.valid(), self.config.network.activation);
        if self.config.lipschitz.spectral() {
            layers = self.power.normalise(layers, 20)?;
        }
        self.now = self.now.with(layers.tensors()?)?;
        Ok(mean)
    }

    /// The head as it is now.
    pub fn freeze(&self) -> Result<TokenReward, RewardError> {
        self.now.with(self.now.tensors.clone())
    }

    fn loss(&mut self, device: &Device) -> Result<Tensor<1>, RewardError> {
        let config = self.config.clone();
        let mut layers = Layers::of(&self.network, config.network.activation);
        if config.lipschitz.spectral() {
            layers = self.power.normalise(layers, 1)?;
        }
        let (mut real, mut fake) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        for _ in 0..config.batch {
            let (width, rng) = (self.width, &mut self.rng);
            pick(&config, width, &self.demonstrations, &mut real, rng);
            pick(&config, width, &self.rollouts, &mut fake, rng);
        }
        let mut total: Option<Tensor<1>> = None;
        for (i, weight) in [(0, 1.0), (1, config.patch_loss)] {
            if real[i].is_empty() || weight == 0.0 {
                continue;
            }
            let (x, y) = (
                rows(&real[i], self.width, device),
                rows(&fake[i], self.width, device),
            );
            let good = relu(-layers.forward(x.clone()) + 1.0).mean();
            let bad = relu(layers.forward(y.clone()) + 1.0).mean();
            let mut loss = (good + bad) * (0.5 * weight);
            if config.lipschitz.penalised() && config.penalty > 0.0 {
                let share: f64 = self.rng.random();
                let (_, gradient) = layers.with_gradient(x * share + y * (1.0 - share));
                let excess = relu(norms(gradient) - 1.0).square().mean();
                loss = loss + excess * (config.penalty * weight);
            }
            total = Some(match total {
                Some(total) => total + loss,
                None => loss,
            });
        }
        // The class token is always there, with weight 1.
        Ok(total.unwrap_or_else(|| Tensor::zeros([1], device)))
    }
}

/// One frame at random: its class token goes to the first list, some of its patch tokens to the second.
fn pick(
    config: &TokenConfig,
    width: usize,
    from: &[f32],
    into: &mut [Vec<f32>; 2],
    rng: &mut ChaCha8Rng,
) {
    let frame = width * (config.patches + 1);
    let i = rng.random_range(0..from.len() / frame);
    let tokens = &from[i * frame..(i + 1) * frame];
    into[0].extend_from_slice(&tokens[..width]);
    let drawn = config.drawn.min(config.patches);
    for patch in sample(rng, config.patches, drawn) {
        into[1].extend_from_slice(&tokens[(patch + 1) * width..][..width]);
    }
}

#[cfg(test)]
mod tests;
