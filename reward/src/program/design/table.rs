//! [`Decisions`]: a task as a table of states and actions, and what is best in it.

use serde::{Deserialize, Serialize};

use crate::model::RewardError;

/// A finite Markov decision process. Tables over states and actions are laid out `[states * actions]`. A final state leads to
/// itself and pays nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decisions {
    /// Number of states.
    pub states: usize,
    /// Actions in each.
    pub actions: usize,
    /// Where each state and action leads, with what probability.
    pub next: Vec<Vec<(usize, f64)>>,
    /// What each state and action pays.
    pub reward: Vec<f64>,
    /// Discount, from 0 up to, not including, 1.
    pub discount: f64,
}

/// What is best.
#[derive(Clone, Debug)]
pub struct Values {
    /// Value of each state, `[states]`.
    pub state: Vec<f64>,
    /// Value of each action, `[states * actions]`.
    pub action: Vec<f64>,
    /// A best action of each state, `[states]`.
    pub best: Vec<usize>,
}

/// Differences of values below this are none.
pub(super) const EQUAL: f64 = 1e-9;

impl Decisions {
    /// Says what is wrong with the tables, if anything.
    pub fn validate(&self) -> Result<(), RewardError> {
        let fail = |message: String| Err(RewardError::Other(message));
        let cells = self.states * self.actions;
        if cells == 0 || self.next.len() != cells || self.reward.len() != cells {
            return fail(format!(
                "{} states with {} actions need tables of {cells} entries, at least 1; these have {} and {}",
                self.states,
                self.actions,
                self.next.len(),
                self.reward.len()
            ));
        }
        if !(0.0..1.0).contains(&self.discount) {
            return fail(format!(
                "the discount is {}; it must be from 0 up to, not including, 1",
                self.discount
            ));
        }
        if let Some(bad) = self.reward.iter().position(|r| !r.is_finite()) {
            return fail(format!(
                "the reward of state {}, action {} is not a number",
                bad / self.actions,
                bad % self.actions
            ));
        }
        for (i, next) in self.next.iter().enumerate() {
            let sum: f64 = next.iter().map(|(_, p)| p).sum();
            let sound = next
                .iter()
                .all(|(s, p)| *s < self.states && (0.0..=1.0).contains(p));
            if !sound || (sum - 1.0).abs() > 1e-6 {
                return fail(format!(
                    "where state {}, action {} leads is no distribution over the states",
                    i / self.actions,
                    i % self.actions
                ));
            }
        }
        Ok(())
    }

    /// The place of a state and action in tables.
    pub fn index(&self, state: usize, action: usize) -> usize {
        state * self.actions + action
    }

    /// The same task with another reward.
    pub fn with_reward(&self, reward: Vec<f64>) -> Self {
        Self {
            reward,
            ..self.clone()
        }
    }

    /// True for a state that leads only to itself and pays nothing.
    pub fn is_final(&self, state: usize) -> bool {
        (0..self.actions).all(|a| {
            let i = self.index(state, a);
            self.reward[i] == 0.0 && self.next[i].iter().all(|(s, _)| *s == state)
        })
    }

    /// Values of the best behaviour, by value iteration.
    pub fn solve(&self) -> Result<Values, RewardError> {
        self.validate()?;
        let mut state = vec![0.0; self.states];
        let value = |state: &[f64], i: usize| {
            self.reward[i]
                + self.discount * self.next[i].iter().map(|(s, p)| p * state[*s]).sum::<f64>()
        };
        loop {
            let mut change: f64 = 0.0;
            let mut next = Vec::with_capacity(self.states);
            for s in 0..self.states {
                let best = (0..self.actions)
                    .map(|a| value(&state, self.index(s, a)))
                    .fold(f64::NEG_INFINITY, f64::max);
                change = change.max((best - state[s]).abs());
                next.push(best);
            }
            state = next;
            // Relative, so that large values end too.
            let size = state.iter().fold(1.0f64, |m, v| m.max(v.abs()));
            if change <= 1e-13 * size {
                break;
            }
        }
        let action: Vec<f64> = (0..self.states * self.actions)
            .map(|i| value(&state, i))
            .collect();
        let best = action
            .chunks_exact(self.actions)
            .map(|row| {
                let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                // The first of those that are equally good.
                row.iter().position(|v| most - v <= EQUAL).unwrap_or(0)
            })
            .collect();
        Ok(Values {
            state,
            action,
            best,
        })
    }
}

impl Values {
    /// How much worse an action is than the best, `[states * actions]`.
    pub fn gaps(&self) -> Vec<f64> {
        let actions = self.action.len() / self.state.len();
        let gap = |(i, v): (usize, &f64)| (self.state[i / actions] - v).max(0.0);
        self.action.iter().enumerate().map(gap).collect()
    }
}

/// `r + γ E Φ(s') - Φ(s)`, which leaves the best behaviour as it is whatever the potential Φ, `[states]`. Learning is fastest with
/// the values themselves, [`Values::state`].
pub fn shaped(task: &Decisions, potential: &[f64]) -> Result<Vec<f64>, RewardError> {
    task.validate()?;
    if potential.len() != task.states {
        return Err(RewardError::Other(format!(
            "a potential of {} numbers does not suit {} states",
            potential.len(),
            task.states
        )));
    }
    let shaped = |i: usize| {
        let after: f64 = task.next[i].iter().map(|(s, p)| p * potential[*s]).sum();
        task.reward[i] + task.discount * after - potential[i / task.actions]
    };
    Ok((0..task.reward.len()).map(shaped).collect())
}
