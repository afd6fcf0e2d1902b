//! [`CaptionReward`]: a reward for what happens, in words. Events are captioned; somebody, at his own pace, says which captions are
//! good; what he said is distilled into a score, which pays less the more often a caption comes in an episode. After ONI
//! (arXiv 2410.23022), with an annotator in the language model's place.

mod scorer;
mod words;

pub use scorer::{Classifier, Ranker, Retrieval, ScorerConfig};
pub use words::bag_of_words;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::annotator::{Annotator, Background, BackgroundConfig, BackgroundStatus};
use crate::model::RewardError;

/// How answers become scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distil {
    /// Looked up; what was not labelled scores 0.
    #[default]
    Retrieval,
    /// Learned from labels.
    Classify,
    /// Learned from pairs.
    Rank,
}

/// Settings of a [`CaptionReward`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaptionsConfig {
    /// How answers become scores.
    pub distil: Distil,
    /// The score is multiplied by this. ONI has 0.4.
    pub coefficient: f64,
    /// The score is divided by the caption's count in the episode to this power. ONI has 3.
    pub decay: f64,
    /// Least normalised score that counts, for [`Distil::Rank`].
    pub threshold: f64,
    /// The learned scorer.
    pub scorer: ScorerConfig,
    /// The annotator's thread.
    pub annotator: BackgroundConfig,
}

impl Default for CaptionsConfig {
    fn default() -> Self {
        Self {
            distil: Distil::Retrieval,
            coefficient: 0.4,
            decay: 3.0,
            threshold: -0.5,
            scorer: ScorerConfig::default(),
            annotator: BackgroundConfig::default(),
        }
    }
}

impl CaptionsConfig {
    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        let numbers = [self.coefficient, self.decay, self.threshold];
        if numbers.iter().any(|v| !v.is_finite()) || self.decay < 0.0 {
            return Err(RewardError::Other(format!(
                "captions.coefficient is {}, captions.decay {} and captions.threshold {}; give numbers, and a decay from 0 up",
                self.coefficient, self.decay, self.threshold
            )));
        }
        self.scorer.validate()?;
        self.annotator.validate()
    }
}

/// Where answers come from and what is made of them.
enum Source {
    Retrieval(Background<String, bool>, Retrieval),
    Classify(Background<String, bool>, Box<Classifier>),
    Rank(Background<[String; 2], f64>, Box<Ranker>),
}

/// ```text
/// r_t = coefficient · r̂(caption) / N(caption)^decay        N: how often it came in this episode, now included
/// ```
///
/// It is for a running loop, and adds to the task's own reward: [`CaptionReward::step`] asks about what is new and never waits;
/// [`CaptionReward::update`] takes in what was answered meanwhile. The empty caption, where nothing happened, is worth 0.
pub struct CaptionReward {
    config: CaptionsConfig,
    source: Source,
    counts: HashMap<String, u32>,
    /// The caption before, with which a new one is compared for [`Distil::Rank`].
    before: Option<String>,
}

impl CaptionReward {
    /// Distils an annotator's labels of captions, good or not. Fails on settings that make no sense, among them [`Distil::Rank`],
    /// which needs [`CaptionReward::from_pairs`].
    pub fn from_labels(
        annotator: impl Annotator<Query = String, Answer = bool> + 'static,
        config: CaptionsConfig,
    ) -> Result<Self, RewardError> {
        config.validate()?;
        let background = Background::start(annotator, config.annotator.clone())?;
        let source = match config.distil {
            Distil::Retrieval => Source::Retrieval(background, Retrieval::default()),
            Distil::Classify => Source::Classify(
                background,
                Box::new(Classifier::new(config.scorer.clone())?),
            ),
            Distil::Rank => {
                return Err(RewardError::Other(
                    "captions.distil = \"rank\" needs an annotator of pairs".into(),
                ));
            }
        };
        Ok(Self::with(config, source))
    }

    /// Distils an annotator's choices between two captions: 1 for the first, 0 for the second, ½ for neither.
    pub fn from_pairs(
        annotator: impl Annotator<Query = [String; 2], Answer = f64> + 'static,
        config: CaptionsConfig,
    ) -> Result<Self, RewardError> {
        config.validate()?;
        let background = Background::start(annotator, config.annotator.clone())?;
        let ranker = Ranker::new(config.scorer.clone(), config.threshold)?;
        Ok(Self::with(
            config,
            Source::Rank(background, Box::new(ranker)),
        ))
    }

    fn with(config: CaptionsConfig, source: Source) -> Self {
        Self {
            config,
            source,
            counts: HashMap::new(),
            before: None,
        }
    }

    /// A new episode: captions pay in full again.
    pub fn begin_episode(&mut self) {
        self.counts.clear();
        self.before = None;
    }

    /// The reward of a step at which this happened, to be added to the task's own. Asks about a caption that is new.
    pub fn step(&mut self, caption: &str) -> Result<f64, RewardError> {
        if caption.is_empty() {
            return Ok(0.0);
        }
        let score = match &mut self.source {
            Source::Retrieval(background, model) => {
                background.ask(&caption.to_owned());
                model.score(caption)
            }
            Source::Classify(background, model) => {
                background.ask(&caption.to_owned());
                model.score(caption)?
            }
            Source::Rank(background, model) => {
                match &self.before {
                    Some(before) if before != caption => {
                        // One order of the two, so that they are compared once.
                        let mut pair = [before.clone(), caption.to_owned()];
                        pair.sort();
                        background.ask(&pair);
                    }
                    _ => {}
                }
                self.before = Some(caption.to_owned());
                model.score(caption)?
            }
        };
        let count = self.counts.entry(caption.to_owned()).or_default();
        *count += 1;
        Ok(self.config.coefficient * score / f64::from(*count).powf(self.config.decay))
    }

    /// Takes in what was answered since, and learns from it where something is learned. Gives the number of new answers.
    pub fn update(&mut self) -> Result<usize, RewardError> {
        Ok(match &mut self.source {
            Source::Retrieval(background, model) => {
                let answers = background.collect();
                let count = answers.len();
                model.learn(answers);
                count
            }
            Source::Classify(background, model) => {
                let answers = background.collect();
                let count = answers.len();
                model.learn(answers)?;
                count
            }
            Source::Rank(background, model) => {
                let answers = background.collect();
                let count = answers.len();
                model.learn(answers)?;
                count
            }
        })
    }

    /// How the annotator is doing.
    pub fn status(&self) -> BackgroundStatus {
        match &self.source {
            Source::Retrieval(background, _) | Source::Classify(background, _) => {
                background.status()
            }
            Source::Rank(background, _) => background.status(),
        }
    }

    /// Waits until all that was asked is answered, at most so long; for the end of a run. True when that came about.
    pub fn settle(&self, patience: std::time::Duration) -> bool {
        match &self.source {
            Source::Retrieval(background, _) | Source::Classify(background, _) => {
                background.settle(patience)
            }
            Source::Rank(background, _) => background.settle(patience),
        }
    }
}

#[cfg(test)]
mod tests;
