//! [`Prdp`]: proximal reward difference prediction (Deng et al. 2024, arXiv:2402.08714).

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rapport_reward::objective::{LogRatio, proximal};
use serde::{Deserialize, Serialize};

use super::chain::Chain;
use crate::diffusion::{Diffusion, Sampler, StepBack};
use crate::policy::{Metrics, PolicyError};
use crate::small::adam::{Adam, AdamConfig};

/// Settings of [`Prdp`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrdpConfig {
    /// Reward that is worth one unit of divergence from the policy at the start.
    pub beta: f64,
    /// How far a chain's log ratio may move from the last iterate's before it stops counting.
    pub clip: f64,
    /// Denoising steps of the chains.
    pub denoising_steps: usize,
    /// Passes over the chains of one call of [`Prdp::update`].
    pub passes: usize,
    /// Pairs in a minibatch.
    pub batch: usize,
    /// Optimiser.
    pub adam: AdamConfig,
}

impl Default for PrdpConfig {
    fn default() -> Self {
        Self {
            beta: 0.1,
            clip: 0.5,
            denoising_steps: 10,
            passes: 4,
            batch: 16,
            adam: AdamConfig {
                learning_rate: 3e-5,
                ..AdamConfig::default()
            },
        }
    }
}

impl PrdpConfig {
    /// Says what is wrong with these settings, if anything.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let faults = [
            (!positive(self.beta), "beta must be above 0"),
            (!positive(self.clip), "clip must be above 0"),
            (
                self.denoising_steps < 2,
                "denoising_steps must be at least 2",
            ),
            (
                self.passes == 0 || self.batch == 0,
                "passes and batch must be above 0",
            ),
        ];
        match faults.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, fault)) => Err(PolicyError::Other(format!("prdp: {fault}"))),
            None => self.adam.validate("adam"),
        }
    }
}

/// Makes the policy's log ratios predict differences of reward:
///
/// ```text
/// loss = mean over pairs of (β (ln ρ(a) - ln ρ(b)) - (r(a) - r(b)))²        ln ρ = Σ_s ln π(x_s | x_{s-1}) / π_0(x_s | x_{s-1})
/// ```
///
/// or the same with each `ln ρ` kept within `clip` of what it was before this update, whichever is larger. `π_0` is the policy at
/// the start, and the minimum is `π_0 e^(r / β)`, as for reinforcement learning with a divergence penalty. Departure: the paper
/// bounds every step's ratio, here the chain's sum is bounded.
pub struct Prdp {
    config: PrdpConfig,
    path: Vec<StepBack>,
    start: Diffusion,
    adam: Adam,
    rng: ChaCha8Rng,
}

impl Prdp {
    /// From a policy as it is.
    pub fn new(config: PrdpConfig, policy: &Diffusion, seed: u64) -> Result<Self, PolicyError> {
        config.validate()?;
        let path = policy
            .schedule()
            .path(Sampler::Ddim { eta: 1.0 }, config.denoising_steps)?;
        Ok(Self {
            adam: policy.optimiser(&config.adam),
            start: policy.clone(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            config,
            path,
        })
    }

    /// Draws outcomes to be scored, all for one condition.
    pub fn draw(
        &self,
        policy: &mut Diffusion,
        condition: &[f32],
        count: usize,
    ) -> Result<Vec<Chain>, PolicyError> {
        policy.draw_chains(condition, count, &self.path)
    }

    /// Learns from outcomes of one condition that the policy has just drawn, and their rewards. Gives the mean loss.
    pub fn update(
        &mut self,
        policy: &mut Diffusion,
        outcomes: &[(Chain, f64)],
    ) -> Result<Metrics, PolicyError> {
        if let Some((_, reward)) = outcomes.iter().find(|(_, reward)| !reward.is_finite()) {
            return Err(PolicyError::Other(format!(
                "a reward is {reward}; give finite ones"
            )));
        }
        let chains: Vec<&Chain> = outcomes.iter().map(|(chain, _)| chain).collect();
        let sums =
            |rows: Vec<Vec<f64>>| -> Vec<f64> { rows.iter().map(|row| row.iter().sum()).collect() };
        let start = sums(self.start.log_probs(&chains, &self.path)?);
        let before = sums(policy.log_probs(&chains, &self.path)?);
        let mut order: Vec<usize> = (0..outcomes.len()).collect();
        let mut losses = Vec::new();
        for _ in 0..self.config.passes {
            for last in (1..order.len()).rev() {
                order.swap(last, self.rng.random_range(0..=last as u64) as usize);
            }
            for batch in order.chunks(2 * self.config.batch) {
                let batch = &batch[..batch.len() / 2 * 2];
                if batch.is_empty() {
                    continue;
                }
                let chains: Vec<&Chain> = batch.iter().map(|&i| &outcomes[i].0).collect();
                let trace = policy.tracked(&chains, &self.path)?;
                let now: Vec<f64> = trace.log_probs.iter().map(|row| row.iter().sum()).collect();
                let ratio = |k: usize| LogRatio {
                    now: now[k] - start[batch[k]],
                    before: before[batch[k]] - start[batch[k]],
                };
                let share = 2.0 / batch.len() as f64;
                let mut slopes = Vec::with_capacity(batch.len());
                let mut loss = 0.0;
                for k in (0..batch.len()).step_by(2) {
                    let wanted = outcomes[batch[k]].1 - outcomes[batch[k + 1]].1;
                    let value = proximal(
                        ratio(k),
                        ratio(k + 1),
                        wanted,
                        self.config.beta,
                        self.config.clip,
                    );
                    loss += share * value.loss;
                    for (k, slope) in [(k, value.by_first), (k + 1, value.by_second)] {
                        slopes.push(vec![share * slope; trace.log_probs[k].len()]);
                    }
                }
                losses.push(loss);
                policy.descend_along(trace, &slopes, &mut self.adam)?;
            }
        }
        let mean = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        Ok(Metrics::from([("loss".into(), mean)]))
    }
}
