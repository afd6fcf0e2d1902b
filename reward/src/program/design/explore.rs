//! [`Exploration`]: a reward that the learner designs for itself while it learns (ExploRS).

use serde::{Deserialize, Serialize};

use crate::model::RewardError;

/// Settings of an [`Exploration`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExplorationConfig {
    /// λ: how much rare states pay.
    pub novelty: f64,
    /// Rmax: the bonus of a state that was never visited.
    pub largest: f64,
    /// Step size of the learned part.
    pub rate: f64,
    /// Largest change of the learned part in one step.
    pub clip: f64,
    /// Episodes between two changes of the learned part.
    pub every: usize,
}

impl Default for ExplorationConfig {
    fn default() -> Self {
        Self {
            novelty: 1.0,
            largest: 1.0,
            rate: 0.01,
            clip: 0.01,
            every: 5,
        }
    }
}

/// A step of an episode: state, action, what the task paid, the next state.
pub type Step = (usize, usize, f64, usize);

/// ```text
/// r̂ = r + R_φ(s, a) + λ / sqrt((λ / Rmax)² + N(s'))
/// φ += η Σ_a π(a|s) (G - V(s)) (∇R(s, a) - E_b ∇R(s, b))
/// ```
///
/// on a table: `R_φ(s, a) = φ[s, a]`, `N` counts visits, `G` is the discounted return of the task's own reward and `V` its running mean.
#[derive(Clone, Debug)]
pub struct Exploration {
    config: ExplorationConfig,
    actions: usize,
    learned: Vec<f64>,
    visits: Vec<u64>,
    /// Running mean of returns and how many, `[states]`.
    returns: Vec<(f64, u64)>,
    waiting: Vec<Vec<Step>>,
}

impl Exploration {
    /// Nothing learned, nothing visited. Fails on settings that make no sense.
    pub fn new(
        states: usize,
        actions: usize,
        config: ExplorationConfig,
    ) -> Result<Self, RewardError> {
        let positive = [config.novelty, config.largest, config.rate, config.clip];
        if states * actions == 0
            || config.every == 0
            || positive.iter().any(|v| !v.is_finite() || *v <= 0.0)
        {
            return Err(RewardError::Other(
                "exploration needs states and actions, and settings that are all positive".into(),
            ));
        }
        Ok(Self {
            config,
            actions,
            learned: vec![0.0; states * actions],
            visits: vec![0; states],
            returns: vec![(0.0, 0); states],
            waiting: Vec::new(),
        })
    }

    /// The bonus of coming to a state.
    pub fn bonus(&self, next: usize) -> f64 {
        let ratio = self.config.novelty / self.config.largest;
        self.config.novelty / (ratio * ratio + self.visits[next] as f64).sqrt()
    }

    /// `r̂` of a step, which is not counted yet.
    pub fn reward(&self, (state, action, reward, next): Step) -> f64 {
        reward + self.learned[state * self.actions + action] + self.bonus(next)
    }

    /// Counts an episode, and learns from it and those before it when enough have come. `policy` gives the probabilities of the
    /// actions in a state, `[actions]`.
    pub fn observe(
        &mut self,
        episode: Vec<Step>,
        discount: f64,
        policy: impl Fn(usize) -> Vec<f64>,
    ) {
        for step in &episode {
            self.visits[step.3] += 1;
        }
        self.waiting.push(episode);
        if self.waiting.len() < self.config.every {
            return;
        }
        for episode in std::mem::take(&mut self.waiting) {
            let mut after = 0.0;
            for &(state, action, reward, _) in episode.iter().rev() {
                after = reward + discount * after;
                let (mean, count) = &mut self.returns[state];
                *count += 1;
                *mean += (after - *mean) / *count as f64;
                let surprise = after - *mean;
                let policy = policy(state);
                let step = self.config.rate * policy[action] * surprise;
                for (b, chance) in policy.iter().enumerate() {
                    let slope = f64::from(b == action) - chance;
                    let change = (step * slope).clamp(-self.config.clip, self.config.clip);
                    self.learned[state * self.actions + b] += change;
                }
            }
        }
    }
}
