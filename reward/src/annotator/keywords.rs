//! [`Keywords`]: a rule in an annotator's place, good where one of some words appears.

use super::Annotator;
use crate::model::RewardError;

/// Calls a caption good when one of its words is among the words given, in whatever case.
#[derive(Clone, Debug)]
pub struct Keywords {
    words: Vec<String>,
}

impl Keywords {
    /// The words that make a caption good.
    pub fn new(words: &[&str]) -> Self {
        Self {
            words: words.iter().map(|w| w.to_lowercase()).collect(),
        }
    }

    /// What it says of one caption.
    pub fn is_good(&self, caption: &str) -> bool {
        let mut words = caption.split(|c: char| !c.is_alphanumeric());
        words.any(|word| self.words.contains(&word.to_lowercase()))
    }
}

impl Annotator for Keywords {
    type Query = String;
    type Answer = bool;

    fn name(&self) -> &str {
        "keywords"
    }

    fn label(&mut self, queries: &[String]) -> Result<Vec<Option<bool>>, RewardError> {
        Ok(queries.iter().map(|q| Some(self.is_good(q))).collect())
    }
}
