//! One episode: acting, seeing what came of it, and its rewards.

use std::collections::BTreeMap;

use rapport::policy::{Learner, Metrics, Mode, PolicyError, Transition};

use super::{RewardSource, learn};
use crate::practice::Practice;

/// An episode that was played.
#[derive(Debug, Default)]
pub struct Played {
    /// Its steps, rewards as the learner gets them.
    pub transitions: Vec<Transition>,
    /// Rewards as they came, `[time]`.
    pub rewards: Vec<f64>,
    /// What the referee says of each step, where there is one.
    pub truths: Vec<f64>,
    /// Whether the task was done at the end.
    pub success: bool,
    /// What the simulation drew for the episode.
    pub variation: BTreeMap<String, f64>,
}

impl Played {
    /// Gives the steps their rewards, `scale` times.
    pub fn scale(&mut self, scale: f64) {
        for (transition, reward) in self.transitions.iter_mut().zip(&self.rewards) {
            transition.reward = (reward * scale) as f32;
        }
    }
}

/// An action for an observation.
type Act<'a> = dyn FnMut(&[f32]) -> Result<Vec<f32>, PolicyError> + 'a;

/// Plays an episode with the actions of `act`, then asks for its rewards.
pub fn play(
    practice: &mut dyn Practice,
    act: &mut Act<'_>,
    reward: &mut RewardSource,
    seed: u64,
) -> anyhow::Result<Played> {
    let mut observation = practice.reset(seed)?;
    let (mut played, mut frames) = (Played::default(), Vec::new());
    loop {
        let action = act(&observation)?;
        let step = step(practice, &mut observation, action, &mut played)?;
        if reward.looks() {
            frames.push(practice.picture()?);
        }
        let over = step.terminated || step.truncated;
        played.transitions.push(step);
        if over {
            break;
        }
    }
    played.rewards = reward.label(&frames, &played.transitions, &played.truths)?;
    played.variation = practice.variation();
    Ok(played)
}

/// Plays an episode whose true rewards are known at once, and learns after every step.
pub fn play_and_learn(
    practice: &mut dyn Practice,
    learner: &mut dyn Learner,
    scale: f64,
    seed: u64,
) -> anyhow::Result<(Played, Metrics)> {
    let mut observation = practice.reset(seed)?;
    learner.reset();
    let (mut played, mut last) = (Played::default(), Metrics::new());
    loop {
        let action = learner.act(&observation, Mode::Explore)?;
        let mut step = step(practice, &mut observation, action, &mut played)?;
        let truth = *played.truths.last().ok_or_else(|| {
            anyhow::anyhow!("there is no true reward here; train on a learned one")
        })?;
        played.rewards.push(truth);
        step.reward = (truth * scale) as f32;
        let over = step.terminated || step.truncated;
        learner.observe(std::slice::from_ref(&step))?;
        if learner.updates_due() > 0 {
            last = learn(learner)?;
        }
        played.transitions.push(step);
        if over {
            break;
        }
    }
    played.variation = practice.variation();
    Ok((played, last))
}

fn step(
    practice: &mut dyn Practice,
    observation: &mut Vec<f32>,
    action: Vec<f32>,
    played: &mut Played,
) -> anyhow::Result<Transition> {
    let outcome = practice.step(&action)?;
    if let Some(truth) = outcome.truth {
        played.truths.push(truth.reward);
        played.success = truth.success;
    }
    Ok(Transition {
        observation: std::mem::replace(observation, outcome.observation.clone()),
        action,
        reward: 0.0,
        next_observation: outcome.observation,
        terminated: outcome.terminated,
        truncated: outcome.truncated,
    })
}
