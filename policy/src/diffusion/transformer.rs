//! The time-series diffusion transformer of Diffusion Policy (Chi et al. 2023, arXiv:2303.04137, section 3.1): noisy actions are
//! tokens of a decoder that sees the denoising step and the observations through cross-attention. An action sees those before
//! it, and the observations up to its own place. No dropout.

use burn::tensor::Tensor;
use burn::tensor::activation::gelu;
use serde::{Deserialize, Serialize};

use super::blocks::{Attention, LayerNorm, Linear, mish};
use super::denoiser::{Denoiser, Sizes, step_embedding};
use super::weights::{Layout, Slot, Start, Weights, tensor};

/// Settings of the transformer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransformerConfig {
    /// Width of a token.
    pub width: usize,
    /// Layers of the decoder.
    pub layers: usize,
    /// Heads of attention.
    pub heads: usize,
}

impl Default for TransformerConfig {
    fn default() -> Self {
        Self {
            width: 128,
            layers: 4,
            heads: 4,
        }
    }
}

impl TransformerConfig {
    pub(super) fn fault(&self) -> Option<String> {
        if self.layers == 0 || self.heads == 0 || self.width < 4 {
            Some("layers and heads must be above 0, width at least 4".into())
        } else if !self.width.is_multiple_of(self.heads) || !self.width.is_multiple_of(2) {
            Some(format!(
                "width must be even and a multiple of heads ({})",
                self.heads
            ))
        } else {
            None
        }
    }
}

/// Self-attention, cross-attention and two linear layers, each behind a normalisation and beside a way past.
struct Layer {
    norms: [LayerNorm; 3],
    own: Attention,
    cross: Attention,
    wide: Linear,
    narrow: Linear,
}

impl Layer {
    fn new(layout: &mut Layout, name: &str, width: usize, heads: usize) -> Self {
        Self {
            norms: [0, 1, 2].map(|i| LayerNorm::new(layout, &format!("{name}.norms.{i}"), width)),
            own: Attention::new(layout, &format!("{name}.own"), width, heads),
            cross: Attention::new(layout, &format!("{name}.cross"), width, heads),
            wide: Linear::normal(layout, &format!("{name}.wide"), width, 4 * width),
            narrow: Linear::normal(layout, &format!("{name}.narrow"), 4 * width, width),
        }
    }

    fn forward(
        &self,
        weights: &Weights,
        x: Tensor<3>,
        memory: Tensor<3>,
        [later, unseen]: [Tensor<4>; 2],
    ) -> Tensor<3> {
        let y = self.norms[0].forward(weights, x.clone());
        let x = x + self.own.forward(weights, y.clone(), y, later);
        let y = self.norms[1].forward(weights, x.clone());
        let x = x + self.cross.forward(weights, y, memory, unseen);
        let y = self.norms[2].forward(weights, x.clone());
        let y = gelu(self.wide.forward(weights, y));
        x + self.narrow.forward(weights, y)
    }
}

pub(super) struct Transformer {
    width: usize,
    action: Linear,
    action_place: Slot,
    observation: Linear,
    memory_place: Slot,
    memory: [Linear; 2],
    layers: Vec<Layer>,
    norm: LayerNorm,
    out: Linear,
}

impl Transformer {
    pub(super) fn new(config: &TransformerConfig, sizes: Sizes, layout: &mut Layout) -> Self {
        let width = config.width;
        let place = Start::Normal(0.02);
        Self {
            width,
            action: Linear::normal(layout, "action", sizes.action, width),
            action_place: layout.add("action_place".into(), [sizes.horizon, width], place),
            observation: Linear::normal(layout, "observation", sizes.observation, width),
            memory_place: layout.add("memory_place".into(), [1 + sizes.looks, width], place),
            memory: [
                Linear::normal(layout, "memory.0", width, 4 * width),
                Linear::normal(layout, "memory.1", 4 * width, width),
            ],
            layers: (0..config.layers)
                .map(|i| Layer::new(layout, &format!("layers.{i}"), width, config.heads))
                .collect(),
            norm: LayerNorm::new(layout, "norm", width),
            out: Linear::normal(layout, "out", width, sizes.action),
        }
    }
}

/// Added to a score where there is nothing to see.
const HIDDEN: f32 = -1e9;

/// Scores to add, `[1, 1, rows, columns]`: column `j` is seen from row `i` when `j <= i + ahead`.
fn hidden(rows: usize, columns: usize, ahead: usize, weights: &Weights) -> Tensor<4> {
    let values: Vec<f32> = (0..rows * columns)
        .map(|at| {
            let (row, column) = (at / columns, at % columns);
            if column <= row + ahead { 0.0 } else { HIDDEN }
        })
        .collect();
    tensor(&values, [1, 1, rows, columns], &weights.device())
}

impl Denoiser for Transformer {
    fn forward(
        &self,
        weights: &Weights,
        noisy: Tensor<3>,
        steps: &[usize],
        observations: Tensor<3>,
    ) -> Tensor<3> {
        let (horizon, looks) = (noisy.dims()[1], observations.dims()[1]);
        let step = step_embedding(steps, self.width, weights).unsqueeze_dim::<3>(1);
        let seen = self.observation.forward(weights, observations);
        let memory = Tensor::cat(vec![step, seen], 1);
        let memory = memory + weights.matrix(self.memory_place).unsqueeze::<3>();
        let memory = mish(self.memory[0].forward(weights, memory));
        let memory = self.memory[1].forward(weights, memory);
        let mut x = self.action.forward(weights, noisy);
        x = x + weights.matrix(self.action_place).unsqueeze::<3>();
        // The first token of the memory is the step, so an action's own observation is one further on.
        let masks = [
            hidden(horizon, horizon, 0, weights),
            hidden(horizon, 1 + looks, 1, weights),
        ];
        for layer in &self.layers {
            x = layer.forward(weights, x, memory.clone(), masks.clone());
        }
        self.out.forward(weights, self.norm.forward(weights, x))
    }
}
