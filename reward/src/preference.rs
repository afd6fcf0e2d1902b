//! What a person said about clips: the [`Preference`], and the [`PreferenceStore`] that keeps it.

mod store;

pub use store::{PreferenceStore, Retracted, Skipped};

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

/// What was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        })
    }

    /// Says what is wrong with the record, if anything: an empty clip, too few clips, the same clip twice.
    pub fn validate(&self) -> Result<(), RewardError> {
        let clips = self.choice.clips();
        if clips.len() < 2 {
            return Err(RewardError::Other(
                "a preference needs at least two clips".into(),
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
