//! [`CollapseAlarm`]: says when rewards no longer tell rollouts apart.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// When the alarm goes off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollapseConfig {
    /// Returns in the window.
    pub window: usize,
    /// Share of the first full window's standard deviation below which the alarm goes off.
    pub share: f64,
}

impl Default for CollapseConfig {
    fn default() -> Self {
        Self {
            window: 20,
            share: 0.1,
        }
    }
}

/// Rewards that collapsed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Collapse {
    /// Standard deviation of the returns in the window.
    pub deviation: f64,
    /// That of the first full window.
    pub first: f64,
}

impl std::fmt::Display for Collapse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "returns differ by {:.3} where they first differed by {:.3}; the policy has found what the reward cannot tell apart: ask for new answers or lower the pressure",
            self.deviation, self.first
        )
    }
}

/// Watches the standard deviation of returns over a training. RewardDance (arXiv 2509.08826) takes a variance that stays as a
/// sign that a reward is not being exploited.
#[derive(Clone, Debug, Default)]
pub struct CollapseAlarm {
    config: CollapseConfig,
    recent: VecDeque<f64>,
    first: Option<f64>,
}

impl CollapseAlarm {
    /// A quiet one.
    pub fn new(config: CollapseConfig) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// Takes a rollout's return; says so while returns are collapsed. Returns that are not finite are left out.
    pub fn observe(&mut self, total: f64) -> Option<Collapse> {
        if !total.is_finite() {
            return None;
        }
        self.recent.push_back(total);
        if self.recent.len() > self.config.window.max(2) {
            self.recent.pop_front();
        }
        if self.recent.len() < self.config.window.max(2) {
            return None;
        }
        let count = self.recent.len() as f64;
        let mean = self.recent.iter().sum::<f64>() / count;
        let squares = self.recent.iter().map(|r| (r - mean).powi(2));
        let deviation = (squares.sum::<f64>() / count).sqrt();
        let first = *self.first.get_or_insert(deviation);
        (deviation < self.config.share * first).then_some(Collapse { deviation, first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_goes_off_when_returns_no_longer_differ_and_not_before() {
        let mut alarm = CollapseAlarm::new(CollapseConfig::default());
        let spread = |i: usize| (i % 7) as f64;
        for i in 0..200 {
            assert_eq!(alarm.observe(spread(i)), None);
        }
        assert_eq!(alarm.observe(f64::NAN), None);
        let alarms = (0..40).filter_map(|i| alarm.observe(6.0 + 0.01 * spread(i)));
        let alarms: Vec<Collapse> = alarms.collect();
        assert!(alarms.len() >= 20, "{}", alarms.len());
        assert!(alarms[0].to_string().contains("ask for new answers"));
    }
}
