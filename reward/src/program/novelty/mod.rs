//! [`Novelty`]: a reward for what is new, in this episode, in all that was seen, or in both (arXiv 2306.03236).
//!
//! Novelty within the episode serves where episodes share little, novelty in the whole lifetime where they share much; their
//! product does in both.

mod counts;
mod distillation;
mod elliptical;

pub use counts::{Cell, Counts};
pub use distillation::{Distillation, DistillationConfig};
pub use elliptical::Elliptical;

use rapport_perception::Features;
use serde::{Deserialize, Serialize};

use super::expression::FEATURES;
use crate::model::{Clip, Context, RewardError, RewardModel, Signal};
use crate::store::{Parts, StoredReward, Tensor, Tensors, prefixed, table, to_toml};

/// What is new in this episode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Episodic {
    /// Everything: the factor is 1 in a product, 0 in a sum.
    None,
    /// What lies outside of the episode's features, [`Elliptical`].
    #[default]
    Elliptical,
    /// 1 at the first visit to a cell, 0 later.
    FirstVisit,
}

/// What is new in all that was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifetime {
    /// Everything: the factor is 1 in a product, 0 in a sum.
    None,
    /// `1 / sqrt(visits)` of the cell, this visit counted.
    Count,
    /// `e(s)`, the error of a [`Distillation`].
    Distillation,
    /// `max(0, e(s') - α e(s))`, where novelty rises (NovelD, NeurIPS 2021).
    #[default]
    Difference,
}

/// How the two are put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Together {
    /// Their product.
    #[default]
    Product,
    /// Their sum.
    Sum,
}

/// What the bonus is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scaling {
    /// Nothing.
    None,
    /// The standard deviation of all bonuses observed.
    #[default]
    RunningDeviation,
}

/// Settings of a [`Novelty`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoveltyConfig {
    /// The column that says what state it is; `features` is the encoder's.
    pub column: String,
    /// What is new in this episode.
    pub episodic: Episodic,
    /// What is new in all that was seen.
    pub lifetime: Lifetime,
    /// How the two are put together.
    pub together: Together,
    /// The bonus is multiplied by this.
    pub coefficient: f64,
    /// What the bonus is divided by.
    pub scaling: Scaling,
    /// λ of [`Elliptical`].
    pub ridge: f64,
    /// Width of a cell, in units of the column, where visits are counted.
    pub cell: f64,
    /// α of [`Lifetime::Difference`]. The comparison's released code has 0.1; NovelD itself 0.5.
    pub difference: f64,
    /// The networks of [`Lifetime::Distillation`] and [`Lifetime::Difference`].
    pub distillation: DistillationConfig,
}

impl Default for NoveltyConfig {
    fn default() -> Self {
        Self {
            column: FEATURES.into(),
            episodic: Episodic::default(),
            lifetime: Lifetime::default(),
            together: Together::default(),
            coefficient: 1.0,
            scaling: Scaling::default(),
            ridge: 0.1,
            cell: 1.0,
            difference: 0.1,
            distillation: DistillationConfig::default(),
        }
    }
}

impl NoveltyConfig {
    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        let positive = [
            ("ridge", self.ridge),
            ("cell", self.cell),
            ("distillation.rate", self.distillation.rate),
        ];
        if let Some((name, value)) = positive
            .into_iter()
            .find(|(_, v)| !v.is_finite() || *v <= 0.0)
        {
            return Err(RewardError::Other(format!(
                "novelty.{name} is {value}; it must be positive"
            )));
        }
        let finite = [
            ("coefficient", self.coefficient),
            ("difference", self.difference),
        ];
        if let Some((name, value)) = finite.into_iter().find(|(_, v)| !v.is_finite()) {
            return Err(RewardError::Other(format!(
                "novelty.{name} is {value}; it must be a number"
            )));
        }
        if self.distillation.outputs == 0 {
            return Err(RewardError::Other(
                "novelty.distillation.outputs is 0; it must be at least 1".into(),
            ));
        }
        Ok(())
    }
}

/// A bonus for what is new.
///
/// A clip is an episode: the episodic memory begins empty with it. The lifetime's memory changes only in
/// [`Novelty::observe`], so that scoring is repeatable; a state is judged by what was seen in episodes before.
///
/// ```text
/// r_t = coefficient · (episodic_t × lifetime_t  or  episodic_t + lifetime_t) / deviation
/// ```
pub struct Novelty {
    config: NoveltyConfig,
    dim: usize,
    counts: Counts,
    distillation: Option<Distillation>,
    spread: Spread,
}

/// Running variance of the bonuses observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spread {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Spread {
    fn observe(&mut self, value: f64) {
        self.count += 1;
        let off = value - self.mean;
        self.mean += off / self.count as f64;
        self.squares += off * (value - self.mean);
    }

    /// 1 where nothing is known, or where all bonuses were the same.
    fn deviation(&self) -> f64 {
        let deviation = (self.squares / self.count.max(1) as f64).sqrt();
        if deviation > 1e-9 { deviation } else { 1.0 }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    dim: usize,
    settings: NoveltyConfig,
    spread: Spread,
}

impl Novelty {
    pub(crate) const KIND: &str = "novelty";

    /// An empty memory for states of `dim` numbers. Fails on settings that make no sense.
    pub fn new(dim: usize, config: NoveltyConfig) -> Result<Self, RewardError> {
        config.validate()?;
        if dim == 0 {
            return Err(RewardError::Other(
                "states without numbers are never new; give some columns".into(),
            ));
        }
        let distillation = matches!(
            config.lifetime,
            Lifetime::Distillation | Lifetime::Difference
        )
        .then(|| Distillation::new(dim, config.distillation.clone()));
        Ok(Self {
            config,
            dim,
            counts: Counts::default(),
            distillation,
            spread: Spread::default(),
        })
    }

    /// The settings.
    pub fn settings(&self) -> &NoveltyConfig {
        &self.config
    }

    /// Lets an episode count in the lifetime's memory and in the running deviation.
    pub fn observe(&mut self, clip: &Clip) -> Result<(), RewardError> {
        let states = self.states(clip)?;
        let (episodic, lifetime) = (self.episodic(&states), self.lifetime(&states)?);
        for bonus in self.together(&episodic, &lifetime) {
            self.spread.observe(bonus);
        }
        if self.config.lifetime == Lifetime::Count {
            for state in states.chunks_exact(self.dim) {
                self.counts.visit(Counts::cell(state, self.config.cell));
            }
        }
        match &mut self.distillation {
            Some(distillation) => distillation.observe(&states),
            None => Ok(()),
        }
    }

    /// The states of a clip, `[time, dim]`.
    fn states(&self, clip: &Clip) -> Result<Vec<f64>, RewardError> {
        let column: &Features = match clip.columns.get(&self.config.column) {
            Some(column) => column,
            None if self.config.column == FEATURES => &clip.features,
            None => {
                return Err(RewardError::Other(format!(
                    "the clip has no column `{}`, whose novelty is rewarded",
                    self.config.column
                )));
            }
        };
        if column.is_empty() {
            return Err(RewardError::Other(
                "the clip has no frames; give one with at least one".into(),
            ));
        }
        if column.dim() != self.dim {
            return Err(RewardError::Other(format!(
                "`{}` is {} wide, this reward knows states of {} numbers",
                self.config.column,
                column.dim(),
                self.dim
            )));
        }
        match column.as_slice().iter().position(|v| !v.is_finite()) {
            Some(bad) => Err(RewardError::NotFinite {
                what: format!("the column `{}`", self.config.column),
                step: bad / self.dim,
            }),
            None => Ok(column.as_slice().iter().map(|&v| f64::from(v)).collect()),
        }
    }

    fn episodic(&self, states: &[f64]) -> Vec<f64> {
        let states = states.chunks_exact(self.dim);
        match self.config.episodic {
            Episodic::None => states.map(|_| self.nothing()).collect(),
            Episodic::Elliptical => {
                let mut memory = Elliptical::new(self.dim, self.config.ridge);
                states.map(|state| memory.visit(state)).collect()
            }
            Episodic::FirstVisit => {
                let mut memory = Counts::default();
                states
                    .map(|state| {
                        f64::from(memory.visit(Counts::cell(state, self.config.cell)) == 0)
                    })
                    .collect()
            }
        }
    }

    fn lifetime(&self, states: &[f64]) -> Result<Vec<f64>, RewardError> {
        let errors = match &self.distillation {
            Some(distillation) => distillation.errors(states)?,
            None => Vec::new(),
        };
        let steps = states.len() / self.dim;
        Ok(match self.config.lifetime {
            Lifetime::None => vec![self.nothing(); steps],
            Lifetime::Count => states
                .chunks_exact(self.dim)
                .map(|state| {
                    let visits = self.counts.of(&Counts::cell(state, self.config.cell)) + 1;
                    1.0 / (visits as f64).sqrt()
                })
                .collect(),
            Lifetime::Distillation => errors,
            // Nothing comes before the first state.
            Lifetime::Difference => (0..steps)
                .map(|t| {
                    let before = t.checked_sub(1).map_or(0.0, |before| errors[before]);
                    (errors[t] - self.config.difference * before).max(0.0)
                })
                .collect(),
        })
    }

    /// What stands for a bonus that is not wanted.
    fn nothing(&self) -> f64 {
        match self.config.together {
            Together::Product => 1.0,
            Together::Sum => 0.0,
        }
    }

    fn together(&self, episodic: &[f64], lifetime: &[f64]) -> Vec<f64> {
        let pairs = episodic.iter().zip(lifetime);
        match self.config.together {
            Together::Product => pairs.map(|(e, l)| e * l).collect(),
            Together::Sum => pairs.map(|(e, l)| e + l).collect(),
        }
    }

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        let Header {
            dim,
            settings,
            spread,
        } = parts.config()?;
        let mut novelty = Self::new(dim, settings)?;
        novelty.spread = spread;
        if let Some(distillation) = &mut novelty.distillation {
            distillation.load(&parts.tensors_under("distillation"))?;
        }
        if novelty.config.lifetime == Lifetime::Count {
            let table = parts.tensor("counts")?;
            let rows = table.values.chunks_exact(dim + 1);
            novelty.counts = rows
                .map(|row| {
                    (
                        row[..dim].iter().map(|&c| c as i64).collect(),
                        row[dim] as u64,
                    )
                })
                .collect();
        }
        Ok(Box::new(novelty))
    }
}

impl RewardModel for Novelty {
    fn score(&self, clip: &Clip, _: &Context) -> Result<Signal, RewardError> {
        let states = self.states(clip)?;
        let (episodic, lifetime) = (self.episodic(&states), self.lifetime(&states)?);
        let scale = match self.config.scaling {
            Scaling::None => self.config.coefficient,
            Scaling::RunningDeviation => self.config.coefficient / self.spread.deviation(),
        };
        let together = self.together(&episodic, &lifetime);
        let mut signal = Signal::new(together.into_iter().map(|b| scale * b).collect());
        signal.terms.insert("episodic".into(), episodic);
        signal.terms.insert("lifetime".into(), lifetime);
        Ok(signal)
    }

    fn causal(&self) -> bool {
        true
    }
}

impl StoredReward for Novelty {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        to_toml(&Header {
            dim: self.dim,
            settings: self.config.clone(),
            spread: self.spread,
        })
        .and_then(table)
    }

    /// Counts are kept in single precision: exact up to 16 million visits.
    fn tensors(&self) -> Result<Tensors, RewardError> {
        let mut tensors = Tensors::new();
        if let Some(distillation) = &self.distillation {
            tensors.extend(prefixed("distillation", distillation.tensors()?));
        }
        if self.config.lifetime == Lifetime::Count {
            let rows: Vec<f64> = self
                .counts
                .iter()
                .flat_map(|(cell, visits)| cell.iter().map(|&c| c as f64).chain([visits as f64]))
                .collect();
            let shape = [rows.len() / (self.dim + 1), self.dim + 1];
            tensors.insert("counts".into(), Tensor::from_f64(&shape, &rows));
        }
        Ok(tensors)
    }
}

#[cfg(test)]
mod tests;
