//! [`SentenceTower`]: the text transformer of CLIP and SigLIP.

use burn::module::{Module, Param};
use burn::nn::{Embedding, LayerNorm, Linear};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::config::{Family, PairConfig};
use crate::encoder::EncoderError;
use crate::state_dict::StateDict;
use crate::transformer::{Block, BlockNames, Checkpoint, Order, Sight, unit_rows};

pub(super) const NAMES: BlockNames = BlockNames {
    attention: [
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.out_proj",
    ],
    attention_norm: "layer_norm1",
    perceptron: ["mlp.fc1", "mlp.fc2"],
    perceptron_norm: "layer_norm2",
};

/// Token and position embeddings, blocks, a norm, and the last token projected: in CLIP the end mark, which has seen everything before
/// it; in SigLIP the last place, whatever stands there.
#[derive(Module, Debug)]
pub struct SentenceTower {
    tokens: Embedding,
    positions: Param<Tensor<2>>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    projection: Linear,
    #[module(skip)]
    sight: Sight,
}

impl SentenceTower {
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
        let size = &config.sentence;
        let width = size.blocks.width;
        let name = |part: &str| format!("text_model.{part}");
        Ok(Self {
            tokens: checkpoint.embedding(
                &name("embeddings.token_embedding"),
                size.vocabulary,
                width,
            )?,
            positions: checkpoint.parameter(
                &name("embeddings.position_embedding.weight"),
                [size.positions, width],
            )?,
            blocks: checkpoint.blocks(
                &name("encoder.layers."),
                &NAMES,
                &size.blocks,
                Order::Pre,
            )?,
            norm: checkpoint.norm(&name("final_layer_norm"), width, size.blocks.epsilon)?,
            projection: match config.family {
                Family::Clip => {
                    checkpoint.linear_without_bias("text_projection", width, config.common)?
                }
                Family::Siglip => checkpoint.linear(&name("head"), width, config.common)?,
            },
            sight: match config.family {
                Family::Clip => Sight::Past,
                Family::Siglip => Sight::All,
            },
        })
    }

    /// Sentences of one length, token by token, to unit vectors, `[batch, common]`. Every id is one of the vocabulary's.
    pub fn forward(&self, sentences: &[&[u32]]) -> Tensor<2> {
        let device = self.positions.val().device();
        let (batch, time) = (
            sentences.len(),
            sentences.first().map_or(0, |ids| ids.len()),
        );
        let ids: Vec<i64> = sentences
            .iter()
            .flat_map(|ids| ids.iter().map(|&id| i64::from(id)))
            .collect();
        let ids: Tensor<2, Int> = Tensor::from_data(TensorData::new(ids, [batch, time]), &device);
        let positions = self.positions.val().slice_dim(0, 0..time).unsqueeze::<3>();
        let mut x = self.tokens.forward(ids) + positions;
        for block in &self.blocks {
            x = block.forward(x, self.sight);
        }
        let width = x.dims()[2];
        let last = x.slice([0..batch, time - 1..time, 0..width]);
        let last = self.norm.forward(last).squeeze_dim(1);
        unit_rows(self.projection.forward(last))
    }
}
