//! [`Annotator`]: whoever answers questions. A person, an oracle, a rule or a language model; about clips, captions or
//! candidates. [`Background`] lets a slow one answer beside a running loop, and remembers what was said.

mod background;
mod cache;
mod judge;
mod keywords;

pub use background::{Background, BackgroundConfig, BackgroundStatus};
pub use cache::AnswerCache;
pub use judge::{Over, ToolJudge};
pub use keywords::Keywords;

use serde::{Deserialize, Serialize};

use crate::model::RewardError;
use crate::preference::{ClipId, Preference};

/// Answers questions of one sort. Implementations may ask a person, read a simulator's truth, or call a service; they may take
/// seconds. Whoever must not wait puts one into a [`Background`].
pub trait Annotator: Send {
    /// What is asked: a [`ClipQuery`], the text of a caption, a list of candidates.
    type Query;
    /// What is answered: a [`Preference`], a label.
    type Answer;

    /// What it is called in records: `terminal`, `oracle`, `keywords`, the name of a model.
    fn name(&self) -> &str;

    /// Answers in the order of the queries, one for each; `None` where there is none (skipped, or cannot be told). Fails when
    /// nothing more can be asked for now: a session that was ended, a service that does not answer.
    fn label(&mut self, queries: &[Self::Query]) -> Result<Vec<Option<Self::Answer>>, RewardError>;
}

/// A question about clips: which of them is liked more?
///
/// The answer is a [`Preference`] whose choice is a `Pair` or `Equal` for two clips, and a `Triplet`, a `Rank` or `Equal` for
/// more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipQuery {
    /// The clips, two or more, in the order in which they are shown.
    pub clips: Vec<ClipId>,
    /// Whose preference is asked for.
    pub user: String,
    /// The situation in which to judge, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
}

impl ClipQuery {
    /// Which of two clips?
    pub fn pair(first: ClipId, second: ClipId, user: impl Into<String>) -> Self {
        Self {
            clips: vec![first, second],
            user: user.into(),
            context: None,
        }
    }
}

/// An annotator of clips, whatever is behind it.
pub type ClipAnnotator = dyn Annotator<Query = ClipQuery, Answer = Preference>;

impl<A: Annotator + ?Sized> Annotator for Box<A> {
    type Query = A::Query;
    type Answer = A::Answer;

    fn name(&self) -> &str {
        (**self).name()
    }

    fn label(&mut self, queries: &[Self::Query]) -> Result<Vec<Option<Self::Answer>>, RewardError> {
        (**self).label(queries)
    }
}

/// Answers as many as there were questions: a shorter or longer list means that they can no longer be told apart.
pub(crate) fn check_count(name: &str, queries: usize, answers: usize) -> Result<(), RewardError> {
    if queries == answers {
        return Ok(());
    }
    Err(RewardError::Other(format!(
        "the annotator `{name}` gave {answers} answers to {queries} questions; it must give one for each"
    )))
}
