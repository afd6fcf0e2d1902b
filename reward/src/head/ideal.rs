//! [`IdealPoints`]: every person has an ideal, a mixture of a few prototypes (PAL, arXiv 2406.08469).

mod config;
mod fit;

pub use config::{IdealConfig, IdealDistance, IdealSpace};

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::EncoderSpec;
use serde::{Deserialize, Serialize};

use self::fit::{Fit, mix};
use super::config::Aggregate;
use super::pairs::{Pair, Pairs};
use super::scorer::{Batch, InputMap, Side};
use super::train::{MemberReport, Schedule, Tally, descend};
use crate::model::{Clip, Context, RewardError, RewardModel, Signal};
use crate::network::{self, Network, rows, training_device, values};
use crate::objective::PairTarget;
use crate::store::{Parts, StoredReward, Tensor as Stored, Tensors, prefixed, to_toml};

#[derive(Module, Debug)]
struct IdealNetwork {
    map: Option<Network>,
    /// `[prototypes, dim]`.
    prototypes: Param<Tensor<2>>,
    /// Logits of the mixtures, `[users, prototypes]`.
    mixtures: Param<Tensor<2>>,
}

impl IdealNetwork {
    fn embed(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.map {
            Some(map) => map.forward(x),
            None => x,
        }
    }
}

fn distances(off: Tensor<2>, distance: IdealDistance) -> Tensor<2> {
    let squares = off.square().sum_dim(1);
    match distance {
        IdealDistance::Squared => squares,
        IdealDistance::Norm => (squares + 1e-12).sqrt(),
    }
}

/// How a training went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IdealReport {
    /// The training.
    pub training: MemberReport,
    /// Pairs trained on.
    pub pairs: usize,
    /// Share of the training pairs in the right order.
    pub training_accuracy: Option<f64>,
    /// Share of those kept aside.
    pub validation_accuracy: Option<f64>,
}

/// `r_t = -|f(x_t) - u|²` with the ideal `u = Σ_k w_k p_k` of prototypes `p_k` that all people share and a mixture `w` of one's
/// own: at least 0, summing to 1. A new person needs K numbers only. The map and the prototypes learn with every person's
/// weight the same, however much they said.
#[derive(Debug)]
pub struct IdealPoints {
    config: IdealConfig,
    map: InputMap,
    network: IdealNetwork,
    mixtures: BTreeMap<String, Vec<f64>>,
}

/// What goes into `reward.toml`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct People {
    mixtures: BTreeMap<String, Vec<f64>>,
}

fn new_network(
    config: &IdealConfig,
    width: usize,
    users: usize,
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> IdealNetwork {
    let (map, dim) = match &config.space {
        IdealSpace::Inputs => (None, width),
        IdealSpace::Learned { dim, network } => {
            (Some(Network::new(network, width, *dim, rng, device)), *dim)
        }
    };
    let mut uniform = |rows: usize, columns: usize, bound: f32| {
        let values: Vec<f32> = (0..rows * columns)
            .map(|_| rng.random_range(-bound..=bound))
            .collect();
        Param::from_tensor(Tensor::from_data(
            TensorData::new(values, [rows, columns]),
            device,
        ))
    };
    let prototypes = uniform(config.prototypes, dim, 0.5);
    // Not all alike: a mixture that starts in the middle sees every prototype pull the same way.
    let mixtures = uniform(users, config.prototypes, 0.5);
    IdealNetwork {
        map,
        prototypes,
        mixtures,
    }
}

impl IdealPoints {
    pub(crate) const KIND: &str = "ideal-points";

    /// Learns from pairs of clips with `encoder`'s features by several people ([`Pair::user`]). The same seed gives the same
    /// result. Fails when there is no pair, on clips without frames, of different widths or with values that are not finite.
    pub fn train(
        encoder: &EncoderSpec,
        pairs: &Pairs,
        config: &IdealConfig,
        seed: u64,
    ) -> Result<(Self, IdealReport), RewardError> {
        config.validate()?;
        pairs.validate()?;
        let map = InputMap::fit(&pairs.clips, &config.inputs, config.scaling)?;
        map.check(encoder)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let users = pairs.users();
        let (training, validation) = pairs.split(config.validation, &mut rng);
        let split = training.len();
        let mut all: Vec<Pair> = training.into_iter().chain(validation).collect();
        balance(&mut all[..split]);
        let clips = map.apply_all(&pairs.clips)?;
        let user_of = |pair: &Pair| users.binary_search(&pair.user).unwrap_or(0);
        let sides: Vec<(Side, Side)> = all
            .iter()
            .map(|pair| {
                let user = user_of(pair);
                ((pair.first, user), (pair.second, user))
            })
            .collect();
        let none = vec![Vec::new(); users.len()];
        let target = |i: usize| (i, all[i].target);
        let own: Vec<(usize, PairTarget)> = (0..split).map(target).collect();
        let held: Vec<(usize, PairTarget)> = (split..all.len()).map(target).collect();
        let network = new_network(
            config,
            map.width(),
            users.len(),
            &mut rng,
            &training_device(),
        );
        let schedule = Schedule {
            objective: &config.objective,
            epochs: config.epochs,
            batch: config.batch,
            learning_rate: config.learning_rate,
            weight_decay: config.weight_decay,
            stop_at_accuracy: None,
        };
        let gaps = |network: &IdealNetwork, items: &[usize], device: &Device| {
            let sides = items.iter().map(|&i| sides[i]);
            let batch = Batch::new(sides, &clips, map.width(), &none, config.aggregate, device);
            let ideals = softmax(network.mixtures.val(), 1).matmul(network.prototypes.val());
            let off =
                network.embed(batch.rows.clone()) - ideals.select(0, batch.conditions.clone());
            Ok(batch.gaps(-distances(off, config.distance)))
        };
        let (network, training) = descend(network, &own, &held, &schedule, &mut rng, gaps)?;
        let network = network.valid();
        let mut tally = [Tally::default(), Tally::default()];
        for (part, items) in tally.iter_mut().zip([&own, &held]) {
            for chunk in items.chunks(256) {
                let (items, targets): (Vec<usize>, Vec<PairTarget>) = chunk.iter().copied().unzip();
                let found = values(gaps(&network, &items, &Device::flex())?)?;
                part.add(&config.objective, &found, &targets);
            }
        }
        let mixed = values(softmax(network.mixtures.val(), 1))?;
        let mixtures = users
            .into_iter()
            .zip(mixed.chunks_exact(config.prototypes))
            .map(|(user, w)| {
                let sum: f64 = w.iter().map(|&w| f64::from(w)).sum();
                (user, w.iter().map(|&w| f64::from(w) / sum).collect())
            })
            .collect();
        let report = IdealReport {
            training,
            pairs: split,
            training_accuracy: tally[0].accuracy(),
            validation_accuracy: tally[1].accuracy(),
        };
        let model = Self {
            config: config.clone(),
            map,
            network,
            mixtures,
        };
        Ok((model, report))
    }

    /// The settings.
    pub fn settings(&self) -> &IdealConfig {
        &self.config
    }

    /// Everybody's mixture, by name, `[prototypes]` each.
    pub fn mixtures(&self) -> &BTreeMap<String, Vec<f64>> {
        &self.mixtures
    }

    /// The mean mixture: what is taken for a person of whom nothing is known.
    pub fn mean_mixture(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.config.prototypes];
        for mixture in self.mixtures.values() {
            for (m, w) in mean.iter_mut().zip(mixture) {
                *m += w / self.mixtures.len() as f64;
            }
        }
        mean
    }

    /// Keeps a person's mixture under a name. Fails when it is not one.
    pub fn remember(&mut self, user: &str, mixture: Vec<f64>) -> Result<(), RewardError> {
        let sum: f64 = mixture.iter().sum();
        if mixture.len() != self.config.prototypes
            || mixture.iter().any(|w| w.is_nan() || *w < 0.0)
            || (sum - 1.0).abs() > 1e-6
        {
            return Err(RewardError::Other(format!(
                "a mixture has {} shares that sum to 1; fit it with fit_user",
                self.config.prototypes
            )));
        }
        self.mixtures.insert(user.into(), mixture);
        Ok(())
    }

    /// The mixture of a new person from some pairs, whoever said them: the minimum of
    /// `Σ_i w_i loss_i + prior · KL(mean mixture ‖ mixture)` over the simplex, by exponentiated gradient descent. With
    /// [`IdealDistance::Squared`] and a convex loss that is the one minimum; no pair gives the mean mixture.
    pub fn fit_user(&self, pairs: &Pairs) -> Result<Vec<f64>, RewardError> {
        let start = self.mean_mixture();
        if pairs.items.is_empty() {
            return Ok(start);
        }
        pairs.validate()?;
        let (prototypes, dim) = self.prototypes()?;
        let embedded = self.embed_all(&pairs.clips)?;
        let fit = Fit {
            model: self,
            pairs: &pairs.items,
            clips: &embedded,
            prototypes: &prototypes,
            dim,
            mean: &start,
        };
        let mut mixture: Vec<f64> = start.iter().map(|w| w.max(1e-9)).collect();
        let (mut value, mut gradient) = fit.evaluate(&mixture);
        let mut rate = 1.0;
        for _ in 0..500 {
            let least = gradient.iter().copied().fold(f64::INFINITY, f64::min);
            let mut next: Vec<f64> = mixture
                .iter()
                .zip(&gradient)
                .map(|(w, g)| (w * (-rate * (g - least)).exp()).max(1e-12))
                .collect();
            let sum: f64 = next.iter().sum();
            next.iter_mut().for_each(|w| *w /= sum);
            let (lower, slope) = fit.evaluate(&next);
            if lower <= value {
                let moved: f64 = next.iter().zip(&mixture).map(|(a, b)| (a - b).abs()).sum();
                (mixture, value, gradient) = (next, lower, slope);
                rate *= 1.3;
                if moved < 1e-10 {
                    break;
                }
            } else {
                rate *= 0.5;
                if rate < 1e-12 {
                    break;
                }
            }
        }
        Ok(mixture)
    }

    /// Gap of each pair under a mixture, `[pairs]`, positive where it agrees that the first is better.
    pub fn gaps(&self, pairs: &Pairs, mixture: &[f64]) -> Result<Vec<f64>, RewardError> {
        pairs.validate()?;
        let (prototypes, dim) = self.prototypes()?;
        let embedded = self.embed_all(&pairs.clips)?;
        let ideal = mix(mixture, &prototypes, dim);
        let pooled: Vec<f64> = embedded
            .iter()
            .map(|clip| self.pool(&self.rewards(clip, &ideal)))
            .collect();
        let gap = |pair: &Pair| pooled[pair.first] - pooled[pair.second];
        Ok(pairs.items.iter().map(gap).collect())
    }

    /// Weighted share of pairs (equal ones left out) in the right order, each under the mixture of who said it, or the mean
    /// mixture for people it does not know; None when all are equal.
    pub fn accuracy(&self, pairs: &Pairs) -> Result<Option<f64>, RewardError> {
        let mut tally = Tally::default();
        for user in pairs.users() {
            let items = pairs.items.iter().filter(|p| p.user == user);
            let own = pairs.with_items(items.cloned().collect());
            let mixture = match self.mixtures.get(&user) {
                Some(mixture) => mixture.clone(),
                None => self.mean_mixture(),
            };
            let gaps: Vec<f32> = self
                .gaps(&own, &mixture)?
                .into_iter()
                .map(|g| g as f32)
                .collect();
            let targets: Vec<PairTarget> = own.items.iter().map(|p| p.target).collect();
            tally.add(&self.config.objective, &gaps, &targets);
        }
        Ok(tally.accuracy())
    }

    /// `[prototypes * dim]` and the width.
    fn prototypes(&self) -> Result<(Vec<f64>, usize), RewardError> {
        let tensor = self.network.prototypes.val();
        let dim = tensor.dims()[1];
        Ok((values(tensor)?.into_iter().map(f64::from).collect(), dim))
    }

    #[cfg(test)]
    pub(super) fn prototype_values(&self) -> (Vec<f64>, usize) {
        self.prototypes().unwrap()
    }

    fn embed(&self, clip: &Clip) -> Result<Vec<f64>, RewardError> {
        let x = rows(&self.map.apply(clip)?, self.map.width(), &Device::flex());
        Ok(values(self.network.embed(x))?
            .into_iter()
            .map(f64::from)
            .collect())
    }

    /// All clips in one pass.
    fn embed_all(&self, clips: &[Clip]) -> Result<Vec<Vec<f64>>, RewardError> {
        let inputs = self.map.apply_all(clips)?;
        let width = self.map.width();
        let x = rows(&inputs.concat(), width, &Device::flex());
        let found = values(self.network.embed(x))?;
        let dim = self.network.prototypes.val().dims()[1];
        let mut rest = found.as_slice();
        let mut all = Vec::with_capacity(inputs.len());
        for clip in &inputs {
            let (own, others) = rest.split_at(clip.len() / width * dim);
            all.push(own.iter().map(|&v| f64::from(v)).collect());
            rest = others;
        }
        Ok(all)
    }

    /// `[time]`, given embedded frames.
    fn rewards(&self, frames: &[f64], ideal: &[f64]) -> Vec<f64> {
        frames
            .chunks_exact(ideal.len())
            .map(|f| {
                let squares: f64 = f.iter().zip(ideal).map(|(f, u)| (f - u).powi(2)).sum();
                match self.config.distance {
                    IdealDistance::Squared => -squares,
                    IdealDistance::Norm => -(squares + 1e-12).sqrt(),
                }
            })
            .collect()
    }

    fn pool(&self, rewards: &[f64]) -> f64 {
        let sum: f64 = rewards.iter().sum();
        match self.config.aggregate {
            Aggregate::Sum => sum,
            Aggregate::Mean => sum / rewards.len().max(1) as f64,
        }
    }

    fn mixture(&self, context: &Context) -> Vec<f64> {
        context
            .user
            .as_ref()
            .and_then(|user| self.mixtures.get(user).cloned())
            .unwrap_or_else(|| self.mean_mixture())
    }

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        let config: IdealConfig = parts.table("settings")?;
        config.validate()?;
        let map: InputMap = parts.table("inputs")?;
        let map = map.with_tensors(&parts.tensors_under("inputs"))?;
        let people: People = parts.table("people")?;
        let users = parts.tensor("network.mixtures")?.shape.first().copied();
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let network = new_network(
            &config,
            map.width(),
            users.unwrap_or(0),
            &mut rng,
            &Device::flex(),
        );
        let network = network::load(network, &parts.tensors_under("network"))?;
        let mut model = Self {
            config,
            map,
            network,
            mixtures: BTreeMap::new(),
        };
        for (user, mixture) in people.mixtures {
            model.remember(&user, mixture)?;
        }
        Ok(Box::new(model))
    }
}

/// Makes everybody's pairs weigh as much together, and all of them as much as before.
fn balance(pairs: &mut [Pair]) {
    let mut by_user: BTreeMap<String, f64> = BTreeMap::new();
    for pair in pairs.iter() {
        *by_user.entry(pair.user.clone()).or_default() += pair.target.weight;
    }
    let share = by_user.values().sum::<f64>() / by_user.len().max(1) as f64;
    for pair in pairs {
        let own = by_user[&pair.user];
        if own > 0.0 {
            pair.target.weight *= share / own;
        }
    }
}

impl RewardModel for IdealPoints {
    /// The reward for [`Context::user`]; for a person it does not know, or none, that of the mean mixture. The terms are the
    /// rewards that each prototype alone would give.
    fn score(&self, clip: &Clip, context: &Context) -> Result<Signal, RewardError> {
        let (prototypes, dim) = self.prototypes()?;
        let frames = self.embed(clip)?;
        let ideal = mix(&self.mixture(context), &prototypes, dim);
        let mut signal = Signal::new(self.rewards(&frames, &ideal));
        if let Some(step) = signal.per_step.iter().position(|r| !r.is_finite()) {
            return Err(RewardError::NotFinite {
                what: "the reward".into(),
                step,
            });
        }
        for (k, prototype) in prototypes.chunks_exact(dim).enumerate() {
            let term = self.rewards(&frames, prototype);
            signal.terms.insert(format!("prototype {k}"), term);
        }
        Ok(signal)
    }

    fn causal(&self) -> bool {
        true
    }
}

impl StoredReward for IdealPoints {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        let people = People {
            mixtures: self.mixtures.clone(),
        };
        let mut table = toml::Table::new();
        table.insert("settings".into(), to_toml(&self.config)?);
        table.insert("inputs".into(), to_toml(&self.map)?);
        table.insert("people".into(), to_toml(&people)?);
        Ok(table)
    }

    fn tensors(&self) -> Result<Tensors, RewardError> {
        let mut all: BTreeMap<String, Stored> = prefixed("inputs", self.map.tensors());
        let network = network::tensors(&self.network)?;
        all.extend(prefixed("network", network));
        Ok(all)
    }
}
