//! [`Adaptation`], an encoder's changed last blocks, and [`Adapted`], a reward model that looks through them.

use burn::tensor::Device;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rapport_perception::efficientnet::adapt::FrozenTail;
use rapport_perception::efficientnet::weights::Convolution;
use rapport_perception::efficientnet::{AdapterConfig, Adapters, Tail, Tap};
use rapport_perception::{EncoderSpec, Features};
use serde::{Deserialize, Serialize};

use super::adapt::other;
use crate::model::{Clip, Context, RewardError, RewardModel, Signal};
use crate::network::{load, rows, tensors, values};
use crate::store::{Parts, StoredReward, Tensor, Tensors, restore};

/// Frames that go through the blocks together: bounds the memory of a long clip.
const BATCH: usize = 32;

/// The last blocks of an encoder with learned changes. Takes the features of the tap below them, gives those of the tap behind them.
#[derive(Debug)]
pub struct Adaptation {
    tail: Tail,
    tap: Tap,
    config: AdapterConfig,
    adapters: Adapters,
    frozen: FrozenTail,
}

impl Adaptation {
    pub(super) fn new(tail: Tail, tap: Tap, config: AdapterConfig, adapters: Adapters) -> Self {
        Self {
            frozen: tail.on(&Device::flex()),
            tail,
            tap,
            config,
            adapters,
        }
    }

    /// The blocks as they were.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The blocks with the changes in their weights; [`Tail::put_into`] makes a whole network of them.
    pub fn merged(&self) -> Result<Tail, RewardError> {
        self.adapters.merge(&self.tail).map_err(other)
    }

    /// Every frame, `[time, input]` to `[time, output]`, both channel-last. Fails on another width.
    pub fn embed(&self, features: &Features) -> Result<Features, RewardError> {
        if features.is_empty() {
            return Ok(Features::default());
        }
        if features.dim() != self.tail.input_dim() {
            return Err(RewardError::Other(format!(
                "features are {} wide, the adapted blocks take {}; encode with the encoder they were learned on",
                features.dim(),
                self.tail.input_dim()
            )));
        }
        let mut all = Vec::with_capacity(features.len() * self.tail.output_dim());
        for frames in features.as_slice().chunks(BATCH * features.dim()) {
            let frames = rows(frames, features.dim(), &Device::flex());
            all.extend(values(self.frozen.forward(&self.adapters, frames))?);
        }
        Ok(Features::new(self.tail.output_dim(), all))
    }

    /// The encoder below, and these blocks, seen as one encoder.
    pub fn spec(&self, below: &EncoderSpec) -> EncoderSpec {
        EncoderSpec {
            name: format!("{} to {} adapted", below.name, self.tap),
            dim: self.tail.output_dim(),
            fingerprint: below.fingerprint.clone(),
        }
    }
}

/// Settings in `reward.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    adapter: AdapterConfig,
    tap: String,
}

/// Takes a clip's features through adapted blocks, then asks another model.
pub struct Adapted {
    encoder: EncoderSpec,
    adaptation: Adaptation,
    inner: Box<dyn StoredReward>,
}

impl Adapted {
    pub(crate) const KIND: &str = "adapted";

    /// `encoder` is the one below the blocks; `inner` takes the features of [`Adaptation::spec`].
    pub fn new(
        encoder: &EncoderSpec,
        adaptation: Adaptation,
        inner: Box<dyn StoredReward>,
    ) -> Result<Self, RewardError> {
        if encoder.dim != adaptation.tail.input_dim() {
            return Err(RewardError::Width {
                found: encoder.dim,
                expected: adaptation.tail.input_dim(),
                encoder: "the encoder below the adapted blocks".into(),
            });
        }
        Ok(Self {
            encoder: encoder.clone(),
            adaptation,
            inner,
        })
    }

    /// The adapted blocks.
    pub fn adaptation(&self) -> &Adaptation {
        &self.adaptation
    }

    /// The model behind them.
    pub fn inner(&self) -> &dyn StoredReward {
        self.inner.as_ref()
    }

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        let Header { adapter, tap } = parts.table("adaptation")?;
        adapter.validate().map_err(other)?;
        let tap: Tap = tap.parse().map_err(|()| {
            RewardError::Other(format!("there is no tap `{tap}`; learn the reward again"))
        })?;
        let stored = parts.tensors_under("tail");
        let tail = Tail::from_convolutions(tap, adapter.blocks, parts.encoder.dim, |name| {
            let weight = stored.get(&format!("{name}.weight"))?;
            let bias = stored.get(&format!("{name}.bias"))?;
            Some(Convolution {
                weight: weight.values.clone(),
                bias: bias.values.clone(),
                shape: weight.shape.clone().try_into().ok()?,
            })
        })
        .map_err(other)?;
        // The numbers drawn here are all replaced.
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let empty = Adapters::new(&tail, &adapter, &mut rng, &Device::flex());
        let adapters = load(empty, &parts.tensors_under("adapters"))?;
        let adaptation = Adaptation::new(tail, tap, adapter, adapters);
        let inner = restore(parts.inner(adaptation.spec(&parts.encoder))?)?;
        Ok(Box::new(Self::new(&parts.encoder, adaptation, inner)?))
    }
}

impl RewardModel for Adapted {
    fn score(&self, clip: &Clip, context: &Context) -> Result<Signal, RewardError> {
        crate::model::check_features(&clip.features, &self.encoder)?;
        let through = Clip {
            features: self.adaptation.embed(&clip.features)?,
            columns: clip.columns.clone(),
            fps: clip.fps,
        };
        self.inner.score(&through, context)
    }

    fn causal(&self) -> bool {
        self.inner.causal()
    }
}

impl StoredReward for Adapted {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        let header = Header {
            adapter: self.adaptation.config.clone(),
            tap: self.adaptation.tap.to_string(),
        };
        let mut table = toml::Table::new();
        table.insert("adaptation".into(), crate::store::to_toml(&header)?);
        table.insert("inner".into(), crate::store::nested(self.inner.as_ref())?);
        Ok(table)
    }

    fn tensors(&self) -> Result<Tensors, RewardError> {
        let mut base = Tensors::new();
        for (name, c) in self.adaptation.tail.convolutions() {
            let (weight, bias) = (c.weight.clone(), c.bias.clone());
            let tensor = |shape: &[usize], values| Tensor {
                shape: shape.to_vec(),
                values,
            };
            base.insert(format!("{name}.weight"), tensor(&c.shape, weight));
            base.insert(format!("{name}.bias"), tensor(&c.shape[..1], bias));
        }
        let mut all = crate::store::prefixed("tail", base);
        let adapters = tensors(&self.adaptation.adapters)?;
        all.extend(crate::store::prefixed("adapters", adapters));
        all.extend(crate::store::prefixed("inner", self.inner.tensors()?));
        Ok(all)
    }
}
