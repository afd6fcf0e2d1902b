//! [`PreferenceHead`]: an ensemble of scorers, learned from comparisons.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::EncoderSpec;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::condition::{Appended, Condition};
use super::config::{Aggregate, HeadConfig, Output, Resampling};
use super::pairs::{Pair, Pairs, bootstrap};
use super::scorer::{Batch, InputMap, Side, mean_row};
use super::train::{MemberReport, Schedule, Tally, descend};
use crate::model::{Clip, Context, RewardError, RewardModel, Signal, check_features};
use crate::network::{Network, rows, training_device, values};
use crate::objective::{PairTarget, sigmoid};

/// How a training went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeadReport {
    /// Each member's training.
    pub members: Vec<MemberReport>,
    /// Pairs trained on.
    pub training: usize,
    /// Pairs kept aside.
    pub validation: usize,
    /// Share of the training pairs (equal ones left out) that the ensemble puts in the right order.
    pub training_accuracy: Option<f64>,
    /// Share of those kept aside.
    pub validation_accuracy: Option<f64>,
    /// Weighted mean loss of the ensemble's mean gap on those kept aside.
    pub validation_loss: Option<f64>,
}

/// How likely a first clip is better than a second.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Mean over members.
    pub probability: f64,
    /// Each member's.
    pub members: Vec<f64>,
    /// Each member's gap of rewards; averaged over situations where none is named.
    pub gaps: Vec<f64>,
}

/// `r_t = mean_k f_k([x_t, c]) - o_k` with networks `f_k`, inputs `x_t` and an appended vector `c` ([`Condition`]); the standard
/// deviation over members is the uncertainty. The constants `o_k` are each member's mean reward over the training frames, taken
/// off where the comparisons leave it open, so that members disagree only in what they were taught.
pub struct PreferenceHead {
    config: HeadConfig,
    encoder: EncoderSpec,
    map: InputMap,
    condition: Appended,
    /// Rows of the clips that one is compared with; only where it compares with clips.
    references: Vec<Vec<f32>>,
    /// What is appended, by the condition's index.
    conditions: Vec<Vec<f32>>,
    members: Vec<Network>,
    offsets: Vec<f64>,
}

impl std::fmt::Debug for PreferenceHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreferenceHead")
            .field("config", &self.config)
            .field("condition", &self.condition)
            .field("members", &self.members.len())
            .finish_non_exhaustive()
    }
}

/// Clips and pairs, made ready for a network.
struct Ready {
    clips: Vec<Vec<f32>>,
    conditions: Vec<Vec<f32>>,
    sides: Vec<(Side, Side)>,
}

impl PreferenceHead {
    /// Learns from pairs of clips with `encoder`'s features. The same seed gives the same result. Fails when there is no pair,
    /// on clips without frames, of different widths or with values that are not finite.
    pub fn train(
        encoder: &EncoderSpec,
        pairs: &Pairs,
        condition: Condition,
        config: &HeadConfig,
        seed: u64,
    ) -> Result<(Self, HeadReport), RewardError> {
        config.validate()?;
        condition.validate()?;
        pairs.validate()?;
        if matches!(condition, Condition::Reference(_)) && config.aggregate != Aggregate::Mean {
            return Err(RewardError::Other(
                "a comparative reward is a mean over frames; set head.aggregate to mean".into(),
            ));
        }
        let map = InputMap::fit(&pairs.clips, &config.inputs, config.scaling)?;
        map.check(encoder)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut head = Self::untrained(encoder, map, condition, config)?;
        let weighed = Pairs {
            clips: Vec::new(),
            items: pairs
                .items
                .iter()
                .cloned()
                .map(|mut pair| {
                    if pair.target.label == 0.5 {
                        pair.target.weight *= config.equal_weight;
                    }
                    pair
                })
                .filter(|pair| pair.target.weight > 0.0)
                .collect(),
            skipped: 0,
        };
        if weighed.items.is_empty() {
            return Err(RewardError::Other(
                "all answers weigh nothing or call clips equal while head.equal_weight is 0; add answers or raise it"
                    .into(),
            ));
        }
        let (training, validation) = weighed.split(config.validation, &mut rng);
        let split = training.len();
        let all: Vec<Pair> = training.iter().chain(&validation).cloned().collect();
        let ready = head.prepare(&pairs.clips, &all)?;
        let held: Vec<(usize, PairTarget)> =
            (split..all.len()).map(|i| (i, all[i].target)).collect();
        let seeds: Vec<u64> = (0..config.members).map(|_| rng.random()).collect();
        let trained: Vec<(Network, MemberReport)> = seeds
            .par_iter()
            .map(|&seed| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let network = Network::new(
                    &config.network,
                    head.width(),
                    1,
                    &mut rng,
                    &training_device(),
                );
                let own: Vec<(usize, PairTarget)> = match config.resampling {
                    Resampling::All => (0..split).map(|i| (i, all[i].target)).collect(),
                    Resampling::Bootstrap => bootstrap(&all[..split], &mut rng),
                };
                let schedule = Schedule {
                    objective: &config.objective,
                    epochs: config.epochs,
                    batch: config.batch,
                    learning_rate: config.learning_rate,
                    weight_decay: config.weight_decay,
                    stop_at_accuracy: config.stop_at_accuracy,
                };
                let (network, report) = descend(
                    network,
                    &own,
                    &held,
                    &schedule,
                    &mut rng,
                    |network, items, device| {
                        let sides = items.iter().map(|&i| ready.sides[i]);
                        let batch = head.batch(sides, &ready, device);
                        Ok(batch.gaps(head.output(network.forward(batch.rows.clone()))))
                    },
                )?;
                Ok((network.valid(), report))
            })
            .collect::<Result<_, RewardError>>()?;
        let mut report = HeadReport {
            training: split,
            validation: all.len() - split,
            ..HeadReport::default()
        };
        for (network, member) in trained {
            head.members.push(network);
            report.members.push(member);
        }
        head.offsets = vec![0.0; head.members.len()];
        head.fit_offsets(&ready)?;
        let (mut seen, mut unseen) = (Tally::default(), Tally::default());
        let gaps = head.mean_gaps(&ready)?;
        let targets: Vec<PairTarget> = all.iter().map(|pair| pair.target).collect();
        seen.add(&config.objective, &gaps[..split], &targets[..split]);
        unseen.add(&config.objective, &gaps[split..], &targets[split..]);
        report.training_accuracy = seen.accuracy();
        report.validation_accuracy = unseen.accuracy();
        report.validation_loss = unseen.loss();
        Ok((head, report))
    }

    pub(super) fn untrained(
        encoder: &EncoderSpec,
        map: InputMap,
        condition: Condition,
        config: &HeadConfig,
    ) -> Result<Self, RewardError> {
        let references = match &condition {
            Condition::Reference(clips) => clips
                .iter()
                .map(|clip| map.apply(clip))
                .collect::<Result<_, _>>()?,
            _ => Vec::new(),
        };
        Self::assemble(
            encoder,
            map,
            condition.kind(),
            references,
            config,
            Vec::new(),
            Vec::new(),
        )
    }

    pub(super) fn assemble(
        encoder: &EncoderSpec,
        map: InputMap,
        condition: Appended,
        references: Vec<Vec<f32>>,
        config: &HeadConfig,
        members: Vec<Network>,
        offsets: Vec<f64>,
    ) -> Result<Self, RewardError> {
        let conditions = match &condition {
            Appended::None => vec![Vec::new()],
            Appended::Table(table) => {
                table.validate()?;
                table.vectors.clone()
            }
            Appended::Reference => references
                .iter()
                .map(|rows| mean_row(rows, map.width()))
                .collect(),
        };
        Ok(Self {
            config: config.clone(),
            encoder: encoder.clone(),
            map,
            condition,
            references,
            conditions,
            members,
            offsets,
        })
    }

    /// One member, and nothing appended.
    #[cfg(test)]
    pub(super) fn of_scorer(
        encoder: &EncoderSpec,
        map: InputMap,
        scorer: Network,
        config: &HeadConfig,
    ) -> Self {
        let (none, alone) = (Appended::None, vec![scorer]);
        Self::assemble(encoder, map, none, Vec::new(), config, alone, vec![0.0]).unwrap()
    }

    /// The settings.
    pub fn settings(&self) -> &HeadConfig {
        &self.config
    }

    /// Number of networks.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// Width of what the networks take.
    pub(super) fn width(&self) -> usize {
        self.map.width() + self.conditions.first().map_or(0, Vec::len)
    }

    /// How likely `first` is better than `second`. Where the head is conditioned and the context names nothing, probabilities
    /// are averaged: `p(a ≻ b) = Σ_c p(c) p(a ≻ b | c)`. Where it compares with a reference clip, the two are each other's.
    pub fn compare(
        &self,
        first: &Clip,
        second: &Clip,
        context: &Context,
    ) -> Result<Verdict, RewardError> {
        let rows = [self.map.apply(first)?, self.map.apply(second)?];
        let weigh = match self.condition {
            Appended::Reference => vec![(0, 1.0)],
            _ => self.condition.of_context(context)?,
        };
        let mut verdict = Verdict {
            probability: 0.0,
            members: vec![0.0; self.members.len()],
            gaps: vec![0.0; self.members.len()],
        };
        for (c, weight) in weigh {
            let [a, b] = self.sides_of(&rows, c);
            for (k, network) in self.members.iter().enumerate() {
                let gap =
                    self.pooled(network, &rows[0], &a)? - self.pooled(network, &rows[1], &b)?;
                let p = self.config.objective.evaluate(gap, 0.5).probability;
                verdict.members[k] += weight * p;
                verdict.gaps[k] += weight * gap;
            }
        }
        verdict.probability =
            verdict.members.iter().sum::<f64>() / self.members.len().max(1) as f64;
        Ok(verdict)
    }

    /// Each member's return of each clip, `[clips][members]`: what queries are chosen and labels cleaned by. Not for heads that
    /// compare with a reference clip: those have no return of one clip.
    pub fn returns(&self, clips: &[Clip], context: &Context) -> Result<Vec<Vec<f64>>, RewardError> {
        if matches!(self.condition, Appended::Reference) {
            return Err(RewardError::Other(
                "a comparative reward gives no return of one clip; compare two".into(),
            ));
        }
        let weigh = self.condition.of_context(context)?;
        clips
            .par_iter()
            .map(|clip| {
                let rows = self.map.apply(clip)?;
                let length = rows.len() / self.map.width();
                let frames = match self.config.aggregate {
                    Aggregate::Sum => length as f64,
                    Aggregate::Mean => 1.0,
                };
                (0..self.members.len())
                    .map(|k| {
                        let mut sum = -self.offsets[k] * frames;
                        for &(c, weight) in &weigh {
                            sum += weight
                                * self.pooled(&self.members[k], &rows, &self.conditions[c])?;
                        }
                        Ok(sum)
                    })
                    .collect()
            })
            .collect()
    }

    /// Each member's gap of each pair, `[pairs][members]`, positive where it agrees that the first is better; each pair in its
    /// own situation.
    pub fn gaps(&self, pairs: &Pairs) -> Result<Vec<Vec<f64>>, RewardError> {
        pairs.validate()?;
        let ready = self.prepare(&pairs.clips, &pairs.items)?;
        let by_member = self.member_gaps(&ready)?;
        Ok((0..pairs.items.len())
            .map(|i| by_member.iter().map(|gaps| f64::from(gaps[i])).collect())
            .collect())
    }

    /// Weighted share of pairs (equal ones left out) that the mean of the members puts in the right order; None when all are
    /// equal.
    pub fn accuracy(&self, pairs: &Pairs) -> Result<Option<f64>, RewardError> {
        pairs.validate()?;
        let ready = self.prepare(&pairs.clips, &pairs.items)?;
        let targets: Vec<PairTarget> = pairs.items.iter().map(|pair| pair.target).collect();
        let mut tally = Tally::default();
        tally.add(&self.config.objective, &self.mean_gaps(&ready)?, &targets);
        Ok(tally.accuracy())
    }

    /// Which way a linear head goes in its inputs' own units, `[inputs]`, of length 1: the axis that a person's order of
    /// examples names (Latent Compass, arXiv 2012.14283). None for heads that are not linear, conditioned, or flat.
    pub fn direction(&self) -> Option<Vec<f64>> {
        if !self.config.network.hidden.is_empty() || !matches!(self.condition, Appended::None) {
            return None;
        }
        let mut sum = vec![0.0; self.map.width()];
        for network in &self.members {
            let weight = values(network.layers()[0].weight.val()).ok()?;
            for ((s, w), scale) in sum.iter_mut().zip(weight).zip(&self.map.scale) {
                *s += f64::from(w) * f64::from(*scale);
            }
        }
        let norm = sum.iter().map(|v| v * v).sum::<f64>().sqrt();
        (norm > 0.0).then(|| sum.iter().map(|v| v / norm).collect())
    }

    /// The mean row of each clip's inputs.
    pub(super) fn mean_inputs(&self, clips: &[Clip]) -> Result<Vec<Vec<f32>>, RewardError> {
        let rows = self.map.apply_all(clips)?;
        Ok(rows.iter().map(|r| mean_row(r, self.map.width())).collect())
    }

    fn prepare(&self, clips: &[Clip], items: &[Pair]) -> Result<Ready, RewardError> {
        let clips = self.map.apply_all(clips)?;
        let mut sides = Vec::new();
        for pair in items {
            sides.push(match self.condition {
                Appended::Reference => ((pair.first, pair.second), (pair.second, pair.first)),
                _ => {
                    let c = self.condition.of_pair(pair)?;
                    ((pair.first, c), (pair.second, c))
                }
            });
        }
        let conditions = match self.condition {
            Appended::Reference => clips
                .iter()
                .map(|rows| mean_row(rows, self.map.width()))
                .collect(),
            _ => self.conditions.clone(),
        };
        Ok(Ready {
            clips,
            conditions,
            sides,
        })
    }

    fn batch(
        &self,
        sides: impl IntoIterator<Item = (Side, Side)>,
        ready: &Ready,
        device: &Device,
    ) -> Batch {
        Batch::new(
            sides,
            &ready.clips,
            self.map.width(),
            &ready.conditions,
            self.config.aggregate,
            device,
        )
    }

    fn output(&self, rewards: Tensor<2>) -> Tensor<2> {
        match self.config.output {
            Output::Linear => rewards,
            Output::Tanh => rewards.tanh(),
        }
    }

    /// What stands beside each of two clips.
    fn sides_of(&self, rows: &[Vec<f32>; 2], condition: usize) -> [Vec<f32>; 2] {
        match self.condition {
            Appended::Reference => [
                mean_row(&rows[1], self.map.width()),
                mean_row(&rows[0], self.map.width()),
            ],
            _ => [
                self.conditions[condition].clone(),
                self.conditions[condition].clone(),
            ],
        }
    }

    /// A member's rewards of frames beside a condition, `[time]`, with its constant left in.
    fn frames(
        &self,
        network: &Network,
        frames: &[f32],
        condition: &[f32],
    ) -> Result<Vec<f64>, RewardError> {
        let mut joined = Vec::new();
        for row in frames.chunks_exact(self.map.width()) {
            joined.extend_from_slice(row);
            joined.extend_from_slice(condition);
        }
        let x = rows(&joined, self.width(), &Device::flex());
        Ok(values(self.output(network.forward(x)))?
            .into_iter()
            .map(f64::from)
            .collect())
    }

    fn pooled(
        &self,
        network: &Network,
        frames: &[f32],
        condition: &[f32],
    ) -> Result<f64, RewardError> {
        let rewards = self.frames(network, frames, condition)?;
        let sum: f64 = rewards.iter().sum();
        Ok(match self.config.aggregate {
            Aggregate::Sum => sum,
            Aggregate::Mean => sum / rewards.len() as f64,
        })
    }

    /// Takes each member's mean reward off, where comparisons say nothing about it: when all training clips are equally long
    /// or rewards are averaged, and nothing bounds them.
    fn fit_offsets(&mut self, ready: &Ready) -> Result<(), RewardError> {
        let length = ready.clips[0].len();
        let open = self.config.aggregate == Aggregate::Mean
            || ready.clips.iter().all(|clip| clip.len() == length);
        if !open
            || self.config.output == Output::Tanh
            || matches!(self.condition, Appended::Reference)
        {
            return Ok(());
        }
        let weigh = self.condition.of_context(&Context::default())?;
        for k in 0..self.members.len() {
            let (mut sum, mut count) = (0.0, 0.0);
            for clip in &ready.clips {
                for &(c, weight) in &weigh {
                    let rewards = self.frames(&self.members[k], clip, &self.conditions[c])?;
                    sum += weight * rewards.iter().sum::<f64>();
                }
                count += (clip.len() / self.map.width()) as f64;
            }
            // In the precision that it is stored in.
            self.offsets[k] = f64::from((sum / count) as f32);
        }
        Ok(())
    }

    fn member_gaps(&self, ready: &Ready) -> Result<Vec<Vec<f32>>, RewardError> {
        self.members
            .par_iter()
            .map(|network| {
                let mut gaps = Vec::new();
                for sides in ready.sides.chunks(256) {
                    let batch = self.batch(sides.iter().copied(), ready, &Device::flex());
                    let rewards = self.output(network.forward(batch.rows.clone()));
                    gaps.extend(values(batch.gaps(rewards))?);
                }
                Ok(gaps)
            })
            .collect()
    }

    fn mean_gaps(&self, ready: &Ready) -> Result<Vec<f32>, RewardError> {
        let by_member = self.member_gaps(ready)?;
        Ok((0..ready.sides.len())
            .map(|i| by_member.iter().map(|g| g[i]).sum::<f32>() / by_member.len() as f32)
            .collect())
    }

    /// `[members][time]`.
    fn member_rewards(&self, clip: &Clip, context: &Context) -> Result<Vec<Vec<f64>>, RewardError> {
        if self.config.inputs.takes_features() {
            check_features(&clip.features, &self.encoder)?;
        }
        let frames = self.map.apply(clip)?;
        let length = frames.len() / self.map.width();
        let mut all = Vec::new();
        for (network, offset) in self.members.iter().zip(&self.offsets) {
            let mut rewards = vec![-offset; length];
            if self.references.is_empty() {
                for (c, weight) in self.condition.of_context(context)? {
                    let found = self.frames(network, &frames, &self.conditions[c])?;
                    rewards
                        .iter_mut()
                        .zip(found)
                        .for_each(|(r, f)| *r += weight * f);
                }
            } else {
                let own = mean_row(&frames, self.map.width());
                for (reference, mean) in self.references.iter().zip(&self.conditions) {
                    let theirs = self.pooled(network, reference, &own)?;
                    let found = self.frames(network, &frames, mean)?;
                    rewards.iter_mut().zip(found).for_each(|(r, f)| {
                        *r += sigmoid((f - theirs) / self.config.objective.temperature)
                            / self.references.len() as f64;
                    });
                }
            }
            all.push(rewards);
        }
        Ok(all)
    }

    pub(super) fn parts(&self) -> HeadParts<'_> {
        HeadParts {
            map: &self.map,
            condition: &self.condition,
            references: &self.references,
            members: &self.members,
            offsets: &self.offsets,
        }
    }
}

/// What goes into a file.
pub(super) struct HeadParts<'a> {
    pub map: &'a InputMap,
    pub condition: &'a Appended,
    pub references: &'a [Vec<f32>],
    pub members: &'a [Network],
    pub offsets: &'a [f64],
}

impl RewardModel for PreferenceHead {
    /// Where the head compares with reference clips, each step's reward is the mean probability `σ` that it beats them, 0..=1.
    fn score(&self, clip: &Clip, context: &Context) -> Result<Signal, RewardError> {
        let members = self.member_rewards(clip, context)?;
        let count = members.len() as f64;
        let length = members.first().map_or(0, Vec::len);
        let mut signal = Signal::new(Vec::with_capacity(length));
        let mut deviations = Vec::with_capacity(length);
        for t in 0..length {
            let mean = members.iter().map(|m| m[t]).sum::<f64>() / count;
            let variance = members.iter().map(|m| (m[t] - mean).powi(2)).sum::<f64>() / count;
            if !mean.is_finite() {
                return Err(RewardError::NotFinite {
                    what: "the reward".into(),
                    step: t,
                });
            }
            signal.per_step.push(mean);
            deviations.push(variance.sqrt());
        }
        signal.uncertainty = (self.members.len() > 1).then_some(deviations);
        Ok(signal)
    }

    fn causal(&self) -> bool {
        !matches!(self.condition, Appended::Reference)
    }
}
