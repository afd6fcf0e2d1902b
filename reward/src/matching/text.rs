//! [`TextMatch`]: reward from how well a picture fits a sentence, as in VLM-RM (arXiv 2310.12921).

use rapport_perception::{EncoderSpec, Features};
use serde::{Deserialize, Serialize};

use crate::model::{Clip, Context, RewardError, RewardModel, Signal, check_features};
use crate::store::{Parts, StoredReward, Tensor, Tensors, to_toml};
use crate::transport::{NORM_FLOOR, Points};

/// What stands for several prompts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromptMean {
    /// The mean of their unit vectors as it is, shorter than 1 where the prompts differ: what the authors' code does. With more than
    /// one goal prompt `alpha = 0` is then no longer exactly a cosine.
    #[default]
    Plain,
    /// The same mean made a unit vector again.
    Renormalised,
}

/// Settings of a [`TextMatch`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextMatchConfig {
    /// What should be seen, in words: several sentences may say the same.
    pub goal: Vec<String>,
    /// What is seen anyway, in words: the scene without the goal. Needed for `alpha` above 0.
    pub baseline: Vec<String>,
    /// How far a picture is first projected onto the line from baseline to goal, in `0..=1`. 0: not at all, the reward is the cosine
    /// with the goal. 1: only where it lies along the line counts.
    pub alpha: f64,
    /// What stands for several prompts.
    pub mean: PromptMean,
}

impl Default for TextMatchConfig {
    /// Half way, the default of the authors' code.
    fn default() -> Self {
        Self {
            goal: Vec::new(),
            baseline: Vec::new(),
            alpha: 0.5,
            mean: PromptMean::Plain,
        }
    }
}

impl TextMatchConfig {
    /// Fails on an `alpha` outside `0..=1`, without a goal, and for `alpha` above 0 without a baseline.
    pub fn validate(&self) -> Result<(), RewardError> {
        if !(0.0..=1.0).contains(&self.alpha) {
            return Err(RewardError::Other(format!(
                "alpha of a text reward is {}; give a number within 0..=1",
                self.alpha
            )));
        }
        if self.goal.is_empty() {
            return Err(RewardError::Other(
                "a text reward needs a goal; say in a sentence what should be seen".into(),
            ));
        }
        if self.alpha > 0.0 && self.baseline.is_empty() {
            return Err(RewardError::Other(format!(
                "alpha {} of a text reward needs a baseline; say in a sentence what is seen anyway, or set alpha to 0",
                self.alpha
            )));
        }
        Ok(())
    }
}

/// The image-text reward of VLM-RM with goal-baseline regularisation (section 3.2 there).
///
/// `s` is a frame's embedding as a unit vector, `g` and `b` are those of goal and baseline, `d = g - b`:
///
/// `R(s) = 1 - ½ ‖α proj_L(s) + (1-α) s - g‖²`, L the affine line through b and g,
///
/// which equals `1 - ½ ‖M (s - g)‖²` with `M = α d dᵀ/‖d‖² + (1-α) I`. Scoring uses neither form but, with `e = s - g` and
/// `u = (e·d)/‖d‖²`, `‖M e‖² = (1-α)² ‖e‖² + (α² + 2α(1-α)) u² ‖d‖²`, which costs two inner products and no matrix. `alpha = 0` with
/// one prompt is the cosine with the goal: one plus a [`GoalDistance`](super::GoalDistance) with cosine cost.
///
/// Departs from the authors' code: goal and baseline may be of different numbers of prompts, and no baseline is needed at
/// `alpha = 0`. Norms are floored at [`NORM_FLOOR`](crate::transport::NORM_FLOOR); a frame that embeds to zero stays zero.
#[derive(Clone, Debug)]
pub struct TextMatch {
    config: TextMatchConfig,
    encoder: EncoderSpec,
    goals: Features,
    baselines: Features,
    line: Line,
}

impl TextMatch {
    pub(crate) const KIND: &str = "text-match";

    /// A reward for looking like `config.goal` rather than `config.baseline`. `goals` and `baselines` are the embeddings of those
    /// prompts, `[prompts, encoder.dim]`, by the text half of `encoder`.
    ///
    /// Fails as [`TextMatchConfig::validate`]; when rows and prompts are not of the same number; on another width; on values that are
    /// not finite; and for `alpha` above 0 when goal and baseline are the same point, for which there is no line.
    pub fn new(
        encoder: &EncoderSpec,
        goals: Features,
        baselines: Features,
        config: TextMatchConfig,
    ) -> Result<Self, RewardError> {
        config.validate()?;
        let prompts = [(&goals, &config.goal), (&baselines, &config.baseline)];
        for (features, sentences) in prompts {
            if features.len() != sentences.len() {
                return Err(RewardError::Other(format!(
                    "{} sentences have {} embeddings; embed each of them once",
                    sentences.len(),
                    features.len()
                )));
            }
            if !features.is_empty() {
                check_features(features, encoder)?;
            }
        }
        let goal = mean_prompt(&goals, config.mean);
        // Without a baseline alpha is 0 and the line is not looked at: any will do.
        let baseline = if baselines.is_empty() {
            vec![0.0; encoder.dim]
        } else {
            mean_prompt(&baselines, config.mean)
        };
        let line = Line::new(goal, baseline, config.alpha);
        if config.alpha > 0.0 && line.squared_length < NORM_FLOOR {
            return Err(RewardError::Other(
                "goal and baseline of a text reward mean the same to the encoder; say them differently, or set alpha to 0".into(),
            ));
        }
        Ok(Self {
            config,
            encoder: encoder.clone(),
            goals,
            baselines,
            line,
        })
    }

    /// The settings.
    pub fn settings(&self) -> &TextMatchConfig {
        &self.config
    }

    /// What stands for the goal prompts and for the baseline prompts, and what is between them.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// The same reward with another `alpha`, without embedding anything again. Fails as [`TextMatch::new`].
    pub fn with_alpha(&self, alpha: f64) -> Result<Self, RewardError> {
        let config = TextMatchConfig {
            alpha,
            ..self.config.clone()
        };
        Self::new(
            &self.encoder,
            self.goals.clone(),
            self.baselines.clone(),
            config,
        )
    }

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        let config = parts.config()?;
        let prompts = |name: &str| match parts.tensor(name)?.shape[..] {
            [0, _] => Ok(Features::default()),
            _ => parts.tensor(name)?.to_features(),
        };
        let (goals, baselines) = (prompts("goals")?, prompts("baselines")?);
        Ok(Box::new(Self::new(
            &parts.encoder,
            goals,
            baselines,
            config,
        )?))
    }
}

impl RewardModel for TextMatch {
    /// The terms are the cosines with goal and baseline.
    fn score(&self, clip: &Clip, _: &Context) -> Result<Signal, RewardError> {
        check_features(&clip.features, &self.encoder)?;
        let frames = Points::from(&clip.features);
        let units = (0..frames.len()).map(|t| unit(frames.row(t)));
        let (mut rewards, mut goal, mut baseline) = (Vec::new(), Vec::new(), Vec::new());
        let (g, b) = (unit(&self.line.goal), unit(&self.line.baseline));
        for s in units {
            rewards.push(self.line.reward(&s));
            goal.push(inner(&s, &g));
            baseline.push(inner(&s, &b));
        }
        let mut signal = Signal::new(rewards);
        signal.terms.insert("goal".into(), goal);
        if !self.baselines.is_empty() {
            signal.terms.insert("baseline".into(), baseline);
        }
        Ok(signal)
    }

    fn causal(&self) -> bool {
        true
    }
}

impl StoredReward for TextMatch {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        to_toml(&self.config).and_then(crate::store::table)
    }

    fn tensors(&self) -> Result<Tensors, RewardError> {
        let tensor = |prompts: &Features| Tensor {
            shape: vec![prompts.len(), self.encoder.dim],
            values: prompts.as_slice().to_vec(),
        };
        Ok(Tensors::from([
            ("goals".into(), tensor(&self.goals)),
            ("baselines".into(), tensor(&self.baselines)),
        ]))
    }
}

/// Goal, baseline and the line through them: the reward's formula in its three forms.
#[derive(Clone, Debug)]
pub struct Line {
    goal: Vec<f64>,
    baseline: Vec<f64>,
    alpha: f64,
    squared_length: f64,
}

impl Line {
    /// The line through `baseline` and `goal`, both `[dim]`. Where they are the same point there is no line, and only `alpha = 0` has a
    /// meaning.
    pub fn new(goal: Vec<f64>, baseline: Vec<f64>, alpha: f64) -> Self {
        let squared_length = goal
            .iter()
            .zip(&baseline)
            .map(|(g, b)| (g - b) * (g - b))
            .sum();
        Self {
            goal,
            baseline,
            alpha,
            squared_length,
        }
    }

    /// The reward of a unit vector `s`, `[dim]`, without a matrix.
    pub fn reward(&self, s: &[f64]) -> f64 {
        let (mut along, mut off) = (0.0, 0.0);
        for ((s, g), b) in s.iter().zip(&self.goal).zip(&self.baseline) {
            let e = s - g;
            along += e * (g - b);
            off += e * e;
        }
        let alpha = self.alpha;
        let mut squared = (1.0 - alpha) * (1.0 - alpha) * off;
        if alpha > 0.0 {
            // u² ‖d‖² = (e·d)² / ‖d‖².
            squared += alpha * (2.0 - alpha) * along * along / self.squared_length;
        }
        1.0 - 0.5 * squared
    }

    /// The same as the paper writes it: by the projection of `s` onto the affine line.
    pub fn reward_by_line(&self, s: &[f64]) -> f64 {
        let direction = |i: usize| self.goal[i] - self.baseline[i];
        let along: f64 = (0..s.len())
            .map(|i| (s[i] - self.baseline[i]) * direction(i))
            .sum();
        let share = along / self.squared_length;
        let squared: f64 = (0..s.len())
            .map(|i| {
                let projected = self.baseline[i] + share * direction(i);
                let mixed = self.alpha * projected + (1.0 - self.alpha) * s[i];
                (mixed - self.goal[i]).powi(2)
            })
            .sum();
        1.0 - 0.5 * squared
    }

    /// The same as the authors' code computes it: by the matrix `M = α d dᵀ/‖d‖² + (1-α) I`, `[dim, dim]`.
    pub fn reward_by_matrix(&self, s: &[f64]) -> f64 {
        let dim = s.len();
        let direction: Vec<f64> = (0..dim).map(|i| self.goal[i] - self.baseline[i]).collect();
        let squared: f64 = (0..dim)
            .map(|column| {
                let product: f64 = (0..dim)
                    .map(|row| {
                        let identity = if row == column { 1.0 } else { 0.0 };
                        let onto = direction[row] * direction[column] / self.squared_length;
                        let entry = self.alpha * onto + (1.0 - self.alpha) * identity;
                        (s[row] - self.goal[row]) * entry
                    })
                    .sum();
                product * product
            })
            .sum();
        1.0 - 0.5 * squared
    }
}

/// Mean of the rows' unit vectors.
fn mean_prompt(prompts: &Features, mean: PromptMean) -> Vec<f64> {
    let rows = Points::from(prompts);
    let mut sum = vec![0.0; rows.dim()];
    for t in 0..rows.len() {
        for (sum, v) in sum.iter_mut().zip(unit(rows.row(t))) {
            *sum += v / rows.len() as f64;
        }
    }
    match mean {
        PromptMean::Plain => sum,
        PromptMean::Renormalised => unit(&sum),
    }
}

fn unit(v: &[f64]) -> Vec<f64> {
    let scale = 1.0 / inner(v, v).sqrt().max(NORM_FLOOR);
    v.iter().map(|v| v * scale).collect()
}

fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests;
