//! [`Denoiser`]: the network that says what in a noisy chunk of actions is noise; and the smallest one.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::blocks::{Linear, mish};
use super::transformer::{Transformer, TransformerConfig};
use super::unet::{Unet, UnetConfig};
use super::weights::{Layout, Weights, tensor};
use crate::policy::PolicyError;

/// Which network removes the noise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum DenoiserConfig {
    /// Everything beside everything into fully connected layers: for short chunks of few actions.
    Mlp(MlpConfig),
    /// Convolutions over time, conditioned channel by channel: the paper's first choice.
    Unet(UnetConfig),
    /// Attention between noisy actions and observations: for actions that change fast.
    Transformer(TransformerConfig),
}

impl Default for DenoiserConfig {
    fn default() -> Self {
        Self::Unet(UnetConfig::default())
    }
}

/// Settings of the fully connected denoiser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MlpConfig {
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Width of the denoising step's embedding; even.
    pub step_width: usize,
}

impl Default for MlpConfig {
    fn default() -> Self {
        Self {
            hidden: vec![128, 128],
            step_width: 16,
        }
    }
}

/// What goes in and comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Actions in a chunk.
    pub(crate) horizon: usize,
    /// Width of an action.
    pub(crate) action: usize,
    /// Observations looked at.
    pub(crate) looks: usize,
    /// Width of an observation.
    pub(crate) observation: usize,
}

/// A network from noisy chunks to noise, or to clean chunks. Its parameters are elsewhere.
pub(crate) trait Denoiser: Send + Sync {
    /// `noisy` `[batch, horizon, action]` at the schedule's `steps` `[batch]`, seen `observations` `[batch, looks, observation]`,
    /// to `[batch, horizon, action]`.
    fn forward(
        &self,
        weights: &Weights,
        noisy: Tensor<3>,
        steps: &[usize],
        observations: Tensor<3>,
    ) -> Tensor<3>;
}

impl DenoiserConfig {
    /// Says what is wrong with these settings for chunks of `horizon` actions, if anything.
    pub fn validate(&self, horizon: usize) -> Result<(), PolicyError> {
        let fault = match self {
            Self::Mlp(mlp) if mlp.hidden.is_empty() || mlp.hidden.contains(&0) => {
                "hidden widths must be above 0, at least one".into()
            }
            Self::Mlp(mlp) if mlp.step_width < 4 || mlp.step_width % 2 == 1 => {
                "step_width must be even and at least 4".into()
            }
            Self::Mlp(_) => return Ok(()),
            Self::Unet(unet) => match unet.fault(horizon) {
                Some(fault) => fault,
                None => return Ok(()),
            },
            Self::Transformer(transformer) => match transformer.fault() {
                Some(fault) => fault,
                None => return Ok(()),
            },
        };
        Err(PolicyError::Other(format!("denoiser: {fault}")))
    }

    /// The network and where its parameters are.
    pub(crate) fn build(&self, sizes: Sizes) -> (Box<dyn Denoiser>, Layout) {
        let mut layout = Layout::default();
        let denoiser: Box<dyn Denoiser> = match self {
            Self::Mlp(config) => Box::new(Mlp::new(config, sizes, &mut layout)),
            Self::Unet(config) => Box::new(Unet::new(config, sizes, &mut layout)),
            Self::Transformer(config) => Box::new(Transformer::new(config, sizes, &mut layout)),
        };
        (denoiser, layout)
    }
}

/// Sines and cosines of the steps at frequencies from 1 down to 1/10000 (Vaswani et al. 2017), `[batch, width]`.
pub(crate) fn step_embedding(steps: &[usize], width: usize, weights: &Weights) -> Tensor<2> {
    let half = width / 2;
    let mut values = Vec::with_capacity(steps.len() * width);
    for &step in steps {
        let angle = |i: usize| {
            step as f64 * (-(10_000f64.ln()) * i as f64 / (half.max(2) - 1) as f64).exp()
        };
        values.extend((0..half).map(|i| angle(i).sin() as f32));
        values.extend((0..half).map(|i| angle(i).cos() as f32));
    }
    tensor(&values, [steps.len(), 2 * half], &weights.device())
}

struct Mlp {
    step_width: usize,
    layers: Vec<Linear>,
}

impl Mlp {
    fn new(config: &MlpConfig, sizes: Sizes, layout: &mut Layout) -> Self {
        let chunk = sizes.horizon * sizes.action;
        let mut widths = vec![chunk + sizes.looks * sizes.observation + config.step_width];
        widths.extend(&config.hidden);
        widths.push(chunk);
        let layers = widths.windows(2).enumerate();
        Self {
            step_width: config.step_width,
            layers: layers
                .map(|(i, pair)| Linear::new(layout, &format!("layers.{i}"), pair[0], pair[1]))
                .collect(),
        }
    }
}

impl Denoiser for Mlp {
    fn forward(
        &self,
        weights: &Weights,
        noisy: Tensor<3>,
        steps: &[usize],
        observations: Tensor<3>,
    ) -> Tensor<3> {
        let shape = noisy.dims();
        let step = step_embedding(steps, self.step_width, weights);
        let mut x = Tensor::cat(
            vec![
                noisy.flatten::<2>(1, 2),
                observations.flatten::<2>(1, 2),
                step,
            ],
            1,
        );
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(weights, x);
            if i + 1 < self.layers.len() {
                x = mish(x);
            }
        }
        x.reshape(shape)
    }
}
