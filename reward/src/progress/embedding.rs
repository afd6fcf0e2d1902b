//! [`Embedding`]: a small trained head on frozen features, and [`EmbeddedGoal`], the reward for being near the goal in it.

use burn::module::Module as _;
use burn::tensor::{Device, Tensor};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rapport_perception::{EncoderSpec, Features};
use serde::{Deserialize, Serialize};

use super::Standard;
use crate::model::{Clip, Context, RewardError, RewardModel, Signal, check_features};
use crate::network::{
    self, Activation, Descent, Network, NetworkConfig, rows, training_device, values,
};
use crate::store::{Parts, StoredReward, Tensor as Stored, Tensors, prefixed};

/// Shape and training of an [`Embedding`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddingConfig {
    /// Width of an embedded frame. XIRL: 32.
    pub dim: usize,
    /// Layers between the standardised features and the embedding.
    pub network: NetworkConfig,
    /// Steps down the gradient.
    pub steps: usize,
    /// Adam's step size. The papers fine-tune a whole backbone at 1e-5 to 1e-4; this head starts from nothing.
    pub rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Default for EmbeddingConfig {
    fn default() -> Self {
        Self {
            dim: 32,
            network: NetworkConfig {
                hidden: vec![64],
                activation: Activation::LeakyRelu,
            },
            steps: 300,
            rate: 1e-3,
            weight_decay: 1e-4,
        }
    }
}

impl EmbeddingConfig {
    /// Refuses settings that nothing can be learned with.
    pub fn validate(&self) -> Result<(), RewardError> {
        if self.dim == 0 || self.network.hidden.contains(&0) {
            return Err(RewardError::Other(
                "an embedding and its layers need at least one unit; raise embedding.dim or the widths in embedding.network".into(),
            ));
        }
        if !(self.rate.is_finite() && self.rate > 0.0 && self.weight_decay >= 0.0) {
            return Err(RewardError::Other(format!(
                "embedding.rate is {} and embedding.weight_decay {}; the rate must be above 0 and the decay not below it",
                self.rate, self.weight_decay
            )));
        }
        Ok(())
    }
}

/// Features to a space that was learned: standardised, then through a small network.
#[derive(Clone, Debug)]
pub struct Embedding {
    network: Network,
    standard: Standard,
    dim: usize,
}

/// One clip, ready for training.
pub(super) struct Standardised {
    values: Vec<f32>,
    dim: usize,
}

impl Standardised {
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// The rows at some times, `[times, dim]`.
    pub fn rows(&self, times: &[usize], device: &Device) -> Tensor<2> {
        let picked: Vec<f32> = times
            .iter()
            .flat_map(|&t| &self.values[t * self.dim..(t + 1) * self.dim])
            .copied()
            .collect();
        rows(&picked, self.dim, device)
    }
}

impl Embedding {
    /// Trains on clips of one width (checked by the caller). `loss` draws a batch and gives its loss. Also gives the loss of every
    /// step.
    pub(super) fn train(
        clips: &[Features],
        config: &EmbeddingConfig,
        seed: u64,
        mut loss: impl FnMut(
            &Network,
            &[Standardised],
            &mut ChaCha8Rng,
            &Device,
        ) -> Result<Tensor<1>, RewardError>,
    ) -> Result<(Self, Vec<f64>), RewardError> {
        config.validate()?;
        let dim = clips[0].dim();
        let standard = Standard::fit(dim, clips.iter());
        let clips: Vec<Standardised> = clips
            .iter()
            .map(|clip| Standardised {
                values: standard.apply(clip.as_slice()),
                dim,
            })
            .collect();
        let device = training_device();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut network = Network::new(&config.network, dim, config.dim, &mut rng, &device);
        let mut descent = Descent::new(config.rate, config.weight_decay);
        let mut losses = Vec::with_capacity(config.steps);
        for _ in 0..config.steps {
            let loss = loss(&network, &clips, &mut rng, &device)?;
            let value;
            (network, value) = descent.step(network, loss)?;
            losses.push(value);
        }
        Ok((
            Self {
                network: network.valid(),
                standard,
                dim: config.dim,
            },
            losses,
        ))
    }

    /// Width of an embedded frame.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Width of the features it takes.
    pub fn input_dim(&self) -> usize {
        self.standard.dim()
    }

    /// Every frame in the learned space, `[time, dim]`. Fails on features of another width and when a value is not finite.
    pub fn embed(&self, features: &Features) -> Result<Features, RewardError> {
        if features.dim() != self.input_dim() {
            return Err(RewardError::Width {
                found: features.dim(),
                expected: self.input_dim(),
                encoder: "the encoder that the embedding was learned on".into(),
            });
        }
        let scaled = self.standard.apply(features.as_slice());
        let embedded = values(self.network.forward(rows(
            &scaled,
            features.dim(),
            &Device::flex(),
        )))?;
        match embedded.iter().position(|v| !v.is_finite()) {
            Some(bad) => Err(RewardError::NotFinite {
                what: "an embedded feature".into(),
                step: bad / self.dim,
            }),
            None => Ok(Features::new(self.dim, embedded)),
        }
    }

    fn tensors(&self) -> Result<Tensors, RewardError> {
        let mut tensors = prefixed("network", network::tensors(&self.network)?);
        tensors.extend(prefixed("standard", self.standard.tensors()));
        Ok(tensors)
    }

    fn restore(
        inputs: usize,
        config: &EmbeddingConfig,
        parts: &Parts,
    ) -> Result<Self, RewardError> {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let network = Network::new(
            &config.network,
            inputs,
            config.dim,
            &mut rng,
            &Device::flex(),
        );
        Ok(Self {
            network: network::load(network, &parts.tensors_under("network"))?,
            standard: Standard::restore(inputs, &parts.tensors_under("standard"))?,
            dim: config.dim,
        })
    }
}

/// What a frame is paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GoalForm {
    /// `-κ ‖φ(x_t) - g‖`: being near the goal (XIRL; VIP's value with κ = 1).
    #[default]
    Distance,
    /// `κ (‖φ(x_{t-1}) - g‖ - ‖φ(x_t) - g‖)`, nothing at the first step: coming nearer. This is the form remembered for VIP, not
    /// checked against its paper, which pays the action that led from one frame to the next; here the step that arrives is paid.
    Difference,
}

/// Settings of an [`EmbeddedGoal`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbeddedGoalConfig {
    /// What the embedding was learned by, for reading only.
    learned_by: String,
    form: GoalForm,
    scale: f64,
    embedding: EmbeddingConfig,
}

/// Reward from the distance to the goal in a learned space; the goal is the mean of the demonstrations' last frames there.
pub struct EmbeddedGoal {
    config: EmbeddedGoalConfig,
    encoder: EncoderSpec,
    embedding: Embedding,
    goal: Vec<f32>,
    stored: Tensors,
}

impl EmbeddedGoal {
    pub(crate) const KIND: &str = "embedded-goal";

    pub(super) fn new(
        encoder: &EncoderSpec,
        embedding: Embedding,
        config: EmbeddingConfig,
        learned_by: &str,
        form: GoalForm,
        demonstrations: &[Features],
    ) -> Result<Self, RewardError> {
        let mut goal = vec![0.0f64; embedding.dim()];
        for clip in demonstrations {
            let last = embedding.embed(&clip.select(&[clip.len() - 1]))?;
            for (goal, x) in goal.iter_mut().zip(last.as_slice()) {
                *goal += f64::from(*x) / demonstrations.len() as f64;
            }
        }
        let stored = embedding.tensors()?;
        Ok(Self {
            config: EmbeddedGoalConfig {
                learned_by: learned_by.into(),
                form,
                scale: 1.0,
                embedding: config,
            },
            encoder: encoder.clone(),
            embedding,
            goal: goal.iter().map(|&g| g as f32).collect(),
            stored,
        })
    }

    /// Sets κ to 1 over the mean distance of the first frames of `clips`, so that rewards begin near -1. Frames that all lie at
    /// the goal leave it as it is.
    pub fn fit_scale(&mut self, clips: &[Features]) -> Result<(), RewardError> {
        let mut starts = Vec::with_capacity(clips.len());
        for clip in clips {
            check_features(clip, &self.encoder)?;
            starts.push(self.distances(&clip.select(&[0]))?[0]);
        }
        let mean = starts.iter().sum::<f64>() / starts.len() as f64;
        if mean.is_finite() && mean > f64::from(f32::EPSILON) {
            self.config.scale = 1.0 / mean;
        }
        Ok(())
    }

    /// κ.
    pub fn scale(&self) -> f64 {
        self.config.scale
    }

    /// The learned space.
    pub fn embedding(&self) -> &Embedding {
        &self.embedding
    }

    /// What frames are paid for.
    pub fn form(&self) -> GoalForm {
        self.config.form
    }

    /// The same reward in another form.
    pub fn with_form(mut self, form: GoalForm) -> Self {
        self.config.form = form;
        self
    }

    /// Distance of every frame to the goal in the learned space, unscaled, `[time]`.
    pub fn distances(&self, features: &Features) -> Result<Vec<f64>, RewardError> {
        Ok(self
            .embedding
            .embed(features)?
            .rows()
            .map(|row| {
                let squares = row.iter().zip(&self.goal);
                squares
                    .map(|(x, g)| (f64::from(*x) - f64::from(*g)).powi(2))
                    .sum::<f64>()
                    .sqrt()
            })
            .collect())
    }

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        let config: EmbeddedGoalConfig = parts.config()?;
        config.embedding.validate()?;
        if !config.scale.is_finite() {
            return Err(RewardError::Other(
                "the scale of an embedded goal is not finite; learn the reward again".into(),
            ));
        }
        let embedding = Embedding::restore(parts.encoder.dim, &config.embedding, &parts)?;
        let goal = parts.tensor("goal")?;
        if goal.shape != [embedding.dim()] || goal.values.iter().any(|v| !v.is_finite()) {
            return Err(RewardError::Other(
                "the goal of an embedded goal does not fit its embedding; learn the reward again"
                    .into(),
            ));
        }
        let goal = goal.values.clone();
        let stored = embedding.tensors()?;
        Ok(Box::new(Self {
            config,
            encoder: parts.encoder,
            embedding,
            goal,
            stored,
        }))
    }
}

impl RewardModel for EmbeddedGoal {
    fn score(&self, clip: &Clip, _: &Context) -> Result<Signal, RewardError> {
        check_features(&clip.features, &self.encoder)?;
        let scale = self.config.scale;
        let near: Vec<f64> = self
            .distances(&clip.features)?
            .iter()
            .map(|d| -scale * d)
            .collect();
        Ok(Signal::new(match self.config.form {
            GoalForm::Distance => near,
            GoalForm::Difference => std::iter::once(0.0)
                .chain(near.windows(2).map(|pair| pair[1] - pair[0]))
                .collect(),
        }))
    }

    fn causal(&self) -> bool {
        true
    }

    fn representation(&self, clip: &Clip) -> Result<Features, RewardError> {
        self.embedding.embed(&clip.features)
    }
}

impl StoredReward for EmbeddedGoal {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        crate::store::to_toml(&self.config).and_then(crate::store::table)
    }

    fn tensors(&self) -> Result<Tensors, RewardError> {
        let mut tensors = self.stored.clone();
        tensors.insert(
            "goal".into(),
            Stored {
                shape: vec![self.goal.len()],
                values: self.goal.clone(),
            },
        );
        Ok(tensors)
    }
}
