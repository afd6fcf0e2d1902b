//! [`Pairs`]: what people said, as pairs of clips with a label.

use std::collections::{BTreeMap, HashMap};

use rand::seq::SliceRandom as _;
use rand::{Rng, RngExt as _};

use crate::model::{Clip, RewardError};
use crate::objective::PairTarget;
use crate::preference::{Choice, ClipId, Preference};

/// One clip against another, as indices into [`Pairs::clips`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pair {
    /// The one.
    pub first: usize,
    /// The other.
    pub second: usize,
    /// What was said of them, and how it counts.
    pub target: PairTarget,
    /// Who said it.
    pub user: String,
    /// The situation in which it holds, where that was asked.
    pub situation: Option<String>,
    /// The answer that it came from. Pairs from one answer are never split between training and validation.
    pub answer: usize,
}

impl Pair {
    /// `label` is 1 when the first is better, 0 when the second is, ½ when they are equal.
    pub fn new(first: usize, second: usize, label: f64, answer: usize) -> Self {
        Self {
            first,
            second,
            target: PairTarget::new(label),
            answer,
            ..Self::default()
        }
    }
}

/// Clips, and which of them are better.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    /// The clips.
    pub clips: Vec<Clip>,
    /// What was said of them.
    pub items: Vec<Pair>,
    /// Answers that order nothing: a score that is alone, faults, reactions.
    pub skipped: usize,
}

impl Pairs {
    /// From `(better, worse)` indices into `clips`.
    pub fn from_indices(clips: Vec<Clip>, pairs: &[(usize, usize)]) -> Result<Self, RewardError> {
        let items = pairs
            .iter()
            .enumerate()
            .map(|(answer, &(better, worse))| Pair::new(better, worse, 1.0, answer))
            .collect();
        let pairs = Self {
            clips,
            items,
            skipped: 0,
        };
        pairs.validate()?;
        Ok(pairs)
    }

    /// From people's answers. A pair is one pair; a ranking or triplet of `n` clips gives every pair in its order, which
    /// together weigh as much as `n - 1` answers; equal clips likewise, with the label ½. Scores of one person in one
    /// situation are compared with each other. A strength `s` makes the label `(1 + s)/2`. Faults and reactions order
    /// nothing by themselves (see [`crate::preference::reactions`]). `clip_of` is asked once for each clip.
    pub fn from_preferences(
        preferences: &[Preference],
        mut clip_of: impl FnMut(&ClipId) -> Result<Clip, RewardError>,
    ) -> Result<Self, RewardError> {
        let mut all = Self::default();
        let mut index: HashMap<ClipId, usize> = HashMap::new();
        let mut scores: BTreeMap<(&str, Option<&str>), Vec<Scored>> = BTreeMap::new();
        for (answer, preference) in preferences.iter().enumerate() {
            preference.validate()?;
            let kind = &preference.choice;
            if matches!(kind, Choice::Fault { .. } | Choice::Reaction { .. }) {
                all.skipped += 1;
                continue;
            }
            let mut clips = Vec::new();
            for clip in kind.clips() {
                let i = match index.get(clip) {
                    Some(&i) => i,
                    None => {
                        all.clips.push(clip_of(clip)?);
                        index.insert(clip.clone(), all.clips.len() - 1);
                        all.clips.len() - 1
                    }
                };
                clips.push(i);
            }
            let weight = preference.weight.unwrap_or(1.0);
            if let Choice::Score { score, .. } = kind {
                scores
                    .entry((&preference.user, preference.context.as_deref()))
                    .or_default()
                    .push(Scored {
                        clip: clips[0],
                        score: *score,
                        answer,
                        weight,
                    });
                continue;
            }
            let label = match kind {
                Choice::Equal { .. } => 0.5,
                _ => 0.5 * (1.0 + preference.strength.unwrap_or(1.0)),
            };
            // n(n-1)/2 pairs weigh n - 1 together.
            let weight = weight * 2.0 / clips.len() as f64;
            for (i, &first) in clips.iter().enumerate() {
                for &second in &clips[i + 1..] {
                    let mut pair = Pair::new(first, second, label, answer);
                    pair.target.weight = weight;
                    pair.user.clone_from(&preference.user);
                    pair.situation.clone_from(&preference.context);
                    all.items.push(pair);
                }
            }
        }
        for ((user, situation), scored) in scores {
            if scored.len() < 2 {
                all.skipped += scored.len();
                continue;
            }
            for (i, one) in scored.iter().enumerate() {
                for other in scored[i + 1..].iter().filter(|o| o.clip != one.clip) {
                    let label = match one.score.total_cmp(&other.score) {
                        std::cmp::Ordering::Less => 0.0,
                        std::cmp::Ordering::Equal => 0.5,
                        std::cmp::Ordering::Greater => 1.0,
                    };
                    let mut pair = Pair::new(one.clip, other.clip, label, one.answer);
                    pair.target.weight = one.weight.min(other.weight) * 2.0 / scored.len() as f64;
                    pair.user = user.into();
                    pair.situation = situation.map(Into::into);
                    all.items.push(pair);
                }
            }
        }
        Ok(all)
    }

    /// Says what is wrong with them, if anything: nothing to learn from, a clip that is not there or compared with itself, a
    /// number out of its range.
    pub fn validate(&self) -> Result<(), RewardError> {
        if self.items.is_empty() {
            return Err(RewardError::Other(
                "there is no pair to learn from; give comparisons or rankings".into(),
            ));
        }
        for (i, pair) in self.items.iter().enumerate() {
            if pair.first.max(pair.second) >= self.clips.len() {
                return Err(RewardError::Other(format!(
                    "pair {i} names clip {} of {}",
                    pair.first.max(pair.second),
                    self.clips.len()
                )));
            }
            if pair.first == pair.second {
                return Err(RewardError::Other(format!(
                    "pair {i} compares clip {} with itself; give two clips",
                    pair.first
                )));
            }
            pair.target
                .validate()
                .map_err(|e| RewardError::Other(format!("pair {i}: {e}")))?;
        }
        Ok(())
    }

    /// The same clips with other pairs.
    pub fn with_items(&self, items: Vec<Pair>) -> Self {
        Self {
            clips: self.clips.clone(),
            items,
            skipped: 0,
        }
    }

    /// Everybody who said something, in alphabetical order.
    pub fn users(&self) -> Vec<String> {
        let mut users: Vec<String> = self.items.iter().map(|p| p.user.clone()).collect();
        users.sort();
        users.dedup();
        users
    }

    /// Every situation that was named, in alphabetical order.
    pub fn situations(&self) -> Vec<String> {
        let mut all: Vec<String> = self
            .items
            .iter()
            .filter_map(|p| p.situation.clone())
            .collect();
        all.sort();
        all.dedup();
        all
    }

    /// Splits off a share of the answers; at least one stays in the first part.
    pub fn split(&self, share: f64, rng: &mut impl Rng) -> (Vec<Pair>, Vec<Pair>) {
        let mut answers = self.answers();
        answers.shuffle(rng);
        let held = (answers.len() as f64 * share).round() as usize;
        let held = held.min(answers.len().saturating_sub(1));
        let mut held = answers[..held].to_vec();
        held.sort_unstable();
        self.items
            .iter()
            .cloned()
            .partition(|pair| held.binary_search(&pair.answer).is_err())
    }

    fn answers(&self) -> Vec<usize> {
        let mut answers: Vec<usize> = self.items.iter().map(|pair| pair.answer).collect();
        answers.sort_unstable();
        answers.dedup();
        answers
    }
}

/// One clip's score by itself.
struct Scored {
    clip: usize,
    score: f64,
    answer: usize,
    weight: f64,
}

/// As many answers as there are, drawn with replacement: each pair's index and target, its weight times how often its answer
/// was drawn. Pairs of answers that were never drawn are left out.
pub(super) fn bootstrap(items: &[Pair], rng: &mut impl Rng) -> Vec<(usize, PairTarget)> {
    let mut answers: Vec<usize> = items.iter().map(|pair| pair.answer).collect();
    answers.sort_unstable();
    answers.dedup();
    let mut drawn: HashMap<usize, f64> = HashMap::new();
    for _ in 0..answers.len() {
        *drawn
            .entry(answers[rng.random_range(0..answers.len())])
            .or_default() += 1.0;
    }
    let mut sample = Vec::new();
    for (i, pair) in items.iter().enumerate() {
        if let Some(times) = drawn.get(&pair.answer) {
            let mut target = pair.target;
            target.weight *= times;
            sample.push((i, target));
        }
    }
    sample
}
