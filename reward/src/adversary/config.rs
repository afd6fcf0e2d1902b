//! [`AdversaryConfig`]: what a discriminator is and how it learns.

use serde::{Deserialize, Serialize};

use crate::model::RewardError;
use crate::network::{Activation, NetworkConfig};
use crate::objective::softplus;

/// What keeps the discriminator from being steep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lipschitz {
    /// Nothing: it grows steeper the longer it learns.
    None,
    /// A price on input gradients above the bound, between demonstrations and rollouts.
    Penalty,
    /// Every layer divided by its largest singular value, so that the whole is 1-Lipschitz.
    Spectral,
    /// Both, as SAM's own settings have it.
    #[default]
    Both,
}

impl Lipschitz {
    pub(super) fn penalised(self) -> bool {
        matches!(self, Self::Penalty | Self::Both)
    }

    pub(super) fn spectral(self) -> bool {
        matches!(self, Self::Spectral | Self::Both)
    }
}

/// What a logit `z` of the discriminator `D = σ(z)` pays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RewardForm {
    /// `-log(1 - D + 1e-8)`, above zero: staying alive pays.
    #[default]
    Survival,
    /// `log D`, below zero: being done early pays.
    LogProbability,
    /// Their sum, `z` up to the 1e-8: neither does.
    Sum,
}

/// Keeps the logarithm off zero.
const EPSILON: f64 = 1e-8;

impl RewardForm {
    /// Reward for a logit.
    pub fn of(self, logit: f64) -> f64 {
        // log(1 - D + ε) with 1 - D = σ(-z), which is exp(-softplus(z)).
        let survival = -((-softplus(logit)).exp() + EPSILON).ln();
        let log_probability = -softplus(-logit);
        match self {
            Self::Survival => survival,
            Self::LogProbability => log_probability,
            Self::Sum => survival + log_probability,
        }
    }
}

/// Whether the state after the end of an episode is a state like others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Absorbing {
    /// Episodes just end; what comes after is worth nothing, which a survival reward punishes and its opposite rewards.
    #[default]
    Ignored,
    /// One more input is 1 in the state after the end, whose other inputs are zero, and 0 elsewhere, so that its reward is learned
    /// (as in discriminator-actor-critic, arXiv 1809.02925).
    Indicator,
}

/// Settings of an [`Adversary`](super::Adversary).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdversaryConfig {
    /// The discriminator. SAM: two layers of 100 with a leaky rectifier.
    pub network: NetworkConfig,
    /// What keeps it from being steep.
    pub lipschitz: Lipschitz,
    /// Input gradient that costs nothing.
    pub bound: f64,
    /// Price of the squared excess.
    pub penalty: f64,
    /// Steps of power iteration for every step of learning.
    pub power_steps: usize,
    /// What a logit pays.
    pub form: RewardForm,
    /// Channels of a clip that go in behind its features, in this order: the action, say.
    pub columns: Vec<String>,
    /// Whether the state after the end is a state like others.
    pub absorbing: Absorbing,
    /// Targets of demonstrations are drawn evenly from this far to …
    pub smooth_from: f64,
    /// … this far (label smoothing; SAM: 0.7 to 1.2). Those of rollouts are 0.
    pub smooth_to: f64,
    /// Weight of the entropy of the answers, which keeps them from being sure.
    pub entropy: f64,
    /// Demonstrated steps, and as many of rollouts, in a batch.
    pub batch: usize,
    /// Steps of rollouts that are remembered, newest.
    pub memory: usize,
    /// Adam's step size.
    pub rate: f64,
}

impl Default for AdversaryConfig {
    fn default() -> Self {
        Self {
            network: NetworkConfig {
                hidden: vec![100, 100],
                activation: Activation::LeakyRelu,
            },
            lipschitz: Lipschitz::default(),
            bound: 1.0,
            penalty: 10.0,
            power_steps: 1,
            form: RewardForm::default(),
            columns: Vec::new(),
            absorbing: Absorbing::default(),
            smooth_from: 0.7,
            smooth_to: 1.2,
            entropy: 0.001,
            batch: 64,
            memory: 100_000,
            rate: 5e-4,
        }
    }
}

impl AdversaryConfig {
    /// Refuses settings that nothing can be learned with.
    pub fn validate(&self) -> Result<(), RewardError> {
        if self.batch == 0 || self.memory == 0 || self.network.hidden.contains(&0) {
            return Err(RewardError::Other(
                "adversary.batch, memory and the widths of its layers must be at least 1".into(),
            ));
        }
        if self.lipschitz.spectral() && self.power_steps == 0 {
            return Err(RewardError::Other(
                "adversary.power_steps is 0 where spectral normalisation needs at least 1".into(),
            ));
        }
        let numbers = [self.bound, self.penalty, self.entropy, self.rate];
        if numbers.iter().any(|n| !(*n >= 0.0 && n.is_finite())) || self.rate == 0.0 {
            return Err(RewardError::Other(format!(
                "adversary.bound, penalty, entropy and rate are {numbers:?}; give finite numbers not below 0 and a rate above it"
            )));
        }
        if !(self.smooth_from.is_finite() && self.smooth_to.is_finite())
            || self.smooth_from > self.smooth_to
        {
            return Err(RewardError::Other(format!(
                "adversary.smooth_from is {} and smooth_to {}; give an interval",
                self.smooth_from, self.smooth_to
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_the_reward_are_what_they_are_called() {
        for z in [-3.0f64, 0.0, 2.5] {
            let d = 1.0 / (1.0 + (-z).exp());
            assert!((RewardForm::Survival.of(z) + (1.0 - d + 1e-8).ln()).abs() < 1e-12);
            assert!((RewardForm::LogProbability.of(z) - d.ln()).abs() < 1e-12);
            assert!((RewardForm::Sum.of(z) - z).abs() < 1e-6);
        }
        for z in [-1e6, 1e6] {
            assert!(RewardForm::Sum.of(z).is_finite());
        }
        assert!((RewardForm::Survival.of(1e6) - 1e8f64.ln()).abs() < 1e-9);
    }
}
