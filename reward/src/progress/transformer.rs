//! A small causal transformer over features: a task, then frames, each of which sees itself and what came before.

use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::activation::{gelu, relu, softmax};
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, RngExt as _};

use crate::network::linear;

/// Shape of a [`CausalTransformer`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub features: usize,
    pub tasks: usize,
    pub stages: usize,
    pub width: usize,
    pub heads: usize,
    pub layers: usize,
}

/// ReWiND's network with a task's number in place of its words: features and task are brought to one width, the first frame gets a
/// learned offset (the only position there is, so that nothing but what is seen tells how late it is), then layers of
/// causal attention, then a small head per frame. Departures: normalisation before each part instead of after it, and no
/// dropout.
#[derive(Module, Debug)]
pub(super) struct CausalTransformer {
    frames: Linear,
    tasks: Param<Tensor<2>>,
    first: Param<Tensor<1>>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    hidden: Linear,
    hidden_norm: LayerNorm,
    progress: Linear,
    stage: Linear,
}

/// Attention, then two layers with `max(0, x)` between, each added to what goes in.
#[derive(Module, Debug)]
struct Block {
    before_attention: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    before_layers: LayerNorm,
    up: Linear,
    down: Linear,
    heads: usize,
}

impl CausalTransformer {
    pub fn new(shape: Shape, rng: &mut impl Rng, device: &Device) -> Self {
        let Shape { width, tasks, .. } = shape;
        let mut small = |count: usize| -> Vec<f32> {
            (0..count).map(|_| rng.random_range(-0.5..0.5)).collect()
        };
        let task_values = TensorData::new(small(tasks * width), [tasks, width]);
        let first_values = TensorData::new(small(width), [width]);
        let norm = |width: usize| LayerNormConfig::new(width).init(device);
        let half = (width / 2).max(1);
        Self {
            frames: linear(shape.features, width, rng, device),
            tasks: Param::from_tensor(Tensor::from_data(task_values, device)),
            first: Param::from_tensor(Tensor::from_data(first_values, device)),
            blocks: (0..shape.layers)
                .map(|_| Block {
                    before_attention: norm(width),
                    query: linear(width, width, rng, device),
                    key: linear(width, width, rng, device),
                    value: linear(width, width, rng, device),
                    out: linear(width, width, rng, device),
                    before_layers: norm(width),
                    up: linear(width, 4 * width, rng, device),
                    down: linear(4 * width, width, rng, device),
                    heads: shape.heads,
                })
                .collect(),
            norm: norm(width),
            hidden: linear(width, half, rng, device),
            hidden_norm: norm(half),
            progress: linear(half, 1, rng, device),
            stage: linear(half, shape.stages, rng, device),
        }
    }

    /// For frames `[batch, time, features]` of tasks `[batch]`: the logit of the progress within a stage, `[batch, time]`, and
    /// those of the stages, `[batch, time, stages]`.
    pub fn forward(&self, frames: Tensor<3>, tasks: &[usize]) -> (Tensor<2>, Tensor<3>) {
        let [batch, time, _] = frames.dims();
        let device = frames.device();
        let tasks: Vec<i64> = tasks.iter().map(|&task| task as i64).collect();
        let tasks = Tensor::from_data(tasks.as_slice(), &device);
        let task: Tensor<3> = self.tasks.val().select(0, tasks).unsqueeze_dim(1);
        let frames = self.frames.forward(frames);
        let first = frames.clone().narrow(1, 0, 1) + self.first.val().unsqueeze();
        let mut parts = vec![task, first];
        if time > 1 {
            parts.push(frames.narrow(1, 1, time - 1));
        }
        let mut x = Tensor::cat(parts, 1);
        let hidden = future(time + 1, &device);
        for block in &self.blocks {
            x = block.forward(x, &hidden);
        }
        let x = self.norm.forward(x).narrow(1, 1, time);
        let x = gelu(self.hidden_norm.forward(self.hidden.forward(x)));
        let progress = self.progress.forward(x.clone()).reshape([batch, time]);
        (progress, self.stage.forward(x))
    }
}

impl Block {
    fn forward(&self, x: Tensor<3>, hidden: &Tensor<4>) -> Tensor<3> {
        let [batch, time, width] = x.dims();
        let each = width / self.heads;
        let split = |x: Tensor<3>| x.reshape([batch, time, self.heads, each]).swap_dims(1, 2);
        let seen = self.before_attention.forward(x.clone());
        let query = split(self.query.forward(seen.clone()));
        let key = split(self.key.forward(seen.clone()));
        let value = split(self.value.forward(seen));
        let scores = query.matmul(key.transpose()) / (each as f64).sqrt();
        let mixed = softmax(scores + hidden.clone(), 3).matmul(value);
        let mixed = mixed.swap_dims(1, 2).reshape([batch, time, width]);
        let x = x + self.out.forward(mixed);
        let inner = relu(self.up.forward(self.before_layers.forward(x.clone())));
        x + self.down.forward(inner)
    }
}

/// What is added to attention scores, `[1, 1, length, length]`: nothing for the past, almost everything against the future.
fn future(length: usize, device: &Device) -> Tensor<4> {
    let values: Vec<f32> = (0..length * length)
        .map(|i| if i % length > i / length { -1e9 } else { 0.0 })
        .collect();
    Tensor::from_data(TensorData::new(values, [1, 1, length, length]), device)
}
