//! [`ProbeGate`]: an episode counts only when it could be seen well enough (the hard gate of PEARL).

use serde::{Deserialize, Serialize};

use crate::model::{Clip, RewardError};

/// Settings of a [`ProbeGate`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeGateConfig {
    /// The column with the probe's word at each step, its first number: is the object visible, how sure is its pose?
    pub column: String,
    /// Least value at which a step was seen well.
    pub least: f64,
    /// Least share of such steps.
    pub share: f64,
}

/// Lets an episode count, or not, and remembers how many did not. A value that is not a number is one that was not seen.
#[derive(Clone, Debug)]
pub struct ProbeGate {
    config: ProbeGateConfig,
    admitted: usize,
    refused: usize,
}

impl ProbeGate {
    /// Fails on settings that make no sense.
    pub fn new(config: ProbeGateConfig) -> Result<Self, RewardError> {
        if !config.least.is_finite() || !(0.0..=1.0).contains(&config.share) {
            return Err(RewardError::Other(format!(
                "gate.least is {} and gate.share {}; give a number, and a share from 0 to 1",
                config.least, config.share
            )));
        }
        Ok(Self {
            config,
            admitted: 0,
            refused: 0,
        })
    }

    /// True when the episode may be learned from. Fails on an episode without the probe's column, or without steps.
    pub fn admits(&mut self, clip: &Clip) -> Result<bool, RewardError> {
        let column = clip
            .columns
            .get(&self.config.column)
            .filter(|c| !c.is_empty());
        let Some(column) = column else {
            return Err(RewardError::Other(format!(
                "the episode has no column `{}`, by which it is let in",
                self.config.column
            )));
        };
        let seen = column
            .rows()
            .filter(|row| f64::from(row[0]) >= self.config.least)
            .count();
        let admits = seen as f64 >= self.config.share * column.len() as f64;
        if admits {
            self.admitted += 1;
        } else {
            self.refused += 1;
        }
        Ok(admits)
    }

    /// Share of episodes refused so far; none before the first.
    pub fn refused(&self) -> Option<f64> {
        let all = self.admitted + self.refused;
        (all > 0).then(|| self.refused as f64 / all as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;
    use rapport_perception::Features;

    fn gate() -> ProbeGate {
        ProbeGate::new(ProbeGateConfig {
            column: "visible".into(),
            least: 0.8,
            share: 0.5,
        })
        .unwrap()
    }

    fn clip(visible: &[f32]) -> Clip {
        let columns = [("visible".to_owned(), Features::new(1, visible.to_vec()))];
        Clip {
            columns: columns.into(),
            ..Clip::default()
        }
    }

    #[test]
    fn an_episode_is_let_in_when_enough_of_it_was_seen() {
        let mut gate = gate();
        assert_eq!(gate.refused(), None);
        assert!(gate.admits(&clip(&[0.9, 0.8, 0.1, 0.0])).unwrap());
        assert!(!gate.admits(&clip(&[0.9, 0.7, 0.1, f32::NAN])).unwrap());
        assert_eq!(gate.refused(), Some(0.5));
        assert!(gate.admits(&Clip::default()).is_err());
        assert!(
            ProbeGate::new(ProbeGateConfig {
                column: "v".into(),
                least: f64::NAN,
                share: 0.5
            })
            .is_err()
        );
    }

    /// A learner that goes where the block was, on average over what it learned from; in some episodes the camera saw nothing and said
    /// 0. Share of 400 reaches that end within 0.1 of the block.
    fn success(blank: f64, gated: bool) -> (f64, Option<f64>) {
        let (mut rng, mut gate) = (ChaCha8Rng::seed_from_u64(7), gate());
        let (mut weight, block) = (0.0f64, |x: f64| 0.9 * x + 0.3);
        let mut offset = 0.0f64;
        for _ in 0..3000 {
            let x: f64 = rng.random_range(-1.0..1.0);
            let seen = rng.random_range(0.0..1.0) >= blank;
            let admitted = gate.admits(&clip(&[f32::from(u8::from(seen)); 4])).unwrap();
            if gated && !admitted {
                continue;
            }
            let target = if seen { block(x) } else { 0.0 };
            let off = target - (weight * x + offset);
            weight += 0.03 * off * x;
            offset += 0.03 * off;
        }
        let hits = (0..400).filter(|_| {
            let x: f64 = rng.random_range(-1.0..1.0);
            (weight * x + offset - block(x)).abs() < 0.1
        });
        (hits.count() as f64 / 400.0, gate.refused())
    }

    #[test]
    fn with_a_third_of_the_pictures_blank_a_gated_learner_is_as_good_as_a_clean_one() {
        let ((clean, _), (gated, refused), (open, _)) =
            (success(0.0, false), success(0.3, true), success(0.3, false));
        assert!(
            gated >= clean - 0.05 && open < clean - 0.2,
            "clean {clean}, gated {gated}, open {open}"
        );
        assert!((refused.unwrap() - 0.3).abs() < 0.03);
    }
}
