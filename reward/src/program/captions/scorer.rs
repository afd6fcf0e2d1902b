//! What an annotator said of some captions, made into a score of any: looked up, or learned.

use std::collections::HashMap;

use burn::module::Module as _;
use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Device, Tensor};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::words::bag_of_words;
use crate::model::RewardError;
use crate::network::{Descent, Network, NetworkConfig, rows, training_device, values};
use crate::objective::sigmoid;

/// Settings of a learned scorer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScorerConfig {
    /// Places that words are hashed to.
    pub words: usize,
    /// Hidden layers.
    pub network: NetworkConfig,
    /// Step size. ONI has 1e-4 for its larger networks.
    pub rate: f64,
    /// Answers in a gradient step.
    pub batch: usize,
    /// Gradient steps in an update.
    pub steps: usize,
    /// Seed of weights and batches.
    pub seed: u64,
}

impl Default for ScorerConfig {
    fn default() -> Self {
        Self {
            words: 512,
            network: NetworkConfig {
                hidden: vec![64],
                ..NetworkConfig::default()
            },
            rate: 1e-3,
            batch: 256,
            steps: 32,
            seed: 0,
        }
    }
}

impl ScorerConfig {
    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        if self.words == 0 || self.batch == 0 || !self.rate.is_finite() || self.rate <= 0.0 {
            return Err(RewardError::Other(format!(
                "captions.words is {}, captions.batch {} and captions.rate {}; all must be positive",
                self.words, self.batch, self.rate
            )));
        }
        Ok(())
    }
}

/// Labels looked up: a caption that was not labelled scores 0.
#[derive(Clone, Debug, Default)]
pub struct Retrieval {
    labels: HashMap<String, bool>,
}

impl Retrieval {
    /// Takes in answers.
    pub fn learn(&mut self, answers: impl IntoIterator<Item = (String, bool)>) {
        self.labels.extend(answers);
    }

    /// 1 for a caption that was called good, 0 for others.
    pub fn score(&self, caption: &str) -> f64 {
        f64::from(self.labels.get(caption).copied().unwrap_or(false))
    }
}

/// A network over words, trained in small steps on all answers so far.
struct Learned {
    config: ScorerConfig,
    network: Network,
    descent: Descent,
    rng: ChaCha8Rng,
    /// Scores of captions since the last update: a caption comes again and again.
    scores: HashMap<String, f64>,
}

impl Learned {
    fn new(config: ScorerConfig) -> Result<Self, RewardError> {
        config.validate()?;
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let network = Network::new(
            &config.network,
            config.words,
            1,
            &mut rng,
            &training_device(),
        );
        Ok(Self {
            descent: Descent::new(config.rate, 0.0),
            network,
            rng,
            scores: HashMap::new(),
            config,
        })
    }

    /// Gradient steps on random batches of `count` answers. `loss` gets the outputs of the captions that `pick` names.
    fn update<'a>(
        &mut self,
        count: usize,
        pick: impl Fn(usize) -> (&'a str, Option<&'a str>, f32),
        loss: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<1>,
    ) -> Result<(), RewardError> {
        if count == 0 {
            return Ok(());
        }
        let device = training_device();
        for _ in 0..self.config.steps {
            let (mut first, mut second, mut targets) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..self.config.batch.min(4 * count) {
                let (a, b, target) = pick(self.rng.random_range(0..count));
                first.extend(bag_of_words(a, self.config.words));
                second.extend(
                    b.map(|b| bag_of_words(b, self.config.words))
                        .into_iter()
                        .flatten(),
                );
                targets.push(target);
            }
            let mut gap = self
                .network
                .forward(rows(&first, self.config.words, &device));
            if !second.is_empty() {
                gap = gap
                    - self
                        .network
                        .forward(rows(&second, self.config.words, &device));
            }
            let loss = loss(gap, rows(&targets, 1, &device));
            self.network = self.descent.step(self.network.clone(), loss)?.0;
        }
        self.scores.clear();
        Ok(())
    }

    /// The network's output for a caption.
    fn output(&mut self, caption: &str) -> Result<f64, RewardError> {
        if let Some(score) = self.scores.get(caption) {
            return Ok(*score);
        }
        let bag = bag_of_words(caption, self.config.words);
        let input = rows(&bag, self.config.words, &Device::flex());
        let output = f64::from(values(self.network.valid().forward(input))?[0]);
        // Captions that never end would fill the memory.
        if self.scores.len() > 100_000 {
            self.scores.clear();
        }
        self.scores.insert(caption.to_owned(), output);
        Ok(output)
    }
}

/// Cross-entropy of outputs `[batch, 1]` with targets in 0..=1.
fn cross_entropy(output: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
    let (yes, no) = (log_sigmoid(output.clone()), log_sigmoid(-output));
    -(target.clone() * yes + (-target + 1.0) * no).mean()
}

/// A network that says whether a caption would be called good. Captions that were never labelled are judged by their words.
pub struct Classifier {
    learned: Learned,
    labels: Vec<(String, bool)>,
}

impl Classifier {
    /// An untrained one, for which nothing is good. Fails on settings that make no sense.
    pub fn new(config: ScorerConfig) -> Result<Self, RewardError> {
        Ok(Self {
            learned: Learned::new(config)?,
            labels: Vec::new(),
        })
    }

    /// Takes in answers, and learns from all so far.
    pub fn learn(
        &mut self,
        answers: impl IntoIterator<Item = (String, bool)>,
    ) -> Result<(), RewardError> {
        self.labels.extend(answers);
        let labels = &self.labels;
        let pick = |i: usize| (labels[i].0.as_str(), None, f32::from(labels[i].1));
        self.learned.update(labels.len(), pick, cross_entropy)
    }

    /// 1 where the probability of "good" is above ½, else 0.
    pub fn score(&mut self, caption: &str) -> Result<f64, RewardError> {
        if self.labels.is_empty() {
            return Ok(0.0);
        }
        Ok(f64::from(sigmoid(self.learned.output(caption)?) > 0.5))
    }
}

/// A network that ranks captions as an annotator ranks pairs of them (Bradley and Terry's model).
pub struct Ranker {
    learned: Learned,
    pairs: Vec<([String; 2], f64)>,
    threshold: f64,
    /// Running count, mean and squared distance from it, of the outputs scored.
    spread: (f64, f64, f64),
}

impl Ranker {
    /// An untrained one, for which nothing is good. ONI's `threshold` is -0.5. Fails on settings that make no sense.
    pub fn new(config: ScorerConfig, threshold: f64) -> Result<Self, RewardError> {
        Ok(Self {
            learned: Learned::new(config)?,
            pairs: Vec::new(),
            threshold,
            spread: (0.0, 0.0, 0.0),
        })
    }

    /// Takes in answers, and learns from all so far. An answer is 1 for the first, 0 for the second, ½ for neither.
    pub fn learn(
        &mut self,
        answers: impl IntoIterator<Item = ([String; 2], f64)>,
    ) -> Result<(), RewardError> {
        self.pairs.extend(answers);
        let pairs = &self.pairs;
        let pick = |i: usize| {
            let ([a, b], q) = &pairs[i];
            (a.as_str(), Some(b.as_str()), *q as f32)
        };
        self.learned.update(pairs.len(), pick, cross_entropy)
    }

    /// The output, less its running mean and over its running deviation; 0 where that is not above the threshold. That what
    /// passes keeps its value is Motif's rule, taken over here `[unconfirmed for ONI]`.
    pub fn score(&mut self, caption: &str) -> Result<f64, RewardError> {
        if self.pairs.is_empty() {
            return Ok(0.0);
        }
        let output = self.learned.output(caption)?;
        let (count, mean, squares) = &mut self.spread;
        *count += 1.0;
        let off = output - *mean;
        *mean += off / *count;
        *squares += off * (output - *mean);
        let deviation = (*squares / *count).sqrt();
        let normal = if deviation > 1e-9 {
            (output - *mean) / deviation
        } else {
            0.0
        };
        Ok(if normal > self.threshold { normal } else { 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [&str; 4] = [
        "the gripper touched the handle",
        "the gripper lifted the cup",
        "the cup stands on the shelf",
        "the handle was turned",
    ];
    const BAD: [&str; 4] = [
        "nothing happened",
        "the arm hit the table",
        "the arm waits",
        "nothing moved near the table",
    ];

    fn config() -> ScorerConfig {
        ScorerConfig {
            rate: 3e-3,
            steps: 150,
            ..ScorerConfig::default()
        }
    }

    #[test]
    fn a_classifier_knows_paraphrases_and_a_table_does_not() {
        let labels = || {
            let good = GOOD.iter().map(|c| (c.to_string(), true));
            good.chain(BAD.iter().map(|c| (c.to_string(), false)))
        };
        let (mut retrieval, mut classifier) =
            (Retrieval::default(), Classifier::new(config()).unwrap());
        assert_eq!(classifier.score(GOOD[0]).unwrap(), 0.0);
        retrieval.learn(labels());
        classifier.learn(labels()).unwrap();
        for (caption, label) in labels() {
            assert_eq!(retrieval.score(&caption), f64::from(label));
            assert_eq!(
                classifier.score(&caption).unwrap(),
                f64::from(label),
                "{caption}"
            );
        }
        for (caption, label) in [
            ("the handle has been touched by the gripper", 1.0),
            ("a cup, lifted by the gripper", 1.0),
            ("on the shelf stands a cup", 1.0),
            ("nothing at all happened", 0.0),
            ("the table was hit by the arm", 0.0),
            ("near the table nothing moved", 0.0),
        ] {
            assert_eq!(classifier.score(caption).unwrap(), label, "{caption}");
            assert_eq!(retrieval.score(caption), 0.0);
        }
    }

    #[test]
    fn a_ranker_learns_the_order() {
        let mut ranker = Ranker::new(config(), -0.5).unwrap();
        assert_eq!(ranker.score(GOOD[0]).unwrap(), 0.0);
        let pairs = GOOD.iter().flat_map(|g| {
            BAD.iter()
                .map(move |b| ([g.to_string(), b.to_string()], 1.0))
        });
        ranker.learn(pairs).unwrap();
        for caption in GOOD.iter().chain(&BAD) {
            ranker.score(caption).unwrap();
        }
        let mut score = |c: &str| ranker.score(c).unwrap();
        assert!(score("the cup was lifted by the gripper") > 0.5 && score("the arm waits") <= 0.0);
    }

    #[test]
    fn one_class_and_equal_pairs_give_numbers() {
        let mut classifier = Classifier::new(config()).unwrap();
        classifier
            .learn([("only this".to_owned(), true), (String::new(), true)])
            .unwrap();
        assert_eq!(classifier.score("only this").unwrap(), 1.0);
        let mut ranker = Ranker::new(config(), -0.5).unwrap();
        ranker
            .learn([
                (["a".to_owned(), "a".to_owned()], 0.5),
                (["a".to_owned(), "b".to_owned()], 1.0),
                (["a".to_owned(), "b".to_owned()], 0.0),
            ])
            .unwrap();
        assert!(ranker.score("a").unwrap().is_finite());
        assert!(
            Classifier::new(ScorerConfig {
                words: 0,
                ..config()
            })
            .is_err()
        );
    }
}
