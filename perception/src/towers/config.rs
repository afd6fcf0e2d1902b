//! What a pair of towers is: read from `config.json` or `open_clip_config.json`.

use serde::Deserialize;
use serde_json::Value;

use crate::encoder::EncoderError;
use crate::transformer::{Activation, Size};

/// Which of the two designs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A class token, causal text, both ends projected without a bias.
    Clip,
    /// A pooling attention, text that looks everywhere, its end projected with a bias.
    Siglip,
}

/// The picture's tower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PictureSize {
    /// Side of the square input, pixels.
    pub side: usize,
    /// Side of a patch, pixels.
    pub patch: usize,
    /// The blocks.
    pub blocks: Size,
}

impl PictureSize {
    /// Patches along a side; what is left over at the end of it is not looked at.
    pub fn grid(&self) -> usize {
        self.side / self.patch
    }
}

/// The sentence's tower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SentenceSize {
    /// Tokens known.
    pub vocabulary: usize,
    /// Longest sentence, tokens.
    pub positions: usize,
    /// The blocks.
    pub blocks: Size,
}

/// A pair of towers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairConfig {
    /// Which design.
    pub family: Family,
    /// The picture's tower.
    pub picture: PictureSize,
    /// The sentence's tower.
    pub sentence: SentenceSize,
    /// Width of the common space.
    pub common: usize,
}

/// A tower as Hugging Face describes it; what it leaves out is as in the base model.
#[derive(Deserialize)]
struct HfTower {
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    hidden_act: Option<String>,
    layer_norm_eps: Option<f64>,
    image_size: Option<usize>,
    patch_size: Option<usize>,
    vocab_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    projection_size: Option<usize>,
}

impl HfTower {
    fn size(&self, base: Size) -> Result<Size, EncoderError> {
        Ok(Size {
            width: self.hidden_size.unwrap_or(base.width),
            inner: self.intermediate_size.unwrap_or(base.inner),
            layers: self.num_hidden_layers.unwrap_or(base.layers),
            heads: self.num_attention_heads.unwrap_or(base.heads),
            activation: match &self.hidden_act {
                Some(name) => Activation::by_name(name)?,
                None => base.activation,
            },
            epsilon: self.layer_norm_eps.unwrap_or(base.epsilon),
        })
    }
}

impl PairConfig {
    /// From the text of a `config.json` of `CLIPModel` or `SiglipModel`.
    ///
    /// # Errors
    /// [`EncoderError::Other`] for another kind of model, and for sizes that no network has.
    pub fn from_hugging_face(text: &str) -> Result<Self, EncoderError> {
        let unusable = |cause: String| EncoderError::Other(format!("config.json: {cause}"));
        let json: Value = serde_json::from_str(text).map_err(|e| unusable(e.to_string()))?;
        let kind = json["model_type"].as_str().unwrap_or("nothing");
        let (family, base) = match kind {
            "clip" => (Family::Clip, BASE_CLIP),
            "siglip" => (Family::Siglip, BASE_SIGLIP),
            other => {
                return Err(unusable(format!(
                    "the model is of type `{other}`; known are clip and siglip"
                )));
            }
        };
        let tower = |name: &str| -> Result<HfTower, EncoderError> {
            let part = json
                .get(name)
                .cloned()
                .unwrap_or(Value::Object(Default::default()));
            serde_json::from_value(part).map_err(|e| unusable(format!("{name}: {e}")))
        };
        let (picture, sentence) = (tower("vision_config")?, tower("text_config")?);
        let blocks = sentence.size(base.sentence.blocks)?;
        let common = match family {
            Family::Clip => json["projection_dim"].as_u64().map(|n| n as usize),
            Family::Siglip => Some(sentence.projection_size.unwrap_or(blocks.width)),
        };
        let config = Self {
            family,
            picture: PictureSize {
                side: picture.image_size.unwrap_or(base.picture.side),
                patch: picture.patch_size.unwrap_or(base.picture.patch),
                blocks: picture.size(base.picture.blocks)?,
            },
            sentence: SentenceSize {
                vocabulary: sentence.vocab_size.unwrap_or(base.sentence.vocabulary),
                positions: sentence
                    .max_position_embeddings
                    .unwrap_or(base.sentence.positions),
                blocks,
            },
            common: common.unwrap_or(base.common),
        };
        config.check()?;
        Ok(config)
    }

    /// From the text of an `open_clip_config.json`: CLIP with a vision transformer, without anything that later models added.
    ///
    /// # Errors
    /// As [`PairConfig::from_hugging_face`].
    pub fn from_open_clip(text: &str) -> Result<Self, EncoderError> {
        let unusable =
            |cause: String| EncoderError::Other(format!("open_clip_config.json: {cause}"));
        let json: Value = serde_json::from_str(text).map_err(|e| unusable(e.to_string()))?;
        let model = &json["model_cfg"];
        let (vision, sentence) = (&model["vision_cfg"], &model["text_cfg"]);
        for (part, unknown) in [
            (vision, "timm_model_name"),
            (vision, "attentional_pool"),
            (sentence, "hf_model_name"),
        ] {
            if part
                .get(unknown)
                .is_some_and(|v| !v.is_null() && v != &Value::Bool(false))
            {
                return Err(unusable(format!(
                    "it has a `{unknown}`; only CLIP with a plain vision transformer can be read"
                )));
            }
        }
        let number = |part: &Value, name: &str| {
            part[name].as_u64().map(|n| n as usize).ok_or_else(|| {
                unusable(format!(
                    "`{name}` is missing or no number; towers with a ResNet cannot be read"
                ))
            })
        };
        let activation = match model["quick_gelu"].as_bool() {
            Some(true) => Activation::QuickGelu,
            _ => Activation::Gelu,
        };
        let width = number(vision, "width")?;
        let head = vision["head_width"].as_u64().unwrap_or(64) as usize;
        let inner = |part: &Value, width: usize| {
            (part["mlp_ratio"].as_f64().unwrap_or(4.0) * width as f64) as usize
        };
        let text_width = number(sentence, "width")?;
        let blocks = |width, inner, layers, heads| Size {
            width,
            inner,
            layers,
            heads,
            activation,
            epsilon: 1e-5,
        };
        let config = Self {
            family: Family::Clip,
            picture: PictureSize {
                side: number(vision, "image_size")?,
                patch: number(vision, "patch_size")?,
                blocks: blocks(
                    width,
                    inner(vision, width),
                    number(vision, "layers")?,
                    width / head.max(1),
                ),
            },
            sentence: SentenceSize {
                vocabulary: sentence["vocab_size"].as_u64().unwrap_or(49_408) as usize,
                positions: sentence["context_length"].as_u64().unwrap_or(77) as usize,
                blocks: blocks(
                    text_width,
                    inner(sentence, text_width),
                    number(sentence, "layers")?,
                    number(sentence, "heads")?,
                ),
            },
            common: number(model, "embed_dim")?,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), EncoderError> {
        self.picture.blocks.check("picture")?;
        self.sentence.blocks.check("sentence")?;
        let PictureSize { side, patch, .. } = self.picture;
        if patch == 0 || side < patch || self.sentence.positions < 3 || self.common == 0 {
            return Err(EncoderError::Other(format!(
                "pictures of {side} px in patches of {patch}, sentences of {} tokens and {} common numbers make no pair of towers",
                self.sentence.positions, self.common
            )));
        }
        Ok(())
    }
}

const fn base(width: usize, activation: Activation, epsilon: f64) -> Size {
    Size {
        width,
        inner: 4 * width,
        layers: 12,
        heads: width / 64,
        activation,
        epsilon,
    }
}

/// ViT-B/32.
const BASE_CLIP: PairConfig = PairConfig {
    family: Family::Clip,
    picture: PictureSize {
        side: 224,
        patch: 32,
        blocks: base(768, Activation::QuickGelu, 1e-5),
    },
    sentence: SentenceSize {
        vocabulary: 49_408,
        positions: 77,
        blocks: base(512, Activation::QuickGelu, 1e-5),
    },
    common: 512,
};

/// SigLIP base, patch 16.
const BASE_SIGLIP: PairConfig = PairConfig {
    family: Family::Siglip,
    picture: PictureSize {
        side: 224,
        patch: 16,
        blocks: base(768, Activation::GeluTanh, 1e-6),
    },
    sentence: SentenceSize {
        vocabulary: 32_000,
        positions: 64,
        blocks: base(768, Activation::GeluTanh, 1e-6),
    },
    common: 768,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_configuration_leaves_out_is_as_in_the_base_model() {
        let config = PairConfig::from_hugging_face(r#"{"model_type": "clip"}"#).unwrap();
        assert_eq!(config, BASE_CLIP);
        let config = PairConfig::from_hugging_face(
            r#"{"model_type": "siglip", "vision_config": {"patch_size": 14, "image_size": 384, "hidden_size": 1152,
                "num_attention_heads": 16, "intermediate_size": 4304, "num_hidden_layers": 27}}"#,
        )
        .unwrap();
        assert_eq!(
            (config.picture.grid(), config.picture.blocks.width),
            (27, 1152)
        );
        assert_eq!(config.sentence, BASE_SIGLIP.sentence);
    }

    #[test]
    fn open_clips_description_of_the_same_model_reads_the_same() {
        let text = r#"{"model_cfg": {"embed_dim": 512, "quick_gelu": true,
            "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
            "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}}}"#;
        assert_eq!(PairConfig::from_open_clip(text).unwrap(), BASE_CLIP);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let message = |text| PairConfig::from_hugging_face(text).unwrap_err().to_string();
        assert!(message(r#"{"model_type": "blip"}"#).contains("`blip`"));
        assert!(message("{").contains("config.json"));
        let odd = r#"{"model_type": "clip", "text_config": {"num_attention_heads": 7}}"#;
        assert!(message(odd).contains("7 heads"));
        let act = r#"{"model_type": "clip", "text_config": {"hidden_act": "swish"}}"#;
        assert!(message(act).contains("`swish`"));
        let resnet = r#"{"model_cfg": {"embed_dim": 1024, "vision_cfg": {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64},
            "text_cfg": {"width": 512, "heads": 8, "layers": 12}}}"#;
        let message = PairConfig::from_open_clip(resnet).unwrap_err().to_string();
        assert!(message.contains("ResNet"), "{message}");
    }
}
