//! The same step of soft actor-critic through Burn's autodiff and Adam, to see what our own way back is worth.

#![allow(clippy::print_stdout)]

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::{relu, softplus};
use burn::tensor::{Device, Distribution, Tensor};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const OBSERVATIONS: usize = 16;
const ACTIONS: usize = 2;

#[derive(Module, Debug)]
struct Mlp {
    layers: [Linear; 3],
}

impl Mlp {
    fn new(inputs: usize, hidden: usize, outputs: usize, device: &Device) -> Self {
        let layer = |i, o| LinearConfig::new(i, o).init(device);
        Self {
            layers: [
                layer(inputs, hidden),
                layer(hidden, hidden),
                layer(hidden, outputs),
            ],
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let [first, second, third] = &self.layers;
        third.forward(relu(second.forward(relu(first.forward(x)))))
    }

    /// `target + rate * (source - target)`, off the graph.
    fn follow(self, source: &Self) -> Self {
        let pairs = self.layers.into_iter().zip(&source.layers);
        let layers: Vec<Linear> = pairs
            .map(|(mut target, source)| {
                let weight = source.weight.val().inner();
                target.weight = target.weight.map(|t| t.clone() + (weight - t) * 0.005);
                if let (Some(bias), Some(from)) = (target.bias.take(), &source.bias) {
                    let from = from.val().inner();
                    target.bias = Some(bias.map(|t| t.clone() + (from - t) * 0.005));
                }
                target
            })
            .collect();
        Self {
            layers: layers.try_into().expect("three layers"),
        }
    }
}

/// Actions and log-probabilities of a head, with fresh noise.
fn sample(head: Tensor<2>, device: &Device) -> (Tensor<2>, Tensor<2>) {
    let batch = head.dims()[0];
    let (mean, s) = (
        head.clone().narrow(1, 0, ACTIONS),
        head.narrow(1, ACTIONS, ACTIONS),
    );
    let log_std = (s.tanh() + 1.0) * 3.5 - 5.0;
    let noise = Tensor::<2>::random([batch, ACTIONS], Distribution::Normal(0.0, 1.0), device);
    let u = mean + log_std.clone().exp() * noise.clone();
    let slope = (-u.clone() - softplus(-u.clone() * 2.0, 1.0) + std::f32::consts::LN_2) * 2.0;
    let log_prob = (noise.powi_scalar(2) * -0.5 - log_std - 0.918_938_5 - slope).sum_dim(1);
    (u.tanh(), log_prob)
}

/// Processor time of this thread, s.
fn now() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn main() {
    let plain = Device::flex();
    let device = plain.clone().autodiff();
    for (hidden, batch) in [(128, 128), (128, 256), (256, 128), (256, 256)] {
        let mut actor = Mlp::new(OBSERVATIONS, hidden, 2 * ACTIONS, &device);
        let mut critics = [(); 2].map(|()| Mlp::new(OBSERVATIONS + ACTIONS, hidden, 1, &device));
        let mut targets = critics.each_ref().map(|critic| critic.valid());
        let adam = AdamConfig::new().with_epsilon(1e-8);
        let mut actor_adam = adam.init();
        let mut critic_adams = [(); 2].map(|()| adam.init());
        let normal =
            |width| Tensor::<2>::random([batch, width], Distribution::Normal(0.0, 1.0), &plain);
        let (states, next, reward) = (normal(OBSERVATIONS), normal(OBSERVATIONS), normal(1));
        let actions = normal(ACTIONS).tanh();
        let mut update = || {
            let start = now();
            let (next_actions, log_prob) = sample(actor.valid().forward(next.clone()), &plain);
            let inputs = Tensor::cat(vec![next.clone(), next_actions], 1);
            let [q1, q2] = targets
                .each_ref()
                .map(|target| target.forward(inputs.clone()));
            let y = Tensor::from_inner(reward.clone() + (q1.min_pair(q2) - log_prob * 0.2) * 0.99);
            let inputs = Tensor::from_inner(Tensor::cat(vec![states.clone(), actions.clone()], 1));
            for (critic, adam) in critics.iter_mut().zip(&mut critic_adams) {
                let loss = (critic.forward(inputs.clone()) - y.clone())
                    .powi_scalar(2)
                    .mean()
                    * 0.5;
                let gradients = GradientsParams::from_grads(loss.backward(), critic);
                *critic = adam.step(3e-4, critic.clone(), gradients);
            }
            let states = Tensor::from_inner(states.clone());
            let (own, log_prob) = sample(actor.forward(states.clone()), &device);
            let inputs = Tensor::cat(vec![states, own], 1);
            let frozen = critics.each_ref().map(|critic| critic.clone().no_grad());
            let [q1, q2] = frozen.map(|critic| critic.forward(inputs.clone()));
            let loss = (log_prob * 0.2 - q1.min_pair(q2)).mean();
            let gradients = GradientsParams::from_grads(loss.backward(), &actor);
            actor = actor_adam.step(3e-4, actor.clone(), gradients);
            for (target, critic) in targets.iter_mut().zip(&critics) {
                *target = target.clone().follow(critic);
            }
            now() - start
        };
        for _ in 0..20 {
            update();
        }
        let best = (0..200).map(|_| update()).fold(f64::INFINITY, f64::min);
        println!(
            "hidden 2x{hidden} batch {batch}: {:.0} updates/s",
            1.0 / best
        );
    }
}
