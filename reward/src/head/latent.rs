//! [`LatentUsers`]: a person is a few numbers, inferred from a few of their answers (VPL, arXiv 2408.10075).

mod belief;
mod config;
mod posterior;

pub use config::{LatentConfig, RewardScale};
pub use posterior::Posterior;

use std::collections::BTreeMap;

use burn::module::Module as _;
use burn::tensor::{Device, Tensor};
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use rapport_perception::EncoderSpec;
use serde::{Deserialize, Serialize};

use self::belief::{Beliefs, LatentNetwork, encoder_batch};
use self::posterior::normal;
use super::config::Aggregate;
use super::pairs::{Pair, Pairs};
use super::scorer::{Batch, InputMap, mean_row};
use super::train::Tally;
use crate::model::{Clip, Context, RewardError, RewardModel, Signal};
#[cfg(test)]
use crate::network::Network;
use crate::network::{self, Descent, rows, training_device, values};
use crate::objective::{PairTarget, sigmoid};
use crate::store::{Parts, StoredReward, Tensor as Stored, Tensors, prefixed, to_toml};

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

    fn tensors(&self) -> Result<Tensors, RewardError> {
        let mut all = prefixed("inputs", self.map.tensors());
        let network = network::tensors(&self.network)?;
        all.extend(prefixed("network", network));
        let width = self.map.width();
        let states = Stored {
            shape: vec![self.states.len() / width, width],
            values: self.states.clone(),
        };
        all.insert("states".into(), states);
        Ok(all)
    }
}
