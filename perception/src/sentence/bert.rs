//! [`Bert`]: the encoder of Devlin et al. (arXiv 1810.04805) as Burn modules, without its training heads.

use burn::module::{Module, Param};
use burn::nn::{Embedding, LayerNorm};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::encoder::EncoderError;
use crate::state_dict::StateDict;
use crate::transformer::{
    Activation, Block, BlockNames, Checkpoint, Order, Sight, Size, unit_rows,
};

/// Size of a [`Bert`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BertSize {
    /// Tokens known.
    pub vocabulary: usize,
    /// Longest sentence, tokens.
    pub positions: usize,
    /// The blocks.
    pub blocks: Size,
}

impl BertSize {
    /// all-MiniLM-L6-v2: six blocks, 384 wide.
    pub const MINI_LM: Self = Self {
        vocabulary: 30_522,
        positions: 512,
        blocks: Size {
            width: 384,
            inner: 1536,
            layers: 6,
            heads: 12,
            activation: Activation::Gelu,
            epsilon: 1e-12,
        },
    };
}

/// Token, position and segment embeddings, a norm, then blocks that look everywhere and have their norms behind the sums.
#[derive(Module, Debug)]
pub struct Bert {
    tokens: Embedding,
    positions: Param<Tensor<2>>,
    segment: Param<Tensor<1>>,
    norm: LayerNorm,
    blocks: Vec<Block>,
}

const NAMES: BlockNames = BlockNames {
    attention: [
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
    ],
    attention_norm: "attention.output.LayerNorm",
    perceptron: ["intermediate.dense", "output.dense"],
    perceptron_norm: "output.LayerNorm",
};

impl Bert {
    /// From a checkpoint with the names of Hugging Face's `BertModel`.
    ///
    /// # Errors
    /// [`EncoderError::Other`] naming the first tensor that is missing or has the wrong shape.
    pub fn new(dict: &StateDict, size: &BertSize, device: &Device) -> Result<Self, EncoderError> {
        size.blocks.check("sentence")?;
        let checkpoint = Checkpoint { dict, device };
        let width = size.blocks.width;
        let segments = checkpoint.tensor("embeddings.token_type_embeddings.weight", [2, width])?;
        Ok(Self {
            tokens: checkpoint.embedding("embeddings.word_embeddings", size.vocabulary, width)?,
            positions: checkpoint.parameter(
                "embeddings.position_embeddings.weight",
                [size.positions, width],
            )?,
            segment: Param::from_tensor(segments.slice_dim(0, 0..1).reshape([width])),
            norm: checkpoint.norm("embeddings.LayerNorm", width, size.blocks.epsilon)?,
            blocks: checkpoint.blocks("encoder.layer.", &NAMES, &size.blocks, Order::Post)?,
        })
    }

    /// Sentences of one length, `[batch, time]`, to the last block's output, `[batch, time, width]`.
    pub fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [_, time] = ids.dims();
        let positions = self.positions.val().slice_dim(0, 0..time).unsqueeze::<3>();
        let segment = self.segment.val().unsqueeze::<3>();
        let mut x = self
            .norm
            .forward(self.tokens.forward(ids) + positions + segment);
        for block in &self.blocks {
            x = block.forward(x, Sight::All);
        }
        x
    }

    /// Sentences of one length, token by token, to unit vectors: the mean over the tokens, `[batch, width]`.
    pub fn meanings(&self, sentences: &[&[u32]]) -> Tensor<2> {
        let device = self.segment.val().device();
        let time = sentences.first().map_or(0, |ids| ids.len());
        let ids: Vec<i64> = sentences
            .iter()
            .flat_map(|ids| ids.iter().map(|&id| i64::from(id)))
            .collect();
        let ids = Tensor::from_data(TensorData::new(ids, [sentences.len(), time]), &device);
        unit_rows(self.forward(ids).mean_dim(1).squeeze_dim(1))
    }
}
