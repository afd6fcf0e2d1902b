//! [`Check`]: one question about a reward, answered in a word, a sentence and the numbers behind it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Interval;

/// An answer in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing speaks against it.
    Good,
    /// Something does, or the numbers are too few to be sure.
    Doubtful,
    /// The reward fails here.
    Bad,
    /// What was recorded does not decide it.
    CannotTell,
}

impl Verdict {
    /// Good from `good` on, doubtful from `doubtful` on, bad below.
    pub fn at_least(value: f64, good: f64, doubtful: f64) -> Self {
        if value >= good {
            Self::Good
        } else if value >= doubtful {
            Self::Doubtful
        } else {
            Self::Bad
        }
    }

    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Doubtful => "doubtful",
            Self::Bad => "bad",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// How much hangs on a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// A policy trained on a reward that fails here learns something else than the task.
    Essential,
    /// A failure has a price, which depends on what the reward is used for.
    Helpful,
}

/// One question about a reward, and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its name in files: `truth`, `backwards`, ...
    pub id: String,
    /// What is asked.
    pub question: String,
    /// How much hangs on it.
    pub weight: Weight,
    /// The answer in a word.
    pub verdict: Verdict,
    /// The answer in a plain sentence.
    pub sentence: String,
    /// The number that decided.
    pub value: Option<Interval>,
    /// Everything measured, by name. None where it is not defined.
    pub numbers: BTreeMap<String, Option<f64>>,
}

impl Check {
    /// A check that is not answered yet.
    pub fn new(id: &str, question: &str, weight: Weight) -> Self {
        Self {
            id: id.into(),
            question: question.into(),
            weight,
            verdict: Verdict::CannotTell,
            sentence: String::new(),
            value: None,
            numbers: BTreeMap::new(),
        }
    }

    /// Notes a number; one that is not finite counts as undefined.
    #[must_use]
    pub fn number(mut self, name: &str, value: Option<f64>) -> Self {
        self.numbers
            .insert(name.into(), value.filter(|v| v.is_finite()));
        self
    }

    /// The number that decides.
    #[must_use]
    pub fn decided_by(mut self, value: Option<Interval>) -> Self {
        self.value = value;
        self
    }

    /// The answer.
    #[must_use]
    pub fn answer(mut self, verdict: Verdict, sentence: impl Into<String>) -> Self {
        self.verdict = verdict;
        self.sentence = sentence.into();
        self
    }
}

/// What all checks together say: bad when an essential one is bad, doubtful when any other is bad or an essential one doubtful,
/// good when at least one essential check could be decided and none speaks against it.
pub fn overall(checks: &[Check]) -> Verdict {
    let any = |weight: Option<Weight>, verdict| {
        checks
            .iter()
            .any(|c| c.verdict == verdict && weight.is_none_or(|w| c.weight == w))
    };
    if any(Some(Weight::Essential), Verdict::Bad) {
        Verdict::Bad
    } else if any(None, Verdict::Bad) || any(Some(Weight::Essential), Verdict::Doubtful) {
        Verdict::Doubtful
    } else if any(Some(Weight::Essential), Verdict::Good) {
        Verdict::Good
    } else {
        Verdict::CannotTell
    }
}

/// The verdict for a layman: whether to trust the reward, and the reasons, the gravest first.
pub fn summary(checks: &[Check]) -> String {
    let verdict = overall(checks);
    let mut reasons: Vec<&Check> = checks
        .iter()
        .filter(|c| matches!(c.verdict, Verdict::Bad | Verdict::Doubtful))
        .collect();
    reasons.sort_by_key(|c| (std::cmp::Reverse(c.verdict), c.weight != Weight::Essential));
    let reasons: Vec<&str> = reasons
        .iter()
        .take(3)
        .map(|c| c.sentence.as_str())
        .collect();
    let count = |v| checks.iter().filter(|c| c.verdict == v).count();
    let passed = count(Verdict::Good);
    let asked = checks.len() - count(Verdict::CannotTell);
    let opening = match verdict {
        Verdict::Good => format!("This reward can be trusted on pictures like these: it passes {passed} of {asked} checks."),
        Verdict::Doubtful => format!("Use this reward with care: it passes {passed} of {asked} checks."),
        Verdict::Bad => format!("Do not train on this reward as it is: it passes {passed} of {asked} checks."),
        Verdict::CannotTell => "These recordings do not tell whether this reward can be trusted; record more of them, some that fail, with the truth beside them.".into(),
    };
    [&[opening.as_str()], &reasons[..]].concat().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(weight: Weight, verdict: Verdict) -> Check {
        Check::new("x", "?", weight).answer(verdict, format!("{verdict:?}."))
    }

    #[test]
    fn one_essential_failure_is_enough_and_silence_is_not_praise() {
        use Verdict::{Bad, CannotTell, Doubtful, Good};
        use Weight::{Essential, Helpful};
        let all = |checks: &[(Weight, Verdict)]| {
            overall(&checks.iter().map(|&(w, v)| check(w, v)).collect::<Vec<_>>())
        };
        assert_eq!(all(&[(Essential, Good), (Essential, Bad)]), Bad);
        assert_eq!(all(&[(Essential, Good), (Helpful, Bad)]), Doubtful);
        assert_eq!(all(&[(Essential, Doubtful), (Helpful, Good)]), Doubtful);
        assert_eq!(all(&[(Essential, Good), (Helpful, Doubtful)]), Good);
        assert_eq!(all(&[(Helpful, Good), (Essential, CannotTell)]), CannotTell);
        assert_eq!(all(&[]), CannotTell);
    }

    #[test]
    fn the_summary_names_the_gravest_reason_first() {
        let text = summary(&[
            check(Weight::Helpful, Verdict::Doubtful),
            check(Weight::Essential, Verdict::Bad),
        ]);
        assert!(text.starts_with("Do not train"), "{text}");
        assert!(text.find("Bad.").unwrap() < text.find("Doubtful.").unwrap());
    }

    #[test]
    fn a_number_that_is_none_is_noted_as_none() {
        let check = check(Weight::Helpful, Verdict::Good)
            .number("x", Some(f64::NAN))
            .number("y", Some(1.0));
        assert_eq!(check.numbers["x"], None);
        assert_eq!(check.numbers["y"], Some(1.0));
    }
}
