//! [`Asked`]: the [`Rewarder`] of a learner.

use std::fmt;

use rapport_reward::{Features, Steps};

use crate::policy::{PolicyError, Rewarder};

/// Who is asked for the rewards of a batch.
#[derive(Clone)]
pub(crate) struct Asked(pub(crate) Rewarder);

impl Asked {
    /// Rewards `[count]` of observations with the actions behind them, `[count, obs_dim + action_dim]`.
    pub(crate) fn rewards(&self, rows: Vec<f32>, count: usize) -> Result<Vec<f32>, PolicyError> {
        let steps = Steps {
            inputs: Features::new(rows.len() / count, rows),
            absorbing: Vec::new(),
        };
        let rewards = self
            .0
            .relabel(&steps)
            .map_err(|error| PolicyError::Other(format!("the reward of a batch: {error}")))?;
        Ok(rewards.into_iter().map(|r| r as f32).collect())
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a rewarder")
    }
}
