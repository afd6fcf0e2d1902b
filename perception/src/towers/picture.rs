//! [`PictureTower`]: the vision transformer of CLIP and SigLIP.

use burn::module::{Module, Param};
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Device, Tensor};

use super::config::{Family, PairConfig};
use super::sentence::NAMES;
use crate::encoder::EncoderError;
use crate::state_dict::{HostTensor, StateDict};
use crate::transformer::{Activation, Attention, Block, Checkpoint, Order, Sight, unit_rows};

/// Patches as tokens, blocks, and one vector of all of them.
///
/// CLIP puts a class token before the patches, norms them, and projects what the class token became. SigLIP has no class token: a
/// learned probe looks at all patches, and a perceptron follows.
#[derive(Module, Debug)]
pub struct PictureTower {
    /// The patch convolution as a linear layer, `[3 * patch * patch, width]`.
    patches: Linear,
    class: Option<Param<Tensor<1>>>,
    positions: Param<Tensor<2>>,
    first_norm: Option<LayerNorm>,
    blocks: Vec<Block>,
    last_norm: LayerNorm,
    projection: Option<Linear>,
    probe: Option<Probe>,
    patch: usize,
    grid: usize,
}

/// SigLIP's pooling.
#[derive(Module, Debug)]
struct Probe {
    probe: Param<Tensor<3>>,
    attention: Attention,
    norm: LayerNorm,
    inner: Linear,
    outer: Linear,
    #[module(skip)]
    activation: Activation,
}

impl PictureTower {
    /// From a checkpoint with Hugging Face's names.
    ///
    /// # Errors
    /// [`EncoderError::Other`] naming the first tensor that is missing or has the wrong shape.
    pub fn new(
        dict: &StateDict,
        config: &PairConfig,
        device: &Device,
    ) -> Result<Self, EncoderError> {
        let checkpoint = Checkpoint { dict, device };
        let size = &config.picture;
        let (blocks, patch, grid) = (&size.blocks, size.patch, size.grid());
        let width = blocks.width;
        let name = |part: &str| format!("vision_model.{part}");
        let kernel = checkpoint.tensor(
            &name("embeddings.patch_embedding.weight"),
            [width, 3, patch, patch],
        )?;
        let clip = config.family == Family::Clip;
        let bias = (!clip)
            .then(|| checkpoint.parameter(&name("embeddings.patch_embedding.bias"), [width]))
            .transpose()?;
        let class = clip
            .then(|| checkpoint.parameter(&name("embeddings.class_embedding"), [width]))
            .transpose()?;
        let norm = |part: &str| checkpoint.norm(&name(part), width, blocks.epsilon);
        Ok(Self {
            patches: Linear {
                weight: Param::from_tensor(kernel.reshape([width, 3 * patch * patch]).transpose()),
                bias,
            },
            positions: checkpoint.parameter(
                &name("embeddings.position_embedding.weight"),
                [grid * grid + usize::from(clip), width],
            )?,
            class,
            // The name is misspelt in every checkpoint.
            first_norm: clip.then(|| norm("pre_layrnorm")).transpose()?,
            blocks: checkpoint.blocks(&name("encoder.layers."), &NAMES, blocks, Order::Pre)?,
            last_norm: norm("post_layernorm")?,
            projection: clip
                .then(|| checkpoint.linear_without_bias("visual_projection", width, config.common))
                .transpose()?,
            probe: (!clip)
                .then(|| Probe::new(dict, config, device))
                .transpose()?,
            patch,
            grid,
        })
    }

    /// Normalised pictures, `[batch, 3, side, side]`, to unit vectors, `[batch, common]`.
    pub fn forward(&self, pictures: Tensor<4>) -> Tensor<2> {
        let [batch, ..] = pictures.dims();
        let (grid, patch) = (self.grid, self.patch);
        let seen = grid * patch;
        let patches = pictures
            .slice([0..batch, 0..3, 0..seen, 0..seen])
            .reshape([batch, 3, grid, patch, grid, patch])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch, grid * grid, 3 * patch * patch]);
        let mut x = self.patches.forward(patches);
        if let Some(class) = &self.class {
            let width = class.dims()[0];
            let class = class.val().reshape([1, 1, width]).expand([batch, 1, width]);
            x = Tensor::cat(vec![class, x], 1);
        }
        x = x + self.positions.val().unsqueeze::<3>();
        if let Some(norm) = &self.first_norm {
            x = norm.forward(x);
        }
        for block in &self.blocks {
            x = block.forward(x, Sight::All);
        }
        let pooled = match &self.probe {
            Some(probe) => probe.forward(self.last_norm.forward(x)),
            None => {
                let width = x.dims()[2];
                self.last_norm.forward(x.slice([0..batch, 0..1, 0..width]))
            }
        };
        let pooled = pooled.squeeze_dim(1);
        unit_rows(match &self.projection {
            Some(projection) => projection.forward(pooled),
            None => pooled,
        })
    }
}

impl Probe {
    fn new(dict: &StateDict, config: &PairConfig, device: &Device) -> Result<Self, EncoderError> {
        let blocks = &config.picture.blocks;
        let width = blocks.width;
        let prefix = "vision_model.head.";
        let name = |part: &str| format!("{prefix}{part}");
        // PyTorch keeps query, key and value of this one layer in one tensor.
        let weight = dict.tensor(&name("attention.in_proj_weight"), &[3 * width, width])?;
        let bias = dict.tensor(&name("attention.in_proj_bias"), &[3 * width])?;
        let mut apart = std::collections::HashMap::new();
        for (i, part) in ["query", "key", "value"].iter().enumerate() {
            apart.insert(format!("{part}.weight"), third(weight, i, &[width, width]));
            apart.insert(format!("{part}.bias"), third(bias, i, &[width]));
        }
        for end in ["weight", "bias"] {
            let shape: &[usize] = if end == "weight" {
                &[width, width]
            } else {
                &[width]
            };
            let output = dict.tensor(&name(&format!("attention.out_proj.{end}")), shape)?;
            apart.insert(format!("output.{end}"), output.clone());
        }
        let apart = StateDict::new(apart);
        let own = Checkpoint {
            dict: &apart,
            device,
        };
        let checkpoint = Checkpoint { dict, device };
        Ok(Self {
            probe: checkpoint.parameter(&name("probe"), [1, 1, width])?,
            attention: own.attention(
                "",
                ["query", "key", "value", "output"],
                width,
                blocks.heads,
            )?,
            norm: checkpoint.norm(&name("layernorm"), width, blocks.epsilon)?,
            inner: checkpoint.linear(&name("mlp.fc1"), width, blocks.inner)?,
            outer: checkpoint.linear(&name("mlp.fc2"), blocks.inner, width)?,
            activation: blocks.activation,
        })
    }

    /// `[batch, patches, width]` to `[batch, 1, width]`.
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, _, width] = x.dims();
        let probe = self.probe.val().expand([batch, 1, width]);
        let seen = self.attention.look(probe, x, Sight::All);
        let inner = self.inner.forward(self.norm.forward(seen.clone()));
        seen + self.outer.forward(self.activation.forward(inner))
    }
}

/// Part `i` of three that lie one after another.
pub(super) fn third(whole: &HostTensor, i: usize, shape: &[usize]) -> HostTensor {
    let count = whole.values.len() / 3;
    HostTensor {
        shape: shape.to_vec(),
        values: whole.values[i * count..(i + 1) * count].to_vec(),
    }
}
