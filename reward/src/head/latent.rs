//! [`LatentUsers`]: a person is a few numbers, inferred from a few of their answers (VPL, arXiv 2408.10075).

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::activation::softplus;
use burn::tensor::{Device, Tensor, TensorData};
use rand::seq::SliceRandom as _;
use rand::{Rng, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::EncoderSpec;
use serde::{Deserialize, Serialize};

use super::config::{Aggregate, InputScaling, Inputs};
use super::pairs::{Pair, Pairs};
use super::scorer::{Batch, InputMap, mean_row};
use super::train::Tally;
use crate::model::{Clip, Context, RewardError, RewardModel, Signal};
use crate::network::{
    self, Activation, Descent, Network, NetworkConfig, rows, training_device, values,
};
use crate::objective::{PairObjective, PairTarget, sigmoid};
use crate::store::{Parts, StoredReward, Tensor as Stored, Tensors, prefixed, to_toml};

/// In which units people's rewards are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RewardScale {
    /// Those that the scorer found: one person's may be larger than another's.
    #[default]
    Raw,
    /// The mean probability of beating the frames that were compared, `(1/M) Σ_m σ(r(s, z) - r(s_m, z))`: everybody's rewards lie
    /// in 0..=1. After the paper's scaling by self-play preference optimisation, which trains a second network on pairs of
    /// states for it; here the scorer's own gaps are used.
    Comparisons,
}

/// How people's latents are learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LatentConfig {
    /// What it looks at.
    pub inputs: Inputs,
    /// What is done to each input before the networks.
    pub scaling: InputScaling,
    /// Numbers that make up a person; 0 makes it one reward for all.
    pub latent: usize,
    /// Shape of the scorer.
    pub scorer: NetworkConfig,
    /// Shape of the encoder of answers.
    pub encoder: NetworkConfig,
    /// How rewards of frames become that of a clip.
    pub aggregate: Aggregate,
    /// In which units people's rewards are.
    pub scale: RewardScale,
    /// The loss on the gap between two clips; its temperature is the paper's `scale`.
    pub objective: PairObjective,
    /// Answers of a person that are encoded together, N.
    pub answers: usize,
    /// Weight β of the divergence in the end.
    pub beta: f64,
    /// Share of the training over which β rises from 0 to that, along half a cosine.
    pub annealing: f64,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Decay of the weights at each step, as a share of the step size (decoupled, as in AdamW).
    pub weight_decay: f64,
    /// Sets of N answers per step.
    pub batch: usize,
    /// Passes over the answers.
    pub epochs: usize,
}

impl Default for LatentConfig {
    fn default() -> Self {
        Self {
            inputs: Inputs::Features,
            scaling: InputScaling::Standardise,
            latent: 4,
            scorer: NetworkConfig {
                hidden: vec![64, 64],
                activation: Activation::LeakyRelu,
            },
            encoder: NetworkConfig {
                hidden: vec![64, 64],
                activation: Activation::LeakyRelu,
            },
            aggregate: Aggregate::Mean,
            scale: RewardScale::Raw,
            objective: PairObjective::default(),
            answers: 8,
            beta: 0.1,
            annealing: 0.5,
            learning_rate: 2e-3,
            weight_decay: 1e-4,
            batch: 8,
            epochs: 60,
        }
    }
}

impl LatentConfig {
    /// Sizes of the paper: latent 32, both networks 3 x 256 leaky units, 500 epochs at 1e-3, sums over frames.
    pub fn paper() -> Self {
        let network = NetworkConfig {
            hidden: vec![256; 3],
            activation: Activation::LeakyRelu,
        };
        Self {
            latent: 32,
            scorer: network.clone(),
            encoder: network,
            aggregate: Aggregate::Sum,
            beta: 1.0,
            learning_rate: 1e-3,
            weight_decay: 0.0,
            batch: 256,
            epochs: 500,
            ..Self::default()
        }
    }

    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        let check = |holds: bool, sentence: &str| {
            if holds {
                Ok(())
            } else {
                Err(RewardError::Other(format!("latent.{sentence}")))
            }
        };
        check(self.answers > 0, "answers is 0; give at least 1")?;
        check(self.batch > 0, "batch is 0; give at least 1")?;
        check(
            !self.scorer.hidden.contains(&0) && !self.encoder.hidden.contains(&0),
            "scorer and encoder need units in every layer",
        )?;
        check(
            self.beta.is_finite() && self.beta >= 0.0,
            "beta must not be negative",
        )?;
        check(
            (0.0..=1.0).contains(&self.annealing),
            "annealing must lie between 0 and 1",
        )?;
        check(
            self.learning_rate.is_finite() && self.learning_rate > 0.0,
            "learning_rate must be positive",
        )?;
        check(
            self.weight_decay.is_finite() && self.weight_decay >= 0.0,
            "weight_decay must not be negative",
        )?;
        self.objective.validate()
    }

    /// β after a share of the training.
    pub fn beta_at(&self, progress: f64) -> f64 {
        if progress >= self.annealing {
            return self.beta;
        }
        let turn = std::f64::consts::PI * progress / self.annealing;
        self.beta * 0.5 * (1.0 - turn.cos())
    }
}

/// What is known of a person: independent normal distributions of the latent's numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Posterior {
    /// Means, `[latent]`.
    pub mean: Vec<f64>,
    /// Variances, `[latent]`.
    pub variance: Vec<f64>,
}

impl Posterior {
    /// A latent drawn from it.
    pub fn sample(&self, rng: &mut impl Rng) -> Vec<f64> {
        self.mean
            .iter()
            .zip(&self.variance)
            .map(|(m, v)| m + v.sqrt() * normal(rng))
            .collect()
    }

    /// Kullback-Leibler divergence from `prior`, nats: `½ Σ [ln(v_p / v) + (v + (m - m_p)²) / v_p - 1]`. (The released code
    /// leaves the ½ out, which doubles its β.)
    pub fn divergence(&self, prior: &Self) -> f64 {
        let own = self.mean.iter().zip(&self.variance);
        let theirs = prior.mean.iter().zip(&prior.variance);
        own.zip(theirs)
            .map(|((m, v), (mp, vp))| 0.5 * ((vp / v).ln() + (v + (m - mp).powi(2)) / vp - 1.0))
            .sum()
    }
}

/// A standard normal number (Box and Muller).
fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

#[derive(Module, Debug)]
struct LatentNetwork {
    /// `[frame, latent]` to a reward.
    scorer: Network,
    /// An answer to means and precisions, `[2 latent]`.
    encoder: Network,
    /// The prior's means and logarithms of precisions, `[latent]` each.
    prior_mean: Param<Tensor<1>>,
    prior_precision: Param<Tensor<1>>,
}

/// Means and precisions of posteriors, `[sets, latent]` each.
type Beliefs = (Tensor<2>, Tensor<2>);

impl LatentNetwork {
    fn new(config: &LatentConfig, width: usize, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let latent = config.latent;
        // A latent of no numbers still needs a tensor to stand for it.
        let zeros = || {
            Tensor::from_data(
                TensorData::new(vec![0.0f32; latent.max(1)], [latent.max(1)]),
                device,
            )
        };
        Self {
            scorer: Network::new(&config.scorer, width + latent, 1, rng, device),
            encoder: Network::new(
                &config.encoder,
                2 * width + 1,
                2 * latent.max(1),
                rng,
                device,
            ),
            prior_mean: Param::from_tensor(zeros()),
            prior_precision: Param::from_tensor(zeros()),
        }
    }

    fn prior(&self, sets: usize) -> Beliefs {
        let mean = self.prior_mean.val().unsqueeze::<2>();
        let precision = self.prior_precision.val().unsqueeze::<2>().exp();
        (mean.repeat_dim(0, sets), precision.repeat_dim(0, sets))
    }

    /// Each answer is an expert with a mean and a precision; the posterior is their product with the prior. `pool`,
    /// `[sets, answers]`, says whose answer is whose.
    fn encode(&self, answers: Tensor<2>, pool: Tensor<2>) -> Beliefs {
        let sets = pool.dims()[0];
        let (mean, precision) = self.prior(sets);
        let found = self.encoder.forward(answers);
        let latent = found.dims()[1] / 2;
        let own = softplus(found.clone().narrow(1, latent, latent), 1.0);
        let weighed = found.narrow(1, 0, latent) * own.clone();
        let total = precision.clone() + pool.clone().matmul(own);
        let mean = (precision * mean + pool.matmul(weighed)) / total.clone();
        (mean, total)
    }

    /// Mean over sets of the divergence from the prior.
    fn divergence(&self, (mean, precision): &Beliefs) -> Tensor<1> {
        let sets = mean.dims()[0];
        let (prior_mean, prior_precision) = self.prior(sets);
        let ratio = prior_precision.clone() / precision.clone();
        let off = (mean.clone() - prior_mean).square() * prior_precision;
        ((ratio.clone() + off - ratio.log() - 1.0) * 0.5).sum() / sets as f64
    }
}

/// One epoch of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatentEpoch {
    /// Weighted mean loss of the pairs.
    pub loss: f64,
    /// Mean divergence from the prior, nats a person.
    pub divergence: f64,
    /// Its weight at the end of the epoch.
    pub beta: f64,
    /// Weighted share of the pairs in the right order.
    pub accuracy: Option<f64>,
}

/// How a training went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatentReport {
    /// Every epoch.
    pub epochs: Vec<LatentEpoch>,
    /// People.
    pub users: usize,
    /// Pairs.
    pub pairs: usize,
}

/// `r_t = r([x_t, z])` with a person's latent `z`, of which a few answers tell: an encoder makes a normal distribution of each
/// answer, and their product with a learned prior is the person's posterior. Encoder, prior and scorer are trained together to
/// explain the answers from a sample of `z` while the posterior stays near the prior (β times the divergence, annealed).
///
/// Departs from the paper in the encoder: there N answers are laid end to end before one network, so that their number and order
/// matter; here their product takes any number in any order, none gives the prior, and each further answer narrows the posterior.
#[derive(Debug)]
pub struct LatentUsers {
    config: LatentConfig,
    map: InputMap,
    network: LatentNetwork,
    users: BTreeMap<String, Posterior>,
    /// Frames that were compared, `[m * width]`; for [`RewardScale::Comparisons`].
    states: Vec<f32>,
}

/// What goes into `reward.toml`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct People {
    posteriors: BTreeMap<String, Posterior>,
}

/// Samples of a latent that the uncertainty is taken over, and frames that rewards are compared with.
const SAMPLES: usize = 16;
const STATES: usize = 256;

impl LatentUsers {
    pub(crate) const KIND: &str = "latent-users";

    /// Learns from pairs of clips with `encoder`'s features by several people ([`Pair::user`]). The same seed gives the same
    /// result. Fails when there is no pair, on clips without frames, of different widths or with values that are not finite.
    pub fn train(
        encoder: &EncoderSpec,
        pairs: &Pairs,
        config: &LatentConfig,
        seed: u64,
    ) -> Result<(Self, LatentReport), RewardError> {
        config.validate()?;
        pairs.validate()?;
        let map = InputMap::fit(&pairs.clips, &config.inputs, config.scaling)?;
        map.check(encoder)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let device = training_device();
        let clips = map.apply_all(&pairs.clips)?;
        let means = mean_rows(&clips, map.width());
        let users = pairs.users();
        let mut answers: Vec<Vec<usize>> = vec![Vec::new(); users.len()];
        for (i, pair) in pairs.items.iter().enumerate() {
            answers[users.binary_search(&pair.user).unwrap_or(0)].push(i);
        }
        let mut network = LatentNetwork::new(config, map.width(), &mut rng, &device);
        let mut descent = Descent::new(config.learning_rate, config.weight_decay);
        let mut report = LatentReport {
            users: users.len(),
            pairs: pairs.items.len(),
            ..LatentReport::default()
        };
        for epoch in 0..config.epochs {
            let mut sets: Vec<Vec<usize>> = Vec::new();
            for own in &mut answers {
                own.shuffle(&mut rng);
                sets.extend(own.chunks(config.answers).map(<[usize]>::to_vec));
            }
            sets.shuffle(&mut rng);
            let (mut tally, mut divergences, mut beta) = (Tally::default(), 0.0, 0.0);
            let steps = sets.len().div_ceil(config.batch);
            for (step, batch) in sets.chunks(config.batch).enumerate() {
                let progress = (epoch as f64 + step as f64 / steps as f64) / config.epochs as f64;
                beta = config.beta_at(progress);
                let (encoded, pool) =
                    encoder_batch(&pairs.items, batch, &means, map.width(), &device);
                let sides = batch.iter().enumerate().flat_map(|(set, items)| {
                    items.iter().map(move |&i| {
                        let pair = &pairs.items[i];
                        ((pair.first, set), (pair.second, set))
                    })
                });
                let none = vec![Vec::new(); batch.len()];
                let frames =
                    Batch::new(sides, &clips, map.width(), &none, config.aggregate, &device);
                let targets: Vec<PairTarget> = batch
                    .iter()
                    .flatten()
                    .map(|&i| pairs.items[i].target)
                    .collect();
                let mut joined = frames.rows.clone();
                let mut penalty = None;
                if config.latent > 0 {
                    let beliefs = network.encode(encoded, pool);
                    let noise: Vec<f32> = (0..batch.len() * config.latent)
                        .map(|_| normal(&mut rng) as f32)
                        .collect();
                    let noise = rows(&noise, config.latent, &device);
                    let z = beliefs.0.clone() + noise / beliefs.1.clone().sqrt();
                    joined = Tensor::cat(vec![joined, z.select(0, frames.conditions.clone())], 1);
                    let divergence = network.divergence(&beliefs);
                    divergences +=
                        f64::from(values(divergence.clone().detach())?[0]) * batch.len() as f64;
                    // One divergence a set, next to the mean loss of its answers.
                    let share = batch.len() as f64 / targets.len() as f64;
                    penalty = Some(divergence * (beta * share));
                }
                let gaps = frames.gaps(network.scorer.forward(joined));
                tally.add(&config.objective, &values(gaps.clone().detach())?, &targets);
                let (mut loss, _) = config.objective.descend(gaps, &targets)?;
                if let Some(penalty) = penalty {
                    loss = loss + penalty;
                }
                network = descent.step(network, loss)?.0;
            }
            report.epochs.push(LatentEpoch {
                loss: tally.loss().unwrap_or(0.0),
                divergence: divergences / sets.len().max(1) as f64,
                beta,
                accuracy: tally.accuracy(),
            });
        }
        let mut states: Vec<&[f32]> = clips
            .iter()
            .flat_map(|clip| clip.chunks_exact(map.width()))
            .collect();
        states.shuffle(&mut rng);
        let states = states.into_iter().take(STATES).flatten().copied().collect();
        let mut model = Self {
            config: config.clone(),
            map,
            network: network.valid(),
            users: BTreeMap::new(),
            states,
        };
        for (user, own) in users.into_iter().zip(answers) {
            let items = own.into_iter().map(|i| pairs.items[i].clone()).collect();
            let posterior = model.infer_user(&pairs.with_items(items))?;
            model.users.insert(user, posterior);
        }
        Ok((model, report))
    }

    /// The settings.
    pub fn settings(&self) -> &LatentConfig {
        &self.config
    }

    /// What is known of everybody, by name.
    pub fn users(&self) -> &BTreeMap<String, Posterior> {
        &self.users
    }

    /// Keeps what is known of a person under a name. Fails on another width and on variances that are not positive.
    pub fn remember(&mut self, user: &str, posterior: Posterior) -> Result<(), RewardError> {
        let fits = posterior.mean.len() == self.config.latent
            && posterior.variance.len() == self.config.latent
            && posterior.mean.iter().all(|m| m.is_finite())
            && posterior.variance.iter().all(|v| v.is_finite() && *v > 0.0);
        if !fits {
            return Err(RewardError::Other(format!(
                "a person's posterior has {} finite means and positive variances; infer it with infer_user",
                self.config.latent
            )));
        }
        self.users.insert(user.into(), posterior);
        Ok(())
    }

    /// What is known of a person of whom nothing is known.
    pub fn prior(&self) -> Result<Posterior, RewardError> {
        self.read(&self.network.prior(1))
    }

    /// What some answers, whoever's name they bear, tell of who gave them. No answer gives the prior.
    pub fn infer_user(&self, pairs: &Pairs) -> Result<Posterior, RewardError> {
        if pairs.items.is_empty() {
            return self.prior();
        }
        pairs.validate()?;
        let clips = self.map.apply_all(&pairs.clips)?;
        let means = mean_rows(&clips, self.map.width());
        let all: Vec<usize> = (0..pairs.items.len()).collect();
        let (encoded, pool) = encoder_batch(
            &pairs.items,
            &[all],
            &means,
            self.map.width(),
            &Device::flex(),
        );
        self.read(&self.network.encode(encoded, pool))
    }

    fn read(&self, (mean, precision): &Beliefs) -> Result<Posterior, RewardError> {
        let latent = self.config.latent;
        let take = |tensor: &Tensor<2>| -> Result<Vec<f64>, RewardError> {
            let found = values(tensor.clone())?;
            Ok(found.into_iter().take(latent).map(f64::from).collect())
        };
        Ok(Posterior {
            mean: take(mean)?,
            variance: take(precision)?.into_iter().map(|p| 1.0 / p).collect(),
        })
    }

    /// Gap of each pair for a person with the latent `z`, `[pairs]`, positive where they would put the first above.
    pub fn gaps(&self, pairs: &Pairs, z: &[f64]) -> Result<Vec<f64>, RewardError> {
        pairs.validate()?;
        let inputs = self.map.apply_all(&pairs.clips)?;
        let rewards = self.raw(&inputs.concat(), z)?;
        let mut rest = rewards.as_slice();
        let mut returns = Vec::with_capacity(inputs.len());
        for clip in &inputs {
            let (own, others) = rest.split_at(clip.len() / self.map.width());
            let sum: f64 = own.iter().sum();
            returns.push(match self.config.aggregate {
                Aggregate::Sum => sum,
                Aggregate::Mean => sum / own.len() as f64,
            });
            rest = others;
        }
        let gap = |pair: &Pair| returns[pair.first] - returns[pair.second];
        Ok(pairs.items.iter().map(gap).collect())
    }

    /// Gap of each pair under samples of a person's latent, `[pairs][samples]`: for
    /// [`crate::preference::Selection::InformationGain`], whose value is then what the answer tells of the person.
    pub fn sampled_gaps(
        &self,
        pairs: &Pairs,
        posterior: &Posterior,
        samples: usize,
        seed: u64,
    ) -> Result<Vec<Vec<f64>>, RewardError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut gaps = vec![Vec::with_capacity(samples); pairs.items.len()];
        for _ in 0..samples {
            let z = posterior.sample(&mut rng);
            for (all, gap) in gaps.iter_mut().zip(self.gaps(pairs, &z)?) {
                all.push(gap);
            }
        }
        Ok(gaps)
    }

    /// Weighted share of pairs (equal ones left out) that the posterior's mean puts in the right order; None when all are equal.
    pub fn accuracy(
        &self,
        pairs: &Pairs,
        posterior: &Posterior,
    ) -> Result<Option<f64>, RewardError> {
        let gaps: Vec<f32> = self
            .gaps(pairs, &posterior.mean)?
            .into_iter()
            .map(|gap| gap as f32)
            .collect();
        let targets: Vec<PairTarget> = pairs.items.iter().map(|p| p.target).collect();
        let mut tally = Tally::default();
        tally.add(&self.config.objective, &gaps, &targets);
        Ok(tally.accuracy())
    }

    /// The scorer's rewards of frames, `[time]`.
    fn raw(&self, frames: &[f32], z: &[f64]) -> Result<Vec<f64>, RewardError> {
        let mut joined = Vec::new();
        for row in frames.chunks_exact(self.map.width()) {
            joined.extend_from_slice(row);
            joined.extend(z.iter().map(|&z| z as f32));
        }
        let x = rows(&joined, self.map.width() + z.len(), &Device::flex());
        Ok(values(self.network.scorer.forward(x))?
            .into_iter()
            .map(f64::from)
            .collect())
    }

    fn scaled(&self, frames: &[f32], z: &[f64]) -> Result<Vec<f64>, RewardError> {
        let raw = self.raw(frames, z)?;
        if self.config.scale == RewardScale::Raw {
            return Ok(raw);
        }
        let others = self.raw(&self.states, z)?;
        let temperature = self.config.objective.temperature;
        let beats = |r: f64| {
            let sum: f64 = others.iter().map(|o| sigmoid((r - o) / temperature)).sum();
            sum / others.len().max(1) as f64
        };
        Ok(raw.into_iter().map(beats).collect())
    }

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        let config: LatentConfig = parts.table("settings")?;
        config.validate()?;
        let map: InputMap = parts.table("inputs")?;
        let map = map.with_tensors(&parts.tensors_under("inputs"))?;
        let people: People = parts.table("people")?;
        let states = parts.tensor("states")?.values.clone();
        if states.is_empty() || !states.len().is_multiple_of(map.width()) {
            return Err(RewardError::Other(
                "the frames to compare with are missing or of another width; learn the reward again"
                    .into(),
            ));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let network = LatentNetwork::new(&config, map.width(), &mut rng, &Device::flex());
        let network = network::load(network, &parts.tensors_under("network"))?;
        let mut model = Self {
            config,
            map,
            network,
            users: BTreeMap::new(),
            states,
        };
        for (user, posterior) in people.posteriors {
            model.remember(&user, posterior)?;
        }
        Ok(Box::new(model))
    }

    #[cfg(test)]
    pub(super) fn pieces(&self) -> (InputMap, Network) {
        (self.map.clone(), self.network.scorer.clone())
    }
}

fn mean_rows(clips: &[Vec<f32>], width: usize) -> Vec<Vec<f32>> {
    clips.iter().map(|rows| mean_row(rows, width)).collect()
}

/// Rows of answers, `[answers, 2 width + 1]`: the mean frame of the better clip, that of the other, and how decided the answer
/// was; and whose they are, `[sets, answers]`.
fn encoder_batch(
    pairs: &[Pair],
    sets: &[Vec<usize>],
    means: &[Vec<f32>],
    width: usize,
    device: &Device,
) -> (Tensor<2>, Tensor<2>) {
    let count = sets.iter().map(Vec::len).sum::<usize>();
    let mut encoded = Vec::with_capacity(count * (2 * width + 1));
    let mut pool = vec![0.0f32; sets.len() * count];
    let mut at = 0;
    for (set, items) in sets.iter().enumerate() {
        for &i in items {
            let pair = &pairs[i];
            let (better, other) = if pair.target.label >= 0.5 {
                (pair.first, pair.second)
            } else {
                (pair.second, pair.first)
            };
            encoded.extend_from_slice(&means[better]);
            encoded.extend_from_slice(&means[other]);
            encoded.push((2.0 * pair.target.label - 1.0).abs() as f32);
            pool[set * count + at] = 1.0;
            at += 1;
        }
    }
    let pool = Tensor::from_data(TensorData::new(pool, [sets.len(), count]), device);
    (rows(&encoded, 2 * width + 1, device), pool)
}

impl RewardModel for LatentUsers {
    /// The reward for [`Context::user`] at the mean of what is known of them; for a person it does not know, or none, at the
    /// prior's mean. The uncertainty is the standard deviation over samples of the latent.
    fn score(&self, clip: &Clip, context: &Context) -> Result<Signal, RewardError> {
        let known = context.user.as_ref().and_then(|user| self.users.get(user));
        let posterior = match known {
            Some(posterior) => posterior.clone(),
            None => self.prior()?,
        };
        let frames = self.map.apply(clip)?;
        let mut signal = Signal::new(self.scaled(&frames, &posterior.mean)?);
        if let Some(step) = signal.per_step.iter().position(|r| !r.is_finite()) {
            return Err(RewardError::NotFinite {
                what: "the reward".into(),
                step,
            });
        }
        if self.config.latent > 0 {
            let mut rng = ChaCha8Rng::seed_from_u64(0);
            let mut squares = vec![0.0; signal.per_step.len()];
            for _ in 0..SAMPLES {
                let found = self.scaled(&frames, &posterior.sample(&mut rng))?;
                for ((s, r), mean) in squares.iter_mut().zip(found).zip(&signal.per_step) {
                    *s += (r - mean).powi(2) / SAMPLES as f64;
                }
            }
            signal.uncertainty = Some(squares.into_iter().map(f64::sqrt).collect());
        }
        Ok(signal)
    }

    fn causal(&self) -> bool {
        true
    }
}

impl StoredReward for LatentUsers {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        let people = People {
            posteriors: self.users.clone(),
        };
        let mut table = toml::Table::new();
        table.insert("settings".into(), to_toml(&self.config)?);
        table.insert("inputs".into(), to_toml(&self.map)?);
        table.insert("people".into(), to_toml(&people)?);
        Ok(table)
    }

    fn tensors(&self) -> Tensors {
        let mut all = prefixed("inputs", self.map.tensors());
        let network = network::tensors(&self.network).unwrap_or_default();
        all.extend(prefixed("network", network));
        let width = self.map.width();
        let states = Stored {
            shape: vec![self.states.len() / width, width],
            values: self.states.clone(),
        };
        all.insert("states".into(), states);
        all
    }
}
