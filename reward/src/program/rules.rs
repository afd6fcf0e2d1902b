//! [`Rules`]: what is plainly right or wrong, with how sure that is; criteria that tighten as the learner gets better
//! (Vision-R1, arXiv 2503.18013); and a price for doing something too often (VLM-R1, arXiv 2504.07615, where it is boxes named in
//! excess).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::evaluate::evaluate;
use super::source::{Program, Term};
use crate::model::{Clip, Context, RewardError, RewardModel, Signal};
use crate::store::{Parts, StoredReward, Tensors, table, to_toml};

/// Which side of the threshold is right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// The measure must not be above.
    #[default]
    AtMost,
    /// The measure must not be below.
    AtLeast,
}

/// A measure that must be on one side of a threshold: 1 where it is, 0 where not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name among the terms.
    pub name: String,
    /// What is measured, as an expression of reward programs: `distance(hand, block)`.
    pub measure: String,
    /// Which side is right.
    #[serde(default)]
    pub criterion: Criterion,
    /// The threshold, in the measure's unit.
    pub threshold: f64,
    /// Distance from the threshold at which the verdict is half sure; 0 makes every verdict sure.
    #[serde(default)]
    pub softness: f64,
}

/// Something that may happen only so often in a clip: each time beyond costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excess {
    /// Its name among the terms.
    pub name: String,
    /// A condition; it happens where the condition begins to hold: `gripper < 0.2`.
    pub event: String,
    /// Times that are free.
    pub allowed: usize,
    /// Price of each time beyond.
    pub cost: f64,
}

/// Rules of one reward.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// What must hold.
    pub rules: Vec<Rule>,
    /// What must not happen too often.
    pub excess: Vec<Excess>,
}

/// The sum of all rules' verdicts, less the price of what happened too often.
///
/// The term `confidence` is that of the least sure rule, `d / (d + softness)` for a distance `d` from the threshold: a combination may
/// trust the rules where it is large and something learned elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    config: RulesConfig,
    measures: Program,
}

/// The term with how sure the verdict is.
pub const CONFIDENCE: &str = "confidence";

impl Rules {
    pub(crate) const KIND: &str = "rules";

    /// Fails without any rule, on numbers that are none, on names that are taken, and on expressions with a mistake.
    pub fn new(config: RulesConfig) -> Result<Self, RewardError> {
        let mut measures = Program {
            definitions: Vec::new(),
            terms: Vec::new(),
        };
        let mut add = |name: &str, text: &str| -> Result<(), RewardError> {
            let value = text
                .parse()
                .map_err(|e| RewardError::Other(format!("the rule `{name}`, {e}")))?;
            measures.terms.push(Term {
                name: name.into(),
                value,
            });
            Ok(())
        };
        for rule in &config.rules {
            if !rule.threshold.is_finite() || !rule.softness.is_finite() || rule.softness < 0.0 {
                return Err(RewardError::Other(format!(
                    "the rule `{}` has the threshold {} and the softness {}; give a number, and one from 0 up",
                    rule.name, rule.threshold, rule.softness
                )));
            }
            if rule.name == CONFIDENCE {
                return Err(RewardError::Other(format!(
                    "no rule may be called `{CONFIDENCE}`; that is how sure they are"
                )));
            }
            add(&rule.name, &rule.measure)?;
        }
        for excess in &config.excess {
            if !excess.cost.is_finite() {
                return Err(RewardError::Other(format!(
                    "the cost of `{}` is {}; give a number",
                    excess.name, excess.cost
                )));
            }
            add(&excess.name, &excess.event)?;
        }
        if measures.terms.is_empty() {
            return Err(RewardError::Other(
                "there is no rule; give at least one".into(),
            ));
        }
        measures.validate()?;
        Ok(Self { config, measures })
    }

    /// The rules.
    pub fn settings(&self) -> &RulesConfig {
        &self.config
    }

    /// Moves the threshold of a rule, as a [`Tightening`] says. Fails when there is none of that name.
    pub fn set_threshold(&mut self, name: &str, threshold: f64) -> Result<(), RewardError> {
        match self.config.rules.iter_mut().find(|rule| rule.name == name) {
            Some(rule) if threshold.is_finite() => {
                rule.threshold = threshold;
                Ok(())
            }
            Some(_) => Err(RewardError::Other(format!(
                "a threshold of {threshold} is none"
            ))),
            None => Err(RewardError::Other(format!("there is no rule `{name}`"))),
        }
    }

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        Ok(Box::new(Self::new(parts.config()?)?))
    }
}

impl RewardModel for Rules {
    fn score(&self, clip: &Clip, _: &Context) -> Result<Signal, RewardError> {
        let mut measured = evaluate(&self.measures, clip)?;
        let steps = measured.per_step.len();
        let mut signal = Signal::new(vec![0.0; steps]);
        let mut confidence = vec![1.0f64; steps];
        for rule in &self.config.rules {
            let mut values = measured.terms.remove(&rule.name).unwrap_or_default();
            for (t, value) in values.iter_mut().enumerate() {
                let off = (*value - rule.threshold).abs();
                let sure = if rule.softness > 0.0 {
                    off / (off + rule.softness)
                } else {
                    1.0
                };
                confidence[t] = confidence[t].min(sure);
                let right = match rule.criterion {
                    Criterion::AtMost => *value <= rule.threshold,
                    Criterion::AtLeast => *value >= rule.threshold,
                };
                *value = f64::from(right);
                signal.per_step[t] += *value;
            }
            signal.terms.insert(rule.name.clone(), values);
        }
        for excess in &self.config.excess {
            let mut values = measured.terms.remove(&excess.name).unwrap_or_default();
            let (mut times, mut held) = (0, false);
            for (t, value) in values.iter_mut().enumerate() {
                let holds = *value > 0.0;
                times += usize::from(holds && !held);
                let costs = holds && !held && times > excess.allowed;
                held = holds;
                *value = if costs { -excess.cost } else { 0.0 };
                signal.per_step[t] += *value;
            }
            signal.terms.insert(excess.name.clone(), values);
        }
        signal.terms.insert(CONFIDENCE.into(), confidence);
        Ok(signal)
    }

    fn causal(&self) -> bool {
        true
    }
}

impl StoredReward for Rules {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        to_toml(&self.config).and_then(table)
    }

    fn tensors(&self) -> Result<Tensors, RewardError> {
        Ok(Tensors::new())
    }
}

/// When a rule becomes stricter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TighteningConfig {
    /// Threshold at the beginning.
    pub from: f64,
    /// Threshold at the end.
    pub to: f64,
    /// Share of successes above which it moves on.
    pub success: f64,
    /// Episodes in that share.
    pub window: usize,
    /// Share of the way to the end that is left after a move.
    pub keep: f64,
}

impl Default for TighteningConfig {
    fn default() -> Self {
        Self {
            from: 0.10,
            to: 0.02,
            success: 0.7,
            window: 20,
            keep: 0.7,
        }
    }
}

/// A threshold that moves from a loose to a strict value, a part of the way each time the learner succeeds often enough. It never
/// moves back.
#[derive(Clone, Debug)]
pub struct Tightening {
    config: TighteningConfig,
    threshold: f64,
    recent: VecDeque<bool>,
}

impl Tightening {
    /// At its loose end. Fails on settings that make no sense.
    pub fn new(config: TighteningConfig) -> Result<Self, RewardError> {
        let shares = [config.success, config.keep];
        if shares.iter().any(|s| !(0.0..1.0).contains(s))
            || config.window == 0
            || !config.from.is_finite()
            || !config.to.is_finite()
        {
            return Err(RewardError::Other(
                "a tightening needs two thresholds, shares from 0 up to, not including, 1, and a window of at least 1".into(),
            ));
        }
        Ok(Self {
            config,
            threshold: config.from,
            recent: VecDeque::new(),
        })
    }

    /// The threshold now.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// Takes in how an episode ended under the threshold of now. Gives the new threshold when it moved.
    pub fn observe(&mut self, success: bool) -> Option<f64> {
        self.recent.push_back(success);
        if self.recent.len() > self.config.window {
            self.recent.pop_front();
        }
        let successes = self.recent.iter().filter(|s| **s).count() as f64;
        if self.recent.len() < self.config.window
            || successes <= self.config.success * self.config.window as f64
        {
            return None;
        }
        self.recent.clear();
        let TighteningConfig { from, to, keep, .. } = self.config;
        let left = (self.threshold - to) * keep;
        // The last bit of the way is gone at once.
        let next = if left.abs() < 0.01 * (from - to).abs() {
            to
        } else {
            to + left
        };
        let moved = next != self.threshold;
        self.threshold = next;
        moved.then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;
    use rapport_perception::Features;

    fn clip(columns: &[(&str, usize, &[f32])]) -> Clip {
        let columns = columns
            .iter()
            .map(|(name, dim, values)| (name.to_string(), Features::new(*dim, values.to_vec())));
        Clip {
            columns: columns.collect(),
            fps: 10.0,
            ..Clip::default()
        }
    }

    fn near(threshold: f64, softness: f64) -> Rule {
        Rule {
            name: "near".into(),
            measure: "abs(x)".into(),
            criterion: Criterion::AtMost,
            threshold,
            softness,
        }
    }

    fn score(rules: &Rules, clip: &Clip) -> Signal {
        rules.score(clip, &Context::default()).unwrap()
    }

    #[test]
    fn a_rule_is_right_or_wrong_and_least_sure_at_its_border() {
        let config = RulesConfig {
            rules: vec![
                near(0.5, 0.5),
                Rule {
                    name: "high".into(),
                    measure: "z".into(),
                    criterion: Criterion::AtLeast,
                    threshold: 1.0,
                    softness: 0.0,
                },
            ],
            excess: vec![],
        };
        let rules = Rules::new(config).unwrap();
        let signal = score(
            &rules,
            &clip(&[("x", 1, &[0.0, 0.5, -1.0]), ("z", 1, &[1.0, 0.0, 2.0])]),
        );
        assert_eq!(signal.per_step, [2.0, 1.0, 1.0]);
        assert_eq!(signal.terms["near"], [1.0, 1.0, 0.0]);
        assert_eq!(signal.terms[CONFIDENCE], [0.5, 0.0, 0.5]);
    }

    #[test]
    fn many_guesses_are_worth_no_more_than_one_good_one() {
        let config = |cost| RulesConfig {
            rules: vec![Rule {
                name: "hit".into(),
                measure: "grip * near".into(),
                criterion: Criterion::AtLeast,
                threshold: 0.5,
                softness: 0.0,
            }],
            excess: vec![Excess {
                name: "tries".into(),
                event: "grip > 0.5".into(),
                allowed: 1,
                cost,
            }],
        };
        let one = clip(&[
            ("grip", 1, &[0.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
            ("near", 1, &[0.0, 0.0, 0.0, 0.0, 1.0, 1.0]),
        ]);
        let many = clip(&[
            ("grip", 1, &[1.0, 0.0, 1.0, 0.0, 1.0, 1.0]),
            ("near", 1, &[0.0, 0.0, 0.0, 0.0, 1.0, 1.0]),
        ]);
        let total = |cost, clip| score(&Rules::new(config(cost)).unwrap(), clip).total();
        assert!(total(0.0, &many) > total(0.0, &one));
        assert!(total(0.8, &many) < total(0.8, &one));
        let rules = Rules::new(config(0.8)).unwrap();
        assert_eq!(
            score(&rules, &many).terms["tries"],
            [0.0, 0.0, -0.8, 0.0, -0.8, 0.0]
        );
    }

    #[test]
    fn a_threshold_moves_only_on_success_and_ends_where_it_should() {
        let config = TighteningConfig {
            window: 4,
            ..TighteningConfig::default()
        };
        let mut tightening = Tightening::new(config).unwrap();
        for _ in 0..20 {
            assert_eq!(tightening.observe(false), None);
        }
        let mut last = tightening.threshold();
        for _ in 0..200 {
            if let Some(next) = tightening.observe(true) {
                assert!(next < last);
                last = next;
            }
        }
        assert_eq!(tightening.threshold(), 0.02);
        assert_eq!(tightening.observe(false), None);
        assert!(
            Tightening::new(TighteningConfig {
                window: 0,
                ..config
            })
            .is_err()
        );
        assert!(
            Tightening::new(TighteningConfig {
                keep: 1.0,
                ..config
            })
            .is_err()
        );
    }

    /// How far from its place a learner ends after 6,000 tries of reaching it, rewarded by a rule: mean over seeds.
    fn precision(schedule: Option<TighteningConfig>, fixed: f64) -> f64 {
        let off = (0..8).map(|seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut tightening = schedule.map(|s| Tightening::new(s).unwrap());
            let start = tightening.as_ref().map_or(fixed, Tightening::threshold);
            let mut rules = Rules::new(RulesConfig {
                rules: vec![near(start, 0.0)],
                excess: vec![],
            })
            .unwrap();
            let mut mean = 0.9;
            for _ in 0..6000 {
                let noise = (0..12).map(|_| rng.random_range(0.0..1.0)).sum::<f64>() - 6.0;
                let reached = mean + 0.05 * noise;
                let reward = score(&rules, &clip(&[("x", 1, &[reached as f32])])).total();
                // The score function of a normal policy, times the reward.
                mean += 0.05 * (reached - mean) * (reward - 0.5) * 2.0;
                if let Some(threshold) = tightening.as_mut().and_then(|t| t.observe(reward > 0.5)) {
                    rules.set_threshold("near", threshold).unwrap();
                }
            }
            f64::abs(mean)
        });
        off.sum::<f64>() / 8.0
    }

    #[test]
    fn a_rule_that_tightens_ends_more_precise_than_a_loose_or_a_strict_one() {
        let schedule = TighteningConfig {
            from: 1.0,
            to: 0.05,
            ..TighteningConfig::default()
        };
        let (tightening, loose, strict) = (
            precision(Some(schedule), 0.0),
            precision(None, 1.0),
            precision(None, 0.05),
        );
        assert!(
            tightening < 0.5 * loose.min(strict),
            "tightening {tightening}, loose {loose}, strict {strict}"
        );
    }

    #[test]
    fn rules_that_cannot_be_followed_are_refused() {
        let with =
            |rules: Vec<Rule>, excess: Vec<Excess>| Rules::new(RulesConfig { rules, excess });
        assert!(with(vec![], vec![]).is_err());
        assert!(with(vec![near(f64::NAN, 0.0)], vec![]).is_err());
        assert!(with(vec![near(0.0, 0.0), near(1.0, 0.0)], vec![]).is_err());
        let message = with(
            vec![Rule {
                measure: "abs(".into(),
                ..near(0.0, 0.0)
            }],
            vec![],
        )
        .unwrap_err()
        .to_string();
        assert!(message.contains("the rule `near`, line 1"), "{message}");
        assert!(
            with(
                vec![Rule {
                    name: CONFIDENCE.into(),
                    ..near(0.0, 0.0)
                }],
                vec![]
            )
            .is_err()
        );
        let mut rules = with(vec![near(0.0, 0.0)], vec![]).unwrap();
        assert!(rules.set_threshold("far", 1.0).is_err());
        assert!(rules.set_threshold("near", f64::INFINITY).is_err());
        assert!(rules.score(&Clip::default(), &Context::default()).is_err());
    }
}
