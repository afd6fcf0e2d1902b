//! [`PairConsistency`]: how likely a judge is to call a clip consistent with others (PaCo-RL, arXiv 2512.04784).

use burn::tensor::Device;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::EncoderSpec;
use serde::{Deserialize, Serialize};

use super::binary::{self, BinaryConfig};
use super::config::{InputScaling, Inputs};
use super::pairs::Pair;
use super::scorer::{InputMap, mean_row};
use crate::model::{Clip, Context, RewardError, RewardModel, Signal};
use crate::network::{self, Network};
use crate::store::{Parts, StoredReward, Tensor, Tensors, prefixed, to_toml};

/// How a judge of consistency is learned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsistencyConfig {
    /// What it looks at.
    pub inputs: Inputs,
    /// What is done to each input before the networks.
    pub scaling: InputScaling,
    /// Shape and training of the judge.
    pub judge: BinaryConfig,
}

/// `r_t = mean over criteria and references of P(yes)`, where `P(yes) = e^yes / (e^yes + e^no)` is a judge's answer to "are these
/// two consistent". In the paper the judge is a language model; here it is a small network on `|x_t - m|`, the difference between
/// a frame and a reference clip's mean frame, so that it is symmetric. One network for each criterion.
#[derive(Debug)]
pub struct PairConsistency {
    config: ConsistencyConfig,
    map: InputMap,
    criteria: Vec<String>,
    judges: Vec<Network>,
    /// Mean frames of the references.
    references: Vec<Vec<f32>>,
}

/// What goes into `reward.toml`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Criteria {
    names: Vec<String>,
}

impl PairConsistency {
    pub(crate) const KIND: &str = "pair-consistency";

    /// Learns from pairs of clips with `encoder`'s features: for each named criterion, pairs whose label says whether the two are
    /// consistent (1) or not (0). `references` are what clips are scored against. The same seed gives the same result.
    pub fn train(
        encoder: &EncoderSpec,
        clips: &[Clip],
        criteria: &[(String, Vec<Pair>)],
        references: &[Clip],
        config: &ConsistencyConfig,
        seed: u64,
    ) -> Result<Self, RewardError> {
        config.judge.validate()?;
        if references.is_empty() || criteria.is_empty() {
            return Err(RewardError::Other(
                "consistency needs a criterion and a clip to be consistent with; give at least one of each"
                    .into(),
            ));
        }
        let map = InputMap::fit(clips, &config.inputs, config.scaling)?;
        map.check(encoder)?;
        let width = map.width();
        let means = |clips: &[Clip]| -> Result<Vec<Vec<f32>>, RewardError> {
            let rows = map.apply_all(clips)?;
            Ok(rows.iter().map(|r| mean_row(r, width)).collect())
        };
        let own = means(clips)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut judges = Vec::new();
        for (name, pairs) in criteria {
            if pairs.is_empty() {
                return Err(RewardError::Other(format!(
                    "no pair was judged by `{name}`; judge some or leave it out"
                )));
            }
            let (mut inputs, mut labels) = (Vec::new(), Vec::new());
            for pair in pairs {
                if pair.first.max(pair.second) >= own.len() {
                    return Err(RewardError::Other(format!(
                        "a pair of `{name}` names clip {} of {}",
                        pair.first.max(pair.second),
                        own.len()
                    )));
                }
                pair.target.validate()?;
                inputs.extend(apart(&own[pair.first], &own[pair.second]));
                labels.push(pair.target.label);
            }
            let (judge, _) = binary::train(&inputs, width, &labels, &config.judge, rng.random())?;
            judges.push(judge);
        }
        let references = means(references)?;
        Ok(Self {
            config: config.clone(),
            map,
            criteria: criteria.iter().map(|(name, _)| name.clone()).collect(),
            judges,
            references,
        })
    }

    /// Mean over all other clips of a set, and over criteria, of `P(yes)`, for each clip.
    pub fn within(&self, clips: &[Clip]) -> Result<Vec<f64>, RewardError> {
        let width = self.map.width();
        let means: Vec<Vec<f32>> = self
            .map
            .apply_all(clips)?
            .iter()
            .map(|rows| mean_row(rows, width))
            .collect();
        (0..clips.len())
            .map(|i| {
                let others: Vec<Vec<f32>> = (0..means.len())
                    .filter(|j| *j != i)
                    .map(|j| means[j].clone())
                    .collect();
                Ok(self
                    .judge(&means[i], &others)?
                    .iter()
                    .map(|c| c[0])
                    .sum::<f64>()
                    / self.judges.len() as f64)
            })
            .collect()
    }

    /// Mean over references of `P(yes)` of every row, `[criteria][rows]`. Without references 1: nothing contradicts.
    fn judge(&self, frames: &[f32], references: &[Vec<f32>]) -> Result<Vec<Vec<f64>>, RewardError> {
        let width = self.map.width();
        let count = frames.len() / width;
        self.judges
            .iter()
            .map(|judge| {
                if references.is_empty() {
                    return Ok(vec![1.0; count]);
                }
                let mut mean = vec![0.0; count];
                for reference in references {
                    let inputs: Vec<f32> = frames
                        .chunks_exact(width)
                        .flat_map(|row| apart(row, reference))
                        .collect();
                    let found = binary::probabilities(judge, &inputs, width)?;
                    for (m, p) in mean.iter_mut().zip(found) {
                        *m += p / references.len() as f64;
                    }
                }
                Ok(mean)
            })
            .collect()
    }

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        let config: ConsistencyConfig = parts.table("settings")?;
        let map: InputMap = parts.table("inputs")?;
        let map = map.with_tensors(&parts.tensors_under("inputs"))?;
        let Criteria { names } = parts.table("criteria")?;
        let judges = (0..names.len())
            .map(|k| {
                let mut rng = ChaCha8Rng::seed_from_u64(0);
                let judge = Network::new(
                    &config.judge.network,
                    map.width(),
                    1,
                    &mut rng,
                    &Device::flex(),
                );
                network::load(judge, &parts.tensors_under(&format!("judge.{k}")))
            })
            .collect::<Result<_, _>>()?;
        let references = parts.tensor("references")?.to_features()?;
        if references.dim() != map.width() {
            return Err(RewardError::Other(
                "the references are of another width than the inputs; learn the reward again"
                    .into(),
            ));
        }
        Ok(Box::new(Self {
            config,
            map,
            criteria: names,
            judges,
            references: references.rows().map(<[f32]>::to_vec).collect(),
        }))
    }
}

/// `|a - b|`, number by number.
fn apart(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).collect()
}

impl RewardModel for PairConsistency {
    /// 0..=1 at each step; the terms are the criteria.
    fn score(&self, clip: &Clip, _: &Context) -> Result<Signal, RewardError> {
        let frames = self.map.apply(clip)?;
        let found = self.judge(&frames, &self.references)?;
        let count = found.len() as f64;
        let length = frames.len() / self.map.width();
        let mean = |t: usize| found.iter().map(|c| c[t]).sum::<f64>() / count;
        let mut signal = Signal::new((0..length).map(mean).collect());
        signal.terms = self.criteria.iter().cloned().zip(found).collect();
        Ok(signal)
    }

    fn causal(&self) -> bool {
        true
    }
}

impl StoredReward for PairConsistency {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        let criteria = Criteria {
            names: self.criteria.clone(),
        };
        let mut table = toml::Table::new();
        table.insert("settings".into(), to_toml(&self.config)?);
        table.insert("inputs".into(), to_toml(&self.map)?);
        table.insert("criteria".into(), to_toml(&criteria)?);
        Ok(table)
    }

    fn tensors(&self) -> Result<Tensors, RewardError> {
        let mut all = prefixed("inputs", self.map.tensors());
        for (k, judge) in self.judges.iter().enumerate() {
            let tensors = network::tensors(judge)?;
            all.extend(prefixed(&format!("judge.{k}"), tensors));
        }
        let references = Tensor {
            shape: vec![self.references.len(), self.map.width()],
            values: self.references.concat(),
        };
        all.insert("references".into(), references);
        Ok(all)
    }
}
