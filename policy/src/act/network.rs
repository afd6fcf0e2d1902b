//! The network of ACT: a conditional variational autoencoder of action chunks (figure 4 and appendix C of the paper).

use burn::module::{Module, Param};
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use super::ActConfig;
use crate::deep::attention::HIDDEN;
use crate::deep::dropout::Dropout;
use crate::deep::layers::{layer_norm, linear, project, table};
use crate::deep::position::sinusoids;
use crate::deep::tensor;
use crate::deep::transformer::{DecoderLayer, EncoderLayer, Memory, NormPlace};

/// What is seen.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    /// `[batch, state]`.
    pub(crate) state: Tensor<2>,
    /// `[batch, tokens, token_dim]`.
    pub(crate) tokens: Option<Tensor<3>>,
}

/// What was done, for training.
#[derive(Clone, Debug)]
pub(crate) struct Deed {
    /// `[batch, chunk, action_dim]`.
    pub(crate) actions: Tensor<3>,
    /// 1 for an action of the episode, 0 past its end, `[batch, chunk]`.
    pub(crate) within: Tensor<2>,
}

/// A normal distribution of styles, `[batch, latent]` each.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    pub(crate) mean: Tensor<2>,
    /// Logarithm of the variance.
    pub(crate) log_variance: Tensor<2>,
}

impl Style {
    /// `mean + std * noise`, noise `[batch, latent]`.
    pub(crate) fn sample(&self, noise: Tensor<2>) -> Tensor<2> {
        self.mean.clone() + (self.log_variance.clone() * 0.5).exp() * noise
    }

    /// Divergence of each row from the standard normal, `-1/2 sum(1 + ln var - mean^2 - var)`, `[batch, 1]`.
    pub(crate) fn divergence(&self) -> Tensor<2> {
        let inside = self.log_variance.clone() + 1.0
            - self.mean.clone().square()
            - self.log_variance.clone().exp();
        inside.sum_dim(1) * -0.5
    }
}

/// Encoder of styles, encoder of observations, decoder of actions.
#[derive(Module, Debug)]
pub(crate) struct Network {
    style_token: Param<Tensor<2>>,
    style_state: Linear,
    style_action: Linear,
    style_layers: Vec<EncoderLayer>,
    style_norm: Option<LayerNorm>,
    style_head: Linear,
    latent_in: Linear,
    state_in: Linear,
    tokens_in: Option<Linear>,
    position: Param<Tensor<2>>,
    encoder: Vec<EncoderLayer>,
    encoder_norm: Option<LayerNorm>,
    queries: Param<Tensor<2>>,
    decoder: Vec<DecoderLayer>,
    decoder_norm: LayerNorm,
    head: Linear,
    #[module(skip)]
    latent: usize,
}

impl Network {
    pub(crate) fn new(
        config: &ActConfig,
        state: usize,
        actions: usize,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let (dim, layer) = (config.dim, config.layer());
        let norm = || (config.norm == NormPlace::Before).then(|| layer_norm(dim, device));
        Self {
            style_token: table(1, dim, 1.0, rng, device),
            style_state: linear(state, dim, rng, device),
            style_action: linear(actions, dim, rng, device),
            style_layers: (0..config.style_layers)
                .map(|_| EncoderLayer::new(&layer, rng, device))
                .collect(),
            style_norm: norm(),
            style_head: linear(dim, 2 * config.latent, rng, device),
            latent_in: linear(config.latent, dim, rng, device),
            state_in: linear(state, dim, rng, device),
            tokens_in: (config.tokens() > 0).then(|| linear(config.token_dim, dim, rng, device)),
            position: table(2 + config.tokens(), dim, 1.0, rng, device),
            encoder: (0..config.encoder_layers)
                .map(|_| EncoderLayer::new(&layer, rng, device))
                .collect(),
            encoder_norm: norm(),
            queries: table(config.chunk, dim, 1.0, rng, device),
            decoder: (0..config.decoder_layers)
                .map(|_| DecoderLayer::new(&layer, rng, device))
                .collect(),
            decoder_norm: layer_norm(dim, device),
            head: linear(dim, actions, rng, device),
            latent: config.latent,
        }
    }

    /// The style of a chunk: a learned token, the state and the actions through the encoder of styles; the token's place in its
    /// output is the distribution. The image is left out, as in the paper.
    pub(crate) fn style(&self, sight: &Sight, deed: &Deed, dropout: &mut Dropout) -> Style {
        let [batch, chunk, _] = deed.actions.dims();
        let [_, dim] = self.style_token.dims();
        let device = deed.actions.device();
        let token = self.style_token.val().unsqueeze::<3>().repeat_dim(0, batch);
        let state = self.style_state.forward(sight.state.clone());
        let actions = project(&self.style_action, deed.actions.clone());
        let mut x = Tensor::cat(vec![token, state.unsqueeze_dim(1), actions], 1);
        let position = tensor(sinusoids(chunk + 2, dim), [1, chunk + 2, dim], &device);
        let seen = Tensor::<2>::zeros([batch, 2], &device);
        let padded = (deed.within.clone() - 1.0) * -HIDDEN;
        let bias = Tensor::cat(vec![seen, padded], 1).reshape([batch, 1, 1, chunk + 2]);
        for layer in &self.style_layers {
            x = layer.forward(x, Some(&position), Some(&bias), dropout);
        }
        let mut token = x.narrow(1, 0, 1);
        if let Some(norm) = &self.style_norm {
            token = norm.forward(token);
        }
        let head = self.style_head.forward(token.reshape([batch, dim]));
        Style {
            mean: head.clone().narrow(1, 0, self.latent),
            log_variance: head.narrow(1, self.latent, self.latent),
        }
    }

    /// The chunk `[batch, chunk, action_dim]` for a style `[batch, latent]`; none is the mean of all, zero.
    pub(crate) fn decode(
        &self,
        sight: &Sight,
        style: Option<Tensor<2>>,
        dropout: &mut Dropout,
    ) -> Tensor<3> {
        let [batch, _] = sight.state.dims();
        let style =
            style.unwrap_or_else(|| Tensor::zeros([batch, self.latent], &sight.state.device()));
        let mut tokens = vec![
            self.latent_in.forward(style).unsqueeze_dim(1),
            self.state_in.forward(sight.state.clone()).unsqueeze_dim(1),
        ];
        if let (Some(layer), Some(grid)) = (&self.tokens_in, &sight.tokens) {
            tokens.push(project(layer, grid.clone()));
        }
        let mut x = Tensor::cat(tokens, 1);
        let position: Tensor<3> = self.position.val().unsqueeze();
        for layer in &self.encoder {
            x = layer.forward(x, Some(&position), None, dropout);
        }
        if let Some(norm) = &self.encoder_norm {
            x = norm.forward(x);
        }
        let memory = Memory {
            tokens: x,
            position: Some(position),
        };
        let queries: Tensor<3> = self.queries.val().unsqueeze();
        let [_, chunk, dim] = queries.dims();
        let mut x = Tensor::zeros([batch, chunk, dim], &sight.state.device());
        for layer in &self.decoder {
            x = layer.forward(x, Some(&queries), &memory, None, dropout);
        }
        project(&self.head, self.decoder_norm.forward(x))
    }
}

/// The two parts of the loss, each a single number.
#[derive(Clone, Debug)]
pub(crate) struct Losses {
    /// Mean absolute error over the actions of the episodes.
    pub(crate) l1: Tensor<1>,
    /// Mean divergence of the styles.
    pub(crate) kl: Tensor<1>,
}

impl Losses {
    /// `weights [batch]` say how much each row counts. (The published code divides by all actions, those past the end of an
    /// episode included; here only those within count, as in LeRobot.)
    pub(crate) fn new(chunk: Tensor<3>, deed: &Deed, style: &Style, weights: Tensor<1>) -> Self {
        let [_, _, dim] = chunk.dims();
        let weights: Tensor<2> = weights.unsqueeze_dim(1);
        let counted = deed.within.clone() * weights.clone();
        let total = counted.clone().sum() * dim as f32 + 1e-8;
        let error = (chunk - deed.actions.clone()).abs() * counted.unsqueeze_dim(2);
        let kl = (style.divergence() * weights.clone()).sum() / (weights.sum() + 1e-8);
        Self {
            l1: error.sum() / total,
            kl,
        }
    }

    /// `l1 + kl_weight kl`.
    pub(crate) fn total(&self, kl_weight: f64) -> Tensor<1> {
        self.l1.clone() + self.kl.clone() * kl_weight as f32
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::module::Module as _;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::deep::{parameters, training_device, values};
    use crate::state::StateReader;

    fn assert_close(name: &str, found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len(), "{name}");
        for (i, (f, e)) in found.iter().zip(expected).enumerate() {
            let tolerance = 1e-4 * e.abs().max(1.0);
            assert!((f - e).abs() < tolerance, "{name}[{i}]: {f}, PyTorch {e}");
        }
    }

    /// The numbers of `tests/peers/goldens/act.py`.
    #[test]
    fn chunk_style_losses_and_every_gradient_equal_pytorchs() {
        let bytes = include_bytes!("../../tests/data/act.safetensors");
        let golden = StateReader::new(Path::new("act.safetensors"), bytes).unwrap();
        let device = training_device();
        let config = ActConfig {
            chunk: 4,
            dim: 16,
            heads: 2,
            feed_forward: 24,
            style_layers: 1,
            encoder_layers: 2,
            decoder_layers: 2,
            latent: 4,
            image_tokens: vec![2, 1],
            token_dim: 6,
            ..ActConfig::default()
        };
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let network = Network::new(&config, 5, 3, &mut rng, &device);
        let network = parameters::load(network, "network", &golden).unwrap();
        let input = |name: &str| golden.f32(&format!("in.{name}")).unwrap();
        let sight = Sight {
            state: tensor(input("state"), [3, 5], &device),
            tokens: Some(tensor(input("tokens"), [3, 3, 6], &device)),
        };
        let deed = Deed {
            actions: tensor(input("actions"), [3, 4, 3], &device),
            within: tensor(input("within"), [3, 4], &device),
        };
        let style = network.style(&sight, &deed, &mut Dropout::none());
        let drawn = style.sample(tensor(input("noise"), [3, 4], &device));
        let chunk = network.decode(&sight, Some(drawn), &mut Dropout::none());
        let weights = tensor(input("weights"), [3], &device);
        let losses = Losses::new(chunk.clone(), &deed, &style, weights);

        let output = |name: &str| golden.f32(&format!("out.{name}")).unwrap();
        assert_close("chunk", &values(chunk.inner()).unwrap(), &output("chunk"));
        assert_close(
            "mean",
            &values(style.mean.clone().inner()).unwrap(),
            &output("mean"),
        );
        assert_close(
            "log_variance",
            &values(style.log_variance.clone().inner()).unwrap(),
            &output("log_variance"),
        );
        let both = Tensor::cat(
            vec![losses.l1.clone().inner(), losses.kl.clone().inner()],
            0,
        );
        assert_close("losses", &values(both).unwrap(), &output("losses"));

        let found = parameters::gradients(&network, losses.total(10.0).backward()).unwrap();
        assert_eq!(found.len(), parameters::named(&network).unwrap().len());
        for gradient in found {
            let expected = golden.f32(&format!("gradient.{}", gradient.name)).unwrap();
            assert_close(&gradient.name, &gradient.values, &expected);
        }
        assert!(network.num_params() > 10_000);
    }
}
