//! [`FaultHeads`]: one head for each way a task goes wrong, taught by marked stretches (FGAIF, arXiv 2404.05046).

use std::collections::BTreeMap;

use burn::tensor::Device;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapport_perception::EncoderSpec;
use serde::{Deserialize, Serialize};

use super::binary::{self, BinaryConfig};
use super::config::{InputScaling, Inputs};
use super::scorer::InputMap;
use super::train::MemberReport;
use crate::model::{Clip, Context, RewardError, RewardModel, Signal};
use crate::network::{self, Network};
use crate::preference::{Choice, ClipId, Preference, SegmentFault};
use crate::store::{Parts, StoredReward, Tensors, prefixed, to_toml};

/// How fault heads are learned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultConfig {
    /// What they look at.
    pub inputs: Inputs,
    /// What is done to each input before the networks.
    pub scaling: InputScaling,
    /// Shape and training of each head.
    pub head: BinaryConfig,
    /// What a fault costs, by name; 1 for those that are not named.
    pub costs: BTreeMap<String, f64>,
}

/// Clips with what went wrong in them.
#[derive(Clone, Debug, Default)]
pub struct MarkedClips {
    /// The clips.
    pub clips: Vec<Clip>,
    /// The faults of each.
    pub faults: Vec<Vec<SegmentFault>>,
}

impl MarkedClips {
    /// The fault records among people's answers; the others are left out. `clip_of` is asked once for each record.
    pub fn from_preferences(
        preferences: &[Preference],
        mut clip_of: impl FnMut(&ClipId) -> Result<Clip, RewardError>,
    ) -> Result<Self, RewardError> {
        let mut all = Self::default();
        for preference in preferences {
            if let Choice::Fault { clip, faults } = &preference.choice {
                preference.validate()?;
                all.clips.push(clip_of(clip)?);
                all.faults.push(faults.clone());
            }
        }
        Ok(all)
    }

    /// The names of all faults, in alphabetical order.
    pub fn kinds(&self) -> Vec<String> {
        let mut kinds: Vec<String> = self
            .faults
            .iter()
            .flatten()
            .map(|f| f.fault.clone())
            .collect();
        kinds.sort();
        kinds.dedup();
        kinds
    }

    /// Whether each frame of a clip lies in a fault of a kind, `[time]`.
    pub fn labels(&self, clip: usize, kind: &str) -> Vec<bool> {
        let mut labels = vec![false; self.clips[clip].len()];
        for fault in self.faults[clip].iter().filter(|f| f.fault == kind) {
            let end = fault.end.min(labels.len());
            labels[fault.start.min(end)..end].fill(true);
        }
        labels
    }
}

/// `r_t = -Σ_k cost_k σ(f_k(x_t))`: nothing while all goes well, less where it does not, and which fault it is stands in the
/// terms. The paper's heads judge sentences of a text and are summed into PPO by segment; here they judge frames.
#[derive(Debug)]
pub struct FaultHeads {
    config: FaultConfig,
    map: InputMap,
    kinds: Vec<String>,
    heads: Vec<Network>,
}

/// What goes into `reward.toml`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kinds {
    names: Vec<String>,
}

impl FaultHeads {
    pub(crate) const KIND: &str = "fault-heads";

    /// Learns from marked clips with `encoder`'s features. The same seed gives the same result. Fails when no fault is marked, on
    /// clips without frames, of different widths or with values that are not finite.
    pub fn train(
        encoder: &EncoderSpec,
        marked: &MarkedClips,
        config: &FaultConfig,
        seed: u64,
    ) -> Result<(Self, Vec<MemberReport>), RewardError> {
        config.head.validate()?;
        if let Some((name, cost)) = config.costs.iter().find(|(_, c)| !c.is_finite()) {
            return Err(RewardError::Other(format!(
                "the fault `{name}` costs {cost}; give a finite number"
            )));
        }
        let kinds = marked.kinds();
        if kinds.is_empty() || marked.clips.len() != marked.faults.len() {
            return Err(RewardError::Other(
                "no fault is marked in any clip; mark some, and give a list of faults for each clip"
                    .into(),
            ));
        }
        let map = InputMap::fit(&marked.clips, &config.inputs, config.scaling)?;
        map.check(encoder)?;
        let inputs = map.apply_all(&marked.clips)?.concat();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut heads, mut reports) = (Vec::new(), Vec::new());
        for kind in &kinds {
            let labels: Vec<f64> = (0..marked.clips.len())
                .flat_map(|clip| marked.labels(clip, kind))
                .map(|inside| f64::from(u8::from(inside)))
                .collect();
            let (head, report) =
                binary::train(&inputs, map.width(), &labels, &config.head, rng.random())?;
            heads.push(head);
            reports.push(report);
        }
        let model = Self {
            config: config.clone(),
            map,
            kinds,
            heads,
        };
        Ok((model, reports))
    }

    /// The faults it knows.
    pub fn kinds(&self) -> &[String] {
        &self.kinds
    }

    /// Probability of each fault at each step, `[kinds][time]`.
    pub fn probabilities(&self, clip: &Clip) -> Result<Vec<Vec<f64>>, RewardError> {
        let inputs = self.map.apply(clip)?;
        self.heads
            .iter()
            .map(|head| binary::probabilities(head, &inputs, self.map.width()))
            .collect()
    }

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        let config: FaultConfig = parts.table("settings")?;
        let map: InputMap = parts.table("inputs")?;
        let map = map.with_tensors(&parts.tensors_under("inputs"))?;
        let Kinds { names } = parts.table("faults")?;
        let heads = (0..names.len())
            .map(|k| {
                let mut rng = ChaCha8Rng::seed_from_u64(0);
                let head = Network::new(
                    &config.head.network,
                    map.width(),
                    1,
                    &mut rng,
                    &Device::flex(),
                );
                network::load(head, &parts.tensors_under(&format!("head.{k}")))
            })
            .collect::<Result<_, _>>()?;
        Ok(Box::new(Self {
            config,
            map,
            kinds: names,
            heads,
        }))
    }
}

impl RewardModel for FaultHeads {
    fn score(&self, clip: &Clip, _: &Context) -> Result<Signal, RewardError> {
        let mut signal = Signal::new(vec![0.0; clip.len()]);
        for (kind, probabilities) in self.kinds.iter().zip(self.probabilities(clip)?) {
            let cost = self.config.costs.get(kind).copied().unwrap_or(1.0);
            let term: Vec<f64> = probabilities.iter().map(|p| -cost * p).collect();
            signal.per_step.resize(term.len(), 0.0);
            for (r, t) in signal.per_step.iter_mut().zip(&term) {
                *r += t;
            }
            signal.terms.insert(kind.clone(), term);
        }
        Ok(signal)
    }

    fn causal(&self) -> bool {
        true
    }
}

impl StoredReward for FaultHeads {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        let kinds = Kinds {
            names: self.kinds.clone(),
        };
        let mut table = toml::Table::new();
        table.insert("settings".into(), to_toml(&self.config)?);
        table.insert("inputs".into(), to_toml(&self.map)?);
        table.insert("faults".into(), to_toml(&kinds)?);
        Ok(table)
    }

    fn tensors(&self) -> Result<Tensors, RewardError> {
        let mut all = prefixed("inputs", self.map.tensors());
        for (k, head) in self.heads.iter().enumerate() {
            let tensors = network::tensors(head)?;
            all.extend(prefixed(&format!("head.{k}"), tensors));
        }
        Ok(all)
    }
}
