//! [`D3po`]: direct preference optimisation of a denoising policy (Yang et al. 2023, arXiv:2311.13231).

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rapport_reward::PairObjective;
use rapport_reward::objective::step_gaps;
use serde::{Deserialize, Serialize};

use super::chain::Chain;
use crate::diffusion::{Diffusion, Sampler, StepBack};
use crate::policy::{Metrics, PolicyError};
use crate::small::adam::{Adam, AdamConfig};

/// Settings of [`D3po`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct D3poConfig {
    /// How strongly a preference counts against staying as one was.
    pub beta: f64,
    /// A denoising step's probability ratio counts within `1 - clip ..= 1 + clip`; beyond, nothing pulls.
    pub clip: f64,
    /// Denoising steps of the chains that are compared.
    pub denoising_steps: usize,
    /// Passes over the pairs of one call of [`D3po::update`].
    pub passes: usize,
    /// Pairs in a minibatch.
    pub batch: usize,
    /// Optimiser.
    pub adam: AdamConfig,
}

impl Default for D3poConfig {
    fn default() -> Self {
        Self {
            beta: 0.1,
            clip: 0.1,
            denoising_steps: 20,
            passes: 1,
            batch: 16,
            adam: AdamConfig {
                learning_rate: 3e-5,
                ..AdamConfig::default()
            },
        }
    }
}

impl D3poConfig {
    /// Says what is wrong with these settings, if anything.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let faults = [
            (!positive(self.beta), "beta must be above 0"),
            (
                !positive(self.clip) || self.clip >= 1.0,
                "clip must be above 0 and below 1",
            ),
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
            Some((_, fault)) => Err(PolicyError::Other(format!("d3po: {fault}"))),
            None => self.adam.validate("adam"),
        }
    }
}

/// Two chains and which one led to the better outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledPair {
    /// One outcome.
    pub first: Chain,
    /// The other.
    pub second: Chain,
    /// 1 when the first is better, 0 when the second is; ½ is a tie, which is passed over.
    pub label: f64,
}

/// Raises the probability of each denoising step on the way to what was preferred, and lowers it on the other way:
///
/// ```text
/// loss = mean over pairs and steps s of -ln σ(β y (ln clip(ρ_s(first)) - ln clip(ρ_s(second))))       ρ = π / π_ref
/// ```
///
/// `π_ref` is the policy as it was at the start of an [`update`](D3po::update); call it again, with the same or with new pairs,
/// to go further. With one denoising step it is DPO.
pub struct D3po {
    config: D3poConfig,
    path: Vec<StepBack>,
    adam: Adam,
    rng: ChaCha8Rng,
}

impl D3po {
    /// For one policy.
    pub fn new(config: D3poConfig, policy: &Diffusion, seed: u64) -> Result<Self, PolicyError> {
        config.validate()?;
        let path = policy
            .schedule()
            .path(Sampler::Ddim { eta: 1.0 }, config.denoising_steps)?;
        Ok(Self {
            adam: policy.optimiser(&config.adam),
            rng: ChaCha8Rng::seed_from_u64(seed),
            config,
            path,
        })
    }

    /// Draws outcomes to be shown and compared, all for one condition.
    pub fn draw(
        &self,
        policy: &mut Diffusion,
        condition: &[f32],
        count: usize,
    ) -> Result<Vec<Chain>, PolicyError> {
        policy.draw_chains(condition, count, &self.path)
    }

    /// Learns from pairs. Gives the mean loss of the first minibatch (`first_loss`, ln 2 because the policy is its own
    /// reference), of all (`loss`) and the share of steps outside the band at the end (`clipped`).
    pub fn update(
        &mut self,
        policy: &mut Diffusion,
        pairs: &[LabelledPair],
    ) -> Result<Metrics, PolicyError> {
        let mut pairs: Vec<&LabelledPair> = pairs.iter().filter(|pair| pair.label != 0.5).collect();
        if pairs.iter().any(|pair| !(0.0..=1.0).contains(&pair.label)) {
            return Err(PolicyError::Other(
                "a label must lie between 0 and 1".into(),
            ));
        }
        let objective = PairObjective {
            temperature: 1.0 / self.config.beta,
            ..PairObjective::default()
        };
        let reference = policy.clone();
        let (mut losses, mut clipped) = (Vec::new(), 0.0);
        for _ in 0..self.config.passes {
            for last in (1..pairs.len()).rev() {
                pairs.swap(last, self.rng.random_range(0..=last as u64) as usize);
            }
            for batch in pairs.chunks(self.config.batch) {
                let chains: Vec<&Chain> =
                    batch.iter().flat_map(|p| [&p.first, &p.second]).collect();
                let before = reference.log_probs(&chains, &self.path)?;
                let trace = policy.tracked(&chains, &self.path)?;
                let ratios = ratios(&trace.log_probs, &before);
                let labels: Vec<f64> = batch.iter().map(|pair| pair.label).collect();
                let (loss, slopes, outside) =
                    step_loss(&objective, &ratios, &labels, self.config.clip);
                losses.push(loss);
                clipped = outside;
                policy.descend_along(trace, &slopes, &mut self.adam)?;
            }
        }
        let mean = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        Ok(Metrics::from([
            ("first_loss".into(), losses.first().copied().unwrap_or(0.0)),
            ("loss".into(), mean),
            ("clipped".into(), clipped),
        ]))
    }
}

/// Logarithms of ratios to a reference, `[chain][decision]`.
pub(super) fn ratios(now: &[Vec<f64>], reference: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let rows = now.iter().zip(reference);
    rows.map(|(now, reference)| now.iter().zip(reference).map(|(a, b)| a - b).collect())
        .collect()
}

/// Mean loss over pairs (chains `2i` and `2i + 1`) and steps, its derivatives by the log ratios, and the share of ratios outside the band.
pub(super) fn step_loss(
    objective: &PairObjective,
    ratios: &[Vec<f64>],
    labels: &[f64],
    clip: f64,
) -> (f64, Vec<Vec<f64>>, f64) {
    let band = (1.0 - clip).ln()..=(1.0 + clip).ln();
    let count: usize = ratios.iter().map(Vec::len).sum();
    let share = 2.0 / count.max(1) as f64;
    let (mut loss, mut outside) = (0.0, 0);
    let mut slopes = Vec::with_capacity(ratios.len());
    for (pair, &label) in ratios.chunks_exact(2).zip(labels) {
        let values: Vec<_> = step_gaps(&pair[0], &pair[1], clip)
            .into_iter()
            .map(|gap| objective.evaluate(gap, label))
            .collect();
        loss += values.iter().map(|value| value.loss * share).sum::<f64>();
        for (chain, sign) in pair.iter().zip([1.0, -1.0]) {
            let steps = chain.iter().zip(&values);
            slopes.push(
                steps
                    .map(|(ratio, value)| {
                        if band.contains(ratio) {
                            sign * value.slope * share
                        } else {
                            outside += 1;
                            0.0
                        }
                    })
                    .collect(),
            );
        }
    }
    (loss, slopes, f64::from(outside) / count.max(1) as f64)
}
