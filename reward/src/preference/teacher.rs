//! [`Teacher`]: answers computed from a true reward, with the faults that people have.

use rand::{Rng, RngExt as _};
use serde::{Deserialize, Serialize};

use super::{Choice, ClipId, Preference, Source};
use crate::model::RewardError;
use crate::objective::sigmoid;

/// A simulated person, after B-Pref (arXiv 2111.03026) as released.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Teacher {
    /// Rationality: the first is preferred with probability `σ(β (R_1 - R_2))`. None: always the better one.
    pub beta: Option<f64>,
    /// Weight of a step next to the one after it: `R = Σ_t γ^(T-1-t) r_t`. Below 1 the end counts more.
    pub gamma: f64,
    /// Probability of giving the opposite answer.
    pub mistake: f64,
    /// No answer when neither return (undiscounted) is larger than this. None: always an answer.
    pub skip_below: Option<f64>,
    /// Equal when the returns (undiscounted) differ by less than this.
    pub equal_within: f64,
}

impl Default for Teacher {
    fn default() -> Self {
        Self {
            beta: None,
            gamma: 1.0,
            mistake: 0.0,
            skip_below: None,
            equal_within: 0.0,
        }
    }
}

impl Teacher {
    /// B-Pref's six: oracle, stochastic (`β = 1`), mistaken (0.1), skipping (0.1), undecided (0.1) and short-sighted (0.9),
    /// by name. `scale` is the return that thresholds are shares of: B-Pref takes the mean return of recent episodes times the
    /// length of a clip over that of an episode.
    pub fn standard(scale: f64) -> [(&'static str, Self); 6] {
        let plain = Self::default();
        [
            ("oracle", plain),
            (
                "stochastic",
                Self {
                    beta: Some(1.0),
                    ..plain
                },
            ),
            (
                "mistaken",
                Self {
                    mistake: 0.1,
                    ..plain
                },
            ),
            (
                "skipping",
                Self {
                    skip_below: Some(0.1 * scale),
                    ..plain
                },
            ),
            (
                "undecided",
                Self {
                    equal_within: 0.1 * scale,
                    ..plain
                },
            ),
            (
                "short-sighted",
                Self {
                    gamma: 0.9,
                    ..plain
                },
            ),
        ]
    }

    /// Says what is wrong with the settings, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        let check = |holds: bool, sentence: &str| {
            if holds {
                Ok(())
            } else {
                Err(RewardError::Other(format!("teacher.{sentence}")))
            }
        };
        check(
            self.beta.is_none_or(|b| b.is_finite() && b > 0.0),
            "beta must be positive",
        )?;
        check(
            self.gamma > 0.0 && self.gamma <= 1.0,
            "gamma must lie above 0 and at most at 1",
        )?;
        check(
            (0.0..=1.0).contains(&self.mistake),
            "mistake must lie between 0 and 1",
        )?;
        check(
            self.equal_within.is_finite() && self.equal_within >= 0.0,
            "equal_within must not be negative",
        )
    }

    /// The return of a clip as the teacher sees it.
    fn seen(&self, rewards: &[f64]) -> f64 {
        rewards
            .iter()
            .rev()
            .scan(1.0, |weight, reward| {
                let seen = *weight * reward;
                *weight *= self.gamma;
                Some(seen)
            })
            .sum()
    }

    /// The answer to a pair, given the true rewards of both clips' steps: 1 for the first, 0 for the second, ½ for equal, none
    /// when skipped. A tie that `equal_within` does not catch goes to the first, as in B-Pref.
    pub fn answer(&self, first: &[f64], second: &[f64], rng: &mut impl Rng) -> Option<f64> {
        let (one, other): (f64, f64) = (first.iter().sum(), second.iter().sum());
        // Both are drawn in any case, so that the number of draws does not depend on the answers.
        let (coin, slip) = (rng.random::<f64>(), rng.random::<f64>());
        if self.skip_below.is_some_and(|least| one.max(other) <= least) {
            return None;
        }
        if (one - other).abs() < self.equal_within {
            return Some(0.5);
        }
        let gap = self.seen(first) - self.seen(second);
        let chosen = match self.beta {
            Some(beta) => coin < sigmoid(beta * gap),
            None => gap >= 0.0,
        };
        let mistaken = slip < self.mistake;
        Some(if chosen == mistaken { 0.0 } else { 1.0 })
    }

    /// The answer as a record. None when skipped.
    pub fn record(
        &self,
        pair: (&ClipId, &[f64]),
        other: (&ClipId, &[f64]),
        user: &str,
        rng: &mut impl Rng,
    ) -> Result<Option<Preference>, RewardError> {
        let Some(label) = self.answer(pair.1, other.1, rng) else {
            return Ok(None);
        };
        let (first, second) = (pair.0.clone(), other.0.clone());
        let choice = match label {
            0.5 => Choice::Equal {
                clips: vec![first, second],
            },
            1.0 => Choice::Pair {
                better: first,
                worse: second,
            },
            _ => Choice::Pair {
                better: second,
                worse: first,
            },
        };
        let record = Preference {
            source: Some(Source::Rule),
            ..Preference::now(choice, user, "teacher")?
        };
        record.validate()?;
        Ok(Some(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    fn share(teacher: Teacher, first: &[f64], second: &[f64]) -> f64 {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let answers: Vec<f64> = (0..4000)
            .filter_map(|_| teacher.answer(first, second, &mut rng))
            .collect();
        answers.iter().sum::<f64>() / answers.len().max(1) as f64
    }

    #[test]
    fn each_of_the_six_has_its_own_fault() {
        let teachers = Teacher::standard(10.0);
        let (good, bad) = ([0.0, 3.0], [2.0, 0.0]);
        let of = |name: &str| teachers.iter().find(|(n, _)| *n == name).unwrap().1;
        assert_eq!(share(of("oracle"), &good, &bad), 1.0);
        assert_eq!(share(of("oracle"), &bad, &good), 0.0);
        assert!((share(of("stochastic"), &good, &bad) - sigmoid(1.0)).abs() < 0.02);
        assert!((share(of("mistaken"), &good, &bad) - 0.9).abs() < 0.02);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut answer = |name: &str, a: &[f64], b: &[f64]| of(name).answer(a, b, &mut rng);
        assert_eq!(answer("skipping", &[0.4, 0.4], &[0.1, 0.2]), None);
        assert_eq!(answer("skipping", &good, &[0.1, 0.2]), Some(1.0));
        assert_eq!(answer("undecided", &[1.0, 1.0], &[2.0, 0.9]), Some(0.5));
        assert_eq!(answer("undecided", &good, &bad), Some(1.0));
        // More in sum, but early: the short-sighted teacher prefers the late one.
        let (early, late) = ([2.1, 0.0, 0.0], [0.0, 0.0, 2.0]);
        assert_eq!(answer("oracle", &early, &late), Some(1.0));
        assert_eq!(answer("short-sighted", &early, &late), Some(0.0));
    }

    #[derive(Deserialize)]
    struct Golden {
        teachers: Vec<GoldenCase>,
    }

    #[derive(Deserialize)]
    struct GoldenCase {
        teacher: Teacher,
        first: Vec<f64>,
        second: Vec<f64>,
        /// Probability of the label 1; none when the query is skipped, ½ when equal.
        first_is_preferred: Option<f64>,
    }

    #[test]
    fn teachers_answer_as_b_prefs_do() {
        let golden: Golden =
            serde_json::from_str(include_str!("../../tests/data/preferences.json")).unwrap();
        assert!(golden.teachers.len() > 20);
        for case in golden.teachers {
            let mut rng = ChaCha8Rng::seed_from_u64(5);
            let answers: Vec<Option<f64>> = (0..3000)
                .map(|_| case.teacher.answer(&case.first, &case.second, &mut rng))
                .collect();
            match case.first_is_preferred {
                None => assert!(answers.iter().all(Option::is_none)),
                Some(p) => {
                    let mean = answers.iter().map(|a| a.unwrap()).sum::<f64>() / 3000.0;
                    assert!((mean - p).abs() < 0.04, "{:?} {mean} {p}", case.teacher);
                    // What is certain is exact.
                    assert!(p * (1.0 - p) > 0.0 || mean == p);
                }
            }
        }
    }

    #[test]
    fn records_name_the_better_clip_and_senseless_settings_are_refused() {
        let clip = |episode| ClipId {
            dataset: "d".into(),
            episode,
            start: 0,
            end: 2,
        };
        let (a, b) = (clip(0), clip(1));
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let record = Teacher::default()
            .record((&a, &[0.0, 1.0]), (&b, &[5.0, 0.0]), "ana", &mut rng)
            .unwrap()
            .unwrap();
        let expected = Choice::Pair {
            better: b.clone(),
            worse: a.clone(),
        };
        assert_eq!(record.choice, expected);
        assert_eq!(record.source, Some(Source::Rule));
        assert!(
            Teacher::default()
                .record((&a, &[0.0]), (&a, &[5.0]), "ana", &mut rng)
                .is_err()
        );
        for bad in [
            Teacher {
                beta: Some(0.0),
                ..Teacher::default()
            },
            Teacher {
                gamma: 0.0,
                ..Teacher::default()
            },
            Teacher {
                mistake: 1.5,
                ..Teacher::default()
            },
            Teacher {
                equal_within: f64::NAN,
                ..Teacher::default()
            },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }
}
