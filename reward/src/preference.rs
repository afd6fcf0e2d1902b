//! What a person said about clips: the [`Preference`], and the [`PreferenceStore`] that keeps it.

mod curate;
mod implicit;
mod mine;
mod query;
mod store;
mod teacher;

pub use curate::{CurateConfig, Curated, curate, second_judge};
pub use implicit::{Event, ImplicitConfig, Usage, implicit_preferences, reactions};
pub use mine::{Mined, SiftConfig, rank_then_sift};
pub use query::{
    Candidates, QueryConfig, QuerySchedule, Selection, disagreement, entropy, information_gain,
    k_centre, label_variance, logit_variance, probability_variance,
};
pub use store::{PreferenceStore, Retracted, Skipped, Torn};
pub use teacher::Teacher;

use serde::{Deserialize, Serialize};

use crate::model::RewardError;

/// A stretch of an episode of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipId {
    /// The dataset, by the name its owner knows it by.
    pub dataset: String,
    /// Index of the episode.
    pub episode: usize,
    /// First frame.
    pub start: usize,
    /// One past the last frame.
    pub end: usize,
}

impl std::fmt::Display for ClipId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            dataset,
            episode,
            start,
            end,
        } = self;
        write!(f, "{dataset} episode {episode} frames {start}..{end}")
    }
}

/// A stretch of a clip in which something went wrong, and what (FGAIF, arXiv 2404.05046).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentFault {
    /// First frame, counted from the clip's first.
    pub start: usize,
    /// One past the last frame, counted in the same way.
    pub end: usize,
    /// What went wrong, by a name of the asker's: `collision`, `drop`.
    pub fault: String,
}

/// What an operator did next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reaction {
    /// Stopped the robot in an emergency.
    Stop,
    /// Took over.
    Takeover,
    /// Corrected it a little.
    Nudge,
    /// Let it go on.
    Silence,
    /// Said or signed that it was good.
    Praise,
}

/// What an answer rests on. Answers that nobody was asked for weigh less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Somebody was asked.
    Asked,
    /// Read off what an operator did next.
    Reaction,
    /// Read off what became of a recording.
    Usage,
    /// Computed by a rule or a simulator's truth.
    Rule,
    /// Given by a model: a judge, or a reward learned from other answers.
    Model,
}

/// What was chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Choice {
    /// Three clips in order.
    Triplet {
        /// The one that was liked most.
        best: ClipId,
        /// The one between.
        middle: ClipId,
        /// The one that was liked least.
        worst: ClipId,
    },
    /// One clip over another.
    Pair {
        /// The one that was liked more.
        better: ClipId,
        /// The one that was liked less.
        worse: ClipId,
    },
    /// Any number of clips in order.
    Rank {
        /// Most liked first.
        clips: Vec<ClipId>,
    },
    /// Clips that are equally good or equally bad.
    Equal {
        /// In no order.
        clips: Vec<ClipId>,
    },
    /// How good one clip is, by itself.
    Score {
        /// The clip.
        clip: ClipId,
        /// More is better. Scores of one person are compared with each other only.
        score: f64,
    },
    /// What went wrong in a clip, and when; nothing when the list is empty.
    Fault {
        /// The clip.
        clip: ClipId,
        /// In no order; they may overlap.
        faults: Vec<SegmentFault>,
    },
    /// What an operator did next.
    Reaction {
        /// What it was done about.
        clip: ClipId,
        /// What was done.
        reaction: Reaction,
    },
}

impl Choice {
    /// The clips that the choice is about.
    pub fn clips(&self) -> Vec<&ClipId> {
        match self {
            Self::Triplet {
                best,
                middle,
                worst,
            } => vec![best, middle, worst],
            Self::Pair { better, worse } => vec![better, worse],
            Self::Rank { clips } | Self::Equal { clips } => clips.iter().collect(),
            Self::Score { clip, .. } | Self::Fault { clip, .. } | Self::Reaction { clip, .. } => {
                vec![clip]
            }
        }
    }
}

/// One answer of one person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preference {
    /// What was chosen.
    pub choice: Choice,
    /// Whose preference it is; [`crate::Context::user`] is compared with this.
    pub user: String,
    /// Who or what gave the answer: a page, a terminal, an oracle.
    pub annotator: String,
    /// When, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
    /// The situation in which it holds, in words, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// How much better the better one is, 0..=1, where that was asked. None counts as fully.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// How much the answer counts among others. None counts as 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// What the answer rests on, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

impl Preference {
    /// An answer given now.
    pub fn now(
        choice: Choice,
        user: impl Into<String>,
        annotator: impl Into<String>,
    ) -> Result<Self, RewardError> {
        Ok(Self {
            choice,
            user: user.into(),
            annotator: annotator.into(),
            time_ms: now_ms()?,
            context: None,
            strength: None,
            weight: None,
            source: None,
        })
    }

    /// Says what is wrong with the record, if anything: an empty clip, too few clips, the same clip twice, a number out of its
    /// range, a fault outside its clip.
    pub fn validate(&self) -> Result<(), RewardError> {
        let fail = |sentence: String| Err(RewardError::Other(sentence));
        let clips = self.choice.clips();
        match &self.choice {
            Choice::Score { score, .. } if !score.is_finite() => {
                return fail(format!("a score is {score}; give a finite number"));
            }
            Choice::Fault { clip, faults } => {
                for SegmentFault { start, end, fault } in faults {
                    if start >= end || *end > clip.end.saturating_sub(clip.start) {
                        return fail(format!(
                            "the fault `{fault}` in frames {start}..{end} does not lie in {clip}; count from the clip's first frame"
                        ));
                    }
                }
            }
            Choice::Score { .. } | Choice::Reaction { .. } => {}
            _ if clips.len() < 2 => return fail("a preference needs at least two clips".into()),
            _ => {}
        }
        if let Some(strength) = self.strength
            && !(0.0..=1.0).contains(&strength)
        {
            return fail(format!(
                "the strength of a preference is {strength}; give 0 to 1"
            ));
        }
        if let Some(weight) = self.weight
            && !(weight.is_finite() && weight >= 0.0)
        {
            return fail(format!(
                "the weight of a preference is {weight}; give 0 or more"
            ));
        }
        for (i, clip) in clips.iter().enumerate() {
            if clip.end <= clip.start {
                return Err(RewardError::Other(format!(
                    "{clip} has no frame; give an end after the start"
                )));
            }
            if clips[..i].contains(clip) {
                return Err(RewardError::Other(format!(
                    "{clip} is compared with itself; choose between different clips"
                )));
            }
        }
        Ok(())
    }
}

/// Now, in milliseconds since 1970 (UTC).
fn now_ms() -> Result<u64, RewardError> {
    let time = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|_| RewardError::Other("the clock stands before 1970; set the date".into()))?;
    Ok(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
