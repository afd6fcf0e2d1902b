//! The one-dimensional U-Net of Diffusion Policy (Chi et al. 2023, arXiv:2303.04137, section 3 and appendix): convolutions over
//! the actions of a chunk, each block scaled and shifted by what was observed and how noisy it is (FiLM, Perez et al. 2018,
//! arXiv:1709.07871).

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::blocks::{Convolution, Double, GroupNorm, Halve, Linear, mish};
use super::denoiser::{Denoiser, Sizes, step_embedding};
use super::weights::{Layout, Weights};

/// What the condition does to a block's channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Film {
    /// Scales and shifts them.
    #[default]
    ScaleAndShift,
    /// Shifts them.
    Shift,
}

/// Settings of the U-Net.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UnetConfig {
    /// Channels of each level; each level after the first has half the time steps.
    pub down_dims: Vec<usize>,
    /// Actions that a convolution looks at; odd.
    pub kernel_size: usize,
    /// Groups of the normalisation.
    pub groups: usize,
    /// Width of the denoising step's embedding; even.
    pub step_width: usize,
    /// How blocks are conditioned.
    pub film: Film,
}

impl Default for UnetConfig {
    fn default() -> Self {
        Self {
            down_dims: vec![64, 128, 256],
            kernel_size: 5,
            groups: 8,
            step_width: 64,
            film: Film::ScaleAndShift,
        }
    }
}

impl UnetConfig {
    pub(super) fn fault(&self, horizon: usize) -> Option<String> {
        let levels = self.down_dims.len();
        if levels == 0 || self.groups == 0 {
            Some("down_dims and groups must not be empty".into())
        } else if self
            .down_dims
            .iter()
            .any(|d| *d == 0 || d % self.groups != 0)
        {
            Some(format!(
                "down_dims must be multiples of groups ({})",
                self.groups
            ))
        } else if self.kernel_size.is_multiple_of(2) {
            Some("kernel_size must be odd".into())
        } else if self.step_width < 4 || !self.step_width.is_multiple_of(2) {
            Some("step_width must be even and at least 4".into())
        } else if levels > 16 || !horizon.is_multiple_of(1 << (levels - 1)) {
            Some(format!(
                "a U-Net of {levels} levels needs a horizon that {levels} levels can halve, not {horizon}"
            ))
        } else {
            None
        }
    }
}

/// Convolution, group normalisation, mish.
struct Block {
    convolution: Convolution,
    norm: GroupNorm,
}

impl Block {
    fn new(config: &UnetConfig, layout: &mut Layout, name: &str, channels: [usize; 2]) -> Self {
        Self {
            convolution: Convolution::new(
                layout,
                &format!("{name}.convolution"),
                channels,
                config.kernel_size,
            ),
            norm: GroupNorm::new(layout, &format!("{name}.norm"), config.groups, channels[1]),
        }
    }

    fn forward(&self, weights: &Weights, x: Tensor<3>) -> Tensor<3> {
        let x = self.convolution.forward(weights, x);
        mish(self.norm.forward(weights, x))
    }
}

/// Two blocks, the condition between them, and a way past both.
struct Residual {
    film: Film,
    first: Block,
    condition: Linear,
    second: Block,
    past: Option<Convolution>,
}

impl Residual {
    fn new(
        config: &UnetConfig,
        layout: &mut Layout,
        name: &str,
        condition: usize,
        [inputs, outputs]: [usize; 2],
    ) -> Self {
        let width = match config.film {
            Film::ScaleAndShift => 2 * outputs,
            Film::Shift => outputs,
        };
        Self {
            film: config.film,
            first: Block::new(config, layout, &format!("{name}.first"), [inputs, outputs]),
            condition: Linear::new(layout, &format!("{name}.condition"), condition, width),
            second: Block::new(
                config,
                layout,
                &format!("{name}.second"),
                [outputs, outputs],
            ),
            past: (inputs != outputs)
                .then(|| Convolution::new(layout, &format!("{name}.past"), [inputs, outputs], 1)),
        }
    }

    /// `condition` has been through mish.
    fn forward(&self, weights: &Weights, x: Tensor<3>, condition: Tensor<2>) -> Tensor<3> {
        let y = self.first.forward(weights, x.clone());
        let channels = y.dims()[2];
        let film = self
            .condition
            .forward(weights, condition)
            .unsqueeze_dim::<3>(1);
        let y = match self.film {
            Film::ScaleAndShift => {
                let scale = film.clone().slice_dim(2, 0..channels);
                y * scale + film.slice_dim(2, channels..2 * channels)
            }
            Film::Shift => y + film,
        };
        let y = self.second.forward(weights, y);
        y + match &self.past {
            Some(past) => past.forward(weights, x),
            None => x,
        }
    }
}

pub(super) struct Unet {
    step_width: usize,
    step: [Linear; 2],
    down: Vec<([Residual; 2], Option<Halve>)>,
    middle: [Residual; 2],
    up: Vec<([Residual; 2], Double)>,
    last: Block,
    out: Linear,
}

impl Unet {
    pub(super) fn new(config: &UnetConfig, sizes: Sizes, layout: &mut Layout) -> Self {
        let (dims, width) = (&config.down_dims, config.step_width);
        let condition = width + sizes.looks * sizes.observation;
        let step = [
            Linear::new(layout, "step.0", width, 4 * width),
            Linear::new(layout, "step.1", 4 * width, width),
        ];
        let pair = |layout: &mut Layout, name: &str, inputs: usize, outputs: usize| {
            [(0, inputs), (1, outputs)].map(|(i, inputs)| {
                let name = format!("{name}.{i}");
                Residual::new(config, layout, &name, condition, [inputs, outputs])
            })
        };
        let mut down = Vec::new();
        let mut inputs = sizes.action;
        for (level, &channels) in dims.iter().enumerate() {
            let blocks = pair(layout, &format!("down.{level}"), inputs, channels);
            let halve = (level + 1 < dims.len())
                .then(|| Halve::new(layout, &format!("down.{level}.halve"), channels));
            down.push((blocks, halve));
            inputs = channels;
        }
        let middle = pair(layout, "middle", inputs, inputs);
        let mut up = Vec::new();
        for level in (1..dims.len()).rev() {
            let (name, channels) = (format!("up.{level}"), dims[level - 1]);
            let blocks = pair(layout, &name, 2 * dims[level], channels);
            up.push((
                blocks,
                Double::new(layout, &format!("{name}.double"), channels),
            ));
        }
        Self {
            step_width: width,
            step,
            down,
            middle,
            up,
            last: Block::new(config, layout, "last", [dims[0], dims[0]]),
            out: Linear::new(layout, "out", dims[0], sizes.action),
        }
    }
}

impl Denoiser for Unet {
    fn forward(
        &self,
        weights: &Weights,
        noisy: Tensor<3>,
        steps: &[usize],
        observations: Tensor<3>,
    ) -> Tensor<3> {
        let step = step_embedding(steps, self.step_width, weights);
        let step = self.step[1].forward(weights, mish(self.step[0].forward(weights, step)));
        let condition = mish(Tensor::cat(vec![step, observations.flatten::<2>(1, 2)], 1));
        let both = |blocks: &[Residual; 2], x: Tensor<3>| {
            let x = blocks[0].forward(weights, x, condition.clone());
            blocks[1].forward(weights, x, condition.clone())
        };
        let mut x = noisy;
        let mut beside = Vec::new();
        for (blocks, halve) in &self.down {
            x = both(blocks, x);
            beside.push(x.clone());
            if let Some(halve) = halve {
                x = halve.forward(weights, x);
            }
        }
        x = both(&self.middle, x);
        for (blocks, double) in &self.up {
            let passed = beside.pop().expect("every level went down first");
            x = both(blocks, Tensor::cat(vec![x, passed], 2));
            x = double.forward(weights, x);
        }
        self.out.forward(weights, self.last.forward(weights, x))
    }
}
