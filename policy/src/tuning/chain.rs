//! [`Chain`]: one denoising as a sequence of decisions, each a Gaussian whose log-probability is known.
//!
//! With DDIM at `eta` 1 a step draws `x' ~ N(mean(x, out), std² I)`, so `ln π(x' | x) = -|x' - mean|² / (2 std²) + const`. The last
//! step draws nothing and has no density: the chain's decisions end before it. Log-probabilities are sums over a chunk's numbers,
//! not means as in the released code of D3PO: they are those of the Gaussian.

use burn::tensor::Tensor;

use crate::diffusion::weights::{Weights, tensor, values};
use crate::diffusion::{Diffusion, StepBack};
use crate::policy::PolicyError;
use crate::small::adam::{Adam, AdamConfig};

/// One denoising from noise to a chunk of actions.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// What the policy saw, as [`Diffusion::condition`] gives it.
    pub condition: Vec<f32>,
    /// The latents, noise first, the chunk last; each `[chunk]`.
    pub latents: Vec<Vec<f32>>,
}

impl Chain {
    /// The chunk it led to, for [`Diffusion::actions`].
    pub fn chunk(&self) -> &[f32] {
        self.latents.last().map_or(&[], Vec::as_slice)
    }
}

/// Log-probabilities of chains, and what is needed to move them.
pub(super) struct Trace {
    /// Without the constant, `[chain][decision]`.
    pub(super) log_probs: Vec<Vec<f64>>,
    /// Derivative of a row's log-probability by the network's output, `[rows, chunk]`.
    by_output: Vec<f32>,
    output: Tensor<3>,
    weights: Weights,
}

impl Diffusion {
    pub(super) fn draw_chains(
        &mut self,
        condition: &[f32],
        count: usize,
        path: &[StepBack],
    ) -> Result<Vec<Chain>, PolicyError> {
        let width = self.chunk_dim();
        let mut latents = self.draw_noise(count * width);
        let mut chains = vec![
            Chain {
                condition: condition.to_vec(),
                latents: Vec::with_capacity(path.len() + 1),
            };
            count
        ];
        let keep = |chains: &mut [Chain], latents: &[f32]| {
            for (chain, latent) in chains.iter_mut().zip(latents.chunks_exact(width)) {
                chain.latents.push(latent.to_vec());
            }
        };
        keep(&mut chains, &latents);
        for step in path {
            let noise = self.draw_noise(count * width);
            latents = self.step_back(&latents, step, condition, &noise)?;
            keep(&mut chains, &latents);
        }
        Ok(chains)
    }

    pub(super) fn trace(
        &self,
        chains: &[&Chain],
        path: &[StepBack],
        weights: Weights,
    ) -> Result<Trace, PolicyError> {
        let decisions: Vec<(usize, &StepBack)> = path
            .iter()
            .enumerate()
            .filter(|(_, step)| step.std > 0.0)
            .collect();
        let (mut latents, mut steps, mut conditions) = (Vec::new(), Vec::new(), Vec::new());
        for chain in chains {
            if chain.latents.len() != path.len() + 1 {
                return Err(PolicyError::Other(format!(
                    "a chain of {} latents does not belong to {} denoising steps",
                    chain.latents.len(),
                    path.len()
                )));
            }
            for (at, step) in &decisions {
                latents.extend_from_slice(&chain.latents[*at]);
                steps.push(step.from);
                conditions.extend_from_slice(&chain.condition);
            }
        }
        let output = self.forward(&weights, &latents, &steps, &conditions);
        let found = values(output.clone().detach())?;
        let width = self.chunk_dim();
        let mut by_output = Vec::with_capacity(found.len());
        let mut log_probs = Vec::with_capacity(chains.len());
        let mut rows = latents.chunks_exact(width).zip(found.chunks_exact(width));
        for chain in chains {
            let mut of_chain = Vec::with_capacity(decisions.len());
            for (at, step) in &decisions {
                let Some((x, out)) = rows.next() else { break };
                let mut log_prob = 0.0;
                for ((&x, &out), &next) in x.iter().zip(out).zip(&chain.latents[at + 1]) {
                    let (mean, slope) = step.mean(x, out);
                    let off = f64::from(next - mean) / step.std;
                    log_prob -= 0.5 * off * off;
                    by_output.push((off / step.std) as f32 * slope);
                }
                of_chain.push(log_prob);
            }
            log_probs.push(of_chain);
        }
        Ok(Trace {
            log_probs,
            by_output,
            output,
            weights,
        })
    }

    /// [`Diffusion::trace`] for comparing only.
    pub(super) fn log_probs(
        &self,
        chains: &[&Chain],
        path: &[StepBack],
    ) -> Result<Vec<Vec<f64>>, PolicyError> {
        Ok(self.trace(chains, path, self.placed.clone())?.log_probs)
    }

    /// [`Diffusion::trace`] for a gradient step.
    pub(super) fn tracked(
        &self,
        chains: &[&Chain],
        path: &[StepBack],
    ) -> Result<Trace, PolicyError> {
        self.trace(chains, path, self.layout.track(&self.parameters))
    }

    /// Gradient by the parameters of a loss whose derivatives by the trace's log-probabilities are `slopes`.
    pub(super) fn gradient_along(
        &self,
        trace: Trace,
        slopes: &[Vec<f64>],
    ) -> Result<Vec<f32>, PolicyError> {
        let width = self.chunk_dim();
        let mut pull = trace.by_output;
        for (row, slope) in pull.chunks_exact_mut(width).zip(slopes.iter().flatten()) {
            row.iter_mut().for_each(|value| *value *= *slope as f32);
        }
        let pull = tensor(&pull, trace.output.dims(), &trace.weights.device());
        let gradients = (trace.output * pull).sum().backward();
        let mut gradient = vec![0.0; self.layout.len()];
        self.layout
            .gather(&trace.weights, gradients, &mut gradient, self.updates)?;
        Ok(gradient)
    }

    /// A step down such a loss.
    pub(super) fn descend_along(
        &mut self,
        trace: Trace,
        slopes: &[Vec<f64>],
        adam: &mut Adam,
    ) -> Result<(), PolicyError> {
        let mut gradient = self.gradient_along(trace, slopes)?;
        let mut parameters = self.parameters.clone();
        adam.step(&mut parameters, &mut gradient);
        self.updates += 1;
        self.set_parameters(parameters)
    }

    pub(super) fn optimiser(&self, config: &AdamConfig) -> Adam {
        Adam::new(config.clone(), self.parameters.len())
    }
}
