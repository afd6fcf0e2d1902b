//! OpenCLIP's names for the weights of CLIP, turned into Hugging Face's.

use std::collections::HashMap;

use super::picture::third;
use crate::state_dict::{HostTensor, StateDict};

/// The tensors of an OpenCLIP checkpoint under the names that [`PictureTower`](super::PictureTower) and
/// [`SentenceTower`](super::SentenceTower) look for: joint query-key-value tensors cut in three, the two projections transposed. Names
/// that are Hugging Face's already stay.
pub fn to_hugging_face(dict: StateDict) -> StateDict {
    let mut renamed = HashMap::new();
    for (name, tensor) in dict.into_tensors() {
        let (tower, rest) = match name.strip_prefix("visual.") {
            Some(rest) => ("vision_model", rest),
            None => ("text_model", &*name),
        };
        if let Some(block) = rest.strip_prefix("transformer.resblocks.") {
            let Some((layer, part)) = block.split_once('.') else {
                continue;
            };
            let own = format!("{tower}.encoder.layers.{layer}.");
            if let Some(end) = part.strip_prefix("attn.in_proj_") {
                let mut shape = tensor.shape.clone();
                shape[0] /= 3;
                for (i, to) in ["q_proj", "k_proj", "v_proj"].iter().enumerate() {
                    let key = format!("{own}self_attn.{to}.{end}");
                    renamed.insert(key, third(&tensor, i, &shape));
                }
                continue;
            }
            let part = part
                .replace("attn.out_proj", "self_attn.out_proj")
                .replace("ln_1", "layer_norm1")
                .replace("ln_2", "layer_norm2")
                .replace("mlp.c_fc", "mlp.fc1")
                .replace("mlp.c_proj", "mlp.fc2");
            renamed.insert(format!("{own}{part}"), tensor);
            continue;
        }
        let (key, turned) = match &*name {
            "visual.class_embedding" => ("vision_model.embeddings.class_embedding", false),
            "visual.conv1.weight" => ("vision_model.embeddings.patch_embedding.weight", false),
            "visual.positional_embedding" => {
                ("vision_model.embeddings.position_embedding.weight", false)
            }
            "visual.ln_pre.weight" => ("vision_model.pre_layrnorm.weight", false),
            "visual.ln_pre.bias" => ("vision_model.pre_layrnorm.bias", false),
            "visual.ln_post.weight" => ("vision_model.post_layernorm.weight", false),
            "visual.ln_post.bias" => ("vision_model.post_layernorm.bias", false),
            "visual.proj" => ("visual_projection.weight", true),
            "token_embedding.weight" => ("text_model.embeddings.token_embedding.weight", false),
            "positional_embedding" => ("text_model.embeddings.position_embedding.weight", false),
            "ln_final.weight" => ("text_model.final_layer_norm.weight", false),
            "ln_final.bias" => ("text_model.final_layer_norm.bias", false),
            "text_projection" => ("text_projection.weight", true),
            other => (other, false),
        };
        let tensor = if turned { transposed(&tensor) } else { tensor };
        renamed.insert(key.to_owned(), tensor);
    }
    StateDict::new(renamed)
}

/// `[a, b]` to `[b, a]`; anything else as it is, for the shape check to refuse.
fn transposed(tensor: &HostTensor) -> HostTensor {
    let [a, b] = tensor.shape[..] else {
        return tensor.clone();
    };
    HostTensor {
        shape: vec![b, a],
        values: (0..a * b)
            .map(|i| tensor.values[(i % a) * b + i / a])
            .collect(),
    }
}
