//! Settings of [`super::Act`].

use serde::{Deserialize, Serialize};

use crate::checkpoint::PolicySpec;
use crate::deep::layers::Activation;
use crate::deep::schedule::Schedule;
use crate::deep::transformer::{LayerShape, NormPlace};
use crate::normaliser::ObservationScaling;
use crate::policy::PolicyError;
use crate::small::adam::AdamConfig;

/// How the predicted chunks become actions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Execution {
    /// A chunk is predicted at every step; the action is the mean of what all chunks said of this step, the `i`-th oldest
    /// weighted `exp(-decay i)` (section IV.A of the paper, `m` there).
    Ensemble {
        /// How fast newer chunks lose weight; 0 is the plain mean, a negative number favours the newest.
        decay: f64,
    },
    /// This many actions of a chunk are executed before the next look.
    Queue {
        /// In `1..=chunk`.
        execute: usize,
    },
}

/// Settings of [`super::Act`]. The defaults are for state observations on a laptop's processor; [`ActConfig::published`] has the
/// sizes of the paper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ActConfig {
    /// Actions predicted at once, `k`.
    pub chunk: usize,
    /// How chunks become actions.
    pub execution: Execution,
    /// Width of a token, a multiple of `heads`.
    pub dim: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the feed-forward blocks.
    pub feed_forward: usize,
    /// Layers of the encoder of observations.
    pub encoder_layers: usize,
    /// Layers of the decoder of actions.
    pub decoder_layers: usize,
    /// Layers of the encoder of styles, which is needed in training only.
    pub style_layers: usize,
    /// Width of the style variable `z`.
    pub latent: usize,
    /// Weight of the divergence of `z` from a standard normal, `beta`.
    pub kl_weight: f64,
    /// Share of units dropped in training.
    pub dropout: f64,
    /// Between the feed-forward layers.
    pub activation: Activation,
    /// Where blocks are normalised.
    pub norm: NormPlace,
    /// Tokens of each camera's feature grid. They are the last columns of an observation: the state first, then camera by camera
    /// and token by token `token_dim` numbers. None for a state alone.
    pub image_tokens: Vec<usize>,
    /// Numbers of an image token.
    pub token_dim: usize,
    /// Steps per minibatch.
    pub batch: usize,
    /// Gradient steps.
    pub steps: u64,
    /// Gradient steps between two reports, each with a validation.
    pub report_every: u64,
    /// Share of the episodes held out, whole, to tell which parameters to keep. With one episode nothing is held out.
    pub validation_share: f64,
    /// How the state is scaled; `running` takes mean and deviation of the training episodes. Image tokens are always scaled so,
    /// each number of a token over all tokens.
    pub observation_scaling: ObservationScaling,
    /// Optimiser.
    pub adam: AdamConfig,
    /// How its step size changes.
    pub schedule: Schedule,
}

impl Default for ActConfig {
    fn default() -> Self {
        Self {
            chunk: 20,
            execution: Execution::Ensemble { decay: 0.01 },
            dim: 128,
            heads: 4,
            feed_forward: 512,
            encoder_layers: 2,
            decoder_layers: 1,
            style_layers: 2,
            latent: 32,
            kl_weight: 10.0,
            dropout: 0.1,
            activation: Activation::Relu,
            norm: NormPlace::After,
            image_tokens: Vec::new(),
            token_dim: 0,
            batch: 32,
            steps: 5_000,
            report_every: 250,
            validation_share: 0.1,
            observation_scaling: ObservationScaling::Running,
            adam: AdamConfig {
                learning_rate: 3e-4,
                weight_decay: 1e-4,
                max_gradient_norm: 10.0,
                ..AdamConfig::default()
            },
            schedule: Schedule {
                warm_up: 100,
                decay: 5_000,
                floor: 0.1,
            },
        }
    }
}

impl ActConfig {
    /// The sizes and rates of the paper's table of hyperparameters, which are LeRobot's defaults too.
    pub fn published() -> Self {
        Self {
            chunk: 100,
            dim: 512,
            heads: 8,
            feed_forward: 3200,
            encoder_layers: 4,
            decoder_layers: 1,
            style_layers: 4,
            batch: 8,
            steps: 100_000,
            adam: AdamConfig {
                learning_rate: 1e-5,
                weight_decay: 1e-4,
                max_gradient_norm: 10.0,
                ..AdamConfig::default()
            },
            schedule: Schedule::default(),
            ..Self::default()
        }
    }

    /// Says what is wrong with these settings, if anything.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let executable = match self.execution {
            Execution::Ensemble { decay } => decay.is_finite(),
            Execution::Queue { execute } => (1..=self.chunk).contains(&execute),
        };
        let faults = [
            (self.chunk == 0, "chunk must be above 0"),
            (
                !executable,
                "execution needs a finite decay, or execute in 1..=chunk",
            ),
            (
                self.heads == 0 || self.dim == 0 || !self.dim.is_multiple_of(self.heads),
                "dim must be a multiple of heads, both above 0",
            ),
            (self.feed_forward == 0, "feed_forward must be above 0"),
            (
                [self.encoder_layers, self.decoder_layers, self.style_layers].contains(&0),
                "encoder_layers, decoder_layers and style_layers must be above 0",
            ),
            (self.latent == 0, "latent must be above 0"),
            (
                !(self.kl_weight >= 0.0 && self.kl_weight.is_finite()),
                "kl_weight must not be negative",
            ),
            (
                !(0.0..1.0).contains(&self.dropout),
                "dropout must be in 0..1",
            ),
            (
                self.image_tokens.contains(&0)
                    || self.image_tokens.is_empty() != (self.token_dim == 0),
                "image_tokens and token_dim must both be above 0, or not be given",
            ),
            (self.batch == 0, "batch must be above 0"),
            (
                self.steps == 0 || self.report_every == 0,
                "steps and report_every must be above 0",
            ),
            (
                !(0.0..1.0).contains(&self.validation_share),
                "validation_share must be in 0..1",
            ),
            (
                !(0.0..=1.0).contains(&self.schedule.floor),
                "schedule.floor must be in 0..=1",
            ),
        ];
        if let Some((_, fault)) = faults.into_iter().find(|(wrong, _)| *wrong) {
            return Err(PolicyError::Other(format!("act: {fault}")));
        }
        self.adam.validate("adam")
    }

    /// Image tokens of all cameras.
    pub fn tokens(&self) -> usize {
        self.image_tokens.iter().sum()
    }

    /// Width of the state: what an observation has besides image tokens.
    pub(crate) fn state_dim(&self, spec: &PolicySpec) -> Result<usize, PolicyError> {
        let pictures = self.tokens() * self.token_dim;
        match spec.observation_dim.checked_sub(pictures) {
            Some(state) if state > 0 => Ok(state),
            _ => Err(PolicyError::Other(format!(
                "act: an observation of {} numbers has no room for a state beside {pictures} of image tokens",
                spec.observation_dim
            ))),
        }
    }

    pub(crate) fn layer(&self) -> LayerShape {
        LayerShape {
            dim: self.dim,
            heads: self.heads,
            feed_forward: self.feed_forward,
            activation: self.activation,
            norm: self.norm,
        }
    }
}
