//! [`Relabel`]: rewards recomputed when a batch is drawn, and [`FrozenAdversary`], a discriminator that learns no more.

use burn::tensor::Device;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rapport_perception::{EncoderSpec, Features};

use super::config::{Absorbing, AdversaryConfig};
use crate::model::{Clip, Context, RewardError, RewardModel, Signal, check_features};
use crate::network::{self, Network, rows, values};
use crate::progress::Standard;
use crate::store::{Parts, StoredReward, Tensors, prefixed};

/// Steps whose rewards are wanted, as a replay buffer has them.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    /// What goes into the discriminator: features, then the columns of its settings in their order, `[steps, inputs]`. The
    /// values of an absorbing state are not looked at.
    pub inputs: Features,
    /// True for a state after the end of its episode, `[steps]`; empty when there is none.
    pub absorbing: Vec<bool>,
}

/// Gives a drawn batch the rewards of the reward as it is now, in place of those that were stored when the steps were taken.
pub trait Relabel {
    /// Reward of every step, `[steps]`.
    fn relabel(&self, steps: &Steps) -> Result<Vec<f64>, RewardError>;
}

impl Steps {
    /// Steps of a clip: its features with `columns` behind them.
    pub fn from_clip(clip: &Clip, columns: &[String]) -> Result<Self, RewardError> {
        if columns.is_empty() {
            return Ok(Self {
                inputs: clip.features.clone(),
                absorbing: Vec::new(),
            });
        }
        let mut channels = vec![&clip.features];
        for name in columns {
            let column = clip.columns.get(name).ok_or_else(|| {
                RewardError::Other(format!(
                    "the clip has no column `{name}`, which this adversary was learned with; add it to the clip"
                ))
            })?;
            if column.len() != clip.len() {
                return Err(RewardError::Other(format!(
                    "the column `{name}` has {} steps where the clip has {}",
                    column.len(),
                    clip.len()
                )));
            }
            if let Some(bad) = column.as_slice().iter().position(|v| !v.is_finite()) {
                return Err(RewardError::NotFinite {
                    what: format!("the column `{name}`"),
                    step: bad / column.dim(),
                });
            }
            channels.push(column);
        }
        let dim = channels.iter().map(|c| c.dim()).sum();
        let mut values = Vec::with_capacity(dim * clip.len());
        for t in 0..clip.len() {
            for channel in &channels {
                values.extend_from_slice(channel.row(t));
            }
        }
        Ok(Self {
            inputs: Features::new(dim, values),
            absorbing: Vec::new(),
        })
    }

    /// Number of steps.
    pub fn len(&self) -> usize {
        self.inputs.len()
    }

    /// True when there is no step.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    fn is_absorbing(&self, step: usize) -> bool {
        self.absorbing.get(step).copied().unwrap_or(false)
    }

    /// Rows as the network takes them: standardised, absorbing states zeros, with the indicator where there is one.
    pub(super) fn rows(
        &self,
        standard: &Standard,
        absorbing: Absorbing,
    ) -> Result<Vec<f32>, RewardError> {
        if self.inputs.dim() != standard.dim() {
            return Err(RewardError::Width {
                found: self.inputs.dim(),
                expected: standard.dim(),
                encoder: "the encoder and columns of its demonstrations".into(),
            });
        }
        if !self.absorbing.is_empty() && self.absorbing.len() != self.len() {
            return Err(RewardError::Other(format!(
                "{} marks of absorbing states do not go with {} steps; give one a step or none",
                self.absorbing.len(),
                self.len()
            )));
        }
        let mut found = Vec::with_capacity(self.len() * (standard.dim() + 1));
        for (step, row) in self.inputs.rows().enumerate() {
            if self.is_absorbing(step) && absorbing == Absorbing::Indicator {
                found.extend(std::iter::repeat_n(0.0, standard.dim()));
                found.push(1.0);
                continue;
            }
            if row.iter().any(|v| !v.is_finite()) {
                return Err(RewardError::NotFinite {
                    what: "an input of the adversary".into(),
                    step,
                });
            }
            found.extend(standard.apply(row));
            if absorbing == Absorbing::Indicator {
                found.push(0.0);
            }
        }
        Ok(found)
    }
}

/// A discriminator as it was at one moment: a head like any other, whose score is its network's output in one of the forms of
/// [`RewardForm`](super::RewardForm).
pub struct FrozenAdversary {
    config: AdversaryConfig,
    encoder: EncoderSpec,
    standard: Standard,
    network: Network,
    tensors: Tensors,
}

impl FrozenAdversary {
    pub(crate) const KIND: &str = "adversary";

    pub(super) fn new(
        config: AdversaryConfig,
        encoder: EncoderSpec,
        standard: Standard,
        tensors: Tensors,
    ) -> Result<Self, RewardError> {
        let inputs = standard.dim() + usize::from(config.absorbing == Absorbing::Indicator);
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let network = Network::new(&config.network, inputs, 1, &mut rng, &Device::flex());
        Ok(Self {
            network: network::load(network, &tensors)?,
            config,
            encoder,
            standard,
            tensors,
        })
    }

    /// The network whose output is the logit; it takes standardised inputs.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Its settings.
    pub fn settings(&self) -> &AdversaryConfig {
        &self.config
    }

    /// Logit of every step.
    pub fn logits(&self, steps: &Steps) -> Result<Vec<f64>, RewardError> {
        if steps.is_empty() {
            return Ok(Vec::new());
        }
        let inputs = steps.rows(&self.standard, self.config.absorbing)?;
        let found = values(self.network.forward(rows(
            &inputs,
            inputs.len() / steps.len(),
            &Device::flex(),
        )))?;
        match found.iter().position(|z| !z.is_finite()) {
            Some(step) => Err(RewardError::NotFinite {
                what: "the logit of an adversary".into(),
                step,
            }),
            None => Ok(found.iter().map(|&z| f64::from(z)).collect()),
        }
    }

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        let config: AdversaryConfig = parts.config()?;
        config.validate()?;
        let standard = parts.tensors_under("standard");
        let inputs = standard.get("mean").map_or(0, |mean| mean.values.len());
        let standard = Standard::restore(inputs, &standard)?;
        let tensors = parts.tensors_under("network");
        let encoder = parts.encoder;
        Ok(Box::new(Self::new(config, encoder, standard, tensors)?))
    }
}

impl Relabel for FrozenAdversary {
    fn relabel(&self, steps: &Steps) -> Result<Vec<f64>, RewardError> {
        let form = self.config.form;
        Ok(self
            .logits(steps)?
            .into_iter()
            .map(|z| form.of(z))
            .collect())
    }
}

impl RewardModel for FrozenAdversary {
    fn score(&self, clip: &Clip, _: &Context) -> Result<Signal, RewardError> {
        check_features(&clip.features, &self.encoder)?;
        let steps = Steps::from_clip(clip, &self.config.columns)?;
        Ok(Signal::new(self.relabel(&steps)?))
    }

    fn causal(&self) -> bool {
        true
    }
}

impl StoredReward for FrozenAdversary {
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
