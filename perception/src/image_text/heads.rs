//! [`Heads`]: what was trained of the image-text model.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use half::f16;
use safetensors::tensor::{Dtype, TensorView};

use crate::encoder::EncoderError;
use crate::state_dict::{HostTensor, StateDict};
use crate::transformer::{Checkpoint, unit_rows};

/// Widths of the [`Heads`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadsSize {
    /// Places of a picture's tap.
    pub places: usize,
    /// Channels at each place.
    pub channels: usize,
    /// Width of a sentence's meaning.
    pub meaning: usize,
    /// What the channels of a place are brought down to.
    pub place: usize,
    /// Width between the layers of the picture's half.
    pub image_hidden: usize,
    /// Width between the layers of the sentence's half.
    pub text_hidden: usize,
    /// Width of the common space.
    pub common: usize,
}

impl HeadsSize {
    /// EfficientNet-Lite0's block 10 at 112 px, MiniLM, and small heads: 0.34 million weights.
    pub const DEFAULT: Self = Self {
        places: 49,
        channels: 112,
        meaning: 384,
        place: 24,
        image_hidden: 192,
        text_hidden: 192,
        common: 96,
    };
}

/// Two small perceptrons into one space.
///
/// A picture: the same linear map at each place, then a hidden layer over all places, so that it matters where something is. A
/// sentence: a hidden layer over its meaning. Both end as unit vectors.
#[derive(Module, Debug)]
pub struct Heads {
    /// `[channels, place]`.
    pub place: Linear,
    /// `[places * place, image_hidden]`.
    pub image_hidden: Linear,
    /// `[image_hidden, common]`.
    pub image_out: Linear,
    /// `[meaning, text_hidden]`.
    pub text_hidden: Linear,
    /// `[text_hidden, common]`.
    pub text_out: Linear,
}

impl Heads {
    /// From stored weights.
    ///
    /// # Errors
    /// [`EncoderError::Other`] naming the first tensor that is missing or has the wrong shape.
    pub fn from_state_dict(
        dict: &StateDict,
        size: &HeadsSize,
        device: &Device,
    ) -> Result<Self, EncoderError> {
        let checkpoint = Checkpoint { dict, device };
        Ok(Self {
            place: checkpoint.linear("place", size.channels, size.place)?,
            image_hidden: checkpoint.linear(
                "image_hidden",
                size.places * size.place,
                size.image_hidden,
            )?,
            image_out: checkpoint.linear("image_out", size.image_hidden, size.common)?,
            text_hidden: checkpoint.linear("text_hidden", size.meaning, size.text_hidden)?,
            text_out: checkpoint.linear("text_out", size.text_hidden, size.common)?,
        })
    }

    /// Taps of pictures, `[batch, places * channels]`, channels innermost, to unit vectors, `[batch, common]`.
    pub fn image(&self, taps: Tensor<2>) -> Tensor<2> {
        let [batch, values] = taps.dims();
        let [channels, place] = self.place.weight.dims();
        let places = values / channels;
        let mixed = relu(self.place.forward(taps.reshape([batch * places, channels])));
        let hidden = relu(
            self.image_hidden
                .forward(mixed.reshape([batch, places * place])),
        );
        unit_rows(self.image_out.forward(hidden))
    }

    /// Meanings of sentences, `[batch, meaning]`, to unit vectors, `[batch, common]`.
    pub fn text(&self, meanings: Tensor<2>) -> Tensor<2> {
        unit_rows(
            self.text_out
                .forward(relu(self.text_hidden.forward(meanings))),
        )
    }

    /// The weights as a safetensors file in half precision, with the names and layout (`[outputs, inputs]`) of PyTorch.
    ///
    /// # Errors
    /// [`EncoderError::Other`] when the device gives them in another type.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, EncoderError> {
        let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        let layers = [
            ("place", &self.place),
            ("image_hidden", &self.image_hidden),
            ("image_out", &self.image_out),
            ("text_hidden", &self.text_hidden),
            ("text_out", &self.text_out),
        ];
        for (name, layer) in layers {
            let weight = layer.weight.val().transpose();
            let shape = weight.dims().to_vec();
            tensors.push((format!("{name}.weight"), shape, halves(weight)?));
            if let Some(bias) = &layer.bias {
                let bias = bias.val().unsqueeze::<2>();
                let shape = vec![bias.dims()[1]];
                tensors.push((format!("{name}.bias"), shape, halves(bias)?));
            }
        }
        let views = tensors
            .iter()
            .map(|(name, shape, bytes)| {
                TensorView::new(Dtype::F16, shape.clone(), bytes)
                    .map(|view| (name.as_str(), view))
                    .map_err(|error| EncoderError::Other(format!("tensor `{name}`: {error}")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        safetensors::serialize(views, None).map_err(|error| EncoderError::Other(error.to_string()))
    }
}

fn halves(x: Tensor<2>) -> Result<Vec<u8>, EncoderError> {
    Ok(crate::transformer::values(x)?
        .into_iter()
        .flat_map(|value| f16::from_f32(value).to_le_bytes())
        .collect())
}

impl HeadsSize {
    /// Names, shapes (`[outputs, inputs]` or `[outputs]`) and number of inputs of all weights, for whoever makes new ones.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>, usize)> {
        [
            ("place", self.channels, self.place),
            ("image_hidden", self.places * self.place, self.image_hidden),
            ("image_out", self.image_hidden, self.common),
            ("text_hidden", self.meaning, self.text_hidden),
            ("text_out", self.text_hidden, self.common),
        ]
        .into_iter()
        .flat_map(|(name, inputs, outputs)| {
            [
                (format!("{name}.weight"), vec![outputs, inputs], inputs),
                (format!("{name}.bias"), vec![outputs], inputs),
            ]
        })
        .collect()
    }

    /// Weights from `draw`, which is asked for each with its layer's number of inputs.
    pub fn fill(&self, mut draw: impl FnMut(usize) -> f32) -> StateDict {
        let tensors = self.tensors().into_iter().map(|(name, shape, inputs)| {
            let values = (0..shape.iter().product()).map(|_| draw(inputs)).collect();
            (name, HostTensor { shape, values })
        });
        StateDict::new(tensors.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    const SMALL: HeadsSize = HeadsSize {
        places: 4,
        channels: 3,
        meaning: 5,
        place: 2,
        image_hidden: 6,
        text_hidden: 6,
        common: 4,
    };

    fn small() -> Heads {
        let mut count = 0;
        // Numbers that half precision holds exactly.
        let dict = SMALL.fill(|_| {
            count += 1;
            (count * 7 % 16) as f32 / 16.0 - 0.5
        });
        Heads::from_state_dict(&dict, &SMALL, &Device::flex()).unwrap()
    }

    fn rows(count: usize, dim: usize) -> Tensor<2> {
        let values: Vec<f32> = (0..count * dim)
            .map(|i| (i * 5 % 11) as f32 - 5.0)
            .collect();
        Tensor::from_data(TensorData::new(values, [count, dim]), &Device::flex())
    }

    fn length(row: &[f32]) -> f32 {
        row.iter().map(|v| v * v).sum::<f32>().sqrt()
    }

    #[test]
    fn pictures_and_sentences_become_unit_vectors_of_one_width() {
        let heads = small();
        let pictures = crate::transformer::values(heads.image(rows(3, 12))).unwrap();
        let sentences = crate::transformer::values(heads.text(rows(2, 5))).unwrap();
        assert_eq!((pictures.len(), sentences.len()), (3 * 4, 2 * 4));
        for row in pictures.chunks(4).chain(sentences.chunks(4)) {
            assert!((length(row) - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn it_matters_where_in_the_picture_something_is() {
        let heads = small();
        let here = crate::transformer::values(heads.image(rows(1, 12))).unwrap();
        let moved = Tensor::cat(
            vec![
                rows(1, 12).slice([0..1, 3..12]),
                rows(1, 12).slice([0..1, 0..3]),
            ],
            1,
        );
        let there = crate::transformer::values(heads.image(moved)).unwrap();
        let apart = here
            .iter()
            .zip(&there)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(apart > 0.01, "{apart}");
    }

    #[test]
    fn weights_survive_storing_and_a_missing_one_is_named() {
        let bytes = small().to_safetensors().unwrap();
        let dict = StateDict::from_safetensors(&bytes).unwrap();
        let restored = Heads::from_state_dict(&dict, &SMALL, &Device::flex()).unwrap();
        let values = |heads: &Heads| crate::transformer::values(heads.image(rows(2, 12))).unwrap();
        assert_eq!(values(&small()), values(&restored));
        let mut tensors = dict.into_tensors();
        tensors.remove("text_out.bias");
        let dict = StateDict::new(tensors);
        let error = Heads::from_state_dict(&dict, &SMALL, &Device::flex()).unwrap_err();
        assert!(error.to_string().contains("text_out.bias"), "{error}");
    }
}
