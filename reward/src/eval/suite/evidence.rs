//! Clips with their rewards, ready to be questioned.

use rapport_perception::Features;

use super::{ExamineConfig, LeftOut};
use crate::eval::pressure::Choice;
use crate::eval::probe::frames_to_probe;
use crate::eval::sample::{Sample, deviation, mean, score, stretches};
use crate::model::{RewardError, RewardModel, Signal};

/// What every check looks at.
pub(super) struct Evidence<'a> {
    pub model: &'a dyn RewardModel,
    pub config: &'a ExamineConfig,
    /// Clips that could be scored.
    pub samples: Vec<Sample>,
    /// Their rewards.
    pub signals: Vec<Signal>,
}

/// Some frames of all clips.
pub(super) struct Frames {
    /// Index of the clip and time of each.
    pub places: Vec<(usize, usize)>,
    /// The clip of each.
    pub clips: Vec<usize>,
    /// The reward of each.
    pub reward: Vec<f64>,
}

impl<'a> Evidence<'a> {
    /// Scores every clip.
    pub fn gather(
        model: &'a dyn RewardModel,
        samples: &[Sample],
        config: &'a ExamineConfig,
    ) -> Result<(Self, Vec<LeftOut>), RewardError> {
        let mut evidence = Self {
            model,
            config,
            samples: Vec::new(),
            signals: Vec::new(),
        };
        let mut left_out = Vec::new();
        for (clip, sample) in samples.iter().enumerate() {
            sample.validate()?;
            let finite = |v: &Vec<f64>| v.iter().all(|v| v.is_finite());
            if !sample.truth.iter().all(finite) {
                let reason = "the truth is not a number somewhere".into();
                left_out.push(LeftOut { clip, reason });
                continue;
            }
            match score(model, &sample.clip) {
                Ok(_) if sample.clip.is_empty() => left_out.push(LeftOut {
                    clip,
                    reason: "the clip has no frames".into(),
                }),
                Ok(signal) => {
                    evidence.samples.push(sample.clone());
                    evidence.signals.push(signal);
                }
                Err(error) => left_out.push(LeftOut {
                    clip,
                    reason: error.to_string(),
                }),
            }
        }
        if evidence.samples.is_empty() {
            let why = left_out.first().map_or("there is none", |l| &l.reason);
            return Err(RewardError::Other(format!(
                "no clip could be examined: {why}"
            )));
        }
        Ok((evidence, left_out))
    }

    /// Whether the reward is known at every step.
    pub fn live(&self) -> bool {
        self.model.causal()
    }

    /// Indices of clips over which the task gets nearer to done, of at least five frames.
    pub fn progressing(&self) -> Vec<usize> {
        (0..self.samples.len())
            .filter(|&i| self.samples[i].clip.len() >= 5 && self.samples[i].progresses())
            .collect()
    }

    /// Indices of clips whose truth is known.
    pub fn with_truth(&self) -> Vec<usize> {
        (0..self.samples.len())
            .filter(|&i| self.samples[i].truth.is_some())
            .collect()
    }

    /// Rewards and truths of all steps of the given clips.
    pub fn pooled(&self, clips: &[usize]) -> (Vec<f64>, Vec<f64>) {
        let mut pooled = (Vec::new(), Vec::new());
        for &i in clips {
            if let Some(truth) = &self.samples[i].truth {
                pooled.0.extend(&self.signals[i].per_step);
                pooled.1.extend(truth);
            }
        }
        pooled
    }

    /// What clips are worth as wholes: mean reward and mean truth of each, so that length does not count.
    pub fn wholes(&self) -> Vec<Choice> {
        self.choices(1)
    }

    /// What stretches of clips are worth: those of whole clips for a reward of whole episodes.
    pub fn stretches(&self) -> Vec<Choice> {
        self.choices(if self.live() {
            self.config.stretches
        } else {
            1
        })
    }

    fn choices(&self, pieces: usize) -> Vec<Choice> {
        let of_clip = |i: usize| {
            let (reward, truth) = (&self.signals[i].per_step, self.samples[i].truth.as_ref()?);
            Some(
                stretches(reward.len(), pieces)
                    .into_iter()
                    .map(move |r| Choice {
                        proxy: mean(&reward[r.clone()]),
                        truth: mean(&truth[r]),
                        clip: i,
                    }),
            )
        };
        (0..self.samples.len())
            .filter_map(of_clip)
            .flatten()
            .collect()
    }

    /// All rewards of all steps.
    pub fn rewards(&self) -> Vec<f64> {
        self.signals
            .iter()
            .flat_map(|s| s.per_step.iter().copied())
            .collect()
    }

    /// Whether the reward differs between any two steps beyond rounding. A single step cannot be held against it.
    pub fn varies(&self) -> bool {
        let rewards = self.rewards();
        let size = rewards.iter().fold(0.0f64, |m, r| m.max(r.abs()));
        rewards.len() < 2 || deviation(&rewards) > 1e-9 * size
    }

    /// About `most` frames, evenly over all clips.
    pub fn frames(&self, most: usize) -> Frames {
        let lengths: Vec<usize> = self.samples.iter().map(|s| s.clip.len()).collect();
        let places = frames_to_probe(&lengths, most);
        Frames {
            clips: places.iter().map(|&(i, _)| i).collect(),
            reward: places
                .iter()
                .map(|&(i, t)| self.signals[i].per_step[t])
                .collect(),
            places,
        }
    }
}

impl Frames {
    /// Rows of one table for each clip, at the places. None when the tables differ in width.
    pub fn rows(&self, tables: &[Features]) -> Option<Features> {
        let dim = tables.first()?.dim();
        let mut values = Vec::with_capacity(self.places.len() * dim);
        for &(i, t) in &self.places {
            if tables[i].dim() != dim || t >= tables[i].len() {
                return None;
            }
            values.extend_from_slice(tables[i].row(t));
        }
        (dim > 0).then(|| Features::new(dim, values))
    }
}
